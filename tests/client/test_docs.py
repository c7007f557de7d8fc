"""The guide's examples run, in order, against a real service; so does the demonstration."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import likewise
import pytest
from likewise import Client

REPOSITORY = Path(__file__).parents[2]
GUIDE = REPOSITORY / "docs" / "sdk.md"
FRONT = REPOSITORY / "README.md"
README = REPOSITORY / "client" / "README.md"
DEMO = REPOSITORY / "client" / "examples" / "stdlib_demo.py"
QUERIES = [
    REPOSITORY / "docs" / "queries.md",
    REPOSITORY / "docs" / "facets.md",
    *sorted((REPOSITORY / "docs/similarity").glob("*.md")),
]
WITH_EXAMPLES = [page for page in QUERIES if page.exists() and "```python\n" in page.read_text()]
ADDRESS = "http://127.0.0.1:8000"


def _examples(page: Path, address: str) -> str:
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
    assert blocks
    return "\n".join(blocks).replace(ADDRESS, address)


@pytest.mark.parametrize(
    "page",
    [README, GUIDE, FRONT, *WITH_EXAMPLES],
    ids=lambda page: page.relative_to(REPOSITORY).as_posix(),
)
def test_the_examples_run(page: Path, service: str) -> None:
    names: dict[str, Any] = {}
    try:
        exec(compile(_examples(page, service), page.name, "exec"), names)  # the point of the test
    finally:
        for value in names.values():
            if isinstance(value, Client):
                value.close()
        with Client(service) as client:
            for info in client.collections():
                client.collection(info.name).drop()


def test_the_compositions_that_are_written_as_json_are_answered(service: str) -> None:
    page = REPOSITORY / "docs" / "similarity" / "algebra.md"
    begin = _examples(page, service).split("things.query(", 1)[0]
    names: dict[str, Any] = {}
    exec(compile(begin, page.name, "exec"), names)  # makes the collection `things`
    written = re.findall(
        r"^```json query\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S
    )
    assert len(written) > 10
    try:
        for one in written:
            assert len(names["things"].query(query=json.loads(one), k=3)) == 3, one
    finally:
        names["things"].drop()
        names["client"].close()


@pytest.mark.parametrize("name", likewise.__all__)
def test_the_guide_names_what_users_meet(name: str) -> None:
    described_by_their_methods = {
        "AsyncCollection", "Collection", "CollectionInfo", "Embeddings", "Filter", "Hit",
        "ImportReport", "IndexInfo", "Info", "LexicalInfo", "Limits", "LineError", "Model",
        "Problem", "QueryResult", "Readiness", "Record", "Records", "SegmentInfo", "VectorInfo",
        "__version__", "to_numpy",
    }  # fmt: skip
    assert (name in GUIDE.read_text(encoding="utf-8")) or name in described_by_their_methods


def _demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", str(DEMO), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
    )


def test_the_demonstration_indexes_once_and_answers_every_time(service: str) -> None:
    name = ["--url", service, "--collection", "demo-test"]
    with Client(service) as client:
        client.create_collection("demo-test", dimension=2)  # someone else's, by the same name
        refused = _demo(*name)
        assert refused.returncode == 1
        assert "--rebuild replaces it" in refused.stderr
        for arguments, expected in [
            (["--limit", "300", "--rebuild"], "Indexed 300 points"),
            (["--limit", "300"], "Found 300 points in place"),
            (["--limit", "200"], "Indexed 200 points"),
        ]:
            run = _demo(*name, *arguments)
            assert (run.returncode, run.stderr) == (0, "")
            assert expected in run.stdout
            assert run.stdout.count(" points match · plan: ") == 7
            assert max(map(len, run.stdout.splitlines())) <= 100
        assert client.collection("demo-test").count() == 200
        client.collection("demo-test").drop()


def test_the_demonstration_says_in_one_line_that_no_service_runs() -> None:
    run = _demo("--url", "http://127.0.0.1:9")
    assert run.returncode == 1
    assert run.stdout == ""
    assert re.fullmatch(r".*nothing answers at http://127\.0\.0\.1:9.*\n", run.stderr)
