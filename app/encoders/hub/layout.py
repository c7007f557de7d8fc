"""Make a manifest of a folder that has none: from the files that model hubs publish with a model.

Theory of operation. sentence-transformers describes a model as modules, one after the other, in
`modules.json`: a Transformer, a Pooling, perhaps layers (Dense, LayerNorm), perhaps Normalize.
Each has its configuration in a folder of its own. All of it is read here and becomes keys of a
manifest:

    modules.json                       which modules, and where
    config.json                        the network: its kind, widths, positions, cut lengths
    sentence_bert_config.json          max_seq_length
    tokenizer_config.json              model_max_length
    config_sentence_transformers.json  prompts, default_prompt_name, truncate_dim
    1_Pooling/config.json              which tokens make the vector
    2_Dense/config.json                widths and activation of a layer
    1_SpladePooling/config.json        how logits become weights of words
    artifact.metadata                  how ColBERT reads texts

A cross-encoder has no modules: `config.json` names the head. What models make beside one vector a
text is read in `app.encoders.hub.heads`.

A folder with a network alone (`config.json`, `tokenizer.json` and a graph, as other servers take
it) is read as sentence-transformers would: the mean over the tokens. It also gets vectors of length
one. What was assumed so is said in `Discovered.notes`.

Whatever would change vectors and is not understood is refused, with the file and the reason.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from app.encoders.base import Dimensions
from app.encoders.files import sha256_of
from app.encoders.graph_header import read_graph_header
from app.encoders.hub.folder import COLBERT, CONFIG, MODULES, SETTINGS, TOKENIZER, ModelFolder
from app.encoders.hub.heads import PROJECTION, check_layers, check_splade, read_late, read_pair
from app.encoders.hub.lengths import read_max_tokens, read_positions
from app.encoders.hub.modules import (
    Modules,
    is_classifier,
    read_dense,
    read_layers,
    read_modules,
    read_pool,
    read_prompts,
)
from app.encoders.hub.published import read_published
from app.encoders.hub.weights import WEIGHTS, WEIGHTS_INDEX, Chosen, choose
from app.encoders.manifest import (
    BuiltGraph,
    Graph,
    Manifest,
    ModelFile,
    Output,
    SparseOutput,
    TextInput,
    TextSpec,
    Variant,
)
from app.encoders.manifest.manifest import BUILT_POOLS, HEADS, Spec
from app.encoders.networks.config import read_config
from app.errors import StoredDataError

ROOT_CONFIGS = (MODULES, SETTINGS, COLBERT)
NETWORK_CONFIGS = (CONFIG, TOKENIZER, "tokenizer_config.json", "sentence_bert_config.json")


@dataclass(frozen=True, slots=True)
class Discovered:
    """What a folder is.

    manifest  its files carry no sha256 until `with_hashes`
    variant   of the graph that is used
    notes     what was assumed, or is not what was asked for, one sentence each
    """

    manifest: Manifest
    variant: Variant
    notes: tuple[str, ...]


def discover(folder: Path, name: str, variant: Variant) -> Discovered:
    """Read what a folder is. The weights are looked at, but not read.

    Raises StoredDataError naming the file and the reason if it cannot be used.
    """
    model = ModelFolder(folder, name)
    with model.understood():
        return _Layout(model, variant).read()


def with_hashes(manifest: Manifest, folder: Path) -> Manifest:
    """Put the sha256 and the length of every file into the manifest: reads all of them."""
    files = tuple(
        ModelFile(file.path, sha256_of(folder / file.path), (folder / file.path).stat().st_size)
        for file in manifest.files
    )
    return replace(manifest, files=files)


class _Layout:
    def __init__(self, folder: ModelFolder, variant: Variant) -> None:
        self._folder, self._variant = folder, variant

    def read(self) -> Discovered:
        modules = read_modules(self._folder)
        config = self._folder.json(f"{modules.network}{CONFIG}")
        tokenizer = f"{modules.network}{TOKENIZER}"
        if not self._folder.has(tokenizer):
            self._folder.refuse(
                tokenizer, "is missing: it is the only form of tokenizer that is read"
            )
        if modules.task != "pair" and is_classifier(config):
            self._folder.refuse(CONFIG, f"is a classifier's, and {MODULES} wants token vectors")
        if config.get("is_encoder_decoder"):
            self._folder.note("an encoder with a decoder: the graph must be the encoder's alone")
        chosen = self._chosen(modules)
        graph, spec, dimension = {
            "dense": self._dense,
            "tokens": self._tokens,
            "sparse": self._sparse,
            "pair": self._pair,
        }[modules.task](modules, config, chosen)
        manifest = Manifest(
            name=self._folder.name,
            kind="pair" if modules.task == "pair" else "text",
            modality="text",
            dimension=dimension,
            dimensions=self._dimensions(config, dimension) if modules.task == "dense" else (),
            owned_by="unknown",
            license="unknown",
            released=_day(self._folder.path / modules.network / CONFIG),
            space=f"{self._folder.name}@1",
            graph=graph,
            spec=spec,
            files=self._files(graph, spec),
            sources=(),
        )
        return Discovered(manifest, chosen.variant, tuple(self._folder.notes))

    # ── what a model makes ───────────────────────────────────────────────────────────────────

    def _dense(
        self, modules: Modules, config: dict[str, Any], chosen: Chosen
    ) -> tuple[Graph, Spec, int]:
        pool = read_pool(self._folder, modules)
        width = self._width(config) * len(pool.split("+"))
        layers, dimension = read_layers(self._folder, modules, width)
        graph, pooled = self._graph(modules, chosen, layers)
        if pooled and layers:
            self._folder.refuse(
                chosen.path, "makes vectors itself: whether with the layers is unsaid"
            )
        pool = "graph" if pooled else pool
        dense = () if chosen.built else read_dense(self._folder, layers)
        text = self._text(modules, read_max_tokens(self._folder, modules.network, config), pool)
        return graph, TextSpec(text, Output(pool, modules.normalise, dense)), dimension

    def _tokens(
        self, modules: Modules, config: dict[str, Any], chosen: Chosen
    ) -> tuple[Graph, Spec, int]:
        late = read_late(self._folder, modules)
        check_layers(self._folder, modules, built=chosen.built)
        layers, dimension = read_layers(self._folder, modules, self._width(config))
        graph, _ = self._graph(modules, chosen, layers)
        tokens = late.output(self._folder, modules.network, late.dimension or dimension)
        if not chosen.built:
            tokens = replace(tokens, projection=f"{layers[0]}/{WEIGHTS}")
        most = min(late.document_tokens, read_positions(config) or late.document_tokens)
        if most < late.query_tokens:
            self._folder.refuse(CONFIG, f"has positions for {most} tokens, queries have more")
        return graph, TextSpec(self._text(modules, most), None, tokens), tokens.dimension

    def _sparse(
        self, modules: Modules, config: dict[str, Any], chosen: Chosen
    ) -> tuple[Graph, Spec, int]:
        check_splade(self._folder, modules)
        words = config.get("vocab_size")
        if type(words) is not int or words < 1:
            self._folder.refuse(CONFIG, "does not say how many words there are (vocab_size)")
        graph, _ = self._graph(modules, chosen)
        text = self._text(modules, read_max_tokens(self._folder, modules.network, config))
        sparse = SparseOutput("", "weights" if chosen.built else "logits", 0, 0.0)
        return graph, TextSpec(text, None, None, sparse), words

    def _pair(
        self, modules: Modules, config: dict[str, Any], chosen: Chosen
    ) -> tuple[Graph, Spec, int]:
        graph, _ = self._graph(modules, chosen)
        most = read_max_tokens(self._folder, modules.network, config)
        return graph, read_pair(self._folder, config, f"{modules.network}{TOKENIZER}", most), 1

    # ── the parts ────────────────────────────────────────────────────────────────────────────

    def _text(self, modules: Modules, most: int, pool: str = "") -> TextInput:
        prompts = read_prompts(self._folder, modules, pool)
        return TextInput(f"{modules.network}{TOKENIZER}", most, *prompts)

    def _chosen(self, modules: Modules) -> Chosen:
        root = modules.network
        paths = {p.relative_to(self._folder.path).as_posix() for p in self._folder.path.rglob("*")}
        reason = why_not_built(self._folder, modules)
        chosen = choose(paths, self._variant, buildable=not reason, root=root)
        if chosen is None:
            self._folder.refuse(f"{root}{CONFIG}", no_weights(paths, reason))
        if chosen.variant != self._variant:
            self._folder.note(f"there is no {self._variant} graph: {chosen.path} is used")
        if chosen.built and chosen.variant == "int8" and modules.task in ("pair", "sparse"):
            self._folder.note("built in fp32: int8 is for vectors only")
            chosen = replace(chosen, variant="fp32")
        return chosen

    def _graph(
        self, modules: Modules, chosen: Chosen, layers: tuple[str, ...] = ()
    ) -> tuple[Graph, bool]:
        """The graph, and whether it makes vectors of texts itself."""
        if not chosen.built:
            return read_published(self._folder, chosen.path, modules.task)
        graph = BuiltGraph(
            chosen.path,
            chosen.variant,
            config=f"{modules.network}{CONFIG}",
            head=HEADS[("score",) if modules.task == "pair" else (modules.task,)],
            projection=PROJECTION if modules.task == "tokens" and not layers else "",
            modules=layers,
        )
        return graph, False

    def _width(self, config: dict[str, Any]) -> int:
        for key in ("hidden_size", "dim", "d_model", "n_embd", "word_embed_proj_dim"):
            if type(config.get(key)) is int:
                return int(config[key])
        self._folder.refuse(CONFIG, "does not say how wide the network is (hidden_size)")

    def _dimensions(self, config: dict[str, Any], dimension: int) -> Dimensions:
        settings = self._folder.json(SETTINGS, missing={})
        found = config.get("matryoshka_dimensions") or settings.get("matryoshka_dimensions") or []
        lengths = {*found} if isinstance(found, list) else set()
        lengths.add(settings.get("truncate_dim"))
        listed = {n for n in lengths if type(n) is int and 0 < n < dimension}
        if not listed and config.get("is_matryoshka") is True:
            return "any"
        return tuple(sorted(listed))

    def _files(self, graph: Graph, spec: Spec) -> tuple[ModelFile, ...]:
        if isinstance(graph, BuiltGraph):
            paths = set(graph.paths.values())
            if graph.weights.endswith(WEIGHTS_INDEX):
                root = graph.weights.removesuffix(WEIGHTS_INDEX)
                places = self._folder.json(graph.weights).get("weight_map", {})
                paths |= {f"{root}{name}" for name in places.values()}
        else:
            place = Path(graph.file).parent
            header = read_graph_header(self._folder.path / graph.file)
            paths = {graph.file, *((place / name).as_posix() for name in header.external)}
        paths |= set(spec.paths.values())
        if any(".." in Path(path).parts or Path(path).is_absolute() for path in paths):
            self._folder.refuse(CONFIG, "or another file leads out of the folder")
        missing = sorted(path for path in paths if not (self._folder.path / path).is_file())
        if missing:
            self._folder.refuse(missing[0], "is missing")
        sizes = {path: (self._folder.path / path).stat().st_size for path in sorted(paths)}
        return tuple(ModelFile(path, "", size) for path, size in sizes.items())


def why_not_built(folder: ModelFolder, modules: Modules) -> str:
    """Why no graph can be built from the weights of a network; "" if one can."""
    pool = read_pool(folder, modules) if modules.task == "dense" else ""
    if pool and pool not in BUILT_POOLS:
        return f"the pool {pool} is not built"
    try:
        read_config(folder.path / modules.network / CONFIG)
    except StoredDataError as error:
        return error.detail.removeprefix(f"{folder.path}/")
    return ""


def no_weights(paths: Collection[str], why_not_built: str) -> str:
    """Why no weights of a repository can be used."""
    if why_not_built and any(path.endswith(".safetensors") for path in paths):
        seen = f"safetensors, from which none can be built: {why_not_built}"
    elif any(path.endswith((".bin", ".pt", ".pth", ".ckpt")) for path in paths):
        seen = "pickled weights, which are never opened"
    else:
        seen = "none"
    return f"has no weights that can be used: expected an ONNX graph, found {seen}"


def _day(path: Path) -> int:
    """The day on which a file was written, as a manifest has it: seconds since 1970."""
    return int(path.stat().st_mtime) // 86_400 * 86_400
