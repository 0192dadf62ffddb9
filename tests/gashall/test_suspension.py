"""A meter under test: what waits meanwhile, and what its test gas comes to."""

from decimal import Decimal

import pytest
from tests.conftest import require_part

from gascard import codes
from gashall import errors
from gashall.errors import GasError

require_part("sqlalchemy")

ACCOUNT = "0000000001"


def code_of(attempt):
    with pytest.raises(GasError) as refusal:
        attempt()
    return refusal.value.code


# Rule, readings -> test gas, make-up.
TESTS = [
    ("DOMAIN 1.25: below 1 m³ nothing is refunded", "10", "10.99", "0.99", "0"),
    ("DOMAIN 1.25: 1 m³ is no longer below it", "10", "11", "1", "1"),
    ("and then it is all of it", "10", "12.34", "2.34", "2.34"),
    ("no gas was used", "10", "10", "0", "0"),
    ("wheels that passed their end", "99999.5", "1.5", "2", "2"),
]


@pytest.mark.parametrize(
    ("before", "after", "gas", "make_up"), [row[1:] for row in TESTS], ids=[row[0] for row in TESTS]
)
def test_test_gas_is_suggested_as_a_make_up_from_a_cubic_metre_on(desk, before, after, gas, make_up):
    hall = desk.opened()
    begun = hall.suspend(ACCOUNT, before, "runs too fast")
    assert (begun.reading_before, begun.test_gas) == (Decimal(before), None)
    assert "never another IC meter" in begun.lines()[-1]
    ended = hall.end_suspension(ACCOUNT, after)
    assert (ended.test_gas, ended.make_up) == (Decimal(gas), Decimal(make_up))
    assert ("suggested make-up" in ended.lines()[-1]) == (Decimal(make_up) > 0)
    text = "\n".join(hall.history(ACCOUNT).lines())
    assert f"at {Decimal(before):.2f} m³, to 2026-03-01 20:00+08:00 at {Decimal(after):.2f} m³: runs too fast" in text
    assert hall.audit().clean


def test_while_suspended_nothing_is_sold_and_the_card_is_still_read(desk):
    hall = desk.opened()
    hall.suspend(ACCOUNT, 0, "complaint")
    image = desk.card_path.read_bytes()
    assert code_of(lambda: hall.sell(desk.card, 10)) == errors.SUSPENDED
    hall.mark_restored()
    hall.sell_while_recovering(True)
    for attempt in (lambda: hall.sell(desk.card, 10), lambda: hall.probe(desk.card)):
        assert code_of(attempt) == errors.SUSPENDED
    assert desk.card_path.read_bytes() == image
    assert hall.read_back(desk.card).state == "done"
    hall.end_suspension(ACCOUNT, "0.5")
    assert hall.sell(desk.card, 10).state == "written"


def test_order_begun_before_the_test_is_finished(desk):
    hall = desk.opened()
    reader = desk.card

    def dead(plan):
        raise KeyboardInterrupt

    present = reader.present

    def presented(*words, **more):
        right = present(*words, **more)
        reader.step = dead
        return right

    reader.present = presented
    with pytest.raises(KeyboardInterrupt):
        hall.sell(reader, 10)
    hall.suspend(ACCOUNT, 0, "complaint")
    assert hall.sell(desk.card, 10).resumed


# Rule, what is asked for -> code.
REFUSED = [
    ("not twice at once", lambda hall: hall.suspend(ACCOUNT, 2, "again"), errors.SUSPENDED),
    ("wheels do not turn back", lambda hall: hall.end_suspension(ACCOUNT, "0.99"), errors.FIELD),
    ("reading beyond the wheels", lambda hall: hall.end_suspension(ACCOUNT, "100000"), codes.RANGE),
    ("finer than the meter counts", lambda hall: hall.end_suspension(ACCOUNT, "1.001"), errors.NOT_WHOLE_PULSES),
    ("account unknown", lambda hall: hall.end_suspension("0000000009", 1), errors.ACCOUNT_UNKNOWN),
    ("no account number", lambda hall: hall.suspend("9", 1, "why"), errors.NUMBER_MALFORMED),
    ("no reason", lambda hall: hall.suspend(ACCOUNT, 1, ""), errors.FIELD),
]


@pytest.mark.parametrize(("attempt", "code"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_refusal_changes_nothing(desk, attempt, code):
    hall = desk.opened()
    hall.suspend(ACCOUNT, 1, "complaint")
    head = hall.audit().head
    assert code_of(lambda: attempt(hall)) == code
    assert hall.audit().head == head


def test_what_was_not_begun_does_not_end(desk):
    assert code_of(lambda: desk.opened().end_suspension(ACCOUNT, 1)) == errors.NOT_SUSPENDED


# ---------------------------------------------------------------------- what was typed wrongly

PEOPLE = {"requester": "Li Ming", "approver": "Wang Fang", "reason": "7 read as 1"}


def rows_of(hall):
    with hall.ledger.look() as books:
        return books.suspensions(1)


def test_test_begun_for_the_wrong_account_is_cancelled_and_stays_on_file(desk):
    hall = desk.opened()
    hall.suspend(ACCOUNT, 10, "complaint")
    told = hall.cancel_suspension(ACCOUNT, "it was the neighbour's")
    assert (told.cancelled, told.make_up) == ("it was the neighbour's", None)
    assert "cancelled (it was the neighbour's)" in told.lines()[0]
    assert hall.sell(desk.card, 10).state == "written"
    text = "\n".join(hall.history(ACCOUNT).lines())
    assert "at 10.00 m³, not ended: complaint; void: it was the neighbour's" in text
    assert code_of(lambda: hall.cancel_suspension(ACCOUNT, "again")) == errors.NOT_SUSPENDED
    assert code_of(lambda: hall.end_suspension(ACCOUNT, 11)) == errors.NOT_SUSPENDED
    # The next test is one of its own.
    hall.suspend(ACCOUNT, 20, "complaint")
    assert hall.end_suspension(ACCOUNT, 22).test_gas == 2
    assert hall.audit().clean


# What was typed, what is right -> test gas by it, make-up.
CORRECTIONS = [
    ("the reading at the beginning", (17, 18), {"reading": 11}, "7", "7"),
    ("the reading at the end", (11, 11), {"end_reading": 17}, "6", "6"),
    ("both", (17, 18), {"reading": "11.5", "end_reading": 12}, "0.5", "0"),
]


@pytest.mark.parametrize(
    ("typed", "right", "gas", "make_up"), [row[1:] for row in CORRECTIONS], ids=[row[0] for row in CORRECTIONS]
)
def test_mistyped_reading_is_corrected_by_two_people_and_both_rows_stay(desk, typed, right, gas, make_up):
    hall = desk.opened()
    hall.suspend(ACCOUNT, typed[0], "complaint")
    hall.end_suspension(ACCOUNT, typed[1])
    told = hall.correct_suspension(ACCOUNT, **right, **PEOPLE)
    assert (told.test_gas, told.make_up) == (Decimal(gas), Decimal(make_up))
    assert "look it up" in told.lines()[-1]
    void, row = rows_of(hall)
    assert (void.reading, void.end_reading) == tuple(100 * n for n in typed)
    assert (void.cancelled_for, void.requester, void.approver) == ("7 read as 1", "Li Ming", "Wang Fang")
    assert (row.at, row.ended_at, row.reason) == (void.at, void.ended_at, void.reason)
    assert row.cancelled_at is None
    assert "void: 7 read as 1, asked for by Li Ming, approved by Wang Fang" in "\n".join(hall.history(ACCOUNT).lines())
    assert hall.sell(desk.card, 10).state == "written"
    assert hall.audit().clean


def test_reading_at_the_beginning_is_corrected_while_the_meter_is_away(desk):
    hall = desk.opened()
    hall.suspend(ACCOUNT, 17, "complaint")
    assert hall.correct_suspension(ACCOUNT, reading=11, **PEOPLE).ended_at is None
    assert code_of(lambda: hall.sell(desk.card, 10)) == errors.SUSPENDED
    assert hall.end_suspension(ACCOUNT, 12).test_gas == 1
    # And once more afterwards: the last row that holds is the one corrected.
    assert hall.correct_suspension(ACCOUNT, end_reading=13, **PEOPLE).test_gas == 2
    assert [row.cancelled_at is None for row in rows_of(hall)] == [False, False, True]
    assert hall.audit().clean


WRONG_CORRECTIONS = [
    ("one person", {"reading": 11, **PEOPLE, "approver": "li ming"}, errors.APPROVER),
    ("no reason", {"reading": 11, **PEOPLE, "reason": ""}, errors.FIELD),
    ("nothing differs", {"reading": 17, **PEOPLE}, errors.FIELD),
    ("no reading at all", PEOPLE, errors.FIELD),
    ("the test has not ended", {"end_reading": 18, **PEOPLE}, errors.FIELD),
    ("beyond the wheels", {"reading": 100_000, **PEOPLE}, codes.RANGE),
]


@pytest.mark.parametrize(
    ("asked", "code"), [row[1:] for row in WRONG_CORRECTIONS], ids=[r[0] for r in WRONG_CORRECTIONS]
)
def test_wrong_correction_changes_nothing(desk, asked, code):
    hall = desk.opened()
    assert code_of(lambda: hall.correct_suspension(ACCOUNT, reading=11, **PEOPLE)) == errors.NOT_SUSPENDED
    hall.suspend(ACCOUNT, 17, "complaint")
    head = hall.audit().head
    assert code_of(lambda: hall.correct_suspension(ACCOUNT, **asked)) == code
    assert hall.audit().head == head


def test_corrected_wheels_do_not_turn_back_either(desk):
    hall = desk.opened()
    hall.suspend(ACCOUNT, 17, "complaint")
    with pytest.raises(GasError, match="suspend correct"):
        hall.end_suspension(ACCOUNT, 12)
    hall.end_suspension(ACCOUNT, 18)
    assert code_of(lambda: hall.correct_suspension(ACCOUNT, reading=19, **PEOPLE)) == errors.FIELD
