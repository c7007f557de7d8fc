"""Make a manifest of a folder that has none: from the files that model hubs publish with a model.

Theory of operation. sentence-transformers describes a model as modules, one after the other, in
`modules.json`: a Transformer, a Pooling, perhaps layers (Dense, LayerNorm), perhaps Normalize. Each has its
configuration in a folder of its own. All of it is read here and becomes keys of a manifest:

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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from app.encoders.base import Dimensions
from app.encoders.files import sha256_of
from app.encoders.graph_header import GraphHeader, read_graph_header
from app.encoders.hub.weights import WEIGHTS, WEIGHTS_INDEX, Chosen, choose
from app.encoders.manifest import (
    Activation,
    Batch,
    BuiltGraph,
    Dense,
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

MODULES = "modules.json"
CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
ROOT_CONFIGS = (MODULES, "config_sentence_transformers.json")
NETWORK_CONFIGS = (CONFIG, TOKENIZER, "tokenizer_config.json", "sentence_bert_config.json")

NO_LIMIT = 1_000_000  # tokenizers without a limit publish numbers like 10³⁰
ASSUMED_TOKENS = 512

# What exporters call the last layer, and the pooled vector.
TOKEN_OUTPUTS = ("last_hidden_state", "token_embeddings", "hidden_states")
VECTOR_OUTPUTS = ("sentence_embedding", "text_embeds", "embeddings", "pooled_output")
KNOWN_INPUTS = {"input_ids", "attention_mask", "token_type_ids"}

_POOLS = (
    # A flag of its own in older files, a name in newer ones, and our name; in the order in which
    # sentence-transformers puts several side by side.
    ("pooling_mode_cls_token", "cls", "cls"),
    ("pooling_mode_max_tokens", "max", "max"),
    ("pooling_mode_mean_tokens", "mean", "mean"),
    ("pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", "mean_sqrt"),
    ("pooling_mode_weightedmean_tokens", "weightedmean", "weighted_mean"),
    ("pooling_mode_lasttoken", "lasttoken", "last"),
)
_ACTIVATIONS: dict[str, Activation] = {"Identity": "identity", "Tanh": "tanh"}


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


def is_layout(folder: Path) -> bool:
    """Whether a folder looks like a model of a hub."""
    return (folder / MODULES).is_file() or (folder / CONFIG).is_file()


def discover(folder: Path, name: str, variant: Variant) -> Discovered:
    """Read what a folder is. The weights are looked at, but not read.

    Raises StoredDataError naming the file and the reason if it cannot be used.
    """
    return _Layout(folder, name, variant).read()


def with_hashes(manifest: Manifest, folder: Path) -> Manifest:
    """Put the sha256 and the length of every file into the manifest: reads all of them."""
    files = tuple(
        ModelFile(file.path, sha256_of(folder / file.path), (folder / file.path).stat().st_size)
        for file in manifest.files
    )
    return replace(manifest, files=files)


@dataclass(frozen=True, slots=True)
class _Modules:
    """Where the modules are; each a path with a slash at its end, or "" for the root."""

    network: str
    pooling: str | None
    dense: tuple[str, ...]
    normalise: bool


class _Layout:
    def __init__(self, folder: Path, name: str, variant: Variant) -> None:
        self._folder, self._name, self._variant = folder, name, variant
        self._notes: list[str] = []

    def read(self) -> Discovered:
        modules = self._modules()
        config = self._json(f"{modules.network}{CONFIG}")
        self._check_task(config)
        tokenizer = f"{modules.network}{TOKENIZER}"
        if not (self._folder / tokenizer).is_file():
            self._refuse(tokenizer, "is missing: it is the only form of tokenizer that is read")
        paths = {p.relative_to(self._folder).as_posix() for p in self._folder.rglob("*")}
        chosen = self._chosen(paths, config, modules.network)
        width = self._width(config)
        pool = self._pool(modules, config)
        layers, dimension = self._layers(modules, width * len(pool.split("+")))
        graph, pool = self._graph(chosen, pool, layers, modules.network)
        prompts = self._prompts(modules, pool)
        text = TextInput(tokenizer, self._max_tokens(modules.network, config), *prompts)
        dense = () if chosen.built else self._dense(layers)
        spec = TextSpec(text, Output(pool, modules.normalise, dense))
        manifest = Manifest(
            name=self._name,
            kind="text",
            modality="text",
            dimension=dimension,
            dimensions=self._dimensions(config, dimension),
            owned_by="unknown",
            license="unknown",
            released=_day(self._folder / modules.network / CONFIG),
            space=f"{self._name}@1",
            graph=graph,
            spec=spec,
            files=self._files(graph, spec),
            sources=(),
        )
        return Discovered(manifest, chosen.variant, tuple(self._notes))

    def _modules(self) -> _Modules:
        if not (self._folder / MODULES).is_file():
            pooling = "1_Pooling/"
            if (self._folder / pooling / CONFIG).is_file():
                self._note("no modules.json: vectors of length one are assumed")
                return _Modules("", pooling, (), normalise=True)
            self._note("no 1_Pooling: the mean over the tokens, of length one, is assumed")
            return _Modules("", None, (), normalise=True)
        listed = self._json(MODULES, list)
        kinds = [self._kind(module) for module in listed]
        places = [_as_folder(str(module["path"])) for module in listed]
        layers = [place for place, kind in enumerate(kinds) if kind in ("Dense", "LayerNorm")]
        order = ["Transformer", "Pooling", *(kinds[place] for place in layers)]
        if kinds not in (order, [*order, "Normalize"]):
            expected = "Transformer → Pooling [→ Dense or LayerNorm …] [→ Normalize]"
            self._refuse(MODULES, f"lists {' → '.join(kinds)}: expected {expected}")
        return _Modules(
            places[0],
            places[1],
            tuple(places[place] for place in layers),
            normalise="Normalize" in kinds,
        )

    def _kind(self, module: Any) -> str:
        """The class of a module; those of others than sentence-transformers are code to be run."""
        if not isinstance(module, dict) or not isinstance(module.get("path"), str):
            self._refuse(MODULES, "is not a list of modules with paths")
        kind = str(module.get("type"))
        if not kind.startswith("sentence_transformers."):
            self._refuse(MODULES, f"asks for {kind}, which is code of the model's own")
        last = kind.rpartition(".")[2]
        if last not in ("Transformer", "Pooling", "Dense", "LayerNorm", "Normalize"):
            self._refuse(MODULES, f"asks for a module {last}, which is not supported")
        return last

    def _check_task(self, config: dict[str, Any]) -> None:
        named = config.get("architectures") or [""]
        if any("ForSequenceClassification" in str(name) for name in named):
            self._refuse(CONFIG, "is a classifier's or cross-encoder's: it needs an encoder.toml")
        if config.get("is_encoder_decoder"):
            self._note("an encoder with a decoder: the graph must be the encoder's alone")

    def _chosen(self, paths: set[str], config: dict[str, Any], root: str) -> Chosen:
        chosen = choose(paths, config, self._variant, root)
        if chosen is None:
            family = config.get("model_type", "unknown")
            self._refuse(CONFIG, no_weights(family, paths))
        if chosen.variant != self._variant:
            self._note(f"there is no {self._variant} graph: {chosen.path} is used")
        return chosen

    def _graph(
        self, chosen: Chosen, pool: str, layers: tuple[str, ...], root: str
    ) -> tuple[Graph, str]:
        if chosen.built:
            config = f"{root}{CONFIG}"
            if pool not in BUILT_POOLS:
                self._refuse(
                    chosen.path, f"cannot be built with the pool {pool!r}: an ONNX graph is needed"
                )
            read_config(self._folder / config)  # refuses what the builder does not know
            return BuiltGraph(chosen.path, chosen.variant, config=config, modules=layers), pool
        header = read_graph_header(self._folder / chosen.path)
        unknown = {port.name for port in header.inputs} - KNOWN_INPUTS
        if unknown:
            self._refuse(chosen.path, f"has inputs that a text cannot fill: {sorted(unknown)[:5]}")
        parent = (self._folder / chosen.path).parent
        missing = sorted(name for name in header.external if not (parent / name).is_file())
        if missing:
            self._refuse(chosen.path, f"keeps weights in {', '.join(missing)}, which is missing")
        output, pooled = self._output(chosen.path, header)
        if pooled and layers:
            self._refuse(chosen.path, "makes vectors itself: whether with the layers is unsaid")
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
                self._note(f"the graph's own vectors ({name}) are used, and no pool")
                return name, True
        self._refuse(path, f"has no output of token vectors: {sorted(by_name)[:5]}")

    def _width(self, config: dict[str, Any]) -> int:
        for key in ("hidden_size", "dim", "d_model", "n_embd", "word_embed_proj_dim"):
            if type(config.get(key)) is int:
                return int(config[key])
        self._refuse(CONFIG, "does not say how wide the network is (hidden_size)")

    def _pool(self, modules: _Modules, config: dict[str, Any]) -> str:
        if modules.pooling is None:
            return "mean"
        path = f"{modules.pooling}{CONFIG}"
        pooling = self._json(path)
        named = pooling.get("pooling_mode", [])
        modes = {named} if isinstance(named, str) else set(named)
        modes |= {key for key, on in pooling.items() if key.startswith("pooling_mode_") and on}
        chosen = [name for flag, mode, name in _POOLS if modes & {flag, mode}]
        if not chosen or len(chosen) < len(modes):
            self._refuse(path, "asks for a pool that is not supported")
        return "+".join(chosen)

    def _layers(self, modules: _Modules, width: int) -> tuple[tuple[str, ...], int]:
        """The folders of the layers after the pool, and how wide vectors are after them."""
        for place in modules.dense:
            layer = self._json(f"{place}{CONFIG}")
            taken = layer.get("in_features", layer.get("dimension"))
            makes = layer.get("out_features", taken)
            if taken != width or type(makes) is not int:
                self._refuse(f"{place}{CONFIG}", f"takes {taken} numbers, {width} come to it")
            if not (self._folder / place / WEIGHTS).is_file():
                self._refuse(f"{place}{WEIGHTS}", "is missing: layers are read from nothing else")
            width = makes
        return tuple(place.rstrip("/") for place in modules.dense), width

    def _dense(self, layers: tuple[str, ...]) -> tuple[Dense, ...]:
        """The layers after the pool of a graph that is not built here."""
        dense: list[Dense] = []
        for place in layers:
            path = f"{place}/{CONFIG}"
            config = self._json(path)
            if "in_features" not in config:
                self._refuse(path, "is no Dense layer: others are in graphs that are built here")
            name = str(config.get("activation_function", "Identity")).rpartition(".")[2]
            if name not in _ACTIVATIONS:
                self._refuse(path, f"asks for the activation {name}: expected Tanh or Identity")
            dense.append(Dense(f"{place}/{WEIGHTS}", _ACTIVATIONS[name]))
        return tuple(dense)

    def _prompts(self, modules: _Modules, pool: str) -> tuple[str, str]:
        settings = self._json("config_sentence_transformers.json", missing={})
        prompts = settings.get("prompts") or {}
        if not all(isinstance(prompt, str) for prompt in prompts.values()):
            self._refuse("config_sentence_transformers.json", "has prompts that are no texts")
        default = prompts.get(settings.get("default_prompt_name"), "")

        def first(*names: str) -> str:
            return str(next((prompts[name] for name in names if name in prompts), default))

        query, document = first("query"), first("document", "passage", "corpus")
        if (query or document) and modules.pooling is not None:
            path = f"{modules.pooling}{CONFIG}"
            if not self._json(path).get("include_prompt", True) and pool != "graph":
                self._refuse(path, "leaves the prompt out of the pool, which is not supported")
        return query, document

    def _max_tokens(self, network: str, config: dict[str, Any]) -> int:
        settings = self._json(f"{network}sentence_bert_config.json", missing={})
        if settings.get("do_lower_case"):
            self._check_lowered(f"{network}{TOKENIZER}")
        tokenizer = self._json(f"{network}tokenizer_config.json", missing={})
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
            self._note(f"no length is given: {ASSUMED_TOKENS} tokens are assumed")
        return min(known, default=ASSUMED_TOKENS)

    def _check_lowered(self, path: str) -> None:
        normalizer = json.dumps(self._json(path).get("normalizer")).lower()
        if not ('"lowercase": true' in normalizer or '"type": "lowercase"' in normalizer):
            self._refuse(path, "keeps capitals, though the model is to get none (do_lower_case)")

    def _dimensions(self, config: dict[str, Any], dimension: int) -> Dimensions:
        settings = self._json("config_sentence_transformers.json", missing={})
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
                places = self._json(graph.weights).get("weight_map", {})
                paths |= {f"{root}{name}" for name in places.values()}
        else:
            place = Path(graph.file).parent
            header = read_graph_header(self._folder / graph.file)
            paths = {graph.file, *((place / name).as_posix() for name in header.external)}
        paths |= set(spec.paths.values())
        missing = sorted(path for path in paths if not (self._folder / path).is_file())
        if missing:
            self._refuse(missing[0], "is missing")
        sizes = {path: (self._folder / path).stat().st_size for path in sorted(paths)}
        return tuple(ModelFile(path, "", size) for path, size in sizes.items())

    def _json(self, path: str, kind: type = dict, missing: Any = None) -> Any:
        """Read a configuration; `missing` stands for a file that may be left out."""
        try:
            read = json.loads((self._folder / path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            if missing is not None:
                return missing
            self._refuse(path, "is missing")
        except (OSError, ValueError) as exc:
            self._refuse(path, f"cannot be read: {type(exc).__name__}")
        if type(read) is not kind:
            self._refuse(path, "is not what it should be: another type of JSON")
        return read

    def _note(self, sentence: str) -> None:
        self._notes.append(sentence)

    def _refuse(self, path: str, reason: str) -> NoReturn:
        file = self._folder / path
        raise StoredDataError(f"{self._name}: {path} {reason}", path=str(file))


def no_weights(family: object, paths: set[str]) -> str:
    """Why no weights of a repository can be used."""
    if any(path.endswith((".bin", ".pt", ".pth", ".ckpt")) for path in paths):
        seen = "pickled weights, which are never opened"
    elif any(path.endswith(".safetensors") for path in paths):
        seen = f"safetensors, but a network of type {family!r} cannot be built here"
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


def _as_folder(path: str) -> str:
    return f"{path.strip('/')}/" if path.strip("/") else ""
