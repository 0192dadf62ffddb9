"""Sizes and what follows from them, by hand; and that the meter takes the limits that are recommended."""

from decimal import Decimal

import pytest

from gascard import codes
from gascard.records import ORDER, U8, kind_size
from gashall import errors
from gashall.errors import RequestError
from gashall.sizes import SIZES, guard_limits, over_flow_seconds
from meter import guards
from meter.layouts import GUARDS

NAMES = ("G1.6", "G2.5", "G4", "G6", "G10", "G16", "G25", "G40")

# Pulse weight -> seconds of each size. 0.1 m³ is one maker's table (DOMAIN 2); the rest is 36 or 3600 by qmax, rounded
# down; None: the field cannot hold it.
SECONDS = {
    2: (14, 9, 6, 3, 2, 1, None, None),
    1: (144, 90, 60, 36, 22, 14, 9, 5),
    0: (None, None, None, None, 225, 144, 90, 55),
}
EVERY = [(size, weight, s) for weight, row in SECONDS.items() for size, s in zip(NAMES, row, strict=True)]
SUITED = [(size, weight) for size, weight, seconds in EVERY if seconds is not None]

# What differs: pause, small gap (s), hours, minutes, large gap (ms), its time (s), pulses past the valve.
LIMITS = {
    # 36 / 0.04, its half, 24 h exceed 20 gaps (5 h); 18 000 / 6 = 3 s, three of them are 9
    ("G4", 2): (900, 450, 24, 1440, 3000, 10, 5),
    # 36 / 0.016; 18 000 / 2.5 = 7.2 s, three are 21.6
    ("G1.6", 2): (2250, 1125, 24, 1440, 7200, 22, 5),
    # 360 / 0.016, 20 gaps are 125 h; 180 / 2.5 = 72 s, more than the field holds
    ("G1.6", 1): (22500, 11250, 125, 7500, 65535, 120, 1),
    # 360 / 0.04, 20 gaps are 50 h; 180 / 6 = 30 s
    ("G4", 1): (9000, 4500, 50, 3000, 30000, 90, 1),
    # 36 / 0.16 = 225, its half rounded down; 18 000 / 25 = 0.72 s
    ("G16", 2): (225, 112, 24, 1440, 720, 10, 5),
    # 3600 / 0.1, 20 gaps are 200 h, the most of all; 1800 / 16 = 112.5 s
    ("G10", 0): (36000, 18000, 200, 12000, 65535, 120, 1),
    # 3600 / 0.4; 1800 / 65 = 27.692 s, three are 83.08
    ("G40", 0): (9000, 4500, 50, 3000, 27692, 84, 1),
}
VARYING = (
    "pause_seconds",
    "small_flow_gap",
    "small_flow_hours",
    "long_flow_minutes",
    "large_flow_gap",
    "large_flow_for",
    "past_valve_pulses",
)


def test_sizes_are_the_fields_table():
    assert tuple(SIZES) == NAMES
    assert all(size.qmin * 100 < size.qmax for size in SIZES.values())
    assert SIZES["G40"].qmax == Decimal(65)
    assert SIZES["G4"] == (Decimal(6), Decimal("0.04"))


@pytest.mark.parametrize(("size", "weight", "seconds"), EVERY)
def test_over_flow_is_the_gap_at_the_largest_flow(size, weight, seconds):
    if seconds is None:
        with pytest.raises(RequestError, match=rf"{size} pulses of .* apart; over_flow_seconds is 1 to 255") as refusal:
            over_flow_seconds(size, weight)
        assert refusal.value.code == errors.FIELD
    else:
        assert over_flow_seconds(size, weight) == seconds


@pytest.mark.parametrize(
    ("size", "weight", "code", "told"),
    [
        ("G5", 2, errors.FIELD, "no meter size 'G5'. Use one of G1.6, G2.5, G4"),
        ("g4", 2, errors.FIELD, "no meter size 'g4'"),
        ("", 1, errors.FIELD, "no meter size"),
        (4, 1, errors.FIELD, "no meter size 4"),
        (None, 1, errors.FIELD, "no meter size None"),
        (["G4"], 1, errors.FIELD, "no meter size"),
        ("G4", 3, codes.WEIGHT, "weight of 3"),
        ("G4", True, codes.WEIGHT, "weight of True"),
        ("G4", "2", codes.WEIGHT, "weight of '2'"),
        ("G25", 2, errors.FIELD, "less than 1 s apart"),
        ("G1.6", 0, errors.FIELD, "1440 s apart"),
    ],
)
@pytest.mark.parametrize("question", [over_flow_seconds, guard_limits])
def test_size_or_weight_that_does_not_exist_is_refused_in_words(question, size, weight, code, told):
    with pytest.raises(RequestError) as refusal:
        question(size, weight)
    assert refusal.value.code == code
    assert told in str(refusal.value)


@pytest.mark.parametrize(("size", "weight"), LIMITS)
def test_limits_are_those_made_by_hand(size, weight):
    limits = guard_limits(size, weight)
    assert tuple(limits[name] for name in VARYING) == LIMITS[size, weight]
    fixed = {name: value for name, value in limits.items() if name not in VARYING}
    assert fixed == {
        "report": 0b11_1111_1111,
        "shut": 0b11_1110_0111,
        "over_flow_seconds": over_flow_seconds(size, weight),
        "over_flow_for": 120,
        "idle_days": 30,
        "battery_low": 165,
        "battery_empty": 150,
    }


@pytest.mark.parametrize(("size", "weight"), SUITED)
def test_limits_are_fields_of_the_meter_and_within_the_ranges_in_use(size, weight):
    limits = guard_limits(size, weight)
    own = [(name, kind) for name, kind in GUARDS if name not in {"entry", "layout", "crc"} and "spare" not in name]
    assert list(limits) == [name for name, _ in own]
    for name, kind in own:
        assert 0 < limits[name] < 1 << 8 * kind_size(kind), name
    # DOMAIN 2
    assert limits["over_flow_for"] <= 120
    assert limits["large_flow_for"] <= 120
    assert limits["small_flow_hours"] <= 240
    assert 120 <= limits["long_flow_minutes"] * 60 <= 240 * 3600
    assert limits["idle_days"] <= 30
    # One stronger than the other, small flow shorter than a pause, and its time worth several gaps.
    assert limits["large_flow_gap"] < limits["over_flow_seconds"] * 1000
    assert limits["over_flow_seconds"] < limits["small_flow_gap"] < limits["pause_seconds"]
    assert limits["small_flow_hours"] * 3600 >= 20 * limits["pause_seconds"]
    assert limits["battery_empty"] < limits["battery_low"]


def test_order_field_is_the_byte_the_limit_must_fit():
    assert dict(ORDER)["over_flow_seconds"] == U8


def test_enable_bits_are_the_meters_guards():
    limits = guard_limits("G4", 2)
    numbers = range(guards.OVER_FLOW, guards.COVER + 1)
    assert [n for n in numbers if limits["report"] & 1 << n] == list(numbers)
    assert [n for n in numbers if not limits["shut"] & 1 << n] == [guards.LONG_FLOW, guards.IDLE]
    assert limits["report"] >> guards.COVER == limits["shut"] >> guards.COVER == 1


# Flow in m³ an hour through a G4 of 0.01 m³ pulses, hours of it -> guards that trip.
FLOWS = [
    ("0.039", 100, set()),  # below qmin: rest
    ("0.04", 23, set()),
    ("0.04", 26, {guards.SMALL_FLOW, guards.LONG_FLOW}),
    ("0.08", 26, {guards.SMALL_FLOW, guards.LONG_FLOW}),
    ("0.1", 26, {guards.LONG_FLOW}),
    ("2", 20, set()),  # a boiler
    ("2", 26, {guards.LONG_FLOW}),
    ("6", 5, set()),  # qmax
    ("6.1", 1, {guards.OVER_FLOW}),
    ("12.1", 1, {guards.OVER_FLOW, guards.LARGE_FLOW}),
]


@pytest.mark.parametrize(("flow", "hours", "tripped"), FLOWS)
def test_meter_with_these_limits_tells_a_leak_from_a_boiler(flow, hours, tripped):
    watch = guards.Guards()
    watch.set_limits(guard_limits("G4", 2), 0)
    gap = int(Decimal(36000) / Decimal(flow))  # ms
    bits = 0
    for _ in range(hours * 3_600_000 // gap):
        bits |= watch.pass_time(gap, 1)
    assert {guard for guard in range(10) if bits & 1 << guard} == tripped
