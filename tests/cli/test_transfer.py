"""`likewise import` and `likewise export`: a real service, and one that breaks off."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from likewise import Client
from typer.testing import CliRunner

from app.__main__ import cli
from app.cli import transfer

POINTS = [{"id": n, "vector": [1, n], "attributes": {"n": n}} for n in range(1, 12)]
LINES = [json.dumps(point) for point in POINTS]


def run(*arguments: object, given: str | None = None) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], input=given)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_PIECE_LINES", 4)
    monkeypatch.setattr(transfer, "_WAITS_S", (0.0, 0.0))


@pytest.fixture
def collection(service: str) -> Iterator[Any]:
    with Client(service) as client:
        collection = client.create_collection("transfer", dimension=2)
        yield collection
        collection.drop()


@pytest.mark.parametrize("name", ["points.ndjson", "points.ndjson.gz"])
def test_what_was_exported_can_be_imported(
    service: str, collection: Any, tmp_path: Path, name: str
) -> None:
    collection.upsert(POINTS)
    file = tmp_path / name
    there = ("--collection", "transfer", "--url", service)
    done = run("export", file, *there)
    assert (done.exit_code, done.stdout) == (0, f"{file}: 11 points\n")
    content = gzip.decompress(file.read_bytes()) if name.endswith("gz") else file.read_bytes()
    assert [json.loads(line)["id"] for line in content.splitlines()] == list(range(1, 12))
    assert list(tmp_path.iterdir()) == [file]
    collection.delete(filter={})
    done = run("import", file, *there)
    assert (done.exit_code, done.stdout) == (0, "transfer: 11 lines written, 0 left out\n")
    assert collection.count() == 11


def test_a_pipe_is_a_file_too(service: str, collection: Any) -> None:
    there = ("--collection", "transfer", "--url", service)
    assert run("import", "-", *there, given="\n".join(LINES)).exit_code == 0
    done = run("export", "-", *there, "--no-with-vectors", "--filter", '{"n": {"$gt": 10}}')
    assert json.loads(done.stdout) == {"id": 11, "attributes": {"n": 11}}


def test_a_bad_line_is_named_with_the_place_to_go_on(service: str, collection: Any) -> None:
    there = ("--collection", "transfer", "--url", service)
    body = "\n".join([*LINES[:5], '{"id": 1, "vector": [1]}', *LINES[5:]])
    done = run("import", "-", *there, given=body)
    assert done.exit_code == 1
    assert "line 6: expected a vector of 2 numbers, received 1 at /vector [422]" in done.stderr
    assert "5 lines were written; go on with --from-line 6" in done.stderr
    done = run("import", "-", *there, "--from-line", 7, given=body)
    assert done.stdout == "transfer: 6 lines written, 0 left out\n"
    done = run("import", "-", *there, "--on-error", "skip", given=body)
    assert done.stdout == "transfer: 11 lines written, 1 left out\n"
    assert "line 6 left out" in done.stderr


@pytest.mark.parametrize("command", ["import", "export"])
def test_a_collection_that_is_not_there_is_one_line(
    service: str, tmp_path: Path, command: str
) -> None:
    file = tmp_path / "points"
    if command == "import":
        file.write_text(LINES[0])
    done = run(command, file, "--collection", "nobody", "--url", service)
    assert done.exit_code == 1
    assert "there is no collection named 'nobody' [404]" in done.stderr
    assert not (tmp_path / "points.part").exists()


@pytest.mark.parametrize("command", ["import", "export"])
def test_nobody_listening_is_one_line_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr(transfer, "_WAITS_S", (3600.0,))
    given = "\n".join(LINES)
    done = run(command, "-", "--collection", "c", "--url", "http://127.0.0.1:9", given=given)
    assert done.exit_code == 1
    assert "cannot be asked" in _only_line(done)


@pytest.mark.parametrize("command", ["import", "export"])
@pytest.mark.parametrize("name", ["not/there.ndjson", "not/there.ndjson.gz"])
def test_a_file_that_cannot_be_used_is_one_line(
    service: str, collection: Any, tmp_path: Path, command: str, name: str
) -> None:
    done = run(command, tmp_path / name, "--collection", "transfer", "--url", service)
    assert done.exit_code == 1
    assert _only_line(done).endswith(f"{name} cannot be used: No such file or directory")


def test_a_file_that_was_cut_off_is_one_line(service: str, collection: Any, tmp_path: Path) -> None:
    file = tmp_path / "points.ndjson.gz"
    file.write_bytes(gzip.compress("\n".join(LINES).encode())[:-12])
    done = run("import", file, "--collection", "transfer", "--url", service)
    assert done.exit_code == 1
    assert "points.ndjson.gz cannot be used: Compressed file ended" in _only_line(done)


def test_a_key_that_no_header_can_carry_is_not_shown(service: str) -> None:
    arguments = ("--collection", "c", "--url", service, "--api-key", "sécret\nkey")
    done = run("export", "-", *arguments)
    assert done.exit_code == 1
    assert "a key is letters" in _only_line(done)
    assert "cret" not in done.output


def _only_line(done: Result) -> str:
    assert done.exception is None or isinstance(done.exception, SystemExit)
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("likewise: "))
    return line


class _BreaksOff(BaseHTTPRequestHandler):
    """Exports lines 1 … 9, three at a time, and breaks off inside the fourth each time."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        if self.path.endswith("/count"):
            self.send_header("content-length", "11")
            self.end_headers()
            self.wfile.write(b'{"count":9}')
            return
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        first = body.get("after", 0) + 1
        data = b"".join(b'{"id":%d}\n' % n for n in range(first, min(first + 3, 10)))
        data += b'{"id"' if first < 7 else b""
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        if first < 7:
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_an_export_goes_on_where_the_connection_broke(tmp_path: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _BreaksOff)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}"
        done = run("export", tmp_path / "x", "--collection", "c", "--url", url)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert done.exit_code == 0, done.stderr
    assert (tmp_path / "x").read_bytes() == b"".join(b'{"id":%d}\n' % n for n in range(1, 10))
