# The event log: a ring of entries that a cut cannot spoil beyond the one in flight.

from gasrig.parts import Eeprom, Fram
from meter.events import BOOT, LOADED, Events
from meter.layouts import EVENT_PLACES, EVENTS_AT, FINAL_RECORD_AT

SIZE = FINAL_RECORD_AT[0]
ENTRY = 16


def log(memory=None):
    made = Events(memory or Fram(SIZE))
    made.recover()
    return made


def test_ring_fits_its_area():
    assert EVENTS_AT + EVENT_PLACES * ENTRY == FINAL_RECORD_AT[0]


def test_blank_log_is_empty():
    made = log()
    assert made.number == 0
    for number in range(EVENT_PLACES):
        assert made.read(number) is None
    memory = Fram(SIZE, 0)
    assert log(memory).number == 0


def test_entry_reads_back():
    made = log()
    made.note(LOADED, 7, 99999999, 13000000)
    entry = made.read(1)
    assert (entry["number"], entry["kind"], entry["detail"]) == (1, LOADED, 7)
    assert (entry["register"], entry["time"]) == (99999999, 13000000)
    made.note(BOOT, 70000, 0, 0)
    assert made.read(2)["detail"] == 70000 & 0xFFFF


def test_ring_wraps_and_keeps_the_newest():
    memory = Fram(SIZE)
    made = log(memory)
    for n in range(1, EVENT_PLACES * 2 + 4):
        made.note(BOOT, n, n, n)
    last = EVENT_PLACES * 2 + 3
    again = log(memory)
    assert again.number == last
    for number in range(last - EVENT_PLACES + 1, last + 1):
        assert again.read(number)["detail"] == number
    assert bytes(memory.cells[:EVENTS_AT]) == b"\xff" * EVENTS_AT  # and nothing beside the ring


def test_numbers_go_on_after_power_up():
    memory = Fram(SIZE)
    for n in range(1, 6):
        made = log(memory)
        assert made.number == n - 1
        made.note(BOOT, 0, 0, 0)


def test_torn_entry_costs_itself_only():
    for left in range(ENTRY):
        for fill in (0x00, 0xFF, 0x5A):
            memory = Fram(SIZE)
            made = log(memory)
            for n in range(1, 9):
                made.note(BOOT, n, n, n)
            at = EVENTS_AT + 9 * ENTRY
            made.note(BOOT, 9, 9, 9)
            for i in range(left, ENTRY):
                memory.cells[at + i] = fill
            again = log(memory)
            assert again.number == (8 if left < 14 else again.number)
            assert again.number in (8, 9)
            for n in range(1, 9):
                assert again.read(n)["detail"] == n


def test_log_closes_at_its_last_number():
    memory = Fram(SIZE)
    made = log(memory)
    made.number = 0xFFFFFE
    made.note(BOOT, 1, 0, 0)
    assert made.number == 0xFFFFFF and log(memory).number == 0xFFFFFF
    written = memory.written
    made.note(BOOT, 2, 0, 0)
    assert memory.written == written and made.read(0xFFFFFF)["detail"] == 1


def test_one_entry_is_one_write_in_one_page():
    for kind in (Fram, Eeprom):
        memory = kind(SIZE)
        made = log(memory)
        for n in range(EVENT_PLACES):
            before = sum(memory.page_wear)
            made.note(BOOT, n, n, n)
            assert sum(memory.page_wear) == before + 1
