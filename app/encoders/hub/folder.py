"""A model's folder: its configurations are read here, and what is wrong with them is said here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from app.encoders.files import text_of
from app.errors import StoredDataError

MODULES = "modules.json"
CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
SETTINGS = "config_sentence_transformers.json"
COLBERT = "artifact.metadata"


class ModelFolder:
    """A folder of that name; `notes` gathers what was assumed of it, one sentence each."""

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name
        self.notes: list[str] = []

    def has(self, path: str) -> bool:
        """Whether a file is there."""
        return (self.path / path).is_file()

    def json(self, path: str, kind: type = dict, missing: Any = None) -> Any:
        """Read a configuration; `missing` stands for a file that may be left out."""
        try:
            read = json.loads(text_of(self.path / path))
        except FileNotFoundError:
            if missing is not None:
                return missing
            self.refuse(path, "is missing")
        except (OSError, ValueError, RecursionError) as exc:
            self.refuse(path, f"cannot be read: {type(exc).__name__}")
        if type(read) is not kind:
            self.refuse(path, "is not what it should be: another type of JSON")
        return read

    @contextmanager
    def understood(self) -> Iterator[None]:
        """Refuse the folder if the block meets a value of another type than its key has.

        Configurations come from anywhere. What is checked by name has a better message; this keeps
        the rest from being a fault of ours.
        """
        try:
            yield
        except (TypeError, ValueError, LookupError, AttributeError, RecursionError) as exc:
            raise StoredDataError(
                f"{self.name}: its configurations hold a value of another type: {exc}",
                path=str(self.path),
            ) from exc

    def note(self, sentence: str) -> None:
        """Remember what is to be known of the folder."""
        self.notes.append(sentence)

    def refuse(self, path: str, reason: str) -> NoReturn:
        """Raise StoredDataError: which file, and what is the matter with it."""
        file = self.path / path
        raise StoredDataError(f"{self.name}: {path} {reason}", path=str(file))
