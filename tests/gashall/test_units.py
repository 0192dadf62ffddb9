"""m³ to pulses and back, exactly or not at all; times; numbers people type."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gascard import codes
from gashall import errors, units
from gashall.errors import RequestError

WHOLE = [
    (30, 2, 3000),
    ("30", 2, 3000),
    ("0.01", 2, 1),
    ("12.340", 2, 1234),
    (Decimal("12.30"), 1, 123),
    (Decimal("1E+2"), 0, 100),
    ("-0", 2, 0),
    (0, 0, 0),
    ("999999.99", 2, 99_999_999),
    (99_999_999, 0, 99_999_999),
    (" 7 ", 0, 7),
]
REFUSED = [
    (0.1, 2, errors.AMOUNT),
    (True, 2, errors.AMOUNT),
    (None, 2, errors.AMOUNT),
    ("", 2, errors.AMOUNT),
    ("abc", 2, errors.AMOUNT),
    ("1,5", 2, errors.AMOUNT),
    ("1e3", 2, errors.AMOUNT),
    ("1_0", 2, errors.AMOUNT),
    ("٣", 2, errors.AMOUNT),
    ("9" * 50, 2, errors.AMOUNT),
    (Decimal("NaN"), 2, errors.AMOUNT),
    (Decimal("sNaN"), 2, errors.AMOUNT),
    (Decimal("Infinity"), 2, codes.RANGE),
    (Decimal("1E+999999"), 2, codes.RANGE),
    ("0.001", 2, errors.NOT_WHOLE_PULSES),
    ("0.05", 1, errors.NOT_WHOLE_PULSES),
    (Decimal("0.5"), 0, errors.NOT_WHOLE_PULSES),
    (Decimal("1E-999999"), 2, errors.NOT_WHOLE_PULSES),
    (Decimal("1.00000000000000000000000000000000001"), 2, errors.NOT_WHOLE_PULSES),
    (-1, 2, codes.RANGE),
    ("-0.01", 2, codes.RANGE),
    ("1000000", 2, codes.RANGE),
    (100_000_000, 0, codes.RANGE),
    (10**400, 0, codes.RANGE),
    (-(10**400), 0, codes.RANGE),
    (1, 3, codes.WEIGHT),
    (1, -1, codes.WEIGHT),
    (1, True, codes.WEIGHT),
    (1, 1.0, codes.WEIGHT),
]


def test_huge_values_are_refused_at_once_and_not_written_out():
    huge = 10**5000
    for attempt in (
        *[lambda value=value: units.pulses(value, 2) for value in (huge, -huge, Decimal("1e999999"))],
        *[lambda value=value: units.pulses(value, 2) for value in (Decimal("-1e999999"), Decimal("1e-999999"))],
        lambda: units.pulses("9" * 10_000, 2),
        lambda: units.check_weight(huge),
        lambda: units.whole(huge, "field", 0, 1),
        lambda: units.moment(huge),
        lambda: units.meter_number(huge),
    ):
        with pytest.raises(RequestError) as refusal:
            attempt()
        assert len(str(refusal.value)) < 300
    assert units.pulses(Decimal("0e999999"), 2) == 0


@pytest.mark.parametrize(("volume", "weight", "count"), WHOLE)
def test_pulses_of_a_whole_volume_are_exact(volume, weight, count):
    assert units.pulses(volume, weight) == count


@pytest.mark.parametrize(("volume", "weight", "code"), REFUSED)
def test_pulses_of_an_impossible_volume_are_refused(volume, weight, code):
    with pytest.raises(RequestError) as refusal:
        units.pulses(volume, weight)
    assert refusal.value.code == code


def test_pulses_above_the_field_are_refused():
    with pytest.raises(RequestError, match=r"alarm of 655\.36 m³ is outside 0 to 655\.35") as refusal:
        units.pulses("655.36", 2, most=0xFFFF, what="alarm")
    assert refusal.value.code == codes.RANGE
    assert refusal.value.remedy == "Enter 0 to 655.35 m³."


def test_amount_below_the_least_is_refused_with_what_may_be_entered():
    with pytest.raises(RequestError, match=r"The volume of -3 m³ is outside 0\.01 to 9\.99 m³") as refusal:
        units.pulses(-3, 2, least=1, most=999)
    assert (refusal.value.code, refusal.value.remedy) == (codes.RANGE, "Enter 0.01 to 9.99 m³.")
    with pytest.raises(RequestError) as refusal:
        units.pulses("0.00", 2, least=1)
    assert refusal.value.code == errors.AMOUNT


@pytest.mark.parametrize("value", [0, 6, True, "1", 1.0, None])
def test_whole_number_of_another_kind_or_range_is_refused(value):
    assert units.whole(5, "digits", 1, 5) == 5
    with pytest.raises(RequestError, match="digits is 1 to 5") as refusal:
        units.whole(value, "digits", 1, 5)
    assert refusal.value.code == errors.FIELD


@given(st.integers(0, 99_999_999), st.integers(0, 2))
def test_volume_and_pulses_are_inverse(count, weight):
    volume = units.volume(count, weight)
    assert units.pulses(volume, weight) == units.pulses(str(volume), weight) == count


def test_volume_shows_the_decimals_of_its_weight():
    assert [str(units.volume(-1200, weight)) for weight in (0, 1, 2)] == ["-1200", "-120.0", "-12.00"]


def test_minutes_round_down_and_come_back():
    moment = datetime(2026, 3, 1, 20, 0, 59, tzinfo=timezone(timedelta(hours=8)))
    assert units.moment(units.minutes(moment)) == datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    assert units.minutes(units.EPOCH) == 0


@pytest.mark.parametrize(
    "moment",
    [datetime(2026, 3, 1), datetime(1999, 12, 31, 23, 59, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)],
)
def test_minutes_of_no_card_time_are_refused(moment):
    with pytest.raises(RequestError) as refusal:
        units.minutes(moment)
    assert refusal.value.code == errors.FIELD


def test_moment_beyond_the_calendar_is_refused():
    with pytest.raises(RequestError):
        units.moment(0xFFFFFFFF)


@pytest.mark.parametrize(
    "number", ["", "3206001234567", "320600123456789", "3206001234567a", "３" * 14, 32060012345678]
)
def test_meter_number_of_another_form_is_refused(number):
    with pytest.raises(RequestError) as refusal:
        units.meter_number(number)
    assert refusal.value.code == errors.NUMBER_MALFORMED


def test_numbers_of_the_right_form_are_taken():
    assert units.meter_number("32060012345678") == "32060012345678"
    assert units.account_number("0000104417") == "0000104417"
    with pytest.raises(RequestError):
        units.account_number("104417")


# ---------------------------------------------------------------------- money


@pytest.mark.parametrize(
    ("yuan", "fen"),
    [
        ("0", 0),
        ("0.00", 0),
        ("0.01", 1),
        ("0.1", 10),
        ("75", 7500),
        ("75.5", 7550),
        ("75.50", 7550),
        ("007.05", 705),
        ("90071992547409.91", units.FEN_MOST),
    ],
)
def test_money_is_read_exactly_and_shown_with_two_decimals(yuan, fen):
    assert units.fen(yuan) == fen
    assert units.fen(units.yuan(fen)) == fen


@pytest.mark.parametrize(
    "yuan",
    ["", " ", "-1", "+1", "1.", ".5", "1.234", "1e2", "1,5", "1 000", "٣", "5\n", "nan", "90071992547409.92", "9" * 41]
    + [None, 5, 5.5, b"5"],
)
def test_money_that_is_none_is_refused(yuan):
    with pytest.raises(RequestError, match="no sum of money in yuan") as refusal:
        units.fen(yuan)
    assert refusal.value.code == errors.AMOUNT


@pytest.mark.parametrize(
    ("fen", "yuan"), [(0, "0.00"), (5, "0.05"), (7550, "75.50"), (-5, "-0.05"), (-12345, "-123.45")]
)
def test_money_is_shown_in_yuan(fen, yuan):
    assert units.yuan(fen) == yuan


@pytest.mark.parametrize(("count", "told"), [(0, "0 pulses"), (1, "1 pulse"), (-1, "-1 pulse"), (2, "2 pulses")])
def test_counted_things_are_one_or_many(count, told):
    assert units.counted(count, "pulse") == told
