"""Selling gas to the customer whose card is in the reader (购气)."""

from typing import NamedTuple

from gashall import errors, units
from gashall.books import Books
from gashall.counter import Counter, Sale, Standing, Terms, amount_told, check_reader, found, sale_of
from gashall.encode import Card
from gashall.errors import GasError, LedgerError, RequestError
from gashall.readers.base import Reader
from gashall.rows import Order
from gashall.terms import PENDING, WRITTEN
from gashall.units import Volume


class _Judged(NamedTuple):
    """What a sale came to before anything of it was written."""

    head: tuple[int, bytes]
    """The journal's head, by which it was judged."""
    standing: Standing
    begun: Order | None
    """The account's unfinished order, to be finished instead."""
    refusal: GasError | None
    sale: tuple[int, Terms] | None
    """The pulses that may be sold, and on which terms; nothing where one of the others is said."""


def sell(
    counter: Counter,
    reader: Reader,
    volume: Volume,
    *,
    fen: int | None = None,
    price_agreed: bool = False,
    rescue: bool = False,
) -> Sale:
    """See ``Hall.sell``."""
    check_reader(reader)
    with reader:
        card = counter.read_card(reader)
        # Most sales are judged without keeping another window waiting; what is not sold is judged once more, since the
        # card's report is then booked at once.
        with counter.ledger.look() as books:
            judged = _judged(counter, books, card, volume, fen, price_agreed)
        if judged.sale is None:
            with counter.ledger.begin() as books:
                judged = _judged(counter, books, card, volume, fen, price_agreed)
                if judged.sale is None:
                    counter.keep(books, judged.standing)
        judged_at, standing, begun, refusal, sale = judged
        if refusal is not None:
            raise refusal
        if begun is not None:
            counter.finish(reader, standing, begun, rescue)
            return _resumed(standing, begun, volume, fen)
        count, terms = found(sale)
        counter.unlock(reader, card, rescue)
        with counter.ledger.begin() as books:
            # Every change moves the journal's head: where it stands still, and within the minute, it all holds.
            if books.head() != judged_at or counter.now() != terms.now:
                standing = counter.judge(books, card)
                if standing.last.state == PENDING:
                    raise LedgerError(errors.PENDING_ELSEWHERE)
                count, terms = _terms(counter, books, standing, volume, fen, price_agreed)
            order = counter.book(books, standing, count, terms)
        counter.write_order(reader, card, order)
    return sale_of(standing.binding, order, standing.meter.pulse_weight, resumed=False, state=WRITTEN)


def _judged(counter: Counter, books: Books, card: Card, volume: Volume, fen: int | None, price_agreed: bool) -> _Judged:
    head = books.head()
    standing = counter.judge(books, card)
    if standing.last.state == PENDING:
        return _Judged(head, standing, standing.last, None, None)
    try:
        return _Judged(head, standing, None, None, _terms(counter, books, standing, volume, fen, price_agreed))
    except GasError as error:
        return _Judged(head, standing, None, error, None)


def _terms(
    counter: Counter, books: Books, standing: Standing, volume: Volume, fen: int | None, price_agreed: bool
) -> tuple[int, Terms]:
    """The pulses that may be sold now, and on which terms; else the error that says why not."""
    counter.check_sale(books, standing)
    count = counter.next_order(books, standing, volume, fen)
    return count, counter.terms(books, standing.account.number, count, standing.meter, fen, price_agreed)


def _resumed(standing: Standing, order: Order, volume: Volume, fen: int | None) -> Sale:
    weight = standing.meter.pulse_weight
    try:
        same = order.kind is None and units.pulses(volume, weight) == order.paid_pulses
        # Money left out is the price list's, as that stood when the order was made.
        same = same and (fen == order.fen or (fen is None and order.price is not None))
    except RequestError:
        same = False
    sale = sale_of(standing.binding, order, weight, resumed=True, state=WRITTEN)
    if not same:
        raise RequestError(
            errors.ORDER_FINISHED,
            f"The unfinished {order.kind or 'order'} {sale.sequence} over "
            f"{amount_told(order, weight)} has been finished on this card; nothing else was sold.",
        )
    return sale
