"""The installed encoders by name: what they are, whether they are loaded, and the way to use them.

An encoder is a folder below `models/` with an `encoder.toml`, or as hubs publish models. The
registry reads manifests and configurations only; `load` obtains, builds and opens a model, `submit`
hands texts to its batcher, `unload` lets go of it.

Folders are looked at again whenever encoders are listed, one is loaded, or one is named that is
not known: a folder that came is an encoder, one that went is none, and one whose description
changed is read anew. What is loaded, or being loaded, stays as it is until it is unloaded.

A folder without a manifest gets one when it is first loaded: what was read from its configuration,
with the sha256 of every file. From then on, nothing about it is guessed again.

Thread-safe: loading or unloading an encoder blocks nobody but those who do the same to the same
one. Scans are one at a time. `submit` takes no lock.
"""

from __future__ import annotations

import difflib
import hashlib
import logging
import math
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
    LaneName,
    OutputKind,
    Progress,
    Status,
    TextKind,
    no_progress,
)
from app.encoders.batcher import Batcher
from app.encoders.build import RECORD, graph_path, is_built
from app.encoders.files import replacing
from app.encoders.hub.folder import CONFIG, MODULES
from app.encoders.hub.layout import discover, with_hashes
from app.encoders.inputs import Input
from app.encoders.manifest import (
    FILE_NAME,
    BuiltGraph,
    ImageSpec,
    Manifest,
    TextSpec,
    Variant,
    read_manifest,
)
from app.encoders.manifest.pointset import PointSetSpec
from app.encoders.manifest.record import RecordSpec
from app.encoders.manifest.router import RouterSpec
from app.encoders.manifest.writing import toml_from_manifest
from app.encoders.opening import open_encoder, parts_of
from app.encoders.router import check_experts
from app.errors import (
    EncoderNotFound,
    EncoderUnavailable,
    EncodingFailed,
    InvalidField,
    InvalidRequest,
    LikewiseError,
    ShuttingDown,
    StoredDataError,
)
from app.types import NAME

UNLOADED = "unloaded on request"

logger = logging.getLogger(__name__)

_SHOWN = 64  # characters of an unknown name that an error repeats


@dataclass(frozen=True, slots=True)
class _Loaded:
    encoder: Encoder
    batcher: Batcher


@dataclass(slots=True, eq=False)
class _Entry:
    """One installed encoder. `state` is replaced as a whole, so readers need no lock.

    manifest   what it is; None if that cannot be read: `state` says why
    notes      what was assumed of a folder without a manifest
    stamp      of the files that describe it, to see that they changed
    """

    name: str
    folder: Path
    stamp: tuple[int, ...]
    manifest: Manifest | None = None
    notes: tuple[str, ...] = ()
    state: tuple[Status, str] = ("unavailable", "not loaded")
    loaded: _Loaded | None = None
    loading: threading.Lock = field(default_factory=threading.Lock)

    @property
    def cuts_nothing(self) -> bool:
        """Whether its inputs are read whole, however long they are."""
        return self.manifest is not None and isinstance(
            self.manifest.spec, ImageSpec | RecordSpec | PointSetSpec
        )


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
        self._models_dir = models_dir
        self._threads = threads
        self._queue = queue
        self._batch_tokens = batch_tokens
        self._niceness = niceness
        self._hub_endpoint = hub_endpoint
        self._hub_token = hub_token
        self._variant: Variant = variant
        self._local_source = local_source
        self._closed = False
        self._publishing = threading.Lock()
        self._scanning = threading.Lock()
        self._entries: dict[str, _Entry] = {}
        self._scan(strictly=True)

    def describe_all(self) -> list[EncoderInfo]:
        """Every installed encoder, by name. Looks for folders that came or went."""
        self._scan()
        return [_info(entry) for entry in self._entries.values()]

    def describe(self, name: str) -> EncoderInfo:
        """One encoder. Raises EncoderNotFound, which names the closest installed ones."""
        return _info(self._found(name))

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
        self._scan()
        entry = self._entry(name)
        with entry.loading:
            if entry.loaded is not None:
                return _info(entry)
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
        return _info(entry)

    def unload(self, name: str, grace_s: float = 60.0) -> EncoderInfo:
        """Let go of an encoder, once what was accepted is done; its memory is free when it returns.

        grace_s  how long accepted texts may take; then they fail with ShuttingDown

        From the call on, `submit` raises EncoderUnavailable until somebody loads it again. A load
        that is under way ends first. Raises EncoderNotFound.
        """
        entry = self._found(name)
        with entry.loading:
            loaded, entry.loaded = entry.loaded, None
            if entry.manifest is not None:
                entry.state = ("unavailable", UNLOADED)
            if loaded is not None:
                loaded.batcher.close(grace_s)
                loaded.encoder.close()
        return _info(entry)

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
        entry = self._entry(name)
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
            if cut == "never" and self._entry(name).cuts_nothing:
                return list(inputs)
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

    def _found(self, name: str) -> _Entry:
        """The entry of a name; looks for new folders if there is none."""
        if name not in self._entries:
            self._scan()
        return self._entry(name)

    def _scan(self, *, strictly: bool = False) -> None:
        """Look at the folders there are. The entries are replaced as a whole: readers need no lock.

        strictly  raise StoredDataError for a manifest that cannot be read, not just say so
        """
        with self._scanning:
            entries: dict[str, _Entry] = {}
            for folder in sorted(self._models_dir.glob("*")):
                known = self._entries.get(folder.name)
                stamp = _stamp(folder)
                if known is not None and (stamp == known.stamp or _is_busy(known)):
                    entries[folder.name] = known
                elif stamp:
                    entries[folder.name] = self._read(folder, stamp, strictly=strictly)
            gone = self._entries.keys() - entries.keys()
            kept = {name: self._entries[name] for name in gone if _is_busy(self._entries[name])}
            self._entries = dict(sorted({**entries, **kept}.items()))
        if strictly:
            manifests = self._manifests()
            for manifest in manifests.values():
                check_experts(manifest, manifests)

    def _manifests(self) -> dict[str, Manifest]:
        entries = self._entries.items()
        return {name: entry.manifest for name, entry in entries if entry.manifest is not None}

    def _read(self, folder: Path, stamp: tuple[int, ...], *, strictly: bool) -> _Entry:
        entry = _Entry(folder.name, folder, stamp)
        listed = (folder / FILE_NAME).is_file()
        try:
            if listed:
                entry.manifest = read_manifest(folder)
            else:
                discovered = discover(folder, folder.name, self._variant)
                entry.manifest, entry.notes = discovered.manifest, discovered.notes
        except StoredDataError as exc:
            if listed and strictly:
                raise
            entry.state = ("unavailable", exc.detail)
        except Exception as exc:
            # A folder holds whatever somebody put there; no other encoder may suffer from it.
            if strictly:
                raise
            logger.exception(
                "a model's folder cannot be read", extra={"facts": {"encoder": entry.name}}
            )
            entry.state = ("unavailable", f"{entry.name} cannot be read: {type(exc).__name__}")
        return entry

    def _adopt(self, entry: _Entry, manifest: Manifest) -> Manifest:
        """Write the manifest of a folder that has none, with the sha256 of its files."""
        hashed = with_hashes(manifest, entry.folder)
        comments = ("Read from the folder's own configuration when it was first loaded.",)
        spelled = toml_from_manifest(hashed, (*comments, *entry.notes))
        for note in entry.notes:
            logger.warning("%s: %s", entry.name, note, extra={"facts": {"encoder": entry.name}})
        try:
            with replacing(entry.folder / FILE_NAME) as file:
                file.write(spelled.encode())
        except OSError as exc:
            logger.warning(
                "%s: no %s could be written (%s): its files are not checked",
                *(entry.name, FILE_NAME, exc.strerror),
                extra={"facts": {"encoder": entry.name}},
            )
        entry.manifest, entry.stamp = hashed, _stamp(entry.folder)
        return hashed

    def _open(
        self, entry: _Entry, manifest: Manifest, may_obtain: bool, progress: Progress
    ) -> Encoder:
        folder = entry.folder
        if not (folder / FILE_NAME).is_file():
            manifest = self._adopt(entry, manifest)

        def watched(what: str, done_bytes: int, total_bytes: int) -> None:
            if self._closed:
                raise ShuttingDown("the service stopped while the encoder was loading")
            progress(what, done_bytes, total_bytes)

        check_experts(manifest, self._manifests())
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

    def _publish(self, entry: _Entry, encoder: Encoder) -> None:
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


def _is_busy(entry: _Entry) -> bool:
    return entry.loaded is not None or entry.loading.locked()


def _stamp(folder: Path) -> tuple[int, ...]:
    """When the files that describe an encoder were written; empty if it is none.

    Without a manifest all files may, those that are still to come included.
    """
    if not NAME.fullmatch(folder.name):
        return ()
    try:
        if (folder / FILE_NAME).is_file():
            return ((folder / FILE_NAME).stat().st_mtime_ns,)
        if not any((folder / name).is_file() for name in (MODULES, CONFIG)):
            return ()
        found = (folder, *sorted(folder.glob("*")), *sorted(folder.glob("*/*")))
        return tuple(path.stat().st_mtime_ns for path in found)
    except OSError:  # it goes while we look, or is none of ours
        return ()


def _info(entry: _Entry) -> EncoderInfo:
    manifest, (status, detail) = entry.manifest, entry.state
    if manifest is None:
        return EncoderInfo(entry.name, 0, 0, "unknown", status, detail, 0, "unknown", "unknown")
    spec = manifest.spec
    return EncoderInfo(
        name=manifest.name,
        dimension=manifest.dimension,
        max_tokens=spec.max_input,
        modality=manifest.modality,
        status=status,
        detail=detail,
        created=manifest.released,
        owned_by=manifest.owned_by,
        space=manifest.space,
        kind=manifest.kind,
        outputs=manifest.outputs,
        dimensions=manifest.dimensions,
        unit=_is_unit(manifest),
    )


def _is_unit(manifest: Manifest) -> bool:
    """Whether dense vectors have length one."""
    spec = manifest.spec
    if isinstance(spec, ImageSpec):
        return spec.output.normalise or manifest.views is not None
    if isinstance(spec, RecordSpec | PointSetSpec | RouterSpec):
        return spec.normalise or manifest.views is not None
    return not (isinstance(spec, TextSpec) and spec.output and not spec.output.normalise)


def _not_found(name: str, installed: list[str]) -> EncoderNotFound:
    name = name if len(name) <= _SHOWN else name[:_SHOWN] + "…"  # it is the caller's, and unbounded
    closest = difflib.get_close_matches(name, installed, n=3, cutoff=0.4) or installed[:3]
    hint = f"the closest installed: {', '.join(closest)}" if closest else "none is installed"
    return EncoderNotFound(f"there is no encoder named {name!r}; {hint}", encoder=name)
