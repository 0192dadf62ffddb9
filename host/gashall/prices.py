"""The price list: what one m³ costs from a minute on, and what a sale's money is judged by.

Prices are fen for one m³ with at most two decimals, kept as whole hundredths of a fen: companies announce yuan with two
to four decimals. A price is set for now or later and never rewritten; an order keeps the price it was computed from.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from gashall import errors, units
from gashall.books import Books
from gashall.errors import RequestError
from gashall.ledger import Ledger
from gashall.rows import PriceRow


@dataclass(frozen=True, slots=True)
class Price:
    """A row of the price list: ``fen_per_cubic_metre`` holds from ``valid_from`` on until the next one.

    Times by the hall's own clock.
    """

    valid_from: datetime
    fen_per_cubic_metre: Decimal
    set_at: datetime

    def line(self) -> str:
        """The row for people: the price in yuan."""
        yuan = units.price_yuan(units.price(self.fen_per_cubic_metre))
        return f"from {units.stamp(self.valid_from)}  {yuan} yuan/m³  (set {units.stamp(self.set_at)})"


def of_row(books: Books, row: PriceRow) -> Price:
    """A row of the ledger as a price."""
    return Price(books.moment(row.valid_from), units.price_fen(row.price), books.moment(row.set_at))


def set_price(ledger: Ledger, valid_from: datetime | None, fen_per_cubic_metre: Decimal | int | str, now: int) -> Price:
    """Add a price. ``now`` is minutes since 2000-01-01 UTC; see ``Hall.set_price``."""
    price = units.price(fen_per_cubic_metre)
    start = now if valid_from is None else units.minutes(valid_from)
    with ledger.begin() as books:
        if start < now:
            since, here = (units.stamp(books.moment(at)) for at in (start, now))
            raise RequestError(errors.PRICE_PAST, f"A price cannot be set from {since}: it is {here} now.")
        return of_row(books, books.add_price(start, price, now))


def money(count: int, weight: int, price: int | None, fen: int | None, agreed: bool) -> tuple[int | None, int | None]:
    """The money of ``count`` pulses sold at ``price``, and the price it was computed from (None: it was not).

    RequestError PRICE_DIFFERS if ``fen`` is another sum and was not ``agreed``.
    """
    if price is None:
        return fen, None
    cost = units.cost(count, weight, price)
    if fen is None or fen == cost:
        return cost, price
    if not agreed:
        raise RequestError(
            errors.PRICE_DIFFERS,
            f"{units.volume(count, weight)} m³ at {units.price_yuan(price)} yuan/m³ cost {units.yuan(cost)} yuan, "
            f"not {units.yuan(fen)}.",
        )
    return fen, None
