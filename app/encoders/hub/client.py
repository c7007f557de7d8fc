"""Speak the protocol of a model hub: what a repository holds, and its files, resumed and verified.

Theory of operation. Two addresses are asked, both below the endpoint:

    GET /api/models/<repository>/revision/<revision>?blobs=true
        which commit a revision is (`sha`), and its files (`siblings`: `rfilename`, `size`, `blobId`
        and, for large ones, `lfs.sha256`)
    GET /<repository>/resolve/<commit>/<path>
        the file; large ones by a redirect to a store elsewhere, whose answer to `Range` is 206

A file is written into `<folder>/.partial/<name>.<identity>`, where the identity is that of its
content. What is there from an interrupted download is kept and the rest asked for with `Range`: a
connection that is cut goes on where it stood, in this process or the next. When all bytes are there
they are hashed once, and only a file of the right sha256 (for small files that have none: of the
right git blob id) is moved to its name. One that is wrong is deleted.

Several processes may want the same file: one receives it, the others wait for its lock on the
partial file and find the file in place.

The token goes to the endpoint's own host and to no other: redirects are followed here, one by one.
A step from https to http is refused.

Sources: https://huggingface.co/docs/hub/api; RFC 9110, section 14 (Range).
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import httpx

from app.encoders.base import Progress
from app.encoders.files import CHUNK_BYTES, alone, is_whole
from app.encoders.hub.answers import (
    HubError,
    HubFile,
    Passing,
    Repository,
    completed,
    length_of,
    part_of,
    refusal,
    repository_from_json,
)

SLOWEST_BYTES_PER_S = 64 << 10  # 90 MB in 23 minutes; a hub slower than that is as good as away
MOST_REDIRECTS = 5
LONGEST_WAIT_S = 30.0
PARTIAL = ".partial"
LEAST_BYTES = 4 << 10  # an attempt that brought fewer is one that failed
LONGEST_ANSWER_BYTES = 32 << 20  # a repository of a hundred thousand files
SPARE_BYTES = 64 << 20  # left on the disk, for whoever else writes there

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Patience:
    """How hard to try.

    attempts   that may fail one after the other and bring nothing
    wait_s     before the second attempt; doubled before each further one
    silence_s  longest silence: for the connection, and between two pieces of a body
    """

    attempts: int = 5
    wait_s: float = 0.5
    silence_s: float = 10.0


class Hub:
    """A hub at an address. Close it, or use it in a `with`.

    token  sent as a bearer token to this address only; "" sends none
    """

    def __init__(self, endpoint: str, *, token: str = "", patience: Patience | None = None) -> None:
        self._patience = patience or Patience()
        try:
            self._endpoint = httpx.URL(endpoint.rstrip("/"))
        except httpx.InvalidURL as exc:
            raise HubError(f"{type(exc).__name__}: {exc}") from exc
        self._token = token
        self._client = httpx.Client(timeout=self._patience.silence_s, follow_redirects=False)

    def __enter__(self) -> Hub:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close connections."""
        self._client.close()

    def describe(self, repository: str, revision: str) -> Repository:
        """What a repository holds at a revision (a branch, a tag or a commit). Raises HubError."""
        where = f"{repository}@{revision}"
        at = f"/api/models/{quote(repository)}/revision/{quote(revision, safe='')}?blobs=true"

        def ask() -> Repository:
            with self._get(at, {}, where) as response:
                if response.status_code != 200:
                    raise refusal(response, where)
                try:
                    return repository_from_json(repository, json.loads(_short(response)))
                except (ValueError, RecursionError) as exc:
                    raise HubError(f"{where}: the answer is not that of a hub") from exc

        return self._again(ask)

    def download(
        self,
        repository: str,
        commit: str,
        file: HubFile,
        folder: Path,
        progress: Progress,
    ) -> str:
        """Fetch a file into a folder, from where it stood. Returns its sha256. Raises HubError.

        What `progress` raises ends it; what was received stays for the next time.
        """
        identity = (file.sha256 or file.blob or commit)[:16]
        partial = folder / PARTIAL / f"{file.path.replace('/', '--')}.{identity}"
        target = folder / file.path
        at = f"/{quote(repository)}/resolve/{quote(commit, safe='')}/{quote(file.path)}"
        known = file

        def ask() -> None:
            nonlocal known
            known = self._receive(at, known, partial, progress)

        def tick() -> int:
            have = _size(partial)
            progress(file.path, have, max(known.size_bytes, 0))
            return have

        with alone(partial, tick):
            if file.sha256 and is_whole(target, file.sha256):
                return file.sha256  # somebody else was faster
            check_room(folder, file.size_bytes - _size(partial))
            resumed = _size(partial) > 0
            self._again(ask, tick)
            sha256 = _sha256(partial, known)
            if sha256 is None and resumed:  # what was there may have been the fault
                os.truncate(partial, 0)
                self._again(ask, tick)
                sha256 = _sha256(partial, known)
            if sha256 is None:
                os.truncate(partial, 0)
                raise HubError(f"{file.path} arrived with other bytes than the hub promised")
            target.parent.mkdir(parents=True, exist_ok=True)
            partial.replace(target)
            return sha256

    def _receive(self, at: str, file: HubFile, partial: Path, progress: Progress) -> HubFile:
        """Append what is missing; returns the file with what the answers told of it."""
        have = _size(partial)
        if have and have == file.size_bytes:
            return file
        headers = {"Range": f"bytes={have}-"} if have else {}
        with self._get(at, headers, file.path) as response:
            file = completed(file, response)
            if response.status_code == 416 and have:
                os.truncate(partial, 0)  # longer than the file: of something else
                raise Passing(f"{file.path}: the part that was there does not fit")
            if response.status_code not in (200, 206):
                raise refusal(response, file.path)
            if response.status_code == 206:
                begin, total = part_of(response, file.path)
                if begin != have:
                    raise Passing(f"{file.path}: asked from byte {have}, got byte {begin}")
            else:
                have, total = 0, length_of(response)
            size = file.size_bytes if file.size_bytes >= 0 else total
            os.truncate(partial, have)
            with partial.open("ab") as out:
                for piece in self._pieces(response, file.path):
                    have += len(piece)
                    if 0 <= size < have:
                        out.truncate(0)
                        raise HubError(f"{file.path} is longer than {size} bytes")
                    if size < 0:  # it may go on for ever
                        check_room(partial.parent, len(piece))
                    out.write(piece)
                    progress(file.path, have, max(size, 0))
        if 0 <= total < size:
            os.truncate(partial, 0)
            raise HubError(f"{file.path} ended after {have} of {size} bytes")
        if have < size:
            raise Passing(f"{file.path} ended after {have} of {size} bytes")
        return file

    def _pieces(self, response: httpx.Response, path: str) -> Iterator[bytes]:
        """The body as it comes; gives up on one that trickles: silence is not the only hang."""
        begun, done, grace_s = time.monotonic(), 0, self._patience.silence_s
        # A piece of a given size would wait for it to fill.
        for piece in response.iter_raw():
            done += len(piece)
            elapsed = time.monotonic() - begun
            if elapsed > grace_s and done < elapsed * SLOWEST_BYTES_PER_S:
                raise HubError(f"{path}: {done} bytes in {elapsed:.0f} s are too slow")
            yield piece

    @contextmanager
    def _get(self, at: str, headers: dict[str, str], what: str) -> Iterator[httpx.Response]:
        """Ask an address of the hub and follow its redirects."""
        url = httpx.URL(f"{self._endpoint}{at}")
        linked: dict[str, str] = {}
        try:
            for _ in range(MOST_REDIRECTS + 1):
                request = self._client.build_request(
                    "GET", url, headers=self._headers(url, headers)
                )
                response = self._client.send(request, stream=True)
                try:
                    # The redirect tells what the store does not.
                    for name in ("x-linked-etag", "x-linked-size", "x-repo-commit"):
                        if name in response.headers:
                            linked.setdefault(name, response.headers[name])
                    if not response.is_redirect:
                        response.headers.update(linked)
                        yield response
                        return
                    url = _next(url, response.headers["location"], what)
                finally:
                    response.close()
        except httpx.TimeoutException as exc:
            silence_s = self._patience.silence_s
            raise Passing(f"{what}: no answer within {silence_s:g} s") from exc
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise Passing(f"{what}: {type(exc).__name__}: {exc}") from exc
        raise HubError(f"{what}: more than {MOST_REDIRECTS} redirects")

    def _headers(self, url: httpx.URL, more: dict[str, str]) -> dict[str, str]:
        # No compression: a range counts the bytes that are sent.
        headers = {"Accept-Encoding": "identity", "User-Agent": "likewise", **more}
        if self._token and _origin(url) == _origin(self._endpoint):
            headers["Authorization"] = f"Bearer {self._token}"
        return headers

    def _again(self, ask: Callable[[], Answer], tick: Callable[[], int] = lambda: 0) -> Answer:
        """Ask until it works; a failure after which there is more than before does not count.

        tick  tells how many bytes there are, and is called often while this waits
        """
        failed, stood = 0, tick()
        while True:
            try:
                return ask()
            except Passing as exc:
                now = tick()
                failed, stood = (1 if now - stood >= LEAST_BYTES else failed + 1), now
                if failed >= self._patience.attempts:
                    raise
                # Spread out, so that many that were cut off together do not return together.
                spread = random.uniform(0.75, 1.25)  # noqa: S311  (nothing secret depends on it)
                wait_s = self._patience.wait_s * 2 ** (failed - 1) * spread
                until = time.monotonic() + min(LONGEST_WAIT_S, max(wait_s, exc.wait_s or 0.0))
                while (left_s := until - time.monotonic()) > 0:
                    time.sleep(min(0.2, left_s))
                    tick()


def _short(response: httpx.Response) -> bytes:
    """The body of an answer that is no file. Raises ValueError if it is as long as one."""
    body = bytearray()
    for piece in response.iter_bytes():
        body += piece
        if len(body) > LONGEST_ANSWER_BYTES:
            raise ValueError("it does not end")
    return bytes(body)


def check_room(folder: Path, wanted_bytes: int) -> None:
    """Raise HubError if a disk has no room for that many bytes more."""
    free = shutil.disk_usage(folder).free
    if wanted_bytes > 0 and free < wanted_bytes + SPARE_BYTES:
        raise HubError(
            f"the disk of {folder} has {free} bytes free, {wanted_bytes} and a little are needed"
        )


def _next(url: httpx.URL, location: str, what: str) -> httpx.URL:
    after = url.join(location)
    if after.scheme not in ("http", "https") or (url.scheme == "https" and after.scheme == "http"):
        raise HubError(f"{what}: refused to go on from {url.scheme} to {after.scheme}")
    return after


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _sha256(path: Path, file: HubFile) -> str | None:
    """The sha256 of a file that is the one that is meant; None if it is another."""
    content = hashlib.sha256()
    blob = hashlib.sha1(f"blob {_size(path)}\0".encode(), usedforsecurity=False)
    with path.open("rb") as stream:
        while piece := stream.read(CHUNK_BYTES):
            content.update(piece)
            blob.update(piece)
    if file.sha256:
        return file.sha256 if content.hexdigest() == file.sha256 else None
    return None if file.blob and blob.hexdigest() != file.blob else content.hexdigest()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
