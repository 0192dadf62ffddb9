"""The very text of docs/porting.md, run on virtual parts on every target."""

import re
from pathlib import Path

import pytest

from gasrig import mpy
from gasrig.targets import run_script

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "porting.md").read_text(encoding="utf-8")
LOOP, BUILD, FACTORY = re.findall(r"^```python\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
BOARD = Path(__file__).with_name("portable_board.py").read_text(encoding="utf-8")


def test_porting_skeleton_runs_a_meter_through_card_gas_and_power_cut(target_name):
    said = run_script(target_name, f"{LOOP}\n{FACTORY}\n{BOARD}\nplay_all(Loop, make)\n")
    assert said.split() == ["played"]


@pytest.mark.needs("mpy-cross")
@pytest.mark.parametrize("arch", [None, "armv6m"])
def test_porting_build_makes_what_a_meter_needs(arch, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    names: dict = {}
    exec(BUILD, names)
    sizes = names["build"](tmp_path, arch=arch)
    assert set(sizes) | mpy.NOT_ON_A_METER == {
        file.relative_to(root).as_posix()
        for root in (ROOT / "protocol", ROOT / "firmware")
        for file in root.rglob("*.py")
        if file.parent.name in ("gascard", "meter")
    }
    assert (sizes["meter/hot_viper.py"] > 0) == (arch is not None)
    for name, size in sizes.items():
        assert (tmp_path / name).with_suffix(".mpy").exists() == (size > 0)


def test_porting_build_leaves_nothing_out_that_a_meter_imports():
    left_out = {name.removesuffix(".py").replace("/", ".") for name in mpy.NOT_ON_A_METER}
    for root in (ROOT / "protocol" / "gascard", ROOT / "firmware" / "meter"):
        for file in root.rglob("*.py"):
            if file.relative_to(root.parent).as_posix() in mpy.NOT_ON_A_METER:
                continue
            found = re.findall(r"^(?:from|import) ([\w.]+)", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert not left_out & set(found), file.name


@pytest.mark.needs("mpy-cross")
def test_porting_build_takes_a_boards_own_program_along(vm_name, tmp_path):
    program = tmp_path / "board.py"
    program.write_text("from meter.display import SYMBOL_FAULT\n\n\ndef symbols():\n    return SYMBOL_FAULT\n")
    names: dict = {}
    exec(BUILD, names)
    names["build"](tmp_path / "lib", [("board.py", program)])
    script = "import board, meter.meter\nprint(board.symbols())\n"
    assert run_script(vm_name, script, library=tmp_path / "lib").split() == ["16"]
