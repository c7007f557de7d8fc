"""Snapshots that somebody damaged or made up: refused by name, with nothing left behind."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.backends.local import LocalBackend
from app.errors import CorruptFile, InvalidSnapshot

from .making import POINTS, content, filled, forged, members, opened, receive, tar, whole

FACTOR = int(os.environ.get("FUZZ_FACTOR", "1"))
"""How many times more cases are tried than in `make test`: see `make fuzz-snapshots`."""


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalBackend, Path]]:
    """An engine with the collection "c" and its snapshot "s"."""
    folder = tmp_path_factory.mktemp("foreign")
    backend = opened(folder)
    filled(backend)
    backend.snapshots.take("c", "s")
    yield backend, folder
    backend.close()


def state(folder: Path) -> set[Path]:
    """Every collection's folder, and everything about snapshots."""
    return {*(folder / "collections").iterdir(), *(folder / "snapshots").rglob("*")}


def assert_refused(
    kept: tuple[LocalBackend, Path], octets: bytes, match: str | None = None
) -> None:
    backend, folder = kept
    before = state(folder)
    with pytest.raises(InvalidSnapshot, match=match):
        receive(backend, "t", octets)
    assert state(folder) == before
    assert [info.name for info in backend.describe_all()] == ["c"]


def test_a_forgery_that_changes_nothing_is_taken(
    kept: tuple[LocalBackend, Path], tmp_path: Path
) -> None:
    """So whatever else here is refused is refused for its change."""
    backend, _ = kept
    octets = content(backend, "s")
    assert tar(*_raw(octets)) == octets, "Python's own library writes the same tar"
    receive(backend, "same", forged(octets, tmp_path))
    backend.snapshots.restore("same", "d", replace=False)
    assert whole(backend, "d") == whole(backend, "c")
    backend.drop("d")
    backend.snapshots.drop("same")


def _raw(octets: bytes) -> tuple[bytes, bytes]:
    """The manifest's bytes as they stand there, and the store."""
    return octets[512 : octets.index(b"\0", 512)], members(octets)[1]


# ── damage ───────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=100 * FACTOR, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_byte_is_found(kept: tuple[LocalBackend, Path], data: st.DataObject) -> None:
    """Also with nothing but the file to go by: no digest came with it."""
    octets = bytearray(content(kept[0], "s"))
    near = st.integers(0, 3000) | st.integers(0, len(octets) - 1)
    at = data.draw(near, label="at")
    octets[at] ^= data.draw(st.integers(1, 255), label="flip")
    if 512 <= at < 512 + len(_raw(content(kept[0], "s"))[0]):
        # The manifest vouches for the store, and nothing for the manifest but the digest sent.
        found = kept[0].snapshots.describe("s").sha256
        with pytest.raises(InvalidSnapshot):
            receive(kept[0], "t", bytes(octets), found)
        return
    assert_refused(kept, bytes(octets))


@settings(max_examples=40 * FACTOR, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_file_that_is_cut_off_or_goes_on_is_found(
    kept: tuple[LocalBackend, Path], data: st.DataObject
) -> None:
    octets = content(kept[0], "s")
    length = data.draw(st.integers(0, 2000) | st.integers(0, len(octets) - 1))
    assert_refused(kept, octets[:length])
    assert_refused(kept, octets + data.draw(st.binary(min_size=1, max_size=2000)))


@settings(max_examples=40 * FACTOR)
@given(octets=st.binary(max_size=3000))
def test_any_bytes_are_refused(kept: tuple[LocalBackend, Path], octets: bytes) -> None:
    assert_refused(kept, octets)


@settings(
    max_examples=40 * FACTOR,
    deadline=None,  # one that is taken is restored, and opened
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_damaged_store_with_right_checksums_never_becomes_a_wrong_collection(
    kept: tuple[LocalBackend, Path], data: st.DataObject
) -> None:
    """Either it is refused, or everything in it can be read: nothing breaks later."""
    backend, _ = kept
    manifest, store = members(content(backend, "s"))
    damaged = bytearray(store)
    pages = [page * 8192 + offset for page in range(len(store) // 8192) for offset in range(40)]
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.sampled_from(pages) | st.integers(0, len(store) - 1))
        damaged[at] = data.draw(st.integers(0, 255))
    manifest["members"]["store.sqlite"]["sha256"] = hashlib.sha256(damaged).hexdigest()
    octets = tar(json.dumps(manifest).encode(), bytes(damaged))
    try:
        receive(backend, "t", octets)
    except InvalidSnapshot:
        return
    try:
        info = backend.snapshots.restore("t", "d", replace=False)
        assert len(whole(backend, "d")) == info.points == len(POINTS)
        backend.drop("d")
    finally:
        backend.snapshots.drop("t")


def test_a_kept_file_that_was_damaged_on_disk_is_not_restored(tmp_path: Path) -> None:
    backend = opened(tmp_path)
    filled(backend)
    backend.snapshots.take("c", "s")
    (file,) = (tmp_path / "snapshots").iterdir()
    octets = bytearray(file.read_bytes())
    octets[-5000] ^= 1
    file.write_bytes(octets)
    before = state(tmp_path)
    with pytest.raises(InvalidSnapshot, match="checksum"):
        backend.snapshots.restore("s", "d", replace=False)
    assert state(tmp_path) == before
    file.write_bytes(b"not even that")
    with pytest.raises(CorruptFile):
        backend.snapshots.describe("s")
    assert backend.snapshots.describe_all() == []
    backend.snapshots.drop("s")
    backend.close()


# ── forgeries of the manifest ────────────────────────────────────────────────────────────────

MANIFESTS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a newer format": (
        lambda m: m.update(format=2, likewise="3.1"),
        r"likewise 3\.1 in format 2; this service reads formats up to 1",
    ),
    "no format": (lambda m: m.pop("format"), "format"),
    "a format of text": (lambda m: m.update(format="1"), "format"),
    "a version to log": (lambda m: m.update(likewise="1\n2"), "likewise"),
    "a collection with a path": (lambda m: m.update(collection="../c"), "collection"),
    "no points": (lambda m: m.pop("points"), "lacks"),
    "points below none": (lambda m: m.update(points=-1), "points"),
    "more points": (lambda m: m.update(points=m["points"] + 1), "points"),
    "a time of no kind": (lambda m: m.update(created_at="today"), "created_at"),
    "another size": (lambda m: m["members"]["store.sqlite"].update(size=1 << 20), "size"),
    "another digest": (lambda m: m["members"]["store.sqlite"].update(sha256="0" * 64), "checksum"),
    "no definition": (lambda m: m.pop("definition"), "lacks"),
    "a definition of text": (lambda m: m.update(definition="x"), "definition"),
    "no vectors": (lambda m: m["definition"].update(vectors={}), "definition"),
    "a vector with a path": (
        lambda m: m["definition"]["vectors"].update(
            {"../v": m["definition"]["vectors"].pop("own")}
        ),
        "definition",
    ),
    "another dimension": (
        lambda m: m["definition"]["vectors"]["own"].update(dimension=3),
        "does not have 3 numbers",
    ),
    "a dimension of nothing": (
        lambda m: m["definition"]["vectors"]["own"].update(dimension=0),
        "definition",
    ),
    "a dimension that is true": (
        lambda m: m["definition"]["vectors"]["own"].update(dimension=True),
        "definition",
    ),
    "an unknown metric": (
        lambda m: m["definition"]["vectors"]["own"].update(metric="taxi"),
        "definition",
    ),
    "an encoder with a path": (
        lambda m: m["definition"]["vectors"]["own"].update(encoder="../../x"),
        "definition",
    ),
    "too many links": (lambda m: m["definition"]["index"].update(m=10_000), "definition"),
    "a schema of no kind": (lambda m: m["definition"]["schema"].update(year="date"), "definition"),
    "a schema that the points contradict": (
        lambda m: m["definition"]["schema"].update(note="integer"),
        "attributes",
    ),
    "fewer vectors than tables": (
        lambda m: m["definition"]["vectors"].pop("own"),
        "other tables",
    ),
}


@pytest.mark.parametrize("case", MANIFESTS)
def test_a_forged_manifest_is_refused(
    kept: tuple[LocalBackend, Path], tmp_path: Path, case: str
) -> None:
    change, match = MANIFESTS[case]
    assert_refused(kept, forged(content(kept[0], "s"), tmp_path, manifest=change), match)


# ── forgeries of the store ───────────────────────────────────────────────────────────────────


def sql(*statements: str) -> Callable[[sqlite3.Connection], None]:
    def run(connection: sqlite3.Connection) -> None:
        for statement in statements:
            connection.execute(statement)

    return run


def _unstrict(connection: sqlite3.Connection) -> None:
    """Let a STRICT table hold what it must not: the schema is edited, and put back."""
    connection.execute("PRAGMA writable_schema = ON")
    (strict,) = connection.execute("SELECT sql FROM sqlite_schema WHERE name='points'").fetchone()
    change = "UPDATE sqlite_schema SET sql = ? WHERE name = 'points'"
    connection.execute(change, (strict.replace("STRICT", ""),))
    connection.execute("PRAGMA writable_schema = RESET")
    connection.execute(
        "UPDATE points SET text = x'ff' WHERE row = 1 + (SELECT MIN(row) FROM points)"
    )
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute(change, (strict,))
    connection.execute("PRAGMA writable_schema = RESET")


ONE = "WHERE row = (SELECT MAX(row) FROM points)"

STORES: dict[str, tuple[Callable[[sqlite3.Connection], object], str]] = {
    "a trigger": (
        sql("CREATE TRIGGER t AFTER DELETE ON points BEGIN DELETE FROM points; END"),
        "other tables",
    ),
    "a view": (sql("CREATE VIEW v AS SELECT * FROM points"), "other tables"),
    "a table more": (sql("CREATE TABLE t (a)"), "other tables"),
    "an index more": (sql("CREATE INDEX i ON points (text)"), "other tables"),
    "a column more": (sql("ALTER TABLE points ADD COLUMN a INTEGER"), "other tables"),
    "a table less": (sql("DROP TABLE segments"), "other tables"),
    "a view in place of a table": (
        sql("DROP TABLE segments", "CREATE VIEW segments AS SELECT 'x' AS name"),
        "other tables",
    ),
    "a check": (
        sql("DROP TABLE segments", "CREATE TABLE segments (name TEXT PRIMARY KEY CHECK (1))"),
        "other tables",
    ),
    "a table that is not strict": (
        sql("DROP TABLE segments", "CREATE TABLE segments (name TEXT PRIMARY KEY)"),
        "other tables",
    ),
    "a newer store": (sql("PRAGMA user_version = 99"), "version 99"),
    "a store of a version there never was": (sql("PRAGMA user_version = -1"), "other tables"),
    "a listed segment": (sql("INSERT INTO segments VALUES ('../../x')"), "segments"),
    "a row before the first": (sql("UPDATE points SET row = -5 WHERE row = 1"), "rows"),
    "a last row that is too high": (
        sql("UPDATE sqlite_sequence SET seq = 9223372036854775807"),
        "rows",
    ),
    "a last row that is too low": (sql("UPDATE sqlite_sequence SET seq = 3"), "rows"),
    "a last row of text": (sql("UPDATE sqlite_sequence SET seq = 'x'"), "rows"),
    "two last rows": (sql("INSERT INTO sqlite_sequence VALUES ('points', 9)"), "rows"),
    "a vector without a point": (sql("INSERT INTO vectors_0 VALUES (9999, x'00')"), "without"),
    "a point less": (sql(f"DELETE FROM vectors_0 {ONE}", f"DELETE FROM vectors_1 {ONE}",
                         f"DELETE FROM points {ONE}"), "points"),
    "an empty id": (sql(f"UPDATE points SET key = x'' {ONE}"), "id"),
    "an id of no kind": (sql(f"UPDATE points SET key = x'02414141' {ONE}"), "id"),
    "a short integer id": (sql(f"UPDATE points SET key = x'0001' {ONE}"), "id"),
    "an id of no text": (sql(f"UPDATE points SET key = x'01ff' {ONE}"), "id"),
    "attributes of no JSON": (sql(f"UPDATE points SET attributes = x'7b' {ONE}"), "JSON"),
    "attributes in a list": (
        sql(f"UPDATE points SET attributes = CAST('[]' AS BLOB) {ONE}"),
        "object",
    ),
    "nested attributes": (
        sql(f"UPDATE points SET attributes = CAST('{{\"a\":{{}}}}' AS BLOB) {ONE}"),
        "attributes",
    ),
    "attributes over two lines": (
        sql(f"UPDATE points SET attributes = CAST('{{}}' || char(10) AS BLOB) {ONE}"),
        "compact",
    ),
    "attributes against the schema": (
        sql(f"UPDATE points SET attributes = CAST('{{\"year\":\"x\"}}' AS BLOB) {ONE}"),
        "attributes",
    ),
    "a text of bytes": (_unstrict, "damaged|text"),
    "a text of no Unicode": (
        sql(f"UPDATE points SET text = CAST(x'ff' AS TEXT) {ONE}"),
        "damaged",
    ),
    "an expiry before all time": (sql(f"UPDATE points SET expires_at = -1 {ONE}"), "expiry"),
    "an expiry after all time": (
        sql(f"UPDATE points SET expires_at = {253_402_300_800_000} {ONE}"),
        "expiry",
    ),
    "packed more than was written": (sql("UPDATE packed SET last_row = 1000000"), "packing"),
    "packed twice": (sql("INSERT INTO packed VALUES (0, 0)"), "packing"),
    "an artefact of no row": (sql("UPDATE artefacts SET row = 0"), "rows"),
    "last rows of another table": (sql("INSERT INTO sqlite_sequence VALUES ('t', 9)"), "rows"),
    "a last artefact of text": (
        sql("UPDATE sqlite_sequence SET seq = 'x' WHERE name = 'artefacts'"),
        "rows",
    ),
    "an artefact of another kind of name": (sql("UPDATE artefacts SET kind = 'a/b'"), "keeps"),
    "an artefact without a key": (sql("UPDATE artefacts SET key = ''"), "keeps"),
    "an artefact before all time": (sql("UPDATE artefacts SET made_at = -1"), "keeps"),
    "an artefact after all time": (
        sql(f"UPDATE artefacts SET made_at = {253_402_300_800_000}"),
        "keeps",
    ),
    "an artefact that is too large": (
        sql(f"UPDATE artefacts SET body = zeroblob({(16 << 20) + 1})"),
        "keeps",
    ),
    "too many artefacts": (
        sql("WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT 1000)"
            " INSERT INTO artefacts (kind, key, body, made_at) SELECT 'k', n, x'', 0 FROM n"),
        "keeps",
    ),
    "a short vector": (sql("UPDATE vectors_0 SET vector = x'0000803f'"), "numbers"),
    "no vector at all": (sql("UPDATE vectors_1 SET vector = x''"), "numbers"),
    "a vector with a NaN": (
        sql(f"UPDATE vectors_1 SET vector = x'0000c07f0000803f' {ONE}",
            "UPDATE vectors_1 SET vector = x'0000c07f0000803f'"),
        "finite",
    ),
    "a vector with an infinity": (
        sql("UPDATE vectors_1 SET vector = x'0000807f0000803f' WHERE row % 5 = 0"),
        "finite",
    ),
    "a vector that is too long": (
        sql("UPDATE vectors_1 SET vector = x'ffff7f7fffff7f7f' WHERE row % 5 = 0"),
        "too long",
    ),
    "a cosine of nothing": (
        sql("UPDATE vectors_0 SET vector = zeroblob(12) WHERE row % 7 = 0"),
        "no length",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", STORES)
def test_a_forged_store_is_refused(
    kept: tuple[LocalBackend, Path], tmp_path: Path, case: str
) -> None:
    change, match = STORES[case]
    assert_refused(kept, forged(content(kept[0], "s"), tmp_path, store=change), match)


def test_an_index_that_contradicts_its_table_is_refused(
    kept: tuple[LocalBackend, Path], tmp_path: Path
) -> None:
    """Rows are listed by the index of keys: one that lies would hide points."""
    octets = content(kept[0], "s")
    manifest, store = members(octets)
    key = b"\x01" + "ü/..".encode()
    damaged = bytearray(store)
    assert damaged.count(key) == 2
    at = damaged.rindex(key)
    damaged[at + 1 : at + 3] = b"zz"
    manifest["members"]["store.sqlite"]["sha256"] = hashlib.sha256(damaged).hexdigest()
    assert_refused(kept, tar(json.dumps(manifest).encode(), bytes(damaged)), "damaged")


# ── tricks with the tar ──────────────────────────────────────────────────────────────────────


def test_members_are_these_two_and_no_others(kept: tuple[LocalBackend, Path]) -> None:
    octets = content(kept[0], "s")
    manifest, store = _raw(octets)
    names = {
        "a path": octets.replace(b"snapshot.json\0\0\0", b"../../etc/pas\0\0\0", 1),
        "the store first": tar(store, manifest),
        "compressed": __import__("gzip").compress(octets),
        "twice": octets[:-1024] + octets,
    }
    for forgery in names.values():
        assert_refused(kept, forgery)


@pytest.mark.parametrize("size", [b"77777777777\0", b"\x80" + b"\xff" * 11, b"\xff" * 12])
def test_a_size_that_is_not_there_is_never_asked_for(
    kept: tuple[LocalBackend, Path], size: bytes
) -> None:
    octets = content(kept[0], "s")
    for header in (0, octets.index(b"store.sqlite\0")):
        block = bytearray(octets[header : header + 512])
        block[124:136] = size
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
        assert_refused(kept, octets[:header] + bytes(block) + octets[header + 512 :])


# ── other versions ───────────────────────────────────────────────────────────────────────────


def test_a_snapshot_written_by_hand_from_its_description_is_restored(
    kept: tuple[LocalBackend, Path], tmp_path: Path
) -> None:
    """Format 1, with a store of version 0, as docs/snapshots.md describes them."""
    backend, _ = kept
    path = tmp_path / "by-hand.sqlite"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(VERSION_0)
    connection.execute(
        "INSERT INTO points (row, key, attributes, text) VALUES (7, x'0161', ?, 'hello')",
        (b'{"n":1}',),
    )
    connection.execute("INSERT INTO vectors_0 VALUES (7, x'0000803f00000040')")
    connection.close()
    store = path.read_bytes()
    manifest = {
        "format": 1,
        "likewise": "0.1.0",
        "collection": "by-hand",
        "definition": {
            "vectors": {"v": {"dimension": 2, "metric": "l2", "encoder": None}},
            "schema": {},
            "index": {"m": 16, "ef_construction": 200},
        },
        "points": 1,
        "created_at": "2026-11-23T18:00:00Z",
        "members": {
            "store.sqlite": {"size": len(store), "sha256": hashlib.sha256(store).hexdigest()}
        },
    }
    receive(backend, "by-hand", tar(json.dumps(manifest).encode(), store))
    backend.snapshots.restore("by-hand", "d", replace=False)
    ((attributes, text, vectors),) = whole(backend, "d").values()
    assert (attributes, text) == ({"n": 1}, "hello")
    assert vectors == {"v": bytes.fromhex("0000803f00000040")}
    backend.drop("d")
    backend.snapshots.drop("by-hand")


VERSION_0 = """
CREATE TABLE points (
    row        INTEGER PRIMARY KEY AUTOINCREMENT,
    key        BLOB NOT NULL UNIQUE,
    attributes BLOB NOT NULL,
    text       TEXT
) STRICT;
CREATE TABLE segments (
    name TEXT PRIMARY KEY
) STRICT;
CREATE TABLE vectors_0 (row INTEGER PRIMARY KEY, vector BLOB NOT NULL) STRICT;
"""
