"""Folding of constants across modules: the same program, without the names."""

import ast
import importlib

import pytest

from gascard.records import Layout
from gasrig.fold import FoldError, fold
from gasrig.mpy import firmware_files

SHIM = "try:\n    from micropython import const\nexcept ImportError:\n    const = lambda x: x\n\n"
COLOURS = SHIM + "RED = const(1)\n_BLUE = const(RED + 1)\nNAMES = ('red', 'blue')\nWIDTH = 8 * 3\n"


def run(*modules: tuple[str, str], last: str) -> dict:
    """What the folded module ``last`` defines; the others stand where it imports them from."""
    import sys
    from types import ModuleType

    texts = fold(modules)
    made = []
    try:
        for path, text in texts.items():
            name = path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
            module = sys.modules[name] = ModuleType(name)
            module.__path__ = []
            made.append(name)
            exec(compile(text, path, "exec"), module.__dict__)
        return dict(sys.modules[last].__dict__)
    finally:
        for name in made:
            del sys.modules[name]


def test_fold_imported_names_and_attributes_become_numbers():
    user = (
        "from paint import colours\nfrom paint.colours import NAMES, RED, WIDTH as W\n"
        "def mix(a=RED):\n    return (a, colours.RED + W, NAMES[0])\n"
    )
    made = run(("paint/__init__.py", ""), ("paint/colours.py", COLOURS), ("paint/user.py", user), last="paint.user")
    assert made["mix"]() == (1, 25, "red")
    assert "RED" not in made and "W" not in made and "colours" not in made


def test_fold_leaves_no_shim_and_no_type_imports():
    text = COLOURS + "TYPE_CHECKING = False\nif TYPE_CHECKING:\n    from typing import Any\n"
    folded = fold([("paint/colours.py", text)])["paint/colours.py"]
    assert folded.strip() == "NAMES = ('red', 'blue')"


def test_fold_other_names_and_modules_stay():
    text = "import gc\nfrom os import path as RED\nlimit = 5\nBYTES = b'ab'\nFLAG = True\nprint(RED, limit, BYTES)\n"
    assert fold([("a.py", text)])["a.py"].replace('"', "'") == text


def test_fold_a_module_used_for_more_than_constants_is_still_imported():
    user = "from paint import colours\nx = colours.RED\ny = colours.NAMES\n"
    folded = fold([("paint/colours.py", COLOURS), ("paint/user.py", user)])["paint/user.py"]
    assert folded == "from paint import colours\nx = 1\ny = colours.NAMES\n"


@pytest.mark.parametrize(
    "text",
    ["RED = 1\ndef f():\n    RED = 2\n", "RED = 1\ndef f(RED):\n    pass\n", "RED = 1\nfor RED in ():\n    pass\n"],
)
def test_fold_name_of_a_constant_used_otherwise_is_refused(text):
    with pytest.raises(FoldError, match="RED is a constant"):
        fold([("a.py", text)])


def test_fold_constant_assigned_twice_is_refused():
    with pytest.raises(FoldError, match="RED"):
        fold([("a.py", "RED = 1\nRED = 2\nprint(RED)\n")])


def test_fold_tables_are_those_of_the_source():
    texts = fold([(name, file.read_text(encoding="utf-8")) for name, file in firmware_files()])
    compared = 0
    for path, text in texts.items():
        module = path.removesuffix(".py").replace("/", ".")
        for statement in ast.parse(text).body:
            if isinstance(statement, ast.Assign) and ast.unparse(statement.value).startswith("Layout("):
                call = statement.value
                table = getattr(importlib.import_module(module), statement.targets[0].id)
                if any(isinstance(argument, ast.Starred) for argument in call.args):
                    continue  # made of another table's rows when it is imported
                names = [ast.literal_eval(argument) for argument in call.args]
                assert list(Layout(*names)) == list(table) == list(zip(names[:-1], names[-1], strict=True))
                compared += 1
    assert compared > 12


def test_fold_rows_beside_others_stay_rows():
    text = "from records import Layout\nU8 = 1\n"
    text += "A = Layout(('a', U8))\nB = Layout(*A, ('b', U8))\nC = other(('a', U8))\n"
    folded = fold([("a.py", text)])["a.py"].splitlines()[1:]
    assert folded == ["A = Layout('a', b'\\x01')", "B = Layout(*A, ('b', 1))", "C = other(('a', 1))"]
