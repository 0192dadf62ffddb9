"""The virtual parts, alone: what each does that the core must be able to rely on, or must survive."""

import pytest

from gascard.chip import Chip
from gascard.sle4442 import (
    ATR,
    COMPARE,
    READ_MAIN,
    READ_PROTECTION,
    READ_SECURITY,
    UPDATE_MAIN,
    UPDATE_SECURITY,
)
from gasrig.parts import (
    BOUNCE,
    HALF_WAY,
    LEAK,
    MILLI,
    MOTOR_DEAD,
    OPEN_SWITCH_DEAD,
    REED_A_DEAD,
    REED_B_DEAD,
    REEDS_HELD,
    REEDS_SWAPPED,
    SHUT_SWITCH_DEAD,
    SHUT_SWITCH_HELD,
    CardSlot,
    Eeprom,
    Fram,
    MappedFram,
    ValveMotor,
    Wheels,
)
from meter.reeds import SENSOR_A, SENSOR_B, SENSOR_BACK, Reeds


@pytest.mark.parametrize("memory", [Fram, Eeprom, MappedFram])
def test_memory_keeps_what_is_written(memory: type) -> None:
    part = memory(0x200)
    part.write(0x40, b"\x01\x02\x03")
    part.put(0x43, 4)
    part.fill(0x44, 5, 2)
    back = bytearray(7)
    part.read_into(0x40, back)
    assert back == b"\x01\x02\x03\x04\x05\x05\xff"


@pytest.mark.parametrize("memory", [Fram, Eeprom])
def test_memory_past_its_end_is_a_bus_error(memory: type) -> None:
    part = memory(0x80)
    with pytest.raises(OSError):
        part.read_into(0x7F, bytearray(2))
    with pytest.raises(OSError):
        part.write(0x80, b"\x00")


def test_fram_counts_wear_by_cell_and_page() -> None:
    part = Fram(0x100)
    part.write(0x3E, bytes(4))
    part.put(0x3F, 1)
    assert (part.written, part.writes) == (5, 2)
    assert [part.wear[place] for place in range(0x3D, 0x43)] == [0, 1, 2, 1, 1, 0]
    assert list(part.page_wear) == [2, 1, 0, 0]


def test_eeprom_write_over_its_page_goes_on_at_its_head() -> None:
    part = Eeprom(0x100)
    part.write(0x7E, b"\x01\x02\x03\x04")
    assert part.cells[0x7E:0x80] == b"\x01\x02"
    assert part.cells[0x40:0x42] == b"\x03\x04"
    assert part.cells[0x80:0x82] == b"\xff\xff"
    assert list(part.page_wear) == [0, 1, 0, 0]


def test_eeprom_fill_goes_page_by_page() -> None:
    part = Eeprom(0x100)
    part.fill(0x30, 0, 0x60)
    assert part.cells == b"\xff" * 0x30 + bytes(0x60) + b"\xff" * 0x70
    assert (part.writes, part.busy_ms) == (3, 15)


def test_wheels_turn_makes_one_pulse_by_four_edges() -> None:
    wheels, reeds = Wheels(99), Reeds()
    seen, pulses = [wheels.levels], 0
    for _ in range(8):
        assert wheels.to_edge == 250
        wheels.turn(wheels.to_edge)
        seen.append(wheels.levels)
        pulses += reeds.edge(wheels.levels)
    assert seen == [0, 1, 3, 2, 0, 1, 3, 2, 0]
    assert (wheels.pulses, wheels.milli, pulses) == (101, 0, 2)


@pytest.mark.parametrize("piece", [1, 3, 83, 249, 250])
def test_wheels_in_pieces_lose_nothing(piece: int) -> None:
    wheels, reeds = Wheels(), Reeds()
    left, pulses = 100 * MILLI + 17, 0
    while left:
        part = min(piece, left, wheels.to_edge)
        wheels.turn(part)
        left -= part
        pulses += reeds.edge(wheels.levels)
        assert pulses == wheels.pulses
    assert (wheels.pulses, wheels.milli) == (100, 17)


@pytest.mark.parametrize("milli", range(0, MILLI, 125))
def test_reeds_made_anew_in_the_middle_of_a_turn_stay_in_step(milli: int) -> None:
    # Power-up: found when a cut at half a turn left the register a pulse behind the index.
    wheels = Wheels()
    while wheels.milli < milli:
        wheels.turn(min(wheels.to_edge, milli - wheels.milli))
    reeds, pulses = Reeds(wheels.levels), 0
    for _ in range(9):
        wheels.turn(wheels.to_edge)
        pulses += reeds.edge(wheels.levels)
        assert pulses == wheels.pulses


def test_valve_travels_stops_and_flows_until_quite_shut() -> None:
    motor = ValveMotor(400)
    assert (motor.position(), motor.flows) == (-1, False)
    motor.drive(1)
    motor.advance(399)
    assert (motor.position(), motor.flows) == (0, True)
    motor.advance(1)
    assert (motor.position(), motor.flows) == (1, True)
    motor.advance(1000)
    motor.drive(-1)
    motor.advance(399)
    assert (motor.position(), motor.flows) == (0, True)
    motor.drive(0)
    motor.advance(1000)
    assert motor.position() == 0
    motor.drive(-1)
    motor.advance(1)
    assert (motor.position(), motor.flows) == (-1, False)
    assert motor.movements == 3


def test_valve_jammed_does_not_move() -> None:
    motor = ValveMotor(400)
    motor.jammed = True
    motor.drive(1)
    motor.advance(1000)
    assert motor.position() == -1
    motor.jammed = False
    motor.advance(400)
    assert motor.position() == 1


def read(slot: CardSlot, control: int, count: int) -> bytes:
    back = bytearray(count)
    slot.read(control, 0, back)
    return bytes(back)


def test_slot_empty_answers_nothing_and_reads_high() -> None:
    slot = CardSlot()
    assert slot.power_on() is None
    assert read(slot, READ_MAIN, 8) == b"\xff" * 8


def test_slot_reads_high_until_powered() -> None:
    slot = CardSlot()
    slot.insert(Chip())
    assert read(slot, READ_SECURITY, 4) == b"\xff" * 4
    assert slot.power_on() == ATR
    assert read(slot, READ_SECURITY, 4) == b"\x07\x00\x00\x00"


@pytest.mark.parametrize("control", [READ_MAIN, READ_PROTECTION, READ_SECURITY])
def test_slot_reads_high_once_the_card_is_pulled(control: int) -> None:
    slot = CardSlot()
    slot.insert(Chip())
    slot.power_on()
    assert read(slot, control, 4) != b"\xff" * 4
    slot.remove()
    assert read(slot, control, 4) == b"\xff" * 4
    slot.write(UPDATE_MAIN, 0x40, 0)


def present(slot: CardSlot, psc: bytes) -> None:
    slot.write(UPDATE_SECURITY, 0, 0x06)
    for place in (1, 2, 3):
        slot.write(COMPARE, place, psc[place - 1])
    slot.write(UPDATE_SECURITY, 0, 0xFF)


def test_slot_access_is_lost_when_the_card_is_pulled() -> None:
    slot, chip = CardSlot(), Chip()
    slot.insert(chip)
    slot.power_on()
    present(slot, b"\xff\xff\xff")
    slot.write(UPDATE_MAIN, 0x40, 0x11)
    assert slot.remove() is chip
    slot.insert(chip)
    slot.power_on()
    slot.write(UPDATE_MAIN, 0x40, 0x22)
    assert chip.main[0x40] == 0x11
    assert chip.security[0] == 0x07


def test_slot_counts_compares_and_bus_time() -> None:
    slot = CardSlot()
    slot.insert(Chip())
    slot.power_on()
    slot.busy_ms = 0
    present(slot, b"\xff\xff\xff")
    assert slot.compares == 3
    busy = slot.busy_ms
    assert 9 <= busy <= 12  # a write, three compares, an erase: 384 clocks at 50 kHz, each rounded up
    slot.write(UPDATE_MAIN, 0x40, 0xA5)
    slot.write(UPDATE_MAIN, 0x40, 0x5A)
    assert slot.busy_ms - busy == 3 + 6


def turned(faults: int, turns: int) -> tuple[Reeds, int, Wheels]:
    """Wheels with these faults after so many turns, and what their reeds made of it."""
    wheels, pulses = Wheels(), 0
    wheels.faults = faults
    reeds = Reeds(wheels.levels)
    for _ in range(4 * turns):
        before = wheels.levels
        wheels.turn(wheels.to_edge)
        for change in range(wheels.changes):
            pulses += reeds.edge(before if change & 1 else wheels.levels)
    return reeds, pulses, wheels


@pytest.mark.parametrize(
    ("fault", "pulses", "found"),
    [
        (None, 9, 0),
        (BOUNCE, 9, 0),
        (REED_A_DEAD, 0, SENSOR_A),
        (REED_B_DEAD, 0, SENSOR_B),
        (REEDS_SWAPPED, 0, SENSOR_BACK),
        (REEDS_HELD, 0, 0),  # held from the first: no edge at all
    ],
)
def test_wheels_with_a_fault_turn_on_and_their_reeds_do_not_follow(fault: int | None, pulses: int, found: int) -> None:
    reeds, counted, wheels = turned(0 if fault is None else 1 << fault, 9)
    assert (wheels.pulses, counted, reeds.fault) == (9, pulses, found)
    assert wheels.fired == (0 if fault is None else 1 << fault)


def test_fault_that_makes_no_difference_has_not_fired() -> None:
    wheels = Wheels()
    wheels.faults = 1 << REED_A_DEAD | 1 << REED_B_DEAD
    assert (wheels.levels, wheels.fired) == (0, 0)  # both are open here
    motor = ValveMotor(400)
    motor.faults = 1 << OPEN_SWITCH_DEAD | 1 << SHUT_SWITCH_HELD | 1 << HALF_WAY | 1 << MOTOR_DEAD
    assert (motor.position(), motor.fired) == (-1, 0)
    motor.advance(100)
    assert motor.fired == 0


@pytest.mark.parametrize(
    ("fault", "ends"),
    [
        (OPEN_SWITCH_DEAD, [(400, 0), (0, -1)]),
        (SHUT_SWITCH_DEAD, [(400, 1), (0, 0)]),
        (HALF_WAY, [(200, 0), (200, 0)]),
        (MOTOR_DEAD, [(0, -1), (0, -1)]),
    ],
)
def test_valve_with_a_fault(fault: int, ends: list[tuple[int, int]]) -> None:
    motor = ValveMotor(400)
    motor.faults = 1 << fault
    found = []
    for direction in (1, -1):
        motor.drive(direction)
        assert motor.current() is (fault != MOTOR_DEAD)
        for _ in range(10):
            motor.advance(50)
        found.append((motor._place, motor.position()))
    assert found == ends
    assert motor.fired == 1 << fault


def test_valve_that_says_it_is_shut_lets_gas_by_and_can_be_driven_on() -> None:
    motor = ValveMotor(400)
    motor.drive(1)
    motor.advance(400)
    motor.faults = 1 << SHUT_SWITCH_HELD
    assert (motor.position(), motor.flows) == (-1, True)
    motor.drive(-1)
    motor.advance(400)
    motor.faults = 0
    assert (motor.position(), motor.flows) == (-1, False)


def test_valve_that_leaks_flows_shut() -> None:
    motor = ValveMotor(400)
    motor.faults = 1 << LEAK
    assert (motor.position(), motor.flows, motor.fired) == (-1, True, 1 << LEAK)
