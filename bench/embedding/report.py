"""The report of `bench.embed`: tables as Markdown, verdicts, and the plot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.encoder_latency import print_latencies
from bench.measures import table

BATCHES = (1, 4, 16, 64, 256)
LENGTHS = (8, 16, 32, 64, 128, 250)
REFERENCE = "sentence-transformers"
FLOPS_PER_TOKEN = 2 * 6 * (4 * 384 * 384 + 2 * 384 * 1536)  # of the weights' products alone
SCIFACT_PUBLISHED = 0.645


def print_report(result: Mapping[str, Any]) -> None:
    """Print all tables."""
    print(f"# Text encoders\n\n{result['machine']}; all-MiniLM-L6-v2, 256 tokens.\n")
    _throughput(result)
    _latency(result)
    print("\n## One query while texts are imported (likewise int8)\n")
    print_latencies(result["beside_import"])
    _quality(result)
    print("\n## Targets\n")
    print(table(["target", "measured", ""], [[*row] for row in verdicts(result)]))


def _throughput(result: Mapping[str, Any]) -> None:
    short, long = (result["throughput"][kind] for kind in ("short", "long"))
    print("## Texts per second\n")
    rows = []
    for name in short:
        cells = []
        for figures in (short, long):
            mine = figures[name]["median"]
            base = figures.get(REFERENCE, {}).get("median")
            spread = sorted(figures[name]["rounds"])
            cells += [
                f"{mine:,.0f} (±{(spread[-1] / spread[0] - 1) * 50:.0f} %)",
                "" if base is None else f"{mine / base:.2f}",
            ]
        rows.append([name, *cells])
    print(table(["system", "short", f"÷ {REFERENCE}", "long", f"÷ {REFERENCE}"], rows))
    print("\n## Texts per second by the texts of one request or call (short)\n")
    print(
        table(
            ["system", *map(str, BATCHES)],
            [
                [name, *(f"{value:,.0f}" for value in row)]
                for name, row in result["batches"].items()
            ],
        )
    )
    print("\n## Tokens per second by length\n")
    print(
        table(
            ["system", *(f"{length + 2} tokens" for length in LENGTHS)],
            [
                [name, *(f"{value:,.0f}" for value in row)]
                for name, row in result["lengths"].items()
            ],
        )
    )
    peaks = result["peaks"]
    print(
        f"\nProducts of matrices alone reach {peaks['fp32']:,.0f} GFLOP/s in float32 and "
        f"{peaks['int8']:,.0f} GOP/s in int8 on all cores. Of that the encoder's weights use, at "
        f"{LENGTHS[-1] + 2} tokens: "
        + ", ".join(f"{share(result, variant):.0%} ({variant})" for variant in ("int8", "fp32"))
        + "."
    )


def _numbers(lines: Mapping[str, list[float]]) -> list[list[str]]:
    return [[name, *(f"{value:,.0f}" for value in row)] for name, row in lines.items()]


def share(result: Mapping[str, Any], variant: str) -> float:
    """Which share of the peak the products with weights reach at the longest length."""
    per_second = result["lengths"][f"likewise {variant}"][-1]
    return float(per_second * FLOPS_PER_TOKEN / 1e9 / result["peaks"][variant])


def _latency(result: Mapping[str, Any]) -> None:
    print("\n## One short text a request\n")
    rows = [
        [
            name,
            connections,
            f"{told['per_second']:,.0f}",
            f"{told['p50_ms']:.2f}",
            f"{told['p99_ms']:.2f}",
        ]
        for name, figures in result["latency"].items()
        for connections, told in figures.items()
    ]
    print(table(["system", "connections", "requests/s", "p50 ms", "p99 ms"], rows))


def _quality(result: Mapping[str, Any]) -> None:
    print("\n## Quality\n")
    rows = []
    for name, told in result["quality"].items():
        cosine = told.get("cosine")
        rows.append(
            [
                name,
                f"{told['stsb']:.4f}",
                f"{told['scifact']:.4f}" if "scifact" in told else "not run",
                f"{cosine['least']:.6f} / {cosine['mean']:.6f}" if cosine else "",
            ]
        )
    header = ["system", "STS-B Spearman", "SciFact nDCG@10", f"cosine to {REFERENCE}: least / mean"]
    print(table(header, rows))


def verdicts(result: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What was to be reached, what was, and whether."""
    rows: list[tuple[str, str, str]] = []

    def against(title: str, mine: str, theirs: str, least: float) -> None:
        found = []
        for kind in ("short", "long"):
            figures = result["throughput"][kind]
            if theirs in figures:
                found.append(figures[mine]["median"] / figures[theirs]["median"])
        if found:
            shown = " and ".join(f"{ratio:.2f}" for ratio in found)
            rows.append((title, shown, "met" if min(found) >= least else "missed"))

    against("int8 ≥ 4.5 × sentence-transformers, short and long", "likewise int8", REFERENCE, 4.5)
    against("int8 ≥ 2 × FastEmbed", "likewise int8", "FastEmbed", 2.0)
    against("(int8 beside FastEmbed on an int8 graph)", "likewise int8", "FastEmbed int8", 2.0)
    against("fp32 ≥ 2 × sentence-transformers", "likewise fp32", REFERENCE, 2.0)
    against("service ≥ .9 × our loop, int8", "likewise int8", "our loop int8", 0.9)
    against("service ≥ .9 × our loop, fp32", "likewise fp32", "our loop fp32", 0.9)
    for kind, told in result["beside_import"]["kinds"].items():
        ratio = told["ratio"]["p99"]
        title = f"p99 of one query ({kind}) during a bulk import ≤ 2.5 × idle"
        rows.append((title, f"{ratio:.2f}", "met" if ratio <= 2.5 else "missed"))
    for variant, least in (("int8", 0.815), ("fp32", 0.818)):
        told = result["quality"][f"likewise {variant}"]
        rows.append(
            (
                f"STS-B ≥ {least} ({variant})",
                f"{told['stsb']:.4f}",
                "met" if told["stsb"] >= least else "missed",
            )
        )
        if "scifact" in told:
            off = abs(told["scifact"] - SCIFACT_PUBLISHED)
            rows.append(
                (
                    f"SciFact nDCG@10 within .005 of {SCIFACT_PUBLISHED} ({variant})",
                    f"{told['scifact']:.4f}",
                    "met" if off <= 0.005 else "missed",
                )
            )
    cosine = result["quality"]["likewise fp32"].get("cosine")
    if cosine:
        rows.append(
            (
                "cosine of fp32 to the reference > .9999 on 1,000 texts",
                f"{cosine['least']:.6f}",
                "met" if cosine["least"] > 0.9999 else "missed",
            )
        )
    return rows


def draw(file: Path, result: Mapping[str, Any]) -> None:
    """Draw throughput against batch and length, and latencies."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, (left, middle, right) = pyplot.subplots(1, 3, figsize=(16, 4.6))
    for panel, key, places, title, unit in (
        (left, "batches", BATCHES, "short texts", "texts of one request or call"),
        (middle, "lengths", [length + 2 for length in LENGTHS], "by length", "tokens of a text"),
    ):
        for name, row in result[key].items():
            panel.plot(
                places, row, marker="o", label=name, linewidth=2 if "likewise" in name else 1
            )
        panel.set(
            title=title,
            xlabel=unit,
            ylabel="texts/s" if key == "batches" else "tokens/s",
            xscale="log",
            yscale="log",
            xticks=places,
            xticklabels=[str(place) for place in places],
        )
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    left.legend(fontsize=8)
    bars = [
        (f"{name}, {connections}", told["p50_ms"], told["p99_ms"])
        for name, figures in result["latency"].items()
        for connections, told in figures.items()
    ]
    names, middles, ends = zip(*bars, strict=True)
    right.barh(names, ends, color="lightgray", label="p99")
    right.barh(names, middles, color="tab:blue", label="p50")
    right.set(title="one short text a request, by connections", xlabel="ms", xscale="log")
    right.invert_yaxis()
    right.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(file, dpi=110)
