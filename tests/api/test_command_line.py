from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from app.__main__ import cli
from app.config import settings_table
from tests.launched import environment, run


def test_the_service_says_where_it_listens_serves_and_stops_when_told(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "serve", "--port", "0"],
        env=environment(tmp_path),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        lines = [json.loads(process.stderr.readline())]
        while "listens" not in lines[-1]["message"]:
            lines.append(json.loads(process.stderr.readline()))
        address = re.search(r"http://127\.0\.0\.1:\d+", lines[-1]["message"])
        assert address is not None
        answer = httpx.put(f"{address[0]}/v1/collections/a", json={"dimension": 1})
        assert answer.status_code == 201

        second = run(tmp_path, "serve", "--port", "0")
        assert second.returncode == 1
        assert second.stderr.startswith("likewise: ")
        assert second.stderr.count("\n") == 1, "one line and no traceback"

        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    lines += [json.loads(line) for line in rest.splitlines()]
    assert process.returncode == 0
    requests = [line for line in lines if line["message"] == "request"]
    assert [(line["method"], line["path"], line["status"]) for line in requests] == [
        ("PUT", "/v1/collections/{name}", 201)
    ]
    assert requests[0]["request_id"] == answer.headers["x-request-id"]
    assert {line["level"] for line in lines} == {"info"}


def test_a_second_signal_does_not_wait_for_requests(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "serve", "--port", "0"],
        env=environment(tmp_path),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        while (found := re.search(r"http://127\.0\.0\.1:(\d+)", process.stderr.readline())) is None:
            pass
        # A request whose body does not come holds a graceful stop up.
        with socket.create_connection(("127.0.0.1", int(found[1]))) as waiting:
            waiting.sendall(
                b"PUT /v1/collections/a HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n"
            )
            assert waiting.recv(100).startswith(b"HTTP/1.1 100")
            process.send_signal(signal.SIGTERM)
            while "stopping" not in process.stderr.readline():
                pass
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 128 + signal.SIGINT
    finally:
        process.kill()
        process.communicate()


def test_a_wrong_setting_is_one_line(tmp_path: Path) -> None:
    done = run(tmp_path, "settings", LIKEWISE_PORT="many")
    assert done.returncode == 2
    assert done.stderr.startswith("likewise: LIKEWISE_PORT: ")
    assert "Traceback" not in done.stderr


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    return CliRunner()


def test_settings_are_printed_as_they_would_be_set(command: CliRunner) -> None:
    lines = command.invoke(cli, ["settings"]).stdout.splitlines()
    assert "LIKEWISE_DEFAULT_ENCODER=tiny" in lines
    assert len(lines) == settings_table().count("\n") - 2


def test_settings_are_printed_as_their_documentation(command: CliRunner) -> None:
    assert command.invoke(cli, ["settings", "--markdown"]).stdout == settings_table()


def test_models_are_listed_and_obtained(command: CliRunner) -> None:
    assert "tiny" in command.invoke(cli, ["models", "list"]).stdout
    assert "tiny: ready, 32 numbers" in command.invoke(cli, ["models", "obtain"]).stdout


def test_the_openapi_document_is_printed(command: CliRunner) -> None:
    document = json.loads(command.invoke(cli, ["openapi"]).stdout)
    assert document["info"]["title"] == "Likewise"
