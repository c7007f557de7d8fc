"""The encoders that are installed: which folders there are, and what each says that it is.

A folder is an encoder if it has an `encoder.toml`, or is laid out as hubs publish models. Folders
are looked at again whenever somebody asks (`scan`): one that came is an encoder, one that went is
none, and one whose description changed is read anew. What is loaded, or being loaded, stays as it
is until it is unloaded.
"""

from __future__ import annotations

import difflib
import logging
import threading
from dataclasses import dataclass, field
from pathlib import Path

from app.encoders.base import Encoder, EncoderInfo, Status
from app.encoders.batcher import Batcher
from app.encoders.files import replacing
from app.encoders.hub.folder import CONFIG, MODULES
from app.encoders.hub.layout import discover, with_hashes
from app.encoders.manifest import FILE_NAME, Manifest, Variant, read_manifest
from app.encoders.manifest.writing import toml_from_manifest
from app.encoders.router import check_experts
from app.errors import EncoderNotFound, StoredDataError
from app.types import NAME

logger = logging.getLogger(__name__)

_SHOWN = 64  # characters of an unknown name that an error repeats


@dataclass(frozen=True, slots=True)
class Loaded:
    """An encoder in memory, and its queue."""

    encoder: Encoder
    batcher: Batcher


@dataclass(slots=True, eq=False)
class Entry:
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
    loaded: Loaded | None = None
    loading: threading.Lock = field(default_factory=threading.Lock)

    @property
    def busy(self) -> bool:
        """Whether it is loaded, or being loaded."""
        return self.loaded is not None or self.loading.locked()

    def info(self) -> EncoderInfo:
        """What the service shows of it."""
        manifest, (status, detail) = self.manifest, self.state
        if manifest is None:
            return EncoderInfo(self.name, 0, 0, "unknown", status, detail, 0, "unknown", "unknown")
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
            unit=manifest.unit,
            token_dimension=manifest.token_dimension,
        )


class Installed:
    """All encoders below a folder. Thread-safe; scans are one at a time.

    variant  which graph of a folder without a manifest is used

    Raises StoredDataError if a manifest cannot be read: an operator put it there.
    """

    def __init__(self, models_dir: Path, variant: Variant) -> None:
        self._models_dir = models_dir
        self._variant: Variant = variant
        self._scanning = threading.Lock()
        self._entries: dict[str, Entry] = {}
        self.scan(strictly=True)

    def entries(self) -> list[Entry]:
        """All entries, by name, as the last scan found them."""
        return list(self._entries.values())

    def entry(self, name: str) -> Entry:
        """The entry of a name. Raises EncoderNotFound, which names the closest installed ones."""
        try:
            return self._entries[name]
        except KeyError:
            raise _not_found(name, list(self._entries)) from None

    def found(self, name: str) -> Entry:
        """The entry of a name; looks for new folders if there is none."""
        if name not in self._entries:
            self.scan()
        return self.entry(name)

    def manifests(self) -> dict[str, Manifest]:
        """What encoders are, by name; without those whose description cannot be read."""
        entries = self._entries.items()
        return {name: entry.manifest for name, entry in entries if entry.manifest is not None}

    def scan(self, *, strictly: bool = False) -> None:
        """Look at the folders there are. The entries are replaced as a whole: readers need no lock.

        strictly  raise StoredDataError for a manifest that cannot be read, not just say so
        """
        with self._scanning:
            entries: dict[str, Entry] = {}
            for folder in sorted(self._models_dir.glob("*")):
                known = self._entries.get(folder.name)
                stamp = _stamp(folder)
                if known is not None and (stamp == known.stamp or known.busy):
                    entries[folder.name] = known
                elif stamp:
                    entries[folder.name] = self._read(folder, stamp, strictly=strictly)
            gone = self._entries.keys() - entries.keys()
            kept = {name: self._entries[name] for name in gone if self._entries[name].busy}
            self._entries = dict(sorted({**entries, **kept}.items()))
        if strictly:
            manifests = self.manifests()
            for manifest in manifests.values():
                check_experts(manifest, manifests)

    def adopt(self, entry: Entry, manifest: Manifest) -> Manifest:
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

    def _read(self, folder: Path, stamp: tuple[int, ...], *, strictly: bool) -> Entry:
        entry = Entry(folder.name, folder, stamp)
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


def _not_found(name: str, installed: list[str]) -> EncoderNotFound:
    name = name if len(name) <= _SHOWN else name[:_SHOWN] + "…"  # it is the caller's, and unbounded
    closest = difflib.get_close_matches(name, installed, n=3, cutoff=0.4) or installed[:3]
    hint = f"the closest installed: {', '.join(closest)}" if closest else "none is installed"
    return EncoderNotFound(f"there is no encoder named {name!r}; {hint}", encoder=name)
