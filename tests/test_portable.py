"""The very text of every portable_*.py, run on the real VMs."""

from pathlib import Path

import pytest

from gasrig.targets import run_script

TESTS = Path(__file__).parent
FILES = sorted(file for file in TESTS.rglob("portable_*.py") if "\ndef test_" in file.read_text(encoding="utf-8"))

RUN_ALL = """

count = 0
for name in sorted(globals()):
    if name.startswith("test_"):
        try:
            globals()[name]()
        except Exception:
            print("in", name)
            raise
        count += 1
print("passed", count)
"""


def test_portable_files_are_found():
    assert {file.parent.name for file in FILES} >= {"gascard", "meter"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_portable_tests_pass_on_the_vm(vm_name, file):
    source = file.read_text(encoding="utf-8")
    assert run_script(vm_name, source + RUN_ALL).split()[-2:] == ["passed", str(source.count("\ndef test_"))]
