"""The end of an account at its meter: the clear card (清零), and closing with what is paid back (销户).

An order is good for a whole binding, so none is made while a clear card is out. Its final record ends the binding: it
says what the meter had left, and what it does not show loaded never will be. Only against it money goes back (RULES 1,
money back).
"""

from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from gascard import tools
from gashall import encode, errors, journal, shifts, units
from gashall.adoption import check_approval
from gashall.books import Books
from gashall.counter import (
    Counter,
    check_fen,
    check_free,
    check_not_closed,
    check_ours,
    check_reader,
    check_settled,
    found,
)
from gashall.ending import ended, reckoned
from gashall.errors import CardError, LedgerError
from gashall.grants import SIGN, check_made_up, of_account
from gashall.history import printable
from gashall.labels import both, pad
from gashall.page import Table, page
from gashall.placing import position
from gashall.readers.base import Reader
from gashall.refunds import bought_of, money_of, scales_of
from gashall.rows import Binding, GrantRow, ToolRow
from gashall.terms import CLEAR, CLOSE, CLOSED, PENDING
from gashall.toolcards import Tool, told
from gashall.toolmaking import Wanted, make


@dataclass(frozen=True, slots=True)
class Closure:
    """A closed account and what was paid back. Volumes in m³, money in fen."""

    account: str
    meter: str
    binding: int
    remaining: Decimal
    """What the meter had left by its final record, corrections that it never got taken into account."""
    not_loaded: Decimal
    """What never came to it."""
    paid_back: Decimal
    """The gas the money is for: what was bought of it, given gas not."""
    owed: Decimal
    """What was burned and never paid, of an overdraft; 0: nothing."""
    fen: int
    number: int
    """Of the row in the list of requests."""
    customer: str
    at: datetime
    requester: str
    approver: str
    reason: str
    resumed: bool
    """Whether it had been closed before."""

    def record(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The slip to be signed and filed."""
        lines = [both("closing slip"), *[f"{pad(both(words), 34)}{text}" for words, text in self.rows()]]
        return [*lines, *[line for who in SIGN for line in ("", f"{pad(both(who), 34)}{'_' * 12}")]]

    def rows(self) -> list[tuple[str, str]]:
        """What the slip says, each with its label (gashall.labels)."""
        rows = [
            ("account", self.account),
            ("customer", printable(self.customer)),
            ("time", units.stamp(self.at)),
            ("meter", self.meter),
            ("binding", str(self.binding)),
            ("left on the meter", f"{self.remaining} m³"),
            ("never loaded", f"{self.not_loaded} m³"),
            ("gas paid back", f"{self.paid_back} m³"),
            ("money paid back", f"{units.yuan(self.fen)} yuan"),
        ]
        if self.owed:
            # Burned of an overdraft and not paid for.
            rows.append(("owed by the customer", f"{self.owed} m³"))
        people = (("asked for by", self.requester), ("approved by", self.approver), ("reason", self.reason))
        return [*rows, *((words, printable(text)) for words, text in people)]

    def page(self) -> str:
        """The same as an HTML page that prints."""
        return page("closing slip", [Table(("", ""), self.rows())], which=str(self.number), sign=SIGN)


def issue_clear(
    counter: Counter,
    reader: Reader,
    *,
    account: str,
    requester: str,
    approver: str,
    reason: str,
    meter: str | None = None,
    again: bool = False,
) -> Tool:
    """See ``Hall.issue_clear``."""
    units.account_number(account)
    check_approval(requester, approver, reason)
    with counter.ledger.look() as books:
        cleared = of_account(books, account)[2].number if meter is None else units.meter_number(meter)

    def plan(books: Books, begun: ToolRow | None) -> Wanted:
        binding, last = check_clear(counter, books, account, begun, cleared, again=again)
        row = found(books.meter(binding.meter))
        values = {
            "meter": row.number,
            "account": account,
            "binding": binding.number,
            "replacement": 0,
            "key_version": row.key_version,
            "sequence": last,
            "bought_total": 0,
            "amount": 0,
            "correction_total": 0,
            "pulse_weight": row.pulse_weight,
            "alarm": 0,
            "ceiling": 0,
            "overdraft": 0,
            "over_flow_seconds": 0,
            "flags": 0,
        }

        def frames(card: int, now: int, service: int) -> bytes:
            return encode.encode_order(counter.signer, card, values | {"time": now}, tools.ORDER_CLEAR)

        return Wanted(frames, reason, binding, requester=requester, approver=approver)

    made = make(counter, reader, CLEAR, cleared, plan)
    with counter.ledger.look() as books:
        return told(books, made.tool, resumed=made.resumed)


def check_clear(
    counter: Counter, books: Books, account: str, begun: ToolRow | None, meter: str, *, again: bool = False
) -> tuple[Binding, int]:
    """The account's binding with ``meter``, which may be ended now, and its last sequence; else LedgerError.

    ``begun`` is the card that may be out for it already: it is finished whatever has come since. So is one made
    ``again`` for a clear card that is out: that may end the binding at any time. A binding the ledger has closed
    without a final record, a dead meter's, asks for nothing else.
    """
    left = [row for row in books.bindings(account) if row.meter == meter and not row.open]
    if left and books.final(meter, left[-1].number) is None and books.binding_on(meter) is None:
        return left[-1], found(books.last_order(left[-1].id)).sequence
    known, binding, _ = of_account(books, account)
    if binding.meter != meter:
        raise LedgerError(errors.ACCOUNT_UNKNOWN, f"Account {account} has no meter {meter}.")
    here = position(counter, books, binding)
    out = begun
    if again and begun is None:
        out = books.ending(binding.id)
        if out is None or out.kind != CLEAR:
            raise LedgerError(
                errors.TOOL_UNKNOWN,
                f"No clear card is out for the meter of account {account}.",
                "Ask for the first one without --again.",
            )
    if out is None or out.binding != binding.id:
        check_not_closed(known)
        check_free(books, binding)
        check_settled(here.unpaid)
        if here.last.state == PENDING:
            raise LedgerError(errors.PENDING_ELSEWHERE, f"Order {here.last.sequence} of account {account} is pending.")
        if here.held:
            raise LedgerError(
                errors.HELD,
                f"{units.volume(here.held, here.meter.pulse_weight)} m³ of account {account} are held.",
            )
        check_made_up(books, binding, here.meter.pulse_weight)
    return binding, here.last.sequence


def close_account(
    counter: Counter,
    account: str,
    *,
    requester: str,
    approver: str,
    reason: str,
    fen: int | None,
    card: Reader | None,
) -> Closure:
    """See ``Hall.close_account``."""
    units.account_number(account)
    check_approval(requester, approver, reason)
    check_fen(fen)
    number = None if card is None else _shown(counter, card)
    with counter.ledger.begin() as books:
        known = books.account(account)
        if known is None:
            raise LedgerError(errors.ACCOUNT_UNKNOWN, f"There is no account {account}.")
        done = next((row for row in books.grants_of(account) if row.kind == CLOSE), None)
        if known.state == CLOSED and done is not None:
            return _told(books, done, resumed=True)
        check_not_closed(known)
        binding = ended(books, account)
        own = books.card_of(account)
        if number is not None and (own is None or own.number != number):
            raise CardError(errors.GRANT_ACCOUNT, f"Card {number} is not account {account}'s present card.")
        count, _ = reckoned(books, binding)
        weight = found(books.meter(binding.meter)).pulse_weight
        scales, scale = scales_of(books, account), 10 ** (2 - weight)
        payable = bought_of(books, account, scales, max(count, 0) * scale) // scale
        if payable and fen is None and not books.ended_since_restore(account):
            # Nothing is paid out on a copy's word (RULES 1, ledger behind).
            raise LedgerError(
                errors.RECOVERING,
                f"The meter of account {account} was cleared before the ledger was restored: whether the "
                f"{units.volume(payable, weight)} m³ it had left were paid back since is not known.",
                "Look at the slips, and say what is still to be paid back: --money YUAN, 0 if all was paid.",
            )
        if fen is None:
            fen = money_of(books, account, scales, payable * scale, 2)
        now = counter.now()
        shift = shifts.check(books.rules(now))
        for asked in books.grants_of(account):
            over = asked.written is not None or asked.paid_at is not None or asked.cancelled_at is not None
            if not over:
                books.change_grant(asked, journal.GRANT_CANCELLED, cancelled_at=now)
        row = books.add_grant(binding, kind=CLOSE, pulses=payable, fen=fen, reason=reason, requester=requester, at=now)
        books.change_grant(row, journal.GRANT_APPROVED, approver=approver, approved_at=now)
        books.change_grant(row, journal.REFUND_PAID, paid_at=now, shift=shift)
        books.change_account(known, "state", CLOSED, at=now, reason=reason, approver=approver)
        if number is not None:
            books.end_card(found(own), now)
        return _told(books, found(books.grant(row.id)), resumed=False)


def _shown(counter: Counter, reader: Reader) -> int:
    """The number of the customer's card, which is given back."""
    check_reader(reader)
    with reader:
        card = counter.read_card(reader)
    check_ours(card)
    number: int = found(card.number)
    return number


def _told(books: Books, row: GrantRow, *, resumed: bool) -> Closure:
    binding = next(binding for binding in books.bindings(row.account) if binding.id == row.binding)
    count, waiting = reckoned(books, binding)
    weight = found(books.meter(binding.meter)).pulse_weight
    return Closure(
        account=row.account,
        meter=binding.meter,
        binding=binding.number,
        remaining=units.volume(count - waiting, weight),
        not_loaded=units.volume(waiting, weight),
        paid_back=units.volume(row.pulses, weight),
        owed=units.volume(max(-count, 0), weight),
        fen=row.fen or 0,
        number=row.id,
        customer=found(books.account(row.account)).name,
        at=books.moment(found(row.paid_at)),
        requester=row.requester,
        approver=row.approver or "",
        reason=row.reason,
        resumed=resumed,
    )


__all__ = ["Closure", "check_clear", "close_account", "issue_clear"]
