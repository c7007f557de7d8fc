"""How well the built-in image encoder finds the same face, and the same picture after damage.

    python -m bench.images DATA            # DATA holds s1 … s40 with ten portable grey maps each
    python -m bench.images DATA --half dev # the half that the design was chosen on

The ORL faces: 40 people, 10 pictures each, 92 × 112 pixels. The design of the descriptor was chosen
on the first 20 people; what is reported are the other 20, whose pictures it has never met.

- *Other views*: each picture among all others (is the nearest of the same person?), and a gallery
  of the first 1 … 5 pictures of each person against the rest.
- *The same picture, changed*: each picture after a change, among all originals of the half. Nine
  others of the same person are there to be taken for it.

Baselines see the same pictures: 16 × 16 grey values as a vector without its mean, and two hashes of
64 bits, of averages and of differences. Ties count as found when the first of them is right.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter

from app.encoders.base import Encoder
from app.encoders.direct import encode
from app.encoders.inputs import Picture
from app.encoders.manifest import read_manifest
from app.encoders.opening import open_encoder

Photo = Image.Image
Vectors = NDArray[np.float32]
Describe = Callable[[Sequence[Photo]], Vectors]
"""Pictures → rows of length one, whose product says how alike they are."""

MODEL = Path(__file__).parents[1] / "models" / "image-descriptor"
PEOPLE, EACH = 40, 10


def faces(folder: Path, people: range) -> list[Photo]:
    """The pictures of these people, ten each, in order."""
    return [
        Image.open(folder / f"s{person + 1}" / f"{number + 1}.pgm").convert("L")
        for person in people
        for number in range(EACH)
    ]


# ── what is compared ─────────────────────────────────────────────────────────────────────────


def by_encoder(encoder: Encoder) -> Describe:
    """Vectors of an encoder, from files as a client would send them."""

    def describe(photos: Sequence[Photo]) -> Vectors:
        return encode(encoder, [Picture(_file(photo, "PNG")) for photo in photos], "query").vectors

    return describe


def by_pixels(photos: Sequence[Photo]) -> Vectors:
    """16 × 16 grey values without their mean."""
    small = [np.asarray(photo.convert("L").resize((16, 16)), np.float32) for photo in photos]
    rows = np.stack(small).reshape(len(small), -1)
    rows -= rows.mean(1, keepdims=True)
    return _unit(rows)


def by_average_hash(photos: Sequence[Photo]) -> Vectors:
    """64 bits: which of 8 × 8 grey values are above their mean."""
    small = [np.asarray(photo.convert("L").resize((8, 8)), np.float32) for photo in photos]
    rows = np.stack(small).reshape(len(small), -1)
    return _unit(np.where(rows > rows.mean(1, keepdims=True), 1, -1).astype(np.float32))


def by_difference_hash(photos: Sequence[Photo]) -> Vectors:
    """64 bits: which of 9 × 8 grey values are above the one to their left."""
    small = np.stack([np.asarray(p.convert("L").resize((9, 8)), np.float32) for p in photos])
    bits = np.where(np.diff(small, axis=2) > 0, 1, -1).reshape(len(small), -1)
    return _unit(bits.astype(np.float32))


def _unit(rows: Vectors) -> Vectors:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


# ── what is done to pictures ─────────────────────────────────────────────────────────────────


def _file(photo: Photo, kind: str, **options: int) -> bytes:
    to = io.BytesIO()
    photo.save(to, kind, **options)
    return to.getvalue()


def cropped(share: float, seed: int) -> Callable[[Photo], Photo]:
    """Cut away a share of width and height, from a place that the seed chooses."""
    random = np.random.default_rng(seed)

    def change(photo: Photo) -> Photo:
        width, height = (round(side * (1 - share)) for side in photo.size)
        left = int(random.integers(0, photo.width - width + 1))
        top = int(random.integers(0, photo.height - height + 1))
        return photo.crop((left, top, left + width, top + height))

    return change


def scaled(factor: float) -> Callable[[Photo], Photo]:
    return lambda photo: photo.resize(
        (round(photo.width * factor), round(photo.height * factor)), Image.Resampling.BICUBIC
    )


def blurred(sigma: float) -> Callable[[Photo], Photo]:
    return lambda photo: photo.filter(ImageFilter.GaussianBlur(sigma))


def saved(quality: int) -> Callable[[Photo], Photo]:
    return lambda photo: Image.open(io.BytesIO(_file(photo, "JPEG", quality=quality)))


def rotated(degrees: float) -> Callable[[Photo], Photo]:
    return lambda photo: photo.rotate(degrees, Image.Resampling.BICUBIC)


def changes() -> dict[str, Callable[[Photo], Photo]]:
    """Each change by its name, seeded anew."""
    return {
        "crop 10 %": cropped(0.10, 1),
        "crop 25 %": cropped(0.25, 2),
        "scale × 0.5": scaled(0.5),
        "scale × 2": scaled(2),
        "blur σ 1": blurred(1),
        "blur σ 2": blurred(2),
        "blur σ 3": blurred(3),
        "JPEG 50": saved(50),
        "JPEG 20": saved(20),
        "JPEG 10": saved(10),
        "brightness × 0.6": lambda photo: ImageEnhance.Brightness(photo).enhance(0.6),
        "brightness × 1.4": lambda photo: ImageEnhance.Brightness(photo).enhance(1.4),
        "contrast × 0.5": lambda photo: ImageEnhance.Contrast(photo).enhance(0.5),
        "contrast × 1.5": lambda photo: ImageEnhance.Contrast(photo).enhance(1.5),
        "rotation 3°": rotated(3),
        "rotation 6°": rotated(6),
        "rotation 10°": rotated(10),
    }


# ── what is measured ─────────────────────────────────────────────────────────────────────────


def recall_of_others(vectors: Vectors) -> float:
    """Share of pictures whose nearest other one shows the same person."""
    alike = vectors @ vectors.T
    np.fill_diagonal(alike, -np.inf)
    people = np.arange(len(vectors)) // EACH
    return float(np.mean(people[alike.argmax(1)] == people))


def recall_of_gallery(vectors: Vectors, size: int) -> float:
    """Share of the other pictures whose nearest in the gallery shows the same person."""
    numbers, people = np.arange(len(vectors)) % EACH, np.arange(len(vectors)) // EACH
    gallery, asked = numbers < size, numbers >= size
    nearest = (vectors[asked] @ vectors[gallery].T).argmax(1)
    return float(np.mean(people[gallery][nearest] == people[asked]))


def recall_of_changed(originals: Vectors, changed: Vectors) -> float:
    """Share of changed pictures whose nearest original is their own."""
    return float(np.mean((changed @ originals.T).argmax(1) == np.arange(len(originals))))


def measure(describe: Describe, photos: Sequence[Photo]) -> dict[str, float]:
    """All recalls of one way to describe pictures, by the name of the task."""
    originals = describe(photos)
    found = {"same person, nearest other": recall_of_others(originals)}
    for size in range(1, 6):
        found[f"same person, gallery of {size}"] = recall_of_gallery(originals, size)
    for name, change in changes().items():
        changed = describe([change(photo) for photo in photos])
        found[name] = recall_of_changed(originals, changed)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--half", choices=("dev", "report"), default="report")
    chosen = parser.parse_args()
    people = range(PEOPLE // 2) if chosen.half == "dev" else range(PEOPLE // 2, PEOPLE)
    photos = faces(chosen.data, people)
    encoder = open_encoder(read_manifest(MODEL), MODEL, threads=1)
    ways: dict[str, Describe] = {
        f"descriptor ({encoder.dimension})": by_encoder(encoder),
        "16 × 16 pixels": by_pixels,
        "average hash": by_average_hash,
        "difference hash": by_difference_hash,
    }
    columns = {name: measure(describe, photos) for name, describe in ways.items()}
    encoder.close()
    print(f"recall@1, {len(photos)} pictures of {len(people)} people ({chosen.half} half)\n")
    print("| task | " + " | ".join(columns) + " |")
    print("|---|" + "---|" * len(columns))
    for task in next(iter(columns.values())):
        figures = [column[task] for column in columns.values()]
        best = max(figures)
        shown = [f"**{one:.3f}**" if one == best else f"{one:.3f}" for one in figures]
        print(f"| {task} | " + " | ".join(shown) + " |")


if __name__ == "__main__":
    main()
