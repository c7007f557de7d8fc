"""Recognition, verification and similarity of real data by the evaluation endpoint.

    python -m bench.evaluating FOLDER [--points N]

FOLDER holds `arxiv` (see `bench/papers.py`), `images/att_faces` and `stsb`. Papers are recognised
by `primary_cat`, categories of astronomy being strangers; faces are verified by two vectors; pairs
of the STS benchmark are compared by two encoders. Prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from likewise import Client, Evaluation

from bench.arxiv import answers, ingest, server, wait_until
from bench.papers import load
from bench.servers.base import free_port

MODEL = "all-MiniLM-L6-v2"
STRANGE = [f"astro-ph.{part}" for part in ("CO", "EP", "GA", "HE", "IM", "SR")]


def table(found: Evaluation) -> Iterator[str]:
    """Write what was measured, a row for each way, and how the others compare with the first."""
    names = list(next(iter(found.configurations.values())).measures)
    yield f"\n{found.data}; {found.took_ms / 1e3:.1f} s\n"
    yield "| | " + " | ".join(names) + " |"
    yield "|---|" + "---|" * len(names)
    for name, way in found.configurations.items():
        cells = []
        for measure in names:
            one = way.measures[measure]
            cells.append(f"{one.value:.3f} ({one.low:.3f} to {one.high:.3f})")
        yield f"| {name} | " + " | ".join(cells) + " |"
    for one in found.comparisons:
        yield (
            f"- {one.measure}: {one.of} less {one.against} {one.difference:+.3f} "
            f"({one.low:+.3f} to {one.high:+.3f}), p {one.p:.3f}"
        )


def papers(client: Client, folder: Path, points: int) -> Evaluation:
    """Recognise papers by their neighbours, with different confidences."""
    data = load(folder, points, 1)
    collection = client.create_collection("papers", dimension=data.vectors.shape[1])
    ingest(collection, data)
    wait_until(lambda: not collection.describe().building)
    near = {"k": 20, "weights": "exponential"}
    return collection.evaluate(
        task="recognition",
        sample={
            "points": 1000,
            "label": "primary_cat",
            "unknown": {"primary_cat": {"$in": STRANGE}},
        },
        configurations={
            "share of the vote": {**near, "confidence": "probability"},
            "summed votes": near,
            "nearest": {**near, "confidence": "nearest"},
            "class means, similarity": {"method": "prototypes"},
        },
    )


def faces(client: Client, folder: Path) -> Evaluation:
    """Tell people apart, pictures drawn from points."""
    collection = client.create_collection(
        "faces",
        vectors={"described": {"encoder": "image-descriptor"}, "pixels": {"dimension": 644}},
    )
    for start in range(0, len(found := sorted(folder.glob("s*/*.pgm"))), 50):
        collection.upsert(
            {
                "id": f"{one.parent.name}/{one.stem}",
                "vectors": {"pixels": small(one)},
                "image": one,
                "attributes": {"person": one.parent.name},
            }
            for one in found[start : start + 50]
        )
    return collection.evaluate(
        task="verification",
        sample={"points": 400, "label": "person"},
        configurations={"pixels": {"using": "pixels"}, "descriptor": {"using": "described"}},
    )


def small(path: Path) -> list[float]:
    """Every fourth pixel of a portable greymap, the mean taken away: 28 × 23 numbers."""
    raw = path.read_bytes()
    width, height = map(int, raw.split(maxsplit=3)[1:3])
    pixels = raw[-width * height :]
    rows = [pixels[width * row : width * (row + 1) : 4] for row in range(0, height, 4)]
    values = [float(value) for row in rows for value in row]
    mean = sum(values) / len(values)
    return [value - mean for value in values]


def sentences(client: Client, path: Path) -> Evaluation:
    """Compare sentences as people compared them."""
    collection = client.create_collection(
        "sentences", vectors={"tiny": {"encoder": "tiny"}, "minilm": {"encoder": MODEL}}
    )
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return collection.evaluate(
        task="similarity",
        pairs=[{"a": row["s1"], "b": row["s2"], "score": row["score"]} for row in rows],
        configurations={"tiny": {"using": "tiny"}, "all-MiniLM-L6-v2": {"using": "minilm"}},
    )


def main() -> None:
    """Measure all three."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--points", type=int, default=20_000)
    asked = parser.parse_args()
    port = free_port()
    with (
        tempfile.TemporaryDirectory() as folder,
        server(Path(folder), port),
        Client(f"http://127.0.0.1:{port}", timeout=600) as client,
    ):
        wait_until(lambda: answers(client) and client.ready().status == "ready")
        for part in (
            lambda: sentences(client, asked.folder / "stsb" / "stsb-en-test.jsonl"),
            lambda: faces(client, asked.folder / "images" / "att_faces"),
            lambda: papers(client, asked.folder / "arxiv", asked.points),
        ):
            for line in table(part()):
                print(line, flush=True)


if __name__ == "__main__":
    main()
