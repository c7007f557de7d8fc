"""Soups: averages of what belongs together, refusals of what does not, and a recipe that tastes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from app.encoders.safetensors import read_safetensors, safetensors_bytes
from app.encoders.soup import (
    Ingredient,
    average,
    check_compatible,
    greedy,
    read_ingredient,
    soup_bytes,
)
from app.errors import CorruptFile, InvalidRequest

RNG = np.random.default_rng(5)
PLACES = np.arange(3)


def write_weights(path: Path, **tensors: NDArray[Any]) -> Path:
    path.write_bytes(safetensors_bytes(tensors))
    return path


def write_graph(path: Path, weight: NDArray[np.float32], kind: str = "Relu") -> Path:
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["h"]),
            helper.make_node(kind, ["h"], ["y"]),
        ],
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", len(weight)])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", weight.shape[1]])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    onnx.save(model, path)
    return path


def matrix() -> NDArray[np.float32]:
    return RNG.standard_normal((4, 3)).astype(np.float32)


@pytest.mark.parametrize("copies", [1, 2, 3, 7])
def test_the_soup_of_a_model_with_itself_is_that_model(tmp_path: Path, copies: int) -> None:
    one = read_ingredient(write_weights(tmp_path / "a.safetensors", w=matrix(), places=PLACES))
    soup = average([one] * copies)
    np.testing.assert_array_equal(soup["w"], one.tensors["w"])
    assert soup["w"].dtype == np.float32
    np.testing.assert_array_equal(soup["places"], PLACES)


def test_a_soup_is_the_weighted_mean(tmp_path: Path) -> None:
    a, b = matrix(), matrix()
    ingredients = [
        read_ingredient(write_weights(tmp_path / f"{name}.safetensors", w=tensor))
        for name, tensor in (("a", a), ("b", b))
    ]
    np.testing.assert_allclose(average(ingredients)["w"], (a + b) / 2, rtol=1e-6)
    np.testing.assert_allclose(average(ingredients, [3, 1])["w"], 0.75 * a + 0.25 * b, rtol=1e-6)
    with pytest.raises(InvalidRequest, match="one weight for each model"):
        average(ingredients, [1])
    with pytest.raises(InvalidRequest, match="one weight for each model"):
        average(ingredients, [1, -1])


def test_a_soup_of_graphs_runs_as_the_mean_of_its_weights(tmp_path: Path) -> None:
    a, b = matrix(), matrix()
    ingredients = [
        read_ingredient(write_graph(tmp_path / f"{name}.onnx", weight))
        for name, weight in (("a", a), ("b", b))
    ]
    content = soup_bytes(ingredients[0], average(ingredients))
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    x = RNG.standard_normal((5, 4)).astype(np.float32)
    (y,) = session.run(None, {"x": x})
    np.testing.assert_allclose(y, np.maximum(x @ ((a + b) / 2), 0), atol=1e-6)


def test_a_soup_of_checkpoints_is_a_checkpoint(tmp_path: Path) -> None:
    one = read_ingredient(write_weights(tmp_path / "a.safetensors", w=matrix(), places=PLACES))
    (tmp_path / "soup.safetensors").write_bytes(soup_bytes(one, average([one])))
    back = read_safetensors(tmp_path / "soup.safetensors")
    assert back.keys() == one.tensors.keys()
    np.testing.assert_array_equal(back["w"], one.tensors["w"])


def test_what_was_never_one_model_is_refused_and_the_difference_named(tmp_path: Path) -> None:
    weights = [
        write_weights(tmp_path / "a.safetensors", w=matrix()),
        write_weights(tmp_path / "b.safetensors", w=matrix()[:2]),
        write_weights(tmp_path / "c.safetensors", v=matrix()),
        write_graph(tmp_path / "a.onnx", matrix()),
        write_graph(tmp_path / "b.onnx", matrix(), "Tanh"),
    ]
    a, shape, name, graph, other = map(read_ingredient, weights)
    for pair, message in (
        ((a, shape), "tensor 'w' differs"),
        ((a, name), "tensor 'v' differs"),
        ((graph, other), "their nodes differ"),
    ):
        with pytest.raises(InvalidRequest, match=message):
            check_compatible(pair)


def test_whole_numbers_that_differ_are_not_averaged(tmp_path: Path) -> None:
    ingredients = [
        read_ingredient(write_weights(tmp_path / f"{step}.safetensors", places=PLACES + step))
        for step in (0, 1)
    ]
    with pytest.raises(InvalidRequest, match="'places' holds int64 values that differ"):
        average(ingredients)


def test_quantised_graphs_and_other_files_are_refused(tmp_path: Path) -> None:
    graph = write_graph(tmp_path / "a.onnx", RNG.standard_normal((64, 64)).astype(np.float32))
    quantize_dynamic(graph, tmp_path / "q.onnx", weight_type=QuantType.QInt8)
    with pytest.raises(InvalidRequest, match="is quantised"):
        read_ingredient(tmp_path / "q.onnx")
    with pytest.raises(InvalidRequest, match=r"expected a \.safetensors or an \.onnx"):
        read_ingredient(tmp_path / "weights.bin")
    (tmp_path / "bad.onnx").write_bytes(b"\xff" * 40)
    with pytest.raises(CorruptFile, match="no ONNX graph"):
        read_ingredient(tmp_path / "bad.onnx")


# ── the greedy recipe ────────────────────────────────────────────────────────────────────────

TRUE = RNG.standard_normal((6, 4))
HELD_OUT = RNG.standard_normal((200, 6))


def ingredient(weights: NDArray[Any], name: str) -> Ingredient:
    return Ingredient(Path(f"{name}.safetensors"), "same", {"w": weights.astype(np.float32)})


def taster(models: Sequence[Ingredient]) -> Any:
    """Scores a linear model by how well it predicts held-out data; 0 is perfect."""

    def taste(some: Sequence[int]) -> float:
        soup = average([models[one] for one in some])["w"]
        return -float(np.square(HELD_OUT @ (soup - TRUE)).mean())

    return taste


def test_fine_tunes_of_one_start_make_a_soup_better_than_the_best_of_them() -> None:
    """Each has learned the truth and errors of its own, which the mean lets cancel."""
    tunes = [ingredient(TRUE + 0.3 * RNG.standard_normal(TRUE.shape), str(n)) for n in range(5)]
    tasted = greedy(5, taster(tunes))
    assert tasted.score > max(tasted.scores)
    assert len(tasted.kept) >= 3
    assert tasted.kept[0] == tasted.order[0] == int(np.argmax(tasted.scores))
    assert tasted.score == taster(tunes)(tasted.kept)


def test_models_of_different_starts_stay_out_of_the_soup() -> None:
    """The same function with its hidden units in another order averages to nonsense."""
    hidden, out = RNG.standard_normal((6, 16)), RNG.standard_normal((16, 4))
    due = np.tanh(HELD_OUT @ hidden) @ out
    models = []
    for _ in range(3):
        order = RNG.permutation(16)
        models.append((hidden[:, order], out[order]))

    def taste(some: Sequence[int]) -> float:
        one, other = (np.mean([models[m][part] for m in some], axis=0) for part in (0, 1))
        return -float(np.square(np.tanh(HELD_OUT @ one) @ other - due).mean())

    tasted = greedy(3, taste)
    assert len(tasted.kept) == 1
    assert tasted.score == max(tasted.scores)
    assert taste([0, 1, 2]) < tasted.score - 0.5  # the uniform soup, which nobody tasted


def test_the_greedy_soup_is_never_below_the_best_model_on_its_own_set() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        table = {frozenset(c): rng.random() for c in ([0], [1], [2], [0, 1], [0, 2], [1, 2])}
        table[frozenset([0, 1, 2])] = rng.random()
        tasted = greedy(3, lambda some, table=table: table[frozenset(some)])
        assert tasted.score >= max(tasted.scores)
        assert tasted.score == table[frozenset(tasted.kept)]
