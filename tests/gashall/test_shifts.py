"""Shifts: whose sales are whose, what must agree at the end, and what a death at the close leaves."""

from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from paper import METER, NEIGHBOUR, REGION
from tests.conftest import require_part

from gashall import errors
from gashall.errors import LedgerError, RequestError
from gashall.labels import columns

require_part("sqlalchemy")
from gashall.ledger import Ledger  # noqa: E402
from gashall.shifts import WIDTH  # noqa: E402

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ACCOUNT = "0000000001"


class DeadError(BaseException):
    """The program stops here."""


def shifts_of(hall, account=ACCOUNT):
    with hall.ledger.look() as books:
        return [order.shift for order in books.orders(account)]


def refused(hall, attempt, code, *told):
    """The attempt is refused by that code in those words, and the ledger stays as it was."""
    head = hall.audit().head
    with pytest.raises((LedgerError, RequestError)) as refusal:
        attempt()
    assert refusal.value.code == code
    for words in told:
        assert words in str(refusal.value)
    assert hall.audit().head == head


def test_company_without_shifts_sells_without(desk):
    hall = desk.opened()
    hall.sell(desk.card, 20)
    assert shifts_of(hall) == [None, None]
    refused(hall, hall.shift, errors.SHIFT_MISSING, "No shift was ever opened.")
    refused(hall, lambda: hall.shift(1), errors.SHIFT_MISSING, "There is no shift 1.")
    refused(hall, lambda: hall.close_shift(0), errors.SHIFT_MISSING, "icgas hall shift open")


def test_order_carries_the_shift_it_was_made_in(desk):
    hall = desk.hall()
    assert hall.open_shift("李明").number == 1
    hall.open_account(desk.blank(), meter=METER, volume=30, fen=7500)
    desk.meter.insert(desk.card_path)
    hall.close_shift(7500)
    assert hall.open_shift("Wang").number == 2
    # Another window of the same ledger: the shift is the counter's.
    desk.hall().sell(desk.card, 20, fen=5000)
    assert shifts_of(hall) == [1, 2]
    assert [(hall.shift(n).openings, hall.shift(n).sales) for n in (1, 2)] == [(1, 0), (0, 1)]
    assert hall.audit().clean


def test_shift_adds_up_what_was_sold(desk):
    hall = desk.hall()
    hall.open_account(desk.blank(), meter=METER, volume=30, fen=7500)
    desk.meter.insert(desk.card_path)
    opened = hall.open_shift("Li Ming")
    assert (opened.clerk, opened.opened_at, opened.closed_at, opened.head) == ("Li Ming", NOON, None, None)
    hall.sell(desk.card, "20.5", fen=5125)
    hall.open_account(desk.blank("n.bin"), meter=NEIGHBOUR, volume=7, pulse_weight=0)
    told = hall.shift()
    assert (told.openings, told.sales, told.volume, told.money) == (1, 1, Decimal("27.50"), 5125)
    assert (told.unpaid, told.unfinished, told.cash, told.reason) == (1, 0, None, None)
    closed = hall.close_shift(5125)
    assert (closed.cash, closed.money, closed.closed_at, closed.reason) == (5125, 5125, NOON, None)
    assert closed.head == hall.audit().head
    assert hall.shift() == hall.shift(1) == closed


def test_nothing_is_sold_between_two_shifts(desk):
    hall = desk.opened()
    hall.read_back(desk.card)
    hall.open_shift("Li Ming")
    hall.close_shift(0)
    card = desk.card_path.read_bytes()
    refused(hall, lambda: hall.sell(desk.card, 20), errors.SHIFT_MISSING, "icgas hall shift open CLERK")
    assert desk.card_path.read_bytes() == card
    reader = desk.blank("n.bin")
    blank = (desk.folder / "n.bin").read_bytes()
    refused(hall, lambda: hall.open_account(reader, meter=NEIGHBOUR, volume=1), errors.SHIFT_MISSING)
    assert (desk.folder / "n.bin").read_bytes() == blank


def test_shift_closed_while_a_card_is_unlocked_makes_no_order(desk):
    hall = desk.opened()
    hall.open_shift("Li Ming")
    reader = desk.card
    present = reader.present

    def slow(*words, **options):
        hall.close_shift(0)
        return present(*words, **options)

    reader.present = slow
    with pytest.raises(LedgerError) as refusal:
        desk.hall().sell(reader, 20, fen=1)
    assert refusal.value.code == errors.SHIFT_MISSING
    assert shifts_of(hall) == [None]
    assert hall.shift().money == 0


def test_second_shift_waits_for_the_first(desk):
    hall = desk.hall()
    hall.open_shift("李明")
    told = "Shift 1 of 李明 is open since 2026-03-01 20:00+08:00."
    refused(hall, lambda: hall.open_shift("Wang"), errors.SHIFT_OPEN, told, "icgas hall shift close")


def test_database_itself_takes_no_second_open_shift(desk):
    hall = desk.hall()
    hall.open_shift("李明")
    with pytest.raises(LedgerError), hall.ledger.begin() as books:
        books.open_shift("Wang", 0)
    assert hall.audit().clean


@pytest.mark.parametrize(
    ("cash", "side"), [(0, "75.00 yuan short"), (7499, "0.01 yuan short"), (7501, "0.01 yuan over")]
)
def test_close_that_does_not_agree_is_refused_unless_its_reason_is_kept(desk, cash, side):
    hall = desk.hall()
    hall.open_shift("Li Ming")
    hall.open_account(desk.blank(), meter=METER, volume=30, fen=7500)
    refused(hall, lambda: hall.close_shift(cash), errors.SHIFT_DIFFERS, "75.00 yuan by the orders", side, "--differs")
    assert hall.shift().closed_at is None
    closed = hall.close_shift(cash, differs="找零有误")
    assert (closed.cash, closed.money, closed.reason) == (cash, 7500, "找零有误")
    assert hall.audit().clean


def test_reason_for_no_difference_is_refused(desk):
    hall = desk.hall()
    hall.open_shift("Li Ming")
    refused(hall, lambda: hall.close_shift(0, differs="as always"), errors.FIELD, "Nothing differs.")


@pytest.mark.parametrize("text", ["", " ", "x" * 201, "a\nb", "\x1b[2J", "\ud800", None, 5, b"Li"])
def test_clerk_and_reason_are_text_of_one_line(desk, text):
    hall = desk.hall()
    refused(hall, lambda: hall.open_shift(text), errors.FIELD, "The clerk is text")
    hall.open_shift("x" * 200)
    if text is not None:
        refused(hall, lambda: hall.close_shift(1, differs=text), errors.FIELD, "The reason is text")


@pytest.mark.parametrize("cash", [-1, 1.5, True, None, "0", 1 << 53])
def test_cash_that_is_no_money_is_refused(desk, cash):
    hall = desk.hall()
    hall.open_shift("Li Ming")
    refused(hall, lambda: hall.close_shift(cash), errors.FIELD)


@pytest.mark.parametrize("number", [0, -1, True, "1", 1 << 31])
def test_number_that_is_no_shifts_is_refused(desk, number):
    hall = desk.hall()
    refused(hall, lambda: hall.shift(number), errors.FIELD)


def test_slip_fits_its_paper(desk):
    hall = desk.hall()
    hall.open_shift("Li Ming")
    hall.open_account(desk.blank(), meter=METER, volume="83886.07", fen=(1 << 53) - 1)
    lines = hall.close_shift(0, differs="x").lines()
    assert max(map(columns, lines)) == WIDTH
    assert f"gas 气量{'83886.07 m³':>34}" in lines


def dying(reader):
    """Let ``reader`` store three bytes, then stop the program."""
    left = [3]

    def step(plan):
        left[0] -= 1
        if left[0] < 0:
            raise DeadError

    reader.step = step
    return reader


def test_sale_that_died_is_finished_after_its_shift_and_stays_its(desk):
    hall = desk.opened()
    hall.open_shift("Li Ming")
    with pytest.raises(DeadError):
        hall.sell(dying(desk.card), 20, fen=5000)
    closed = hall.close_shift(5000)
    assert (closed.sales, closed.unfinished) == (1, 1)
    assert f"orders not finished 未完成笔数{'1':>12}" in closed.lines()
    assert hall.sell(desk.card, 20, fen=5000).resumed
    assert shifts_of(hall) == [None, 1]
    assert hall.shift().unfinished == 0


class DyingLedger(Ledger):
    """A ledger whose host dies before or after its next commit."""

    before = None

    @contextmanager
    def begin(self):
        with super().begin() as books:
            yield books
            if self.before is True:
                raise DeadError
        if self.before is False:
            raise DeadError


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("action", ["open", "close"])
def test_death_at_a_commit_leaves_the_whole_booking_or_none(desk, action, before):
    ledger = DyingLedger(desk.folder / "ledger.db", REGION)
    hall = desk.hall(ledger)

    def act(hall):
        return hall.open_shift("李明") if action == "open" else hall.close_shift(9, differs="x")

    if action == "close":
        hall.open_shift("李明")
    ledger.before = before
    with pytest.raises(DeadError):
        act(hall)
    desk.close()
    hall = desk.hall()
    assert hall.audit().clean
    if before:
        act(hall)
    else:
        refused(hall, lambda: act(hall), errors.SHIFT_OPEN if action == "open" else errors.SHIFT_MISSING)
    told = hall.shift()
    assert (told.number, told.clerk, told.cash) == (1, "李明", None if action == "open" else 9)
    assert (told.head is None) == (action == "open")
    assert hall.audit().clean


@pytest.mark.parametrize(("column", "value"), [("clerk", "x'ff'"), ("open", "2"), ("opened_at", "-1"), ("cash", "'x'")])
def test_damaged_shift_is_named(desk, column, value):
    hall = desk.hall()
    hall.open_shift("Li Ming")
    with hall.ledger.begin() as books:
        books._connection.exec_driver_sql(f"UPDATE shifts SET {column} = {value}")
    with pytest.raises(LedgerError, match=rf"damaged: shifts\.{column} holds"):
        hall.shift()
