"""A probe: an order that gives nothing and takes nothing, so that a recovering account's meter reports (RULES 1)."""

from dataclasses import replace

from gascard import codes, records
from gascard.records import SEQUENCE_MAX
from gashall import errors
from gashall.books import Books
from gashall.counter import (
    Counter,
    Sale,
    Standing,
    check_exchange,
    check_not_ending,
    check_reader,
    correction_total,
    order_told,
    sale_of,
)
from gashall.errors import CardError, GasError, LedgerError
from gashall.readers.base import Reader
from gashall.rows import Order
from gashall.terms import PENDING, PROBE, REFUND, WRITTEN


def probe(counter: Counter, reader: Reader, *, overwrite: bool = False, rescue: bool = False) -> Sale:
    """See ``Hall.probe``."""
    sale, lapsed = _probe(counter, reader, overwrite, rescue)
    # What was finished is a refund that nobody will pay: the probe comes above it before the card leaves the reader.
    return _probe(counter, reader, overwrite, rescue)[0] if lapsed else sale


def _probe(counter: Counter, reader: Reader, overwrite: bool, rescue: bool) -> tuple[Sale, bool]:
    check_reader(reader)
    with reader:
        card = counter.read_card(reader)
        refusal: GasError | None = None
        with counter.ledger.begin() as books:
            standing = counter.judge(books, card, reading=True)
            begun = standing.last if standing.last.state == PENDING else None
            if begun is None:
                try:
                    _check(books, standing, overwrite)
                except GasError as error:
                    refusal = error
            counter.keep(books, standing)
        if refusal is not None:
            raise refusal
        weight = standing.meter.pulse_weight
        if begun is None and _is_on_it(standing):
            return sale_of(standing.binding, standing.last, weight, resumed=True), False
        if begun is not None:
            counter.finish(reader, standing, begun, rescue)
            with counter.ledger.look() as books:
                lapsed = _has_lapsed(books, begun)
            return sale_of(standing.binding, replace(begun, state=WRITTEN), weight, resumed=True), lapsed
        counter.unlock(reader, card, rescue)
        with counter.ledger.begin() as books:
            standing = counter.judge(books, card, reading=True)
            if standing.last.state == PENDING:
                raise LedgerError(errors.PENDING_ELSEWHERE)
            _check(books, standing, overwrite)
            counter.keep(books, standing)
            last = standing.last
            # As with every order: an opening until it is known that the meter is bound, else it could never report.
            opening = standing.known is None
            order = counter.add_order(
                books,
                standing.binding,
                standing.meter,
                standing.row,
                kind=records.ORDER_OPENING if opening else records.ORDER_USER,
                sequence=standing.next_sequence,
                count=0,
                released=last.released_pulses,
                fen=None,
                flags=records.FLAG_PARAMETERS if opening else 0,
                now=counter.now(),
                # The meter takes a correction total as it stands: one that was made must be in every order.
                correction=correction_total(last, standing.known),
                total=0,
                purpose=PROBE,
            )
        counter.write_order(reader, card, order)
    return sale_of(standing.binding, replace(order, state=WRITTEN), weight, resumed=False), False


def _has_lapsed(books: Books, order: Order) -> bool:
    """Whether it is a refund that is paid no more, a copy having been put back: no meter is to load it."""
    grant = books.grant_of(order.id) if order.kind == REFUND else None
    return grant is not None and grant.cancelled_at is not None


def _check(books: Books, standing: Standing, overwrite: bool) -> None:
    """Whether a probe may be put on this card now; one that is on it already may stay."""
    if standing.suspended:
        raise LedgerError(errors.SUSPENDED, f"Meter {standing.meter.number} is under test.")
    check_exchange(standing.exchange, standing.account.number)
    check_not_ending(standing.ending, standing.account.number)
    if standing.floor is None:
        raise LedgerError(errors.NOT_RECOVERING, f"Account {standing.account.number} is not recovering.")
    last = standing.last
    waits = last.state == WRITTEN and standing.card.order.raw == last.frame and last.kind != PROBE
    if waits and not overwrite and not _has_lapsed(books, last):
        told = order_told(books, last, standing.meter.pulse_weight)
        code = errors.OPENING_NOT_LOADED if last.sequence == 1 else errors.GAS_ON_CARD
        raise CardError(
            code,
            f"A probe would overwrite what is still on the card: {told}.",
            "Let the meter load it first. If the meter refuses it, overwrite it (--overwrite): the next sale gives it.",
        )
    if standing.next_sequence > SEQUENCE_MAX:
        raise LedgerError(codes.NUMBER_USED_UP, "This binding has had all the orders it can have.")


def _is_on_it(standing: Standing) -> bool:
    """Whether the card bears a probe that no report has answered."""
    last = standing.last
    return last.state == WRITTEN and last.kind == PROBE and standing.card.order.raw == last.frame


def lines(sale: Sale) -> list[str]:
    """What was done and what comes next, for people."""
    if sale.kind == PROBE:
        what, then = "probe", "adopt its report: icgas hall reconcile adopt."
    else:
        # One that was begun before the restore: its report says nothing of what was lost with the ledger.
        what, then = "an earlier order", "put the probe on it: icgas hall probe."
    return [
        f"{what} is on the card: account {sale.account}, meter {sale.meter}, card {sale.card}, order {sale.sequence}",
        f"Let the meter read the card, then {then}",
    ]
