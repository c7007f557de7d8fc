"""Make the tiny cross-encoder in `models/tiny-cross`: a real graph for tests and demos.

    python -m app.encoders.tiny_cross models/tiny-cross

It knows no language: it looks for the query's word pieces in the document. Each piece has a seeded
vector; a piece of the query counts by the cosine to the piece of the document that is most like
it, which is 1 for the same piece and little for any other, and the score is the sigmoid of their
mean, stretched. So the more of a query a document has, the higher it is ranked, whatever else the
document says: what a cross-encoder is asked for, without a download.

The result depends on nothing but this file and `app.encoders.tiny`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from app.encoders.tiny import SPECIAL, listed, tiny_tokenizer, tiny_vocabulary

DIMENSION = 32
MAX_TOKENS = 256
SEED = 20240608
STRETCH, SHIFT = 8.0, -4.0  # none of the query: 0.02; half: 0.5; all of it: 0.98


def write_tiny_cross(folder: Path) -> None:
    """Write model.onnx, tokenizer.json and encoder.toml into `folder`, over what is there."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = tiny_vocabulary()
    tokenizer = tiny_tokenizer(vocabulary)
    tokenizer["post_processor"]["pair"] = _pair_template()
    files = {
        "tokenizer.json": json.dumps(tokenizer, indent=0).encode(),
        "model.onnx": _graph(len(vocabulary)).SerializeToString(deterministic=True),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / "encoder.toml").write_text(_manifest(files), encoding="utf-8")


def _pair_template() -> list[dict[str, Any]]:
    """[CLS] query [SEP] document [SEP]; what belongs to the document is of type 1."""
    return [
        {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
        {"Sequence": {"id": "B", "type_id": 1}},
        {"SpecialToken": {"id": "[SEP]", "type_id": 1}},
    ]


def _graph(pieces: int) -> onnx.ModelProto:
    """From [pair, token] ids, mask and types to `logits` [pair, 1]."""
    random = np.random.RandomState(SEED)
    vectors = random.standard_normal((pieces, DIMENSION))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    constants: dict[str, NDArray[Any]] = {
        "vectors": vectors.astype(np.float32),
        "last_special": np.array(len(SPECIAL) - 1, np.int64),
        "one": np.array(1.0, np.float32),
        "zero": np.array(0.0, np.float32),
        "far": np.array(-4.0, np.float32),  # below every cosine
        "stretch": np.array(STRETCH, np.float32),
        "shift": np.array(SHIFT, np.float32),
        "axis_1": np.array([1], np.int64),
        "axis_2": np.array([2], np.int64),
    }
    nodes = [
        # Word pieces of the query and of the document, 1 or 0 for each token.
        _node("Greater", ["input_ids", "last_special"], "worded"),
        _node("Cast", ["worded"], "words", to=TensorProto.FLOAT),
        _node("Cast", ["attention_mask"], "mask", to=TensorProto.FLOAT),
        _node("Cast", ["token_type_ids"], "second", to=TensorProto.FLOAT),
        _node("Mul", ["words", "mask"], "present"),
        _node("Mul", ["present", "second"], "document"),
        _node("Sub", ["present", "document"], "query"),
        # Cosines of all tokens of a pair; those of no word of the document are far away.
        _node("Gather", ["vectors", "input_ids"], "rows"),
        _node("Transpose", ["rows"], "columns", perm=[0, 2, 1]),
        _node("MatMul", ["rows", "columns"], "cosines"),
        _node("Sub", ["one", "document"], "absent"),
        _node("Mul", ["absent", "far"], "distance"),
        _node("Unsqueeze", ["distance", "axis_1"], "distances"),
        _node("Add", ["cosines", "distances"], "seen"),
        _node("ReduceMax", ["seen", "axis_2"], "best", keepdims=0),
        _node("Max", ["best", "zero"], "found"),
        # Their mean over the words of the query.
        _node("Mul", ["found", "query"], "counted"),
        _node("ReduceSum", ["counted", "axis_1"], "sum", keepdims=1),
        _node("ReduceSum", ["query", "axis_1"], "asked", keepdims=1),
        _node("Max", ["asked", "one"], "asked_some"),
        _node("Div", ["sum", "asked_some"], "mean"),
        _node("Mul", ["mean", "stretch"], "stretched"),
        _node("Add", ["stretched", "shift"], "logits"),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny-cross",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["pair", "token"])
            for name in ("input_ids", "attention_mask", "token_type_ids")
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["pair", 1])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(
        graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)], producer_name="likewise"
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def _node(kind: str, inputs: list[str], output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, [output], name=output, **attributes)


def _manifest(files: dict[str, bytes]) -> str:
    return f"""\
# Written by `python -m app.encoders.tiny_cross`: it counts shared word pieces, for tests and demos.
format = 1
name = "tiny-cross"
kind = "pair"
modality = "text"
dimension = 1
owned_by = "likewise"
license = "Apache-2.0"
released = 2024-06-08
space = {{ id = "tiny-cross", version = 1 }}

[pair]
tokenizer = "tokenizer.json"
max_tokens = {MAX_TOKENS}
truncate = "second"
labels = 1
activation = "sigmoid"

[graph]
file = "model.onnx"
batch = "together"
{listed(files)}"""


if __name__ == "__main__":
    write_tiny_cross(Path(sys.argv[1]))
