"""Shifts: who was at the counter, what was sold meanwhile, and what was counted at the end (DOMAIN 1, 日清日结).

A ledger has at most one open shift; every order made meanwhile carries its number, at whichever window. A company that
has never opened one sells without.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from gashall import errors, stock, units
from gashall.books import Books
from gashall.errors import LedgerError, RequestError
from gashall.history import printable
from gashall.labels import both, columns, pad
from gashall.ledger import Ledger
from gashall.page import SLIP, Table, page
from gashall.rows import Rules, ShiftRow
from gashall.terms import GIFT, MAKEUP, PENDING, REPLACEMENT, STOCK_MOST, TOOL_CARDS

WIDTH = 42
"""Columns of a slip: receipt printers have 42 or more."""
_SIGN = ("clerk", "taken over by")


@dataclass(frozen=True, slots=True)
class Shift:
    """A shift and what it came to: volume in m³, money in fen, times by the hall's own clock."""

    number: int
    clerk: str
    opened_at: datetime
    closed_at: datetime | None
    openings: int
    """Accounts opened; each issued a card."""
    sales: int
    """Purchases of customers who had an account."""
    volume: Decimal
    """Sold, the first gas of openings too."""
    granted: int
    """Make-ups and gifts written."""
    granted_volume: Decimal
    """Without ``corrected``, and without gas that was held: both were counted when they were bought."""
    corrected: Decimal
    """What make-ups of drift corrected; below zero gas was taken off."""
    replaced: int
    """Cards replaced."""
    issued: int
    """Customers' cards issued: openings, replacements, and of an exchange what takes a lost card's place."""
    tools: tuple[tuple[str, int], ...]
    """The company's own cards made, by kind."""
    refunds: int
    """Refunds paid out."""
    refunded: Decimal
    paid_out: int
    """Fen paid out for them."""
    money: int
    """What sales came to, less what was paid out: the cash there must be."""
    unpaid: int
    """Sales for which no money was named."""
    unfinished: int
    """Orders not on their cards yet, as the ledger stands now."""
    handed_out: int
    """Blank cards the shift was handed."""
    used: int
    """Of these, issued."""
    spoiled: int
    cash: int | None
    """What was counted at the end."""
    cards: int | None
    """Blank cards that were counted at the end; None where no stock was booked."""
    reason: str | None
    """Why what was counted differed, if it did."""
    head: str | None
    """The journal's head when the shift was closed, in hex, to be given to a later audit."""

    def record(self) -> dict[str, Any]:
        """The shift as JSON holds it, times in ISO 8601."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(self).items()
        }

    def rows(self) -> list[tuple[str, str]]:
        """What the slip says under its head, each with its label (gashall.labels): money in yuan."""
        rows = [("accounts opened", str(self.openings)), ("sales", str(self.sales)), ("gas", f"{self.volume} m³")]
        if self.granted:
            rows += [("make-ups and gifts", str(self.granted)), ("gas given", f"{self.granted_volume} m³")]
        if self.corrected:
            rows.append(("corrected", f"{self.corrected} m³"))
        if self.refunds:
            rows += [("refunds", str(self.refunds)), ("gas paid back", f"{self.refunded} m³")]
            rows.append(("money paid back", f"{units.yuan(self.paid_out)} yuan"))
        rows.append(("money", f"{units.yuan(self.money)} yuan"))
        if self.unpaid:
            rows.append(("orders without money", str(self.unpaid)))
        if self.unfinished:
            rows.append(("orders not finished", str(self.unfinished)))
        if self.replaced:
            rows.append(("cards replaced", str(self.replaced)))
        rows.append(("cards issued", str(self.issued)))
        rows += [(f"{kind} cards", str(count)) for kind, count in self.tools]
        left = self.handed_out - self.used - self.spoiled
        if self.handed_out or self.cards is not None:
            counts = [("handed out", self.handed_out), ("spoiled", self.spoiled), ("left", left)]
            rows += [(f"blank cards {words}", str(count)) for words, count in counts]
        if self.cards is not None:
            rows.append(("blank cards counted", str(self.cards)))
            if self.cards != left:
                rows.append(("difference", str(self.cards - left)))
        if self.cash is not None:
            rows.append(("cash counted", f"{units.yuan(self.cash)} yuan"))
            if self.cash != self.money:
                rows.append(("difference", f"{units.yuan(self.cash - self.money)} yuan"))
        return rows

    def lines(self) -> list[str]:
        """The slip for clerk and file, ``WIDTH`` columns: money in yuan, times by the hall's own clock."""
        rule = "-" * WIDTH
        lines = [f"{both('shift slip')} {self.number}"]
        lines += [f"{both(words)}  {text}".rstrip() for words, text in self._head()]
        lines.append(rule)
        for words, figure in self.rows():
            label = both(words)
            lines.append(label + figure.rjust(WIDTH - columns(label)))
        if self.reason is not None:
            lines.append(f"{both('reason')}  {printable(self.reason)}")
        if self.head is not None:
            half = len(self.head) // 2
            lines += [rule, both("journal"), self.head[:half], self.head[half:]]
            lines += [rule, *[line for who in _SIGN for line in ("", pad(both(who), 26) + "_" * 16)]]
        return lines

    def page(self) -> str:
        """The same as an HTML page that prints, as wide as a receipt."""
        parts: list[Table | str] = [Table(("", ""), self._head()), Table(("", ""), self.rows(), frozenset({1}))]
        if self.reason is not None:
            parts.append(f"{both('reason')}: {printable(self.reason)}")
        foot = "" if self.head is None else f"{both('journal')} {self.head}"
        return page("shift slip", parts, which=str(self.number), sign=_SIGN, foot=foot, paper=SLIP)

    def _head(self) -> list[tuple[str, str]]:
        end = ("not closed", "") if self.closed_at is None else ("closed at", units.stamp(self.closed_at))
        return [("clerk", printable(self.clerk)), ("opened at", units.stamp(self.opened_at)), end]


def open_shift(ledger: Ledger, clerk: str, now: int) -> Shift:
    """See ``Hall.open_shift``."""
    stock.check_text(clerk, "clerk")
    with ledger.begin() as books:
        last = books.shift()
        if last is not None and last.open:
            since = units.stamp(books.moment(last.opened_at))
            raise LedgerError(
                errors.SHIFT_OPEN, f"Shift {last.number} of {printable(last.clerk)} is open since {since}."
            )
        return _shift(books, books.open_shift(clerk, now))


def close_shift(ledger: Ledger, cash: int, cards: int | None, reason: str | None, now: int) -> Shift:
    """See ``Hall.close_shift``."""
    # Less than nothing where more was paid back than was taken: the drawer's change has gone down.
    units.whole(cash, "cash", -units.FEN_MOST, units.FEN_MOST)
    if cards is not None:
        units.whole(cards, "cards", 0, STOCK_MOST)
    if reason is not None:
        stock.check_text(reason, "reason")
    with ledger.begin() as books:
        row = books.shift()
        if row is None or not row.open:
            told = "" if row is None else f"No shift is open; the last was {row.number} of {printable(row.clerk)}."
            remedy = "" if row is None else "Print its slip again: icgas hall shift slip. Or open a shift."
            raise LedgerError(errors.SHIFT_MISSING, told, remedy)
        here = _shift(books, row)
        money = here.money
        if cash < 0 and not here.refunds:
            raise RequestError(
                errors.FIELD,
                f"No money was paid back in shift {row.number}; {units.yuan(cash)} yuan cannot have been counted.",
                "Count the cash again; it is 0 or more.",
            )
        differences = []
        if cash != money:
            side = "short" if cash < money else "over"
            differences.append(
                f"cash {units.yuan(cash)} yuan counted, {units.yuan(money)} yuan by the orders: "
                f"{units.yuan(abs(cash - money))} yuan {side}"
            )
        moves = books.stock()
        left = _left(moves, cards, row.number)
        there = left + stock.store(moves)
        if cards is not None and cards > max(there, 0):
            raise RequestError(
                errors.FIELD,
                f"{units.counted(cards, 'blank card')} cannot have been counted: hand and store together have {there}.",
                "Count again; a delivery that was not booked is booked first: icgas hall stock in.",
            )
        if cards is not None and cards != left:
            side = "short" if cards < left else "over"
            differences.append(f"blank cards {cards} counted, {left} by the stock: {abs(cards - left)} {side}")
        if differences and reason is None:
            raise LedgerError(errors.SHIFT_DIFFERS, f"Shift {row.number} does not agree: {'; '.join(differences)}.")
        if reason is not None and not differences:
            raise RequestError(errors.FIELD, "Nothing differs.", "Close the shift without a reason.")
        if cards is not None:
            # What is left goes back to the store; what was not found is told, so that no hand keeps cards.
            if cards != left:
                books.move_stock(stock.MISSING, left - cards, at=now, shift=row.number, reason=reason)
            if cards:
                books.move_stock(stock.BACK, cards, at=now, shift=row.number)
        books.close_shift(row.number, closed_at=now, money=money, cash=cash, cards=cards, reason=reason)
        closed = books.shift(row.number)
        assert closed is not None
        return _shift(books, closed)


def shift(ledger: Ledger, number: int | None) -> Shift:
    """See ``Hall.shift``."""
    if number is not None:
        units.whole(number, "shift", 1, 0x7FFFFFFF)
    with ledger.look() as books:
        row = books.shift(number)
        if row is None:
            told = "No shift was ever opened." if number is None else f"There is no shift {number}."
            raise LedgerError(errors.SHIFT_MISSING, told)
        return _shift(books, row)


def check(rules: Rules) -> int | None:
    """The shift an order made now belongs to, None where shifts are not used; else LedgerError SHIFT_MISSING."""
    if rules.shift is None and rules.last_shift is not None:
        raise LedgerError(errors.SHIFT_MISSING)
    return rules.shift


def _by_kind(kinds: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """How many there are of each kind of the company's own cards, in the order of TOOL_CARDS."""
    return tuple((kind, kinds.count(kind)) for kind in TOOL_CARDS if kind in kinds)


def _left(moves: stock.Moves, cards: int | None, shift: int) -> int:
    """Blank cards that must be left with the shift. RequestError FIELD if they were not counted, or are not kept."""
    if moves and cards is None:
        raise RequestError(
            errors.FIELD, "The blank cards were not counted.", "Count those left, and give their number too (--cards)."
        )
    if not moves and cards is not None:
        raise RequestError(
            errors.FIELD, "No stock of blank cards is booked.", "Close without a count, or book: icgas hall stock in."
        )
    return stock.hand(moves, shift)


def _shift(books: Books, row: ShiftRow) -> Shift:
    orders = books.shift_orders(row.number)
    sales = [order for order in orders if order.kind is None]
    grants = [order for order in orders if order.kind in (MAKEUP, GIFT)]
    paid_out = books.paid_out(row.number)
    openings = sum(order.opens for order in sales)
    moves = books.stock()
    head = None if row.open else books.closing(row.number)
    return Shift(
        number=row.number,
        clerk=row.clerk,
        opened_at=books.moment(row.opened_at),
        closed_at=None if row.closed_at is None else books.moment(row.closed_at),
        openings=openings,
        sales=len(sales) - openings,
        volume=units.volume(sum(order.hundredths for order in sales), 2),
        granted=len(grants),
        granted_volume=units.volume(sum(order.hundredths for order in grants), 2),
        corrected=units.volume(books.shift_corrected(row.number), 2),
        replaced=sum(order.kind == REPLACEMENT for order in orders),
        issued=sum(order.issues_card for order in orders),
        tools=_by_kind(books.shift_tools(row.number)),
        refunds=len(paid_out),
        refunded=units.volume(sum(hundredths for hundredths, _ in paid_out), 2),
        paid_out=sum(fen for _, fen in paid_out),
        money=sum(order.fen or 0 for order in sales) - sum(fen for _, fen in paid_out),
        unpaid=sum(order.fen is None for order in sales),
        unfinished=sum(order.state == PENDING for order in orders),
        handed_out=moves.get((stock.OUT, row.number), 0),
        used=moves.get((stock.USED, row.number), 0),
        spoiled=moves.get((stock.SPOILED, row.number), 0),
        cash=row.cash,
        cards=row.cards,
        reason=row.reason,
        head=None if head is None else head.hex(),
    )
