"""Every layout is read; every fault names the file and the line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.errors import InvalidRequest
from app.evaluation.loaders.beir import read_beir
from app.evaluation.loaders.fanns import is_fanns, read_fanns, read_ragged, read_rows, write_rows
from app.evaluation.loaders.lines import Item
from app.evaluation.loaders.sets import (
    read_galleries,
    read_labelled,
    read_pairs,
    read_recognition,
    read_sts,
)


def write(path: Path, *lines: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


def beir(folder: Path, qrels: str = "qrels/test.tsv", *judgements: str) -> Path:
    write(
        folder / "corpus.jsonl.gz",
        {"_id": "1", "title": "A", "text": "b", "metadata": {"year": 1}},
        {"_id": "2", "text": "c"},
    )
    write(folder / "queries.jsonl", {"_id": "q", "text": "x"}, {"_id": "r", "text": "y"})
    write(folder / qrels, *(judgements or ("query-id\tcorpus-id\tscore", "q\t1\t2", "q\t2\t0")))
    return folder


@pytest.mark.parametrize(
    "qrels", ["qrels/test.tsv", "qrels_test.tsv", "test.tsv", "qrels.tsv", "qrels/test.tsv.gz"]
)
def test_a_beir_folder(tmp_path: Path, qrels: str) -> None:
    found = read_beir(beir(tmp_path, qrels))
    assert found.queries == {"q": "x"}
    assert found.gains == {"q": {"1": 2, "2": 0}}
    assert [(d.id, d.whole) for d in found.documents()] == [("1", "A b"), ("2", "c")]
    assert next(found.documents()).metadata == {"year": 1}


def test_judgements_of_trec_and_without_names(tmp_path: Path) -> None:
    assert read_beir(beir(tmp_path / "a", "qrels.tsv", "q 0 1 1", "r 0 2 1")).gains == {
        "q": {"1": 1},
        "r": {"2": 1},
    }
    assert read_beir(beir(tmp_path / "b", "qrels.tsv", "q\t1\t1")).gains == {"q": {"1": 1}}


def test_another_split(tmp_path: Path) -> None:
    folder = beir(tmp_path)
    write(folder / "qrels" / "dev.tsv", "r\t1\t1")
    assert list(read_beir(folder, "dev").queries) == ["r"]


def fanns(folder: Path, truth: str = "_em") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    vectors = np.arange(12, dtype=np.float32).reshape(4, 3)
    write_rows(folder / "database_vectors.fvecs", vectors)
    write_rows(folder / "query_vectors.fvecs", vectors[:2] + 1)
    write(
        folder / "database_attributes.jsonl",
        *(
            {
                "number_of_sub_categories": n % 2,
                "main_categories": ["cs", "math"][: n % 2 + 1],
                "update_date": 20000 + n,
                "license": None,
                "authors": [["a", "b"]],
            }
            for n in range(4)
        ),
    )
    write(folder / "em_query_attributes.jsonl", {"label": 1}, {"label": 0})
    write(
        folder / "r_query_attributes.jsonl",
        {"range_start": 20001, "range_end": 20002},
        {"range_start": 20000, "range_end": 20000},
    )
    write(folder / "emis_query_attributes.jsonl", {"label": "math"}, {"label": "cs"})
    rows = np.array([2, 1, 3, 1, 0], "<i4")  # two rows of different lengths
    rows.tofile(folder / f"ground_truth{truth}.ivecs")
    return folder


def test_a_folder_of_the_benchmark_of_filters(tmp_path: Path) -> None:
    folder = fanns(tmp_path)
    assert is_fanns(folder)
    found = read_fanns(folder)
    assert found.vectors.tolist() == np.arange(12).reshape(4, 3).tolist()
    assert found.queries.shape == (2, 3)
    assert found.kinds == ["em", "r", "emis"]
    assert found.filters("em", 9) == [
        {"number_of_sub_categories": 1},
        {"number_of_sub_categories": 0},
    ]
    assert found.filters("r", 1) == [{"update_date": {"$gte": 20001, "$lte": 20002}}]
    assert found.filters("emis", 9) == [{"main_categories": "math"}, {"main_categories": "cs"}]
    truth = found.truth("em", 9)
    assert truth is not None
    assert [row.tolist() for row in truth] == [[1, 3], [0]]
    assert found.truth("r", 9) is None
    first = next(found.attributes())
    assert set(first) == {"number_of_sub_categories", "main_categories", "update_date"}
    fanns(tmp_path / "all", "")
    assert read_fanns(tmp_path / "all").kinds[0] == "none"
    assert read_fanns(tmp_path / "all").filters("none", 9) == [None, None]


def test_pairs(tmp_path: Path) -> None:
    sts = read_sts(
        write(
            tmp_path / "a.jsonl",
            {"s1": "x", "s2": "y", "score": 5},
            {"s1": "x", "s2": "z", "score": "2.5"},
        )
    )
    assert (sts.said, sts.first[0], sts.second[1]) == (
        [5, 2.5],
        Item("text", "x"),
        Item("text", "z"),
    )
    table = write(tmp_path / "b.csv", "a,b,same", '"x, y",z,1', "p,q,0", "p,p,true", "q,z,false")
    assert read_pairs(table).said == [1, 0, 1, 0]
    assert read_pairs(table).first[0] == Item("text", "x, y")
    assert read_pairs(table, "image").second[0] == Item("image", tmp_path / "z")
    lines = write(
        tmp_path / "c.jsonl",
        *({"a": {"vector": [1, 2]}, "b": {"text": "t"}, "same": n % 2} for n in range(4)),
    )
    assert read_pairs(lines).first[0] == Item("vector", [1, 2])


def test_labelled_things_and_strangers(tmp_path: Path) -> None:
    things = write(
        tmp_path / "index.jsonl.gz",
        {"id": 7, "label": "a", "text": "x"},
        {"label": 3, "image": "i.png"},
    )
    first, second = read_labelled(things)
    assert (first.id, first.label, first.item) == ("7", "a", Item("text", "x"))
    assert (second.id, second.label, second.item) == ("2", "3", Item("image", tmp_path / "i.png"))
    write(
        tmp_path / "queries.jsonl",
        {"label": None, "vector": [1.5]},
        {"label": "a", "text": "x"},
    )
    index, queries = read_recognition(tmp_path)
    assert (len(index), [one.label for one in queries]) == (2, [None, "a"])


def test_galleries(tmp_path: Path) -> None:
    write(tmp_path / "items.jsonl", *({"id": n, "vector": [n, 1]} for n in range(3)))
    write(
        tmp_path / "queries.jsonl",
        {"reference": 0, "condition": "colour", "gallery": [1, 2], "target": 2},
        {
            "reference": {"text": "a"},
            "condition": {"vector": [1]},
            "gallery": ["1", "0"],
            "target": [0],
        },
    )
    found = read_galleries(tmp_path)
    first, second = found.questions
    assert (first.reference, first.condition) == (Item("vector", [0, 1]), Item("text", "colour"))
    assert (first.gallery, first.targets) == (["1", "2"], ["2"])
    assert (second.reference, second.targets) == (Item("text", "a"), ["0"])


@pytest.mark.parametrize(
    ("read", "lines", "fault"),
    [
        (read_sts, ["{"], r"data\.jsonl:1: expected a line of JSON"),
        (read_sts, ["", "[1]"], r"data\.jsonl:2: expected an object"),
        (read_sts, [{"s1": "a", "s2": "b", "score": 1}], "fewer than two pairs"),
        (read_sts, [{"s1": "a", "score": 1}], r":1: expected s2 or sentence2, a string"),
        (read_sts, [{"s1": "a", "s2": "b", "score": None}], r":1: expected score, a number"),
        (read_pairs, [{"a": "a", "b": "b", "same": 2}], r":1: expected same, 1 or 0"),
        (read_pairs, [{"a": "a", "b": "b", "same": 1}] * 3, "two pairs of either kind"),
        (read_labelled, [{"label": "x"}], r":1: expected exactly one of text, image .* and vector"),
        (read_labelled, [{"label": None, "text": "t"}], r":1: expected label, a string"),
        (read_labelled, [{"label": "x", "vector": ["1"]}], r":1: expected a vector"),
        (read_labelled, [{"label": "x", "id": 1, "text": "t"}] * 2, r":2: the id '1' came before"),
    ],
)
def test_faults_of_lines_name_file_and_line(
    tmp_path: Path, read: Any, lines: list[Any], fault: str
) -> None:
    path = write(tmp_path / "data.jsonl", *lines)
    with pytest.raises(InvalidRequest, match=fault):
        read(path)


def _gallery(folder: Path, question: dict[str, Any]) -> None:
    write(folder / "items.jsonl", {"id": 1, "text": "a"})
    write(folder / "queries.jsonl", question)
    read_galleries(folder)


GOOD = {"reference": 1, "condition": "c", "gallery": [1], "target": 1}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"reference": 5}, r"queries\.jsonl:1: expected reference"),
        ({"condition": None}, r":1: expected condition"),
        ({"gallery": [9]}, r":1: the gallery names '9', which is no item"),
        ({"target": 2}, r":1: the target is not in the gallery"),
        ({"target": None}, r":1: expected target, ids"),
    ],
)
def test_faults_of_galleries(tmp_path: Path, change: dict[str, Any], fault: str) -> None:
    _gallery(tmp_path, GOOD)
    with pytest.raises(InvalidRequest, match=fault):
        _gallery(tmp_path, GOOD | change)


def test_faults_of_folders(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"expected a file qrels/test\.tsv or"):
        read_beir(tmp_path)
    with pytest.raises(InvalidRequest, match=r"qrels\.tsv:2: expected a query, a document and a"):
        read_beir(beir(tmp_path / "a", "qrels.tsv", "q\t1\t1", "q\t1\tmuch"))
    with pytest.raises(InvalidRequest, match="judges no query"):
        read_beir(beir(tmp_path / "b", "qrels.tsv", "z\t1\t1"))
    folder = beir(tmp_path / "c")
    (folder / "corpus.jsonl.gz").write_bytes(b"\x1f\x8b no gzip")
    with pytest.raises(InvalidRequest, match=r"corpus\.jsonl\.gz cannot be read"):
        list(read_beir(folder).documents())


def test_faults_of_vectors(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"database_vectors\.fvecs cannot be read"):
        read_fanns(tmp_path)
    rows = tmp_path / "rows.fvecs"
    for content, fault in (
        (b"", "expected rows of their length"),
        (b"\x00" * 8, "expected rows of their length"),
        (np.array([1, 0, 2, 0], "<i4").tobytes(), "row 2 is of another length"),
    ):
        rows.write_bytes(content)
        with pytest.raises(InvalidRequest, match=fault):
            read_rows(rows)
    np.array([5, 1], "<i4").tofile(rows)
    with pytest.raises(InvalidRequest, match="row 1 is not as long as it says"):
        read_ragged(rows, 1)
    folder = fanns(tmp_path / "f")
    np.array([1, 9, 1, 0], "<i4").tofile(folder / "ground_truth_em.ivecs")
    with pytest.raises(InvalidRequest, match=r"row 1 names a point that is not there"):
        read_fanns(folder).truth("em", 2)
    write(folder / "em_query_attributes.jsonl", {"label": None}, {"label": 1})
    with pytest.raises(InvalidRequest, match=r"em_query_attributes\.jsonl:1: expected label"):
        read_fanns(folder).filters("em", 2)
    write(folder / "database_attributes.jsonl", {})
    with pytest.raises(InvalidRequest, match="1 lines, and 4 vectors"):
        list(read_fanns(folder).attributes())
