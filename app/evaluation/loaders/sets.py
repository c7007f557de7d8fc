"""Smaller sets, as JSON lines or tables: pairs, labelled things, galleries.

pairs of sentences    s1, s2, score                         the STS benchmark, arXiv 1708.00055
pairs to verify       a, b, same (1 or 0, true or false)    .jsonl, .csv or .tsv; a and b texts,
                      paths of images (--input image), or objects as things are
labelled things       label, and text, image or vector; perhaps id
recognition           a folder of index.jsonl and queries.jsonl, labelled; a query whose label is
                      null has no answer                    Google Landmarks v2, arXiv 2004.01804
galleries             a folder of items.jsonl (id, and text, image or vector) and queries.jsonl:
                      reference (an id, or such a thing), condition (such a thing), gallery (ids),
                      target (an id, or some)               GeneCIS, arXiv 2306.07969
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.errors import InvalidRequest
from app.evaluation.loaders.lines import Item, Row, first_of, item_of, rows, rows_of_table


@dataclass(frozen=True, slots=True)
class JudgedPairs:
    """Pairs of things, and what was said of each: how alike, or whether the same."""

    first: list[Item]
    second: list[Item]
    said: list[float]


@dataclass(frozen=True, slots=True)
class Labelled:
    """A labelled thing; `label` None is a stranger."""

    id: str
    item: Item
    label: str | None


@dataclass(frozen=True, slots=True)
class Conditional:
    """A reference, what is to be the same or to change, and what is to be found where.

    gallery, targets   ids
    """

    reference: Item
    condition: Item
    gallery: list[str]
    targets: list[str]


@dataclass(frozen=True, slots=True)
class Galleries:
    """Items by id, and what is asked of them."""

    items: dict[str, Item]
    questions: list[Conditional]


def read_sts(path: Path) -> JudgedPairs:
    """Read pairs of sentences with scores. Raises InvalidRequest with file and line."""
    found = JudgedPairs([], [], [])
    for row in rows(path):
        found.first.append(Item("text", row.text("s1", "sentence1")))
        found.second.append(Item("text", row.text("s2", "sentence2")))
        found.said.append(row.number("score"))
    if len(found.said) < 2:
        raise InvalidRequest(f"{path} holds fewer than two pairs")
    return found


def read_pairs(path: Path, kind: str = "text") -> JudgedPairs:
    """Read pairs that are the same or not: `said` is 1 or 0.

    kind   what a and b are where they are strings: "text" or "image"

    Raises InvalidRequest with file and line, or where there are not two of either.
    """
    delimiter = {".csv": ",", ".tsv": "\t"}.get(path.suffix)
    found = JudgedPairs([], [], [])
    for row in rows(path) if delimiter is None else rows_of_table(path, delimiter):
        found.first.append(_side(row, "a", kind))
        found.second.append(_side(row, "b", kind))
        found.said.append(_same(row))
    if min(found.said.count(1), found.said.count(0)) < 2:
        raise InvalidRequest(f"{path}: expected two pairs of either kind at least")
    return found


def read_labelled(path: Path, *, strangers: bool = False) -> list[Labelled]:
    """Read labelled things. Raises InvalidRequest with file and line.

    strangers   whether a label may be null
    """
    found = []
    seen: set[str] = set()
    for row in rows(path):
        label = row.members.get("label")
        if not (label is None and strangers and "label" in row.members):
            label = row.text("label")
        id_ = row.text("id", "_id") if {"id", "_id"} & row.members.keys() else str(row.line)
        if id_ in seen:
            raise row.fault(f"the id {id_!r} came before")
        seen.add(id_)
        found.append(Labelled(id_, item_of(row), label))
    if len(found) < 2:
        raise InvalidRequest(f"{path} holds fewer than two things")
    return found


def read_recognition(folder: Path) -> tuple[list[Labelled], list[Labelled]]:
    """Read an index and its queries. Raises InvalidRequest with file and line."""
    index = read_labelled(first_of(folder, "index.jsonl"))
    return index, read_labelled(first_of(folder, "queries.jsonl"), strangers=True)


def read_galleries(folder: Path) -> Galleries:
    """Read items and conditional questions. Raises InvalidRequest with file and line."""
    items: dict[str, Item] = {}
    for row in rows(first_of(folder, "items.jsonl")):
        items[row.text("id", "_id")] = item_of(row)
    questions = list(_conditionals(first_of(folder, "queries.jsonl"), items))
    if not questions:
        raise InvalidRequest(f"{folder} asks nothing")
    return Galleries(items, questions)


def _conditionals(path: Path, items: dict[str, Item]) -> Iterator[Conditional]:
    for row in rows(path):
        reference = row.members.get("reference")
        if isinstance(reference, dict):
            thing = item_of(row, reference)
        elif str(reference) in items:
            thing = items[str(reference)]
        else:
            raise row.fault("expected reference, the id of an item or a thing")
        condition = row.members.get("condition")
        if isinstance(condition, str):
            condition = {"text": condition}
        if not isinstance(condition, dict):
            raise row.fault("expected condition, a text or a thing")
        gallery, targets = _ids(row, "gallery"), _ids(row, "target")
        for id_ in gallery:
            if id_ not in items:
                raise row.fault(f"the gallery names {id_!r}, which is no item")
        if not set(targets) <= set(gallery):
            raise row.fault("the target is not in the gallery")
        yield Conditional(thing, item_of(row, condition), gallery, targets)


def _ids(row: Row, name: str) -> list[str]:
    value = row.members.get(name)
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(one, str | int) for one in values):
        raise row.fault(f"expected {name}, ids")
    return [str(one) for one in values]


def _side(row: Row, name: str, kind: str) -> Item:
    value = row.members.get(name)
    if isinstance(value, dict):
        return item_of(row, value)
    return item_of(row, {kind: row.text(name)})


def _same(row: Row) -> float:
    value: Any = row.members.get("same")
    said = {"1": 1.0, "0": 0.0, "true": 1.0, "false": 0.0}.get(str(value).lower())
    if said is None:
        raise row.fault("expected same, 1 or 0")
    return said
