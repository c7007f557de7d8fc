"""The network of a model: [graph]. Published as ONNX, or built here from a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from app.encoders.manifest.table import Table
from app.encoders.networks.checkpoint import MODULE_CONFIG, MODULE_WEIGHTS
from app.encoders.networks.families import Architecture
from app.encoders.networks.names import FamilyName
from app.encoders.networks.network import Activation

Variant = Literal["fp32", "fp16", "int8"]
"""How a built graph stores its weights."""

Batch = Literal["together", "alone"]

HeadName = Literal["vectors", "token_vectors", "logits", "word_weights"]
"""What a built graph returns, and the name of its output: `app.encoders.networks.heads`."""


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
class BuiltGraph:
    """A graph that is built here from a checkpoint: `app.encoders.networks`.

    weights       the tensors, or the index of several files of them
    architecture  what the tensors do not tell; None: `config` tells it
    config        path of the model's configuration, or "" if `architecture` is given
    projection    name of a product among the tensors that comes after the last layer, or ""
    modules       folders of `Dense` and `LayerNorm` modules that come after that, in their order
    """

    weights: str
    variant: Variant
    architecture: Architecture | None = None
    config: str = ""
    head: HeadName = "vectors"
    projection: str = ""
    modules: tuple[str, ...] = ()

    @property
    def paths(self) -> dict[str, str]:
        """The files it reads, by the key that names them."""
        paths = {"graph.weights": self.weights}
        if self.config:
            paths["graph.config"] = self.config
        for place, folder in enumerate(self.modules):
            for name in (MODULE_CONFIG, MODULE_WEIGHTS):
                paths[f"graph.modules[{place}]/{name}"] = f"{folder}/{name}"
        return paths


Graph = ReadyGraph | BuiltGraph


def read_graph(table: Table) -> Graph:
    """Read [graph]."""
    graph: Graph
    if "build" in table:
        graph = _built(table)
    else:
        graph = ReadyGraph(
            file=table.take("file", str),
            output=table.take("output", str, ""),
            batch=table.choose("batch", get_args(Batch)),
        )
    table.end()
    return graph


def _built(table: Table) -> BuiltGraph:
    family = table.choose("build", ("auto", *get_args(FamilyName)))
    architecture, config = None, ""
    if family == "auto":
        config = table.take("config", str, "config.json")
    else:
        architecture = Architecture(
            family,
            heads=table.positive("heads"),
            layer_norm_eps=table.take("layer_norm_eps", float),
            activation=_choose_or(table, "activation", get_args(Activation), "gelu"),
        )
    return BuiltGraph(
        weights=table.take("weights", str),
        variant=table.choose("variant", get_args(Variant)),
        architecture=architecture,
        config=config,
        head=_choose_or(table, "head", get_args(HeadName), "vectors"),
        projection=table.take("projection", str, ""),
        modules=_folders(table),
    )


def _choose_or(table: Table, key: str, choices: tuple[str, ...], default: str) -> Any:
    return table.choose(key, choices) if key in table else default


def _folders(table: Table) -> tuple[str, ...]:
    modules = table.take("modules", list, [])
    if not all(isinstance(folder, str) for folder in modules):
        table.fail("modules", "a list of folders", "a list of something else")
    return tuple(modules)
