"""Pull a model from a hub: what is needed of it, verified, and with a manifest.

Only what is used is fetched: the configuration first, which decides together with the list of
files which weights those are (`app.encoders.hub.weights`); then these. Everything is collected in
a folder below `<models>/.pulling`, where an interrupted pull goes on, and moved to
`<models>/<name>` as a whole. Of two pulls of the same name, one waits for the other.

The manifest written there names the commit and the sha256 of every file, so that the model can be
verified, and obtained again from anywhere.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from app.encoders.base import Progress
from app.encoders.files import alone
from app.encoders.hub.answers import HubError, HubFile, HubMissing, Repository
from app.encoders.hub.client import Hub, check_room
from app.encoders.hub.folder import CONFIG, ModelFolder
from app.encoders.hub.layout import (
    NETWORK_CONFIGS,
    ROOT_CONFIGS,
    discover,
    no_weights,
    why_not_built,
    with_hashes,
)
from app.encoders.hub.modules import read_modules
from app.encoders.hub.weights import beside, choose
from app.encoders.manifest import FILE_NAME, HubSource, Manifest, Variant, read_manifest
from app.encoders.manifest.writing import toml_from_manifest
from app.errors import (
    EncoderNotFound,
    EncoderUnavailable,
    InvalidName,
    LikewiseError,
    StoredDataError,
)
from app.types import NAME

WORKSHOP = ".pulling"

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Pulled:
    """A model that is there now.

    fresh  False if it was there before
    notes  what was assumed of it, or is not what was asked for
    """

    manifest: Manifest
    folder: Path
    fresh: bool
    notes: tuple[str, ...]


def pull(
    hub: Hub,
    wanted: str,
    models: Path,
    *,
    name: str | None = None,
    variant: Variant = "int8",
    progress: Progress,
) -> Pulled:
    """Pull `<repository>` or `<repository>@<revision>` and write its manifest.

    name     of the encoder; by default the last part of the repository's
    variant  which weights to take, if there are several

    Raises InvalidName; EncoderNotFound if the hub has no such thing; EncoderUnavailable if it
    cannot be had or used, or another model has its name.
    """
    repository, _, revision = wanted.partition("@")
    name = name or repository.rpartition("/")[2]
    if not _REPOSITORY.fullmatch(repository) or not NAME.fullmatch(name):
        raise InvalidName(
            "expected a repository such as owner/model or owner/model@revision, and a name of "
            "letters, digits, `_`, `.` and `-`"
        )
    try:
        found = hub.describe(repository, revision or "main")
        lock = models / WORKSHOP / f"{name}.lock"
        with alone(lock, lambda: progress(f"wait for {lock}", 0, 0)):
            return _pull(hub, found, models, name, variant, progress)
    except HubMissing as exc:
        raise EncoderNotFound(str(exc), encoder=name) from exc
    except HubError as exc:
        raise EncoderUnavailable(str(exc), encoder=name) from exc
    except StoredDataError as exc:  # what was fetched cannot be used
        raise EncoderUnavailable(exc.detail, encoder=name) from exc


def _pull(
    hub: Hub, found: Repository, models: Path, name: str, variant: Variant, progress: Progress
) -> Pulled:
    folder = models / name
    source = HubSource(found.name, found.commit)
    if folder.exists():
        return _there_already(folder, source)
    workshop = models / WORKSHOP / f"{name}@{found.commit[:12]}"
    workshop.mkdir(parents=True, exist_ok=True)
    files = {file.path: file for file in found.files}
    configs = _configs(files)
    _download(hub, found, [files[path] for path in configs], workshop, progress)
    model = ModelFolder(workshop, name)
    with model.understood():
        modules = read_modules(model)
    root = modules.network
    _download(hub, found, _at(files, root, NETWORK_CONFIGS), workshop, progress)
    with model.understood():
        reason = why_not_built(model, modules)
    chosen = choose(files, variant, buildable=not reason, root=root)
    if chosen is None:
        raise HubError(f"{found.name} {no_weights(files, reason)}")
    layers = [path for path in files if re.fullmatch(r"\d+_\w+/model\.safetensors", path)]
    wanted = [files[path] for path in (*layers, chosen.path, *beside(chosen.path, files))]
    check_room(workshop, sum(max(file.size_bytes, 0) for file in wanted))
    _download(hub, found, wanted, workshop, progress)
    discovered = discover(workshop, name, variant)
    manifest = replace(
        with_hashes(discovered.manifest, workshop),
        owned_by=found.name.rpartition("/")[0] or "unknown",
        license=found.license,
        released=_released(found.released) or discovered.manifest.released,
        space=f"{found.name}@1",
        sources=(source,),
    )
    comment = f"Written by `likewise models pull {found.name}@{found.commit}`."
    spelled = toml_from_manifest(manifest, (comment, *discovered.notes))
    (workshop / FILE_NAME).write_text(spelled, encoding="utf-8")
    workshop.rename(folder)
    return Pulled(read_manifest(folder), folder, True, discovered.notes)


def _there_already(folder: Path, source: HubSource) -> Pulled:
    try:
        manifest = read_manifest(folder)
    except LikewiseError:
        manifest = None
    if manifest is None or source not in manifest.sources:
        raise EncoderUnavailable(
            f"{folder} is there already and is not {source.repository} at this revision: remove it "
            "first, or choose another name",
            encoder=folder.name,
        )
    return Pulled(manifest, folder, False, ())


def _download(
    hub: Hub, found: Repository, wanted: list[HubFile], folder: Path, progress: Progress
) -> None:
    for file in wanted:
        path = folder / file.path
        # What is there under its name was verified before it got it.
        if not (path.is_file() and file.size_bytes in (-1, path.stat().st_size)):
            hub.download(found.name, found.commit, file, folder, progress)


def _configs(files: Mapping[str, HubFile]) -> list[str]:
    """The small files that say which modules there are, and what each does."""
    modules = re.compile(r"\d+_\w+/config\.json")
    return [path for path in files if path in (*ROOT_CONFIGS, CONFIG) or modules.fullmatch(path)]


def _at(files: Mapping[str, HubFile], root: str, names: tuple[str, ...]) -> list[HubFile]:
    return [files[f"{root}{name}"] for name in names if f"{root}{name}" in files]


def _released(day: str) -> int | None:
    try:
        moment = datetime.datetime.fromisoformat(day).replace(tzinfo=datetime.timezone.utc)
    except ValueError:
        return None
    return int(moment.timestamp())
