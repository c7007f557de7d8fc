"""The API attacked along its own OpenAPI document: every check of schemathesis, stateful too.

A real server in a process of its own. No answer may be a 5xx, of an undeclared status or shape,
accept what the document refuses, or find what was deleted. `make fuzz` runs it for longer.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONFIG = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = int(os.environ.get("FUZZ_REQUESTS", "5"))
"""Most requests that are made up for one operation in each phase."""


def test_no_request_made_up_from_the_document_gets_an_answer_against_it(
    service: str, tmp_path: Path
) -> None:
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--no-color"),
            *("--config-file", str(CONFIG)),
            *("run", f"{service}/openapi.json"),
            *("--max-examples", str(EXAMPLES)),
            *("--seed", "1"),
            *("--suppress-health-check", "all"),
            *("--warnings", "off"),
        ],
        env=os.environ | {"SCHEMATHESIS_HOOKS": "tests.fuzz.serializers", "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,  # it leaves a database of what it found
        capture_output=True,
        text=True,
        timeout=3600,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    generated = re.search(r"(\d+) generated", ran.stdout)
    assert generated is not None, ran.stdout
    print(f"schemathesis: {generated[0]}, no finding")
    assert int(generated[1]) > 100
