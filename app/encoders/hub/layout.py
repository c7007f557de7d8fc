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

A folder with a network alone (`config.json`, `tokenizer.json` and a graph, as other servers take
it) is read as sentence-transformers would: the mean over the tokens. It also gets vectors of length
one. What was assumed so is said in `Discovered.notes`.

Whatever would change vectors and is not understood is refused, with the file and the reason.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from app.encoders.base import Dimensions
from app.encoders.files import sha256_of
from app.encoders.graph_header import GraphHeader, read_graph_header
from app.encoders.hub.folder import CONFIG, MODULES, SETTINGS, TOKENIZER, ModelFolder
from app.encoders.hub.modules import (
    Modules,
    read_dense,
    read_layers,
    read_modules,
    read_pool,
    read_prompts,
)
from app.encoders.hub.weights import WEIGHTS_INDEX, Chosen, choose
from app.encoders.manifest import (
    Batch,
    BuiltGraph,
    Graph,
    Manifest,
    ModelFile,
    Output,
    ReadyGraph,
    TextInput,
    TextSpec,
    Variant,
)
from app.encoders.manifest.manifest import BUILT_POOLS
from app.encoders.networks.config import MODEL_TYPES, read_config
from app.errors import StoredDataError

ROOT_CONFIGS = (MODULES, SETTINGS)
NETWORK_CONFIGS = (CONFIG, TOKENIZER, "tokenizer_config.json", "sentence_bert_config.json")

NO_LIMIT = 1_000_000  # tokenizers without a limit publish numbers like 10³⁰
ASSUMED_TOKENS = 512

# What exporters call the last layer, and the pooled vector.
TOKEN_OUTPUTS = ("last_hidden_state", "token_embeddings", "hidden_states")
VECTOR_OUTPUTS = ("sentence_embedding", "text_embeds", "embeddings", "pooled_output")
KNOWN_INPUTS = {"input_ids", "attention_mask", "token_type_ids"}


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
    return _Layout(ModelFolder(folder, name), variant).read()


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
        self._check_task(config)
        tokenizer = f"{modules.network}{TOKENIZER}"
        if not (self._folder.path / tokenizer).is_file():
            self._folder.refuse(
                tokenizer, "is missing: it is the only form of tokenizer that is read"
            )
        paths = {p.relative_to(self._folder.path).as_posix() for p in self._folder.path.rglob("*")}
        pool = read_pool(self._folder, modules)
        chosen = self._chosen(paths, modules.network, why_not_built(self._folder, modules))
        width = self._width(config)
        layers, dimension = read_layers(self._folder, modules, width * len(pool.split("+")))
        graph, pool = self._graph(chosen, pool, layers, modules.network)
        prompts = read_prompts(self._folder, modules, pool)
        text = TextInput(tokenizer, self._max_tokens(modules.network, config), *prompts)
        dense = () if chosen.built else read_dense(self._folder, layers)
        spec = TextSpec(text, Output(pool, modules.normalise, dense))
        manifest = Manifest(
            name=self._folder.name,
            kind="text",
            modality="text",
            dimension=dimension,
            dimensions=self._dimensions(config, dimension),
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

    def _check_task(self, config: dict[str, Any]) -> None:
        named = config.get("architectures") or [""]
        if any("ForSequenceClassification" in str(name) for name in named):
            self._folder.refuse(
                CONFIG, "is a classifier's or cross-encoder's: it needs an encoder.toml"
            )
        if config.get("is_encoder_decoder"):
            self._folder.note("an encoder with a decoder: the graph must be the encoder's alone")

    def _chosen(self, paths: set[str], root: str, why_not_built: str) -> Chosen:
        chosen = choose(paths, self._variant, buildable=not why_not_built, root=root)
        if chosen is None:
            self._folder.refuse(f"{root}{CONFIG}", no_weights(paths, why_not_built))
        if chosen.variant != self._variant:
            self._folder.note(f"there is no {self._variant} graph: {chosen.path} is used")
        return chosen

    def _graph(
        self, chosen: Chosen, pool: str, layers: tuple[str, ...], root: str
    ) -> tuple[Graph, str]:
        if chosen.built:
            config = f"{root}{CONFIG}"
            return BuiltGraph(chosen.path, chosen.variant, config=config, modules=layers), pool
        header = read_graph_header(self._folder.path / chosen.path)
        unknown = {port.name for port in header.inputs} - KNOWN_INPUTS
        if unknown:
            self._folder.refuse(
                chosen.path, f"has inputs that a text cannot fill: {sorted(unknown)[:5]}"
            )
        parent = (self._folder.path / chosen.path).parent
        missing = sorted(name for name in header.external if not (parent / name).is_file())
        if missing:
            self._folder.refuse(
                chosen.path, f"keeps weights in {', '.join(missing)}, which is missing"
            )
        output, pooled = self._output(chosen.path, header)
        if pooled and layers:
            self._folder.refuse(
                chosen.path, "makes vectors itself: whether with the layers is unsaid"
            )
        batch: Batch = "alone" if header.quantises_by_batch else "together"
        return ReadyGraph(chosen.path, output, batch), "graph" if pooled else pool

    def _output(self, path: str, header: GraphHeader) -> tuple[str, bool]:
        """The output to use, and whether it is one vector for each text."""
        by_name = {port.name: port for port in header.outputs}
        for name in TOKEN_OUTPUTS:
            if name in by_name and by_name[name].rank in (3, None):
                return name, False
        for port in header.outputs:
            if port.rank == 3:
                return port.name, False
        for name in (*VECTOR_OUTPUTS, *by_name):
            if name in by_name and by_name[name].rank == 2:
                self._folder.note(f"the graph's own vectors ({name}) are used, and no pool")
                return name, True
        self._folder.refuse(path, f"has no output of token vectors: {sorted(by_name)[:5]}")

    def _width(self, config: dict[str, Any]) -> int:
        for key in ("hidden_size", "dim", "d_model", "n_embd", "word_embed_proj_dim"):
            if type(config.get(key)) is int:
                return int(config[key])
        self._folder.refuse(CONFIG, "does not say how wide the network is (hidden_size)")

    def _max_tokens(self, network: str, config: dict[str, Any]) -> int:
        settings = self._folder.json(f"{network}sentence_bert_config.json", missing={})
        if settings.get("do_lower_case"):
            self._check_lowered(f"{network}{TOKENIZER}")
        tokenizer = self._folder.json(f"{network}tokenizer_config.json", missing={})
        positions = config.get("max_position_embeddings", config.get("n_positions"))
        if type(positions) is int and _behind_padding(config):
            positions -= int(config.get("pad_token_id") or 1) + 1
        limits = [settings.get("max_seq_length"), tokenizer.get("model_max_length"), positions]
        known = [int(n) for n in limits if type(n) in (int, float) and 0 < n < NO_LIMIT]
        # What was set for the model goes before what its tokenizer could do, but no text may be
        # longer than there are positions.
        if type(limits[0]) is int and limits[0] > 0:
            known = [n for n in (limits[0], positions) if type(n) is int and n > 0]
        if not known:
            self._folder.note(f"no length is given: {ASSUMED_TOKENS} tokens are assumed")
        return min(known, default=ASSUMED_TOKENS)

    def _check_lowered(self, path: str) -> None:
        normalizer = json.dumps(self._folder.json(path).get("normalizer")).lower()
        if not ('"lowercase": true' in normalizer or '"type": "lowercase"' in normalizer):
            self._folder.refuse(
                path, "keeps capitals, though the model is to get none (do_lower_case)"
            )

    def _dimensions(self, config: dict[str, Any], dimension: int) -> Dimensions:
        settings = self._folder.json(SETTINGS, missing={})
        found = config.get("matryoshka_dimensions") or settings.get("matryoshka_dimensions") or []
        lengths = {*found} if isinstance(found, list) else set()
        lengths.add(settings.get("truncate_dim"))
        listed = {n for n in lengths if type(n) is int and 0 < n < dimension}
        if not listed and config.get("is_matryoshka") is True:
            return "any"
        return tuple(sorted(listed))

    def _files(self, graph: Graph, spec: TextSpec) -> tuple[ModelFile, ...]:
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
    pool = read_pool(folder, modules)
    if pool not in BUILT_POOLS:
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


def _behind_padding(config: dict[str, Any]) -> bool:
    """Whether positions begin behind the padding's number."""
    kind = str(config.get("model_type"))
    return MODEL_TYPES.get(kind) in ("roberta", "mpnet") or "roberta" in kind


def _day(path: Path) -> int:
    """The day on which a file was written, as a manifest has it: seconds since 1970."""
    return int(path.stat().st_mtime) // 86_400 * 86_400
