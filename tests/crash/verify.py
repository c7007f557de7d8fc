"""Holds a service against what its writers know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from app.types import F64, PointId
from tests.crash.service import Client, vector_from_wire, vector_to_wire
from tests.crash.work import GROUPS, Part, State, Stored, Writer

_K = 10
_TOLERANCE = 1e-4  # of scores: float32 sums against float64


@dataclass(slots=True)
class Findings:
    """What was held against the service, and what was wrong."""

    points: int = 0
    happened: int = 0
    not_happened: int = 0
    lost: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    found: int = 0
    wanted: int = 0

    @property
    def faults(self) -> list[str]:
        return [*self.lost, *self.torn, *self.wrong]


def verify(client: Client, writers: Sequence[Writer], seed: int) -> Findings:
    """Compare everything; afterwards each writer knows what its last call came to."""
    findings = Findings()
    infos = {i["name"]: i for i in client.ask("GET", "/v1/collections")["collections"]}
    strangers = set(infos) - {writer.collection for writer in writers}
    if strangers:
        findings.wrong.append(f"there are collections {sorted(strangers)}")
    for name in sorted({writer.collection for writer in writers}):
        own = [writer for writer in writers if writer.collection == name]
        there = _everything(client, name) if name in infos else None
        _compare(own, there, infos.get(name), findings)
        if there is not None and not findings.faults:
            _ask(client, own[0], there, np.random.default_rng(seed), findings)
    return findings


def _everything(client: Client, name: str) -> dict[PointId, Stored]:
    found: dict[PointId, Stored] = {}
    cursor = None
    while True:
        body: dict[str, Any] = {"limit": 500, "with_vectors": True, "encoding_format": "base64"}
        if cursor is not None:
            body["cursor"] = cursor
        page = client.ask("POST", f"/v1/collections/{name}/points/scroll", body)
        for point in page["points"]:
            assert point["id"] not in found, "a point twice"
            vectors = {n: vector_from_wire(v).tobytes() for n, v in point["vectors"].items()}
            found[point["id"]] = Stored(vectors, point["attributes"])
        cursor = page["next_cursor"]
        if cursor is None:
            return found


def _compare(
    writers: Sequence[Writer],
    there: dict[PointId, Stored] | None,
    info: dict[str, Any] | None,
    findings: Findings,
) -> None:
    strangers = set(there or ())
    for writer in writers:
        seen: State = None
        if there is not None and info is not None:
            points = {id_: point for id_, point in there.items() if writer.owns(id_)}
            strangers -= set(points)
            findings.points += len(points)
            seen = Part(points)
            if writer.alone:
                seen = Part(points, info["schema"], info["index"]["m"])
        if seen == writer.before:
            findings.not_happened += writer.before != writer.after
            writer.settled(writer.before)
        elif seen == writer.after:
            findings.happened += 1
            writer.settled(writer.after)
        else:
            _tell(writer, seen, findings)
    if strangers:
        findings.wrong.append(f"{writers[0].collection}: points of nobody {sorted(strangers)[:5]}")


def _tell(writer: Writer, seen: State, findings: Findings) -> None:
    """Say what differs: what was certain is lost, what was under way is torn."""
    name = f"{writer.collection}, writer {writer.number}"
    states = [state for state in (writer.before, writer.after) if state is not None]
    if seen is None or not states:
        findings.lost.append(f"{name}: exists: {seen is not None}")
        return
    certain = set(states[0].points)
    for state in states[1:]:
        certain = {id_ for id_ in certain if state.points.get(id_) == states[0].points[id_]}
    missing = sorted(str(i) for i in certain if seen.points.get(i) != states[0].points[i])
    possible = {id_ for state in states for id_ in state.points}
    ghosts = sorted(str(id_) for id_ in set(seen.points) - possible)
    what = f"{name}: {len(missing)} certain differ {missing[:5]}, {len(ghosts)} ghosts {ghosts[:5]}"
    what += f", schema {dict(seen.schema)}, m {seen.links}"
    (findings.lost if missing or ghosts else findings.torn).append(what)


def _ask(
    client: Client,
    writer: Writer,
    there: dict[PointId, Stored],
    dice: np.random.Generator,
    findings: Findings,
) -> None:
    """Counts and neighbours against plain loops."""
    path = f"/v1/collections/{writer.collection}"
    for group in (None, int(dice.integers(GROUPS))):
        passing = {
            id_: p for id_, p in there.items() if group is None or p.attributes["group"] == group
        }
        filter_ = None if group is None else {"group": group}
        count = client.ask("POST", f"{path}/points/count", {"filter": filter_})["count"]
        if count != len(passing):
            findings.wrong.append(f"{path}: counts {count} of {len(passing)}")
        for name, (dimension, metric) in writer.kind.vectors.items():
            query = dice.normal(size=dimension).astype(np.float32)
            truth = _scores(passing, name, query.astype(np.float64), metric)
            body = {"vector": vector_to_wire(query), "using": name, "k": _K, "filter": filter_}
            for exact in (True, False):
                answer = client.ask("POST", f"{path}/query", body | {"params": {"exact": exact}})
                _judge(answer["points"], truth, exact or answer["exact"], path, findings)


def _scores(
    points: dict[PointId, Stored], name: str, query: F64, metric: str
) -> dict[PointId, float]:
    scores = {}
    for id_, point in points.items():
        vector = np.frombuffer(point.vectors[name], dtype="<f4").astype(np.float64)
        if metric == "l2":
            scores[id_] = -float(np.linalg.norm(vector - query))
        else:
            scores[id_] = float(vector @ query)
            if metric == "cosine":
                scores[id_] /= float(np.linalg.norm(vector) * np.linalg.norm(query))
    return scores


def _judge(
    hits: list[dict[str, Any]],
    truth: dict[PointId, float],
    exact: bool,
    path: str,
    findings: Findings,
) -> None:
    best = sorted(truth.values(), reverse=True)[:_K]
    told = [hit["score"] for hit in hits]
    own = [truth.get(hit["id"], np.inf) for hit in hits]
    if len(told) != len(best) or len({str(hit["id"]) for hit in hits}) != len(hits):
        findings.wrong.append(f"{path}: {len(told)} hits, {len(best)} expected")
    elif not np.allclose(told, own, atol=_TOLERANCE):
        findings.wrong.append(f"{path}: scores {told} are not those of the points, {own}")
    elif exact and not np.allclose(told, best, atol=_TOLERANCE):
        findings.wrong.append(f"{path}: nearest {told}, in truth {best}")
    elif best and not exact:
        findings.found += sum(score >= best[-1] - _TOLERANCE for score in own)
        findings.wanted += len(best)
