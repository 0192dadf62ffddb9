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
    assert f"at {Decimal(before):.2f} m³, to 2026-03-01 12:00 UTC at {Decimal(after):.2f} m³: runs too fast" in text
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
