"""Measure how fast this machine multiplies matrices, and how much of that encoders reach.

    python -m bench.gemm [--models models] [--encoder all-MiniLM-L6-v2] [--seconds 1]

The peak is the best of a few shapes, each a product of ONNX Runtime alone, one on each core at the
same time: float32 by float32, and uint8 by int8 into int32. An encoder's share is what its products
with weights would take at that peak, of what a run takes, one run on each core at the same time.
What is not such a product (attention, activations, norms, quantising) counts as time, not as work.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from app.encoders.build import graph_path
from app.encoders.manifest import read_manifest
from app.encoders.obtain import obtain, with_variant
from app.encoders.token_session import TokenSession

SHAPES = ((256, 384, 1536), (256, 1536, 384), (512, 1024, 1024))
"""Rows, inner length, columns: those of small and of larger encoders."""

RUNS = (("1 text of 256 tokens", 1, 256), ("16 texts of 14 tokens", 16, 14), ("1 of 14", 1, 14))

Run = Callable[[], Any]


def peaks(seconds: float = 0.3) -> dict[str, float]:
    """Billions of operations a second of products alone, on all cores: "fp32" and "int8"."""
    return {
        kind: max(_peak(product, shape, seconds) for shape in SHAPES)
        for kind, product in (("fp32", _float_product), ("int8", _integer_product))
    }


def main() -> None:
    """Print the peaks, and the share that each variant of a model reaches."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--encoder", default="all-MiniLM-L6-v2")
    parser.add_argument("--seconds", type=float, default=1.0)
    chosen = parser.parse_args()
    found = peaks(chosen.seconds)
    print(
        f"{_cores()} cores: float32 {found['fp32']:.0f} GFLOP/s, int8 {found['int8']:.0f} GOP/s\n"
    )
    print("| variant | run on each core | texts/s | products with weights | share of the peak |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        for variant in ("fp32", "int8"):
            session, weights = _open(chosen.models / chosen.encoder, Path(scratch), variant)
            for name, texts, tokens in RUNS:
                ids = np.random.default_rng(0).integers(1000, 2000, (texts, tokens)).tolist()
                took_s = _together([partial(session.run, ids)] * _cores(), chosen.seconds)
                per_second = texts * _cores() / took_s
                giga = per_second * 2 * weights * tokens / 1e9
                print(
                    f"| {variant} | {name} | {per_second:,.0f} | {giga:,.0f} G/s "
                    f"| {giga / found[variant]:.0%} |",
                    flush=True,
                )


def _open(source: Path, scratch: Path, variant: str) -> tuple[TokenSession, int]:
    """A variant of a model, built from its own weights, and how many numbers multiply a token."""
    folder = scratch / variant / source.name
    folder.mkdir(parents=True)
    (folder / "encoder.toml").write_bytes((source / "encoder.toml").read_bytes())
    manifest = with_variant(read_manifest(folder), "int8" if variant == "int8" else "fp32")
    obtain(manifest, folder, local_source=source)
    path = graph_path(manifest, folder)
    model = onnx.load(path)
    dims = {constant.name: constant.dims for constant in model.graph.initializer}
    weights = sum(
        int(np.prod(dims[node.input[1]]))
        for node in model.graph.node
        if node.op_type in ("MatMul", "MatMulIntegerToFloat") and node.input[1] in dims
    )
    return TokenSession(path, threads=1), weights


def _peak(
    product: Callable[[int, int, int], Run], shape: tuple[int, int, int], seconds: float
) -> float:
    runs = [product(*shape) for _ in range(_cores())]
    rows, inner, columns = shape
    return 2 * rows * inner * columns * len(runs) / _together(runs, seconds) / 1e9


def _together(runs: Sequence[Run], seconds: float) -> float:
    """Seconds of one call when each run has a core: the best of rounds, for the slowest core."""

    def mean_s(run: Run) -> float:
        begun, count = time.perf_counter(), 0
        while time.perf_counter() - begun < seconds / 10:
            run()
            count += 1
        return (time.perf_counter() - begun) / count

    with ThreadPoolExecutor(len(runs)) as pool:
        list(pool.map(mean_s, runs))
        return min(max(pool.map(mean_s, runs)) for _ in range(10))


def _float_product(rows: int, inner: int, columns: int) -> Run:
    random = np.random.default_rng(0)
    weight = random.standard_normal((inner, columns)).astype(np.float32)
    given = random.standard_normal((rows, inner)).astype(np.float32)
    return _product("MatMul", given, weight, TensorProto.FLOAT)


def _integer_product(rows: int, inner: int, columns: int) -> Run:
    random = np.random.default_rng(0)
    weight = random.integers(-127, 128, (inner, columns)).astype(np.int8)
    given = random.integers(0, 256, (rows, inner)).astype(np.uint8)
    return _product("MatMulInteger", given, weight, TensorProto.INT32)


def _product(kind: str, given: NDArray[Any], weight: NDArray[Any], returns: int) -> Run:
    """A graph of one product by a constant, on one thread."""
    graph = helper.make_graph(
        [helper.make_node(kind, ["given", "weight"], ["product"])],
        "product",
        [
            helper.make_tensor_value_info(
                "given", helper.np_dtype_to_tensor_dtype(given.dtype), given.shape
            )
        ],
        [helper.make_tensor_value_info("product", returns, None)],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda: session.run(None, {"given": given})


def _cores() -> int:
    return len(os.sched_getaffinity(0))


if __name__ == "__main__":
    main()
