"""Holds a service against what its writers know."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from app.types import F64, PointId
from tests.crash.service import SPARSE, Client, vector_from_wire, vector_to_wire
from tests.crash.work import GROUPS, Kind, Part, State, Stored, World, Writer

PROOF = "proof"
"""The collection that snapshots are restored as, to look into them."""

_K = 10
_TOLERANCE = 1e-4  # of scores: float32 sums against float64


@dataclass(slots=True)
class Findings:
    """What was held against the service, and what was wrong."""

    points: int = 0
    happened: int = 0
    not_happened: int = 0
    downloaded: int = 0
    restored: int = 0
    lost: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    found: int = 0
    wanted: int = 0

    @property
    def faults(self) -> list[str]:
        return [*self.lost, *self.torn, *self.wrong]


def verify(
    client: Client, writers: Sequence[Writer], data: Path, seed: int, *, restore: bool
) -> Findings:
    """Compare everything; afterwards each writer knows what its last call came to.

    data      the service's directory, searched for what a crash may have left
    restore   whether to restore a snapshot and look into it
    """
    findings = Findings()
    dice = np.random.default_rng(seed)
    infos = {i["name"]: i for i in client.ask("GET", "/v1/collections")["collections"]}
    told = {s["name"]: s["sha256"] for s in client.ask("GET", "/v1/snapshots")["snapshots"]}
    _search_leftovers(data, infos, told, findings)
    alone = [writer for writer in writers if writer.alone]
    known = {writer.collection for writer in writers} | {writer.copy for writer in alone} | {PROOF}
    if set(infos) - known:
        findings.wrong.append(f"there are collections {sorted(set(infos) - known)}")
    strangers = {name for name in told if not any(writer.took(name) for writer in writers)}
    if strangers:
        findings.wrong.append(f"there are snapshots {sorted(strangers)}")
    for name in sorted({writer.collection for writer in writers}):
        own = [writer for writer in writers if writer.collection == name]
        there = _everything(client, name) if name in infos else None
        copy = _everything(client, own[0].copy) if own[0].copy in infos else None
        fresh = {snapshot for snapshot in told if snapshot not in own[0].digests}
        _compare(own, there, copy, infos, told, findings)
        if findings.faults:
            continue
        for asked, points in ((name, there), (own[0].copy, copy)):
            if points is not None:
                _ask(client, asked, own[0].kind, points, dice, findings)
        snapshots = sorted(own[0].before.snapshots)
        for snapshot in snapshots:
            _download(client, own[0], snapshot, told[snapshot], findings)
        if restore and snapshots:
            # One whose making was cut off, if there is any.
            chosen = sorted(fresh & set(snapshots)) or snapshots
            _prove(client, own[0], chosen[int(dice.integers(len(chosen)))], findings)
    if PROOF in infos:
        client.call("DELETE", f"/v1/collections/{PROOF}")  # of a crash, or refused on a full disk
    return findings


def _search_leftovers(
    data: Path, infos: dict[str, Any], told: dict[str, str], findings: Findings
) -> None:
    """Right after a start, each file and folder must belong to something that is listed."""
    files = {path.name for path in (data / "snapshots").glob("*")}
    if files != {f"{name}.{sha256}.snapshot" for name, sha256 in told.items()}:
        findings.wrong.append(f"snapshots/ holds {sorted(files)}, listed are {sorted(told)}")
    catalog = sqlite3.connect(f"file:{data / 'catalog.sqlite'}?mode=ro", uri=True)
    listed = dict(catalog.execute("SELECT name, folder FROM collections"))
    catalog.close()
    folders = {path.name for path in (data / "collections").iterdir()}
    if set(listed) != set(infos) or folders != set(listed.values()):
        findings.wrong.append(
            f"collections/ holds {sorted(folders)}, listed are {listed}, served {sorted(infos)}"
        )


def _download(client: Client, writer: Writer, name: str, sha256: str, findings: Findings) -> None:
    """Hold a snapshot's bytes against what was acknowledged."""
    came, said = client.digest(f"/v1/snapshots/{name}/file")
    findings.downloaded += 1
    if {came, said, sha256} != {writer.digests.setdefault(name, sha256)}:
        findings.lost.append(f"snapshot {name}: {came}, listed {sha256}, sent {said}")


def _prove(client: Client, writer: Writer, name: str, findings: Findings) -> None:
    """Restore a snapshot and hold every point against what was there when it was taken."""
    body = {"collection": PROOF, "replace": True}
    status, info = client.call("POST", f"/v1/snapshots/{name}/restore", body)
    if status == 507:
        return
    points = _everything(client, PROOF) if status == 201 else {}
    findings.points += len(points)
    findings.restored += 1
    if status != 201 or _part(points, info) != writer.before.snapshots[name]:
        findings.lost.append(f"snapshot {name}: {status} {info}, {len(points)} points")
    client.call("DELETE", f"/v1/collections/{PROOF}")  # on a full disk it is left to the next


def _part(points: dict[PointId, Stored], info: dict[str, Any]) -> Part:
    return Part(points, info["schema"], info["index"]["m"])


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
    copy: dict[PointId, Stored] | None,
    infos: dict[str, Any],
    told: dict[str, str],
    findings: Findings,
) -> None:
    info = infos.get(writers[0].collection)
    strangers = set(there or ())
    for writer in writers:
        own: State = None
        if there is not None and info is not None:
            points = {id_: point for id_, point in there.items() if writer.owns(id_)}
            strangers -= set(points)
            findings.points += len(points)
            own = _part(points, info) if writer.alone else Part(points)
        second = None if copy is None else _part(copy, infos[writer.copy])
        # What a snapshot holds is not looked at here; by its name it is one of these.
        possible = {**writer.before.snapshots, **writer.after.snapshots}
        snapshots = {name: possible.get(name, Part()) for name in told if writer.took(name)}
        seen = World(own, second, snapshots)
        findings.points += len(copy or ())
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


def _tell(writer: Writer, seen: World, findings: Findings) -> None:
    """Say what differs: what was certain is lost, what was under way is torn."""
    before, after = writer.before, writer.after
    name = f"{writer.collection}, writer {writer.number}"
    if seen.own not in (before.own, after.own):
        _tell_part(name, (before.own, after.own), seen.own, findings)
    elif seen.copy not in (before.copy, after.copy):
        _tell_part(f"{name}, copy", (before.copy, after.copy), seen.copy, findings)
    else:
        had = f"{sorted(before.snapshots)}, then {sorted(after.snapshots)}"
        findings.lost.append(f"{name}: snapshots {sorted(seen.snapshots)}; known {had}")


def _tell_part(name: str, known: Sequence[State], seen: State, findings: Findings) -> None:
    states = [state for state in known if state is not None]
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
    collection: str,
    kind: Kind,
    there: dict[PointId, Stored],
    dice: np.random.Generator,
    findings: Findings,
) -> None:
    """Counts and neighbours against plain loops."""
    path = f"/v1/collections/{collection}"
    for group in (None, int(dice.integers(GROUPS))):
        passing = {
            id_: p for id_, p in there.items() if group is None or p.attributes["group"] == group
        }
        filter_ = None if group is None else {"group": group}
        count = client.ask("POST", f"{path}/points/count", {"filter": filter_})["count"]
        if count != len(passing):
            findings.wrong.append(f"{path}: counts {count} of {len(passing)}")
        for name, (dimension, metric) in kind.vectors.items():
            query = dice.normal(size=dimension).astype(np.float32)
            if metric == SPARSE:
                query[dice.random(dimension) < 0.6] = 0
            truth = _scores(passing, name, query.astype(np.float64), metric)
            wired = vector_to_wire(query, metric)
            asked = {"query": {SPARSE: wired}} if metric == SPARSE else {"vector": wired}
            body = {**asked, "using": name, "k": _K, "filter": filter_}
            for exact in (True, False):
                answer = client.ask("POST", f"{path}/query", body | {"params": {"exact": exact}})
                _judge(answer["points"], truth, exact or answer["exact"], path, findings)


def _scores(
    points: dict[PointId, Stored], name: str, query: F64, metric: str
) -> dict[PointId, float]:
    scores = {}
    for id_, point in points.items():
        vector = np.frombuffer(point.vectors[name], dtype="<f4").astype(np.float64)
        if metric == SPARSE and not np.any((vector != 0) & (query != 0)):
            continue  # it shares no index with the query
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
