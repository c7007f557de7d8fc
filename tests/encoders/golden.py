"""Write the golden vectors of `contracts.CASES`: the first numbers of every input's vector.

    python -m tests.encoders.golden

Look at the difference before committing it: a vector that changed needs a new space version.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from app.encoders.direct import encode
from tests.encoders.contracts import CASES
from tests.encoders.pipelines import opened

PATH = Path(__file__).parent / "golden.json"
SHOWN = 6
"""Numbers of a vector that are kept: a change that spares them all is hard to make."""


def write_golden() -> None:
    """Encode every case and write what came out."""
    golden = {}
    for case in CASES:
        with tempfile.TemporaryDirectory() as scratch:
            _, encoder = opened(case.write(Path(scratch) / "subject"))
            vectors = encode(encoder, case.inputs, "document").vectors[:, :SHOWN]
            encoder.close()
        golden[case.name] = [[round(float(number), 6) for number in row] for row in vectors]
    lines = (f" {json.dumps(name)}: {json.dumps(rows)}" for name, rows in golden.items())
    PATH.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    write_golden()
