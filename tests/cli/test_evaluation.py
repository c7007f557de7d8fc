"""`likewise eval`: planted data sets against a real service; each mechanism beats its baseline."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from likewise import Client
from typer.testing import CliRunner

from app.__main__ import cli
from app.evaluation.loaders.fanns import write_rows

RNG = np.random.default_rng
WORDS = ("copper", "harbour", "violin", "glacier", "engine", "tulip", "whale", "graph")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["eval", *(str(argument) for argument in arguments)])


def ran(service: str, tmp_path: Path, *arguments: object) -> Any:
    """Run against the service: its results as JSON; no collection of its own is left."""
    out = tmp_path / "results.json"
    done = run("run", *arguments, "--url", service, "--out", out, "--resamples", 200)
    assert done.exit_code == 0, done.stderr
    with Client(service) as client:
        assert not [one.name for one in client.collections() if one.name.startswith("eval-")]
    return json.loads(out.read_text())


def measured(results: Any, measure: str) -> list[float]:
    return [one["measures"][measure]["value"] for one in results["configurations"]]


def lines(path: Path, rows: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    """Documents, of which each query repeats one word for word; half have another title."""
    folder = tmp_path / "words"
    words = ["whale", "graph", "violin", "harbour", "glacier", "tulip", "engine", "copper"]
    texts = [f"{a} and {b} in the {c}" for a in words for b in words[:3] for c in words[4:7]]
    lines(folder / "corpus.jsonl", ({"_id": f"d{n}", "text": t} for n, t in enumerate(texts)))
    lines(folder / "queries.jsonl", ({"_id": f"q{n}", "text": texts[n]} for n in range(20)))
    (folder / "qrels").mkdir()
    judged = "".join(f"q{n}\td{n}\t1\n" for n in range(20))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    return folder


def test_judged_queries_and_a_worse_way_to_ask(service: str, beir: Path, tmp_path: Path) -> None:
    worse = tmp_path / "lost.json"
    worse.write_text('{"rescore": {"text": "something else"}}')
    html, markdown = tmp_path / "r.html", tmp_path / "r.md"
    found = ran(
        service, tmp_path, beir, "--config", "plain={}", "--config", worse,
        "--measure", "ndcg@10", "--measure", "hit@1", "--html", html, "--markdown", markdown,
    )  # fmt: skip
    plain, lost = measured(found, "hit@1")
    assert plain == 1 > lost + 0.5
    assert [one["name"] for one in found["configurations"]] == ["plain", "lost"]
    (ndcg,) = (one for one in found["comparisons"] if one["measure"] == "ndcg@10")
    assert ndcg["high"] < 0
    assert found["configurations"][0]["per_query"]["queries"][0].startswith("q0: whale and")
    assert {"ms p50", "ms p99", "queries a second"} == found["configurations"][0]["facts"].keys()
    assert "<title>Retrieval: words</title>" in html.read_text()
    assert markdown.read_text().startswith("# Retrieval: words\n")


def test_an_existing_collection_is_asked_and_stays(
    service: str, beir: Path, tmp_path: Path
) -> None:
    with Client(service) as client:
        collection = client.create_collection("own")
        texts = [json.loads(line) for line in (beir / "corpus.jsonl").read_text().splitlines()]
        collection.upsert({"id": one["_id"], "text": one["text"]} for one in texts)
        found = ran(service, tmp_path, beir, "--collection", "own", "--most", 5)
        assert measured(found, "hit@1") == [1]
        assert collection.count() == len(texts)
        collection.drop()


@pytest.fixture
def fanns(tmp_path: Path) -> Path:
    folder = tmp_path / "filters"
    folder.mkdir()
    rng = RNG(2)
    vectors = rng.normal(size=(300, 6)).astype(np.float32)
    queries = rng.normal(size=(20, 6)).astype(np.float32)
    kinds = rng.integers(1, 6, 300) ** 2
    write_rows(folder / "database_vectors.fvecs", vectors)
    write_rows(folder / "query_vectors.fvecs", queries)
    lines(
        folder / "database_attributes.jsonl",
        ({"number_of_sub_categories": int(k), "main_categories": ["cs", f"c{k}"]} for k in kinds),
    )
    wanted = [int(kinds[n]) for n in range(20)]
    lines(folder / "em_query_attributes.jsonl", ({"label": one} for one in wanted))
    lines(folder / "emis_query_attributes.jsonl", ({"label": f"c{one}"} for one in wanted))
    truth = []
    for query, kind in zip(queries, wanted, strict=True):
        own = np.flatnonzero(kinds == kind)
        near = own[np.argsort(((vectors[own] - query) ** 2).sum(axis=1))][:100]
        truth += [len(near), *near.tolist()]
    np.array(truth, "<i4").tofile(folder / "ground_truth_em.ivecs")
    return folder


def test_filtered_neighbours_are_held_against_the_truth_of_the_files(
    service: str, fanns: Path, tmp_path: Path
) -> None:
    found = ran(service, tmp_path, fanns, "--k", 10)
    (way,) = found["configurations"]
    assert measured(found, "recall@10") == [1]
    assert way["measures"]["recall@10"]["queries"] == 40
    assert any("exact search of the service is it" in note for note in found["notes"])
    (decade,) = way["decades"]
    assert decade["queries"] == 40
    assert {"ms p50", "ms p99", "queries a second", "recall@10"} == decade["values"].keys()
    # without files of a truth all vectors are compared by the command itself
    none = ran(service, tmp_path, fanns, "--filters", "none", "--measure", "recall@100")
    assert measured(none, "recall@100") == [1]
    assert any("all vectors were compared here" in note for note in none["notes"])
    # a truth that is not true is noticed
    np.array([1, 0] * 20, "<i4").tofile(fanns / "ground_truth_em.ivecs")
    assert measured(ran(service, tmp_path, fanns, "--filters", "em"), "recall@10")[0] < 0.3


def test_a_condition_beats_either_half_alone(service: str, tmp_path: Path) -> None:
    """Things have a shape and a colour; distractors share one of them with what is wanted."""
    folder = tmp_path / "galleries"
    rng = RNG(3)
    shapes, colours = np.eye(12)[:6], np.eye(12)[6:]

    def thing(shape: int, colour: int) -> list[float]:
        vector = shapes[shape] + colours[colour] + rng.normal(0, 0.1, 12)
        return [float(x) for x in vector.round(4)]

    items, questions = [], []
    for number in range(30):
        shape, colour = (int(x) for x in rng.integers(6, size=2))
        target = len(items)
        items.append(thing(shape, colour))
        for n in range(1, 6):  # five with the shape alone, five with the colour alone
            items.append(thing(shape, (colour + n) % 6))
            items.append(thing((shape + n) % 6, colour))
        questions.append(
            {
                "reference": {"vector": thing(shape, (colour + 1 + number % 5) % 6)},
                "condition": {"vector": [float(x) for x in colours[colour]]},
                "gallery": list(range(target, len(items))),
                "target": target,
            }
        )
    lines(folder / "items.jsonl", ({"id": n, "vector": v} for n, v in enumerate(items)))
    lines(folder / "queries.jsonl", questions)
    found = ran(
        service, tmp_path, folder,
        "--config", 'fused={"prefetch": [{"vector": "$reference"}, {"vector": "$condition"}]}',
    )  # fmt: skip
    names = [one["name"] for one in found["configurations"]]
    assert names == ["sum", "reference only", "condition only", "fused"]
    both, reference, condition, _ = measured(found, "recall@1")
    assert both > 0.8
    assert max(reference, condition) < both - 0.3
    assert measured(found, "recall@3")[0] >= both


def test_likeness_is_correlated_with_what_people_said(service: str, tmp_path: Path) -> None:
    words = list(WORDS)
    rows = [
        {"s1": " ".join(words), "s2": " ".join([*words[:n], *["x"] * (8 - n)]), "score": n}
        for n in range(9)
    ]
    path = tmp_path / "sts.jsonl"
    lines(path, rows)
    found = ran(service, tmp_path, path)
    assert measured(found, "spearman")[0] > 0.9
    assert found["task"] == "similarity"
    done = run("run", path, "--url", service, "--config", '{"using": "x"}')
    assert done.exit_code == 1
    assert "a configuration says the model" in done.stderr


def test_pairs_are_verified(service: str, tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    words = list(WORDS)
    with path.open("w", newline="") as table:
        out = csv.writer(table)
        out.writerow(["a", "b", "same"])
        for one in words:
            for n, other in enumerate(words[:4]):
                out.writerow([f"the {one} here", f"the {one} there", 1])
                if one != other:
                    out.writerow([f"the {one} here", f"a {other} {n} away", 0])
    found = ran(service, tmp_path, path)
    assert found["task"] == "verification"
    assert measured(found, "roc auc")[0] > 0.95
    assert measured(found, "eer")[0] < 0.1
    assert measured(found, "score gap")[0] > -0.2
    assert "tar@far=0.1" in found["configurations"][0]["measures"]
    assert 0.9 < found["configurations"][0]["facts"]["10-fold accuracy"] <= 1
    (roc,) = found["configurations"][0]["curves"]
    assert (roc["x"][0], roc["y"][-1]) == (0, 1)


def labelled(rng: np.random.Generator, count: int, spread: float, known: int = 4) -> Any:
    centres = RNG(9).normal(size=(6, 5))
    for n in range(count):
        label = n % 6
        vector = centres[label] + rng.normal(0, spread, 5)
        name = f"l{label}" if label < known else None
        yield {"id": f"t{n}", "label": name, "vector": [float(x) for x in vector.round(4)]}


def test_labels_are_told_by_neighbours(service: str, tmp_path: Path) -> None:
    path = tmp_path / "things.jsonl"
    lines(path, labelled(RNG(4), 90, 0.4, known=6))
    found = ran(service, tmp_path, path, "--k", 5)
    assert found["task"] == "classification"
    assert measured(found, "accuracy@5")[0] > 0.8
    assert measured(found, "macro f1")[0] > 0.8
    assert 0 <= measured(found, "ece")[0] < 0.3
    lines(path, labelled(RNG(4), 90, 3.0, known=6))
    assert measured(ran(service, tmp_path, path, "--k", 5), "accuracy@5")[0] < 0.6


def test_strangers_are_to_be_refused(service: str, tmp_path: Path) -> None:
    """A way to ask that knows no stranger scores lower, though it names as many rightly."""
    folder = tmp_path / "landmarks"
    index = [one for one in labelled(RNG(5), 120, 0.2) if one["label"]]
    lines(folder / "index.jsonl", index)
    lines(
        folder / "queries.jsonl",
        ({**one, "id": f"q{n}"} for n, one in enumerate(labelled(RNG(6), 60, 0.2))),
    )
    found = ran(
        service, tmp_path, folder, "--k", 5,
        "--config", "likeness={}", "--config", 'ranks={"prefetch": [{"vector": "$vector"}]}',
    )  # fmt: skip
    assert found["task"] == "recognition"
    likeness, ranks = measured(found, "gap")
    assert measured(found, "accuracy@5") == [1, 1]
    assert likeness > 0.95
    assert ranks < likeness - 0.1  # ranks say nothing of how sure one may be
    curve = found["configurations"][0]["curves"][0]
    assert (curve["name"], curve["x"][-1]) == ("rejection", 1)


def test_results_are_compared_reported_and_gated(service: str, beir: Path, tmp_path: Path) -> None:
    files = []
    for name, config in (("good", "{}"), ("bad", '{"rescore": {"text": "something else"}}')):
        files.append(tmp_path / f"{name}.json")
        arguments = ("--config", config, "--url", service, "--out", files[-1])
        assert run("run", beir, *arguments, "--resamples", 200).exit_code == 0
    done = run("compare", *files, "--html", tmp_path / "c.html")
    assert done.exit_code == 0, done.stderr
    assert "bad: {" in done.stdout.replace("\\", "")
    assert "is worse than good" in done.stdout.replace("\\", "")
    gated = run("compare", *files, "--gate", "hit@1")
    assert gated.exit_code == 1
    assert "is worse than" in gated.stderr
    assert run("compare", *reversed(files), "--gate", "hit@1").exit_code == 0
    assert run("compare", *files, "--gate", "none@1").exit_code == 1
    assert run("report", files[0]).stdout.startswith("# Retrieval: words")
    (tmp_path / "after").mkdir()
    elsewhere = tmp_path / "after" / files[0].name
    elsewhere.write_bytes(files[0].read_bytes())
    for second in (elsewhere, files[0]):  # of one name in two folders, or one file twice
        same = run("compare", files[0], second, "--html", tmp_path / "same.html")
        assert same.exit_code == 0, same.stderr
        assert "is the same as" in same.stdout


def test_what_the_sdk_saves_can_be_reported(service: str, tmp_path: Path) -> None:
    with Client(service) as client:
        things = client.create_collection("things", dimension=5)
        for one in labelled(RNG(4), 60, 0.4, known=6):
            point = {"id": one["id"], "vector": one["vector"]}
            things.upsert([{**point, "attributes": {"label": one["label"]}}])
        found = things.evaluate(sample={"points": 30, "label": "label"}, per_query=True)
        found.save(tmp_path / "saved.json")
        things.drop()
    assert found["query"]["ndcg@10"] is not None
    done = run("report", tmp_path / "saved.json", "--html", tmp_path / "r.html")
    assert done.exit_code == 0, done.stderr
    assert "sampled points" in (tmp_path / "r.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "nothing.jsonl"], "nothing.jsonl cannot be read: No such file"),
        (["run", "."], "looks like no data set"),
        (["run", ".", "--task", "retrieval"], "expected a file qrels/test.tsv or"),
        (["run", ".", "--task", "none"], "expected one of retrieval, ann,"),
        (["run", ".", "--task", "ann", "--config", "{"], "expected JSON, or a file of it"),
        (
            ["run", ".", "--task", "ann", "--config", "nowhere.json"],
            "nowhere.json cannot be used: No such file",
        ),
        (["report", "nothing.json"], "nothing.json cannot be used: No such file"),
    ],
)
def test_faults_are_one_line(
    service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    more = ["--url", service] if arguments[0] == "run" else []
    done = run(*arguments, *more)
    assert done.exit_code in (1, 2)
    assert done.exception is None or isinstance(done.exception, SystemExit)
    assert said in " ".join(done.stderr.replace("│", " ").split())


def test_a_fault_of_the_service_is_one_line_and_nothing_is_left(service: str, beir: Path) -> None:
    done = run("run", beir, "--url", service, "--config", '{"using": "nowhere"}')
    assert done.exit_code == 1
    assert "the collection has no vector" in done.stderr
    assert "/using [422]" in done.stderr
    with Client(service) as client:
        assert not client.collections()


def test_a_service_of_its_own(beir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKEWISE_DEFAULT_ENCODER", "tiny")
    monkeypatch.setenv("LIKEWISE_API_KEY", "x" * 40)
    monkeypatch.setenv("LIKEWISE_MODELS_DIR", str(Path(__file__).parents[2] / "models"))
    out = tmp_path / "results.json"
    done = run("run", beir, "--local", "--out", out, "--measure", "hit@1")
    assert done.exit_code == 0, done.stderr
    assert measured(json.loads(out.read_text()), "hit@1") == [1]
