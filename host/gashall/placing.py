"""Putting an order that is no purchase on a customer's card: the steps of DESIGN D5, the same for every service."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from gascard import records
from gashall import errors, shifts
from gashall.books import Books
from gashall.counter import Counter, Standing, check_reader, correction_total, found, kept_report, unpaid_refund
from gashall.encode import Values
from gashall.errors import GasError, LedgerError
from gashall.readers.base import Reader
from gashall.rows import Binding, CardRow, GrantRow, MeterRow, Order
from gashall.terms import PENDING, WRITTEN


@dataclass(frozen=True, slots=True)
class Wanted:
    """An order a service wants on the card. Pulses; ``released`` and ``correction`` are totals, the rest is its own.

    ``count`` is what it adds to all the customer may have, ``amount`` what the frame shows.
    """

    purpose: str
    count: int
    amount: int
    released: int
    flags: int = 0
    correction: int | None = None


Plan = Callable[[Books, Standing], Wanted]
"""Judges, asked twice, and gives the order that may be written; else raises. Writes nothing."""


@dataclass(frozen=True, slots=True)
class Placed:
    """What is on the card, and whether that order had been begun earlier."""

    standing: Standing
    order: Order
    resumed: bool


def place(
    counter: Counter, reader: Reader, plan: Plan, note: Callable[[Books, Order], None], *, rescue: bool
) -> Placed:
    """Write the order ``plan`` gives, or finish the account's unfinished one; ``note`` books what else a new one means.

    CardError, LedgerError and ReaderError as ``Hall.sell``, and whatever ``plan`` raises.
    """
    check_reader(reader)
    with reader:
        card = counter.read_card(reader)
        refusal: GasError | None = None
        with counter.ledger.begin() as books:
            standing = counter.judge(books, card)
            begun = standing.last if standing.last.state == PENDING else None
            if begun is None:
                try:
                    _judged(counter, books, standing, plan)
                except GasError as error:
                    refusal = error
            if begun is not None or refusal is not None:
                counter.keep(books, standing)
        if refusal is not None:
            raise refusal
        if begun is not None:
            counter.finish(reader, standing, begun, rescue)
            return Placed(standing, replace(begun, state=WRITTEN), True)
        counter.unlock(reader, card, rescue)
        with counter.ledger.begin() as books:
            standing = counter.judge(books, card)
            if standing.last.state == PENDING:
                raise LedgerError(errors.PENDING_ELSEWHERE)
            wanted, shift = _judged(counter, books, standing, plan)
            counter.keep(books, standing)
            order = add(counter, books, standing, wanted, shift)
            note(books, order)
        counter.write_order(reader, card, order)
    return Placed(standing, replace(order, state=WRITTEN), False)


def add(counter: Counter, books: Books, standing: Standing, wanted: Wanted, shift: int | None) -> Order:
    """The pending row of a wanted order on the standing's card.

    An opening again until a report shows that the meter is bound: a bound meter takes it for a user order (RULES 1,
    one meter).
    """
    opening = standing.known is None
    return counter.add_order(
        books,
        standing.binding,
        standing.meter,
        standing.row,
        kind=records.ORDER_OPENING if opening else records.ORDER_USER,
        sequence=standing.next_sequence,
        count=wanted.count,
        amount=wanted.amount,
        released=wanted.released,
        fen=None,
        flags=wanted.flags | (records.FLAG_PARAMETERS if opening else 0),
        now=counter.now(),
        shift=shift,
        purpose=wanted.purpose,
        correction=correction_total(standing.last, standing.known) if wanted.correction is None else wanted.correction,
    )


def _judged(counter: Counter, books: Books, standing: Standing, plan: Plan) -> tuple[Wanted, int | None]:
    standing.check_free()
    shift = shifts.check(books.rules(counter.now()))
    return plan(books, standing), shift


@dataclass(frozen=True, slots=True)
class Position:
    """An account's open binding as the ledger knows it, without a card; ``base`` and ``held`` as in ``Standing``."""

    binding: Binding
    meter: MeterRow
    row: CardRow
    last: Order
    known: Values | None
    base: int
    held: int
    unpaid: GrantRow | None


def position(counter: Counter, books: Books, binding: Binding) -> Position:
    """How ``binding`` stands by the ledger's own newest report."""
    last, row = found(books.last_order(binding.id)), found(books.card_of(binding.account))
    kept = books.last_report(binding.meter)
    known = kept_report(kept) if kept is not None and kept.binding == binding.number else None
    base, held = counter.base_and_held(books, row, binding, last, known)
    meter = found(books.meter(binding.meter))
    return Position(binding, meter, row, last, known, base, held, unpaid_refund(books, last))
