"""What the service refuses to start with, and that it says so in one line."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app.__main__ import _bound, _tls, cli
from app.api.app import open_guard
from app.config import Settings, WrongSetting, read_settings
from app.errors import StoredDataError
from tests.certificates import KEY_PASSWORD, Certificates, make_certificates
from tests.launched import run

KEY = "a-key-of-sixteen-characters-or-more"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


def test_it_does_not_listen_to_strangers_without_keys(tmp_path: Path) -> None:
    done = run(tmp_path, "serve", "--port", "0", "--host", "0.0.0.0")
    assert done.returncode == 2
    assert done.stderr.startswith("likewise: not listening on 0.0.0.0 without keys: ")
    assert "LIKEWISE_ALLOW_ANONYMOUS=true" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "data").exists(), "it refuses before anything else"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "169.254.1.1", "::ffff:10.0.0.1"])
def test_no_address_but_this_machines_own_is_taken_unguarded(host: str) -> None:
    with pytest.raises(WrongSetting, match="without keys"):
        _bound(host, 0, guarded=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1.2.3"])
def test_this_machines_own_addresses_need_no_keys(host: str) -> None:
    with _bound(host, 0, guarded=False) as listener:
        assert listener.getsockname()[1] > 0


def test_any_address_is_taken_with_keys_or_when_told_so() -> None:
    with _bound("0.0.0.0", 0, guarded=True) as listener:
        assert listener.getsockname()[0] == "0.0.0.0"


def test_a_missing_key_file_ends_the_start_with_one_line(tmp_path: Path) -> None:
    missing = str(tmp_path / "keys.json")
    done = run(tmp_path, "serve", "--port", "0", LIKEWISE_KEYS_FILE=missing)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"there is no key file {missing}" in done.stderr


def test_what_is_configured_is_guarded(tmp_path: Path) -> None:
    assert open_guard(Settings()) is None
    assert open_guard(Settings(allow_anonymous=True)) is None
    keys, secret = tmp_path / "keys.json", tmp_path / "secret"
    keys.write_text('{"keys": []}')
    secret.write_text("s" * 32)
    settings: list[dict[str, Any]] = [
        {"api_key": KEY}, {"read_key": KEY}, {"keys_file": keys}, {"jwt_secret_file": secret},
        {"api_key": KEY, "allow_anonymous": True},
    ]  # fmt: skip
    for each in settings:
        assert open_guard(Settings(**each)) is not None, each
    with pytest.raises(StoredDataError):
        open_guard(Settings(jwt_public_key_file=secret))


def test_a_variable_that_is_set_to_nothing_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("API_KEY", "READ_KEY", "KEYS_FILE", "JWT_SECRET_FILE", "TLS_CERT", "HOST"):
        monkeypatch.setenv(f"LIKEWISE_{name}", "")
    assert read_settings() == Settings()


@pytest.mark.parametrize("key", ["short", "with white space in it", "sechzehn-Zeichen-ü", "x" * 15])
def test_a_weak_key_is_refused_and_not_shown(key: str) -> None:
    for name in ("api_key", "read_key"):
        with pytest.raises(WrongSetting, match="at least 16") as caught:
            read_settings(**{name: key})
        assert key not in str(caught.value)


def test_settings_show_that_there_is_a_key_and_not_which(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("API_KEY", "READ_KEY", "TLS_KEY_PASSWORD"):
        monkeypatch.setenv(f"LIKEWISE_{name}", KEY)
    shown = CliRunner().invoke(cli, ["settings"]).stdout
    assert "LIKEWISE_API_KEY=**********" in shown.splitlines()
    assert KEY not in shown
    assert KEY not in repr(read_settings())


def test_tls_is_what_the_files_make_it(certificates: Certificates) -> None:
    files: dict[str, Any] = {"tls_cert": certificates.server, "tls_key": certificates.server_key}
    files["tls_key_password"] = KEY_PASSWORD
    assert _tls(Settings()) == {}
    assert _tls(Settings(**files))["ssl_cert_reqs"] == ssl.CERT_NONE
    asked = _tls(Settings(**files, tls_client_ca=certificates.ca))
    assert asked["ssl_cert_reqs"] == ssl.CERT_REQUIRED


@pytest.mark.parametrize("password", [None, "not this"])
def test_a_wrong_password_is_refused_and_nobody_is_asked_for_it(
    certificates: Certificates, password: str | None
) -> None:
    files: dict[str, Any] = {"tls_cert": certificates.server, "tls_key": certificates.server_key}
    with pytest.raises(WrongSetting, match="LIKEWISE_TLS_") as caught:
        _tls(Settings(**files, tls_key_password=password))
    assert "not this" not in str(caught.value)


def test_half_of_tls_is_refused(certificates: Certificates) -> None:
    server, ca = certificates.server, certificates.ca
    halves: list[dict[str, Any]] = [
        {"tls_key": server}, {"tls_client_ca": ca}, {"tls_cert": server},
        {"tls_cert": server, "tls_key": certificates.client_key},
        {"tls_cert": server.with_name("nowhere.pem")},
    ]  # fmt: skip
    for half in halves:
        with pytest.raises(WrongSetting, match="LIKEWISE_TLS_"):
            _tls(Settings(**half))
