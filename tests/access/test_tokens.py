"""Tokens: good ones, and every kind of forgery we know."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from app.access.grants import Grant, Scope
from app.access.guard import Guard, TokenFiles
from app.access.tokens import (
    LEEWAY_S,
    SigningKey,
    read_public_keys,
    read_secrets,
    verify,
)
from app.errors import CorruptFile, StoredDataError, Unauthenticated

SECRET = "s" * 32
HS = [SigningKey("HS256", SECRET.encode())]
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: Any) -> bytes:
    """The public key as an operator has it."""
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    made: bytes = key.public_key().public_bytes(encoding, form)
    return made


def private_pem(key: Any) -> bytes:
    """The private key in PEM."""
    made: bytes = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return made


def claims(**more: Any) -> dict[str, Any]:
    return {"exp": int(time.time()) + 60, "scope": "read", "sub": "alice", **more}


def token(secret: str | Any = SECRET, algorithm: str = "HS256", **more: Any) -> bytes:
    return jwt.encode(claims(**more), secret, algorithm).encode()


def by_hand(header: dict[str, Any], payload: bytes, secret: bytes | None) -> bytes:
    """A token that no library would make."""

    def part(raw: bytes) -> bytes:
        return base64.urlsafe_b64encode(raw).rstrip(b"=")

    signed = part(json.dumps(header).encode()) + b"." + part(payload)
    signature = b"" if secret is None else hmac.new(secret, signed, hashlib.sha256).digest()
    return signed + b"." + part(signature)


def granted(raw: bytes, keys: list[SigningKey] = HS, **more: Any) -> Grant:
    return verify(raw, keys, **{"audience": None, "issuer": None, **more}).grant


@pytest.mark.parametrize("scope", ["read metrics", ["read", "metrics"], "openid read x metrics"])
def test_a_good_token_gives_its_scopes_and_collections(scope: object) -> None:
    grant = granted(token(scope=scope, collections=["docs-*"]))
    assert grant == Grant("token:alice", frozenset({Scope.READ, Scope.METRICS}), ("docs-*",))
    assert granted(token()).covers_all()


@pytest.mark.parametrize("scope", ["", [], "openid", [1, None]])
def test_a_token_without_scopes_of_ours_allows_nothing(scope: object) -> None:
    grant = granted(token(scope=scope))
    assert not any(grant.holds(each) for each in Scope)


def test_no_claim_of_collections_is_all_and_an_empty_one_none() -> None:
    assert not granted(token(collections=[])).covers("any")


@pytest.mark.parametrize("sub", ["a\nb", "x" * 99, "ü", "a b"])
def test_a_subject_that_could_confuse_a_log_is_left_out(sub: str) -> None:
    assert granted(token(sub=sub)).name == "token"


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": 1}, {"exp": int(time.time()) - LEEWAY_S - 1}, {"exp": "soon"}, {"exp": None},
        {"exp": 10**400}, {"nbf": 10**11}, {"iat": 10**11}, {"aud": "somebody"},
        {"scope": {"read": True}}, {"scope": 1}, {"collections": "docs-*"},
        {"collections": ["[a]"]}, {"collections": None}, {"sub": 7},
    ],
    ids=repr,
)  # fmt: skip
def test_a_signed_token_with_wrong_claims_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated):
        granted(token(**changes))


def test_a_token_without_an_end_is_refused() -> None:
    endless = jwt.encode({"scope": "admin"}, SECRET, "HS256").encode()
    with pytest.raises(Unauthenticated, match="lacks a claim"):
        granted(endless)


def test_audience_and_issuer_are_those_of_the_settings() -> None:
    raw = token(aud=["likewise", "other"], iss="https://id")
    assert granted(raw, audience="likewise", issuer="https://id")
    for wrong in (
        {"audience": "x"}, {"audience": "likewise", "issuer": "x"}, {}, {"issuer": "https://id"},
    ):  # fmt: skip
        with pytest.raises(Unauthenticated):
            granted(raw, **wrong)
    with pytest.raises(Unauthenticated):
        granted(token(), audience="likewise")
    with pytest.raises(Unauthenticated):
        granted(token(), issuer="https://id")


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "", None, "HS257"])
def test_a_token_without_a_signature_is_refused(name: object) -> None:
    payload = json.dumps(claims(scope="admin")).encode()
    for raw in (
        by_hand({"alg": name, "typ": "JWT"}, payload, None),
        by_hand({"alg": name, "typ": "JWT"}, payload, SECRET.encode()),
        by_hand({"alg": "HS256"}, payload, None),
    ):
        with pytest.raises(Unauthenticated):
            granted(raw)


def test_a_public_key_is_no_secret() -> None:
    """The confusion of algorithms: everybody knows the public key, and signs with it by HMAC."""
    public = SigningKey("RS256", RSA.public_key())
    payload = json.dumps(claims(scope="admin")).encode()
    for secret in (pem(RSA), pem(RSA).strip()):
        forged = by_hand({"alg": "HS256", "typ": "JWT"}, payload, secret)
        with pytest.raises(Unauthenticated):
            granted(forged, [public])
        with pytest.raises(Unauthenticated):
            granted(forged, [*HS, public])


def test_each_key_is_used_with_its_own_algorithm_only() -> None:
    both = [*HS, SigningKey("RS256", RSA.public_key())]
    assert granted(token(), both)
    assert granted(token(RSA, "RS256"), both)
    for other in ("HS384", "HS512"):
        with pytest.raises(Unauthenticated):
            granted(token(SECRET * 2, other), [SigningKey("HS256", SECRET.encode() * 2)])
    with pytest.raises(Unauthenticated):
        granted(token(RSA, "PS256"), both)
    with pytest.raises(Unauthenticated):
        granted(token(RSA, "RS256"), HS)


def test_a_token_signed_by_somebody_else_is_refused() -> None:
    with pytest.raises(Unauthenticated, match="not signed with a key that is known"):
        granted(token("t" * 32))
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    with pytest.raises(Unauthenticated):
        granted(token(other, "RS256"), [SigningKey("RS256", RSA.public_key())])


@given(st.data())
def test_a_changed_token_is_refused(data: st.DataObject) -> None:
    raw = bytearray(token())
    place = data.draw(st.integers(0, len(raw) - 2))  # the last character may hold unused bits
    raw[place] = data.draw(st.integers(0, 255).filter(lambda byte: byte != raw[place]))
    with pytest.raises(Unauthenticated):
        granted(bytes(raw))


@given(st.binary(max_size=200) | st.text(max_size=80).map(str.encode))
def test_whatever_is_no_token_is_refused(raw: bytes) -> None:
    with pytest.raises(Unauthenticated):
        granted(b".".join([raw, raw, raw]))


@pytest.mark.parametrize(
    "payload", [b"[]", b"1", b"{", b"\xff", b'{"exp": NaN}', b'{"exp": 1e999}']
)
def test_a_signed_payload_that_is_no_object_is_refused(payload: bytes) -> None:
    with pytest.raises(Unauthenticated):
        granted(by_hand({"alg": "HS256", "typ": "JWT"}, payload, SECRET.encode()))


# ── files ────────────────────────────────────────────────────────────────────────────────────


def test_a_file_may_hold_several_keys_so_that_they_can_be_rotated(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.write_text(f"{SECRET}\n\n  {'t' * 32}\n")
    assert [key.key for key in read_secrets(secrets)] == [SECRET.encode(), b"t" * 32]
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = tmp_path / "public.pem"
    public.write_bytes(pem(RSA) + b"# the old one\n" + pem(other))
    assert granted(token(other, "RS256"), read_public_keys(public))


@pytest.mark.parametrize(
    "content",
    [b"", b"\n \n", b"short", b"s" * 31, b"s" * 40 + b"\nshort", pem(RSA)],
    ids=lambda content: repr(content[:12]),
)
def test_what_holds_no_secret_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    with pytest.raises(CorruptFile) as caught:
        read_secrets(path)
    assert "short" not in caught.value.detail


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"s" * 40,
        private_pem(RSA),
        pem(RSA) + private_pem(RSA),
        pem(RSA)[:-60] + b"-----END PUBLIC KEY-----\n",
        pem(ec.generate_private_key(ec.SECP256R1())),
        pem(rsa.generate_private_key(public_exponent=65537, key_size=1024)),
    ],
    ids=["empty", "secret", "private", "both", "cut", "elliptic", "short"],
)
def test_what_holds_no_public_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "public.pem"
    path.write_bytes(content)
    with pytest.raises(CorruptFile):
        read_public_keys(path)
    with pytest.raises(StoredDataError, match="cannot be read"):
        read_public_keys(tmp_path)


# ── behind the guard ─────────────────────────────────────────────────────────────────────────


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    path = tmp_path / "secrets"
    path.write_text(SECRET)
    return path


def test_a_remembered_token_ends_when_it_ends(
    secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = Guard(tokens=TokenFiles(secrets))
    now = time.time()
    raw = token(exp=int(now) + 60)
    assert guard.grant(raw) is guard.grant(raw), "it is remembered"
    monkeypatch.setattr(time, "time", lambda: now + 60 + LEEWAY_S)
    with monkeypatch.context() as patch:  # the library asks another clock than the guard
        patch.setattr(jwt, "decode", _expired)
        with pytest.raises(Unauthenticated, match="expired"):
            guard.grant(raw)


def _expired(*_: Any, **__: Any) -> Any:
    raise jwt.ExpiredSignatureError


def test_no_more_tokens_are_remembered_than_there_is_room_for(
    secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.access.tokens.REMEMBERED_TOKENS", 3)
    guard = Guard(tokens=TokenFiles(secrets))
    for n in range(10):
        assert guard.grant(token(n=n))
    for _ in range(10):
        with pytest.raises(Unauthenticated):
            guard.grant(token("x" * 32))
    assert guard._tokens is not None
    assert len(guard._tokens._keys_and_remembered[1]) == 3


def test_a_removed_secret_takes_the_tokens_with_it_that_it_signed(secrets: Path) -> None:
    guard = Guard(tokens=TokenFiles(secrets))
    old, new = token(), token("n" * 32)
    assert guard.grant(old)
    secrets.write_text(f"{'n' * 32}\n{SECRET}")
    guard.refresh()
    assert guard.grant(old)
    assert guard.grant(new)
    secrets.write_text("n" * 32)
    guard.refresh()
    assert guard.grant(new)
    with pytest.raises(Unauthenticated):
        guard.grant(old)


def test_a_lost_file_keeps_its_keys_when_another_changes(secrets: Path) -> None:
    public = secrets.with_name("public.pem")
    public.write_bytes(pem(RSA))
    guard = Guard(tokens=TokenFiles(secrets, public))
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    for lost, changed in ((secrets, public), (public, secrets)):
        before = lost.read_bytes()
        lost.unlink()
        guard.refresh()
        content = changed.read_bytes()
        changed.write_bytes(content + (pem(other) if changed == public else b"\n" + b"n" * 32))
        guard.refresh()
        assert guard.grant(token())
        assert guard.grant(token(RSA, "RS256"))
        lost.write_bytes(before)
        guard.refresh()
    assert guard.grant(token("n" * 32))
    assert guard.grant(token(other, "RS256"))
