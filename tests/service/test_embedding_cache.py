"""The embedding cache: a hit is the miss it was, to the last bit; whatever befalls its file."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.cache.outputs import octets_of, output_of
from app.cache.vectors import Entry, VectorFile
from app.encoders.base import Encoded, OutputKind, TextKind
from app.encoders.inputs import Input
from app.encoders.registry import EncoderRegistry
from app.errors import InvalidText
from app.service.embedding_cache import EmbeddingCache
from app.service.encoding import Encoding
from app.types import Sparse
from tests.encoders.models import TINY
from tests.encoders.several import LOGITS, TOKENS, write_several

MEGABYTE = 1 << 20
TEXTS = ["a small red fox", "the sea and the old man", "tea", "tea"]


def entry(number: int, dim: int = 384) -> tuple[bytes, Entry]:
    """A key and what is kept under it: different for every number."""
    rng = np.random.default_rng(number)
    return rng.bytes(32), Entry(rng.random(dim, np.float32).tobytes(), number)


@given(sparse=st.lists(st.tuples(st.integers(0, 2**32), st.floats(width=32)), max_size=5))
def test_sparse_outputs_come_back_to_the_last_bit(sparse: list[tuple[int, float]]) -> None:
    indices = np.array([index for index, _ in sparse], dtype=np.int64)
    values = np.array([value for _, value in sparse], dtype=np.float32)
    found = output_of(octets_of(Sparse(indices, values)), "sparse")
    assert found.indices.tolist() == indices.tolist()
    assert found.values.tobytes() == values.tobytes()


@pytest.mark.parametrize("tokens", [0, 1, 3])
def test_matrices_come_back_with_their_shape(tokens: int) -> None:
    matrix = np.random.default_rng(tokens).random((tokens, 4), np.float32)
    found = output_of(octets_of(matrix), "tokens")
    assert found.shape == matrix.shape
    np.testing.assert_array_equal(found, matrix)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    shutil.copytree(TINY, tmp_path / "models" / "tiny")
    return tmp_path / "models"


class Opened:
    """A registry with its cache, as a service has them."""

    def __init__(self, models: Path, path: Path) -> None:
        self.registry = EncoderRegistry(models, threads=1, queue=1000, batch_tokens=512)
        self.registry.load("tiny")
        encoding = Encoding(self.registry, default="tiny", at_start=[], queue_texts=1000)
        self.cache = EmbeddingCache(encoding, path, MEGABYTE)

    def encode(self, *inputs: Input) -> Encoded:
        async def encoded() -> Encoded:
            found = await self.cache.encode("tiny", inputs, "document")
            await asyncio.gather(*self.cache._keeping)
            return found

        return asyncio.run(encoded())

    @property
    def counts(self) -> tuple[int, int]:
        return self.cache.account.hits, self.cache.account.misses

    def close(self) -> None:
        self.cache.close()
        self.registry.close()


@pytest.fixture
def opened(models: Path, tmp_path: Path) -> Iterator[Opened]:
    opened = Opened(models, tmp_path / "cache" / "embeddings.sqlite")
    yield opened
    opened.close()


def same(one: Encoded, other: Encoded) -> None:
    np.testing.assert_array_equal(one.vectors.view(np.uint32), other.vectors.view(np.uint32))
    assert one.tokens == other.tokens


def test_a_hit_is_to_the_last_bit_what_was_made(opened: Opened) -> None:
    made = opened.encode(*TEXTS)
    assert opened.counts == (0, 4)
    same(opened.encode(*TEXTS), made)
    assert opened.counts == (4, 4)
    mixed = opened.encode("new", TEXTS[1], "newer", TEXTS[0])
    assert opened.counts == (6, 6)
    np.testing.assert_array_equal(mixed.vectors[[1, 3]], made.vectors[[1, 0]])
    same(opened.encode("new", TEXTS[1], "newer", TEXTS[0]), mixed)


def test_what_was_kept_is_there_after_a_restart(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "cache" / "embeddings.sqlite"
    before = Opened(models, path)
    made = before.encode(*TEXTS)
    before.close()
    after = Opened(models, path)
    same(after.encode(*TEXTS), made)
    assert after.counts == (4, 0)
    after.close()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("version = 1", "version = 2"),
        ("max_tokens = 64", "max_tokens = 32"),
        ("[output]", "[output]\n# another comment is no other encoder"),
    ],
)
def test_another_version_of_an_encoder_finds_nothing_of_the_one_before(
    models: Path, tmp_path: Path, old: str, new: str
) -> None:
    path = tmp_path / "cache" / "embeddings.sqlite"
    before = Opened(models, path)
    before.encode(*TEXTS)
    before.close()
    manifest = models / "tiny" / "encoder.toml"
    written = manifest.read_text()
    assert old in written
    manifest.write_text(written.replace(old, new, 1))
    after = Opened(models, path)
    after.encode(*TEXTS)
    assert after.counts == ((4, 0) if "comment" in new else (0, 4))
    after.close()


def test_a_prompt_is_part_of_what_is_looked_up(models: Path, tmp_path: Path) -> None:
    manifest = models / "tiny" / "encoder.toml"
    written = manifest.read_text()
    manifest.write_text(written.replace("[text]", '[text]\nquery_prompt = "query: "', 1))
    opened = Opened(models, tmp_path / "embeddings.sqlite")
    document = opened.encode("tea")

    async def asked() -> Encoded:
        found = await opened.cache.encode("tiny", ["tea"], "query")
        await asyncio.gather(*opened.cache._keeping)
        return found

    query = asyncio.run(asked())
    assert opened.counts == (0, 2)
    assert not np.array_equal(query.vectors, document.vectors)
    same(opened.encode("query: tea"), query)
    assert opened.counts == (1, 2)
    opened.close()


def test_texts_and_ids_of_tokens_are_not_mixed_up(opened: Opened) -> None:
    for given_ in ("1", (1,), (1, 2), "(1, 2)"):
        opened.encode(given_)
    assert opened.counts == (0, 4)


def test_an_input_that_cannot_be_read_is_blamed_among_all(opened: Opened) -> None:
    opened.encode("tea")
    with pytest.raises(InvalidText) as raised:
        opened.encode("tea", "sea", "tea", (1, 10**6))
    assert raised.value.pointer == "/3/1"
    with pytest.raises(InvalidText) as raised:
        opened.encode("tea", "\ud800")
    assert raised.value.pointer == "/1"


@pytest.mark.parametrize("damage", ["text", "middle", "truncated", "directory", "checksum"])
def test_a_damaged_file_is_begun_anew(models: Path, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "cache" / "embeddings.sqlite"
    before = Opened(models, path)
    made = before.encode(*TEXTS)
    before.close()
    content = bytearray(path.read_bytes())
    if damage == "checksum":
        at = content.find(made.vectors[0].tobytes()[:64])
        assert at > 0
        content[at + 5] ^= 1
    elif damage == "middle":
        content[100:5000] = bytes(4900)
    path.write_bytes(
        {"text": b"no database " * 900, "truncated": content[:9000]}.get(damage, content)
    )
    if damage == "directory":
        path.unlink()
        path.mkdir()
    after = Opened(models, path)
    same(after.encode(*TEXTS), made)
    assert after.counts == (0, 4)
    same(after.encode(*TEXTS), made)
    if damage == "directory":  # no file can be there: it goes on without
        assert after.cache.account.passed == 4
    else:
        assert after.cache.account.restarts == 1
        assert after.counts == (4, 4)
    after.close()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 400), min_size=1, max_size=60), st.integers(1, 4))
def test_it_never_holds_more_than_its_bound_and_never_something_else(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[int], pages: int
) -> None:
    file = VectorFile(tmp_path_factory.mktemp("cache") / "c.sqlite", 65_536 * pages)
    for number in numbers:
        batch = [entry(number * 100 + i) for i in range(20)]
        file.put(batch)
        assert file.size_bytes <= 65_536 * pages
        found = file.get([key for key, _ in batch])
        assert all(found.get(key, kept) == kept for key, kept in batch)
    file.close()


def test_what_is_asked_for_stays_and_what_is_not_goes(tmp_path: Path) -> None:
    file = VectorFile(tmp_path / "c.sqlite", 4 * MEGABYTE)
    asked = dict(entry(number) for number in range(120))
    file.put(asked.items())
    forgotten = dict(entry(number) for number in range(300, 420))
    file.put(forgotten.items())
    for number in range(1000, 5000, 100):
        file.put([entry(n) for n in range(number, number + 100)])
        file.get(list(asked))
    assert len(file.get(list(asked))) == 120
    assert not file.get(list(forgotten))
    file.close()


def test_a_lower_bound_holds_from_the_next_start_on(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    file = VectorFile(path, 4 * MEGABYTE)
    for number in range(0, 1500, 100):
        file.put([entry(n) for n in range(number, number + 100)])
    file.close()
    assert path.stat().st_size > 2 * MEGABYTE
    VectorFile(path, MEGABYTE).close()
    assert path.stat().st_size <= MEGABYTE


def test_many_callers_at_once_all_get_their_own(opened: Opened) -> None:
    texts = [f"text {number % 40}" for number in range(200)]
    alone = {text: opened.registry.submit("tiny", [text], "document") for text in texts}

    async def together() -> list[Encoded]:
        calls = [opened.cache.encode("tiny", [text], "document") for text in texts]
        found = await asyncio.gather(*calls)
        await asyncio.gather(*opened.cache._keeping)
        return found

    for found in (asyncio.run(together()), asyncio.run(together())):
        for text, one in zip(texts, found, strict=True):
            np.testing.assert_allclose(one.vectors, alone[text].result().vectors, atol=5e-6)
    account = opened.cache.account
    assert account.hits + account.misses + account.passed == 400


WRITER = """
import sys
from pathlib import Path
from tests.service.test_embedding_cache import entry
from app.cache.vectors import VectorFile
file = VectorFile(Path(sys.argv[1]), 1 << 30)
for number in range(10**9):
    file.put([entry(number * 10 + i) for i in range(10)])
    print(number, flush=True)
"""


def test_a_killed_process_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, env=os.environ
    ) as process:
        assert process.stdout is not None
        last = -1
        while last < 20:
            last = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
    file = VectorFile(path, MEGABYTE)
    assert file.restarts == 0
    wanted = dict(entry(number) for number in range((last + 1) * 10))
    assert file.get(list(wanted)) == wanted
    file.close()


def test_it_is_never_waited_for_on_the_event_loop(opened: Opened) -> None:
    """What the cache does with its file is done on the one thread that it has."""
    seen: set[str] = set()
    original = VectorFile.get

    def get(self: VectorFile, keys: list[bytes]) -> dict[bytes, Entry]:
        seen.add(threading.current_thread().name)
        return original(self, keys)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VectorFile, "get", get)
        opened.encode("tea")
    assert seen == {"embedding-cache_0"}


def test_sparse_vectors_and_tokens_of_queries_are_kept_and_those_of_documents_are_not(
    tmp_path: Path,
) -> None:
    write_several(tmp_path / "models" / "both", TOKENS + LOGITS)
    registry = EncoderRegistry(tmp_path / "models", threads=1, queue=1000, batch_tokens=512)
    registry.load("both")
    encoding = Encoding(registry, default="both", at_start=[], queue_texts=1000)
    cache = EmbeddingCache(encoding, tmp_path / "cache.sqlite", MEGABYTE)

    async def encoded(kind: TextKind, output: OutputKind, *inputs: Input) -> Encoded:
        found = await cache.encode("both", inputs, kind, output)
        await asyncio.gather(*cache._keeping)
        return found

    async def run() -> None:
        kept: list[tuple[TextKind, OutputKind]] = [("query", "tokens"), ("document", "sparse")]
        for kind, output in kept:
            made = await encoded(kind, output, *TEXTS)
            hits = cache.account.hits
            mixed = await encoded(kind, output, "new", TEXTS[1], TEXTS[0])
            assert cache.account.hits == hits + 2
            assert mixed.tokens[1:] == [made.tokens[1], made.tokens[0]]
            for found, expected in zip(mixed.outputs[1:], made.outputs[1::-1], strict=True):
                assert octets_of(found) == octets_of(expected)
        passed = cache.account.passed
        await encoded("document", "tokens", *TEXTS)
        await encoded("query", "all", *TEXTS)
        assert cache.account.passed == passed + 2 * len(TEXTS)

    asyncio.run(run())
    cache.close()
    registry.close()
