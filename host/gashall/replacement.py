"""A new card for an account whose card is lost or broken (补卡, 换卡), and old cards that turn up again.

The new card bears the next replacement number: from then on hall and, once it has seen the new card, meter refuse the
old one. It releases what an authentic report proves loaded, no more; what was paid beyond that is *held*. The new
card's own report settles it: the meter then has it, or never will, and it is made up with approval. Whatever became of
the old card, totals are cumulative and no gas is given twice (RULES 1, paid and released; DOMAIN 1).

While an account is recovering the new card is a probe as well: it releases nothing at all.
"""

from dataclasses import dataclass
from decimal import Decimal

from gascard import codes, records
from gascard.records import ORDER_AT, SEQUENCE_MAX
from gashall import encode, errors, journal, shifts, stock, units
from gashall.books import Books
from gashall.counter import (
    Counter,
    check_free,
    check_not_closed,
    check_ours,
    check_reader,
    found,
    is_ahead,
    newest_report,
)
from gashall.encode import Card, Values, decode_card, report_rank
from gashall.errors import CardError, LedgerError, RequestError
from gashall.grants import of_account
from gashall.opening import REPLACEMENT_MOST, unlock_blank
from gashall.placing import Position, position
from gashall.readers.base import Reader
from gashall.refunds import proven
from gashall.rows import Account, Binding, CardRow, MeterRow, Order, ReportRow
from gashall.terms import DONE, PENDING, REPLACEMENT
from gashall.toolcards import put

REASONS = ("lost never used", "lost in use", "broken", "broken after purchase", "other")


@dataclass(frozen=True, slots=True)
class Replaced:
    """A replacement card. Volumes in m³."""

    account: str
    meter: str
    card: int
    replacement: int
    old_card: int | None
    """None if it was finished only now."""
    sequence: int
    opening: bool
    """Whether it is an opening card again: no report shows that the meter is bound."""
    released: Decimal
    """The total the card bears: what a report proves loaded."""
    held: Decimal
    """Paid beyond it."""
    state: str
    resumed: bool
    cancelled_refund: int | None = None
    """The refund, not proven, that was cancelled by it."""
    probe: bool = False
    """Whether the account is recovering, and the card its probe."""


@dataclass(frozen=True, slots=True)
class TakenBack:
    """What an old card said. Volumes in m³."""

    account: str
    card: int
    replaced_by: int
    report: Values | None
    """Its newest report that proves something."""
    why_not: int
    """Without one, what is the matter with those it bears; 0: it bears none."""
    waiting: Decimal
    """Gas of its own order that no report on it shows loaded; by itself no proof that it was not."""
    held: Decimal
    """What the account has held, this card's report taken into account."""


def replace_card(
    counter: Counter,
    reader: Reader,
    *,
    account: str,
    reason: str,
    old_card: Reader | None,
    issue_batch: int,
    again: bool,
) -> Replaced:
    """See ``Hall.replace``."""
    check_reader(reader)
    units.account_number(account)
    units.whole(issue_batch, "issue_batch", 0, 0xFFFF)
    if reason not in REASONS:
        raise RequestError(
            errors.FIELD, f"{units.shown(reason)} is no reason to replace a card.", f"Use one of {', '.join(REASONS)}."
        )
    old: Card | None = None
    if old_card is not None:
        check_reader(old_card)
        with old_card:
            old = counter.read_card(old_card)
    with reader:
        card = counter.read_card(reader)
        with counter.ledger.begin() as books:
            begun = _begun(books, account)
            if begun is None:
                _check_not_made(books, account, card)
                _take_proof(counter, books, account, old)
            elif card.number == begun.row.number:
                standing = counter.judge(books, card)
                counter.keep(books, standing)
                if standing.last.state == DONE:
                    return _replaced(counter, books, account, None, resumed=True)
        if begun is None:
            # In a transaction of its own: what the old card proves is kept even where no card can be made.
            with counter.ledger.begin() as books:
                _check(counter, books, account)
                if old is None and not again:
                    _check_seen(books, account)
            unlock_blank(reader, card)
            with counter.ledger.begin() as books:
                if _begun(books, account) is not None:
                    raise LedgerError(errors.PENDING_ELSEWHERE)
                if old is None and not again:
                    _check_seen(books, account)
                made = _book(counter, books, account, reason, issue_batch, taken=old is not None)
        else:
            made = begun
        counter.issue(reader, card, made.row, made.order, presented=begun is None)
    with counter.ledger.look() as books:
        return _replaced(counter, books, account, made.old, resumed=begun is not None)


def take_back(counter: Counter, reader: Reader, *, clear: bool) -> TakenBack:
    """See ``Hall.take_back``."""
    check_reader(reader)
    with reader:
        card = counter.read_card(reader)
        told = _take_back(counter, card)
        # What it said is booked first: nothing of it is lost with the order.
        if clear:
            _clear(counter, reader, card)
    return told


def _clear(counter: Counter, reader: Reader, card: Card) -> None:
    """Take the order off a card that was taken back. CardError; a card that bears no order of ours loses no try by it.

    A card on which this was begun bears the order with some bytes, or bits of one, erased.
    """
    blank = encode.BLANK_IMAGE[ORDER_AT : ORDER_AT + encode.ORDER_FRAME_SIZE]
    if card.order.raw == blank:
        return
    with counter.ledger.look() as books:
        place = found(books.place(found(card.number)))
        frames = [row.frame for row in books.orders(place.account.number) if row.card == card.number and row.frame]
    if not any(all(b & f == f for b, f in zip(card.order.raw, frame, strict=True)) for frame in frames):
        raise CardError(
            codes.MAC,
            "The card bears an order this hall did not make: it is taken back, and not given its password.",
            "Keep it for a card check.",
        )
    put(counter, reader, card, found(card.number), [(ORDER_AT, blank)])


def _take_back(counter: Counter, card: Card) -> TakenBack:
    with counter.ledger.begin() as books:
        check_ours(card)
        place = books.place(found(card.number))
        if place is None:
            raise CardError(errors.CARD_UNKNOWN, f"The ledger has no card {card.number}.")
        if not place.replaced:
            raise CardError(errors.CARD_IN_USE, f"Card {card.number} is the present card of {place.account.number}.")
        report, why_not = prove(counter, books, card)
        books.end_card(place.card, counter.now())
        present = found(books.card_of(place.account.number)).number
        binding, meter = place.binding, place.meter
        if binding is None or meter is None:
            return TakenBack(place.account.number, place.card.number, present, None, why_not, Decimal(0), Decimal(0))
        here = position(counter, books, binding)
        order = card.order.values if card.order.authentic else _last_on(books, binding, place.card.number)
        waiting = 0
        if order is not None and order["binding"] == binding.number and order["meter"] == meter.number:
            # By this card's report, or by one that came on another.
            loaded = (report is not None and report["sequence"] >= order["sequence"]) or any(
                row.state == DONE
                for row in books.orders(place.account.number)
                if (row.binding, row.sequence) == (binding.id, order["sequence"])
            )
            waiting = 0 if loaded else max(order["amount"], 0)
        return TakenBack(
            account=place.account.number,
            card=place.card.number,
            replaced_by=present,
            report=report,
            why_not=why_not,
            waiting=units.volume(waiting, meter.pulse_weight),
            held=units.volume(here.held, meter.pulse_weight),
        )


def _last_on(books: Books, binding: Binding, card: int) -> Values | None:
    """What the ledger put on a card last, where the card does not say it any more: it was cleared."""
    rows = [row for row in books.orders(binding.account) if row.binding == binding.id and row.card == card]
    return encode.decode_order(rows[-1].frame) if rows and rows[-1].frame else None


def prove(counter: Counter, books: Books, card: Card) -> tuple[Values | None, int]:
    """Keep what a replaced card's report proves, if it is newer than all that is known; the report, or why there is
    none (0: none is on the card).

    A report is the meter's word whatever card carries it. LedgerError LEDGER_BEHIND.
    """
    place = books.place(found(card.number))
    if place is None or place.binding is None or place.meter is None:
        return None, codes.OK
    binding, meter = place.binding, place.meter
    card = decode_card(card.image, counter.signer, key_version=meter.key_version)
    report, why_not = newest_report(card.reports, meter.number, binding.number)
    if report is None:
        return None, why_not
    values: Values = found(report.values)
    if is_ahead(books, binding, found(books.last_order(binding.id)), values):
        raise LedgerError(errors.LEDGER_BEHIND, f"The meter reports {units.counted(values['bought_total'], 'pulse')}.")
    kept = books.last_report(meter.number)
    if kept is None or report_rank(report) > (kept.binding, kept.report_number):
        row = ReportRow(
            meter.number, binding.number, values["report_number"], place.card.number, report.raw, counter.now()
        )
        books.keep_report(row, place.account.number)
        books.mark_done(binding.id, values["sequence"], values["bought_total"])
    return values, codes.OK


@dataclass(frozen=True, slots=True)
class _Made:
    old: int | None
    row: CardRow
    order: Order


def _begun(books: Books, account: str) -> _Made | None:
    """The unfinished replacement of an account."""
    binding, row = books.binding_of(account), books.card_of(account)
    last = None if binding is None else books.last_order(binding.id)
    if last is None or row is None or last.kind != REPLACEMENT or last.state != PENDING or row.issued:
        return None
    return _Made(None, row, last)


def _made_last(books: Books, account: str) -> Order | None:
    """The order of the account's replacement card, where it is the last one."""
    binding = books.binding_of(account)
    last = None if binding is None else books.last_order(binding.id)
    return None if last is None or last.kind != REPLACEMENT else last


def _given(books: Books, account: str, order: Order) -> str:
    made = units.stamp(books.moment(order.made_at))
    return f"Account {account} was given replacement card {order.card} at {made}"


def _check_not_made(books: Books, account: str, card: Card) -> None:
    """Whether the card in the reader is no replacement that was made already: whoever repeats it is told. CardError."""
    made = _made_last(books, account)
    if made is not None and card.number == made.card and not card.region_code:
        raise CardError(
            errors.CARD_NOT_BLANK,
            f"{_given(books, account, made)}: this one.",
            "Hand it out. If it does not work, take a blank card, and this one as the old card (--old-card, old_card).",
        )


def _check_seen(books: Books, account: str) -> None:
    """Whether the account's present card is no replacement of a moment ago: asked twice, one is made. LedgerError."""
    made = _made_last(books, account)
    if made is not None and made.state != DONE:
        raise LedgerError(
            errors.REPLACEMENT_UNSEEN, f"{_given(books, account, made)}, and its meter has not been seen to load it."
        )


def _take_proof(counter: Counter, books: Books, account: str, old: Card | None) -> None:
    """Book what the old card's report proves. It must be the account's present card."""
    if old is None:
        return
    check_ours(old)
    row = books.card(found(old.number))
    present = books.card_of(account)
    if row is None or present is None or row.number != present.number:
        raise CardError(
            errors.GRANT_ACCOUNT,
            f"Card {old.number} is not the present card of account {account}.",
            "Insert that card, or replace it without one.",
        )
    counter.keep(books, counter.judge(books, old, reading=True))


def _check(
    counter: Counter, books: Books, account: str
) -> tuple[Account, Binding, MeterRow, Position, int | None, bool]:
    """Whether the account may be given another card, on which shift, and whether it uses one of the stock."""
    known, binding, meter = of_account(books, account)
    check_not_closed(known)
    check_free(books, binding, recovering=True)
    here = position(counter, books, binding)
    if here.last.kind is None and not here.row.issued:
        raise LedgerError(
            errors.PENDING_ELSEWHERE,
            f"The opening of account {account} is not finished.",
            "Repeat the opening with a blank card.",
        )
    if here.row.replacement >= REPLACEMENT_MOST:
        raise LedgerError(
            codes.NUMBER_USED_UP,
            f"Account {account} has had {REPLACEMENT_MOST} replacement cards.",
            "The meter is to be cleared and bound anew.",
        )
    if _next_sequence(books, here) > SEQUENCE_MAX:
        raise LedgerError(codes.NUMBER_USED_UP, "This binding has had all the orders it can have.")
    if here.unpaid is not None and proven(books, here.unpaid, here.last):
        raise LedgerError(
            errors.REFUND_UNPAID,
            f"The meter has loaded refund {here.unpaid.id}.",
            "Pay it first: icgas hall refund pay.",
        )
    shift = shifts.check(books.rules(counter.now()))
    return known, binding, meter, here, shift, stock.check(books, shift)


def _next_sequence(books: Books, here: Position) -> int:
    recovery = books.recovery(here.binding.id)
    return max(here.last.sequence + 1, 0 if recovery is None else recovery.floor)


def _book(counter: Counter, books: Books, account: str, reason: str, issue_batch: int, *, taken: bool) -> _Made:
    _, binding, meter, here, shift, uses_stock = _check(counter, books, account)
    now = counter.now()
    if here.last.state == PENDING:
        books.hold_order(here.last)
    count = 0
    if here.unpaid is not None:
        # Whether the lost card's refund is ever loaded nobody can know: the new card's order takes it back.
        count = here.unpaid.pulses
        books.change_grant(here.unpaid, journal.GRANT_CANCELLED, cancelled_at=now)
    row = books.add_card(account, issue_batch, replacement=here.row.replacement + 1, reason=reason)
    if taken:
        books.end_card(here.row, now)
    if uses_stock:
        books.move_stock(stock.USED, 1, at=now, shift=shift, card=row.number, account=account)
    opening = here.known is None
    # A ledger out of a copy does not know the meter's total: a refund may have lowered it since. So it says 0, which
    # takes nothing, under a number above whatever was lost (docs/ledger.md, "Restored").
    known = None if books.recovery(binding.id) else here.known
    order = counter.add_order(
        books,
        binding,
        meter,
        row,
        kind=records.ORDER_OPENING if opening else records.ORDER_USER,
        sequence=_next_sequence(books, here),
        count=count,
        amount=0,
        released=0 if known is None else known["bought_total"],
        fen=None,
        flags=records.FLAG_PARAMETERS if opening else 0,
        now=now,
        shift=shift,
        purpose=REPLACEMENT,
        correction=here.last.correction,
    )
    return _Made(here.row.number, row, order)


def _replaced(counter: Counter, books: Books, account: str, old: int | None, *, resumed: bool) -> Replaced:
    _, binding, meter = of_account(books, account)
    here = position(counter, books, binding)
    # It adds gas only where it takes back the refund that was the order before.
    before = [order for order in books.orders(account) if order.binding == binding.id and order.id != here.last.id]
    refund = books.grant_of(before[-1].id) if here.last.paid_pulses else None
    return Replaced(
        account=account,
        meter=meter.number,
        card=here.row.number,
        replacement=here.row.replacement,
        old_card=old,
        sequence=here.last.sequence,
        opening=here.last.frame[1] == records.ORDER_OPENING,
        released=units.volume(here.last.released_pulses, meter.pulse_weight),
        held=units.volume(here.held, meter.pulse_weight),
        state=here.last.state,
        resumed=resumed,
        cancelled_refund=None if refund is None else refund.id,
        probe=books.recovery(binding.id) is not None,
    )


__all__ = ["REASONS", "Replaced", "TakenBack", "prove", "replace_card", "take_back"]
