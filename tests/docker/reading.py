"""Reads what is in `docker/` and `.dockerignore`, as far as the tests need it.

Sources: the Dockerfile reference (format, escape of a line's end, COPY), the build context page
(`.dockerignore`: the last pattern that matches decides, and a match of a folder is one of all in
it), and the Compose specification (interpolation).
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "docker" / "Dockerfile"
COMPOSE = ROOT / "docker" / "compose.yaml"
IGNORE = ROOT / ".dockerignore"


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: `RUN`, its line in the file, and what follows it on one line."""

    word: str
    line: int
    rest: str

    @property
    def flags(self) -> dict[str, str]:
        """What is given as `--name=value` before the arguments."""
        pairs = (word[2:].partition("=") for word in self.rest.split() if word.startswith("--"))
        return {name: value for name, _, value in pairs}

    @property
    def arguments(self) -> list[str]:
        """The arguments without flags, of the JSON form or the plain one."""
        text = re.sub(r"^(--\S+\s+)+", "", self.rest)
        return json.loads(text) if text.startswith("[") else shlex.split(text)


@dataclass(frozen=True, slots=True)
class Stage:
    """One `FROM … AS name` and its instructions, in order."""

    name: str
    instructions: list[Instruction]

    def all(self, word: str) -> list[Instruction]:
        """Its instructions of one kind."""
        return [each for each in self.instructions if each.word == word]

    def last(self, word: str) -> Instruction:
        """The instruction that is in force at the end."""
        return self.all(word)[-1]

    @property
    def environment(self) -> dict[str, str]:
        """All variables of `ENV`, as they are at the end."""
        pairs = (pair.partition("=") for each in self.all("ENV") for pair in each.arguments)
        return {name: value for name, _, value in pairs}


def read_dockerfile(text: str) -> list[Stage]:
    """Split a Dockerfile into its stages; `ARG` before the first `FROM` belongs to none."""
    stages: list[Stage] = []
    for each in _instructions(text):
        if each.word == "FROM":
            stages.append(Stage(each.rest.split(" AS ")[1].strip(), []))
        elif stages:
            stages[-1].instructions.append(each)
    return stages


def _instructions(text: str) -> list[Instruction]:
    found: list[Instruction] = []
    begun, parts = 0, list[str]()
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        begun = begun or number
        parts.append(line.strip().removesuffix("\\").strip())
        if not line.endswith("\\"):
            word, _, rest = " ".join(parts).partition(" ")
            found.append(Instruction(word, begun, rest.strip()))
            begun, parts = 0, []
    return found


class BuildContext:
    """Which files of the repository `.dockerignore` lets through."""

    def __init__(self, text: str) -> None:
        lines = (line.strip() for line in text.splitlines())
        self._patterns = [
            (not line.startswith("!"), _pattern(line.removeprefix("!").strip("/")))
            for line in lines
            if line and not line.startswith("#")
        ]

    def has(self, path: str) -> bool:
        """Whether a path, relative to the repository and with slashes, is sent to the builder."""
        parts = path.split("/")
        above = ["/".join(parts[: end + 1]) for end in range(len(parts))]
        ignored = False
        for ignores, pattern in self._patterns:
            if any(pattern.fullmatch(each) for each in above):
                ignored = ignores
        return not ignored

    def files(self, below: str) -> list[str]:
        """All files at or below a path of the repository that are sent."""
        start = ROOT / below
        found = [start] if start.is_file() else [p for p in start.rglob("*") if p.is_file()]
        names = (path.relative_to(ROOT).as_posix() for path in found)
        return sorted(name for name in names if self.has(name))


def _pattern(glob: str) -> re.Pattern[str]:
    pieces = re.split(r"(\*\*/|\*\*|\*|\?)", glob)
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(meaning.get(piece, re.escape(piece)) for piece in pieces))


def interpolated(text: str) -> str:
    """A Compose file as it is when none of its variables is set: `${NAME:-default}`."""
    return re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", text)


def read_compose() -> dict[str, Any]:
    """The Compose file with the defaults of its variables."""
    document: dict[str, Any] = yaml.safe_load(interpolated(COMPOSE.read_text(encoding="utf-8")))
    return document
