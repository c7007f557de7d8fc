"""Read what sentence-transformers says of a model: its modules, pool, layers and prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from app.encoders.hub.folder import COLBERT, CONFIG, MODULES, SETTINGS, ModelFolder
from app.encoders.hub.weights import WEIGHTS
from app.encoders.manifest import Activation, Dense

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


_KINDS = (
    *("Transformer", "Pooling", "Dense", "LayerNorm", "Normalize"),
    *("MLMTransformer", "SpladePooling"),
)
_EXPECTED: dict[str, str] = {
    "dense": "Transformer → Pooling [→ Dense or LayerNorm …] [→ Normalize]",
    "tokens": "Transformer → Dense …",
    "sparse": "MLMTransformer → SpladePooling",
}

Task = Literal["dense", "tokens", "sparse", "pair"]
"""What a model makes: one vector, one a token, weights of words, or a score of two texts."""


@dataclass(frozen=True, slots=True)
class Modules:
    """Where the modules are; each a path with a slash at its end, or "" for the root."""

    task: Task
    network: str
    pooling: str | None
    layers: tuple[str, ...]
    normalise: bool


def read_modules(folder: ModelFolder) -> Modules:
    """Read which modules there are, or what is assumed of a folder that does not say."""
    if not folder.has(MODULES):
        return _without_modules(folder)
    listed = folder.json(MODULES, list)
    kinds = [_kind(folder, module) for module in listed]
    places = [_as_folder(str(module["path"])) for module in listed]
    layers = [place for place, kind in enumerate(kinds) if kind in ("Dense", "LayerNorm")]
    between = [kinds[place] for place in layers]
    task: Task = "dense"
    order = ["Transformer", "Pooling", *between]
    if "SpladePooling" in kinds:
        task, order = "sparse", ["MLMTransformer", "SpladePooling"]
    elif _is_late(folder, listed):
        task, order = "tokens", ["Transformer", *(between or ["Dense"])]
    if kinds != order and not (task == "dense" and kinds == [*order, "Normalize"]):
        folder.refuse(MODULES, f"lists {' → '.join(kinds)}: expected {_EXPECTED[task]}")
    return Modules(
        task,
        places[0],
        None if task == "tokens" else places[1],
        tuple(places[place] for place in layers),
        normalise="Normalize" in kinds,
    )


def _without_modules(folder: ModelFolder) -> Modules:
    """What a network alone is, by the head that its configuration names."""
    config = folder.json(CONFIG)
    if is_classifier(config):
        return Modules("pair", "", None, (), normalise=False)
    if folder.has(COLBERT):
        return Modules("tokens", "", None, (), normalise=True)
    if "HF_ColBERT" in (config.get("architectures") or []):
        folder.refuse(COLBERT, "is missing: it says how a ColBERT model reads its texts")
    pooling = "1_Pooling/"
    if folder.has(f"{pooling}{CONFIG}"):
        folder.note("no modules.json: vectors of length one are assumed")
        return Modules("dense", "", pooling, (), normalise=True)
    folder.note("no 1_Pooling: the mean over the tokens, of length one, is assumed")
    return Modules("dense", "", None, (), normalise=True)


def is_classifier(config: dict[str, Any]) -> bool:
    """Whether a network's configuration names the head of a cross-encoder."""
    named = config.get("architectures") or []
    return any("ForSequenceClassification" in str(name) for name in named)


def _is_late(folder: ModelFolder, listed: list[dict[str, Any]]) -> bool:
    """Whether tokens keep their vectors: as PyLate writes it, by its layers or the similarity."""
    by_pylate = any(str(module["type"]).startswith("pylate.") for module in listed)
    settings = folder.json(SETTINGS, missing={})
    return by_pylate or settings.get("similarity_fn_name") == "MaxSim"


def read_pool(folder: ModelFolder, modules: Modules) -> str:
    """How tokens become one vector, as a manifest says it."""
    if modules.pooling is None:
        return "mean"
    path = f"{modules.pooling}{CONFIG}"
    pooling = folder.json(path)
    named = pooling.get("pooling_mode", [])
    modes = {named} if isinstance(named, str) else set(named)
    modes |= {key for key, on in pooling.items() if key.startswith("pooling_mode_") and on}
    chosen = [name for flag, mode, name in _POOLS if modes & {flag, mode}]
    if not chosen or len(chosen) < len(modes):
        folder.refuse(path, "asks for a pool that is not supported")
    return "+".join(chosen)


def read_layers(folder: ModelFolder, modules: Modules, width: int) -> tuple[tuple[str, ...], int]:
    """The folders of the layers after the pool, and how wide vectors are after them."""
    for place in modules.layers:
        layer = folder.json(f"{place}{CONFIG}")
        taken = layer.get("in_features", layer.get("dimension"))
        makes = layer.get("out_features", taken)
        if taken != width or type(makes) is not int:
            folder.refuse(f"{place}{CONFIG}", f"takes {taken} numbers, {width} come to it")
        if not (folder.path / place / WEIGHTS).is_file():
            folder.refuse(f"{place}{WEIGHTS}", "is missing: layers are read from nothing else")
        width = makes
    return tuple(place.rstrip("/") for place in modules.layers), width


def read_dense(folder: ModelFolder, layers: tuple[str, ...]) -> tuple[Dense, ...]:
    """The layers after the pool of a graph that is not built here."""
    dense: list[Dense] = []
    for place in layers:
        path = f"{place}/{CONFIG}"
        config = folder.json(path)
        if "in_features" not in config:
            folder.refuse(path, "is no Dense layer: others are in graphs that are built here")
        name = str(config.get("activation_function", "Identity")).rpartition(".")[2]
        if name not in _ACTIVATIONS:
            folder.refuse(path, f"asks for the activation {name}: expected Tanh or Identity")
        dense.append(Dense(f"{place}/{WEIGHTS}", _ACTIVATIONS[name]))
    return tuple(dense)


def read_prompts(folder: ModelFolder, modules: Modules, pool: str) -> tuple[str, str]:
    """What goes before queries, and before documents."""
    settings = folder.json(SETTINGS, missing={})
    prompts = settings.get("prompts") or {}
    if not all(isinstance(prompt, str) for prompt in prompts.values()):
        folder.refuse(SETTINGS, "has prompts that are no texts")
    default = prompts.get(settings.get("default_prompt_name"), "")

    def first(*names: str) -> str:
        return str(next((prompts[name] for name in names if name in prompts), default))

    query, document = first("query"), first("document", "passage", "corpus")
    if (query or document) and modules.task == "dense" and modules.pooling is not None:
        path = f"{modules.pooling}{CONFIG}"
        if not folder.json(path).get("include_prompt", True) and pool != "graph":
            folder.refuse(path, "leaves the prompt out of the pool, which is not supported")
    return query, document


def _kind(folder: ModelFolder, module: Any) -> str:
    """The class of a module; those of others than sentence-transformers are code to be run."""
    if not isinstance(module, dict) or not isinstance(module.get("path"), str):
        folder.refuse(MODULES, "is not a list of modules with paths")
    if ".." in module["path"]:
        folder.refuse(MODULES, "leads out of the folder")
    kind = str(module.get("type"))
    if not kind.startswith(("sentence_transformers.", "pylate.models.")):
        folder.refuse(MODULES, f"asks for {kind}, which is code of the model's own")
    last = kind.rpartition(".")[2]
    if last not in _KINDS:
        folder.refuse(MODULES, f"asks for a module {last}, which is not supported")
    return last


def _as_folder(path: str) -> str:
    return f"{path.strip('/')}/" if path.strip("/") else ""
