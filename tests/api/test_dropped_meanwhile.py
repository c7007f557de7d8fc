"""A collection that is dropped and made anew while a request has its texts encoded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.backends.local import LocalBackend
from app.encoders.registry import EncoderRegistry

from .harness import InProcess, settings


class Interrupted(EncoderRegistry):
    """Encoders that do something else before they encode."""

    first: Callable[[], None] | None = None

    def submit(self, name: str, texts: Sequence[Any], *what: Any, **how: Any) -> Any:
        first, self.first = self.first, None
        if first is not None:
            first()
        return super().submit(name, texts, *what, **how)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[InProcess]:
    """A collection "c" that the next text finds replaced by another one of its name."""
    chosen = settings(tmp_path)
    backend = LocalBackend(chosen.data_dir, sync=False)
    encoders = Interrupted(
        chosen.models_dir, threads=1, queue=64, batch_tokens=256,
        hub_endpoint=chosen.hub_endpoint, local_source=None,
    )  # fmt: skip

    def replaced() -> None:
        definition = backend.definition("c")
        backend.drop("c")
        backend.create("c", replace(definition, mark=""))

    running = InProcess(chosen, backend, encoders)
    running.start()
    running.wait_for_encoders()
    assert running.put("/v1/collections/c", {}).status_code == 201
    encoders.first = replaced
    yield running
    assert encoders.first is None, "nothing was encoded"
    running.stop()


def test_texts_that_were_meant_for_it_are_not_written_to_its_successor(app: InProcess) -> None:
    answer = app.put("/v1/collections/c/points", {"points": [{"id": 1, "text": "a fox"}]})
    assert answer.json()["type"] == "urn:likewise:problem:collection-not-found"
    assert app.count("c") == 0
    again = app.put("/v1/collections/c/points", {"points": [{"id": 1, "text": "a fox"}]})
    assert again.status_code == 200


def test_a_query_by_text_that_was_meant_for_it_is_not_answered_by_its_successor(
    app: InProcess,
) -> None:
    answer = app.post("/v1/collections/c/query", {"text": "a fox"})
    assert answer.json()["type"] == "urn:likewise:problem:collection-not-found"
    assert app.post("/v1/collections/c/query", {"text": "a fox"}).status_code == 200
