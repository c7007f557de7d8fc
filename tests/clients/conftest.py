"""A real service that other services' official clients are pointed at, unchanged."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from app.encoders.tokenizer import Tokenizer
from tests.launched import ROOT, launched

KEY = "a-key-of-some-length"
DESCRIPTOR = "image-descriptor"
TEXTS = ["a small red fox", "the sea and the old man", "tea"]


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service in a process of its own, which asks for a key."""
    folder = tmp_path_factory.mktemp("clients")
    for name in ("tiny", DESCRIPTOR):
        shutil.copytree(ROOT / "models" / name, folder / "models" / name)
    manifest = folder / "models" / "tiny" / "encoder.toml"
    written = re.subn(r"(?m)^dimension = 32$", r"\g<0>\ndimensions = [8, 16]", manifest.read_text())
    assert written[1] == 1
    manifest.write_text(written[0])
    given = {"LIKEWISE_API_KEY": KEY, "LIKEWISE_MODELS_DIR": str(folder / "models")}
    given["LIKEWISE_ENCODERS"] = f"{DESCRIPTOR},tiny"  # one after the other
    with launched(folder, **given) as running:
        patience = time.monotonic() + 60
        while embedded(running.url, ["warm up"]) is None:
            assert time.monotonic() < patience
            time.sleep(0.05)
        yield running.url


@pytest.fixture(scope="session")
def vectors(service: str) -> NDArray[np.float32]:
    """What the service makes of TEXTS, asked without anybody's client."""
    found = embedded(service, TEXTS)
    assert found is not None
    return found


def embedded(url: str, texts: list[str]) -> NDArray[np.float32] | None:
    """Embeddings of texts, or None if there are none now."""
    answer = httpx.post(
        f"{url}/v1/embeddings", json={"input": texts}, headers={"authorization": f"Bearer {KEY}"}
    )
    if answer.status_code != 200:
        return None
    return np.array([one["embedding"] for one in answer.json()["data"]], np.float32)


def token_ids(texts: list[str]) -> list[list[int]]:
    """The tokens of the tiny encoder, special ones included."""
    return Tokenizer(ROOT / "models" / "tiny" / "tokenizer.json", 64).ids(texts)
