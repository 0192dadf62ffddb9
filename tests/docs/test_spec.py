"""SPEC.md and meter-behaviour.md say what the code does."""

import re
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_tables_are_what_the_code_makes():
    command = [sys.executable, DOCS / "generate_spec.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_sections_that_documents_name_exist():
    spec = (DOCS / "SPEC.md").read_text(encoding="utf-8")
    sections = set(re.findall(r"^#+ ([\d.]+?)\.? ", spec, re.MULTILINE))
    assert len(sections) == len(re.findall(r"^#+ [\d.]+ ", spec, re.MULTILINE)), "each number once"
    named = set(re.findall(r"\bsection (\d+(?:\.\d+)?)", spec))
    for document in DOCS.glob("*.md"):
        named |= set(re.findall(r"\bSPEC (\d+(?:\.\d+)?)", document.read_text(encoding="utf-8")))
    assert named <= sections, named - sections
