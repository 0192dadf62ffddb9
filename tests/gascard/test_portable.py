"""The very text of every portable_*.py, run on the real VMs."""

from pathlib import Path

import pytest

from gasrig.targets import run_script

FILES = sorted(Path(__file__).parent.glob("portable_*.py"))

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


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_portable_tests_pass_on_the_vm(vm_name, file):
    source = file.read_text(encoding="utf-8")
    count = source.count("\ndef test_")
    assert count
    assert run_script(vm_name, source + RUN_ALL).split()[-2:] == ["passed", str(count)]
