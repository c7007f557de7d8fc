"""What models make beside one vector a text, by their configurations.

- Cross-encoders: `config.json`, with the activation where sentence-transformers' CrossEncoder keeps
  it.
- Sparse encoders: `1_SpladePooling/config.json`.
- Late interaction: PyLate's keys of `config_sentence_transformers.json`, or ColBERT's
  `artifact.metadata`. Texts are marked, filled and cut as both do it: the marker is put behind the
  first token and counts, queries are filled with the mask.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import Any

from app.encoders.hub.folder import COLBERT, CONFIG, SETTINGS, TOKENIZER, ModelFolder
from app.encoders.hub.modules import Modules
from app.encoders.manifest import PairSpec, TokenOutput
from app.encoders.manifest.pair import Activation
from app.encoders.networks.checkpoint import DENSE_ACTIVATIONS
from app.encoders.tokenizer import Tokenizer

PROJECTION = "linear"
"""What ColBERT's own checkpoints call the product after the last layer."""

_ACTIVATIONS: dict[str, Activation] = {"Identity": "identity", "Sigmoid": "sigmoid"}
_UNSAID_LABELS = 2  # of a configuration that names none
_MASKS = ("[MASK]", "<mask>")


def read_pair(
    folder: ModelFolder, config: dict[str, Any], tokenizer: str, max_tokens: int
) -> PairSpec:
    """Read the head of a cross-encoder; texts are cut as its library does it."""
    named = config.get("id2label")
    labels = config.get("num_labels", len(named) if isinstance(named, dict) else _UNSAID_LABELS)
    if labels != 1:
        folder.refuse(
            CONFIG, f"has {labels} labels, and which is the score is unsaid: write an encoder.toml"
        )
    newer = config.get("sentence_transformers") or {}
    path = newer.get("activation_fn", config.get("sbert_ce_default_activation_function"))
    name = "Sigmoid" if path is None else str(path).rpartition(".")[2]
    if name not in _ACTIVATIONS:
        folder.refuse(CONFIG, f"asks for the activation {name}: expected Sigmoid or Identity")
    prompts = folder.json(SETTINGS, missing={}).get("prompts") or {}
    if any(prompts.values()):
        folder.refuse(SETTINGS, "has prompts, which cross-encoders do not get here")
    return PairSpec(tokenizer, max_tokens, "longest", labels, 0, _ACTIVATIONS[name])


def check_splade(folder: ModelFolder, modules: Modules) -> None:
    """Refuse a pool of logits that is another than max log(1 + relu)."""
    path = f"{modules.pooling}{CONFIG}"
    config = folder.json(path)
    strategy = config.get("pooling_strategy", "max")
    activation = config.get("activation_function", "relu")
    if (strategy, activation) != ("max", "relu"):
        folder.refuse(path, f"asks for {strategy} of {activation}: expected max of relu")


@dataclass(frozen=True, slots=True)
class Late:
    """How a late-interaction model reads texts: what `TokenOutput` has, and documents' length.

    dimension  numbers of a token's vector; 0 where the layers say it
    """

    query_marker: str
    document_marker: str
    query_tokens: int
    document_tokens: int
    fill: bool
    attend: bool
    punctuation: bool
    dimension: int

    def output(self, folder: ModelFolder, network: str, dimension: int) -> TokenOutput:
        """What a manifest says of it. Raises StoredDataError if the tokenizer lacks a piece."""
        path = f"{network}{TOKENIZER}"
        try:
            pieces = Tokenizer(folder.path / path, self.document_tokens).pieces()
        except Exception as exc:  # the tokenizers' library raises nothing narrower
            folder.refuse(path, f"is no tokenizer: {exc}")
        for marker in (self.query_marker, self.document_marker):
            if marker and marker not in pieces:
                folder.refuse(path, f"has no piece {marker!r}, which marks texts")
        without = [mark for mark in string.punctuation if mark not in pieces]
        if self.punctuation and without:
            folder.note(f"documents keep {' '.join(without)}, which are no pieces of the tokenizer")
        return TokenOutput(
            output="",
            dimension=dimension,
            normalise=True,
            projection="",
            tensor="linear.weight",
            skip_special=False,
            skip_punctuation=self.punctuation,
            query_marker=self.query_marker,
            document_marker=self.document_marker,
            query_tokens=self.query_tokens,
            query_fill=_mask(folder, network, pieces) if self.fill else "",
            attend_to_mask=self.attend,
        )


def read_late(folder: ModelFolder, modules: Modules) -> Late:
    """Read how a late-interaction model reads texts; what is not said is the library's default."""
    late = _from_pylate(folder) if modules.layers else _from_colbert(folder)
    if late.query_tokens > late.document_tokens:
        folder.refuse(
            SETTINGS if modules.layers else COLBERT, "has queries that are longer than documents"
        )
    return late


def check_layers(folder: ModelFolder, modules: Modules, *, built: bool) -> None:
    """Refuse layers after the tokens that a graph, or a projection outside of it, cannot do."""
    for place in modules.layers:
        path = f"{place}{CONFIG}"
        layer = folder.json(path)
        if layer.get("use_residual"):
            folder.refuse(path, "adds what goes in to what comes out, which is not supported")
        if layer.get("module_input_name", "token_embeddings") != "token_embeddings":
            folder.refuse(path, "is not for the vectors of tokens")
        name = str(layer.get("activation_function", "Identity")).rpartition(".")[2]
        plain = name == "Identity" and layer.get("bias") is False
        if (name not in DENSE_ACTIVATIONS) if built else not (plain and len(modules.layers) == 1):
            folder.refuse(
                path,
                f"asks for {name} with bias {layer.get('bias')}, layer of {len(modules.layers)}: "
                "beside a published graph, expected one of Identity without bias",
            )
    if not built and not modules.layers:
        folder.refuse(COLBERT, "is of a model that is read from safetensors only, of BERT's kinds")


def _from_pylate(folder: ModelFolder) -> Late:
    said = _Said(folder, SETTINGS)
    words = said.value("skiplist_words", list, list(string.punctuation))
    if set(words) not in (set(string.punctuation), set()):
        folder.refuse(SETTINGS, "skips other words than punctuation (skiplist_words)")
    fill = said.value("do_query_expansion", bool, True)
    return Late(
        query_marker=said.value("query_prefix", str, "[Q] "),
        document_marker=said.value("document_prefix", str, "[D] "),
        query_tokens=said.value("query_length", int, 32),
        document_tokens=said.value("document_length", int, 180),
        fill=fill,
        attend=fill and said.value("attend_to_expansion_tokens", bool, False),
        punctuation=bool(words),
        dimension=0,
    )


def _from_colbert(folder: ModelFolder) -> Late:
    said = _Said(folder, COLBERT)
    similarity = said.value("similarity", str, "cosine")
    if similarity != "cosine":
        folder.refuse(COLBERT, f"asks for the similarity {similarity}: expected cosine")
    return Late(
        query_marker=said.value("query_token_id", str, "[unused0]"),
        document_marker=said.value("doc_token_id", str, "[unused1]"),
        query_tokens=said.value("query_maxlen", int),
        document_tokens=said.value("doc_maxlen", int),
        fill=True,
        attend=said.value("attend_to_mask_tokens", bool, False),
        punctuation=said.value("mask_punctuation", bool, True),
        dimension=said.value("dim", int),
    )


class _Said:
    """A configuration whose keys are of known types."""

    def __init__(self, folder: ModelFolder, path: str) -> None:
        self._folder, self._path, self._entries = folder, path, folder.json(path)

    def value(self, key: str, kind: type, default: Any = None) -> Any:
        value = self._entries.get(key)
        value = default if value is None else value
        if type(value) is not kind or (isinstance(value, int) and kind is int and value < 1):
            self._folder.refuse(self._path, f"does not say {key} as it should")
        return value


def _mask(folder: ModelFolder, network: str, pieces: dict[str, int]) -> str:
    """The piece with which queries are filled."""
    named = folder.json(f"{network}tokenizer_config.json", missing={}).get("mask_token")
    content = named.get("content") if isinstance(named, dict) else named
    found = next((piece for piece in (content, *_MASKS) if piece in pieces), None)
    if found is None:
        folder.refuse(f"{network}{TOKENIZER}", "has no mask to fill queries with")
    return str(found)
