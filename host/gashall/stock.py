"""Blank cards: delivered to the store, handed out to a shift, used, spoiled, taken back (DOMAIN 1, card desk duties).

Cards are counted from the first delivery that is booked; before it, issuing asks for none. While a shift is open cards
are used from its hand, else from the store.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from gashall import errors, units
from gashall.books import Books
from gashall.errors import LedgerError, RequestError
from gashall.ledger import Ledger
from gashall.rows import Rules
from gashall.terms import STOCK_MOST

IN = "in"
OUT = "out"
USED = "used"
SPOILED = "spoiled"
BACK = "back"
MISSING = "missing"
"""What a count at the end of a shift did not find; less than nothing where it found more."""

Moves = Mapping[tuple[str, int | None], int]
"""(kind, shift or None) -> how many."""

TEXT_MOST = 200


@dataclass(frozen=True, slots=True)
class Stock:
    """Blank cards, counted in pieces: where they are, and what became of the others."""

    store: int
    hand: int | None
    """With the open shift; None if none is open."""
    delivered: int
    used: int
    spoiled: int
    missing: int

    def lines(self) -> list[str]:
        """A line for each figure."""
        rows = [("in the store", self.store)]
        if self.hand is not None:
            rows.append(("with the open shift", self.hand))
        rows += [("delivered", self.delivered), ("used", self.used), ("spoiled", self.spoiled)]
        return [f"{words:<20}{count:>10}" for words, count in [*rows, ("missing", self.missing)]]


def stock(ledger: Ledger, now: int) -> Stock:
    """See ``Hall.stock``."""
    with ledger.look() as books:
        return _stock(books.stock(), books.rules(now))


def move(ledger: Ledger, kind: str, count: int, now: int, reason: str | None = None) -> Stock:
    """Book a delivery, a hand-out or spoiled cards; see ``Hall.stock_in``, ``stock_out`` and ``stock_spoiled``."""
    units.whole(count, "count", 1, STOCK_MOST)
    if reason is not None:
        check_text(reason, "reason")
    with ledger.begin() as books:
        moves, rules = books.stock(), books.rules(now)
        shift = None if kind == IN else rules.shift
        if kind == OUT and shift is None:
            raise LedgerError(errors.SHIFT_MISSING, "No shift is open to hand cards out to.")
        if kind == IN:
            if store(moves) + count > STOCK_MOST:
                raise RequestError(errors.FIELD, f"A store holds at most {STOCK_MOST} cards.", "Correct the count.")
        else:
            _check(moves, None if kind == OUT else shift, count)
        books.move_stock(kind, count, at=now, shift=shift, reason=reason)
        return _stock(books.stock(), rules)


def check(books: Books, shift: int | None) -> bool:
    """Whether issuing a card uses one of the stock; LedgerError STOCK_SHORT if there is none to be used."""
    moves = books.stock()
    if moves:
        _check(moves, shift, 1)
    return bool(moves)


def store(moves: Moves) -> int:
    """Blank cards in the store."""
    return sum(
        count if kind in (IN, BACK) else -count
        for (kind, shift), count in moves.items()
        if kind in (IN, OUT, BACK) or (shift is None and kind in (USED, SPOILED))
    )


def hand(moves: Moves, shift: int) -> int:
    """Blank cards a shift has been handed and has neither used, spoiled nor given back."""
    return sum(count if kind == OUT else -count for (kind, whose), count in moves.items() if whose == shift)


def check_text(text: str, what: str) -> None:
    """Whether ``text`` is one printable line; else RequestError FIELD under ``what``."""
    if not isinstance(text, str) or not text.strip() or len(text) > TEXT_MOST or not text.isprintable():
        raise RequestError(
            errors.FIELD,
            f"The {what} is text of 1 to {TEXT_MOST} printable characters, not {units.shown(text)}.",
            f"Type the {what} again.",
        )


def _check(moves: Moves, shift: int | None, count: int) -> None:
    there = store(moves) if shift is None else hand(moves, shift)
    if count > there:
        whose = "the store" if shift is None else f"shift {shift}"
        raise LedgerError(
            errors.STOCK_SHORT, f"By the stock {whose} has {units.counted(there, 'blank card')}, not {count}."
        )


def _stock(moves: Moves, rules: Rules) -> Stock:
    def total(kind: str) -> int:
        return sum(count for (known, _), count in moves.items() if known == kind)

    return Stock(
        store=store(moves),
        hand=None if rules.shift is None else hand(moves, rules.shift),
        delivered=total(IN),
        used=total(USED),
        spoiled=total(SPOILED),
        missing=total(MISSING),
    )
