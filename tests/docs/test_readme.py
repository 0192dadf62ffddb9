"""The README's programs are run as they stand there."""

import re
from pathlib import Path

import pytest

from gascard import codes
from gascard.chip import Chip
from gasrig.parts import CardSlot, Fram, Panel, ValveMotor
from meter.factory import create
from meter.meter import Meter, Settings

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def program(mark: str) -> str:
    """The Python text behind the words or comment ``mark``."""
    found = re.search(re.escape(mark) + r".*?```python\n(.*?)```", README, re.DOTALL)
    assert found, mark
    return found.group(1)


def run(text: str, capsys: pytest.CaptureFixture[str]) -> str:
    exec(compile(text, "README.md", "exec"), {"__name__": "__main__"})
    return capsys.readouterr().out


def load_in_a_meter(card: Path, key: bytes, tool_key: bytes) -> int:
    """The card file goes into a new meter of the README's number; the meter's code."""
    memory, key_memory, settings = Fram(), Fram(128), Settings()
    values = {"meter": "32060012345678", "region": 0x21, "key_version": 1, "key": key, "tool_key": tool_key}
    create(memory, key_memory, settings, values)
    slot = CardSlot()
    meter = Meter(memory, key_memory, ValveMotor(), slot, Panel(), settings)
    meter.boot(13_762_695, 0)
    chip, beside = Chip(), card.with_name(card.name + ".chip")
    chip.restore(card.read_bytes() + beside.read_bytes())
    slot.insert(chip)
    code = meter.card_in()
    while meter.session.active:
        meter.tick(6)
    card.write_bytes(bytes(chip.main))
    return code


@pytest.mark.needs("micropython", "sqlalchemy", "demandlib")
def test_readme_session_balances_to_the_pulse(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = run(program("the books still balance:"), capsys).splitlines()
    assert said[-1] == "difference 0 pulses"
    assert re.fullmatch(r"sold +150\.00 m³", said[1]), said


@pytest.mark.needs("sqlalchemy")
def test_readme_hall_program_sells_gas(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    from gashall import KeyFileSigner

    hall = program("<!-- example:hall -->")
    assert len(hall.strip().splitlines()) < 15
    run(program("<!-- example:open -->"), capsys)
    refused = run(hall, capsys)
    assert "sale" not in refused and "meter" in refused  # the opening card has not been in a meter yet
    keys = KeyFileSigner.load("region.key").meter_keys("32060012345678", 1)
    assert load_in_a_meter(Path("card.bin"), *keys) == codes.OK
    assert run(hall, capsys).splitlines() == [
        "account 0000000001, meter 32060012345678: 30.00 m³ left",
        "purchase 2: 20.50 m³ are on card 1",
    ]
    again = run(hall, capsys).splitlines()
    assert again[1].startswith("The last purchase is still on the card"), again
