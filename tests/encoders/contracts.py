"""Every kind of encoder that there is, for the suite in `test_contracts.py`.

To hold another encoder to the contracts, add one `Case` to `CASES`: a name, a function that writes
its folder, and five or so inputs that it reads, of different lengths. Then write its golden
vectors and look at the difference:

    python -m tests.encoders.golden
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from app.encoders.base import Encoder, OutputKind, Prepared, TextKind
from app.encoders.inputs import Input, Pair, Points, Record, Routed
from app.encoders.pipeline.groups import Action
from app.encoders.record import canonical
from app.types import F32
from tests.encoders.image_models import mosaic, write_descriptor_as, write_patches
from tests.encoders.joint import write_joint
from tests.encoders.models import ROOT, small_files, small_manifest, write_model
from tests.encoders.pipelines import (
    seeded,
    write_points,
    write_record,
    write_router,
    write_text,
)
from tests.encoders.several import DENSE, LOGITS, OWN, TOKENS, write_several


@dataclass(frozen=True)
class Case:
    """One encoder.

    write      makes its folder at a path and returns the folder to open
    inputs     what it reads; none twice
    outputs    what its manifest promises, each of which is held to the contracts
    unit       whether its vectors have length one
    company    how far other inputs in the batch may move a vector, largest difference
    golden     how far the vectors of another machine may be off
    unmoved    actions on prepared inputs that must not change the vector, beside those that its
               manifest declares
    """

    name: str
    write: Callable[[Path], Path]
    inputs: Sequence[Input]
    outputs: Sequence[OutputKind] = ("dense",)
    unit: bool = True
    company: float = 1e-5
    golden: float = 1e-4
    unmoved: Sequence[Action] = ()


def made(
    encoder: Encoder, inputs: Sequence[Input], output: OutputKind, kind: TextKind = "document"
) -> list[Any]:
    """Outputs of all inputs in one batch. Raises the error of the first that cannot be read."""
    ready: list[Prepared] = []
    for one in encoder.prepare(encoder.address(inputs, kind)):
        if not isinstance(one, Prepared):
            raise one
        ready.append(one)
    return list(encoder.run(ready, output))


MOST_WORDS = 1024  # of the vocabularies here


def numbers(output: OutputKind, one: Any) -> F32:
    """An output as an array that compares: a sparse one over the whole vocabulary."""
    if output == "sparse":
        words = np.zeros(MOST_WORDS, np.float32)
        words[one.indices] = one.values
        return words
    return np.asarray(one, np.float32)


def shown(output: OutputKind, one: Any, count: int) -> list[float]:
    """The first numbers of an output, in few digits; how many tokens or words it has before them.

    Of sparse ones the largest weights, which no last bit brings in or out.
    """
    if output == "sparse":
        best = np.sort(one.values)[::-1][:count]
        return [len(one.indices), *(round(float(value), 6) for value in best)]
    first = [round(float(value), 6) for value in np.ravel(one)[:count]]
    return [len(one), *first] if output == "tokens" else first


def _there(name: str, folder: Path) -> Path:
    return ROOT / "models" / name


def _joint(name: str, folder: Path) -> Path:
    write_joint(folder.parent)
    return folder.parent / name


def _several(tables: str, folder: Path) -> Path:
    return write_several(folder, tables)


def _small(variant: str, folder: Path) -> Path:
    files = small_files()
    return write_model(folder, files, small_manifest(files, name=folder.name, variant=variant))


def _text(
    output: str, arrays: dict[str, tuple[int, ...]], dimension: int
) -> Callable[[Path], Path]:
    made = {name: seeded(place, *shape) for place, (name, shape) in enumerate(arrays.items())}
    return lambda folder: write_text(folder, output, made, dimension=dimension)


def _cloud(seed: int, points: int, columns: int) -> Points:
    values = np.random.RandomState(seed).standard_normal((points, columns)).astype("<f8")
    axes = columns if columns <= 3 else columns // 2
    return Points(axes, columns > 3, values.tobytes())


def motion(seed: int, axes: int) -> Action:
    """A random rotation and translation of points, normals turned with them."""
    random = np.random.RandomState(seed)
    turn, _ = np.linalg.qr(random.standard_normal((axes, axes)))
    turn[:, 0] *= np.sign(np.linalg.det(turn))
    shift = 10.0 * random.standard_normal(axes)

    def act(points: np.ndarray) -> np.ndarray:
        moved = points.copy()
        moved[:, :axes] = points[:, :axes] @ turn.T + shift
        if points.shape[1] > axes:
            moved[:, axes:] = points[:, axes:] @ turn.T
        return moved

    return act


def _reversed(points: np.ndarray) -> np.ndarray:
    return points[::-1].copy()


TEXTS = [
    "cat",
    "The quick brown fox jumps over the lazy dog.",
    "a b c d e f " * 20,
    "Wie geht's? 你好, мир! 👍",
    "tea with the old man by the sea",
]
RECORDS = [
    Record(canonical({"brand": "acme", "price": 12.5, "tags": ["a", "b"]})),
    Record(canonical({"brand": "acme"})),
    Record(canonical({"price": 99})),
    Record(canonical({"maker": {"country": "pt"}, "tags": ["b", "c", 3, True]})),
]
PAIRS = [
    Pair("the old man", "the old man and the sea"),
    Pair("the old man", "tea"),
    Pair("the red fox", "a b c d e f " * 20 + "the sea"),
    Pair("cat and fox", "The quick brown fox jumps over a cat."),
]
PICTURES = [mosaic(1), mosaic(2, 128, 128), mosaic(3, 30, 90), mosaic(4, 300, 200, 25)]
LATE = (
    TOKENS.replace("= 16", "= 6")
    + 'projection = "projection.safetensors"\nskip_special = true\nskip_punctuation = true\n'
    + 'query_marker = "[Q]"\ndocument_marker = "[D]"\nquery_tokens = 12\n'
)
FLAT = 'normalise = true\n[output.codebook]\nmode = "vlad"\nwords = "w.npy"\n'

CASES = [
    Case("tiny", partial(_there, "tiny"), TEXTS),
    Case("built fp32", partial(_small, "fp32"), TEXTS),
    Case("built int8", partial(_small, "int8"), TEXTS, golden=0.05),
    Case("gem", _text('pool = "gem"\nnormalise = true\n[output.gem]\np = 3.0\n', {}, 8), TEXTS),
    Case(
        "topk_attn",
        _text('pool = "topk_attn"\nnormalise = true\n[output.topk_attn]\nk = 3\n', {}, 8),
        TEXTS,
    ),
    Case(
        "attend",
        _text(
            'pool = "attend"\nnormalise = true\n[output.attend]\nquery = "q.npy"\nk = 4\n'
            "temperature = 0.5\n",
            {"q.npy": (8,)},
            8,
        ),
        TEXTS,
    ),
    Case(
        "vlad",
        _text(f'pool = "codebook"\n{FLAT}temperature = 0.5\n', {"w.npy": (5, 8)}, 40),
        TEXTS,
    ),
    Case(
        "vlad over a reference",
        _text(
            f'pool = "codebook"\n{FLAT}temperature = 0.0\nreference = "r.npy"\n',
            {"w.npy": (5, 8), "r.npy": (5, 2)},
            16,
        ),
        TEXTS,
    ),
    Case(
        "cross query",
        _text(
            'pool = "codebook"\nnormalise = true\n[output.codebook]\nmode = "cs"\n'
            'words = "q.npy"\nreference = "r.npy"\n',
            {"q.npy": (5, 8), "r.npy": (5, 3)},
            24,
        ),
        TEXTS,
    ),
    Case(
        "orth_fuse, maps",
        _text(
            'pool = "orth_fuse"\nnormalise = true\n'
            '[output.orth_fuse]\nglobal = "pooler_output"\nlambda = 0.7\nweights = "norm"\n'
            '[[output.maps]]\nop = "center"\nmean = "m.npy"\n'
            '[[output.maps]]\nop = "whiten"\nmatrix = "w.npy"\nmean = "n.npy"\n'
            '[[output.maps]]\nop = "truncate"\ndimension = 6\n'
            '[[output.maps]]\nop = "signed_sqrt"\n'
            '[[output.maps]]\nop = "linear"\nmatrix = "l.npy"\nbias = "b.npy"\n',
            {"m.npy": (16,), "w.npy": (12, 16), "n.npy": (16,), "l.npy": (5, 6), "b.npy": (5,)},
            5,
        ),
        TEXTS,
    ),
    Case(
        "context, not unit",
        _text(
            'pool = "gem"\nnormalise = false\n[output.gem]\np = 1.0\n'
            "[output.context]\nk = 3\nlambda = 0.5\n",
            {},
            8,
        ),
        TEXTS,
        unit=False,
    ),
    Case("record", write_record, RECORDS),
    Case("router", write_router, [*TEXTS, Routed("cat", "law")]),
    Case("router of two", partial(write_router, mix=2), TEXTS),
    Case(
        "points in space",
        write_points,
        [_cloud(seed, 12 + seed, 3) for seed in range(4)],
        unmoved=[motion(1, 3), motion(2, 3), _reversed],
    ),
    Case(
        "points with normals",
        partial(write_points, normals=True, bins=4),
        [_cloud(seed, 12 + seed, 6) for seed in range(4)],
        unmoved=[motion(1, 3), motion(2, 3), _reversed],
    ),
    Case(
        "points in the plane",
        partial(write_points, axes=2),
        [_cloud(seed, 12 + seed, 2) for seed in range(4)],
        unmoved=[motion(1, 2), motion(2, 2), _reversed],
    ),
    Case(
        "points in the plane with normals",
        partial(write_points, axes=2, normals=True, bins=4, chirality=False),
        [_cloud(seed, 12 + seed, 4) for seed in range(4)],
        unmoved=[motion(1, 2), motion(2, 2), _reversed],
    ),
    Case(
        "points, turned views",
        partial(write_points, bins=3, more='[views]\nturns = 3\npool = "mean"\n'),
        [_cloud(seed, 12 + seed, 3) for seed in range(3)],
        unmoved=[motion(1, 3)],
    ),
    Case("cross-encoder", partial(_there, "tiny-cross"), PAIRS, ("score",)),
    Case("late interaction", partial(_several, LATE), TEXTS, ("tokens",)),
    Case("sparse", partial(_several, f"{LOGITS}most = 20\n"), TEXTS, ("sparse",)),
    Case("sparse of its own tokens", partial(_several, OWN), TEXTS, ("sparse",)),
    Case(
        "three outputs",
        partial(_several, DENSE + TOKENS + LOGITS),
        TEXTS,
        ("dense", "tokens", "sparse"),
    ),
    Case("image descriptor", partial(_there, "image-descriptor"), PICTURES, golden=1e-3),
    Case(
        "descriptor over D4",
        partial(
            write_descriptor_as,
            more='[views]\ngroup = "D4"\npool = "mean"\n'
            '[invariance]\ngroup = "C4"\ntolerance = 1e-5\n',
        ),
        PICTURES,
        golden=1e-3,
    ),
    Case(
        "descriptor, every crop stored",
        partial(write_descriptor_as, more='[views]\ncrop = 0.7\npool = "store_all"\n'),
        PICTURES,
        ("dense", "tokens"),
        golden=1e-3,
    ),
    Case(
        "patches by gem",
        lambda folder: write_patches(
            folder,
            'pool = "gem"\nnormalise = true\ntokens = "last_hidden_state"\n[output.gem]\np = 3.0\n',
        ),
        PICTURES,
        ("dense", "tokens"),
        golden=1e-3,
    ),
    Case(
        "patches by orth_fuse, quarter turns",
        lambda folder: write_patches(
            folder,
            'pool = "orth_fuse"\nnormalise = true\n[output.orth_fuse]\nglobal = "pooler_output"\n'
            'lambda = 1.0\nweights = "norm"\n',
            dimension=48,
            more='[views]\ngroup = "C4"\npool = "max"\n',
        ),
        PICTURES,
        golden=1e-3,
    ),
    Case("joint texts", partial(_joint, "joint-text"), ["red", "a photo of blue", "green white"]),
    Case(
        "joint images", partial(_joint, "joint-image"), PICTURES, ("dense", "tokens"), golden=1e-3
    ),
]
"""Who keeps the contracts. One line (and its golden vectors) for each kind of encoder."""
