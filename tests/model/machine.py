"""A state machine over the whole collection API: every answer is what the dicts say."""

from __future__ import annotations

import math
import random
import time
from typing import Any, ClassVar

import httpx
import numpy as np
import pytest
from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from app.attributes.filter import parse_filter
from app.backends.base import Recall, View
from app.keys import id_from_key
from app.planner.costs import Costs

from .model import (
    FILTERS,
    Collection,
    Field,
    Given,
    Id,
    Json,
    Kept,
    Numbers,
    pooled,
    words_of,
)
from .world import HEAD_POINTS, SCANNED, Lasting, World, tiny

V3 = {"v": Field(3, "ip")}
SHAPES: list[tuple[dict[str, Field], dict[str, str]]] = [
    (V3, {}),
    (V3, {"color": "keyword"}),
    ({"v": Field(3, "l2"), "w": Field(2, "ip")}, {"n": "float"}),
    ({"v": Field(3, "cosine")}, {}),
    ({"v": Field(3, "l2"), "body": Field(32, "cosine", "tiny")}, {}),
    (
        {
            "v": Field(3, "ip"),
            "words": Field(3, "cosine", kind="tokens"),
            "terms": Field(0, "ip", kind="sparse"),
        },
        {},
    ),
]
TEXTS = ["a red fox", "the sea at night", "rain", "a fox in the rain", "é"]

names = st.sampled_from(["a", "a", "a", "b"])
snapshots = st.sampled_from(["s1", "s2"])
ids = st.one_of(st.integers(0, 30), st.sampled_from(["a", "b", "1", "2", "é", 2**64 - 1]))
filters = st.sampled_from(FILTERS)
words = st.lists(
    st.sampled_from(["a", "fox", "the", "rain", "red", "blue", "nowhere"]),
    min_size=1,
    max_size=3,
    unique=True,
)
vectors = st.tuples(*[st.integers(-3, 3)] * 3)
# Whole degrees about the place where the equator meets the meridian 180.
places = st.builds(
    lambda lat, lon: {"lat": lat, "lon": lon},
    st.integers(-2, 2),
    st.sampled_from([178, 179, 180, -180, -179, -178, 0]),
)
attributes = st.fixed_dictionaries(
    {},
    optional={
        "color": st.sampled_from(["red", "green", "blue"]),
        "n": st.sampled_from([-2, -1, 0, 1, 2, 0.5, -0.5, None]),
        "tags": st.lists(st.sampled_from(["x", "y", 1, True]), max_size=3),
        "other": st.sampled_from([1, "one", None]),
        "at": st.lists(places, max_size=2) | places,
    },
)
lacking = st.sampled_from([(), (), (), ("v",), ("w", "body"), ("words",), ("v", "terms")])
texts = st.one_of(st.none(), st.sampled_from(TEXTS))
points = st.lists(
    st.tuples(ids, vectors, attributes, texts, lacking),
    min_size=1, max_size=15, unique_by=lambda point: (type(point[0]), point[0]),
)  # fmt: skip
selections = st.one_of(
    st.lists(ids, min_size=1, max_size=6).map(lambda some: (some, None)),
    filters.map(lambda one: (None, one)),
)


def path(name: str, rest: str = "") -> str:
    return f"/v1/collections/{name}{rest}"


def selected(ids: list[Id] | None, filter: Given | None) -> Json:
    return {"filter": filter.json} if filter is not None else {"ids": ids}


class Collections(RuleBasedStateMachine):
    """Requests to the service, the same to the dicts, and builds, restarts and damage between."""

    costs: ClassVar[Costs] = SCANNED
    encoders: ClassVar[Lasting]
    embedded: ClassVar[dict[str, Numbers]] = {}
    searched: ClassVar[list[int]] = [0, 0]
    """Results of approximate queries that were as near as the true ones, and all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.encoders, self.costs)
        self.model: dict[str, Collection] = {}
        self.kept: dict[str, tuple[str, Collection]] = {}  # snapshots: of which, and what
        if not self.embedded:
            answer = self.ok(self.world.send("POST", "/v1/embeddings", {"input": TEXTS}))
            for text, one in zip(TEXTS, answer["data"], strict=True):
                self.embedded[text] = tuple(one["embedding"])

    def teardown(self) -> None:
        try:
            for name in self.model:
                self.everything(name)
        finally:
            self.world.close()

    # ── asking ───────────────────────────────────────────────────────────────────────────────

    def ok(self, answer: httpx.Response, status: int = 200) -> Any:
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    def refused(self, answer: httpx.Response, status: int, code: str) -> None:
        assert (answer.status_code, answer.json()["type"]) == (
            status,
            f"urn:likewise:problem:{code}",
        ), answer.text

    def of(self, name: str, answer: httpx.Response) -> Collection | None:
        """The collection; or None, if there is none and the answer says so."""
        found = self.model.get(name)
        if found is None:
            self.refused(answer, 404, "collection-not-found")
        return found

    # ── collections ──────────────────────────────────────────────────────────────────────────

    @initialize(shape=st.sampled_from(SHAPES), seed=st.integers(0, 99))
    def begin(self, shape: tuple[dict[str, Field], dict[str, str]], seed: int) -> None:
        self.create("a", shape)
        self.fill("a", seed, 2 * HEAD_POINTS)

    @rule(name=names, shape=st.sampled_from(SHAPES))
    def create(self, name: str, shape: tuple[dict[str, Field], dict[str, str]]) -> None:
        fields, schema = shape
        new = Collection(dict(fields), dict(schema))
        answer = self.world.send("PUT", path(name), new.json())
        present = self.model.setdefault(name, new)
        if present is new:
            assert self.ok(answer, 201)["points"] == 0
        elif (present.fields, present.schema, present.index) == (fields, schema, new.index):
            self.ok(answer)
        else:
            self.refused(answer, 409, "definition-differs")

    @rule(name=names)
    def drop(self, name: str) -> None:
        answer = self.world.send("DELETE", path(name))
        if self.of(name, answer) is not None:
            assert answer.status_code == 204
            del self.model[name]
            self.world.forget_build(name)

    @rule(
        name=names,
        field=st.sampled_from(["color", "n", "tags", "other"]),
        kind=st.sampled_from(["keyword", "integer", "float", None]),
        index=st.sampled_from([None, {"m": 4}, {"ef_construction": 40}]),
    )
    def alter(self, name: str, field: str, kind: str | None, index: Json | None) -> None:
        body = {"schema": {field: kind}} | ({} if index is None else {"index": index})
        answer = self.world.send("PATCH", path(name), body)
        found = self.of(name, answer)
        if found is None:
            return
        added = {} if kind is None else {field: kind}
        if not all(found.conforms(point.attributes, added) for point in found.points.values()):
            self.refused(answer, 409, "schema-conflict")
            return
        found.schema = {n: k for n, k in found.schema.items() if n != field} | added
        found.index |= index or {}
        described = self.ok(answer)
        assert (described["schema"], described["index"]) == (found.schema, found.index)

    @rule()
    def list_collections(self) -> None:
        listed = self.ok(self.world.send("GET", "/v1/collections"))["collections"]
        assert [one["name"] for one in listed] == sorted(self.model)
        for one in listed:
            kept = self.model[one["name"]]
            assert one["points"] == len(kept.points)
            assert sum(part["points"] for part in one["segments"]) == len(kept.points)
            assert (one["schema"], one["index"]) == (kept.schema, kept.index)

    # ── words ────────────────────────────────────────────────────────────────────────────────

    @rule(name=names, asked=words, filter=filters, k=st.sampled_from([1, 5, 200]))
    def find_words(self, name: str, asked: list[str], filter: Given, k: int) -> None:
        """Points with any of the words, by BM25 as of one index, whatever parts they stand in."""
        body = {"query": {"lexical": " ".join(asked)}, "filter": filter.json, "k": k}
        answer = self.worded("POST", path(name, "/query"), body)
        found = self.of(name, answer)
        if found is None:
            return
        told = self.ok(answer)
        passing = set(found.matching(filter))
        scores = {one: score for one, score in found.worded(asked).items() if one in passing}
        assert told["matches"] == len(scores)
        shown = {point["id"]: point["score"] for point in told["points"]}
        assert len(shown) == min(k, len(scores))
        due = sorted(scores.values(), reverse=True)[:k]
        assert list(shown.values()) == pytest.approx(due, rel=1e-4)
        assert shown == pytest.approx({one: scores[one] for one in shown}, rel=1e-4)

    @rule(name=names, asked=words, filter=filters)
    def match_words(self, name: str, asked: list[str], filter: Given) -> None:
        """A filter by words beside another one."""
        both = {"$and": [{"$match": " ".join(asked)}, filter.json]}
        answer = self.worded("POST", path(name, "/points/count"), {"filter": both})
        found = self.of(name, answer)
        if found is not None:
            holding = [words_of(found.points[one]).keys() for one in found.matching(filter)]
            assert self.ok(answer) == {"count": sum(set(asked) <= held for held in holding)}

    def worded(self, method: str, where: str, body: Json) -> httpx.Response:
        """Ask for words; where a restored or damaged index is built again, wait for it."""
        until = time.monotonic() + 60
        while True:
            answer = self.world.send(method, where, body)
            if answer.status_code != 503:
                return answer
            self.refused(answer, 503, "lexical-unavailable")
            assert time.monotonic() < until, "the words are not indexed"
            time.sleep(0.02)

    # ── snapshots ────────────────────────────────────────────────────────────────────────────

    @rule(name=names, snapshot=snapshots)
    def take_snapshot(self, name: str, snapshot: str) -> None:
        answer = self.world.send("POST", path(name, "/snapshots"), {"name": snapshot})
        if name in self.model and snapshot in self.kept:
            self.refused(answer, 409, "snapshot-exists")
        elif name not in self.model:
            assert answer.status_code in (404, 409), answer.text  # both are true
        else:
            described = self.ok(answer, 201)
            self.kept[snapshot] = (name, self.model[name].copy())
            points = len(self.model[name].points)
            assert (described["collection"], described["points"]) == (name, points)

    @rule(snapshot=snapshots, name=st.sampled_from([None, "a", "b"]), replace=st.booleans())
    def restore(self, snapshot: str, name: str | None, replace: bool) -> None:
        body: Json = {"replace": replace} | ({} if name is None else {"collection": name})
        answer = self.world.send("POST", f"/v1/snapshots/{snapshot}/restore", body)
        if snapshot not in self.kept:
            self.refused(answer, 404, "snapshot-not-found")
            return
        taken_of, kept = self.kept[snapshot]
        name = taken_of if name is None else name
        if name in self.model and not replace:
            self.refused(answer, 409, "collection-exists")
            return
        assert self.ok(answer, 201)["name"] == name
        self.model[name] = kept.copy()
        self.world.forget_build(name)
        self.everything(name)

    @rule(snapshot=snapshots)
    def forget_snapshot(self, snapshot: str) -> None:
        answer = self.world.send("DELETE", f"/v1/snapshots/{snapshot}")
        if snapshot in self.kept:
            assert answer.status_code == 204
            del self.kept[snapshot]
        else:
            self.refused(answer, 404, "snapshot-not-found")

    @rule()
    def list_snapshots(self) -> None:
        listed = self.ok(self.world.send("GET", "/v1/snapshots"))["snapshots"]
        found = {one["name"]: (one["collection"], one["points"]) for one in listed}
        assert found == {name: (of, len(c.points)) for name, (of, c) in self.kept.items()}

    # ── writing ──────────────────────────────────────────────────────────────────────────────

    @rule(name=names, given=points)
    def upsert(
        self, name: str, given: list[tuple[Id, Numbers, Json, str | None, tuple[str, ...]]]
    ) -> None:
        shape = self.model.get(name)
        fields = {} if shape is None else shape.fields
        body, kept = [], {}
        for id_, numbers, attributes, text, without in given:
            vectors = {
                one: self._numbers(numbers, field)
                for one, field in fields.items()
                if one not in without and field.encoder is None
            }
            encoded = [one for one, field in fields.items() if field.encoder is not None]
            if not vectors and not (encoded and text is not None):
                vectors = {"v": self._numbers(numbers, fields["v"])} if fields else {"v": numbers}
            point: Json = {"id": id_, "attributes": attributes, "vectors": vectors}
            kept[id_] = Kept(dict(vectors), attributes)
            if text is not None:
                point["text"] = kept[id_].text = text
                kept[id_].vectors |= dict.fromkeys(encoded, self.embedded[text])
            body.append(point)
        answer = self.world.send("PUT", path(name, "/points"), {"points": body})
        found = self.of(name, answer)
        if found is None:
            return
        if not all(found.conforms(point.attributes) for point in kept.values()):
            self.refused(answer, 422, "schema-violation")
            return
        assert self.ok(answer) == {"upserted": len(kept)}
        found.points.update(kept)

    def _numbers(self, numbers: Numbers, field: Field) -> Any:
        if field.kind == "sparse":
            kept = {7 * place: number for place, number in enumerate(numbers) if number}
            return {"indices": list(kept), "values": list(kept.values())}
        if field.kind == "tokens":
            turned = [numbers[place:] + numbers[:place] for place in range(1 + sum(numbers) % 3)]
            return [[*token] if any(token) else [0, 0, 1] for token in turned]
        cut = numbers[: field.dimension]
        return (1, *cut[1:]) if field.metric == "cosine" and not any(cut) else cut

    @rule(name=names, seed=st.integers(0, 99), count=st.sampled_from([10, 40, 90]))
    def fill(self, name: str, seed: int, count: int) -> None:
        """Many points at once, so that heads fill and segments merge."""
        drawn = random.Random(seed)
        chosen = drawn.sample(range(100, 100 + 2 * count), count)
        self.upsert(
            name,
            [
                (
                    id_,
                    tuple(drawn.randint(-3, 3) for _ in range(3)),
                    {"color": drawn.choice(["red", "green", "blue"]), "n": drawn.randint(-2, 2)},
                    None,
                    (),
                )
                for id_ in chosen
            ],
        )

    @rule(name=names, selection=selections)
    def delete(self, name: str, selection: tuple[list[Id] | None, Given | None]) -> None:
        answer = self.world.send("POST", path(name, "/points/delete"), selected(*selection))
        found = self.of(name, answer)
        if found is not None:
            gone = found.chosen(*selection)
            assert self.ok(answer) == {"deleted": len(gone)}
            for one in gone:
                del found.points[one]

    @rule(
        name=names,
        selection=selections,
        set_=attributes,
        unset=st.lists(st.sampled_from(["color", "n", "nothing"]), unique=True),
    )
    def patch(
        self,
        name: str,
        selection: tuple[list[Id] | None, Given | None],
        set_: Json,
        unset: list[str],
    ) -> None:
        unset = [one for one in unset if one not in set_]
        body = selected(*selection) | {"set": set_, "unset": unset}
        answer = self.world.send("PATCH", path(name, "/points"), body)
        if not set_ and not unset:
            assert answer.status_code in (200, 404, 422)
            if answer.status_code == 200:
                assert name in self.model
            return
        found = self.of(name, answer)
        if found is None:
            return
        if not found.conforms(set_):
            self.refused(answer, 422, "schema-violation")
            return
        changed = found.chosen(*selection)
        assert self.ok(answer) == {"updated": len(changed)}
        for one in changed:
            before = found.points[one]
            merged = {**before.attributes, **set_}
            kept = {key: value for key, value in merged.items() if key not in unset}
            found.points[one] = Kept(before.vectors, kept, before.text)

    # ── what is kept beside the points ───────────────────────────────────────────────────────

    @rule(name=names, key=st.sampled_from(["x", "y"]), pairs=st.integers(9, 12))
    def keep(self, name: str, key: str, pairs: int) -> None:
        """Keep something small: a calibration, which takes ten pairs of either kind."""
        body = {"scores": [0.25, 0.75] * pairs, "matches": [False, True] * pairs}
        answer = self.world.send("PUT", path(name, f"/calibrations/{key}"), body)
        found = self.of(name, answer)
        if found is None:
            return
        if pairs < 10:
            self.refused(answer, 422, "invalid-query")
            return
        told = self.ok(answer, 200 if key in found.calibrations else 201)
        assert (told["name"], told["pairs"]) == (key, 2 * pairs)
        found.calibrations[key] = 2 * pairs

    @rule(name=names, key=st.sampled_from(["x", "y"]))
    def forget(self, name: str, key: str) -> None:
        answer = self.world.send("DELETE", path(name, f"/calibrations/{key}"))
        found = self.of(name, answer)
        if found is None:
            return
        if found.calibrations.pop(key, None) is None:
            self.refused(answer, 404, "artefact-not-found")
        else:
            self.ok(answer, 204)

    # ── reading ──────────────────────────────────────────────────────────────────────────────

    def same(self, record: Json, id_: Id, kept: Kept, *, vectors: bool = False) -> None:
        """Hold a record as answered against the point as it should be."""
        assert (type(record["id"]), record["id"]) == (type(id_), id_)
        assert record["attributes"] == kept.attributes
        assert record.get("text") == kept.text
        if vectors:
            assert record["vectors"].keys() == kept.vectors.keys()
            for one, numbers in kept.vectors.items():
                if isinstance(numbers, dict):
                    assert record["vectors"][one] == numbers
                else:
                    np.testing.assert_allclose(record["vectors"][one], numbers, atol=1e-5)

    @rule(name=names, wanted=st.lists(ids, min_size=1, max_size=8), vectors=st.booleans())
    def get(self, name: str, wanted: list[Id], vectors: bool) -> None:
        body = {"ids": wanted, "with_vectors": vectors}
        answer = self.world.send("POST", path(name, "/points/get"), body)
        found = self.of(name, answer)
        if found is None:
            return
        answered = self.ok(answer)
        wanted = list(dict.fromkeys(wanted))
        present = [one for one in wanted if one in found.points]
        assert answered["missing"] == [one for one in wanted if one not in found.points]
        for one, record in zip(present, answered["points"], strict=True):
            self.same(record, one, found.points[one], vectors=vectors)

    @rule(name=names, filter=filters)
    def count(self, name: str, filter: Given) -> None:
        answer = self.world.send("POST", path(name, "/points/count"), {"filter": filter.json})
        found = self.of(name, answer)
        if found is not None:
            assert self.ok(answer) == {"count": len(found.matching(filter))}

    @rule(name=names, filter=filters, limit=st.sampled_from([1, 3, 7, 50]))
    def scroll(self, name: str, filter: Given, limit: int) -> None:
        answer = self.world.send("POST", path(name, "/points/scroll"), {"limit": limit})
        found = self.of(name, answer)
        if found is not None:
            self._walk(name, found, filter, limit)

    def _walk(self, name: str, found: Collection, filter: Given, limit: int) -> None:
        expected = found.matching(filter)
        cursor = None
        pages = 0
        while cursor is not None or pages == 0:
            body: Json = {"filter": filter.json, "limit": limit, "with_vectors": True}
            body |= {} if cursor is None else {"cursor": cursor}
            answer = self.ok(self.world.send("POST", path(name, "/points/scroll"), body))
            page, expected = expected[:limit], expected[limit:]
            for one, record in zip(page, answer["points"], strict=True):
                self.same(record, one, found.points[one], vectors=True)
            cursor = answer["next_cursor"]
            assert (cursor is None) == (not expected)
            pages += 1

    def everything(self, name: str) -> None:
        """All points, with all that they hold, the counts of some filters, and what is kept."""
        kept = self.ok(self.world.send("GET", path(name, "/calibrations")))["calibrations"]
        told = {one["name"]: one["pairs"] for one in kept}
        assert told == self.model[name].calibrations
        self._walk(name, self.model[name], FILTERS[0], 1000)
        for filter in FILTERS[1::4]:
            self.count(name, filter)

    # ── queries ──────────────────────────────────────────────────────────────────────────────

    wide = st.fixed_dictionaries(
        {"k": st.sampled_from([1, 3, 10, 200])},
        optional={
            "offset": st.sampled_from([1, 5]),
            "params": st.sampled_from([{"exact": True}, {"ef": 200}, {}]),
            "explain": st.just(True),
            "fields": st.sampled_from([[], ["color"]]),
        },
    )

    @rule(
        name=names,
        using=st.sampled_from(["v", "v", "w", "body"]),
        numbers=vectors,
        text=st.sampled_from(TEXTS),
        filter=filters,
        body=wide,
    )
    def query(
        self, name: str, using: str, numbers: Numbers, text: str, filter: Given, body: Json
    ) -> None:
        asked = self._asked(name, using, numbers, text, filter, body)
        answer = self.world.send("POST", path(name, "/query"), asked)
        found = self.of(name, answer)
        if found is None:
            return
        if using not in found.fields:
            self.refused(answer, 422, "unknown-vector")
            return
        self._check(found, asked, filter, self.ok(answer))

    def _asked(
        self, name: str, using: str, numbers: Numbers, text: str, filter: Given, body: Json
    ) -> Json:
        asked = {"using": using, "filter": filter.json, **body}
        field = self.model[name].fields.get(using) if name in self.model else None
        if field is not None and field.encoder is not None:
            return asked | {"text": text}
        return asked | {"vector": numbers if field is None else self._numbers(numbers, field)}

    @rule(name=names, id_=ids, filter=filters, body=wide)
    def query_by_id(self, name: str, id_: Id, filter: Given, body: Json) -> None:
        asked = {"using": "v", "id": id_, "filter": filter.json, **body}
        answer = self.world.send("POST", path(name, "/query"), asked)
        found = self.of(name, answer)
        if found is None:
            return
        if id_ not in found.points:
            self.refused(answer, 404, "point-not-found")
        elif "v" not in found.points[id_].vectors:
            self.refused(answer, 422, "invalid-query")
        else:
            self._check(found, asked, filter, self.ok(answer))

    @precondition(lambda self: "a" in self.model)
    @rule(
        asked=st.lists(
            st.tuples(vectors, st.sampled_from(TEXTS), filters, wide), min_size=1, max_size=4
        )
    )
    def batch(self, asked: list[tuple[Numbers, str, Given, Json]]) -> None:
        found = self.model["a"]
        dense = [name for name, field in found.fields.items() if field.kind == "dense"]
        queries = [
            self._asked("a", dense[number % len(dense)], *one) for number, one in enumerate(asked)
        ]
        answer = self.ok(self.world.send("POST", path("a", "/query:batch"), {"queries": queries}))
        for one, query, answered in zip(asked, queries, answer["results"], strict=True):
            self._check(found, query, one[2], answered)

    @rule(name=names, numbers=vectors, filter=filters, k=st.sampled_from([1, 5, 200]))
    def recall_by_tokens(self, name: str, numbers: Numbers, filter: Given, k: int) -> None:
        """Candidates of a view, and their tokens, in whatever parts they stand."""
        found = self.model.get(name)
        if found is None or "words" not in found.fields:
            return
        tokens = self._numbers(numbers, found.fields["words"])
        wanted = Recall(
            np.array(tokens, np.float32), "words", parse_filter(filter.json), k=k, exact=True
        )
        ranked = found.ranked("words", pooled(tokens), filter)

        def work(view: View) -> None:
            recalled = view.recall(wanted)
            assert recalled.matches == len(ranked)
            scores = [score for score, _ in ranked[:k]]
            np.testing.assert_allclose(recalled.candidates.scores, scores, atol=1e-5)
            kept, begins = view.tokens("words", recalled.candidates.rows)
            for place, key in enumerate(recalled.candidates.keys):
                given = np.array(found.points[id_from_key(key)].vectors["words"])
                unit = given / np.linalg.norm(given, axis=1, keepdims=True)
                own = kept[begins[place] : begins[place + 1]]
                np.testing.assert_allclose(own, unit, atol=5e-4)

        self.world.backend.view(name, work)
        event("recalled by tokens")

    @rule(
        name=names,
        numbers=vectors,
        id_=st.one_of(st.none(), st.none(), ids),
        filter=filters,
        k=st.sampled_from([1, 5, 200]),
        offset=st.sampled_from([0, 0, 3]),
    )
    def query_by_terms(
        self, name: str, numbers: Numbers, id_: Id | None, filter: Given, k: int, offset: int
    ) -> None:
        """By weights, or by those of a point, in whatever parts the points stand."""
        found = self.model.get(name)
        if found is None or "terms" not in found.fields:
            return
        query = self._numbers(numbers, found.fields["terms"])
        leaf = {"sparse": query} if id_ is None else {"id": id_}
        body = {"query": leaf, "using": "terms", "filter": filter.json, "k": k, "offset": offset}
        answer = self.world.send("POST", path(name, "/query"), body)
        if id_ is not None:
            if id_ not in found.points:
                self.refused(answer, 404, "point-not-found")
                return
            if "terms" not in found.points[id_].vectors:
                self.refused(answer, 422, "invalid-query")
                return
            query = found.points[id_].vectors["terms"]
        answered = self.ok(answer)
        ranked = found.multiplied("terms", query, filter, without=id_, shared=True)
        assert (answered["matches"], answered["exact"]) == (len(ranked), True)
        self._same_hits(answered, ranked[offset : offset + k])
        event("queried by terms")

    @rule(name=names, numbers=vectors, filter=filters)
    def rescore_by_terms(self, name: str, numbers: Numbers, filter: Given) -> None:
        """Of all points with a dense vector, those that have weights, by these."""
        found = self.model.get(name)
        if found is None or "terms" not in found.fields:
            return
        query = self._numbers(numbers, found.fields["terms"])
        body = {
            "query": {"vector": [1, 2, 3]},
            "using": "v",
            "filter": filter.json,
            "k": 100,
            "params": {"exact": True},
            "rescore": {"sparse": query, "using": "terms", "candidates": 1000},
        }
        answered = self.ok(self.world.send("POST", path(name, "/query"), body))
        every = found.multiplied("terms", query, filter, without=None, shared=False)
        ranked = [(score, one) for score, one in every if "v" in found.points[one].vectors]
        self._same_hits(answered, ranked[:100])
        event("rescored by terms")

    def _same_hits(self, answered: Json, expected: list[tuple[float, Id]]) -> None:
        """Numbers are whole, so that sums, and the order of ties, are exact."""
        assert [(hit["score"], hit["id"]) for hit in answered["points"]] == expected

    def _check(self, found: Collection, asked: Json, filter: Given, answer: Json) -> None:
        """Hold an answer against every match, ranked."""
        using, without = asked["using"], asked.get("id")
        if without is not None:
            query = found.points[without].vectors[using]
        elif "text" in asked:
            query = self.embedded[asked["text"]]
        else:
            query = asked["vector"]
        ranked = found.ranked(using, query, filter, without)
        assert answer["matches"] == len(ranked)
        assert (answer["plan"] == "empty") == (not ranked)
        page = ranked[asked.get("offset", 0) :][: asked["k"]]
        hits = answer["points"]
        assert len(hits) == len(page)
        scores = {one: score for score, one in ranked}
        fields = asked.get("fields")
        last = math.inf
        for hit in hits:
            assert hit["id"] in scores, "a hit that is dead, or does not pass the filter"
            score = scores.pop(hit["id"])  # each once
            assert math.isclose(hit["score"], score, rel_tol=1e-5, abs_tol=1e-5)
            assert hit["score"] <= last
            last = hit["score"]
            kept = found.points[hit["id"]]
            shown = {k: v for k, v in kept.attributes.items() if fields is None or k in fields}
            assert hit["attributes"] == shown
            assert hit.get("text") == kept.text
        event(f"plan {answer['plan']}")
        if answer["exact"]:
            for hit, (score, one) in zip(hits, page, strict=True):
                assert math.isclose(hit["score"], score, rel_tol=1e-5, abs_tol=1e-5)
                if found.fields[using].metric != "cosine":  # integers: ties are exact
                    assert hit["id"] == one
        else:
            assert not asked.get("params", {}).get("exact")
            near = page[-1][0] - 1e-4 if page else 0
            self.searched[0] += sum(hit["score"] >= near for hit in hits)
            self.searched[1] += len(hits)

    # ── what happens meanwhile ───────────────────────────────────────────────────────────────

    @rule(name=names, idle=st.booleans())
    def order_build(self, name: str, idle: bool) -> None:
        self.world.order_build(name, idle=idle)

    @precondition(lambda self: self.world.underway)
    @rule(name=names)
    def write_build(self, name: str) -> None:
        self.world.write_build(name)

    @precondition(lambda self: self.world.underway)
    @rule(name=names)
    def finish_build(self, name: str) -> None:
        event(f"built {self.world.finish_build(name)}")

    @precondition(lambda self: self.world.underway)
    @rule(name=names)
    def abandon_build(self, name: str) -> None:
        self.world.abandon_build(name)

    @rule(name=names, filter=filters)
    def settle(self, name: str, filter: Given) -> None:
        """Ask for something a few times and build until nothing is due: covers as well."""
        for numbers in ((1, 2, 3), (-1, 0, 2)):
            self.query(name, "v", numbers, TEXTS[0], filter, {"k": 3})
        for built in self.world.settle(name):
            event(f"built {built}")

    @rule(how=st.sampled_from(["stop", "crash"]))
    def restart(self, how: str) -> None:
        self.world.restart() if how == "stop" else self.world.crash()
        for name in self.model:
            self.everything(name)

    @rule(choice=st.integers(0, 10_000), how=st.sampled_from(["folder", "file", "bit"]))
    def restart_damaged(self, choice: int, how: str) -> None:
        self.world.restart_without(choice, how)
        for name in self.model:
            self.everything(name)

    @invariant()
    def each_collection_has_as_many_points(self) -> None:
        for name, found in self.model.items():
            answer = self.ok(self.world.send("POST", path(name, "/points/count"), {}))
            assert answer == {"count": len(found.points)}


__all__ = ["Collections", "tiny"]
