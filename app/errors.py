"""What can go wrong, as one tree. It knows no HTTP: `app.api.problems` maps it to statuses, once.

The first fork is whose move it is, the second whether the same request may succeed later.

    LikewiseError                  code, detail, pointer, context
    ├─ InvalidRequest              the caller can fix it
    │    MalformedRequest  TargetTooLong  HeadTooLarge  HeadTooSlow
    │    MalformedBody  UnsupportedContentType  BodyTooLarge  BodyTooSlow  LimitExceeded
    │    InvalidField  InvalidName  InvalidId  DuplicateId  InvalidText  UnknownVector
    │    InvalidVector  DimensionMismatch  VectorNotFinite  ZeroVector  InvalidAttributes
    │    SchemaViolation  InvalidFilter  InvalidQuery  InvalidDefinition  InvalidCursor
    │    InvalidSnapshot  InvalidImage
    ├─ AccessDenied                who asks may not
    │    Unauthenticated  Forbidden
    ├─ NotFound                    names what is missing
    │    RouteNotFound  MethodNotAllowed  CollectionNotFound  PointNotFound  EncoderNotFound
    │    SnapshotNotFound  ArtefactNotFound
    ├─ Conflict                    true, but not now
    │    DefinitionDiffers  SchemaConflict  CollectionExists  SnapshotExists  KeptOutdated
    ├─ Unavailable                 try later, perhaps after `retry_after_s`
    │    Overloaded  TooManyConnections  DeadlineExceeded  EncoderUnavailable
    │    LexicalUnavailable  StorageFull  StorageReadOnly  ShuttingDown
    └─ ServerFault                 ours to mend
         EncodingFailed  StoredDataError (CorruptFile  IncompatibleFormat  DirectoryInUse)

`pointer` is an RFC 6901 JSON pointer into the request body ("" is the whole body), or None where
no place in the body is to blame. Messages say what was expected, what came, and what helps; they
never repeat texts, vectors or attribute values of the caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

Scalar = str | int | float | bool | None


class LikewiseError(Exception):
    """Root of everything the service raises on purpose."""

    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Internal error"

    def __init__(self, detail: str, *, pointer: str | None = None, **context: Scalar) -> None:
        super().__init__(detail)
        self.detail = detail
        self.pointer = pointer
        self.context = context

    def under(self, prefix: str) -> LikewiseError:
        """Move the pointer below `prefix` (for a part checked without knowing where it stands)."""
        self.pointer = prefix + (self.pointer or "")
        return self


# ── the caller can fix it ────────────────────────────────────────────────────────────────────


class InvalidRequest(LikewiseError):
    """The request can never succeed as it is."""

    code = "invalid-request"
    title = "Invalid request"


class MalformedRequest(InvalidRequest):
    """The bytes are not a request in HTTP/1.1, or a header of ours is not what it must be."""

    code = "malformed-request"
    title = "Malformed request"


class TargetTooLong(InvalidRequest):
    """The path and query of the request are longer than any that means something here."""

    code = "target-too-long"
    title = "Target too long"


class HeadTooLarge(InvalidRequest):
    """The request line and headers have too many bytes, or there are too many headers."""

    code = "head-too-large"
    title = "Head too large"


class HeadTooSlow(InvalidRequest):
    """The request line and headers did not arrive within the time that they may take."""

    code = "head-too-slow"
    title = "Head too slow"


class MalformedBody(InvalidRequest):
    """The body is not JSON at all."""

    code = "malformed-body"
    title = "Malformed body"


class UnsupportedContentType(InvalidRequest):
    """The body is not declared as a type that the endpoint reads."""

    code = "unsupported-content-type"
    title = "Unsupported content type"


class BodyTooLarge(InvalidRequest):
    """The body is longer than `LIKEWISE_MAX_BODY_BYTES`."""

    code = "body-too-large"
    title = "Body too large"


class BodyTooSlow(InvalidRequest):
    """The body did not arrive within the time that one may take."""

    code = "body-too-slow"
    title = "Body too slow"


class LimitExceeded(InvalidRequest):
    """A count or length is above a published limit."""

    code = "limit-exceeded"
    title = "Limit exceeded"


class InvalidField(InvalidRequest):
    """A field of the body is missing, unknown or of the wrong type.

    faults  (pointer, detail) of every such field if there are several, the first one included
    """

    code = "invalid-field"
    title = "Invalid field"

    def __init__(
        self,
        detail: str,
        *,
        pointer: str | None = None,
        faults: Sequence[tuple[str, str]] = (),
        **context: Scalar,
    ) -> None:
        super().__init__(detail, pointer=pointer, **context)
        self.faults = faults


class InvalidName(InvalidRequest):
    """A collection, vector or field name breaks the naming rules."""

    code = "invalid-name"
    title = "Invalid name"


class InvalidId(InvalidRequest):
    """A point id is not a string of 1–512 bytes or an integer of 0 … 2⁶⁴−1."""

    code = "invalid-id"
    title = "Invalid point id"


class DuplicateId(InvalidRequest):
    """One request writes the same point twice."""

    code = "duplicate-id"
    title = "Duplicate point id"


class InvalidText(InvalidRequest):
    """A text is missing, too long, or given where no encoder can read it."""

    code = "invalid-text"
    title = "Invalid text"


class InvalidImage(InvalidRequest):
    """An image cannot be read or fetched, is too large, or is given where no encoder reads it."""

    code = "invalid-image"
    title = "Invalid image"


class UnknownVector(InvalidRequest):
    """The collection has no vector of that name."""

    code = "unknown-vector"
    title = "Unknown vector name"


class InvalidVector(InvalidRequest):
    """A vector is neither a list of numbers nor base64 of little-endian float32."""

    code = "invalid-vector"
    title = "Invalid vector"


class DimensionMismatch(InvalidRequest):
    """A vector's length differs from its collection's dimension."""

    code = "dimension-mismatch"
    title = "Dimension mismatch"

    def __init__(self, *, expected: int, received: int, pointer: str | None = None) -> None:
        super().__init__(
            f"expected a vector of {expected} numbers, received {received}",
            pointer=pointer,
            expected=expected,
            received=received,
        )


class VectorNotFinite(InvalidRequest):
    """A vector holds NaN or an infinity, or a number outside float32."""

    code = "vector-not-finite"
    title = "Vector not finite"


class ZeroVector(InvalidRequest):
    """A vector of length zero has no direction, so no cosine."""

    code = "zero-vector"
    title = "Zero vector under cosine"


class InvalidAttributes(InvalidRequest):
    """Attributes are JSON scalars or flat lists of them, under ordinary field names."""

    code = "invalid-attributes"
    title = "Invalid attributes"


class SchemaViolation(InvalidRequest):
    """An attribute contradicts the collection's declared schema."""

    code = "schema-violation"
    title = "Schema violation"


class InvalidFilter(InvalidRequest):
    """A filter has an unknown operator, or an operand of the wrong type."""

    code = "invalid-filter"
    title = "Invalid filter"


class InvalidQuery(InvalidRequest):
    """A query does not say what to search for, or says it twice."""

    code = "invalid-query"
    title = "Invalid query"


class InvalidDefinition(InvalidRequest):
    """A collection's definition is incomplete or contradicts itself."""

    code = "invalid-definition"
    title = "Invalid collection definition"


class InvalidCursor(InvalidRequest):
    """A scroll cursor was not made by this service."""

    code = "invalid-cursor"
    title = "Invalid cursor"


class InvalidSnapshot(InvalidRequest):
    """A file is not a snapshot, is damaged, or is of a version that this one cannot read."""

    code = "invalid-snapshot"
    title = "Invalid snapshot"


# ── who asks may not ─────────────────────────────────────────────────────────────────────────


class AccessDenied(LikewiseError):
    """The request is not for everybody."""

    code = "access-denied"
    title = "Access denied"


class Unauthenticated(AccessDenied):
    """The request carries no key or token, or one that is not valid."""

    code = "unauthenticated"
    title = "Not authenticated"


class Forbidden(AccessDenied):
    """The key or token is valid, but does not allow this."""

    code = "forbidden"
    title = "Forbidden"


# ── something named is missing ───────────────────────────────────────────────────────────────


class NotFound(LikewiseError):
    """Something that the request names does not exist."""

    code = "not-found"
    title = "Not found"


class RouteNotFound(NotFound):
    """No endpoint has that path."""

    code = "route-not-found"
    title = "No such endpoint"


class MethodNotAllowed(NotFound):
    """The endpoint does not know that method."""

    code = "method-not-allowed"
    title = "Method not allowed"


class CollectionNotFound(NotFound):
    """No collection has that name."""

    code = "collection-not-found"
    title = "Collection not found"

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no collection named {name!r}", collection=name)


class PointNotFound(NotFound):
    """No point of the collection has that id."""

    code = "point-not-found"
    title = "Point not found"


class EncoderNotFound(NotFound):
    """No encoder of that name is installed."""

    code = "encoder-not-found"
    title = "Encoder not found"


class SnapshotNotFound(NotFound):
    """There is no snapshot of that name."""

    code = "snapshot-not-found"
    title = "Snapshot not found"


class ArtefactNotFound(NotFound):
    """The collection keeps nothing of that kind and name."""

    code = "artefact-not-found"
    title = "Not kept with the collection"


# ── true, but not in this state ──────────────────────────────────────────────────────────────


class Conflict(LikewiseError):
    """The request contradicts what is already stored."""

    code = "conflict"
    title = "Conflict"


class DefinitionDiffers(Conflict):
    """A collection of that name exists with another definition."""

    code = "definition-differs"
    title = "Collection exists with another definition"


class SchemaConflict(Conflict):
    """Stored points contradict a schema that is to be declared."""

    code = "schema-conflict"
    title = "Stored points contradict the schema"


class CollectionExists(Conflict):
    """A collection of that name exists, and was not to be replaced."""

    code = "collection-exists"
    title = "Collection exists"


class SnapshotExists(Conflict):
    """A snapshot of that name exists."""

    code = "snapshot-exists"
    title = "Snapshot exists"


class KeptOutdated(Conflict):
    """What was fitted and kept is of vectors that the encoder no longer makes, or is unreadable."""

    code = "kept-outdated"
    title = "Fitted for other vectors"


# ── try later ────────────────────────────────────────────────────────────────────────────────


class Unavailable(LikewiseError):
    """The same request may succeed later.

    retry_after_s  when to try again, in seconds, where that is known better than by the class
    """

    code = "unavailable"
    title = "Unavailable"
    retry_after_s: int = 1

    def __init__(
        self,
        detail: str,
        *,
        pointer: str | None = None,
        retry_after_s: int | None = None,
        **context: Scalar,
    ) -> None:
        super().__init__(detail, pointer=pointer, **context)
        if retry_after_s is not None:
            self.retry_after_s = retry_after_s


class Overloaded(Unavailable):
    """A bounded queue is full."""

    code = "overloaded"
    title = "Overloaded"


class TooManyConnections(Unavailable):
    """The service holds as many connections as it may."""

    code = "too-many-connections"
    title = "Too many connections"


class DeadlineExceeded(Unavailable):
    """The request's time was over before its work began, or a read's before it was done."""

    code = "deadline-exceeded"
    title = "Deadline exceeded"


class EncoderUnavailable(Unavailable):
    """The encoder is known, but its model could not be obtained or loaded."""

    code = "encoder-unavailable"
    title = "Encoder unavailable"
    retry_after_s = 30


class LexicalUnavailable(Unavailable):
    """The words that a query asks for are being indexed."""

    code = "lexical-unavailable"
    title = "Lexical index unavailable"
    retry_after_s = 2


class StorageFull(Unavailable):
    """The disk has no room for the write; nothing of it was kept."""

    code = "storage-full"
    title = "Storage full"
    retry_after_s = 60


class StorageReadOnly(Unavailable):
    """The data directory cannot be written to; reads go on."""

    code = "storage-read-only"
    title = "Storage read-only"
    retry_after_s = 60


class ShuttingDown(Unavailable):
    """The service is stopping and takes no new work."""

    code = "shutting-down"
    title = "Shutting down"


# ── ours to mend ─────────────────────────────────────────────────────────────────────────────


class ServerFault(LikewiseError):
    """A fault of the service or of its files, not of the request."""


class EncodingFailed(ServerFault):
    """The model runtime refused a batch; everyone who waited for it gets this."""

    code = "encoding-failed"
    title = "Encoding failed"


class StoredDataError(ServerFault):
    """A stored file cannot be used and an operator must act."""

    code = "stored-data"
    title = "Stored data cannot be used"


class CorruptFile(StoredDataError):
    """A file is not what its checksum or its header says."""

    code = "corrupt-file"
    title = "Corrupt file"


class IncompatibleFormat(StoredDataError):
    """A file was written by a version that this one cannot read."""

    code = "incompatible-format"
    title = "Incompatible format"


class DirectoryInUse(StoredDataError):
    """Another process holds the data directory."""

    code = "directory-in-use"
    title = "Data directory in use"
