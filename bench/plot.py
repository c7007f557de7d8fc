"""The plot of `bench.filtered`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.measures import RECALL, Point
from bench.targets import OURS


def draw(
    file: Path,
    workloads: Sequence[str],
    lines: Mapping[str, Mapping[str, Sequence[Point]]],
    walk: Mapping[str, Sequence[Point]],
) -> None:
    """Draw queries per second against recall.

    A panel for each workload with a line for each system, and one for the walk if it was measured.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    rows = -(-(len(workloads) + bool(walk)) // 2)
    figure, panels = pyplot.subplots(rows, 2, figsize=(13, 4 * rows), squeeze=False)
    colors = dict(zip(lines, pyplot.get_cmap("tab20")(np.linspace(0, 1, 20)), strict=False))
    handles: dict[str, Any] = {}
    for panel, name in zip(panels.flat, workloads, strict=False):
        for label, swept in lines.items():
            points = swept.get(name, [])
            single = len(points) == 1
            (handles[label],) = panel.plot(
                [point.recall for point in points],
                [point.per_second for point in points],
                color=colors.get(label, "black"),
                marker="*" if label == OURS else "o",
                markersize=13 if label == OURS else 6 if single else 3,
                linewidth=2 if label.startswith(OURS) else 1,
                zorder=3 if label.startswith(OURS) else 2,
            )
        framed(panel, name)
    spare = list(panels.flat[len(workloads) :])
    if walk:
        panel = spare.pop(0)
        for name, points in walk.items():
            panel.plot(
                [point.recall for point in points],
                [point.per_second for point in points],
                marker="o",
                markersize=3,
                label=name,
            )
        framed(panel, "the walk itself, over the same graph")
        panel.legend(loc="lower left")
    for panel in spare:
        panel.axis("off")
    figure.legend(list(handles.values()), list(handles), loc="lower center", ncols=5)
    figure.tight_layout(rect=(0, 0.5 / rows / 2, 1, 1))
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


def framed(panel: Any, title: str) -> None:
    """Give a panel its axes."""
    panel.axvline(RECALL, color="grey", linewidth=0.7, linestyle=":")
    panel.set(title=title, xlim=(0.6, 1.01), yscale="log", xlabel="recall@10", ylabel="queries/s")
    panel.grid(alpha=0.3)
