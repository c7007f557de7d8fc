"""What the quantiser promises of any graph of products."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from app.encoders.calibration import ROWS, random_rows
from app.encoders.quantise import CONTRIB, FEWEST_COLUMNS, measure, quantise

F32 = NDArray[np.float32]
RANDOM = np.random.default_rng(5)
WEIGHT = RANDOM.standard_normal((32, 48)).astype(np.float32)
BIAS = RANDOM.standard_normal(48).astype(np.float32)


def graph_of(nodes: list[Any], constants: Mapping[str, F32], outputs: list[str]) -> onnx.ModelProto:
    """A graph from `rows` [row, 32] float32."""
    made = helper.make_graph(
        nodes,
        "products",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["row", 32])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["row", None]) for name in outputs],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 23)], ir_version=11)


def biased_product() -> onnx.ModelProto:
    nodes = [
        helper.make_node("MatMul", ["rows", "weight"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["sum"]),
    ]
    return graph_of(nodes, {"weight": WEIGHT, "bias": BIAS}, ["sum"])


def normed_product(scale: F32) -> onnx.ModelProto:
    nodes = [
        helper.make_node("LayerNormalization", ["rows", "scale"], ["normed"], axis=-1),
        helper.make_node("MatMul", ["normed", "weight"], ["product"]),
    ]
    return graph_of(nodes, {"weight": WEIGHT, "scale": scale}, ["product"])


def run(model: onnx.ModelProto, rows: F32) -> F32:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    out: F32 = session.run(None, {"rows": rows})[0]
    return out


def rows_of(count: int) -> F32:
    return RANDOM.standard_normal((count, 32)).astype(np.float32)


def error(model: onnx.ModelProto, rows: F32) -> float:
    """Root mean square of what quantisation adds, as a share of the result."""
    exact = run(model, rows)
    made = run(quantise(model, [{"rows": rows}]), rows)
    return float(np.sqrt(((made - exact) ** 2).mean() / (exact**2).mean()))


def test_a_product_and_its_bias_become_one_node_on_quantised_rows() -> None:
    made = quantise(biased_product(), [{"rows": rows_of(64)}])
    assert [node.op_type for node in made.graph.node] == ["QuantizeLinear", "MatMulIntegerToFloat"]
    assert made.graph.node[1].domain == CONTRIB
    assert list(made.graph.node[1].output) == ["sum"]
    stored = {constant.name: numpy_helper.to_array(constant) for constant in made.graph.initializer}
    assert "weight" not in stored
    assert stored["sum.int8"].dtype == np.int8


def test_the_model_that_was_given_stays_as_it_was() -> None:
    model = biased_product()
    before = model.SerializeToString()
    quantise(model, [{"rows": rows_of(8)}])
    assert model.SerializeToString() == before


def test_quantised_products_stay_near_the_exact_ones() -> None:
    # Two roundings of half a step in some 200 steps of ±3 deviations: about a percent.
    assert error(biased_product(), rows_of(64)) < 0.012


def test_what_a_row_becomes_does_not_depend_on_the_rows_beside_it() -> None:
    model = quantise(biased_product(), [{"rows": rows_of(64)}])
    rows = rows_of(40)
    rows[7] *= 100  # would move the scale of all, if scales were taken over the batch
    together = run(model, rows)
    for place in (0, 7, 39):
        np.testing.assert_array_equal(run(model, rows[place : place + 1])[0], together[place])


def test_loud_channels_of_a_norm_do_not_drown_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    scale = np.ones(32, np.float32)
    scale[3] = 30
    model, rows = normed_product(scale), rows_of(256)
    evened = error(model, rows)
    # The loud channel alone is most of the result, so look at what the others give.
    monkeypatch.setattr("app.encoders.quantise.EVENING", 0.0)
    assert evened < 0.5 * error(model, rows)


def test_products_that_share_an_input_quantise_it_once() -> None:
    nodes = [
        helper.make_node("MatMul", ["rows", "weight"], ["one"]),
        helper.make_node("MatMul", ["rows", "other"], ["two"]),
    ]
    model = graph_of(nodes, {"weight": WEIGHT, "other": -WEIGHT}, ["one", "two"])
    made = quantise(model, [{"rows": rows_of(8)}])
    assert [node.op_type for node in made.graph.node].count("QuantizeLinear") == 1


def test_products_of_two_inputs_and_narrow_ones_stay_float() -> None:
    nodes = [
        helper.make_node("Transpose", ["rows"], ["turned"]),
        helper.make_node("MatMul", ["rows", "turned"], ["pairs"]),
        helper.make_node("MatMul", ["rows", "narrow"], ["score"]),
    ]
    narrow = np.ascontiguousarray(WEIGHT[:, : FEWEST_COLUMNS - 1])
    model = graph_of(nodes, {"narrow": narrow}, ["pairs", "score"])
    made = quantise(model, [{"rows": rows_of(8)}])
    assert list(made.graph.node) == nodes


def test_a_product_that_the_graph_returns_keeps_its_name_and_its_bias_outside() -> None:
    model = biased_product()
    model.graph.output.append(
        helper.make_tensor_value_info("product", TensorProto.FLOAT, ["row", 48])
    )
    made = quantise(model, [{"rows": rows_of(8)}])
    kinds = [node.op_type for node in made.graph.node]
    assert kinds == ["QuantizeLinear", "MatMulIntegerToFloat", "Add"]


def test_ranges_span_all_samples_channel_by_channel() -> None:
    samples = [rows_of(3), 2 * rows_of(5)]
    (found,) = measure(biased_product(), ["rows"], [{"rows": rows} for rows in samples]).values()
    both = np.concatenate(samples)
    np.testing.assert_array_equal(found.low, both.min(axis=0))
    np.testing.assert_array_equal(found.high, both.max(axis=0))


def test_silent_inputs_and_zero_weights_give_zeros_and_no_nan() -> None:
    model = graph_of(
        [helper.make_node("MatMul", ["rows", "weight"], ["product"])],
        {"weight": np.zeros_like(WEIGHT)},
        ["product"],
    )
    made = quantise(model, [{"rows": np.zeros((4, 32), np.float32)}])
    assert not run(made, np.zeros((4, 32), np.float32)).any()


@given(words=st.integers(4, 1000), longest=st.integers(2, 300))
def test_random_rows_are_tokens_of_the_vocabulary_within_the_length(
    words: int, longest: int
) -> None:
    rows = list(random_rows([2, 3], words, longest))
    assert len(rows) == sum(ROWS.values())
    for feeds in rows:
        ids = feeds["input_ids"]
        assert ids.shape == feeds["attention_mask"].shape == feeds["token_type_ids"].shape
        assert ids.shape[1] <= max(longest, 2)
        assert 0 <= ids.min() <= ids.max() < words
        assert ids[0, 0] == 2


def test_every_build_calibrates_with_the_same_rows() -> None:
    one, other = (list(random_rows([2, 3], 500, 64)) for _ in range(2))
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_array_equal(mine["input_ids"], theirs["input_ids"])
