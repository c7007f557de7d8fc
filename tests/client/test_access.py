"""The SDK and a real service with keys: over TLS with a CA of our own, and while keys change."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from likewise import AccessError, Client, Retries, TransportError

from app.access.grants import Grant, Scope
from app.access.keys import add_key, remove_key
from tests.certificates import KEY_PASSWORD, Certificates, make_certificates
from tests.launched import launched, run

ADMIN_KEY = "an-admin-key-from-the-environment"
JWT_SECRET = "a-secret-that-is-long-enough-for-hs256"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("access")


@pytest.fixture(scope="module")
def reader(folder: Path) -> str:
    """A key that reads `docs-*`, made as an operator makes it."""
    arguments = ["--name", "reader", "--scope", "read", "--collections", "docs-*"]
    made = run(folder, "keys", "new", "--file", str(folder / "keys.json"), *arguments)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


@pytest.fixture(scope="module")
def url(folder: Path, reader: str, certificates: Certificates) -> Iterator[str]:
    """A service with TLS, a key file, keys from the environment and tokens, on all addresses."""
    (folder / "secret").write_text(JWT_SECRET)
    with launched(
        folder,
        "--host",
        "0.0.0.0",
        LIKEWISE_LOG_LEVEL="debug",
        LIKEWISE_KEYS_FILE=str(folder / "keys.json"),
        LIKEWISE_API_KEY=ADMIN_KEY,
        LIKEWISE_JWT_SECRET_FILE=str(folder / "secret"),
        LIKEWISE_TLS_CERT=str(certificates.server),
        LIKEWISE_TLS_KEY=str(certificates.server_key),
        LIKEWISE_TLS_KEY_PASSWORD=KEY_PASSWORD,
    ) as service:
        assert service.url.startswith("https://")
        yield service.url


def test_both_clients_work_over_tls_with_a_key(
    connect: Any, url: str, reader: str, certificates: Certificates
) -> None:
    admin = connect(url, api_key=f"{ADMIN_KEY}\n", verify=certificates.ca)
    assert admin.info().api == "v1"
    for name in ("docs-a", "other"):
        admin.create_collection(name, dimension=2).upsert([{"id": 1, "vector": [1, 0]}])
    mine = connect(url, api_key=reader, verify=str(certificates.ca))
    assert [hit.id for hit in mine.collection("docs-a").query(vector=[1, 0])] == [1]
    assert [info.name for info in mine.collections()] == ["docs-a"]
    for refused in (
        lambda: mine.collection("docs-a").delete(ids=[1]),
        lambda: mine.collection("other").count(),
        lambda: mine.create_collection("docs-b", dimension=2),
    ):
        with pytest.raises(AccessError) as caught:
            refused()
        assert (caught.value.status, caught.value.code) == (403, "forbidden")
        assert reader not in str(caught.value)
    for key in (None, "wrong", reader[:-1]):
        with pytest.raises(AccessError) as caught:
            connect(url, api_key=key, verify=certificates.ca).collections()
        assert (caught.value.status, caught.value.code) == (401, "unauthenticated")
    connect(url, verify=certificates.ca).health()


def test_a_token_is_taken_over_tls(url: str, certificates: Certificates) -> None:
    claims = {"exp": int(time.time()) + 60, "scope": "write", "collections": ["none-*"]}
    raw = jwt.encode(claims, JWT_SECRET, "HS256")
    with Client(url, api_key=raw, verify=certificates.ca) as client:
        assert client.collections() == []
    with (
        Client(url, api_key=jwt.encode(claims, "x" * 40, "HS256"), verify=certificates.ca) as other,
        pytest.raises(AccessError),
    ):
        other.collections()


def test_a_server_that_no_trusted_authority_signed_gets_no_key(url: str) -> None:
    once = Retries(attempts=0)
    with Client(url, api_key=ADMIN_KEY, retries=once) as client, pytest.raises(TransportError):
        client.info()


def test_a_port_with_tls_speaks_nothing_else(url: str) -> None:
    with pytest.raises(httpx.HTTPError):
        httpx.get(url.replace("https://", "http://") + "/healthz")
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"{url}/healthz", verify=old)


def test_keys_are_rotated_while_requests_go_on(
    folder: Path, url: str, certificates: Certificates
) -> None:
    file = folder / "keys.json"
    old = add_key(file, Grant("rotating", frozenset({Scope.READ})))
    _until(url, certificates, old, 200)
    failed: list[Exception] = []
    over = threading.Event()
    used = [old]

    def ask() -> None:
        with Client(url, verify=certificates.ca) as client:
            while not over.is_set():
                try:
                    response = client._http.get(
                        "/v1/limits", headers={"authorization": f"Bearer {used[-1]}"}
                    )
                    assert response.status_code == 200, response.text
                except Exception as error:
                    failed.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        new = add_key(file, Grant("rotated", frozenset({Scope.READ})))
        _until(url, certificates, new, 200)
        used.append(new)
        time.sleep(0.05)  # a request that began with the old key ends
        remove_key(file, "rotating")
        _until(url, certificates, old, 401)
    finally:
        over.set()
        asking.join()
    assert not failed
    _until(url, certificates, new, 200)


def _until(url: str, certificates: Certificates, key: str, status: int) -> None:
    """Return when a key is answered so: within a second and a little."""
    context = ssl.create_default_context(cafile=certificates.ca)
    with httpx.Client(verify=context) as client:
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            if client.get(f"{url}/v1/info", headers={"x-api-key": key}).status_code == status:
                return
            time.sleep(0.02)
    raise AssertionError(f"no {status} within five seconds")


def test_no_key_token_or_password_is_in_the_log(
    folder: Path, url: str, reader: str, certificates: Certificates
) -> None:
    """Last in this file: it reads what all tests above have left."""
    raw = jwt.encode({"exp": int(time.time()) + 60, "sub": "alice"}, JWT_SECRET, "HS256")
    context = ssl.create_default_context(cafile=certificates.ca)
    with httpx.Client(verify=context) as client:
        for headers in (
            {"authorization": f"Bearer {raw}"},
            {"x-api-key": reader},
            {"authorization": "Bearer secret-guess"},
            {"authorization": "secret-guess", "x-request-id": "traced"},
        ):
            client.get(f"{url}/v1/info?key={reader}", headers=headers)
    text = (folder / "log").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert {"alice", "reader", "LIKEWISE_API_KEY"} <= {
        str(line.get("key")).removeprefix("token:") for line in lines
    }
    assert "traced" in {line.get("request_id") for line in lines if line.get("status") == 401}
    secrets = (reader, reader[3:20], ADMIN_KEY, JWT_SECRET, KEY_PASSWORD, raw, "secret-guess")
    assert [secret for secret in secrets if secret in text] == []


def test_a_client_without_a_certificate_is_refused_where_one_is_asked_for(
    tmp_path: Path, certificates: Certificates
) -> None:
    with launched(
        tmp_path,
        LIKEWISE_TLS_CERT=str(certificates.server),
        LIKEWISE_TLS_KEY=str(certificates.server_key),
        LIKEWISE_TLS_KEY_PASSWORD=KEY_PASSWORD,
        LIKEWISE_TLS_CLIENT_CA=str(certificates.ca),
    ) as service:
        stranger = Client(service.url, verify=certificates.ca, retries=Retries(attempts=0))
        with stranger, pytest.raises(TransportError):
            stranger.info()
        context = ssl.create_default_context(cafile=certificates.ca)
        context.load_cert_chain(certificates.client, certificates.client_key)
        with Client(service.url, verify=context) as known:
            assert known.info().api == "v1"


# ── the SDK's own part ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("key", ["", " ", "a\nb", "a b", "schlüssel", "a\0"])
def test_a_key_that_no_header_carries_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(ValueError, match="api_key") as caught:
        Client(api_key=key)
    assert not key.strip() or key not in str(caught.value)


def test_the_sdk_reads_no_key_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKEWISE_API_KEY", ADMIN_KEY)
    with Client() as client:
        assert "authorization" not in client._http.headers
