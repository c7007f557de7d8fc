"""`make stress`: minutes of it, with figures.

python -m tests.stress [seconds of each of the four parts]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from .stress import run


def main() -> int:
    """Run engine and HTTP, with ordinary and with hasty threads; 1 if anything was wrong."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    ordinary = sys.getswitchinterval()
    wrong = False
    for number, (over_http, interval) in enumerate(
        (over_http, interval) for interval in (ordinary, 1e-5) for over_http in (False, True)
    ):
        sys.setswitchinterval(interval)
        with tempfile.TemporaryDirectory() as folder:
            began = time.monotonic()
            tally = run(Path(folder) / "data", over_http=over_http, seconds=seconds, seed=number)
            took = time.monotonic() - began
        reads, writes = sum(tally.reads.values()), sum(tally.writes.values())
        print(
            f"{'http' if over_http else 'engine'}, threads switch every {interval * 1e3:g} ms: "
            f"{(reads + writes) / seconds:.0f} operations/s; {reads} reads checked "
            f"({dict(tally.reads)}), {writes} writes ({dict(tally.writes)}), "
            f"built {dict(tally.built)}, "
            f"recall {tally.near / max(1, 10 * tally.reads['still']):.3f}; "
            f"torn or wrong: {len(tally.faults)}, "
            f"logged warnings: {len(tally.logged)}, left over: {tally.left_threads} threads, "
            f"{tally.left_descriptors} descriptors, {tally.left_folders} folders; {took:.0f} s",
            flush=True,
        )
        for fault in (*tally.faults, *tally.logged):
            wrong = True
            print(fault, flush=True)
        wrong |= not tally.built  # then builds were not among what was going on
        wrong |= (tally.left_threads, tally.left_descriptors, tally.left_folders) != (0, 0, 0)
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
