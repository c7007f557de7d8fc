"""Answers that are read as the sequence of what they mainly hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar, overload

Item = TypeVar("Item", covariant=True)


class Listed(Sequence[Item], Generic[Item]):
    """Makes an answer behave as the sequence of what it mainly holds, `_items`."""

    __slots__ = ()

    @property
    def _items(self) -> tuple[Item, ...]:
        raise NotImplementedError

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Item, ...]: ...
    def __getitem__(self, index: int | slice) -> Item | tuple[Item, ...]:
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)
