"""Group commit: writers that meet share one transaction and one fsync.

A writer queues its operation. If nobody is committing, it becomes the leader: under the
collection's write lock it runs group after group until its own operation is done. The others wait
until theirs is done, or until the lead is free; a writer that is done never takes the lock.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from app.engine.account import EngineAccount
from app.engine.parts import Effect
from app.storage.store import Store, Writer

Operation = Callable[[Writer], Effect]
"""A write: what it does to the store's transaction, and what readers are to see of it."""

_GROUPED = 64  # operations in one transaction: bounds what one failure makes run again


@dataclass(slots=True, eq=False)
class _Queued:
    operation: Operation
    alone: bool
    done: Future[int] = field(default_factory=Future)


class CommitQueue:
    """Runs operations on a store, in the order they came, and shows their effects.

    publish   shows committed effects to readers; called under `lock`, must not fail
    """

    def __init__(
        self,
        store: Store,
        lock: threading.Lock,
        publish: Callable[[list[Effect]], None],
        account: EngineAccount,
    ) -> None:
        self._account = account
        self._store = store
        self._lock = lock
        self._publish = publish
        self._turn = threading.Condition()
        self._queue: list[_Queued] = []
        self._led = False

    def write(self, operation: Operation, *, alone: bool = False) -> int:
        """See an operation through: committed and published, or raised. Returns its count.

        alone   keeps it out of groups: it reads the snapshot, which must hold all before it
        """
        queued = _Queued(operation, alone)
        with self._turn:
            self._queue.append(queued)
            while self._led and not queued.done.done():
                self._turn.wait()
            if queued.done.done():
                return queued.done.result()
            self._led = True
        try:
            with self._lock:
                while not queued.done.done():
                    self._run(self._next_group())
                    with self._turn:
                        self._turn.notify_all()
        finally:
            with self._turn:
                self._led = False
                self._turn.notify_all()
        return queued.done.result()

    def _next_group(self) -> list[_Queued]:
        with self._turn:
            size = 1
            if not self._queue[0].alone:
                together = min(len(self._queue), _GROUPED)
                while size < together and not self._queue[size].alone:
                    size += 1
            group, self._queue = self._queue[:size], self._queue[size:]
            return group

    def _run(self, group: list[_Queued]) -> None:
        """Commit and publish a group; whatever happens, each caller hears of it."""
        effects: list[Effect] = []
        begun_s = time.perf_counter()

        def work(writer: Writer) -> None:
            effects.extend(queued.operation(writer) for queued in group)

        try:
            self._store.write(work)
            self._publish(effects)
        except BaseException as exc:
            if len(group) == 1 or len(effects) == len(group):
                # Alone, or failed as a whole (at the commit or after it): not one's own fault.
                for queued in group:
                    queued.done.set_exception(exc)
            else:
                for queued in group:
                    self._run([queued])
            return
        self._account.committed(len(group), time.perf_counter() - begun_s)
        for queued, effect in zip(group, effects, strict=True):
            queued.done.set_result(effect.count)
