"""Every meter ever released goes on being served: today's hall and cards, yesterday's firmware on the real VMs."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from freeze import METER, REGION, ROOT

from gascard import codes
from gascard.chip import Chip
from gashall import ChipReader, KeyFileSigner
from gashall.units import minutes
from gasrig.parts import CardSlot, Fram, Panel, ValveMotor
from gasrig.targets import run_script
from meter.meter import Meter, Settings

HERE = Path(__file__).parent
VERSIONS = sorted(path for path in HERE.iterdir() if (path / "lib").is_dir())
NOW = datetime(2026, 3, 1, 10, 15, tzinfo=UTC)
OPEN = 2


def test_there_is_a_first_meter_in_the_field():
    assert "0.1.0" in [version.name for version in VERSIONS]


class Installed:
    """A frozen meter: each visit of a card is one life between two power cuts."""

    def __init__(self, version: Path, vm: str) -> None:
        self.version, self.vm = version, vm
        self.memory = (version / "memory.bin").read_bytes()
        self.keys = (version / "keys.bin").read_bytes()

    def visit(self, chip: Chip, pulses: int = 0) -> dict[str, str]:
        """Power, a card, so much gas, no power; what the meter said."""
        given = {"MEMORY": self.memory.hex(), "KEYS": self.keys.hex(), "CARD": chip.dump().hex()}
        head = "".join(f"{name} = {value!r}\n" for name, value in given.items())
        head += f"MINUTES = {minutes(NOW)}\nPULSES = {pulses}\n"
        drive = (self.version / "drive.py").read_text(encoding="utf-8")
        said = run_script(self.vm, head + drive, library=self.version / "lib")
        answer = dict(line.split(maxsplit=1) for line in said.splitlines())
        chip.restore(bytes.fromhex(answer["card"]))
        self.memory, self.keys = bytes.fromhex(answer["memory"]), bytes.fromhex(answer["keys"])
        return answer


@pytest.mark.needs("sqlalchemy")
@pytest.mark.parametrize("version", VERSIONS, ids=lambda path: path.name)
def test_todays_hall_serves_an_installed_meter(version, vm_name, tmp_path):
    from gashall import Hall, Ledger  # a part that may be missing: the other tests do without

    hall = Hall(Ledger(tmp_path / "ledger.db", REGION), KeyFileSigner(ROOT, REGION), clock=lambda: NOW)
    meter, card = Installed(version, vm_name), Chip()
    reader = ChipReader(card)
    sale = hall.open_account(reader, meter=METER, volume=30)
    first = meter.visit(card, pulses=40)
    assert (first["boot"], first["code"], first["valve"], first["remaining"]) == ("0", "0", str(OPEN), "2960")
    assert hall.read_back(reader).state == "done"
    hall.sell(reader, 12)
    second = meter.visit(card, pulses=300)  # over the end of a tally
    assert (second["code"], second["remaining"]) == ("0", str(4200 - 340))
    again = meter.visit(card)
    assert (again["code"], again["remaining"]) == (str(codes.REPEAT), str(4200 - 340))
    seen = hall.read_back(reader)
    assert (seen.state, seen.on_card, str(seen.remaining)) == ("done", 0, "38.60")
    assert hall.reconcile(sale.account, "3.40").difference == 0


@pytest.mark.parametrize("version", VERSIONS, ids=lambda path: path.name)
def test_todays_firmware_wakes_up_on_an_installed_store(version):
    memory, key_memory = Fram(0x1000 + 256), Fram(128)
    memory.cells[:] = (version / "memory.bin").read_bytes()
    key_memory.cells[:] = (version / "keys.bin").read_bytes()
    meter = Meter(memory, key_memory, ValveMotor(), CardSlot(), Panel(), Settings(1, 256))
    assert meter.boot(minutes(NOW), 0) == codes.OK
    assert meter.keys.values["meter"] == METER and meter.register.value == 0


@pytest.mark.parametrize("version", VERSIONS, ids=lambda path: path.name)
def test_frozen_vectors_still_stand(version):
    published = HERE.parents[1] / "protocol" / "vectors"
    for file in sorted((version / "vectors").glob("*.json")):
        now = {case["name"]: case for case in json.loads((published / file.name).read_text(encoding="utf-8"))}
        for case in json.loads(file.read_text(encoding="utf-8")):
            then, today = ({**one, "note": ""} for one in (case, now[case["name"]]))  # words may be bettered
            assert today == then, f"{file.name}, {case['name']}: meters in the field were built on another"
