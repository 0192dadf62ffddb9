"""Money back for gas (退气): asked for and approved, taken off the meter by an order, paid on its report.

The order is the only one that lowers a total. It is paid out only against an authentic report of its sequence or a
later one that tells of no more gas than the order; until then the account gets no other order but one that cancels it
(RULES 1, money back). A sale that may be on a card is reversed in this way only.
"""

from collections.abc import Mapping
from typing import NamedTuple

from gascard import codes, records
from gascard.records import S24_MAX
from gashall import encode, errors, journal, shifts, stock, units
from gashall.books import Books
from gashall.counter import (
    Counter,
    Standing,
    check_exchange,
    check_fen,
    check_free,
    check_not_closed,
    check_settled,
    check_waiting,
    found,
)
from gashall.errors import LedgerError, RequestError
from gashall.grants import (
    Grant,
    check_may_be_written,
    finish_placing,
    grant_row,
    note_of,
    of_account,
    told,
)
from gashall.placing import Placed, Position, Wanted, place, position
from gashall.readers.base import Reader
from gashall.rows import Binding, GrantRow, Order
from gashall.terms import ADOPTED, CANCEL, GIFT, REFUND, REPLACEMENT, WRITTEN
from gashall.units import Volume


def request(counter: Counter, account: str, volume: Volume, *, reason: str, requester: str, fen: int | None) -> Grant:
    """See ``Hall.request_refund``."""
    units.account_number(account)
    stock.check_text(reason, "reason")
    stock.check_text(requester, "requester")
    check_fen(fen)
    with counter.ledger.begin() as books:
        known, binding, meter = of_account(books, account)
        check_not_closed(known)
        check_exchange(books.transfer_of(account), account)
        pulses = units.pulses(volume, meter.pulse_weight, least=1, most=S24_MAX)
        here = position(counter, books, binding)
        check_settled(here.unpaid)
        _check_no_other(books, binding)
        _check_left(books, here, pulses)
        if fen is None:
            fen = money_of(books, account, _chain(books, binding.id), pulses, meter.pulse_weight)
        row = books.add_grant(
            binding,
            kind=REFUND,
            pulses=pulses,
            fen=fen,
            reason=reason,
            requester=requester,
            at=counter.now(),
            last_sequence=here.last.sequence,
        )
        return told(books, row)


def write(counter: Counter, reader: Reader, number: int, rescue: bool) -> Grant:
    """See ``Hall.write_grant``; of refunds."""
    _row(counter, number)

    def plan(books: Books, standing: Standing) -> Wanted:
        row = grant_row(books, number)
        check_may_be_written(row, standing)
        last = standing.last
        if last.kind in (REFUND, REPLACEMENT):
            raise LedgerError(errors.REFUND_AFTER, f"The account's last order, {last.sequence}, is a {last.kind}.")
        # A purchase that waits on the card may be reversed; of other orders it must be known what the meter made.
        if last.state == WRITTEN and (last.kind is not None or last.opens):
            check_waiting(books, standing)
        _check_worth(books, row)
        _check_left(books, standing, row.pulses)
        released = standing.base - row.pulses
        return Wanted(REFUND, -row.pulses, -row.pulses, released, records.FLAG_REFUND)

    return finish_placing(counter, number, place(counter, reader, plan, note_of(number), rescue=rescue))


def pay(counter: Counter, number: int) -> Grant:
    """See ``Hall.pay_refund``."""
    with counter.ledger.begin() as books:
        row = _refund(books, number)
        _check_open(row)
        order = _order(books, row)
        binding = books.binding_of(row.account)
        if binding is not None:
            check_free(books, binding)
        if not proven(books, row, order):
            raise LedgerError(
                errors.REFUND_NOT_PROVEN, f"No report shows that the meter has loaded order {order.sequence}."
            )
        now = counter.now()
        shift = shifts.check(books.rules(now))
        books.change_grant(row, journal.REFUND_PAID, paid_at=now, shift=shift)
        return told(books, grant_row(books, number))


def cancel(counter: Counter, number: int, reader: Reader | None, rescue: bool) -> Grant:
    """See ``Hall.cancel_grant``."""
    with counter.ledger.begin() as books:
        row = grant_row(books, number)
        if row.written is None:
            _check_open(row)
            books.change_grant(row, journal.GRANT_CANCELLED, cancelled_at=counter.now())
            return told(books, grant_row(books, number))
        if row.kind != REFUND:
            raise LedgerError(errors.GRANT_WRITTEN, f"Request {number} has been written to a card already.")
        if row.paid_at is not None:
            _check_open(row)
    if reader is None:
        raise RequestError(
            errors.FIELD,
            f"Refund {number} is on a card: it is cancelled by another order.",
            "Insert the account's card (--card).",
        )

    def plan(books: Books, standing: Standing) -> Wanted:
        row = _refund(books, number)
        if row.account != standing.account.number:
            raise LedgerError(
                errors.GRANT_ACCOUNT,
                f"Refund {number} is of account {row.account}; the card is account {standing.account.number}'s.",
            )
        _check_open(row)
        return Wanted(CANCEL, row.pulses, row.pulses, standing.last.released_pulses + row.pulses)

    def note(books: Books, order: Order) -> None:
        books.change_grant(grant_row(books, number), journal.GRANT_CANCELLED, cancelled_at=counter.now())

    placed = place(counter, reader, plan, note, rescue=rescue)
    if placed.resumed and placed.order.kind == REFUND:
        # What was finished is the refund itself; the order that cancels it comes behind it.
        placed = place(counter, reader, plan, note, rescue=rescue)
    return _cancelled(counter, number, placed)


def _cancelled(counter: Counter, number: int, placed: Placed) -> Grant:
    with counter.ledger.look() as books:
        row = grant_row(books, number)
        if row.cancelled_at is None or placed.order.kind != CANCEL or placed.standing.account.number != row.account:
            raise RequestError(
                errors.ORDER_FINISHED,
                f"The unfinished order {placed.order.sequence} of account {placed.standing.account.number} has been "
                f"finished on this card; refund {number} was not cancelled.",
                "Repeat it.",
            )
        return told(books, row, resumed=placed.resumed)


def proven(books: Books, row: GrantRow, order: Order) -> bool:
    """Whether the newest report shows that the meter has given the gas up (RULES 1, money back)."""
    binding = next(binding for binding in books.bindings(row.account) if binding.id == row.binding)
    kept = books.last_report(binding.meter)
    if kept is None or kept.binding != binding.number:
        return False
    report = encode.decode_report(kept.frame)
    return bool(report["sequence"] >= order.sequence and report["bought_total"] <= order.released_pulses)


def _row(counter: Counter, number: int) -> GrantRow:
    with counter.ledger.look() as books:
        return _refund(books, number)


def _refund(books: Books, number: int) -> GrantRow:
    row = grant_row(books, number)
    if row.kind != REFUND:
        raise LedgerError(errors.GRANT_MISSING, f"Request {number} is no refund.")
    return row


def _check_open(row: GrantRow) -> None:
    if row.paid_at is not None or row.cancelled_at is not None:
        what = "paid out" if row.paid_at is not None else "cancelled"
        raise LedgerError(errors.GRANT_ENDED, f"Request {row.id} is {what}.")


def _order(books: Books, row: GrantRow) -> Order:
    if row.written is None:
        if row.approver is None:
            raise LedgerError(errors.GRANT_NOT_APPROVED, f"Refund {row.id} is not approved.")
        raise LedgerError(
            errors.REFUND_NOT_PROVEN,
            f"Refund {row.id} has not been written to a card.",
            "Write it first (icgas hall refund write); then the meter must have read the card.",
        )
    order: Order = found(books.order(row.written))
    return order


def _check_left(books: Books, here: Position | Standing, pulses: int) -> None:
    """Gas that is burned is not paid back, and the meter has the last word; nor is gas that was given."""
    weight = here.meter.pulse_weight
    if here.known is None:
        raise LedgerError(errors.OPENING_NOT_LOADED, "No report of the meter is known, nothing can be refunded.")
    left = encode.remaining(here.known) + here.base - here.known["bought_total"]
    if pulses > left:
        raise RequestError(
            codes.REFUND_TOO_LARGE,
            f"By its last report the meter has {units.volume(left, weight)} m³ left, waiting gas included; "
            f"{units.volume(pulses, weight)} m³ cannot be refunded.",
            "Refund at most that.",
        )
    bought = bought_of(books, here.binding.account, _chain(books, here.binding.id), left)
    if pulses > bought:
        raise RequestError(
            codes.REFUND_TOO_LARGE,
            f"Of the {units.volume(left, weight)} m³ that are left {units.volume(bought, weight)} m³ were bought and "
            f"not paid back yet; {units.volume(pulses, weight)} m³ cannot be.",
            "Refund at most that.",
        )


def _check_no_other(books: Books, binding: Binding) -> None:
    """One refund at a time: two that were asked for side by side would both be worth what was bought last."""
    for row in books.grants_of(binding.account):
        if row.kind == REFUND and row.binding == binding.id and row.paid_at is None and row.cancelled_at is None:
            raise LedgerError(
                errors.REFUND_UNPAID, f"Refund {row.id} of account {row.account} is neither paid nor cancelled."
            )


def _check_worth(books: Books, row: GrantRow) -> None:
    """Whether the gas bought last is still what the refund's money was worked out from."""
    for order in books.orders(row.account):
        # By the orders' own numbers: a purchase of the same minute, or by a slower clock, is one as well.
        if order.binding == row.binding and order.kind is None and order.sequence > found(row.last_sequence):
            raise RequestError(
                errors.AMOUNT,
                f"Gas was bought since refund {row.id} was asked for (order {order.sequence}): "
                "its money is not what the gas bought last cost.",
                "Cancel it and ask for it again.",
            )


def _chain(books: Books, binding: int) -> dict[int, int]:
    """The scales of a binding and of those whose gas has come to it by exchanges: such meters count alike."""
    parts = [binding]
    for part in parts:
        parts += [row.old for row in books.transfers_into(part) if row.old not in parts]
    return dict.fromkeys(parts, 1)


def scales_of(books: Books, account: str) -> dict[int, int]:
    """Binding's row id -> hundredths of a m³ in one of its meter's pulses, for all an account ever had."""
    return {row.id: 10 ** (2 - found(books.meter(row.meter)).pulse_weight) for row in books.bindings(account)}


def bought_of(books: Books, account: str, scales: Mapping[int, int], left: int) -> int:
    """How much of what is ``left`` was bought and not paid back, in pulses times ``scales``.

    Gas burns in the order it came (decision 114), so that what is left came last; what was given among it is not paid
    back. What replaces gas that was lost is no gift.
    """
    bought = 0
    for part in reversed(_parts(books, account, scales, 2)):
        taken = min(part.pulses, left)
        left -= taken
        bought += 0 if part.given else taken
    return bought


class _Part(NamedTuple):
    """What came with one order: pulses times a scale, the money and price of a purchase where they are known."""

    pulses: int
    fen: int | None
    price: int | None
    given: bool = False


def _parts(books: Books, account: str, scales: Mapping[int, int], weight: int) -> list[_Part]:
    """What was bought and given, oldest first, less what was paid back. ``scales``: the bindings that count, in
    pulses of ``weight``."""
    cancelled = {row.written for row in books.grants_of(account) if row.cancelled_at is not None}
    parts: list[_Part] = []
    undone = 0  # of refunds that are not paid, what no later order gave back
    for order in books.orders(account):
        scale = scales.get(order.binding, 0)
        count = order.paid_pulses * scale
        if order.kind == REFUND and order.id not in cancelled:
            _take(parts, -count, weight)
        elif order.kind in (REFUND, CANCEL, REPLACEMENT):
            undone -= count
        elif order.kind in (None, ADOPTED, GIFT) and count:
            parts.append(_Part(count, order.fen, order.price, order.kind == GIFT))
        if order.adopted_pulses and scale:
            # Bought with an order that was lost, what it cost is not known; or of a refund that no meter has loaded.
            adopted = order.adopted_pulses * scale
            if adopted > undone:
                parts.append(_Part(adopted - undone, None, None))
            undone = max(0, undone - adopted)
    return parts


def money_of(books: Books, account: str, scales: Mapping[int, int], pulses: int, weight: int) -> int:
    """What the gas bought last was sold for, in fen, without what was paid back already. ``pulses`` are scaled."""
    parts = _take(_parts(books, account, scales, weight), pulses, weight)
    if None in parts:
        raise RequestError(
            errors.AMOUNT,
            "For some of this gas no money was named when it was sold.",
            "Say what is to be paid back for it (--money); it is approved with the refund.",
        )
    return sum(part for part in parts if part is not None)


def _take(parts: list[_Part], pulses: int, weight: int) -> list[int | None]:
    """Take ``pulses`` off the newest of ``parts`` that were bought; the money of each, None where none was named."""
    taken: list[int | None] = []
    for at in range(len(parts) - 1, -1, -1):
        part = parts[at]
        count = min(part.pulses, pulses)
        if part.given or not count:
            continue
        pulses -= count
        share = part.fen
        if count < part.pulses and part.fen is not None:
            # Rounded half up; never more than the whole, and what is left keeps the rest.
            whole = (2 * part.fen * count + part.pulses) // (2 * part.pulses)
            share = min(whole if part.price is None else units.cost(count, weight, part.price), part.fen)
        rest = None if part.fen is None or share is None else part.fen - share
        parts[at] = part._replace(pulses=part.pulses - count, fen=rest)
        taken.append(share)
    return taken
