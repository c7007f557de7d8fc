"""Damages a segment in every way it can think of, opens it and searches it; told to die loudly.

    python -m tests.fuzz.segment_worker FOLDER SEED CASES

FOLDER holds `whole/segment` and `whole/covers`. Before each case a line says what is about to be
done, so that whoever started this knows what killed it. Most cases come with checksums that fit:
then nothing but the readers' own checks stands between made-up numbers and compiled code.
"""

from __future__ import annotations

import io
import json
import random
import shutil
import sys
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from app.attributes.filter import parse_filter
from app.engine.search import run
from app.engine.snapshot import LivePart, Snapshot
from app.engine.sparse import products, recall_sparse
from app.errors import StoredDataError
from app.exchange import Recall, Search
from app.kernels import bits
from app.planner.costs import Costs
from app.segments.covers import Covers
from app.segments.folder import DESCRIPTION
from app.segments.segment import Segment
from app.types import Metric, Sparse, VectorField, VectorKind

DENSE = [VectorField("a", 8, Metric.L2), VectorField("b", 4, Metric.COSINE)]
SPARSE = VectorField("terms", 0, Metric.IP, kind=VectorKind.SPARSE)
FIELDS = [*DENSE, SPARSE]
FILTERS = [
    None,
    {"group": 3},
    {"n": {"$gte": 20, "$lt": 200}},
    {"tags": {"$in": ["x", "y"]}},
    {"$not": {"group": {"$in": [1, 2]}}},
    {"$id": [5, "s7", 12]},
    {"when": {"$gte": "2020-01-10T00:00:00Z"}},
]
# Distances that cost much: then graphs and covers are walked, small as they are.
EAGER = Costs(code_scan_fixed_ns=10, code_visit_fixed_ns=1)

_HEADER = 16  # bytes of the prefix of an attribute index, up to the CRC of its header


def mutated(data: bytes, random: random.Random) -> bytes:
    """Flip, write over, insert, delete, repeat or cut off some bytes."""
    found = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 8))):
        at = random.randrange(len(found) + 1)
        kind = random.randrange(6)
        if kind == 0 and at < len(found):
            found[at] ^= 1 << random.randrange(8)
        elif kind == 1:
            found[at : at + 8] = random.choice((b"\xff" * 8, b"\0" * 8, b"\x7f" * 8))[
                : len(found) - at
            ]
        elif kind == 2:
            found[at:at] = random.randbytes(random.choice((1, 4, 64)))
        elif kind == 3:
            del found[at : at + random.choice((1, 4, 64))]
        elif kind == 4:
            found[at:at] = found[at : at + 64]
        elif random.random() < 0.3:
            del found[at:]
    return bytes(found)


def mutated_array(data: bytes, random: random.Random) -> bytes:
    """Another array in a well-formed file: other elements, another length, dtype or rank."""
    array: Any = np.load(io.BytesIO(data)).copy()
    kind = random.randrange(8)
    if kind < 5 and array.size:
        flat = array.reshape(-1)
        for _ in range(random.choice((1, 1, 3, array.size))):
            flat[random.randrange(array.size)] = _number(array, random)
    elif kind == 5:
        array = array[: random.randrange(len(array) + 1)]
    elif kind == 6:
        array = np.concatenate([array, array[: random.randrange(len(array) + 1)]])
    elif random.random() < 0.5:
        array = array.astype(random.choice((np.int64, np.uint16, np.float32, np.uint8, np.bool_)))
    else:
        array = array.reshape(random.choice(((-1,), (1, -1), (-1, 1))))
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def _number(array: Any, random: random.Random) -> Any:
    if array.dtype.kind == "f":
        return random.choice((np.nan, np.inf, -np.inf, 0, 1e38, -1e-38, random.gauss(0, 1)))
    most = int(np.iinfo(array.dtype).max)
    least = int(np.iinfo(array.dtype).min)
    near = int(array.max()) if array.size else 0
    chosen = random.choice((0, 1, least, most, most - 1, near, near + 1, len(array), near // 2))
    return min(max(chosen, least), most)


def mutated_json(value: Any, random: random.Random) -> Any:
    """Change one member somewhere in a JSON value."""
    if isinstance(value, dict) and value and random.random() < 0.9:
        key = random.choice(list(value))
        if random.random() < 0.1:
            return {k: v for k, v in value.items() if k != key}
        return value | {key: mutated_json(value[key], random)}
    if isinstance(value, list) and value and random.random() < 0.9:
        at = random.randrange(len(value))
        if random.random() < 0.1:
            return value[:at] + value[at + 1 :]
        return [*value[:at], mutated_json(value[at], random), *value[at + 1 :]]
    if isinstance(value, int) and random.random() < 0.6:
        return value + random.choice((-1, 1, 2, -value, 64, 2**31, 2**63))
    return random.choice((None, True, False, 0, -1, 1.5, "", "x", [], {}, [[]], 10**30))


def mutated_index(data: bytes, random: random.Random) -> bytes:
    """Change the header of an attribute index, under its right CRC, or one element behind it."""
    length = int.from_bytes(data[12:16], "little")
    header, body = data[20 : 20 + length], bytearray(data[20 + length :])
    if random.random() < 0.4:
        header = json.dumps(mutated_json(json.loads(header), random)).encode()
    else:
        for _ in range(random.choice((1, 1, 4))):
            at = random.randrange(len(body) // 4) * 4
            number = random.choice((0, 1, 2**31 - 1, 2**32 - 1, random.randrange(400)))
            body[at : at + 4] = number.to_bytes(4, "little")
    prefix = data[:12] + len(header).to_bytes(4, "little")
    return prefix + zlib.crc32(header).to_bytes(4, "little") + header + bytes(body)


def described(folder: Path, change: Any) -> None:
    """Write the description of a folder again, with checksums that fit."""
    path = folder / DESCRIPTION
    value = json.loads(path.read_bytes().partition(b"\n")[2])
    if isinstance(value, dict) and isinstance(value.get("files"), dict):
        for name in value["files"]:
            data = (folder / name).read_bytes()
            value["files"][name] = [len(data), zlib.crc32(data)]
    body = json.dumps(change(value)).encode()
    replace(path, b"%08x\n" % zlib.crc32(body) + body)


def replace(path: Path, data: bytes) -> None:
    """Write a new file in the place of one that may still be mapped."""
    path.unlink()
    path.write_bytes(data)


def damage(folder: Path, random: random.Random) -> tuple[str, bool]:
    """Damage one file; says how, and whether the checksums were made to fit."""
    if random.random() < 0.12:
        described(folder, lambda value: mutated_json(value, random))
        return "description", True
    path = random.choice(sorted(p for p in folder.rglob("*") if p.is_file()))
    data = path.read_bytes()
    fits = path.name != DESCRIPTION and random.random() < 0.9
    changes = [mutated]
    if path.suffix == ".npy":
        changes += [mutated_array, mutated_array, mutated_array]
    elif path.suffix == ".bin":
        changes += [mutated_index, mutated_index]
    change = random.choice(changes)
    found = change(data, random)
    replace(path, found)
    if fits:
        described(folder, lambda value: value)
    return f"{path.name} by {change.__name__}", fits or found == data


def use(folder: Path, covers: Path, on_disk: bool, random: random.Random) -> None:
    """Open both and search them in every way."""
    segment = Segment.open(folder, fields=FIELDS, vectors_on_disk=on_disk)
    segment.covers = Covers.open(covers, slots=segment.slots)
    live = bits.empty(segment.slots)
    bits.set_slots(live, np.arange(segment.slots, dtype=np.uint32))
    snapshot = Snapshot((LivePart.of(segment, live),))
    for number, field in enumerate(DENSE):
        query = np.array([random.gauss(0, 1) for _ in range(field.dimension)], np.float32)
        for raw in FILTERS:
            kept = None if raw is None else parse_filter(raw)
            for exact in (False, True):
                search = Search(query, field.name, kept, k=10, exact=exact)
                outcome = run(search, query, snapshot, field, number, EAGER)
                assert len(outcome.page) <= 10
                assert {found.row for found in outcome.page} <= set(segment.rows.tolist())
    terms = np.array([0, 1, 7, 30, 2**32 - 1, random.randrange(2**32)])
    sparse = Sparse(np.unique(terms), np.ones(np.unique(terms).size, np.float32))
    for raw in FILTERS:
        kept = None if raw is None else parse_filter(raw)
        recalled = recall_sparse(Recall(sparse, "terms", kept, k=10), sparse, 2, snapshot)
        assert len(recalled.candidates.keys) <= 10
        assert recalled.matches <= segment.slots
    products(sparse, 2, snapshot.parts[0], np.arange(segment.slots, dtype=np.uint32))
    segment.keys(segment.after(None))
    for raw in ("group", "tags", "n", "when"):
        segment.frequent_values(raw, 3)
    snapshot.without(segment.rows.tolist()[::7])


def main() -> None:
    base, seed, cases = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    outcomes: Counter[str] = Counter()
    work = base / f"work-{seed}"
    for case in range(seed, seed + cases):
        chance = random.Random(case)
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(base / "whole", work)
        part = "covers" if chance.random() < 0.25 else "segment"
        what, fits = damage(work / part, chance)
        on_disk = chance.random() < 0.3
        print(
            f"case {case}: {part} {what}, checksums {'fit' if fits else 'do not fit'}", flush=True
        )
        try:
            use(work / "segment", work / "covers", on_disk, chance)
        except StoredDataError:
            outcomes["refused"] += 1
        except Exception as error:
            outcomes[f"raised {type(error).__name__}"] += 1
            print(f"  raised {error!r}", flush=True)
        else:
            assert fits, "damage under a wrong checksum was not noticed"
            outcomes["served"] += 1
    shutil.rmtree(work, ignore_errors=True)
    print(json.dumps(outcomes), flush=True)


if __name__ == "__main__":
    main()
