"""The receipt of a sale (购气凭证), made from the ledger: as good the second time as the first."""

from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from gashall import errors, units
from gashall.counter import Counter, found
from gashall.errors import LedgerError
from gashall.history import printable
from gashall.labels import both
from gashall.page import SLIP, Table, page
from gashall.rows import Order
from gashall.shifts import WIDTH


@dataclass(frozen=True, slots=True)
class Receipt:
    """One opening or purchase: volume in m³, money in fen, price in fen for one m³."""

    number: int
    """The order's number in the ledger, never given twice."""
    account: str
    name: str
    meter: str
    card: int
    sequence: int
    volume: Decimal
    fen: int | None
    """None if no money was named."""
    price: Decimal | None
    """None if the money was not computed from the price list."""
    made_at: datetime
    clerk: str | None
    """Whose shift it was; None where shifts are not used."""
    state: str

    def record(self) -> dict[str, Any]:
        """The receipt as JSON holds it: money in fen and in yuan."""
        yuan = None if self.fen is None else units.yuan(self.fen)
        return asdict(self) | {"made_at": self.made_at.isoformat(), "yuan": yuan}

    def rows(self) -> list[tuple[str, str]]:
        """What it says, each with its label (gashall.labels)."""
        rows = [
            ("number", str(self.number)),
            ("account", self.account),
            ("customer", printable(self.name)),
            ("meter", self.meter),
            ("card", str(self.card)),
            ("purchase", str(self.sequence)),
            ("gas", f"{self.volume} m³"),
        ]
        if self.price is not None:
            rows.append(("price", f"{self.price / 100} yuan/m³"))
        if self.fen is not None:
            rows.append(("money", f"{units.yuan(self.fen)} yuan"))
        rows.append(("time", units.stamp(self.made_at)))
        if self.clerk is not None:
            rows.append(("clerk", printable(self.clerk)))
        return rows

    def lines(self) -> list[str]:
        """A slip for the customer."""
        rule = "-" * WIDTH
        return [both("receipt"), rule, *(f"{both(words)}: {text}" for words, text in self.rows()), rule]

    def page(self) -> str:
        """The same as an HTML page that prints, as wide as a receipt."""
        return page("receipt", [Table(("", ""), self.rows())], sign=("clerk", "customer's signature"), paper=SLIP)


def receipt(counter: Counter, account: str, sequence: int | None, meter: str | None) -> Receipt:
    """See ``Hall.receipt``."""
    units.account_number(account)
    if sequence is not None:
        units.whole(sequence, "sequence", 1, 0xFFFF)
    with counter.ledger.look() as books:
        known = books.account(account)
        if known is None:
            raise LedgerError(errors.ACCOUNT_UNKNOWN, f"There is no account {account}.")
        bindings = {row.id: row for row in books.bindings(account) if meter in (None, row.meter)}
        sales = [
            order
            for order in books.orders(account)
            if order.kind is None and order.binding in bindings and sequence in (None, order.sequence)
        ]
        if not sales:
            which = "" if sequence is None else f" {sequence}"
            raise LedgerError(
                errors.ORDER_MISSING,
                f"Account {account} has no purchase{which} in this ledger.",
                "Look its purchases up: icgas hall history. Make-ups, gifts and refunds have slips of their own.",
            )
        order: Order = sales[-1]
        binding = bindings[order.binding]
        shift = None if order.shift is None else found(books.shift(order.shift))
        weight = found(books.meter(binding.meter)).pulse_weight
        made_at = books.moment(order.made_at)
    return Receipt(
        number=order.id,
        account=account,
        name=known.name,
        meter=binding.meter,
        card=order.card,
        sequence=order.sequence,
        volume=units.volume(order.paid_pulses, weight),
        fen=order.fen,
        price=None if order.price is None else units.price_fen(order.price),
        made_at=made_at,
        clerk=None if shift is None else shift.clerk,
        state=order.state,
    )
