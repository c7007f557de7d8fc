"""The router: each domain meets its expert, and experts must share a space."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.encoders.base import Encoder
from app.encoders.direct import encode
from app.encoders.inputs import Routed
from app.encoders.manifest import read_manifest
from app.encoders.opening import open_encoder
from app.encoders.pipeline.arrays import unit
from app.encoders.registry import EncoderRegistry
from app.encoders.router import RouterEncoder
from app.encoders.tokenizer import Tokenizer
from app.errors import CorruptFile, InvalidField, StoredDataError
from app.types import F32
from tests.encoders.models import TINY
from tests.encoders.pipelines import (
    DIMENSION,
    ROWS,
    array_bytes,
    opened,
    seeded,
    write_folder,
    write_router,
    write_text,
)

PLAIN = 'pool = "mean"\nnormalise = true\n'
SEA = ("sea", "sun", "sky", "ice", "the sea", "red sea", "sun sea", "ice sky")
HOME = ("cat", "dog", "tea", "man", "old cat", "tea man", "dog tea", "old man")


def token_ids(text: str) -> list[int]:
    return Tokenizer(TINY / "tokenizer.json", 40).ids([text])[0]


def planted(folder: Path) -> tuple[Path, F32]:
    """Two domains that disagree: where the experts know what a word means, the other one does not.

    returns  the router's folder, and the true vectors of SEA and HOME, [text, dim]
    """
    truth = 2 * seeded(1, ROWS, DIMENSION)
    sea = {token for text in SEA for token in token_ids(text)[1:-1]}
    home = {token for text in HOME for token in token_ids(text)[1:-1]}
    shared = sea & home
    for name, known in (("marine", sea), ("domestic", home)):
        words = truth.copy()
        forgotten = sorted((sea | home) - known - shared)
        words[forgotten] = truth[forgotten[::-1]]  # conflicting: one word means another's
        write_text(folder.parent / name, PLAIN, words=words, space="planted")
    write_text(folder.parent / "light", PLAIN, words=truth)
    vectors = unit(np.stack([truth[token_ids(text)].mean(axis=0) for text in (*SEA, *HOME)]))
    centroids = np.stack([vectors[:8].mean(axis=0), vectors[8:].mean(axis=0)])
    body = (
        '[router]\nexperts = ["marine", "domestic"]\nby = "centroid"\nlight = "light"\n'
        'centroids = "c.npy"\nmax_tokens = 40\n[output]\nnormalise = true\n'
    )
    files = {"c.npy": array_bytes(centroids.astype(np.float32))}
    return write_folder(folder, body, files, kind="router", space="planted"), vectors


def found(encoder: Encoder, texts: list[str], truth: F32) -> float:
    made = encode(encoder, texts, "query").vectors
    return float(((made @ truth.T).argmax(axis=1) == np.arange(len(texts))).mean())


def test_routed_texts_beat_every_single_expert_on_all_domains(tmp_path: Path) -> None:
    folder, truth = planted(tmp_path / "router")
    texts = [*SEA, *HOME]
    _, router = opened(folder)
    singles = [found(opened(tmp_path / name)[1], texts, truth) for name in ("marine", "domestic")]
    assert max(singles) < 0.7
    assert found(router, texts, truth) > 0.8


def test_the_centroid_route_is_right_and_a_wrong_name_is_worse(tmp_path: Path) -> None:
    folder, truth = planted(tmp_path / "router")
    _, router = opened(folder)
    assert isinstance(router, RouterEncoder)
    routes = router.routes([*SEA, *HOME])
    right = [{"marine": 1.0}] * 8 + [{"domestic": 1.0}] * 8
    assert np.mean([one == other for one, other in zip(routes, right, strict=True)]) > 0.85
    wrong = encode(router, [Routed(text, "domestic") for text in SEA], "query").vectors
    named = encode(router, [Routed(text, "marine") for text in SEA], "query").vectors

    def hits(vectors: F32) -> float:
        return float(((vectors @ truth.T).argmax(axis=1) == np.arange(8)).mean())

    assert hits(wrong) < 0.8 < hits(named)


def test_a_mix_is_between_its_experts_and_shares_sum_to_one(tmp_path: Path) -> None:
    _, router = opened(write_router(tmp_path / "router", mix=2))
    assert isinstance(router, RouterEncoder)
    (shares,) = router.routes(["the cat"])
    assert len(shares) == 2
    assert sum(shares.values()) == pytest.approx(1.0, abs=1e-6)
    (mixed,) = encode(router, ["the cat"], "query").vectors
    parts = encode(router, [Routed("the cat", name) for name in shares], "query").vectors
    expected = unit(np.array(list(shares.values()), np.float32) @ parts)
    np.testing.assert_allclose(mixed, expected, atol=1e-5)


def test_a_router_by_name_wants_a_name_or_a_default(tmp_path: Path) -> None:
    write_router(tmp_path / "unused")
    body = (
        '[router]\nexperts = ["law", "medicine"]\nby = "name"\nmax_tokens = 40\n{}'
        "[output]\nnormalise = true\n"
    )
    strict = write_folder(tmp_path / "strict", body.format(""), {}, kind="router", space="shared")
    _, encoder = opened(strict)
    with pytest.raises(InvalidField, match="law, medicine") as refused:
        encoder.address([Routed("a", "law"), "b"], "query")
    assert refused.value.pointer == "/1"
    with pytest.raises(InvalidField):
        encoder.address([Routed("a", "cooking")], "query")
    easy = body.format('default = "law"\n')
    _, kind = opened(write_folder(tmp_path / "easy", easy, {}, kind="router", space="shared"))
    by_default, by_name = encode(kind, ["a cat", Routed("a cat", "law")], "query").vectors
    np.testing.assert_allclose(by_default, by_name, atol=1e-6)


def registry(folder: Path) -> EncoderRegistry:
    return EncoderRegistry(folder, threads=1, queue=10, batch_tokens=256)


def test_a_registered_router_serves(tmp_path: Path) -> None:
    write_router(tmp_path / "router")
    encoders = registry(tmp_path)
    assert encoders.load("router").status == "ready"
    encoded = encoders.submit("router", ["a cat", "the sun"], "query").result(10)
    assert encoded.vectors.shape == (2, DIMENSION)
    encoders.close()


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("law", 'id = "shared"', 'id = "own"', "of the space shared@1"),
        ("medicine", "version = 1", "version = 2", "of the space shared@1"),
        ("router", '"law", ', '"lore", ', "installed encoders, found 'lore'"),
        ("router", 'light = "light"', 'light = "dark"', "installed encoders, found 'dark'"),
        ("router", '"law", ', '"router", ', "no routers, found 'router'"),
    ],
)
def test_experts_that_share_no_space_are_refused_when_registered(
    tmp_path: Path, name: str, old: str, new: str, message: str
) -> None:
    write_router(tmp_path / "router")
    path = tmp_path / name / "encoder.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(StoredDataError, match=message):
        registry(tmp_path)


def test_experts_that_only_claim_a_space_are_refused_when_opened(tmp_path: Path) -> None:
    """The manifests agree, the vectors do not: the probes tell."""
    folder = write_router(tmp_path / "router")
    other = tmp_path / "elsewhere" / "medicine"
    write_text(other, PLAIN, words=seeded(99, ROWS, DIMENSION), space="shared")
    for file in other.iterdir():
        (tmp_path / "medicine" / file.name).write_bytes(file.read_bytes())
    with pytest.raises(StoredDataError, match="do not share a space"):
        opened(folder)


@pytest.mark.parametrize("probes", ["[]", "[5]", "{}", "["])
def test_probes_that_cannot_prove_anything_are_refused(tmp_path: Path, probes: str) -> None:
    folder = write_router(tmp_path / "router")
    (folder / "probes.json").write_text(probes)
    with pytest.raises(CorruptFile):
        open_encoder(read_manifest(folder), folder, threads=1)


def test_a_router_is_read_with_what_it_needs(tmp_path: Path) -> None:
    manifest = read_manifest(write_router(tmp_path / "router"))
    assert manifest.spec.needs == ("law", "medicine", "light")  # type: ignore[union-attr]
