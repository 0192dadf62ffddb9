"""Money back for gas (退气): asked for and approved, taken off the meter by an order, paid on its report.

The order is the only one that lowers a total. It is paid out only against an authentic report of its sequence or a
later one that tells of no more gas than the order; until then the account gets no other order but one that cancels it
(RULES 1, money back). A sale that may be on a card is reversed in this way only.
"""

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
    REFUND,
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
from gashall.terms import CANCEL, REPLACEMENT, WRITTEN
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
        _check_bought(books, binding.id, pulses, meter.pulse_weight)
        _check_left(here, pulses)
        if fen is None:
            fen = money_of(books, account, binding.id, pulses, meter.pulse_weight)
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
        last, weight = standing.last, standing.meter.pulse_weight
        if last.kind in (REFUND, REPLACEMENT):
            raise LedgerError(errors.REFUND_AFTER, f"The account's last order, {last.sequence}, is a {last.kind}.")
        # A purchase that waits on the card may be reversed; of other orders it must be known what the meter made.
        if last.state == WRITTEN and (last.kind is not None or last.opens):
            check_waiting(books, standing)
        _check_worth(books, row)
        _check_bought(books, standing.binding.id, row.pulses, weight)
        _check_left(standing, row.pulses)
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


def _check_bought(books: Books, binding: int, pulses: int, weight: int) -> None:
    """What was given is not paid back: no more than was bought, less what was paid back already."""
    bought = sum(bought_left(books, part) for part in _chain(books, binding))
    if pulses > bought:
        raise RequestError(
            codes.REFUND_TOO_LARGE,
            f"{units.volume(bought, weight)} m³ were bought and not paid back yet; "
            f"{units.volume(pulses, weight)} m³ cannot be.",
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


def bought_left(books: Books, binding: int) -> int:
    """The pulses of a binding that were bought and not paid back; what was given is not paid back."""
    paid = books.paid(binding)
    return sum(paid.get(kind, 0) for kind in (None, REFUND, CANCEL, REPLACEMENT))


def _chain(books: Books, binding: int) -> list[int]:
    """A binding and those whose gas has come to it by exchanges, as row ids."""
    parts = [binding]
    for part in parts:
        parts += [row.old for row in books.transfers_into(part) if row.old not in parts]
    return parts


def _check_left(here: Position | Standing, pulses: int) -> None:
    """Gas that is burned is not paid back; the meter has the last word."""
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


def money_of(books: Books, account: str, binding: int, pulses: int, weight: int) -> int:
    """What the gas bought last was sold for, in fen, without what was paid back already."""
    # Meters that are exchanged for each other count in the same pulse.
    return _money(books, account, dict.fromkeys(_chain(books, binding), 1), pulses, weight)


def money_of_account(books: Books, account: str, hundredths: int) -> int:
    """The same of hundredths of a m³, whatever meter they were bought for."""
    return _money(books, account, _scales(books, account), hundredths, 2)


def _scales(books: Books, account: str) -> dict[int, int]:
    """Binding's row id -> hundredths of a m³ in one of its meter's pulses."""
    return {row.id: 10 ** (2 - found(books.meter(row.meter)).pulse_weight) for row in books.bindings(account)}


def _money(books: Books, account: str, scales: dict[int, int], pulses: int, weight: int) -> int:
    # ``scales``: the bindings that count, and what each one's pulses are multiplied by.
    cancelled = {row.written for row in books.grants_of(account) if row.cancelled_at is not None}
    bought: list[tuple[int, int | None, int | None]] = []
    for order in books.orders(account):
        if order.binding not in scales:
            continue
        count = order.paid_pulses * scales[order.binding]
        if order.kind is None and count:
            bought.append((count, order.fen, order.price))
        elif order.kind == REFUND and order.id not in cancelled:
            _take(bought, -count, weight)
    parts = _take(bought, pulses, weight)
    if None in parts:
        raise RequestError(
            errors.AMOUNT,
            "For some of this gas no money was named when it was sold.",
            "Say what is to be paid back for it (--money); it is approved with the refund.",
        )
    return sum(part for part in parts if part is not None)


def _take(bought: list[tuple[int, int | None, int | None]], pulses: int, weight: int) -> list[int | None]:
    """Take ``pulses`` off the newest of ``bought``; the money of each part, None where none was named."""
    parts: list[int | None] = []
    while pulses and bought:
        count, fen, price = bought.pop()
        taken = min(count, pulses)
        pulses -= taken
        part = fen
        if taken < count and fen is not None:
            # Rounded half up; never more than the whole, and what is left keeps the rest.
            share = (2 * fen * taken + count) // (2 * count) if price is None else units.cost(taken, weight, price)
            part = min(share, fen)
        if taken < count:
            bought.append((count - taken, None if fen is None or part is None else fen - part, price))
        parts.append(part)
    return parts
