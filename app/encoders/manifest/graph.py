"""The network of a model: [graph]. Published as ONNX, or built here from a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from app.encoders.manifest.table import Table

Variant = Literal["fp32", "int8"]
Batch = Literal["together", "alone"]


@dataclass(frozen=True, slots=True)
class ReadyGraph:
    """A graph that is published as ONNX.

    output  name of the graph's output to use; "" takes the first
    batch   "alone" for graphs whose numbers depend on the whole batch, as with dynamic quantisation
    """

    file: str
    output: str
    batch: Batch


@dataclass(frozen=True, slots=True)
class BertGraph:
    """A graph that is built here from a BERT checkpoint: `app.encoders.networks`."""

    weights: str
    variant: Variant
    heads: int
    layer_norm_eps: float


Graph = ReadyGraph | BertGraph


def read_graph(table: Table) -> Graph:
    """Read [graph]."""
    graph: Graph
    if "build" in table:
        table.choose("build", ("bert",))
        graph = BertGraph(
            weights=table.take("weights", str),
            variant=table.choose("variant", get_args(Variant)),
            heads=table.positive("heads"),
            layer_norm_eps=table.take("layer_norm_eps", float),
        )
    else:
        graph = ReadyGraph(
            file=table.take("file", str),
            output=table.take("output", str, ""),
            batch=table.choose("batch", get_args(Batch)),
        )
    table.end()
    return graph
