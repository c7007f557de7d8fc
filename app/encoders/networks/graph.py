"""Write ONNX nodes one after the other; every method returns the name of what it made."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from app.encoders.networks.network import Activation, Linear, Norm
from app.errors import StoredDataError
from app.types import F32

OPSET = 23
IR_VERSION = 11  # the IR that opset 23 came with: every ONNX Runtime that has Attention-23 reads it

LARGEST_BYTES = 2**31 - 2**22
"""What constants may take together: a protocol buffer ends at 2 GiB, and the nodes need room."""

Halved = Literal["nothing", "tables", "all"]
"""What is stored as float16: tables of words, positions and types; or matrices, too."""

NODES: dict[Activation, tuple[str, dict[str, str]]] = {
    "gelu": ("Gelu", {}),
    "gelu_tanh": ("Gelu", {"approximate": "tanh"}),
    "relu": ("Relu", {}),
    "tanh": ("Tanh", {}),
    "identity": ("Identity", {}),
}


class Graph:
    """Nodes and constants under construction.

    halved  what is stored as float16; every product is taken in float32
    """

    def __init__(self, halved: Halved = "nothing") -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, NDArray[Any]] = {}
        self._half_tables = halved != "nothing"
        self._half_matrices = halved == "all"

    @property
    def size_bytes(self) -> int:
        """What the constants take together."""
        return sum(values.nbytes for values in self.constants.values())

    def constant(self, name: str, values: NDArray[Any]) -> str:
        self.constants[name] = np.asarray(values, order="C")
        return name

    def ints(self, *values: int) -> str:
        return self.constant("ints_" + "_".join(map(str, values)), np.array(values, np.int64))

    def float(self, name: str, value: float) -> str:
        return self.constant(name, np.array(value, np.float32))

    def unit(self, vectors: str, output: str) -> str:
        """Bring the last axis to length one; zeros stay zeros.

        Spelled out, for ONNX Runtime 1.23, the newest on Python 3.10, lacks LpNormalization-22.
        """
        axes = self.ints(-1)
        length = self.node("ReduceL2", [vectors, axes], f"{output}.length", keepdims=1)
        least = self.float("least_length", 1e-12)
        length = self.node("Max", [length, least], f"{output}.divisor")
        return self.node("Div", [vectors, length], output)

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def row_of(self, name: str, table: F32, ids: str, output: str) -> str:
        """Look rows of a table up: ids [...] → [..., column]."""
        if not self._half_tables:
            return self.node("Gather", [self.constant(name, table), ids], output)
        # Only what was looked up is widened: the table stays half as large in memory too.
        stored = self.constant(name, _halved(name, table))
        found = self.node("Gather", [stored, ids], output + ".half")
        return self.node("Cast", [found], output, to=TensorProto.FLOAT)

    def first_rows(self, name: str, table: F32, count: str, output: str) -> str:
        """Take as many first rows of a table as `count`, int64 [1], says."""
        stored = self.constant(name, _halved(name, table) if self._half_tables else table)
        zero = self.ints(0)
        inputs = [stored, zero, count, zero]
        if not self._half_tables:
            return self.node("Slice", inputs, output)
        return self.node(
            "Cast", [self.node("Slice", inputs, output + ".half")], output, to=TensorProto.FLOAT
        )

    def linear(self, name: str, rows: str, linear: Linear) -> str:
        """rows @ weightᵀ, and + bias unless it is all zero."""
        weight = f"{name}.weight"
        if self._half_matrices:
            half = self.constant(weight + ".half", _halved(weight, linear.weight.T))
            self.node("Cast", [half], weight, to=TensorProto.FLOAT)
        else:
            self.constant(weight, linear.weight.T)
        product = self.node("MatMul", [rows, weight], f"{name}.product")
        if not linear.bias.any():
            return product
        bias = self.constant(f"{name}.bias", linear.bias)
        return self.node("Add", [product, bias], f"{name}.sum")

    def norm(self, name: str, rows: str, norm: Norm) -> str:
        scale = self.constant(name + ".weight", norm.scale)
        shift = self.constant(name + ".bias", norm.shift)
        return self.node(
            "LayerNormalization",
            [rows, scale, shift],
            name + ".out",
            axis=-1,
            epsilon=norm.epsilon,
        )

    def activation(self, kind: Activation, rows: str, output: str) -> str:
        node, attributes = NODES[kind]
        return self.node(node, [rows], output, **attributes)

    def model(
        self, inputs: list[str], output: str, axes: list[str | int], name: str
    ) -> onnx.ModelProto:
        """Close the graph: inputs are int64 [text, token], the output float32 of the given axes.

        Raises StoredDataError if it would be larger than an ONNX file can be.
        """
        if self.size_bytes > LARGEST_BYTES:
            raise StoredDataError(
                f"expected weights of at most {LARGEST_BYTES} bytes, which one ONNX file holds, "
                f'found {self.size_bytes}; variant = "fp16" halves them'
            )
        model = helper.make_model(
            helper.make_graph(
                self.nodes,
                name,
                inputs=[
                    helper.make_tensor_value_info(each, TensorProto.INT64, ["text", "token"])
                    for each in inputs
                ],
                outputs=[helper.make_tensor_value_info(output, TensorProto.FLOAT, axes)],
                initializer=[
                    numpy_helper.from_array(values, name) for name, values in self.constants.items()
                ],
            ),
            opset_imports=[helper.make_opsetid("", OPSET)],
            producer_name="likewise",
        )
        model.ir_version = IR_VERSION
        onnx.checker.check_model(model)
        return model


def _halved(name: str, values: F32) -> NDArray[np.float16]:
    """Round to float16, whose largest number is 65,504."""
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    if not np.isfinite(half).all():
        raise StoredDataError(
            f'{name} has numbers beyond float16; build variant = "fp32" or "int8"'
        )
    return half
