"""What makes a router of experts: [router]; and what its experts must have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from app.encoders.manifest.table import Table


@dataclass(frozen=True, slots=True)
class RouterSpec:
    """Several encoders of one space, of which each input meets one or two.

    experts      names of installed encoders
    by           "centroid": the nearest in the space of `light`; "name": as the caller says
    light        encoder that is compared with the centroids; "" where names decide
    centroids    .npy [expert, dim of light]; "" where names decide
    default      the expert of inputs that name none; "" refuses them. Where names decide
    mix          how many experts an input meets: 1, or 2 whose vectors are mixed
    temperature  of the shares of a mix
    probes       JSON list of texts on which the experts must agree; "" checks nothing
    agreement    share of the probes that must find themselves among another expert's vectors
    """

    experts: tuple[str, ...]
    by: Literal["centroid", "name"]
    light: str
    centroids: str
    default: str
    mix: int
    temperature: float
    probes: str
    agreement: float
    max_tokens: int
    normalise: bool

    @property
    def max_input(self) -> int:
        """Longest input in tokens, of every expert."""
        return self.max_tokens

    @property
    def paths(self) -> dict[str, str]:
        """The files it reads, by the key that names them."""
        found = {"router.centroids": self.centroids, "router.probes": self.probes}
        return {key: path for key, path in found.items() if path}

    @property
    def needs(self) -> tuple[str, ...]:
        """The encoders that it opens."""
        return tuple(dict.fromkeys((*self.experts, *((self.light,) if self.light else ()))))


def read_router(top: Table) -> RouterSpec:
    """Read the tables of a router."""
    table, output = top.table("router"), top.table("output")
    experts = table.take("experts", list)
    if len(experts) < 2 or not all(type(one) is str for one in experts):
        table.fail("experts", "the names of at least two encoders", f"{len(experts)} entries")
    if len(set(experts)) < len(experts):
        table.fail("experts", "every name once", "one twice")
    by = table.choose("by", ("centroid", "name"))
    near = by == "centroid"
    spec = RouterSpec(
        experts=tuple(experts),
        by=by,
        light=table.take("light", str) if near else "",
        centroids=table.take("centroids", str) if near else "",
        default="" if near else table.take("default", str, ""),
        mix=table.positive("mix") if near and "mix" in table else 1,
        temperature=table.take("temperature", float, 0.1) if near else 1.0,
        probes=table.take("probes", str, ""),
        agreement=table.take("agreement", float, 0.5),
        max_tokens=table.positive("max_tokens"),
        normalise=output.take("normalise", bool),
    )
    if spec.default and spec.default not in experts:
        table.fail("default", "one of the experts", repr(spec.default))
    if spec.mix > 2:
        table.fail("mix", "1 or 2", str(spec.mix))
    if not 0.0 < spec.temperature < float("inf"):
        table.fail("temperature", "a number above 0", str(spec.temperature))
    if not 0.0 < spec.agreement <= 1.0:
        table.fail("agreement", "a share of at most 1", str(spec.agreement))
    table.end()
    output.end()
    return spec
