"""The guard: from a credential to its grant, while the files behind it change.

A request costs one SHA-256 of its credential, one look into a dict and one comparison in constant
time. The dict is keyed by digests. How long a look takes may tell how much of a digest was right,
but a digest is nothing that one can approach: whoever knows it still has to find 256 random bits
that hash to it. No key or token is kept, not in the dict either, so that a dump of the memory shows
none but those of requests in flight.

A thread looks at the files every `LOOK_S` seconds and reads those that changed. What it read
replaces a table by one assignment, which requests see at once and as a whole. A file that vanished
or is damaged changes nothing: the last good keys stay in force, and the log says so. At the start
there are no last good keys: then there is no guard, and no service.
"""

from __future__ import annotations

import hmac
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app.access.grants import Grant
from app.access.keys import Key, digest_of, read_keys
from app.access.watched import Watched
from app.errors import Unauthenticated

if TYPE_CHECKING:
    from app.access.tokens import Tokens

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""How long a changed file may go unseen."""

MOST_CREDENTIAL_BYTES = 8192
"""A longer one is refused unread; a token with many claims has one or two thousand."""


@dataclass(frozen=True, slots=True)
class TokenFiles:
    """Where the keys of tokens are, and whom tokens must name."""

    secrets: Path | None = None
    public_keys: Path | None = None
    audience: str | None = None
    issuer: str | None = None


class Guard:
    """Knows who holds which credential; `grant` is for one thread, the event loop's."""

    def __init__(
        self,
        *,
        keys_file: Path | None = None,
        fixed_keys: Sequence[tuple[Grant, bytes]] = (),
        tokens: TokenFiles | None = None,
    ) -> None:
        """Read all files. Raises StoredDataError or CorruptFile if one cannot be used.

        fixed_keys   grants and their keys, as from the environment: no file can take them away
        """
        self._fixed = [Key(grant, digest_of(key), "") for grant, key in fixed_keys]
        self._file: Watched[list[Key]] | None = None
        if keys_file is not None:
            self._file = Watched(keys_file, read_keys)
        self._tokens: Tokens | None = None
        if tokens is not None:
            # Its cryptography takes 8 MB and a tenth of a second: for those who use it.
            from app.access.tokens import Tokens

            self._tokens = Tokens(
                tokens.secrets, tokens.public_keys, audience=tokens.audience, issuer=tokens.issuer
            )
        self._over = threading.Event()
        self._watcher: threading.Thread | None = None
        self._take_over_keys()

    def start(self) -> None:
        """Begin to watch the files."""
        if self._watcher is None and (self._file or self._tokens):
            self._watcher = threading.Thread(target=self._watch, name="keys", daemon=True)
            self._watcher.start()

    def close(self) -> None:
        """Stop watching."""
        self._over.set()
        if self._watcher is not None:
            self._watcher.join()

    def grant(self, credential: bytes) -> Grant:
        """Return what the holder of a key or token may do. Raises Unauthenticated."""
        if len(credential) > MOST_CREDENTIAL_BYTES:
            raise Unauthenticated(f"a key or token has at most {MOST_CREDENTIAL_BYTES} bytes")
        digest = digest_of(credential)
        key = self._by_digest.get(digest)
        if key is not None and hmac.compare_digest(key.digest, digest):
            return key.grant
        if self._tokens is not None and credential.count(b".") == 2:
            return self._tokens.grant(credential, digest)
        raise Unauthenticated("the key is not known here: it was mistyped, or removed")

    def refresh(self) -> None:
        """Look at the files now, and take over those that changed."""
        if self._file is not None and self._file.look():
            self._take_over_keys()
        if self._tokens is not None:
            self._tokens.refresh()

    def _take_over_keys(self) -> None:
        keys = [*(self._file.content if self._file else ()), *self._fixed]
        self._by_digest: dict[bytes, Key] = {key.digest: key for key in keys}

    def _watch(self) -> None:
        while not self._over.wait(LOOK_S):
            try:
                self.refresh()
            except Exception:
                log.exception("the key files could not be looked at; what was last read stays")
