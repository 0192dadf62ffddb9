"""Adopting a card's word: what its authentic order and report say beyond a ledger that has lost entries (RULES 1).

Nothing is lowered, and nothing is believed but frames whose MAC is right. Which gas that is worked out to be is argued
in docs/ledger.md, "Restored".
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from gascard.records import FLAG_MAKEUP
from gashall import errors, stock, units
from gashall.books import Books
from gashall.counter import Counter, Standing, check_reader, found
from gashall.encode import Values
from gashall.errors import CardError, LedgerError
from gashall.grants import same_person
from gashall.history import printable
from gashall.readers.base import Reader
from gashall.rows import Order
from gashall.terms import DONE, PENDING, WRITTEN


@dataclass(frozen=True, slots=True)
class Adopted:
    """What was adopted; volumes in m³."""

    account: str
    meter: str
    card: int
    sequence: int
    """The account's last order now."""
    raised: Decimal
    """How much more gas the ledger now knows to be the customer's."""
    released: Decimal
    """All of it, in this binding."""
    recovering: bool
    """Whether the account still waits for the report of an order written after the restore."""
    requester: str
    approver: str
    reason: str

    def lines(self) -> list[str]:
        """For people."""
        lines = [
            f"account {self.account}, meter {self.meter}, card {self.card}: the card's word is adopted",
            f"{self.raised} m³ more than the ledger knew, {self.released} m³ in all; last order {self.sequence}",
        ]
        if self.recovering:
            lines.append("The account is still recovering: put a probe on the card (icgas hall probe).")
        return lines


def adopt(counter: Counter, reader: Reader, *, requester: str, approver: str, reason: str) -> Adopted:
    """See ``Hall.adopt``."""
    check_reader(reader)
    check_approval(requester, approver, reason)
    with reader:
        card = counter.read_card(reader)
    with counter.ledger.begin() as books:
        standing = counter.judge(books, card, adopting=True)
        before, recovery = standing.last, books.recovery(standing.binding.id)
        since = 0 if recovery is None else books.paid_since(standing.binding.id, recovery.floor)
        lost = _lost(standing, since, sum(books.paid(standing.binding.id).values()))
        ended = recovery is not None and _has_reported(books, standing, recovery.floor)
        if not lost.orders and lost.raised is None and not ended:
            raise CardError(errors.NOTHING_TO_ADOPT, _why_nothing(standing))
        if lost.orders and before.state == PENDING:
            # The hall writes no order while one is pending: who made a later one had written this before.
            books.mark_written(before.id)
        if lost.orders and not standing.row.issued and standing.report is None:  # else ``keep`` marks it
            books.mark_card(standing.row.number, psc_bytes=3, issued=True)
        adoption = {
            "card": standing.row.number,
            "sequence": lost.sequence,
            "released_pulses": lost.released,
            "raised_pulses": lost.gained,
            "requester": requester,
            "approver": approver,
            "reason": reason,
            "at": counter.now(),
        }
        books.adopt(standing.binding, lost.orders, lost.raised, adoption, found(recovery).id if ended else None)
        counter.keep(books, standing)
    weight = standing.meter.pulse_weight
    return Adopted(
        account=standing.account.number,
        meter=standing.meter.number,
        card=standing.row.number,
        sequence=lost.sequence,
        raised=units.volume(lost.gained, weight),
        released=units.volume(lost.released, weight),
        recovering=recovery is not None and not ended,
        requester=requester,
        approver=approver,
        reason=reason,
    )


def check_approval(requester: str, approver: str, reason: str) -> None:
    """Whether two people and a reason are named. RequestError FIELD."""
    for text, what in ((requester, "requester"), (approver, "approver"), (reason, "reason")):
        stock.check_text(text, what)
    if same_person(requester, approver):
        raise LedgerError(errors.APPROVER, f"{printable(requester)} asked for it and cannot approve it.")


@dataclass(slots=True)
class _Lost:
    """Rows of orders the ledger has not, how its last one is raised, and where that leaves the binding, in pulses."""

    orders: list[dict[str, Any]]
    raised: dict[str, Any] | None
    sequence: int
    released: int
    paid: int
    """All the customer may have: more than is released while gas is held."""
    gained: int = 0
    """How much of that the ledger did not know."""

    def gain(self, pulses: int) -> int:
        """Take ``pulses`` more for the customer's; none if that is less than 0. How many it was."""
        pulses = max(pulses, 0)
        self.paid += pulses
        self.gained += pulses
        return pulses


def _lost(standing: Standing, since: int, paid: int) -> _Lost:
    """What the card has beyond the ledger; ``since`` pulses were sold since the restore, and are in no lost order.

    What was ``paid`` and is held may be what a lost order or report tells of: it is not the customer's twice.
    """
    last = standing.last
    lost = _Lost([], None, last.sequence, last.released_pulses, paid)
    order, report = standing.card.order, None if standing.report is None else found(standing.report.values)
    if order.authentic and found(order.values)["sequence"] > last.sequence:
        values = found(order.values)
        if values["account"] != standing.account.number:
            raise LedgerError(
                errors.LEDGER_BEHIND,
                f"The card's order is of account {values['account']}, the card of {standing.account.number}.",
                "This cannot be adopted: keep the card, and look which ledger it belongs to.",
            )
        # A make-up, this one or one lost before it, can be of held gas; any other order gives its amount beside it.
        alone = values["sequence"] == last.sequence + 1 and not values["flags"] & FLAG_MAKEUP
        own = values["amount"] if alone else 0
        _add(lost, standing, values, own, frame=order.raw, state=WRITTEN, made_at=values["time"])
    if report is not None and report["sequence"] > lost.sequence:
        _add(lost, standing, report, 0, frame=b"", state=DONE, made_at=report["time"])
    if report is not None and report["bought_total"] > lost.released:
        released = report["bought_total"] + since
        raised = {
            "released_pulses": released,
            "adopted_pulses": lost.gain(released - lost.paid),
            "frame_pulses": _total(lost, last),
        }
        if lost.orders:
            lost.orders[-1] |= raised
        else:
            raised["adopted_pulses"] += last.adopted_pulses or 0
            lost.raised = {"id": last.id, **raised}
        lost.released = released
    return lost


def _add(lost: _Lost, standing: Standing, values: Values, own: int, *, frame: bytes, state: str, made_at: int) -> None:
    """A row of a lost order, of which card or report give ``values``; the total never falls, whatever they say.

    Of its total ``own`` pulses are the order's alone, the rest may have been paid for before.
    """
    total = values["bought_total"]
    released = max(total, lost.released)
    lost.orders.append(
        {
            "card": standing.row.number,
            "sequence": values["sequence"],
            "state": state,
            "frame": frame,
            "paid_pulses": lost.gain(min(released - lost.released, own + max(0, released - own - lost.paid))),
            "released_pulses": released,
            "made_at": made_at,
            "adopted_pulses": None,
            "frame_pulses": None if total == released else total,
            "correction": values["correction_total"] or None,
        }
    )
    lost.sequence, lost.released = values["sequence"], released


def _total(lost: _Lost, last: Order) -> int:
    if not lost.orders:
        return last.total
    row = lost.orders[-1]
    total: int = row["released_pulses"] if row["frame_pulses"] is None else row["frame_pulses"]
    return total


def _has_reported(books: Books, standing: Standing, floor: int) -> bool:
    """Whether an authentic report shows an order that was written after the restore."""
    first = books.first_since(standing.binding.id, floor)
    return first is not None and standing.known is not None and standing.known["sequence"] >= first


def _why_nothing(standing: Standing) -> str:
    if standing.floor is None:
        return "The ledger has all that this card says."
    return "The card has no report of an order that was written after the restore."
