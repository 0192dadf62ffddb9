"""Wheels against meter, by hand: 7 wheels (10 000 000 pulses) of 0.01 m³ unless a row says otherwise."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gascard import codes
from gascard.records import S24_MAX, TIME_MAX
from gashall import errors
from gashall.drift import TOLERANCE, Verdict, compare
from gashall.errors import RequestError

AGREES, EXPLAINED, APART = Verdict
WHEELS = 10_000_000
REPORT = {"index": 123_456, "register": 120_000, "time": 13_762_695, "boots": 9, "power_failures": 0}


def report(**fields):
    return {**REPORT, **fields}


# index, reading, wheels, power failures (then, now), settled -> drift, allowed, verdict, correction
CASES = [
    (123_456, "1234.56", WHEELS, (0, 0), 0, 0, 1, AGREES, 0),
    (123_456, "1234.57", WHEELS, (0, 0), 0, 1, 1, AGREES, 0),
    (123_456, "1234.55", WHEELS, (0, 0), 0, -1, 1, AGREES, 0),
    (123_456, "1234.58", WHEELS, (0, 0), 0, 2, 1, APART, 2),
    (123_456, "1234.58", WHEELS, (0, 1), 0, 2, 2, EXPLAINED, 2),
    (123_456, "1234.59", WHEELS, (0, 1), 0, 3, 2, APART, 3),
    (123_456, "1234.59", WHEELS, (4, 6), 0, 3, 3, EXPLAINED, 3),
    (123_456, "1234.59", WHEELS, (6, 6), 0, 3, 1, APART, 3),
    (123_456, "1234.53", WHEELS, (0, 2), 0, -3, 3, EXPLAINED, -3),
    (123_456, "1200", WHEELS, (0, 0), 0, -3456, 1, APART, -3456),
    # what was settled before is not found again, and what came since is
    (123_456, "1234.59", WHEELS, (2, 2), 3, 0, 1, AGREES, 0),
    (123_456, "1234.61", WHEELS, (2, 3), 3, 2, 2, EXPLAINED, 2),
    (123_456, "1234.56", WHEELS, (2, 2), -4, 4, 1, APART, 4),
    # round the end of the wheels
    (9_999_999, "0", WHEELS, (0, 0), 0, 1, 1, AGREES, 0),
    (9_999_998, "0.02", WHEELS, (0, 3), 0, 4, 4, EXPLAINED, 4),
    (1, "99999.97", WHEELS, (0, 0), 0, -4, 1, APART, -4),
    (9_999_999, "0.03", WHEELS, (0, 0), 5, -1, 1, AGREES, 0),
    # half-way round counts as too little counted
    (0, "5", 1000, (0, 0), 0, 500, 1, APART, 500),
    (0, "5.01", 1000, (0, 0), 0, -499, 1, APART, -499),
    # the meter's count of power failures ends at 255
    (123_456, "1234.58", WHEELS, (200, 255), 0, 2, 56, EXPLAINED, 2),
]


@pytest.mark.parametrize(
    ("index", "reading", "wheels", "failures", "settled", "drift", "allowed", "verdict", "correction"), CASES
)
def test_comparison_is_the_one_made_by_hand(
    index, reading, wheels, failures, settled, drift, allowed, verdict, correction
):
    found = compare(
        report(index=index, power_failures=failures[1]),
        Decimal(reading),
        2,
        wheels,
        settled=settled,
        power_failures=failures[0],
    )
    assert (found.drift, found.allowed, found.verdict, found.correction) == (drift, allowed, verdict, correction)
    assert found.at_least == (failures[1] == 255)


@pytest.mark.parametrize(("weight", "reading", "drift"), [(0, "123458", 2), (1, "12345.3", -3), (2, "1234.6", 4)])
def test_reading_counts_in_the_meters_pulses(weight, reading, drift):
    assert compare(REPORT, reading, weight, WHEELS).drift == drift


def test_comparison_says_what_was_compared():
    found = compare(REPORT, "1234.58", 2, WHEELS)
    assert (found.wheels, found.index, found.register) == (123_458, 123_456, 120_000)
    assert found.moment == datetime(2026, 3, 2, 10, 15, tzinfo=UTC)
    assert TOLERANCE == 1


def test_positive_correction_takes_gas_from_a_meter_that_counted_too_little():
    """Bought 5000, 2000 really burnt, 1990 counted: after the correction 3000 are left, as they should be."""
    bought, burnt, counted = 5000, 2000, 1990
    found = compare(report(index=counted, register=counted), f"{burnt / 100:.2f}", 2, WHEELS)
    assert bought - counted - found.correction == bought - burnt


REFUSED = [
    ({}, "1234.565", 2, WHEELS, {}, errors.NOT_WHOLE_PULSES, "no whole number of pulses"),
    ({}, "1234.56", 1, WHEELS, {}, errors.NOT_WHOLE_PULSES, "no whole number of pulses"),
    ({}, "100000", 2, WHEELS, {}, codes.RANGE, "reading of 100000 m³ is outside 0 to 99999.99"),
    ({}, "-0.01", 2, WHEELS, {}, codes.RANGE, "reading of -0.01 m³"),
    ({}, "12,5", 2, WHEELS, {}, errors.AMOUNT, "no reading"),
    ({}, 12.5, 2, WHEELS, {}, errors.AMOUNT, "no reading"),
    ({}, "1", 3, WHEELS, {}, codes.WEIGHT, "weight of 3"),
    ({}, "1", 2, 1, {}, errors.FIELD, "wheels is 2 to 100000000"),
    ({}, "1", 2, 123_456, {}, errors.FIELD, "index 123456 in the report is beyond wheels of 123456"),
    ({}, "1", 2, WHEELS, {"power_failures": 1}, errors.FIELD, "of the last comparison is 0 to 0"),
    ({}, "1", 2, WHEELS, {"settled": 1.5}, errors.FIELD, "settled is"),
    ({"power_failures": 256}, "1", 2, WHEELS, {}, errors.FIELD, "power_failures is 0 to 255"),
    ({"index": None}, "1", 2, WHEELS, {}, errors.FIELD, "The report has no index"),
    ({"time": "now"}, "1234.56", 2, WHEELS, {}, errors.FIELD, "The report has no time"),
    ({"time": TIME_MAX + 1}, "1234.56", 2, WHEELS, {}, errors.FIELD, "time is 0 to"),
    ({"index": 0}, "83886.08", 2, 10**8, {}, codes.RANGE, "8388608 pulses from the index; no correction"),
]


@pytest.mark.parametrize(("fields", "reading", "weight", "wheels", "more", "code", "told"), REFUSED)
def test_impossible_comparison_is_refused_in_words(fields, reading, weight, wheels, more, code, told):
    with pytest.raises(RequestError) as refusal:
        compare(report(**fields), reading, weight, wheels, **more)
    assert refusal.value.code == code
    assert told in str(refusal.value)


def test_largest_correction_is_the_one_an_order_holds():
    assert compare(report(index=0), "83886.07", 2, 10**8).correction == S24_MAX


@given(st.integers(0, WHEELS - 1), st.integers(-5_000_000 + 1, 5_000_000), st.integers(-1000, 1000))
def test_drift_is_what_the_wheels_are_ahead(index, ahead, settled):
    wheels = (index + ahead + settled) % WHEELS
    assert compare(report(index=index), Decimal(wheels).scaleb(-2), 2, WHEELS, settled=settled).drift == ahead
