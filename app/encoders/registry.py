"""The installed encoders by name: what they are, whether they are loaded, and the way to use them.

An encoder is a folder below `models/` with an `encoder.toml`. The registry reads manifests only;
`load` obtains, builds and opens a model, and `submit` hands texts to its batcher. Thread-safe:
loading one encoder blocks nobody but other loads of the same one.
"""

from __future__ import annotations

import difflib
import hashlib
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from app.encoders import obtain as obtaining
from app.encoders.base import (
    Cut,
    Cutting,
    Encoded,
    Encoder,
    EncoderInfo,
    EncoderStatistics,
    OutputKind,
    Progress,
    Status,
    TextKind,
    no_progress,
)
from app.encoders.batcher import Batcher
from app.encoders.build import RECORD, graph_path, is_built
from app.encoders.inputs import Input
from app.encoders.manifest import FILE_NAME, BuiltGraph, Manifest, read_manifest
from app.encoders.opening import open_encoder
from app.errors import (
    EncoderNotFound,
    EncoderUnavailable,
    InvalidField,
    LikewiseError,
    ShuttingDown,
)

_SHOWN = 64  # characters of an unknown name that an error repeats


@dataclass(frozen=True, slots=True)
class _Loaded:
    encoder: Encoder
    batcher: Batcher


@dataclass(slots=True, eq=False)
class _Entry:
    """One installed encoder. `state` is replaced as a whole, so readers need no lock."""

    manifest: Manifest
    folder: Path
    state: tuple[Status, str] = ("unavailable", "not loaded")
    loaded: _Loaded | None = None
    loading: threading.Lock = field(default_factory=threading.Lock)


class EncoderRegistry:
    """All encoders below a folder.

    threads       how many cores one batch of one encoder may use
    queue         texts that may wait for one encoder
    batch_tokens  most tokens of one batch, padding included
    hub_endpoint  base address of the model hub
    local_source  a folder to take model files from before any other source

    Raises StoredDataError if a manifest cannot be read: an operator put it there.
    """

    def __init__(
        self,
        models_dir: Path,
        *,
        threads: int,
        queue: int,
        batch_tokens: int,
        hub_endpoint: str = obtaining.HUB_ENDPOINT,
        local_source: Path | None = None,
    ) -> None:
        self._threads = threads
        self._queue = queue
        self._batch_tokens = batch_tokens
        self._hub_endpoint = hub_endpoint
        self._local_source = local_source
        self._closed = False
        self._publishing = threading.Lock()
        folders = sorted(path.parent for path in models_dir.glob(f"*/{FILE_NAME}"))
        self._entries = {folder.name: _Entry(read_manifest(folder), folder) for folder in folders}

    def describe_all(self) -> list[EncoderInfo]:
        """Every installed encoder, by name."""
        return [_info(entry) for entry in self._entries.values()]

    def describe(self, name: str) -> EncoderInfo:
        """One encoder. Raises EncoderNotFound, which names the closest installed ones."""
        return _info(self._entry(name))

    def statistics(self) -> list[EncoderStatistics]:
        """What every loaded encoder did, and what waits for it."""
        loaded = [entry.loaded for entry in self._entries.values()]
        return [one.batcher.statistics() for one in loaded if one is not None]

    def load(
        self, name: str, *, obtain: bool = True, progress: Progress = no_progress
    ) -> EncoderInfo:
        """Make an encoder ready; returns at once if it is.

        obtain  whether missing files may be fetched and the graph built

        Takes from under a second to minutes, on the caller's thread. Raises EncoderNotFound;
        EncoderUnavailable if the model cannot be had or opened, and the status says why from then
        on; ShuttingDown if the registry was closed meanwhile.
        """
        entry = self._entry(name)
        with entry.loading:
            if entry.loaded is not None:
                return _info(entry)
            entry.state = ("loading", "")
            try:
                self._publish(entry, self._open(entry, obtain, progress))
            except LikewiseError as exc:
                entry.state = ("unavailable", exc.detail)
                if isinstance(exc, (EncoderUnavailable, ShuttingDown)):
                    raise
                raise EncoderUnavailable(exc.detail, encoder=name) from exc
            except Exception as exc:
                # The runtimes raise types of their own for files they cannot use.
                detail = f"{name} cannot be opened: {type(exc).__name__}: {exc}"
                entry.state = ("unavailable", detail)
                raise EncoderUnavailable(detail, encoder=name) from exc
            except BaseException:
                entry.state = ("unavailable", "loading was interrupted")
                raise
        return _info(entry)

    def submit(
        self,
        name: str,
        inputs: Sequence[Input],
        kind: TextKind,
        output: OutputKind = "dense",
    ) -> Future[Encoded]:
        """Encode inputs soon; returns at once.

        Raises EncoderNotFound; EncoderUnavailable if the encoder is not loaded; Overloaded if its
        queue has no room; InvalidText (pointer `/i`) for an input it does not read; ShuttingDown.
        The future completes with outputs in the order of the inputs, with the error of an input
        that cannot be read (pointer `/i`), EncodingFailed or ShuttingDown.
        """
        loaded = self._ready(name)
        return loaded.batcher.submit(loaded.encoder.address(inputs, kind), output)

    def addressed(self, name: str, inputs: Sequence[Input], kind: TextKind) -> list[Input]:
        """Make inputs complete, as `submit` does; see `Encoder.address`."""
        return self._ready(name).encoder.address(inputs, kind)

    def fingerprint(self, name: str) -> str:
        """Tell one state of an encoder from every other that may make other vectors.

        It covers the manifest, and so the sha256 of every file, and what was built from them by
        which builder. Raises EncoderNotFound.
        """
        entry = self._entry(name)
        made_of = hashlib.sha256(repr(entry.manifest).encode())
        record = entry.folder / RECORD
        if isinstance(entry.manifest.graph, BuiltGraph) and record.is_file():
            made_of.update(record.read_bytes())
        return made_of.hexdigest()

    def fitted(self, name: str, inputs: Sequence[Input], kind: TextKind, cut: Cut) -> list[Input]:
        """Make inputs short enough for an encoder, on the caller's thread; see `Cutting`.

        Raises EncoderNotFound, EncoderUnavailable, InvalidText, and InvalidField if its inputs are
        not cut.
        """
        encoder = self._ready(name).encoder
        if not isinstance(encoder, Cutting):
            raise InvalidField(f"inputs of {name} are not cut: leave out how")
        return encoder.fitted(inputs, kind, cut)

    def close(self, grace_s: float = 5.0) -> None:
        """End all encoders: for at most `grace_s` they work on what was accepted, then fail it.

        A load that is under way ends with ShuttingDown.
        """
        with self._publishing:
            self._closed = True
        for entry in self._entries.values():
            if entry.loaded is not None:
                entry.loaded.batcher.close(grace_s)
                entry.loaded.encoder.close()

    def _ready(self, name: str) -> _Loaded:
        entry = self._entry(name)
        if entry.loaded is not None:
            return entry.loaded
        status, detail = entry.state
        reason = "is being loaded" if status == "loading" else f"is unavailable: {detail}"
        raise EncoderUnavailable(f"{name} {reason}", encoder=name)

    def _entry(self, name: str) -> _Entry:
        try:
            return self._entries[name]
        except KeyError:
            raise _not_found(name, list(self._entries)) from None

    def _open(self, entry: _Entry, may_obtain: bool, progress: Progress) -> Encoder:
        manifest, folder = entry.manifest, entry.folder

        def watched(what: str, done_bytes: int, total_bytes: int) -> None:
            if self._closed:
                raise ShuttingDown("the service stopped while the encoder was loading")
            progress(what, done_bytes, total_bytes)

        if may_obtain:
            obtaining.obtain(
                manifest,
                folder,
                local_source=self._local_source,
                hub_endpoint=self._hub_endpoint,
                progress=watched,
            )
        else:
            _require(manifest, folder)
        return open_encoder(manifest, folder, threads=self._threads)

    def _publish(self, entry: _Entry, encoder: Encoder) -> None:
        with self._publishing:
            if self._closed:
                encoder.close()
                raise ShuttingDown("the service stopped while the encoder was loading")
            batcher = Batcher(encoder, queue=self._queue, batch_tokens=self._batch_tokens)
            entry.loaded = _Loaded(encoder, batcher)
            entry.state = ("ready", "")


def _require(manifest: Manifest, folder: Path) -> None:
    """Raise EncoderUnavailable unless everything is there and whole, without fetching."""
    missing = [file.path for file in obtaining.missing_files(manifest, folder)]
    if isinstance(manifest.graph, BuiltGraph) and not is_built(manifest, folder):
        missing.append(graph_path(manifest, folder).name)
    if missing:
        raise EncoderUnavailable(
            f"{manifest.name} lacks {', '.join(missing)} in {folder}; obtain it first",
            encoder=manifest.name,
        )


def _info(entry: _Entry) -> EncoderInfo:
    manifest, (status, detail) = entry.manifest, entry.state
    return EncoderInfo(
        name=manifest.name,
        dimension=manifest.dimension,
        max_tokens=manifest.spec.max_input,
        modality=manifest.modality,
        status=status,
        detail=detail,
        created=manifest.released,
        owned_by=manifest.owned_by,
        space=manifest.space,
        kind=manifest.kind,
    )


def _not_found(name: str, installed: list[str]) -> EncoderNotFound:
    name = name if len(name) <= _SHOWN else name[:_SHOWN] + "…"  # it is the caller's, and unbounded
    closest = difflib.get_close_matches(name, installed, n=3, cutoff=0.4) or installed[:3]
    hint = f"the closest installed: {', '.join(closest)}" if closest else "none is installed"
    return EncoderNotFound(f"there is no encoder named {name!r}; {hint}", encoder=name)
