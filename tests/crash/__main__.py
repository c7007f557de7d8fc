"""The long run: `make crash-test`."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from app.storage.write_points import WritePoint
from tests.crash.rounds import RESTORING, crash


def main() -> None:
    """Run, print the table, and end with 1 on any fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="kills at random moments")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--points", default="", help="write points instead of all, with commas")
    parser.add_argument("--keep", type=Path, help="work in this folder and leave it")
    given = parser.parse_args()
    names = given.points.split(",") if given.points else list(WritePoint.__members__)
    points = [WritePoint[name] for name in names if name != "none"]
    print(f"seed {given.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        report = crash(
            given.keep or Path(folder),
            seed=given.seed,
            kills=given.kills,
            points=points,
            builds=given.kills // 20,
            stops=given.kills // 20,
            restoring=[point for point in RESTORING if point in points],
            say=lambda line: print(line, file=sys.stderr, flush=True),
        )
    print(report.table())
    sys.exit(1 if report.faults or report.recall < 0.8 else 0)


if __name__ == "__main__":
    main()
