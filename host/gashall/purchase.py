"""Selling gas to the customer whose card is in the reader (购气)."""

from dataclasses import replace

from gashall import errors, units
from gashall.counter import Counter, Sale, Standing, Terms, amount_told, check_reader, sale_of
from gashall.errors import GasError, LedgerError, RequestError
from gashall.ledger import PENDING, WRITTEN, Books, Order
from gashall.readers.base import Reader
from gashall.units import Volume


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
        refusal: GasError | None = None
        with counter.ledger.begin() as books:
            judged_at = books.head()
            standing = counter.judge(books, card)
            begun = standing.last if standing.last.state == PENDING else None
            if begun is None:
                try:
                    count, terms = _terms(counter, books, standing, volume, fen, price_agreed)
                except GasError as error:
                    refusal = error
            if begun is not None or refusal is not None:
                counter.keep(books, standing)
        if refusal is not None:
            raise refusal
        if begun is not None:
            counter.finish(reader, standing, begun, rescue)
            return _resumed(standing, begun, volume, fen)
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
    return sale_of(standing.binding, replace(order, state=WRITTEN), standing.meter.pulse_weight, resumed=False)


def _terms(
    counter: Counter, books: Books, standing: Standing, volume: Volume, fen: int | None, price_agreed: bool
) -> tuple[int, Terms]:
    """The pulses that may be sold now, and on which terms; else the error that says why not."""
    counter.check_sale(books, standing)
    count = counter.next_order(standing, volume, fen)
    return count, counter.terms(books, standing.account.number, count, standing.meter, fen, price_agreed)


def _resumed(standing: Standing, order: Order, volume: Volume, fen: int | None) -> Sale:
    weight = standing.meter.pulse_weight
    try:
        same = order.kind is None and units.pulses(volume, weight) == order.paid_pulses
        # Money left out is the price list's, as that stood when the order was made.
        same = same and (fen == order.fen or (fen is None and order.price is not None))
    except RequestError:
        same = False
    sale = sale_of(standing.binding, replace(order, state=WRITTEN), weight, resumed=True)
    if not same:
        raise RequestError(
            errors.ORDER_FINISHED,
            f"The unfinished {order.kind or 'order'} {sale.sequence} over "
            f"{amount_told(order, weight)} has been finished on this card; nothing else was sold.",
        )
    return sale
