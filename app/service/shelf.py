"""What a collection keeps of one kind, by name. Everything here belongs on a lane."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from app.backends.base import Backend, KeptInfo
from app.errors import ArtefactNotFound
from app.service.checks import check_name
from app.types import Kept


@dataclass(frozen=True, slots=True)
class Shelf:
    """Kept things of one kind. Raises CollectionNotFound, and InvalidField for what is no name.

    kind   as the backend keeps them
    what   one of them in words
    """

    backend: Backend
    kind: str
    what: str

    def find(self, name: str, key: str) -> Kept:
        """Find one by its name. Raises ArtefactNotFound."""
        check_name(name, "collection")
        check_name(key, self.what)
        found = self.backend.kept(name, self.kind, key)
        if found is None:
            raise self._not_found(key)
        return found

    def infos(self, name: str) -> list[KeptInfo]:
        """List all, by name."""
        return self.backend.all_kept(check_name(name, "collection"), self.kind)

    def every(self, name: str) -> Iterator[Kept]:
        """Give all, by name; what goes meanwhile is left out."""
        for info in self.infos(name):
            kept = self.backend.kept(name, self.kind, info.key)
            if kept is not None:
                yield kept

    def put(self, name: str, key: str, body: bytes, mark: str) -> tuple[KeptInfo, bool]:
        """Keep one in the place of the one of its name; tells whether it is new.

        mark   of the collection that it was made for
        """
        new = self.backend.kept(name, self.kind, key) is None
        return self.backend.keep(name, self.kind, key, body, mark), new

    def remove(self, name: str, key: str) -> None:
        """Remove one. Raises ArtefactNotFound."""
        check_name(name, "collection")
        check_name(key, self.what)
        if not self.backend.forget(name, self.kind, key):
            raise self._not_found(key)

    def _not_found(self, key: str) -> ArtefactNotFound:
        return ArtefactNotFound(f"the collection has no {self.what} named {key!r}")
