"""No pulse takes heap (measured by portable_heap.py, on the VMs), and no marked function goes unmeasured."""

import ast
from pathlib import Path

import pytest
from portable_heap import *  # noqa: F403

import meter
from gasrig.targets import run_script

MARK = "# hot: no allocation"

# Every function that bears the mark, and by which path of portable_heap and portable_hot it is measured.
MEASURED = {
    "hot.plain_pulse.mapped": "portable_hot.check_no_allocation",
    "hot.plain_pulse.method": "portable_hot.check_no_allocation",
    "hot.plain_pulses.four": "portable_hot.check_no_allocation",
    "hot.plain_pulses.one": "portable_hot.check_no_allocation",
    "hot._filler.fill": "portable_hot.check_no_allocation",
    "hot_viper.make_pulse.mapped": "portable_hot.check_no_allocation",
    "hot_viper.make_pulse.four": "portable_hot.check_no_allocation",
    "hot_viper.make_pulse.one": "portable_hot.check_no_allocation",
    "hot_viper.make_pulses.pulses": "portable_hot.check_no_allocation",
    "reeds.Reeds.edge": "portable_heap.by_reeds",
}


def marked(path: Path) -> set[str]:
    """Dotted names of the functions of a module whose line, or the line before, bears the mark."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    found = set()

    def walk(node: ast.AST, name: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                here = f"{name}.{child.name}"
                near = lines[child.lineno - 2 : child.lineno]
                if isinstance(child, ast.FunctionDef) and any(MARK in line for line in near):
                    found.add(here)
                walk(child, here)
            else:
                walk(child, name)

    walk(ast.parse(text), path.stem)
    assert len(found) == text.count(MARK), f"{path}: a mark that stands at no function"
    return found


def test_every_marked_function_is_measured():
    found = set()
    for path in sorted(Path(meter.__path__[0]).glob("*.py")):
        found |= marked(path)
    assert found == set(MEASURED)


@pytest.mark.needs("micropython")
def test_machine_code_is_what_the_vm_measures():
    said = run_script("micropython", "from meter import hot\nprint(hot.make_pulse is hot.plain_pulse)\n")
    assert said.split() == ["False"]
