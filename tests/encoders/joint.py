"""A tiny joint pair in the layout of CLIP's ONNX exports: what "red" means is planted.

Both towers make eight numbers in one space, from three that a seeded matrix turns into it: of a
picture the mean of each colour, of a text the sum of its words' colours. The text's graph pools at
the last token inside, as CLIP's does: the place of the largest id, whatever padding follows.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

DIMENSION = 8
EDGE = 8
COLOURS = {
    "red": (1, -1, -1),
    "green": (-1, 1, -1),
    "blue": (-1, -1, 1),
    "white": (1, 1, 1),
    "yellow": (1, 1, -1),
}
WORDS = ["[UNK]", "a", "photo", "of", *COLOURS, "<start>", "<end>"]

PREPROCESSOR = {
    "image_processor_type": "CLIPImageProcessor",
    "do_resize": True,
    "size": {"shortest_edge": EDGE},
    "resample": 3,
    "do_center_crop": True,
    "crop_size": {"height": EDGE, "width": EDGE},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "do_convert_rgb": True,
}


def write_joint(models: Path) -> None:
    """Write the folders `joint-text` and `joint-image`, two encoders of the space joint@1."""
    turn = np.linalg.qr(np.random.RandomState(3).standard_normal((DIMENSION, 3)))[0].T
    turn = turn.astype(np.float32)
    write(
        models / "joint-text",
        {"tokenizer.json": json.dumps(_tokenizer()).encode(), "onnx/text_model.onnx": _text(turn)},
        'modality = "text"',
        '[text]\ntokenizer = "tokenizer.json"\nmax_tokens = 16\n'
        '[graph]\nfile = "onnx/text_model.onnx"\noutput = "text_embeds"\nbatch = "together"\n'
        '[output]\npool = "graph"\nnormalise = true\n',
    )
    write(
        models / "joint-image",
        {
            "preprocessor_config.json": json.dumps(PREPROCESSOR).encode(),
            "onnx/vision_model.onnx": _vision(turn),
        },
        'modality = "image"',
        '[image]\npreprocessor = "preprocessor_config.json"\n'
        '[graph]\nfile = "onnx/vision_model.onnx"\noutput = "image_embeds"\nbatch = "together"\n'
        '[output]\npool = "graph"\nnormalise = true\ntokens = "last_hidden_state"\n',
    )


def write(folder: Path, files: dict[str, bytes], modality: str, tables: str) -> None:
    """Write one model folder of the space joint@1."""
    listed = ""
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        listed += f'[[files]]\npath = "{path}"\nsha256 = "{digest}"\nbytes = {len(content)}\n'
    (folder / "encoder.toml").write_text(
        f'format = 1\nname = "{folder.name}"\n{modality}\ndimension = {DIMENSION}\n'
        'owned_by = "tests"\nlicense = "none"\nreleased = 2024-01-02\n'
        f'space = {{ id = "joint", version = 1 }}\n{tables}{listed}',
        encoding="utf-8",
    )


def _text(turn: np.ndarray[Any, Any]) -> bytes:
    words = np.array([COLOURS.get(word, (0, 0, 0)) for word in WORDS], np.float32) @ turn
    nodes = [
        helper.make_node("Gather", ["words", "input_ids"], ["each"], axis=0),
        helper.make_node("CumSum", ["each", "one"], ["last_hidden_state"]),
        helper.make_node("ArgMax", ["input_ids"], ["end"], axis=1, keepdims=1),
        helper.make_node("GatherND", ["last_hidden_state", "end"], ["text_embeds"], batch_dims=1),
    ]
    constants = [
        numpy_helper.from_array(words, "words"),
        numpy_helper.from_array(np.int64(1), "one"),
    ]
    given = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["n", "t"])
    made = helper.make_tensor_value_info("text_embeds", TensorProto.FLOAT, ["n", DIMENSION])
    return _model(nodes, [given], [made], constants)


def _vision(turn: np.ndarray[Any, Any]) -> bytes:
    kernel = np.ascontiguousarray(turn.T)[:, :, None, None] / 16
    kernel = np.broadcast_to(kernel, (DIMENSION, 3, 4, 4)).copy()
    nodes = [  # patches of 4 × 4 as a vision transformer has them, and their mean
        helper.make_node("Conv", ["pixel_values", "kernel"], ["patches"], strides=[4, 4]),
        helper.make_node("Reshape", ["patches", "rows"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["last_hidden_state"], perm=[0, 2, 1]),
        helper.make_node(
            "ReduceMean", ["last_hidden_state"], ["image_embeds"], axes=[1], keepdims=0
        ),
    ]
    constants = [
        numpy_helper.from_array(kernel.astype(np.float32), "kernel"),
        numpy_helper.from_array(np.array([0, DIMENSION, -1], np.int64), "rows"),
    ]
    given = helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["n", 3, EDGE, EDGE])
    made = [
        helper.make_tensor_value_info("image_embeds", TensorProto.FLOAT, ["n", DIMENSION]),
        helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["n", 4, DIMENSION]),
    ]
    return _model(nodes, [given], made, constants)


def _model(nodes: Any, given: Any, made: Any, constants: Any) -> bytes:
    model = helper.make_model(
        helper.make_graph(nodes, "joint", given, made, constants),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def _tokenizer() -> dict[str, Any]:
    ids = {word: place for place, word in enumerate(WORDS)}
    ends = [{"SpecialToken": {"id": word, "type_id": 0}} for word in ("<start>", "<end>")]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [ends[0], {"Sequence": {"id": "A", "type_id": 0}}, ends[1]],
            "pair": [],
            "special_tokens": {
                word: {"id": word, "ids": [ids[word]], "tokens": [word]}
                for word in ("<start>", "<end>")
            },
        },
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": ids, "unk_token": "[UNK]"},
    }
