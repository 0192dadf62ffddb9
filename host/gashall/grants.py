"""Gas that is not sold: made up for a proven loss (补气) or given free (赠气), asked for, approved, printed, written.

One person asks, another approves, and then it is an order like any other (DOMAIN 1: every make-up goes through
approval, states its reason and is filed). Refunds are asked for and approved in the same way (gashall.refunds).
"""

import re
import unicodedata
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from gascard import codes, records
from gascard.records import S24_MAX
from gashall import errors, journal, stock, units
from gashall.books import Books
from gashall.counter import (
    Counter,
    Standing,
    check_exchange,
    check_not_closed,
    check_settled,
    check_state,
    check_waiting,
    correction_total,
    found,
    no_meter,
)
from gashall.errors import LedgerError, RequestError
from gashall.history import printable
from gashall.labels import both, pad
from gashall.page import Table, page
from gashall.placing import Placed, Wanted, place, position
from gashall.readers.base import Reader
from gashall.rows import Account, Binding, GrantRow, MeterRow, Order
from gashall.terms import CARRIED, DONE, DRIFT, GIFT, MAKEUP, PENDING, REFUND, REPLACEMENT, WRITTEN
from gashall.units import Volume

HELD = "held"
LOSS = "loss"
DEAD_METER = "dead meter"
OTHER = "other"
MAKEUPS = (HELD, LOSS, DRIFT, DEAD_METER, OTHER)
"""Why gas is made up: held since a card was replaced and proven not loaded; lost in another way; counted wrongly by
the register; left on a meter that died and was exchanged; anything else."""
KINDS = (*MAKEUPS, GIFT, REFUND)

WIDTH = 42

# State of a grant.
REQUESTED = "requested"
APPROVED = "approved"
UNFINISHED = "unfinished"
ON_CARD = "on the card"
LOADED = "loaded"
PAID = "paid"
CANCELLED = "cancelled"


_LABEL = 24
"""Columns of a slip's labels."""
SIGN = ("asked for by", "approved by", "customer's signature")
"""Who signs a slip."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A make-up, gift or refund and how far it has come. Volume in m³, money in fen, times by the hall's own clock."""

    number: int
    kind: str
    account: str
    name: str
    meter: str
    volume: Decimal
    """What the customer gains, negative only for drift that is taken off; what he gives back, if it is a refund."""
    fen: int | None
    reason: str
    requester: str
    requested_at: datetime
    approver: str | None
    approved_at: datetime | None
    state: str
    """requested, approved, unfinished, on the card, loaded, carried over, paid or cancelled."""
    card: int | None
    sequence: int | None
    paid_at: datetime | None
    cancelled_at: datetime | None
    head: str | None
    """Hash of the journal's row that approved it, in hex."""
    resumed: bool = False
    """Whether its order had been begun earlier and was only finished now."""

    @property
    def sort(self) -> str:
        """makeup, gift or refund."""
        return MAKEUP if self.kind in MAKEUPS else self.kind

    def record(self) -> dict[str, Any]:
        """The grant as JSON holds it, times in ISO 8601."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(self).items()
        }

    def line(self) -> str:
        """One line of a list."""
        money = "" if self.fen is None else f", {units.yuan(self.fen)} yuan"
        return (
            f"{self.number:>5}  {self.requested_at:%Y-%m-%d}  account {self.account}  {self.kind} "
            f"{self.volume} m³{money}: {self.state}  ({printable(self.reason)})"
        )

    def rows(self) -> list[tuple[str, str]]:
        """What the slip says, each with its label (gashall.labels)."""
        rows = [
            ("number", str(self.number)),
            ("kind", both(self.kind) if self.sort == self.kind else f"{both(self.sort)}, {both(self.kind)}"),
            ("account", self.account),
            ("customer", printable(self.name)),
            ("meter", self.meter),
            ("gas", f"{self.volume} m³"),
        ]
        if self.fen is not None:
            rows.append(("money", f"{units.yuan(self.fen)} yuan"))
        rows += [("reason", printable(self.reason))]
        rows += [("asked for by", printable(self.requester)), ("asked for at", units.stamp(self.requested_at))]
        if self.approver is not None and self.approved_at is not None:
            rows += [("approved by", printable(self.approver)), ("approved at", units.stamp(self.approved_at))]
        if self.card is not None:
            rows.append(("order", f"{self.sequence} on card {self.card}"))
        if self.paid_at is not None:
            rows.append(("paid at", units.stamp(self.paid_at)))
        if self.cancelled_at is not None:
            rows.append(("cancelled at", units.stamp(self.cancelled_at)))
        return [*rows, ("state", both(self.state))]

    def lines(self) -> list[str]:
        """The slip to be signed and filed, as lines of text."""
        rule = "-" * WIDTH
        lines = [f"{both(self._title)} {self.number}", rule]
        lines += [f"{pad(both(words), _LABEL)}{text}" for words, text in self.rows()]
        if self.head is not None:
            half = len(self.head) // 2
            lines += [rule, both("journal"), self.head[:half], self.head[half:]]
            lines += [rule, *[line for who in SIGN for line in ("", f"{pad(both(who), 30)}{'_' * 12}")]]
        return lines

    def page(self) -> str:
        """The same as an HTML page that prints on A4."""
        table = Table(("", ""), self.rows())
        foot = "" if self.head is None else f"{both('journal')} {self.head}"
        return page(self._title, [table], which=str(self.number), sign=SIGN, foot=foot)

    @property
    def _title(self) -> str:
        return {MAKEUP: "make-up slip", GIFT: "gift slip", REFUND: "refund slip"}.get(self.sort, "closing slip")


def request(
    counter: Counter,
    account: str,
    volume: Volume,
    *,
    kind: str,
    reason: str,
    requester: str,
) -> Grant:
    """See ``Hall.request_makeup`` and ``Hall.request_gift``."""
    units.account_number(account)
    stock.check_text(reason, "reason")
    stock.check_text(requester, "requester")
    if kind not in (*MAKEUPS, GIFT):
        raise RequestError(
            errors.FIELD, f"There is no make-up of kind {units.shown(kind)}.", f"Use {', '.join(MAKEUPS)}."
        )
    with counter.ledger.begin() as books:
        known, binding, meter = of_account(books, account)
        check_not_closed(known)
        check_exchange(books.transfer_of(account), account)
        pulses = _pulses(volume, meter.pulse_weight, kind)
        if kind == DEAD_METER:
            _check_dead(books, binding, pulses, meter.pulse_weight)
        here = position(counter, books, binding)
        _check_held(kind, pulses, here.held, meter.pulse_weight)
        row = books.add_grant(
            binding,
            kind=kind,
            pulses=pulses,
            fen=None,
            reason=reason,
            requester=requester,
            at=counter.now(),
            last_sequence=here.last.sequence if kind == DEAD_METER else None,
        )
        return told(books, row)


def approve(counter: Counter, number: int, approver: str) -> Grant:
    """See ``Hall.approve_grant``."""
    stock.check_text(approver, "approver")
    with counter.ledger.begin() as books:
        row = grant_row(books, number)
        if row.cancelled_at is not None:
            raise LedgerError(errors.GRANT_ENDED, f"Request {number} was cancelled.")
        if row.approver is not None:
            raise RequestError(
                errors.APPROVER,
                f"Request {number} has been approved by {printable(row.approver)}.",
                "Print its slip again, or write it to the card.",
            )
        if same_person(approver, row.requester):
            raise RequestError(
                errors.APPROVER, f"{printable(row.requester)} asked for request {number} and cannot approve it."
            )
        books.change_grant(row, journal.GRANT_APPROVED, approver=approver, approved_at=counter.now())
        return told(books, grant_row(books, number))


def write(counter: Counter, reader: Reader, number: int, rescue: bool) -> Grant:
    """See ``Hall.write_grant``; of make-ups and gifts."""
    with counter.ledger.look() as books:
        grant_row(books, number)

    def plan(books: Books, standing: Standing) -> Wanted:
        row = grant_row(books, number)
        check_may_be_written(row, standing)
        if row.kind == DEAD_METER:
            _check_dead(books, standing.binding, row.pulses, standing.meter.pulse_weight, row.id)
        return _wanted(counter, books, row, standing)

    return finish_placing(counter, number, place(counter, reader, plan, note_of(number), rescue=rescue))


def note_of(number: int) -> Any:
    """What a new order means for its grant: it is written, and never again."""

    def note(books: Books, order: Order) -> None:
        books.change_grant(grant_row(books, number), journal.GRANT_WRITTEN, written=order.id)

    return note


def finish_placing(counter: Counter, number: int, placed: Placed) -> Grant:
    """The grant whose order is on the card now. RequestError ORDER_FINISHED if that was another order's."""
    with counter.ledger.look() as books:
        row = grant_row(books, number)
        if row.written != placed.order.id:
            raise RequestError(
                errors.ORDER_FINISHED,
                f"The unfinished order {placed.order.sequence} of account {placed.standing.account.number} has been "
                f"finished on this card; request {number} was not written.",
                "Put the card into the meter first; then write the request.",
            )
        return told(books, row, resumed=placed.resumed)


def check_may_be_written(row: GrantRow, standing: Standing) -> None:
    """Whether the grant may be written on this card; else LedgerError or CardError. What it is does not matter."""
    account = standing.account
    if row.account != account.number:
        raise LedgerError(
            errors.GRANT_ACCOUNT,
            f"Request {row.id} is for account {row.account}; the card is account {account.number}'s.",
        )
    if row.cancelled_at is not None or row.paid_at is not None:
        raise LedgerError(errors.GRANT_ENDED, f"Request {row.id} is {'paid' if row.paid_at else 'cancelled'}.")
    if row.written is not None:
        raise LedgerError(errors.GRANT_WRITTEN, f"Request {row.id} has been written to a card already.")
    if row.approver is None:
        raise LedgerError(errors.GRANT_NOT_APPROVED, f"Request {row.id} of {printable(row.requester)} is not approved.")
    if row.binding != standing.binding.id:
        raise LedgerError(
            codes.BINDING,
            f"Request {row.id} was made for another meter or binding of account {row.account}.",
            "Cancel it and make another request.",
        )
    check_not_closed(account)
    check_settled(standing.unpaid)


def _wanted(counter: Counter, books: Books, row: GrantRow, standing: Standing) -> Wanted:
    last, base, weight = standing.last, standing.base, standing.meter.pulse_weight
    if row.kind == GIFT:
        check_state(standing.account)
    # The order that came with a replacement card adds nothing, and held gas is made up over it before the card has been
    # in the meter: whatever became of the lost card, the total cannot pass what was paid.
    if last.state == WRITTEN and not (row.kind == HELD and last.kind == REPLACEMENT):
        check_waiting(books, standing)
    _check_held(row.kind, row.pulses, standing.held, weight)
    flag = records.FLAG_GIFT if row.kind == GIFT else records.FLAG_MAKEUP
    purpose = GIFT if row.kind == GIFT else MAKEUP
    if row.kind == DRIFT:
        counter.check_room(standing, max(row.pulses, 0))
        correction = correction_total(last, standing.known) - row.pulses
        if abs(correction) > S24_MAX:
            raise RequestError(
                codes.RANGE,
                f"With it the corrections of this binding would come to {units.volume(correction, weight)} m³.",
                "The meter is to be exchanged.",
            )
        return Wanted(purpose, 0, row.pulses, base, flag, correction)
    counter.check_room(standing, row.pulses)
    return Wanted(purpose, 0 if row.kind == HELD else row.pulses, row.pulses, base + row.pulses, flag)


def _check_held(kind: str, pulses: int, held: int, weight: int) -> None:
    """Held gas is made up as such and at most once; while any is held no other loss is."""
    there = units.volume(held, weight)
    if kind == HELD and pulses > held:
        raise LedgerError(errors.NOT_HELD, f"{there} m³ are held, not {units.volume(pulses, weight)} m³.")
    if held and kind in (LOSS, DEAD_METER, OTHER):
        raise LedgerError(
            errors.HELD,
            f"{there} m³ of the account are held since its card was replaced.",
            "Make that up first, as kind held; else it could be given twice.",
        )


def dead_left(books: Books, binding: Binding) -> int:
    """Pulses dead meters of the account had left by their closing index, and which have not come to ``binding``."""
    left = sum(row.owed_pulses or 0 for row in books.transfers_into(binding.id) if row.closing is not None)
    # A transfer card that was used all the same has brought what was adopted.
    return left - sum(row.raised_pulses for row in books.adoptions(binding.id))


def check_made_up(books: Books, binding: Binding, weight: int) -> None:
    """Whether it was decided what the customer gets of a dead meter's gas: his binding is about to end.

    A make-up is of one binding. Nobody has to give all that the index says: a request that was cancelled is a
    decision too. But what a restore made void nobody has decided on: a request from before it does not count, nor one
    from before a card's word was adopted, which changes what is left. LedgerError DEAD_METER_OWED.
    """
    left = dead_left(books, binding)
    rows = [row for row in books.grants_of(binding.account) if row.binding == binding.id and row.kind == DEAD_METER]
    recovery = books.recovery(binding.id)
    since = max([row.sequence for row in books.adoptions(binding.id)], default=0)
    since = since if recovery is None else recovery.floor
    decided = any(row.written is not None or (row.last_sequence or 0) >= since for row in rows)
    if left > 0 and (not decided or any(row.written is None and row.cancelled_at is None for row in rows)):
        raise LedgerError(
            errors.DEAD_METER_OWED,
            f"By its closing index the dead meter of account {binding.account} had "
            f"{units.volume(left, weight)} m³ left, and no make-up of it is written or cancelled.",
        )


def _check_dead(books: Books, binding: Binding, pulses: int, weight: int, own: int = 0) -> None:
    """At most what was released to the dead meter less what it used by its closing index (RULES 1, dead meter)."""
    left = dead_left(books, binding)
    for row in books.grants_of(binding.account):
        if row.binding == binding.id and row.kind == DEAD_METER and row.cancelled_at is None and row.id != own:
            left -= row.pulses
    if pulses > left:
        there = f"{units.volume(max(left, 0), weight)} m³"
        message = f"{there} were left on a dead meter and not made up, not {units.volume(pulses, weight)} m³."
        adopted = sum(row.raised_pulses for row in books.adoptions(binding.id))
        if not adopted:
            raise LedgerError(errors.DEAD_METER_LIMIT, message)
        # It may have been lost purchases for the new meter: people know, the ledger cannot.
        ask = f"Ask for at most {there}. " if left > 0 else ""
        raise LedgerError(
            errors.DEAD_METER_LIMIT,
            f"{message} {units.volume(adopted, weight)} m³ that were adopted since are taken off it.",
            f"{ask}What was adopted and was not the dead meter's gas is made up as kind loss.",
        )


def _pulses(volume: Volume, weight: int, kind: str) -> int:
    """The pulses asked for; below zero only for drift."""
    size: Volume | None = None
    if kind == DRIFT and isinstance(volume, str):
        text = volume.strip()
        size = text[1:] if re.match("-[0-9]", text) else None
    elif kind == DRIFT and isinstance(volume, int | Decimal) and volume < 0:
        size = -volume
    if size is None:
        return units.pulses(volume, weight, least=1, most=S24_MAX)
    return -units.pulses(size, weight, least=1, most=S24_MAX)


def all_grants(counter: Counter, account: str | None, sort: str | None) -> list[Grant]:
    """See ``Hall.grants``."""
    with counter.ledger.look() as books:
        rows = [told(books, row) for row in (books.grants() if account is None else books.grants_of(account))]
    return [row for row in rows if sort is None or row.sort == sort]


def grant(counter: Counter, number: int) -> Grant:
    """See ``Hall.grant``."""
    with counter.ledger.look() as books:
        return told(books, grant_row(books, number))


def grant_row(books: Books, number: int) -> GrantRow:
    """The request of that number. RequestError FIELD; LedgerError GRANT_MISSING."""
    units.whole(number, "number", 1, 0x7FFFFFFF)
    row = books.grant(number)
    if row is None:
        raise LedgerError(errors.GRANT_MISSING, f"There is no request {number}.")
    return row


def of_account(books: Books, account: str) -> tuple[Account, Binding, MeterRow]:
    """An account with its open binding and meter; LedgerError ACCOUNT_UNKNOWN, ACCOUNT_CLOSED."""
    known, binding = books.account(account), books.binding_of(account)
    if known is None:
        raise LedgerError(errors.ACCOUNT_UNKNOWN, f"There is no account {account}.")
    if binding is None:
        raise no_meter(known)
    return known, binding, found(books.meter(binding.meter))


def told(books: Books, row: GrantRow, *, resumed: bool = False) -> Grant:
    """A row of the ledger as a grant."""
    account = found(books.account(row.account))
    binding = next(binding for binding in books.bindings(row.account) if binding.id == row.binding)
    order: Order | None = None if row.written is None else found(books.order(row.written))
    head = None if row.approver is None else books.approval(row.id)
    return Grant(
        number=row.id,
        kind=row.kind,
        account=row.account,
        name=account.name,
        meter=binding.meter,
        volume=units.volume(row.pulses, found(books.meter(binding.meter)).pulse_weight),
        fen=row.fen,
        reason=row.reason,
        requester=row.requester,
        requested_at=books.moment(row.requested_at),
        approver=row.approver,
        approved_at=None if row.approved_at is None else books.moment(row.approved_at),
        state=_state(row, order, binding),
        card=None if order is None else order.card,
        sequence=None if order is None else order.sequence,
        paid_at=None if row.paid_at is None else books.moment(row.paid_at),
        cancelled_at=None if row.cancelled_at is None else books.moment(row.cancelled_at),
        head=None if head is None else head.hex(),
        resumed=resumed,
    )


def _state(row: GrantRow, order: Order | None, binding: Binding) -> str:
    if row.cancelled_at is not None:
        return CANCELLED
    if row.paid_at is not None:
        return PAID
    if order is not None:
        return {PENDING: UNFINISHED, WRITTEN: ON_CARD, DONE: LOADED, CARRIED: CARRIED}[order.told(binding)]
    return REQUESTED if row.approver is None else APPROVED


def same_person(one: str, other: str) -> bool:
    """Whether two names are one person's: capitals, blanks and the width of letters do not make another."""
    return _plain_name(one) == _plain_name(other)


def _plain_name(name: str) -> str:
    # Twice: folding capitals may leave letters that are to be composed anew.
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return "".join(folded.split())
