"""Make the tiny encoder in `models/tiny`: a real graph with seeded weights, for tests and demos.

    python -m app.encoders.tiny models/tiny

It knows no language. But texts that share word pieces get vectors that point the same way: the
pieces' embeddings are wide, what attention and feed-forward add to them is small, and the mean
over tokens does the rest. So tests can ask for the nearest text without a download.

The result depends on nothing but this file: `RandomState` is frozen by NumPy's policy (NEP 19).
"""

from __future__ import annotations

import hashlib
import json
import string
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.encoders.networks.families import Architecture, open_tensors, read_network
from app.encoders.networks.heads import Pooled, build_network

DIMENSION = 32
LAYERS = 2
HEADS = 4
WIDE = 32  # the feed-forward width; small, because nothing is learned in it
MAX_TOKENS = 64
SEED = 20240607

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
# Frequent English letter groups: word pieces of some meaning, so that few tokens make a word.
STARTS = (
    "the and for with from that this are was not you all can has his her one our out day get new "
    "now old see two who man red sea sun cat dog car sky tea ice in on of to is it be by at an as "
    "com con pro pre dis str tra gre bl br ch cl cr dr fl gr pl pr qu sh sp st th tr un wh"
)
ENDS = (
    "ing tion ent ate er ed es ly al en on in an or ar is it le ic us um th nd st nt ng ck ll ss "
    "ee oo ea ou ai re te ve ne se de ge ce ke me ty ry ny ght ble ful ness ment able est ally"
)


def write_tiny(folder: Path) -> None:
    """Write model.onnx, tokenizer.json and encoder.toml into `folder`, over what is there."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = tiny_vocabulary()
    architecture = Architecture("bert", heads=HEADS, layer_norm_eps=1e-12)
    tensors = open_tensors(_tensors(len(vocabulary)), architecture)
    model = build_network(read_network(tensors, architecture), Pooled())
    files = {
        "tokenizer.json": json.dumps(tiny_tokenizer(vocabulary), indent=0).encode(),
        "model.onnx": model.SerializeToString(deterministic=True),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / "encoder.toml").write_text(_manifest(files), encoding="utf-8")


def tiny_vocabulary() -> list[str]:
    """The pieces of the tiny models; a piece's id is its place."""
    characters = string.ascii_lowercase + string.digits
    pieces = [*SPECIAL, *characters, *string.punctuation, *STARTS.split()]
    pieces += [f"##{piece}" for piece in (*characters, *ENDS.split())]
    return list(dict.fromkeys(pieces))


def _tensors(pieces: int) -> dict[str, NDArray[Any]]:
    random = np.random.RandomState(SEED)

    def normal(scale: float, *shape: int) -> NDArray[Any]:
        return (scale * random.standard_normal(shape)).astype(np.float32)

    tensors = {
        "embeddings.word_embeddings.weight": normal(1.0, pieces, DIMENSION),
        "embeddings.position_embeddings.weight": normal(0.05, MAX_TOKENS, DIMENSION),
        "embeddings.token_type_embeddings.weight": normal(0.05, 1, DIMENSION),
    }

    def norm(name: str) -> None:
        tensors[f"{name}.weight"] = np.ones(DIMENSION, np.float32)
        tensors[f"{name}.bias"] = np.zeros(DIMENSION, np.float32)

    def dense(name: str, rows: int, columns: int) -> None:
        tensors[f"{name}.weight"] = normal(0.05, rows, columns)
        tensors[f"{name}.bias"] = normal(0.05, rows)

    norm("embeddings.LayerNorm")
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}."
        for part in ("query", "key", "value"):
            dense(f"{at}attention.self.{part}", DIMENSION, DIMENSION)
        dense(f"{at}attention.output.dense", DIMENSION, DIMENSION)
        norm(f"{at}attention.output.LayerNorm")
        dense(f"{at}intermediate.dense", WIDE, DIMENSION)
        dense(f"{at}output.dense", DIMENSION, WIDE)
        norm(f"{at}output.LayerNorm")
    return tensors


def tiny_tokenizer(vocabulary: list[str]) -> dict[str, Any]:
    """A word-piece tokenizer of the same kind as BERT's, in the format of `tokenizers`."""
    ids = {piece: place for place, piece in enumerate(vocabulary)}
    first, last = ({"SpecialToken": {"id": piece, "type_id": 0}} for piece in ("[CLS]", "[SEP]"))
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": ids[piece],
                "content": piece,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for piece in SPECIAL
        ],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [first, {"Sequence": {"id": "A", "type_id": 0}}, last],
            "pair": [],
            "special_tokens": {
                piece: {"id": piece, "ids": [ids[piece]], "tokens": [piece]}
                for piece in ("[CLS]", "[SEP]")
            },
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": ids,
        },
    }


def listed(files: dict[str, bytes]) -> str:
    """The [[files]] of a manifest."""
    return "".join(
        f'\n[[files]]\npath = "{name}"\nsha256 = "{hashlib.sha256(content).hexdigest()}"\n'
        f"bytes = {len(content)}\n"
        for name, content in files.items()
    )


def _manifest(files: dict[str, bytes]) -> str:
    return f"""\
# Written by `python -m app.encoders.tiny`: random weights for tests, no use for search.
format = 1
name = "tiny"
modality = "text"
dimension = {DIMENSION}
owned_by = "likewise"
license = "Apache-2.0"
released = 2024-06-07
space = {{ id = "tiny", version = 1 }}

[text]
tokenizer = "tokenizer.json"
max_tokens = {MAX_TOKENS}

[graph]
file = "model.onnx"
batch = "together"

[output]
pool = "graph"
normalise = true
{listed(files)}"""


if __name__ == "__main__":
    write_tiny(Path(sys.argv[1]))
