"""The bench as a target asks it: the world's truth beside the meter's word, on every target."""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from gascard import codes
from gascard.records import SHUT_ALARM
from gasrig import bench
from gasrig.flows import FACTORY_KEY, METER, Flow, new_card, new_tool, play, write_order
from gasrig.flows import ORDER_DEFAULTS as ORDER
from gasrig.handset import MeterUnderTest
from gasrig.targets import BenchError, open_target
from meter import events

HOUR = 3_600_000
KEYS = {"key": bytes(16), "tool_key": bytes(16)}
OPENED = Flow(
    (("build", {}), ("card", "opening", {"bought_total": 90_000}), ("insert",), ("remove",)),
    {"remaining": 90_000, "flows": 1},
)


@pytest.fixture
def meter(target_name: str) -> Iterator[MeterUnderTest]:
    with open_target(target_name) as target:
        yield MeterUnderTest(target)


@pytest.fixture
def here() -> MeterUnderTest:
    return MeterUnderTest(open_target("cpython"))


def test_build_of_another_region_is_refused(meter: MeterUnderTest) -> None:
    with pytest.raises(BenchError, match="FFFF"):
        meter.build(meter=METER, region=0x0102, **KEYS)


def test_request_without_power_or_unknown_is_refused(meter: MeterUnderTest) -> None:
    with pytest.raises(BenchError, match="no power"):
        meter.snapshot()
    meter.build(meter=METER, **KEYS)
    with pytest.raises(BenchError, match="unknown request"):
        meter.target.ask(0xF0FF)
    meter.power_off(warned=False)
    with pytest.raises(BenchError, match="no power"):
        meter.run(1000, 1)
    assert meter.power_on()["register"] == 0


def test_build_begins_at_what_the_factory_wrote(meter: MeterUnderTest) -> None:
    snapshot = meter.build(meter=METER, register=120, index=4321, **KEYS)
    assert (snapshot["register"], snapshot["index"], snapshot["flows"]) == (120, 4321, 0)


def test_run_draws_all_of_it_and_takes_all_the_time(meter: MeterUnderTest) -> None:
    play(OPENED, meter)
    snapshot = meter.run(HOUR, 123_456)
    assert (snapshot["elapsed_ms"], snapshot["drawn_milli"]) == (HOUR, 123_456)
    assert (snapshot["index"], snapshot["index_milli"]) == (500 + 123, 456)
    assert (snapshot["register"], snapshot["remaining"]) == (123, 90_000 - 123)


def test_gas_is_drawn_while_a_card_is_in(meter: MeterUnderTest) -> None:
    play(OPENED, meter)
    chip = new_card()
    write_order(chip, "user", {**ORDER, "sequence": 2, "bought_total": 95_000})
    assert meter.insert(chip, milliseconds=10_000, milli_pulses=20_500) == codes.OK
    assert (meter.last["drawn_milli"], meter.last["register"], meter.last["remaining"]) == (20_500, 20, 94_980)
    assert meter.last["elapsed_ms"] >= 10_000


def test_meter_that_leaves_the_factory_unkeyed_takes_no_card_but_a_key_card(meter: MeterUnderTest) -> None:
    meter.build(meter=METER, factory_key=FACTORY_KEY, **KEYS)
    chip = new_card()
    write_order(chip, "opening", {**ORDER, "bought_total": 100})
    assert meter.insert(chip) == codes.REGION
    meter.remove()
    assert meter.insert(new_tool("clear", {})) == codes.REGION
    meter.remove()
    assert meter.insert(new_tool("key", {"key_version": 1})) == codes.OK
    meter.remove()
    assert meter.insert(chip) == codes.OK


def test_run_through_a_shut_valve_draws_nothing(meter: MeterUnderTest) -> None:
    meter.build(meter=METER, **KEYS)
    snapshot = meter.run(HOUR, 1000)
    assert (snapshot["elapsed_ms"], snapshot["drawn_milli"], snapshot["index_milli"]) == (0, 0, 0)


def test_run_ends_when_the_alarm_shuts_the_valve(meter: MeterUnderTest) -> None:
    play(OPENED._replace(steps=(*OPENED.steps, ("pulses", 89_000))), meter, judge=False)
    snapshot = meter.run(HOUR, 1_000_000)
    assert snapshot["reasons"] == SHUT_ALARM
    # Five hundred pulses take half an hour, the valve four seconds; one pulse is 3.6 s.
    assert HOUR // 2 + 4000 <= snapshot["elapsed_ms"] <= HOUR // 2 + 4100
    assert snapshot["drawn_milli"] == (snapshot["index"] - 89_500) * 1000 + snapshot["index_milli"]
    assert snapshot["register"] == snapshot["index"] - 500 == 89_501
    assert snapshot["remaining"] == 90_000 - 89_501


def test_time_passes_the_same_with_gas_and_without(here: MeterUnderTest) -> None:
    play(OPENED, here)
    here.run(HOUR, 100_000)
    here.wait(HOUR)
    here.run(HOUR, 0)
    here.target.ask(bench.PULSES, (89_600).to_bytes(4, "big"))  # over the alarm: an event with a time
    alarm = [entry for entry in here.events() if entry["kind"] == events.ALARM]
    assert [entry["time"] for entry in alarm] == [ORDER["time"] + 3 * 60]


@pytest.mark.parametrize("milli", [0, 1, 250, 499, 500, 750, 999])
def test_power_cut_in_the_middle_of_a_turn_loses_no_pulse(milli: int, here: MeterUnderTest) -> None:
    play(OPENED, here)
    here.run(HOUR, 5_000 + milli)
    here.power_off(warned=False)
    here.power_on()
    here.wait(10_000)
    here.key()
    snapshot = here.run(HOUR, 3_000)
    assert snapshot["register"] == snapshot["index"] - 500 == 8
    assert snapshot["index_milli"] == milli


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "memory",
    [
        {"memory": bench.MEMORY_FRAM, "lane_length": 64},
        {"memory": bench.MEMORY_EEPROM, "lanes": 4, "lane_length": 64},
        {"memory": bench.MEMORY_MAPPED},
    ],
)
def test_register_follows_the_wheels_whatever_happens(seed: int, memory: dict[str, Any], here: MeterUnderTest) -> None:
    chance = random.Random(seed)
    play(OPENED._replace(steps=(("build", memory), *OPENED.steps[1:])), here)
    for _ in range(150):
        act = chance.choice(("run", "run", "run", "pulses", "wait", "key", "cut", "warned cut"))
        if act == "run":
            here.run(chance.randrange(1, HOUR), chance.randrange(60_000))
        elif act == "pulses":
            here.pulses(chance.randrange(300))
        elif act == "wait":
            here.wait(chance.randrange(HOUR))
        elif act == "key":
            here.key()
        else:
            here.power_off(warned=act == "warned cut")
            here.power_on()
        snapshot = here.snapshot()
        assert snapshot["register"] == snapshot["index"] - 500
        assert snapshot["remaining"] == 90_000 - snapshot["register"]


def test_card_crosses_whole_both_ways(meter: MeterUnderTest) -> None:
    meter.build(meter=METER, **KEYS)
    chip = new_card()
    chip.main[0xEF:0x100] = bytes(range(17))
    assert meter.insert(chip) == codes.SHAPE  # no order on it
    assert meter.remove().dump() == chip.dump()


def test_clock_goes_on_without_power(meter: MeterUnderTest) -> None:
    meter.build(meter=METER, minutes=1000, **KEYS)
    meter.power_off(warned=True)
    meter.clock(5000)
    meter.power_on()
    log = meter.events()
    assert [(entry["kind"], entry["time"]) for entry in log] == [
        (events.BOOT, 1000),
        (events.POWER_FAILING, 1000),
        (events.BOOT, 5000),
    ]


def test_events_are_read_as_far_as_the_ring_reaches(here: MeterUnderTest) -> None:
    here.build(meter=METER, **KEYS)
    for _ in range(200):
        here.power_off(warned=False)
        here.power_on()
    numbers = [entry["number"] for entry in here.events()]
    assert numbers == list(range(201 - 175, 202))


def test_wear_counts_a_byte_a_pulse(meter: MeterUnderTest) -> None:
    play(OPENED, meter)
    before = meter.wear()
    meter.pulses(1000)
    after = meter.wear()
    assert after["written"] - before["written"] == 1000
    for _ in range(10):
        meter.run(HOUR, 1_000)
    assert meter.wear()["writes"] - after["writes"] == 10


def test_wear_of_a_mapped_memory_is_refused(here: MeterUnderTest) -> None:
    here.build(meter=METER, memory=bench.MEMORY_MAPPED, **KEYS)
    with pytest.raises(BenchError, match="no wear"):
        here.wear()


def test_store_shows_the_tally(here: MeterUnderTest) -> None:
    play(OPENED, here)
    here.pulses(3)
    assert here.store(0x1000, 5) == b"\xa5\xa5\xa5\x5a\x5a"


def test_order_on_a_chip_is_what_the_meter_takes(here: MeterUnderTest) -> None:
    play(OPENED, here)
    chip = new_card(78)  # a second card of the same account: the meter asks for a genuine order, not a card
    write_order(chip, "user", {**ORDER, "sequence": 2, "bought_total": 95_000})
    assert here.insert(chip) == codes.OK
    assert here.last["bought_total"] == 95_000
