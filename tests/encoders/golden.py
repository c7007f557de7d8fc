"""Write the golden vectors of `contracts.CASES`: the first numbers of what is made of every input.

    python -m tests.encoders.golden

Look at the difference before committing it: a vector that changed needs a new space version.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from app.encoders.base import OutputKind
from tests.encoders.contracts import CASES, Case, made, shown
from tests.encoders.pipelines import opened

PATH = Path(__file__).parent / "golden.json"
SHOWN = 6
"""Numbers of a vector that are kept: a change that spares them all is hard to make."""


def named(case: Case, output: OutputKind) -> str:
    """What the golden vectors of a case's output are kept under."""
    return case.name if output == "dense" else f"{case.name}: {output}"


def write_golden() -> None:
    """Encode every case and write what came out."""
    golden = {}
    for case in CASES:
        with tempfile.TemporaryDirectory() as scratch:
            _, encoder = opened(case.write(Path(scratch) / "subject"))
            for output in case.outputs:
                every = made(encoder, case.inputs, output)
                golden[named(case, output)] = [shown(output, one, SHOWN) for one in every]
            encoder.close()
    lines = (f" {json.dumps(name)}: {json.dumps(rows)}" for name, rows in golden.items())
    PATH.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    write_golden()
