"""A model hub on local ports, which speaks the protocol: a front, and a store on another port.

Files of `LARGE` bytes and more are large files: the front redirects to the store and tells their
sha256; smaller ones it sends itself, with git's blob id as their ETag.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

LARGE = 5_000
COMMIT = "c0ffee" + "0" * 34


@dataclass
class Asked:
    """A request as it arrived."""

    port: int
    path: str
    headers: dict[str, str]


@dataclass
class Hub:
    """The hub. Set fields to have it behave badly.

    files    path → content, of every repository
    manner   "whole", "stall" (half of a file, then silence), "trickle" (a byte now and then)
    cuts     how many more answers of the store are cut after a third of what is left
    refuses  how many more answers are a 503
    gated    the token without which nothing is told, or ""
    promised path → sha256 that is told instead of the right one
    ranges   whether the store knows `Range`
    """

    files: dict[str, bytes]
    repository: str = "some/model"
    manner: str = "whole"
    cuts: int = 0
    refuses: int = 0
    gated: str = ""
    promised: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    asked: list[Asked] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stopped = threading.Event()
        self._servers = [ThreadingHTTPServer(("127.0.0.1", 0), self._handler()) for _ in range(2)]
        self.ports = [server.server_address[1] for server in self._servers]
        self.endpoint = f"http://127.0.0.1:{self.ports[0]}/"
        self._threads = [
            threading.Thread(target=server.serve_forever, args=(0.01,)) for server in self._servers
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop both servers."""
        self.stopped.set()
        for server, thread in zip(self._servers, self._threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()

    @property
    def paths(self) -> list[str]:
        """The paths that were asked, in order."""
        return [asked.path for asked in self.asked]

    def sha256(self, path: str) -> str:
        """What the hub tells of a large file."""
        return self.promised.get(path, hashlib.sha256(self.files[path]).hexdigest())

    def description(self) -> dict[str, Any]:
        """The answer to what the repository holds."""
        siblings = []
        for path, content in self.files.items():
            entry: dict[str, Any] = {"rfilename": path, "size": len(content)}
            if len(content) >= LARGE:
                entry["lfs"] = {"sha256": self.sha256(path), "size": len(content)}
            else:
                entry["blobId"] = blob_id(content)
            siblings.append(entry)
        return {
            "sha": COMMIT,
            "siblings": siblings,
            "cardData": {"license": "apache-2.0"},
            "createdAt": "2023-05-06T07:08:09.000Z",
        }

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                port = self.server.server_address[1]
                headers = {name.lower(): value for name, value in self.headers.items()}
                hub.asked.append(Asked(port, self.path, headers))
                with contextlib.suppress(ConnectionError):  # the client gave up, as it should
                    self.answer(port, unquote(urlsplit(self.path).path))

            def answer(self, port: int, path: str) -> None:
                if hub.refuses > 0:
                    hub.refuses -= 1
                    self.send(503, b"", {"Retry-After": "0"})
                elif port == hub.ports[1]:
                    self.send_file(path.removeprefix("/store/"))
                elif hub.gated and self.headers["Authorization"] != f"Bearer {hub.gated}":
                    self.send(401, b"", {"X-Error-Code": "GatedRepo"})
                elif re.fullmatch(rf"/api/models/{hub.repository}/revision/(main|{COMMIT})", path):
                    self.send(200, json.dumps(hub.description()).encode(), {})
                elif path.startswith(f"/api/models/{hub.repository}/revision/"):
                    self.send(404, b"", {"X-Error-Code": "RevisionNotFound"})
                else:
                    self.resolve(path)

            def resolve(self, path: str) -> None:
                found = re.fullmatch(rf"/{hub.repository}/resolve/(\w+)/(.+)", path)
                if found is None or found[2] not in hub.files:
                    self.send(404, b"", {})
                    return
                name, told = found[2], {"X-Repo-Commit": COMMIT}
                content = hub.files[name]
                if len(content) < LARGE:
                    self.send(200, content, told | {"ETag": f'"{blob_id(content)}"'})
                    return
                told |= {
                    "X-Linked-Size": str(len(content)),
                    "X-Linked-Etag": f'"{hub.sha256(name)}"',
                    "Location": f"http://127.0.0.1:{hub.ports[1]}/store/{name}",
                }
                self.send(302, b"", told)

            def send_file(self, name: str) -> None:
                content, status, headers = hub.files[name], 200, {"ETag": '"not-a-hash"'}
                asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
                if asked and hub.ranges:
                    begin, whole = int(asked[1]), len(content)
                    if begin >= whole:
                        self.send(416, b"", {"Content-Range": f"bytes */{whole}"})
                        return
                    headers["Content-Range"] = f"bytes {begin}-{whole - 1}/{whole}"
                    content, status = content[begin:], 206
                self.send(status, content, headers)

            def send(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if hub.cuts > 0 and self.server.server_address[1] == hub.ports[1]:
                    hub.cuts -= 1
                    self.wfile.write(content[: len(content) // 3])
                    self.close_connection = True
                elif hub.manner == "trickle" and content:
                    for byte in content:
                        self.wfile.write(bytes([byte]))
                        if hub.stopped.wait(0.02):
                            return
                elif hub.manner == "stall" and content:
                    self.wfile.write(content[: len(content) // 2])
                    hub.stopped.wait()
                else:
                    self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler


def blob_id(content: bytes) -> str:
    """Git's id of a content."""
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
