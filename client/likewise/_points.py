"""Points to write, and how a stream of them is cut into requests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from ._images import ImageLike, image_to_wire
from ._json import to_json
from ._vectors import AnyVector, vector_to_wire

if TYPE_CHECKING:
    from numpy.typing import NDArray

PointId: TypeAlias = "str | int"
"""A string of 1–512 UTF-8 bytes, or an integer of 0 … 2⁶⁴−1. 1 and "1" are different points."""


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """A point to write: an id and at least one vector, given or to be encoded.

    text        stored, and encoded for every vector of the collection that has an encoder and
                is not given here
    image       encoded likewise, by encoders of images, and not stored: bytes, a path or a URL
    record      named values, encoded likewise by encoders of records, and not stored
    vector      the collection's only vector
    vectors     vectors by name
    attributes  scalars or flat lists of scalars; dates and times are sent as ISO 8601 text
    encoder     reads the text or image for vectors of its space, instead of their own encoders
    expires_at  from then on the point does not exist: a datetime with a time zone, or RFC 3339

    >>> Point("a", text="A whale is hunted.", attributes={"year": 1851}).id
    'a'
    """

    id: PointId
    text: str | None = None
    vector: AnyVector | None = None
    vectors: Mapping[str, AnyVector] | None = None
    attributes: Mapping[str, object] | None = None
    expires_at: datetime | str | None = None
    image: ImageLike | None = None
    record: Mapping[str, object] | None = None
    encoder: str | None = None


PointLike: TypeAlias = "Point | Mapping[str, Any]"
"""A `Point`, or a dict with the same keys."""

Columns: TypeAlias = "Sequence[AnyVector] | NDArray[Any]"
"""One vector a row: a matrix, or a sequence of vectors of any kind."""


def points_from_columns(
    *,
    ids: Sequence[PointId],
    texts: Sequence[str | None] | None = None,
    vector: Columns | None = None,
    vectors: Mapping[str, Columns] | None = None,
    attributes: Sequence[Mapping[str, object]] | None = None,
) -> Iterator[Point]:
    """Turn columns into points, one at a time: `upsert(points_from_columns(ids=…, vector=…))`.

    Raises ValueError at once if a column is not as long as `ids`.

    >>> [point.text for point in points_from_columns(ids=[1, 2], texts=["one", "two"])]
    ['one', 'two']
    """
    named = dict(vectors or {})
    columns: dict[str, Any] = {"texts": texts, "vector": vector, "attributes": attributes}
    columns.update({f"vectors[{name!r}]": column for name, column in named.items()})
    for name, column in columns.items():
        if column is not None and len(column) != len(ids):
            raise ValueError(f"ids has {len(ids)} rows, {name} has {len(column)}")
    return (
        Point(
            # A numpy scalar is no JSON number, and not every caller thinks of .tolist().
            id=_plain_id(ids[row]),
            text=texts[row] if texts is not None else None,
            vector=vector[row] if vector is not None else None,
            vectors={name: column[row] for name, column in named.items()} or None,
            attributes=attributes[row] if attributes is not None else None,
        )
        for row in range(len(ids))
    )


def _plain_id(value: Any) -> PointId:
    plain: PointId = value.item() if hasattr(value, "item") else value
    return plain


@dataclass(frozen=True, slots=True)
class Batch:
    """The body of one upsert, and how many points it holds."""

    body: bytes
    points: int


_OPEN, _CLOSE = b'{"points":[', b"]}"


def batches(points: Iterable[PointLike], *, most_points: int, most_bytes: int) -> Iterator[Batch]:
    """Encode points and pack them, in order, into the fewest request bodies within both limits.

    A point that is longer than `most_bytes` alone goes alone: refusing it is the service's job,
    whose answer names the limit. At most one batch and one point are held in memory.

    Raises TypeError for what is no point, as it is met; earlier batches have been yielded.
    """
    if isinstance(points, (Mapping, Point, str, bytes)):
        raise TypeError(f"expected an iterable of points, received a {type(points).__name__}")
    waiting: list[bytes] = []
    waiting_bytes = len(_OPEN) + len(_CLOSE)
    for point in points:
        encoded = to_json(point_to_wire(point))
        # A comma belongs to every point but the first.
        if waiting and (
            len(waiting) >= most_points or waiting_bytes + 1 + len(encoded) > most_bytes
        ):
            yield _batch(waiting)
            waiting, waiting_bytes = [], len(_OPEN) + len(_CLOSE)
        waiting_bytes += len(encoded) + (1 if waiting else 0)
        waiting.append(encoded)
    if waiting:
        yield _batch(waiting)


def _batch(encoded: list[bytes]) -> Batch:
    return Batch(_OPEN + b",".join(encoded) + _CLOSE, len(encoded))


def point_to_wire(point: PointLike) -> dict[str, object]:
    """Return the point as the service reads it; raises TypeError for unknown keys of a dict."""
    if isinstance(point, Mapping):
        point = Point(**point)
    elif not isinstance(point, Point):
        raise TypeError(f"expected a Point or a dict, received {type(point).__name__}")
    wire: dict[str, object] = {"id": point.id}
    if point.text is not None:
        wire["text"] = point.text
    if point.image is not None:
        wire["image"] = image_to_wire(point.image)
    if point.record is not None:
        wire["record"] = point.record
    if point.encoder is not None:
        wire["encoder"] = point.encoder
    if point.vector is not None:
        wire["vector"] = vector_to_wire(point.vector)
    if point.vectors is not None:
        wire["vectors"] = {name: vector_to_wire(v) for name, v in point.vectors.items()}
    if point.attributes is not None:
        wire["attributes"] = point.attributes
    if point.expires_at is not None:
        wire["expires_at"] = point.expires_at
    return wire
