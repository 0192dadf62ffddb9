"""SPEC.md says what the code does."""

import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_spec_tables_are_what_the_code_makes():
    command = [sys.executable, DOCS / "generate_spec.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
