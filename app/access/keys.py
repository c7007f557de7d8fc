"""API keys: how they look, how they are kept, and the file that holds them.

A key is `lw_` and 256 random bits. The file keeps its SHA-256, never the key. A slow hash (bcrypt,
argon2) protects passwords, which people choose from few; nobody guesses 256 random bits, so it
would only make every request slow.

The file is JSON:

    {"keys": [{"name": "ci", "sha256": "<64 hex digits>", "scopes": ["read"],
               "collections": ["docs-*"], "created_at": "2026-11-23T15:10:49Z"}]}

`collections` left out means all. The file is replaced as a whole (a temporary file, fsync, rename),
by one command at a time, so that a reader sees the old one or the new one and never half of one.
Whatever is not exactly of this form makes the whole file unusable: a mistyped `collections` must
not become a key for everything.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import hashlib
import json
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.access.grants import Grant, checked_name, checked_patterns, scopes_from_names
from app.errors import Conflict, CorruptFile, InvalidField, NotFound, StoredDataError

_DIGEST = re.compile(r"[0-9a-f]{64}")
_MEMBERS = {"name", "sha256", "scopes", "collections", "created_at"}
_MOST_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Key:
    """One entry of the file: the digest of a key (32 bytes) and what its holder may do."""

    grant: Grant
    digest: bytes
    created_at: str


def digest_of(credential: bytes) -> bytes:
    """The SHA-256 of a key or token, 32 bytes: what is kept and looked up in its place."""
    return hashlib.sha256(credential).digest()


def new_key() -> str:
    """Make a key: `lw_` and 43 characters of base64url."""
    return f"lw_{secrets.token_urlsafe(32)}"


def read_keys(path: Path) -> list[Key]:
    """Read a key file. Raises StoredDataError if it cannot be read, CorruptFile if it is none."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        raise StoredDataError(
            f"there is no key file {path}: `likewise keys new --file {path} …` makes one"
        ) from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StoredDataError(f"the key file {path} cannot be read: {reason}") from error
    try:
        return _keys_from_json(json.loads(raw))
    except (ValueError, RecursionError):
        # Not the parser's own words: they may repeat what stands in the file.
        raise CorruptFile(f"the key file {path} is damaged: it is not JSON") from None
    except InvalidField as error:
        raise CorruptFile(f"the key file {path} is damaged: {error.detail}") from None


def add_key(path: Path, grant: Grant) -> str:
    """Make a key for `grant`, append its digest to the file, and return it: nobody can later.

    The file is made if there is none, readable by its owner only. Raises Conflict if it has a key
    of that name, StoredDataError if it cannot be read or written.
    """
    key = new_key()
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    entry = Key(grant, digest_of(key.encode()), now.replace("+00:00", "Z"))

    def changed(keys: list[Key]) -> list[Key]:
        if any(other.grant.name == grant.name for other in keys):
            raise Conflict(
                f"there is a key named {grant.name!r} already: remove it, or take another"
            )
        return [*keys, entry]

    _change(path, changed, may_be_new=True)
    return key


def remove_key(path: Path, name: str) -> None:
    """Remove a key from the file. Raises NotFound, or StoredDataError."""

    def changed(keys: list[Key]) -> list[Key]:
        left = [key for key in keys if key.grant.name != name]
        if len(left) == len(keys):
            raise NotFound(f"there is no key named {name!r} in {path}")
        return left

    _change(path, changed, may_be_new=False)


def _change(path: Path, changed: Callable[[list[Key]], list[Key]], *, may_be_new: bool) -> None:
    path = path.resolve()  # a link is to stay one
    try:
        with _alone_in(path.parent):
            keys = [] if may_be_new and not path.exists() else read_keys(path)
            _replace(path, _json_from_keys(changed(keys)))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StoredDataError(f"the key file {path} cannot be written: {reason}") from error


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, so that two commands do not lose one another's keys."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _replace(path: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            if path.exists():
                # The service may run as another user than who changes its keys.
                before = path.stat()
                with contextlib.suppress(PermissionError):
                    os.fchown(file.fileno(), before.st_uid, before.st_gid)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _keys_from_json(content: Any) -> list[Key]:
    if not isinstance(content, dict) or set(content) != {"keys"}:
        raise InvalidField('expected an object with the one member "keys"')
    entries = content["keys"]
    if not isinstance(entries, list):
        raise InvalidField('expected "keys" to be a list')
    keys: list[Key] = []
    for place, entry in enumerate(entries):
        try:
            keys.append(_key_from_json(entry))
        except InvalidField as error:
            raise InvalidField(f"key {place}: {error.detail}") from None
    for what, values in (
        ("name", [key.grant.name for key in keys]),
        ("sha256", [key.digest for key in keys]),
    ):
        if len(set(values)) < len(values):
            raise InvalidField(f"two keys have the same {what}")
    return keys


def _key_from_json(entry: Any) -> Key:
    if not isinstance(entry, dict) or not set(entry) <= _MEMBERS:
        raise InvalidField(f"expected an object with members of {', '.join(sorted(_MEMBERS))}")
    name, digest = checked_name(entry.get("name")), entry.get("sha256")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise InvalidField("expected sha256 to be 64 lower-case hex digits")
    created_at = entry.get("created_at", "")
    if not isinstance(created_at, str):
        raise InvalidField("expected created_at to be text")
    scopes = scopes_from_names(_listed(entry.get("scopes"), "scopes"))
    patterns = None
    if "collections" in entry:
        patterns = checked_patterns(_listed(entry["collections"], "collections"))
    return Key(Grant(name, scopes, patterns), bytes.fromhex(digest), created_at)


def _listed(value: Any, member: str) -> Sequence[object]:
    if not isinstance(value, list):
        raise InvalidField(f"expected {member} to be a list")
    return value


def _json_from_keys(keys: Sequence[Key]) -> bytes:
    entries = []
    for key in keys:
        grant = key.grant
        entry: dict[str, object] = {
            "name": grant.name,
            "sha256": key.digest.hex(),
            "scopes": sorted(scope.value for scope in grant.scopes),
        }
        if grant.patterns is not None:
            entry["collections"] = list(grant.patterns)
        entry["created_at"] = key.created_at
        entries.append(entry)
    return json.dumps({"keys": entries}, indent=2).encode() + b"\n"
