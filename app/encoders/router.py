"""The router: several encoders of one space, of which each input meets the one for its domain.

Routes are enforced, not learned (Hallee et al. 2024, arXiv 2401.15713): by the name that the caller
gives with the input, or else to the domain whose centroid is nearest in the space of a light
encoder. A mix of two weighs them by `softmax(cosine / temperature)` over the two nearest.

Vectors of experts meet in one index, so experts must agree on what a direction means. Their
manifests must name one space and one dimension (`check_experts`, when they are registered); and
where the router has probes, every expert's vector of a probe must find the same probe among each
other expert's vectors (when it is opened). The first is a promise, the second a measurement.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from app.encoders.base import Encoder, OutputKind, Prepared, TextKind
from app.encoders.direct import encode
from app.encoders.inputs import Input, Routed
from app.encoders.manifest import Manifest
from app.encoders.manifest.router import RouterSpec
from app.encoders.pipeline.arrays import read_array, unit
from app.encoders.pipeline.pools import softmax_topk
from app.errors import CorruptFile, InvalidField, LikewiseError, StoredDataError
from app.types import F32


class RouterEncoder:
    """A router over opened encoders, which are closed with it.

    opened  by name, all that the manifest needs

    Raises CorruptFile if centroids or probes do not fit; StoredDataError if the experts' vectors of
    the probes do not agree.
    """

    def __init__(self, manifest: Manifest, folder: Path, opened: Mapping[str, Encoder]) -> None:
        assert isinstance(manifest.spec, RouterSpec)
        self.name, self.dimension = manifest.name, manifest.dimension
        self._spec = spec = manifest.spec
        self._opened = dict(opened)
        self.parallel = max(encoder.parallel for encoder in self._opened.values())
        self._experts = [self._opened[name] for name in spec.experts]
        self._centroids: F32 | None = None
        if spec.by == "centroid":
            path = folder / spec.centroids
            centroids = read_array(path, "expert dim")
            expected = (len(spec.experts), self._opened[spec.light].dimension)
            if centroids.shape != expected:
                raise CorruptFile(
                    f"{path}: expected the shape {expected}, found {centroids.shape}",
                    path=str(path),
                )
            self._centroids = unit(centroids)
        if spec.probes:
            self._check_agreement(folder / spec.probes)

    def address(self, inputs: Sequence[Input], kind: TextKind) -> list[Input]:
        """Note what each input is for, and whether its expert is named.

        Raises InvalidField (pointer `/i`) for an expert that is none of ours, or none where one is
        needed; and what the expert raises for an input that it does not read.
        """
        addressed: list[Input] = []
        for place, given in enumerate(inputs):
            to, content = (given.to, given.given) if isinstance(given, Routed) else ("", given)
            if not to and self._spec.by == "name":
                to = self._spec.default
            if to not in self._spec.experts and (to or self._spec.by == "name"):
                known = ", ".join(self._spec.experts)
                raise InvalidField(f"expected one of the experts {known}", pointer=f"/{place}")
            # Those who will read it may refuse it, and now is when the caller can be told.
            for reader in (to,) if to else (self._spec.light, *self._spec.experts):
                try:
                    self._opened[reader].address([content], kind)
                except LikewiseError as error:
                    error.pointer = f"/{place}" + (error.pointer or "").removeprefix("/0")
                    raise
            addressed.append(Routed(content, to, kind))
        return addressed

    def estimate(self, given: Input) -> int:
        """What the first expert would guess, for each expert that is met."""
        assert isinstance(given, Routed)
        return self._spec.mix * self._experts[0].estimate(given.given)

    def prepare(self, inputs: Sequence[Input]) -> list[Prepared | LikewiseError]:
        """Choose experts and prepare each input for its own."""
        routed = [given for given in inputs if isinstance(given, Routed)]
        assert len(routed) == len(inputs)
        return [self._prepared(given) for given in routed]

    def run(self, batch: Sequence[Prepared], output: OutputKind) -> F32:
        """Vectors [input, dim]: each expert runs what is its own, and mixes are summed."""
        vectors = np.zeros((len(batch), self.dimension), np.float32)
        for expert, encoder in enumerate(self._experts):
            mine = [
                (place, share, part)
                for place, one in enumerate(batch)
                for which, share, part in one.value
                if which == expert
            ]
            if mine:
                made = encoder.run([part for _, _, part in mine], "dense")
                for (place, share, _), vector in zip(mine, made, strict=True):
                    vectors[place] += np.float32(share) * vector
        return unit(vectors) if self._spec.normalise else vectors

    def close(self) -> None:
        """Close experts and light encoder."""
        for encoder in self._opened.values():
            encoder.close()

    def routes(self, inputs: Sequence[Input]) -> list[dict[str, float]]:
        """Which experts inputs would meet, and with what share. For evaluation and explanations.

        Raises the error of the first input that cannot be read.
        """
        addressed = self.address(inputs, "document")
        shares = [self._shares(one) for one in addressed if isinstance(one, Routed)]
        return [
            {self._spec.experts[expert]: float(row[expert]) for expert in np.flatnonzero(row)}
            for row in shares
        ]

    def _prepared(self, given: Routed) -> Prepared | LikewiseError:
        parts: list[tuple[int, float, Prepared]] = []
        try:
            shares = self._shares(given)
        except LikewiseError as error:
            return error
        for expert in np.flatnonzero(shares):
            encoder = self._experts[expert]
            (one,) = encoder.prepare(encoder.address([given.given], given.side))
            if isinstance(one, LikewiseError):
                return one
            parts.append((int(expert), float(shares[expert]), one))
        cost = sum(one.cost for _, _, one in parts)
        return Prepared(parts, cost, sum(one.tokens for _, _, one in parts))

    def _shares(self, given: Routed) -> F32:
        """The share of each expert, [expert]; they sum to 1."""
        if given.to:
            named: F32 = np.zeros(len(self._experts), np.float32)
            named[self._spec.experts.index(given.to)] = 1.0
            return named
        assert self._centroids is not None
        (made,) = encode(self._opened[self._spec.light], [given.given], "document").vectors
        near = unit(made) @ self._centroids.T
        return softmax_topk(near, self._spec.temperature, self._spec.mix)

    def _check_agreement(self, path: Path) -> None:
        try:
            probes = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as exc:
            raise CorruptFile(f"{path} cannot be read: {exc}", path=str(path)) from exc
        texts = isinstance(probes, list) and all(isinstance(one, str) for one in probes)
        if not texts or not probes:
            raise CorruptFile(f"{path}: expected a list of texts", path=str(path))
        vectors = [unit(encode(one, probes, "document").vectors) for one in self._experts]
        found = least_agreement(vectors)
        if found < self._spec.agreement:
            raise StoredDataError(
                f"{self.name}: its experts do not share a space: {found:.2f} of the probes find "
                f"themselves among another expert's vectors, {self._spec.agreement:g} must",
                path=str(path),
            )


def least_agreement(vectors: Sequence[F32]) -> float:
    """How well experts agree: over pairs of them, the least share of probes that find themselves.

    vectors  of each expert, [probe, dim], unit, of the same probes in the same order
    """
    least = 1.0
    for place, one in enumerate(vectors):
        for other in (*vectors[:place], *vectors[place + 1 :]):
            nearest = (one @ other.T).argmax(axis=1)
            least = min(least, float((nearest == np.arange(len(one))).mean()))
    return least


def check_experts(manifest: Manifest, installed: Mapping[str, Manifest]) -> None:
    """Refuse a router whose experts are not installed or do not share its space and dimension.

    Raises StoredDataError. Does nothing for encoders of other kinds.
    """
    spec = manifest.spec
    if not isinstance(spec, RouterSpec):
        return

    def fail(key: str, expected: str, found: str) -> StoredDataError:
        return StoredDataError(
            f"{manifest.name}: router.{key}: expected {expected}, found {found}",
            path=manifest.name,
        )

    for name in spec.needs:
        key = "experts" if name in spec.experts else "light"
        if name not in installed:
            raise fail(key, "installed encoders", repr(name))
        if isinstance(installed[name].spec, RouterSpec):
            raise fail(key, "encoders that are no routers", repr(name))
    for name in spec.experts:
        expert = installed[name]
        if (expert.space, expert.dimension) != (manifest.space, manifest.dimension):
            raise fail(
                "experts",
                f"encoders of the space {manifest.space} with {manifest.dimension} numbers",
                f"{name!r} of {expert.space} with {expert.dimension}",
            )
