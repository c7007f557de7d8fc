"""Signed tokens (JWT, RFC 7519): which are taken, and what they allow.

The algorithm belongs to the key and is set by the operator: HS256 for a shared secret, RS256 for a
public key. What a token's header says about it is only compared, so neither `none` nor a public key
used as a secret (RFC 8725, 2.1) gets anywhere. A file may hold several keys, so that a new one can
be added before the old one goes.

    exp          required; nbf and iat are kept too, all with `LEEWAY_S` for clocks that differ
    aud, iss     must be the configured ones; a token that names an audience is refused where none
                 is configured (RFC 7519, 4.1.3)
    scope        "read write" (RFC 8693, 4.2) or a list; words that are none here are passed over
    collections  list of patterns; left out it means all of them
    sub          the name in the log, if it looks like one
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from app.access.grants import Grant, Scope, checked_name, checked_patterns
from app.access.watched import Watched
from app.errors import CorruptFile, InvalidField, StoredDataError, Unauthenticated

LEEWAY_S = 5
"""How far clocks may differ."""

REMEMBERED_TOKENS = 4096
"""About 2 MB."""

_LEAST_SECRET_BYTES = 32  # RFC 7518, 3.2: as long as the hash
_LEAST_RSA_BITS = 2048  # RFC 7518, 3.3
_PEM = re.compile(rb"-----BEGIN ([A-Z ]+)-----.+?-----END \1-----", re.S)
_WORDS = {scope.value: scope for scope in Scope}


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key and the one algorithm that it is used with."""

    algorithm: str
    key: bytes | RSAPublicKey


@dataclass(frozen=True, slots=True)
class Verified:
    """What a good token allows, until `ends_at` (seconds since 1970, leeway included)."""

    grant: Grant
    ends_at: float


class Tokens:
    """Verifies tokens by the keys of files, and remembers those that were good.

    A signature takes tens of microseconds, so a good token is remembered, under its digest, until
    it ends. What was refused is not remembered: strangers could fill the memory with it.
    """

    def __init__(
        self,
        secrets: Path | None,
        public_keys: Path | None,
        *,
        audience: str | None,
        issuer: str | None,
    ) -> None:
        """Read the files. Raises StoredDataError or CorruptFile."""
        files = ((secrets, read_secrets), (public_keys, read_public_keys))
        self._files = [Watched(path, read) for path, read in files if path is not None]
        self._audience = audience
        self._issuer = issuer
        self._take_over()

    def grant(self, token: bytes, digest: bytes) -> Grant:
        """Return what the bearer of a token may do. Raises Unauthenticated."""
        keys, remembered = self._keys_and_remembered
        known = remembered.get(digest)
        if known is not None:
            if time.time() < known.ends_at:
                return known.grant
            del remembered[digest]
        known = verify(token, keys, audience=self._audience, issuer=self._issuer)
        if len(remembered) >= REMEMBERED_TOKENS:
            del remembered[next(iter(remembered))]  # the oldest
        remembered[digest] = known
        return known.grant

    def refresh(self) -> None:
        """Look at the files now, and take over those that changed."""
        changed = [file.look() for file in self._files]
        if any(changed):
            self._take_over()

    def _take_over(self) -> None:
        # One assignment: what was verified goes together with the keys that verified it.
        self._keys_and_remembered: tuple[list[SigningKey], dict[bytes, Verified]] = (
            [key for file in self._files for key in file.content],
            {},
        )


def read_secrets(path: Path) -> list[SigningKey]:
    """Read HS256 secrets, one a line. Raises StoredDataError or CorruptFile."""
    raw = _content(path)
    if b"-----BEGIN" in raw:
        raise CorruptFile(f"{path} holds a PEM key, and a secret was expected")
    keys = [line.strip() for line in raw.splitlines() if line.strip()]
    if not keys or min(map(len, keys)) < _LEAST_SECRET_BYTES:
        raise CorruptFile(
            f"{path}: expected one secret a line, each of at least {_LEAST_SECRET_BYTES} bytes"
        )
    return [SigningKey("HS256", key) for key in keys]


def read_public_keys(path: Path) -> list[SigningKey]:
    """Read RS256 public keys in PEM, one after the other. Raises StoredDataError or CorruptFile."""
    blocks = list(_PEM.finditer(_content(path)))
    if any(b"PRIVATE" in block[1] for block in blocks):
        raise CorruptFile(f"{path} holds a private key: the service needs the public one only")
    found: list[SigningKey] = []
    for block in blocks:
        try:
            key = load_pem_public_key(block[0])
        except ValueError:
            raise CorruptFile(f"{path}: a key in it cannot be read as PEM") from None
        if not isinstance(key, RSAPublicKey) or key.key_size < _LEAST_RSA_BITS:
            raise CorruptFile(f"{path}: expected RSA keys of at least {_LEAST_RSA_BITS} bits")
        found.append(SigningKey("RS256", key))
    if not found:
        raise CorruptFile(f"{path} holds no public key in PEM")
    return found


def verify(
    token: bytes, keys: Sequence[SigningKey], *, audience: str | None, issuer: str | None
) -> Verified:
    """Check a token against each key. Raises Unauthenticated."""
    for key in keys:
        try:
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm],
                audience=audience,
                issuer=issuer,
                leeway=LEEWAY_S,
                options={"require": ["exp"]},
            )
            ends_at = float(claims["exp"]) + LEEWAY_S
        except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError, jwt.InvalidKeyError):
            continue
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("the token has expired") from None
        except jwt.ImmatureSignatureError:
            raise Unauthenticated("the token is not valid yet: see nbf and iat") from None
        except jwt.InvalidAudienceError:
            raise Unauthenticated("the token is for another audience") from None
        except jwt.InvalidIssuerError:
            raise Unauthenticated("the token is from another issuer") from None
        except jwt.MissingRequiredClaimError:
            raise Unauthenticated("the token lacks a claim: exp, or aud or iss") from None
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError, OverflowError):
            raise Unauthenticated("the token cannot be read") from None
        return Verified(_grant_from_claims(claims), ends_at)
    raise Unauthenticated("the token is not signed with a key that is known here")


def _grant_from_claims(claims: dict[str, Any]) -> Grant:
    scope = claims.get("scope", "")
    words = scope.split() if isinstance(scope, str) else scope
    if not isinstance(words, list):
        raise Unauthenticated("expected the token's claim scope to be text or a list")
    scopes = frozenset(_WORDS[word] for word in words if isinstance(word, str) and word in _WORDS)
    patterns = None
    if "collections" in claims:
        listed = claims["collections"]
        if not isinstance(listed, list):
            raise Unauthenticated("expected the token's claim collections to be a list")
        try:
            patterns = checked_patterns(listed)
        except InvalidField as error:
            raise Unauthenticated(f"the token's claim collections: {error.detail}") from None
    try:
        name = f"token:{checked_name(claims.get('sub'))}"
    except InvalidField:
        name = "token"
    return Grant(name, scopes, patterns)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StoredDataError(f"the file {path} cannot be read: {reason}") from error
