"""Blank cards: where each is, who may hand out what, and that none is used twice or forgotten, whatever dies."""

from contextlib import contextmanager

import pytest
from paper import METER, NEIGHBOUR, REGION
from tests.conftest import require_part

from gascard import codes
from gashall import errors
from gashall.errors import CardError, LedgerError, RequestError

require_part("sqlalchemy")
from gashall.ledger import Ledger  # noqa: E402
from gashall.stock import Stock  # noqa: E402
from gashall.terms import STOCK_MOST  # noqa: E402


class DeadError(BaseException):
    """The program stops here."""


def refused(hall, attempt, code, *told):
    """The attempt is refused by that code in those words, and the ledger stays as it was."""
    head = hall.audit().head
    with pytest.raises((LedgerError, RequestError)) as refusal:
        attempt()
    assert refusal.value.code == code
    for words in told:
        assert words in str(refusal.value)
    assert hall.audit().head == head


def figures(hall):
    told = hall.stock()
    return told.store, told.hand, told.delivered, told.used, told.spoiled, told.missing


def moves(hall):
    with hall.ledger.raw_rows() as read:
        return [(row["kind"], row["count"], row["shift"], row["card"], row["reason"]) for row in read("stock_moves")]


def test_cards_are_not_counted_before_the_first_delivery(desk):
    hall = desk.opened()
    assert hall.stock() == Stock(0, None, 0, 0, 0, 0)
    hall.open_shift("Wang")
    hall.open_account(desk.blank("n.bin"), meter=NEIGHBOUR, volume=0)
    assert moves(hall) == []
    refused(hall, lambda: hall.close_shift(0, cards=0), errors.FIELD, "No stock of blank cards is booked.")
    assert hall.close_shift(0).cards is None


def test_without_shifts_cards_are_used_from_the_store(desk):
    hall = desk.hall()
    hall.stock_in(1)
    hall.stock_in(2)
    hall.open_account(desk.blank(), meter=METER, volume=0)
    hall.stock_spoiled(1, reason="bent")
    assert figures(hall) == (1, None, 3, 1, 1, 0)
    assert moves(hall) == [
        ("in", 1, None, None, None),
        ("in", 2, None, None, None),
        ("used", 1, None, 1, None),
        ("spoiled", 1, None, None, "bent"),
    ]
    refused(hall, lambda: hall.stock_out(1), errors.SHIFT_MISSING, "No shift is open to hand cards out to.")
    refused(hall, lambda: hall.stock_spoiled(2), errors.STOCK_SHORT, "the store has 1 blank card, not 2.")
    assert hall.audit().clean


def test_shift_uses_what_it_was_handed_and_gives_back_the_rest(desk):
    hall = desk.hall()
    hall.stock_in(10)
    hall.open_shift("Wang")
    assert hall.stock_out(4) == Stock(6, 4, 10, 0, 0, 0)
    hall.open_account(desk.blank(), meter=METER, volume=0)
    hall.stock_spoiled(1)
    assert figures(hall) == (6, 2, 10, 1, 1, 0)
    refused(hall, lambda: hall.close_shift(0), errors.FIELD, "The blank cards were not counted.", "--cards")
    closed = hall.close_shift(0, cards=2)
    assert (closed.handed_out, closed.used, closed.spoiled, closed.cards, closed.openings) == (4, 1, 1, 2, 1)
    assert closed.head == hall.audit().head
    assert figures(hall) == (8, None, 10, 1, 1, 0)
    hall.open_shift("Li")
    assert figures(hall) == (8, 0, 10, 1, 1, 0)
    assert hall.close_shift(0, cards=0).handed_out == 0
    assert hall.audit().clean


def test_sale_uses_no_card(desk):
    hall = desk.opened()
    hall.stock_in(1)
    hall.sell(desk.card, 20)
    assert figures(hall) == (1, None, 1, 0, 0, 0)


@pytest.mark.parametrize(("cards", "side"), [(0, "2 short"), (1, "1 short"), (3, "1 over")])
def test_count_that_does_not_agree_is_refused_unless_its_reason_is_kept(desk, cards, side):
    hall = desk.hall()
    hall.stock_in(5)
    hall.open_shift("Wang")
    hall.stock_out(2)
    told = f"blank cards {cards} counted, 2 by the stock: {side}."
    refused(hall, lambda: hall.close_shift(0, cards=cards), errors.SHIFT_DIFFERS, told)
    both = f"cash 0.05 yuan counted, 0.00 yuan by the orders: 0.05 yuan over; {told}"
    refused(hall, lambda: hall.close_shift(5, cards=cards), errors.SHIFT_DIFFERS, both)
    closed = hall.close_shift(0, cards=cards, differs="counted twice")
    assert (closed.cards, closed.reason) == (cards, "counted twice")
    assert f"difference 差额{cards - 2:>27}" in closed.lines()
    assert figures(hall) == (3 + cards, None, 5, 0, 0, 2 - cards)
    assert ("missing", 2 - cards, 1, None, "counted twice") in moves(hall)
    hall.open_shift("Li")
    assert hall.stock().hand == 0
    assert hall.audit().clean


def test_agreeing_count_wants_no_reason(desk):
    hall = desk.hall()
    hall.stock_in(5)
    hall.open_shift("Wang")
    refused(hall, lambda: hall.close_shift(0, cards=0, differs="x"), errors.FIELD, "Nothing differs.")


def test_no_more_is_handed_out_than_the_store_has(desk):
    hall = desk.hall()
    hall.open_shift("Wang")
    refused(hall, lambda: hall.stock_out(1), errors.STOCK_SHORT, "the store has 0 blank cards, not 1.")
    hall.stock_in(3)
    refused(hall, lambda: hall.stock_out(4), errors.STOCK_SHORT, "the store has 3 blank cards, not 4.")
    hall.stock_out(3)
    refused(hall, lambda: hall.stock_out(1), errors.STOCK_SHORT, "the store has 0 blank cards, not 1.")
    refused(hall, lambda: hall.stock_spoiled(4), errors.STOCK_SHORT, "shift 1 has 3 blank cards, not 4.")


@pytest.mark.parametrize("shift", [False, True])
def test_account_is_not_opened_on_a_card_that_is_not_there(desk, shift):
    hall = desk.hall()
    hall.stock_in(1)
    if shift:
        hall.open_shift("Wang")
    else:
        hall.stock_spoiled(1)
    reader = desk.blank()
    blank = desk.card_path.read_bytes()
    whose = "shift 1" if shift else "the store"
    told = f"By the stock {whose} has 0 blank cards, not 1."
    refused(hall, lambda: hall.open_account(reader, meter=METER, volume=0), errors.STOCK_SHORT, told, "stock in")
    assert desk.card_path.read_bytes() == blank


@pytest.mark.parametrize("count", [0, -1, True, 1.5, "1", None, STOCK_MOST + 1])
def test_count_that_is_none_is_refused(desk, count):
    hall = desk.hall()
    hall.open_shift("Wang")
    for move in (hall.stock_in, hall.stock_out, hall.stock_spoiled):
        refused(hall, lambda move=move: move(count), errors.FIELD, "count is 1 to 1000000")
    if count not in (0, 1, None):
        refused(hall, lambda: hall.close_shift(0, cards=count), errors.FIELD, "cards is 0 to 1000000")


def test_store_that_is_full_takes_no_more(desk):
    hall = desk.hall()
    hall.stock_in(STOCK_MOST)
    refused(hall, lambda: hall.stock_in(1), errors.FIELD, "at most 1000000 cards")


@pytest.mark.parametrize("reason", ["", "a\nb", 5, "x" * 201])
def test_reason_is_text_of_one_line(desk, reason):
    hall = desk.hall()
    hall.stock_in(1)
    refused(hall, lambda: hall.stock_spoiled(1, reason=reason), errors.FIELD, "The reason is text")


def test_card_that_is_refused_uses_none(desk):
    hall = desk.opened()
    hall.stock_in(1)
    with pytest.raises(CardError):
        hall.open_account(desk.card, meter=NEIGHBOUR, volume=0)
    assert hall.stock().used == 0


def stopped(reader, count):
    """Let ``reader`` store ``count`` bytes, then stop the program."""
    left = [count]

    def step(plan):
        left[0] -= 1
        if left[0] < 0:
            raise DeadError

    reader.step = step
    return reader


class DyingLedger(Ledger):
    """A ledger whose host dies before or after its commit number ``left``."""

    left = 1 << 30
    before = True

    @contextmanager
    def begin(self):
        self.left -= 1
        with super().begin() as books:
            yield books
            if self.left < 0 and self.before:
                raise DeadError
        if self.left < 0:
            raise DeadError


def prepared(desk, ledger=None):
    """A counter that uses everything: a price, limits, a shift with two blank cards."""
    hall = desk.hall(ledger)
    hall.set_price(None, "263.15")
    hall.set_limits(purchase=30, day=50, month=50)
    hall.stock_in(3)
    hall.open_shift("李明")
    hall.stock_out(2)
    return hall


def check(hall, orders):
    """Each order once, at the list's price and in the shift; one card used."""
    with hall.ledger.look() as books:
        rows = books.orders("0000000001")
    assert [(row.fen, row.price, row.shift) for row in rows] == [(7895, 26_315, 1), (5263, 26_315, 1)][:orders]
    assert figures(hall) == (1, 1, 3, 1, 0, 0)
    assert hall.audit().findings == ()
    money = 7895 if orders == 1 else 13_158
    assert hall.close_shift(money, cards=1).used == 1
    assert figures(hall) == (2, None, 3, 1, 0, 0)
    assert hall.audit().findings == ()


def open_account(hall, reader):
    return hall.open_account(reader, meter=METER, volume=30)


def test_opening_stopped_at_every_stored_byte_uses_one_card(desk, tmp_path):
    prepared(desk)
    desk.blank()
    whole, plans = desk.copy(tmp_path / "whole"), []
    reader = whole.card
    reader.step = plans.append
    open_account(whole.hall(), reader)
    whole.close()
    assert len(plans) > 85
    for count in range(len(plans)):
        copy = desk.copy(tmp_path / f"{count}")
        with pytest.raises(DeadError):
            open_account(copy.hall(), stopped(copy.card, count))
        hall = copy.hall()
        try:
            sale = open_account(hall, copy.card)
        except CardError as error:
            # The half-made card has lost its password: the clerk takes another. Still one card is issued.
            assert error.code in (errors.LAST_TRY, codes.PASSWORD_REFUSED)
            sale = open_account(hall, copy.blank("another.bin"))
        assert sale.fen == 7895
        check(hall, 1)
        copy.close()


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("service", ["open", "sell"])
def test_death_at_every_commit_books_each_thing_once(desk, tmp_path, service, before):
    hall = prepared(desk)
    reader = desk.blank()
    if service == "sell":
        open_account(hall, reader)
        desk.meter.insert(desk.card_path)
        hall.read_back(desk.card)

    def act(hall, reader):
        return open_account(hall, reader) if service == "open" else hall.sell(reader, 20)

    deaths = 0
    for count in range(20):
        copy = desk.copy(tmp_path / f"{count}")
        ledger = DyingLedger(copy.folder / "ledger.db", REGION)
        hall = copy.hall(ledger)
        ledger.left, ledger.before = count, before
        try:
            act(hall, copy.card)
        except DeadError:
            deaths += 1
            copy.close()
            try:
                act(copy.hall(), copy.card)
            except (LedgerError, CardError) as error:
                # It had been finished: the death came after its last commit.
                assert not before and error.name in ("ALREADY_BOUND", "GAS_ON_CARD")
            check(copy.hall(), 1 if service == "open" else 2)
            copy.close()
            continue
        copy.close()
        break
    assert deaths == (6 if service == "open" else 2)


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("action", ["price", "limits", "in", "out", "spoiled", "close"])
def test_death_at_a_commit_leaves_the_whole_booking_or_none(desk, action, before):
    ledger = DyingLedger(desk.folder / "ledger.db", REGION)
    hall = prepared(desk, ledger)

    def act():
        {
            "price": lambda: hall.set_price(None, 300),
            "limits": lambda: hall.set_limits(purchase=1, day=2, month=3),
            "in": lambda: hall.stock_in(1),
            "out": lambda: hall.stock_out(1),
            "spoiled": lambda: hall.stock_spoiled(1),
            "close": lambda: hall.close_shift(9, cards=1, differs="x"),
        }[action]()

    def state(hall):
        limits = hall.limits()
        return hall.price(), limits, figures(hall), hall.shift().cash

    was = state(hall)
    ledger.left, ledger.before = 0, before
    with pytest.raises(DeadError):
        act()
    desk.close()
    hall = desk.hall()
    assert hall.audit().clean
    assert (state(hall) == was) == before
    if before:
        act()
        assert state(hall) != was
    assert hall.audit().clean


@pytest.mark.parametrize(("column", "value"), [("count", "'x'"), ("shift", "-1"), ("kind", "x'ff'")])
def test_damaged_move_is_named(desk, column, value):
    hall = desk.hall()
    hall.stock_in(1)
    with hall.ledger.begin() as books:
        for statement in ("PRAGMA ignore_check_constraints = ON", "PRAGMA defer_foreign_keys = ON"):
            books._connection.exec_driver_sql(statement)
        books._connection.exec_driver_sql("INSERT INTO shifts (number, clerk, opened_at, open) VALUES (-1, '', 0, 0)")
        books._connection.exec_driver_sql(f"UPDATE stock_moves SET {column} = {value}")
    with pytest.raises(LedgerError, match=rf"damaged: stock_moves\.{column} holds"):
        hall.stock()
