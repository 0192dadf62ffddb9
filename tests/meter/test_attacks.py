"""What an adversary found, each as a row that failed before its mend."""

from contextlib import suppress

import pytest
from portable_judging import CARD, KEY, MINUTES, REGION, Stand, card
from portable_store import CLEAN, GARBAGE, CutFram, Fuse, PowerCut

from gascard import codes
from gascard.chip import Chip
from gascard.frames import build, read
from gascard.records import ORDER_OPENING, ORDER_USER, REPORT, REPORT_AT, REPORT_DATA, TIME_MAX
from gasrig.parts import Wheels
from meter.events import REFUSED
from meter.factory import create
from meter.layouts import COPY_SIZE, GUARDS_AT, KEYS_AT
from meter.meter import Meter

USED = {"meter": "32060012345678", "region": REGION, "key_version": 1, "key": KEY, "tool_key": b"t" * 16}


def test_used_meter_whose_remaking_was_cut_short_is_no_meter():
    # Its old account over a new register would give the burned gas back.
    cut, fired = 0, 0
    while True:
        stand = Stand(memory=CutFram)
        fuse = Fuse(cut, CLEAN)
        stand.memory.fuse = stand.key_memory.fuse = fuse
        try:
            create(stand.memory, stand.key_memory, stand.settings, USED)
        except PowerCut:
            fired += 1
        else:
            break
        finally:
            stand.memory.fuse = stand.key_memory.fuse = Fuse()
        code = stand.boot()
        # Or, at the two ends: the old meter untouched, the new one finished but for its second copy of the keys.
        old = code == codes.OK and stand.meter.account.bound and stand.meter.remaining == 4900
        new = code == codes.OK and not stand.meter.account.bound
        assert code == codes.STORE_LOST or (old if cut < 128 else new), (cut, code)
        cut += 7
    assert fired > 300
    assert stand.boot() == codes.OK and not stand.meter.account.bound


@pytest.mark.parametrize("minutes", [-1, TIME_MAX + 1, 1 << 32, -(1 << 40)])
def test_clock_that_no_field_can_hold_costs_no_gas(minutes):
    stand = Stand()
    stand.meter.clock(minutes)
    assert stand.meter.minutes == 0
    assert stand.visit(card(kind=ORDER_USER, sequence=4, bought_total=6000)) == codes.OK
    assert stand.meter.remaining == 5900
    stand.meter.power_failing()
    meter = Meter(stand.memory, stand.key_memory, stand.motor, stand.slot, stand.panel, stand.settings)
    assert meter.boot(minutes, 0) == codes.OK
    meter.pulses(5900)
    assert (meter.remaining, meter.uncounted) == (0, 0)


def test_clock_at_its_end_stands_still():
    stand = Stand()
    stand.meter.clock(TIME_MAX)
    for _ in range(100):
        stand.pass_time(3_600_000)
    assert stand.meter.minutes == TIME_MAX
    assert stand.visit(card(kind=ORDER_USER, sequence=4, bought_total=6000)) == codes.OK


def test_warned_cuts_while_the_wheel_stands_a_quarter_back_make_no_pulse():
    stand, wheels = Stand(), Wheels()
    counted = stand.meter.register.value
    turned = 0

    def move(*levels):
        nonlocal turned
        for level in levels:
            if stand.meter.reeds.edge(level):
                stand.meter.pulse()
                turned += 1

    assert wheels.levels == 0
    move(1, 3, 2, 0)
    for _ in range(50):
        move(2)  # a quarter back
        stand.meter.power_failing()
        stand.meter = Meter(stand.memory, stand.key_memory, stand.motor, stand.slot, stand.panel, stand.settings)
        assert stand.meter.boot(MINUTES, 2) == codes.OK
        move(0)
    assert stand.meter.register.value == counted + 1 and turned == 1


def test_repeat_completes_an_entry_whose_second_copy_was_cut_off():
    # An opening or a lowering stands in both copies before a report says so, also if the power went between them.
    halves = 0
    for cut in range(400):
        stand = Stand(bound=False, memory=CutFram)
        chip = card(kind=ORDER_OPENING, sequence=3, bought_total=5000)
        stand.memory.fuse = Fuse(cut, CLEAN)
        with suppress(PowerCut):
            stand.visit(chip)
        stand.memory.fuse = Fuse()
        stand.slot.remove()
        stand.boot()
        account = stand.meter.account
        copies = [account._read(copy) for copy in (0, 1)]
        if copies[0] != copies[1] and stand.meter.account.bound:
            halves += 1
            assert stand.visit(chip) == codes.REPEAT
            copies = [account._read(copy) for copy in (0, 1)]
            assert copies[0] == copies[1] and account._unpacked(copies[0])["bought_total"] == 5000
    assert halves > 10


def test_fault_while_starting_keeps_the_lifetime_counters():
    stand = Stand()
    moves = stand.meter.valve.moves
    assert moves > 0
    # A mark that must be mended, in a cell that takes no more writes.
    stand.memory.cells[0x1000 + 20] = 0x00
    write = stand.memory.write
    stand.memory.write = lambda at, data: None if at == 0x1000 + 20 else write(at, data)
    assert stand.boot() == codes.FAULT
    stand.memory.write = write
    stand.meter.power_failing()
    assert stand.boot() == codes.OK
    assert stand.meter.valve.moves >= moves


def test_cards_anybody_can_make_do_not_push_the_rest_out_of_the_log():
    stand = Stand()
    before = stand.meter.events.number
    for _ in range(200):
        assert stand.visit(Chip()) == codes.NOT_OURS
        assert stand.visit(card(kind=ORDER_USER, sequence=4, meter="00000000000018")) == codes.METER
    assert stand.meter.events.number == before + 2
    # A card that is served makes the next refusal worth a line again.
    assert stand.visit(stand.chip) == codes.REPEAT
    assert stand.visit(Chip()) == codes.NOT_OURS
    assert stand.meter.events.read(stand.meter.events.number)["kind"] == REFUSED


def test_report_of_another_meter_does_not_pin_a_place_on_the_card():
    # It may be of a higher binding and number than any of our own: it is not ours, and goes first.
    stand = Stand()
    chip = stand.chip
    values = stand.meter.report()
    values.update(meter="00000000000018", binding=3, report_number=900)
    foreign = build(REPORT_DATA, values, REPORT, CARD, REGION, b"another meter's.")
    chip.main[REPORT_AT[0] : REPORT_AT[0] + len(foreign)] = foreign
    for visit in range(3):
        assert stand.visit(chip) == codes.REPEAT
        numbers = [values["report_number"] for at in REPORT_AT if (values := read(REPORT_DATA, chip.main, at))]
        last = stand.meter.state.values["report_number"]
        assert sorted(numbers) == ([last] if visit == 0 else [last - 1, last])


def test_binding_of_the_key_record_stands_in_both_copies():
    # A lost account leaves only this to know an old opening card by; one damaged copy must not take it away.
    for spoilt in KEYS_AT:
        stand = Stand()
        stand.key_memory.cells[spoilt + 20] ^= 1
        assert stand.boot() == codes.OK
        assert stand.meter.keys.values["binding"] == 1


def test_meter_of_an_older_firmware_gets_its_limits_whatever_cut_falls_into_them():
    fired = 0
    for fill in (0x00, 0xFF):
        for torn in (CLEAN, *GARBAGE):
            for cut in range(1000):
                stand = Stand(memory=CutFram)
                for place in GUARDS_AT:
                    stand.memory.cells[place : place + COPY_SIZE] = bytes([fill]) * COPY_SIZE
                stand.memory.fuse = Fuse(cut, torn)
                with suppress(PowerCut):
                    stand.boot()
                if not stand.memory.fuse.fired:
                    break
                fired += 1
                stand.memory.fuse = Fuse()
                assert stand.boot() == codes.OK
                assert stand.meter.limits.values["shut"] == 0 and not stand.meter.watching
    assert fired > 100
