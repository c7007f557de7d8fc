"""The installed encoders by name: what they are, whether they are loaded, and the way to use them.

Which encoders there are, and what they are, is `installed`'s to know, from manifests and
configurations alone. Here `load` obtains, builds and opens a model, `submit` hands texts to its
batcher, `unload` lets go of it.

A folder without a manifest gets one when it is first loaded: what was read from its configuration,
with the sha256 of every file. From then on, nothing about it is guessed again.

Thread-safe: loading or unloading an encoder blocks nobody but those who do the same to the same
one. `submit` takes no lock.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

from app.encoders import obtain as obtaining
from app.encoders.base import (
    Cut,
    Cutting,
    Encoded,
    Encoder,
    EncoderInfo,
    EncoderStatistics,
    LaneName,
    OutputKind,
    Progress,
    TextKind,
    no_progress,
)
from app.encoders.batcher import Batcher
from app.encoders.build import RECORD, graph_path, is_built
from app.encoders.inputs import Input
from app.encoders.installed import Entry, Installed, Loaded
from app.encoders.manifest import (
    FILE_NAME,
    BuiltGraph,
    Manifest,
    Variant,
)
from app.encoders.manifest.router import RouterSpec
from app.encoders.opening import open_encoder, parts_of
from app.encoders.router import check_experts
from app.errors import (
    EncoderUnavailable,
    EncodingFailed,
    InvalidField,
    InvalidRequest,
    LikewiseError,
    ShuttingDown,
)

UNLOADED = "unloaded on request"


class EncoderRegistry:
    """All encoders below a folder.

    threads       how many cores one batch of one encoder may use
    queue         texts that may wait for one encoder
    batch_tokens  most tokens of one batch, padding included
    niceness      how far the threads that encode imports step back behind others
    hub_endpoint  base address of the model hub
    hub_token     sent to it alone; "" sends none
    local_source  a folder to take model files from before any other source
    variant       which graph of a folder without a manifest is used

    Raises StoredDataError if a manifest cannot be read: an operator put it there.
    """

    def __init__(
        self,
        models_dir: Path,
        *,
        threads: int,
        queue: int,
        batch_tokens: int,
        niceness: int = 0,
        hub_endpoint: str = obtaining.HUB_ENDPOINT,
        hub_token: str = "",
        local_source: Path | None = None,
        variant: Variant = "int8",
    ) -> None:
        self._threads = threads
        self._queue = queue
        self._batch_tokens = batch_tokens
        self._niceness = niceness
        self._hub_endpoint = hub_endpoint
        self._hub_token = hub_token
        self._local_source = local_source
        self._closed = False
        self._publishing = threading.Lock()
        self._installed = Installed(models_dir, variant)

    def describe_all(self) -> list[EncoderInfo]:
        """Every installed encoder, by name. Looks for folders that came or went."""
        self._installed.scan()
        return [entry.info() for entry in self._installed.entries()]

    def describe(self, name: str) -> EncoderInfo:
        """One encoder. Raises EncoderNotFound, which names the closest installed ones."""
        return self._installed.found(name).info()

    def statistics(self) -> list[EncoderStatistics]:
        """What every loaded encoder did, and what waits for it."""
        loaded = [entry.loaded for entry in self._installed.entries()]
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
        self._installed.scan()
        entry = self._installed.entry(name)
        with entry.loading:
            if entry.loaded is not None:
                return entry.info()
            manifest = entry.manifest
            if manifest is None:
                raise EncoderUnavailable(entry.state[1], encoder=name)
            entry.state = ("loading", "")
            try:
                self._publish(entry, self._open(entry, manifest, obtain, progress))
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
        return entry.info()

    def unload(self, name: str, grace_s: float = 60.0) -> EncoderInfo:
        """Let go of an encoder, once what was accepted is done; its memory is free when it returns.

        grace_s  how long accepted texts may take; then they fail with ShuttingDown

        From the call on, `submit` raises EncoderUnavailable until somebody loads it again. A load
        that is under way ends first. Raises EncoderNotFound.
        """
        entry = self._installed.found(name)
        with entry.loading:
            loaded, entry.loaded = entry.loaded, None
            if entry.manifest is not None:
                entry.state = ("unavailable", UNLOADED)
            if loaded is not None:
                loaded.batcher.close(grace_s)
                loaded.encoder.close()
        return entry.info()

    def submit(
        self,
        name: str,
        inputs: Sequence[Input],
        kind: TextKind,
        output: OutputKind = "dense",
        *,
        lane: LaneName = "write",
        due: float = math.inf,
    ) -> Future[Encoded]:
        """Encode inputs soon; returns at once.

        due  moment of `time.monotonic()` after which nobody wants the outputs

        Raises EncoderNotFound; EncoderUnavailable if the encoder is not loaded; Overloaded if its
        queue has no room; InvalidText (pointer `/i`) for an input it does not read; EncodingFailed
        if it fails on one; ShuttingDown.
        The future completes with outputs in the order of the inputs, with the error of an input
        that cannot be read (pointer `/i`), EncodingFailed, DeadlineExceeded or ShuttingDown.
        """
        loaded = self._ready(name)
        try:
            addressed = loaded.encoder.address(inputs, kind)
            return loaded.batcher.submit(addressed, output, lane=lane, due=due)
        except ShuttingDown:
            if self._closed:
                raise
            raise EncoderUnavailable(f"{name} is unavailable: {UNLOADED}", encoder=name) from None
        except LikewiseError:
            raise
        except Exception as exc:
            raise EncodingFailed(
                f"{name} failed to take an input: {type(exc).__name__}", encoder=name
            ) from exc

    def addressed(self, name: str, inputs: Sequence[Input], kind: TextKind) -> list[Input]:
        """Make inputs complete, as `submit` does; see `Encoder.address`."""
        return self._ready(name).encoder.address(inputs, kind)

    def fingerprint(self, name: str) -> str:
        """Tell one state of an encoder from every other that may make other vectors.

        It covers the manifest, and so the sha256 of every file, and what was built from them by
        which builder. Raises EncoderNotFound.
        """
        entry = self._installed.entry(name)
        manifest = entry.manifest
        made_of = hashlib.sha256(repr(manifest).encode())
        record = entry.folder / RECORD
        if manifest is not None and isinstance(manifest.graph, BuiltGraph) and record.is_file():
            made_of.update(record.read_bytes())
        if manifest is not None and isinstance(manifest.spec, RouterSpec):
            made_of.update("".join(map(self.fingerprint, manifest.spec.needs)).encode())
        return made_of.hexdigest()

    def faults(
        self, name: str, inputs: Sequence[Input], kind: TextKind
    ) -> list[tuple[int, InvalidRequest]]:
        """Find all inputs that an encoder cannot read, by their places, on the caller's thread.

        Raises EncoderNotFound, EncoderUnavailable, and InvalidText for inputs of another kind.
        """
        encoder = self._ready(name).encoder
        prepared = encoder.prepare(encoder.address(inputs, kind))
        return [
            (place, one) for place, one in enumerate(prepared) if isinstance(one, InvalidRequest)
        ]

    def fitted(self, name: str, inputs: Sequence[Input], kind: TextKind, cut: Cut) -> list[Input]:
        """Make inputs short enough for an encoder, on the caller's thread; see `Cutting`.

        Raises EncoderNotFound, EncoderUnavailable, InvalidText, and InvalidField if its inputs
        cannot be cut as asked.
        """
        encoder = self._ready(name).encoder
        if not isinstance(encoder, Cutting):
            manifest = self._installed.entry(name).manifest
            if cut == "never" and manifest is not None and manifest.reads_whole:
                return list(inputs)
            raise InvalidField(f"inputs of {name} are not cut: leave out how")
        return encoder.fitted(inputs, kind, cut)

    def close(self, grace_s: float = 5.0) -> None:
        """End all encoders: for at most `grace_s` they work on what was accepted, then fail it.

        A load that is under way ends with ShuttingDown.
        """
        with self._publishing:
            self._closed = True
        for entry in self._installed.entries():
            if entry.loaded is not None:
                entry.loaded.batcher.close(grace_s)
                entry.loaded.encoder.close()

    def _ready(self, name: str) -> Loaded:
        entry = self._installed.entry(name)
        if entry.loaded is not None:
            return entry.loaded
        status, detail = entry.state
        reason = "is being loaded" if status == "loading" else f"is unavailable: {detail}"
        raise EncoderUnavailable(f"{name} {reason}", encoder=name)

    def _open(
        self, entry: Entry, manifest: Manifest, may_obtain: bool, progress: Progress
    ) -> Encoder:
        folder = entry.folder
        if not (folder / FILE_NAME).is_file():
            manifest = self._installed.adopt(entry, manifest)

        def watched(what: str, done_bytes: int, total_bytes: int) -> None:
            if self._closed:
                raise ShuttingDown("the service stopped while the encoder was loading")
            progress(what, done_bytes, total_bytes)

        check_experts(manifest, self._installed.manifests())
        for part, place in ((manifest, folder), *parts_of(manifest, folder)):
            if may_obtain:
                obtaining.obtain(
                    part,
                    place,
                    local_source=self._local_source,
                    hub_endpoint=self._hub_endpoint,
                    hub_token=self._hub_token,
                    progress=watched,
                )
            else:
                _require(part, place)
        return open_encoder(manifest, folder, threads=self._threads)

    def _publish(self, entry: Entry, encoder: Encoder) -> None:
        with self._publishing:
            if self._closed:
                encoder.close()
                raise ShuttingDown("the service stopped while the encoder was loading")
            batcher = Batcher(
                encoder,
                queue=self._queue,
                batch_tokens=self._batch_tokens,
                niceness=self._niceness,
            )
            entry.loaded = Loaded(encoder, batcher)
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
