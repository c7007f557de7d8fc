"""What a hub's answers say: which files a repository has, which part of one this is, or why not."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import httpx


class HubError(Exception):
    """A hub has no such repository or file, keeps it from us, or cannot be talked to."""


class HubMissing(HubError):
    """The hub says that there is no such repository, revision or file."""


class Passing(HubError):
    """What another attempt may overcome. `wait_s` is what the hub asked for, if it did."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository. Unknown are -1 and "".

    sha256  lower-case hex; of large files only
    blob    git's id of the content: sha1 over "blob <length>\\0" and the bytes
    """

    path: str
    size_bytes: int = -1
    sha256: str = ""
    blob: str = ""


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository at one commit."""

    name: str
    commit: str
    files: tuple[HubFile, ...]
    license: str
    released: str


def repository_from_json(name: str, body: Any) -> Repository:
    """Read the description of a repository. Raises ValueError if it is none.

    Files whose paths lead out of a folder are left out.
    """
    try:
        return _repository(name, body)
    except (KeyError, TypeError, AttributeError, OverflowError) as exc:
        raise ValueError("it has another shape") from exc


def _repository(name: str, body: Any) -> Repository:
    files = []
    for entry in body["siblings"]:
        path = str(entry["rfilename"])
        if path.startswith("/") or ".." in path or "\\" in path or not path.isprintable():
            continue
        large = entry.get("lfs") or {}
        files.append(
            HubFile(
                path=path,
                size_bytes=int(large.get("size", entry.get("size", -1))),
                sha256=str(large.get("sha256", "")),
                blob="" if large else str(entry.get("blobId", "")),
            )
        )
    card = body.get("cardData") or {}
    commit = body["sha"]
    # It becomes part of the name of a folder.
    if not re.fullmatch("[A-Za-z0-9]{1,64}", commit):
        raise ValueError("it names no commit")
    return Repository(
        name=name,
        commit=commit,
        files=tuple(files),
        license=str(card.get("license", "unknown")),
        released=str(body.get("createdAt", ""))[:10],
    )


def refusal(response: httpx.Response, what: str) -> HubError:
    """Why an answer is none."""
    status = response.status_code
    code = response.headers.get("x-error-code", "")
    if status in (401, 403):
        # A hub says 401 for what does not exist too, to whoever shows no token.
        return HubError(
            f"{what}: status {status}: the repository is gated, private or does not exist; a token "
            "(HF_TOKEN) of somebody who may read it is needed"
        )
    if status == 404:
        missing = {
            "RevisionNotFound": "there is no such revision",
            "EntryNotFound": "there is no such file",
        }.get(code, "there is no such repository, revision or file")
        return HubMissing(f"{what}: status 404: {missing}")
    if status == 429 or status >= 500:
        asked = response.headers.get("retry-after", "")
        wait_s = number_in(asked)
        return Passing(f"{what}: status {status}", None if wait_s < 0 else float(wait_s))
    return HubError(f"{what}: status {status}")


def completed(file: HubFile, response: httpx.Response) -> HubFile:
    """Complete what is known of a file by what its answer says. What was known goes first."""
    headers = response.headers
    tag = headers.get("x-linked-etag", headers.get("etag", "")).removeprefix("W/").strip('"')
    size = headers.get("x-linked-size", "")
    return replace(
        file,
        size_bytes=number_in(size) if file.size_bytes < 0 else file.size_bytes,
        sha256=file.sha256 or (tag if re.fullmatch("[0-9a-f]{64}", tag) else ""),
        blob=file.blob or (tag if re.fullmatch("[0-9a-f]{40}", tag) else ""),
    )


def part_of(response: httpx.Response, path: str) -> tuple[int, int]:
    """Where a part begins, and how long the whole is; -1 if that is not said."""
    found = re.fullmatch(
        r"bytes ([0-9]{1,18})-[0-9]+/([0-9]{1,18}|\*)", response.headers.get("content-range", "")
    )
    if found is None:
        raise HubError(f"{path}: a part without a Content-Range")
    return int(found[1]), -1 if found[2] == "*" else int(found[2])


def length_of(response: httpx.Response) -> int:
    """How long a body is; -1 if that is not said."""
    return number_in(response.headers.get("content-length", ""))


def number_in(header: str) -> int:
    """The whole number that a header is; -1 if it is none, or none of this world."""
    return int(header) if re.fullmatch("[0-9]{1,18}", header) else -1
