"""Another meter for an account (换表): its gas goes by transfer card, or by the index where the old meter is dead.

Begun, an exchange cannot be taken back: the transfer-out order stays good in the old meter's binding for ever. So
nothing is sold, given, paid back or replaced until it is through. What the old meter says at its end, the final record,
settles every order of the old binding; what it does not cover is released once more by the customer's card for the new
meter, unpaid and once. At any instant one meter at most can deliver the gas (RULES 1, transfer and dead meter;
DOMAIN 1).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from gascard import codes, records, tools
from gascard.records import S24_MAX, TOTAL_MAX
from gashall import encode, errors, journal, refunds, shifts, stock, toolmaking, units
from gashall.adoption import check_approval
from gashall.books import Books
from gashall.counter import (
    Counter,
    check_bound,
    check_exchange,
    check_free,
    check_not_closed,
    check_not_suspended,
    check_reader,
    check_settled,
    correction_total,
    found,
    kept_report,
    no_meter,
)
from gashall.encode import Card, Part, Values
from gashall.errors import CardError, LedgerError, RequestError
from gashall.grants import SIGN, check_made_up
from gashall.history import printable
from gashall.labels import both
from gashall.opening import REPLACEMENT_MOST, check_meter_free, unlock_blank
from gashall.page import Table, page
from gashall.placing import Position, position
from gashall.readers.base import Reader
from gashall.reconciliation import carried
from gashall.replacement import REASONS
from gashall.rows import Account, Binding, CardRow, MeterRow, Order, ToolRow, TransferRow
from gashall.terms import EXCHANGE, PENDING, TRANSFER
from gashall.toolmaking import Wanted
from gashall.toolreading import take_final
from gashall.units import Volume

# How far an exchange has come.
BEGUN = "begun"
READ = "read"
DEAD = "dead"
THROUGH = "through"

PARAMETERS = ("alarm", "ceiling", "overdraft", "over_flow_seconds")


@dataclass(frozen=True, slots=True)
class NewMeter:
    """The meter an account is to get. Volumes in m³; what is None is as it was at the old meter."""

    number: str
    initial_reading: Volume
    pulse_weight: int | None = None
    wheel_digits: int = 5
    key_version: int = 1
    alarm: Volume | None = None
    ceiling: Volume | None = None
    overdraft: Volume | None = None
    over_flow_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Exchange:
    """An exchange and how far it has come. Volumes in m³; what is not known yet is None."""

    account: str
    old_meter: str
    old_binding: int
    new_meter: str
    new_binding: int
    state: str
    """begun, read, dead (declared so, and the customer has no card for the new meter yet) or through."""
    tool: int | None
    """The transfer card; None where the old meter is dead."""
    most: Decimal | None
    """The most the new meter credits of what the final record says is left."""
    moved: Decimal | None
    """What it credits."""
    owed: Decimal | None
    """Bought, given or held, and not loaded by the old meter: on the customer's card. Of a dead meter: what was left
    by its index, suggested as a make-up of kind dead meter."""
    corrected: Decimal | None
    """What the new meter's gas is less by: burned beyond the old meter's zero, and corrections it had not taken."""
    beyond: Decimal | None
    """What the final record says is left beyond the most; no meter has it any more, and it is made up if approved."""
    card: int | None
    """The customer's card for the new meter."""
    requester: str
    approver: str
    reason: str
    at: datetime
    """When it was begun, or the old meter declared dead."""
    closing_index: Decimal | None
    """Of a dead meter."""
    unproven: Decimal | None = None
    """Where no final record came back: what no report shows that the old meter had loaded. What of it was not is made
    up, approved."""
    resumed: bool = False

    def lines(self) -> list[str]:
        """For people: what was done and what comes next."""
        head = f"account {self.account}: meter {self.old_meter} is exchanged for {self.new_meter}: {self.state}"
        lines = [head]
        if self.resumed:
            lines.append("It had been begun earlier and was finished now; nothing was made twice.")
        if self.state == BEGUN:
            lines.append(f"transfer card {self.tool}, {self.most} m³ at most")
            lines.append("The card goes into the old meter, the new meter, and back: icgas hall exchange read.")
            return lines
        if self.tool is None or self.moved is None:
            lines.append(f"left by the index {self.owed} m³: to be requested as a make-up of kind dead meter")
        else:
            lines.append(f"moved {self.moved} m³, for the customer's card {self.owed} m³")
        if self.beyond:
            lines.append(f"NOT moved: {self.beyond} m³ that the old meter had beyond {self.most} m³; look why")
        if self.unproven:
            lines.append(
                f"NOT known: whether the old meter had loaded {self.unproven} m³ of what was paid and given. It is not "
                "released again: have what the customer misses made up, kind loss: icgas hall makeup request."
            )
        if self.corrected:
            lines.append(f"to be taken off at the new meter {self.corrected} m³")
        if self.state in (READ, DEAD):
            lines.append("Now the customer's card: icgas hall exchange card.")
        else:
            lines.append(f"The customer's card {self.card} is for the new meter.")
        return lines

    def page(self) -> str:
        """What was done as a page to be signed and filed."""
        rows = [("account", self.account), ("time", units.stamp(self.at)), ("state", both(self.state))]
        rows += [("old meter", f"{self.old_meter} / {self.old_binding}")]
        rows += [("new meter", f"{self.new_meter} / {self.new_binding}")]
        if self.tool is not None:
            rows.append(("transfer card", str(self.tool)))
        for words, volume in (
            ("closing index", self.closing_index),
            ("most that may be moved", self.most),
            ("moved", self.moved),
            ("owed", self.owed),
            ("corrected", self.corrected),
            ("not moved", self.beyond),
            ("not proven", self.unproven),
        ):
            if volume is not None:
                rows.append((words, f"{volume} m³"))
        if self.card is not None:
            rows.append(("card", str(self.card)))
        people = (("asked for by", self.requester), ("approved by", self.approver), ("reason", self.reason))
        rows += [(words, printable(text)) for words, text in people]
        return page("exchange slip", [Table(("", ""), rows)], sign=SIGN)


# ---------------------------------------------------------------------- beginning


def begin(
    counter: Counter, reader: Reader, *, account: str, meter: NewMeter, requester: str, approver: str, reason: str
) -> Exchange:
    """See ``Hall.begin_exchange``."""
    units.account_number(account)
    check_approval(requester, approver, reason)
    units.meter_number(meter.number)
    people = (requester, approver, reason)
    with counter.ledger.look() as books:
        old = _open_binding(books, account)
        begun = books.transfer_of(account)
        if begun is not None:
            old = _binding(books, begun.account, begun.old)
    made = toolmaking.make(counter, reader, TRANSFER, old.meter, _begin_plan(counter, account, meter, people))
    with counter.ledger.look() as books:
        return _told(books, found(books.transfer_of(account)), resumed=made.resumed)


def _begin_plan(
    counter: Counter, account: str, meter: NewMeter, people: tuple[str, str, str]
) -> Callable[[Books, ToolRow | None], Wanted]:
    def plan(books: Books, begun: ToolRow | None) -> Wanted:
        row = books.transfer_of(account)
        if row is not None and begun is not None and row.tool == begun.number:
            # Unfinished: the card is what was committed, if the same is asked for.
            new = _binding(books, account, row.new)
            if (new.meter, row.requester, row.approver, row.reason) != (meter.number, *people):
                raise LedgerError(errors.TOOL_DIFFERS, f"The exchange of account {account} was begun otherwise.")
            return _wanted(counter, books, row, None)
        check_exchange(row, account)
        old, here = _may_begin(counter, books, account)
        coming = _new_meter(counter, books, old, found(books.meter(old.meter)), meter)
        most = _most(here)

        def note(books: Books, tool: ToolRow) -> None:
            binding = _bind(books, account, coming)
            books.add_transfer(
                account,
                old=old.id,
                new=binding.id,
                tool=tool.number,
                most=most,
                requester=people[0],
                approver=people[1],
                reason=people[2],
                at=counter.now(),
                closing=None,
            )

        number = coming.meter.highest_binding + 1
        if number > records.BINDING_MAX:
            raise LedgerError(codes.NUMBER_USED_UP, f"Meter {coming.meter.number} cannot be bound again.")
        future = Binding(
            0, coming.meter.number, number, account, coming.initial_reading, **coming.parameters, open=False
        )
        frames = _frames(counter, old, here.meter, future, coming.meter, here.row.replacement, most)
        return Wanted(frames, f"exchange for {coming.meter.number}", old, None, *people[:2], note=note)

    return plan


@dataclass(frozen=True, slots=True)
class _Coming:
    meter: MeterRow
    initial_reading: int
    parameters: dict[str, int]


def _may_begin(counter: Counter, books: Books, account: str) -> tuple[Binding, Position]:
    """Whether a transfer card may be made now."""
    known, old = _account(books, account), _open_binding(books, account)
    check_not_closed(known)
    check_free(books, old)
    here = position(counter, books, old)
    check_settled(here.unpaid)
    if here.last.state == PENDING:
        raise LedgerError(
            errors.PENDING_ELSEWHERE,
            f"Order {here.last.sequence} of account {account} is not finished.",
            "Finish it with the customer's card, or replace that card; then begin the exchange.",
        )
    check_bound(here.known, account)
    check_made_up(books, old, here.meter.pulse_weight)
    return old, here


def _new_meter(counter: Counter, books: Books, old: Binding, dead: MeterRow, wanted: NewMeter) -> _Coming:
    """The new meter's row and particulars, in pulses. RequestError, LedgerError ALREADY_BOUND or METER_DEAD."""
    if wanted.number == old.meter:
        raise RequestError(errors.FIELD, f"{old.meter} is the old meter.", "Type the new one's number.")
    weight = dead.pulse_weight if wanted.pulse_weight is None else units.check_weight(wanted.pulse_weight)
    if weight != dead.pulse_weight:
        # What is moved is a number of pulses.
        raise RequestError(
            codes.WEIGHT,
            f"The old meter counts in a pulse weight of {dead.pulse_weight}, the new one of {weight}.",
            "Take a new meter of the same pulse weight.",
        )
    units.whole(wanted.key_version, "key_version", 1, 0xFF)
    units.whole(wanted.wheel_digits, "wheel_digits", 1, 8 - weight)
    row = books.meter(wanted.number)
    if row is None:
        row = MeterRow(wanted.number, weight, int(10 ** (wanted.wheel_digits + weight)), wanted.key_version, 0)
    elif row.pulse_weight != weight:
        raise RequestError(codes.WEIGHT, f"Meter {wanted.number} is booked with a pulse weight of {row.pulse_weight}.")
    bound = books.binding_on(wanted.number)
    if bound is not None:
        raise LedgerError(codes.ALREADY_BOUND, f"Meter {wanted.number} belongs to account {bound.account}.")
    check_meter_free(books, wanted.number)
    spans = {"alarm": 0xFFFF, "ceiling": 0xFFFFFF, "overdraft": 0xFFFF}
    parameters = {
        name: getattr(old, name)
        if getattr(wanted, name) is None
        else units.pulses(getattr(wanted, name), weight, most=most, what=name)
        for name, most in spans.items()
    }
    over_flow = old.over_flow_seconds if wanted.over_flow_seconds is None else wanted.over_flow_seconds
    parameters["over_flow_seconds"] = units.whole(over_flow, "over_flow_seconds", 0, 0xFF)
    reading = units.pulses(wanted.initial_reading, weight, most=row.wheel_pulses - 1, what="initial reading")
    return _Coming(row, reading, parameters)


def _bind(books: Books, account: str, coming: _Coming) -> Binding:
    if books.meter(coming.meter.number) is None:
        books.add_meter(coming.meter)
    return books.bind(coming.meter, account, coming.initial_reading, coming.parameters, is_open=False)


def _entitled(here: Position) -> int:
    """All the gas of the binding the customer has paid for or was given, wherever it is."""
    return here.base + here.held


def _most(here: Position) -> int:
    """The most the old meter can have left: released total less the last proven use (RULES 1, transfer)."""
    known = here.known
    used = 0 if known is None else known["used"]
    corrections = [here.last.correction or 0] + ([] if known is None else [known["correction_total"]])
    most: int = max(_entitled(here) - used - min(corrections), 0)
    return min(most, int(TOTAL_MAX))


def _frames(
    counter: Counter, old: Binding, meter: MeterRow, new: Binding, new_meter: MeterRow, replacement: int, most: int
) -> toolmaking.Make:
    """What stands on the transfer card: the order that ends the old binding, the one that begins the new."""

    def make(card: int, now: int, service: int) -> bytes:
        out = {
            "meter": old.meter,
            "binding": old.number,
            "key_version": meter.key_version,
            "new_meter": new.meter,
            "new_binding": new.number,
            "time": now,
        }
        coming = {
            "meter": new.meter,
            "account": new.account,
            "binding": new.number,
            "replacement": replacement,
            "key_version": new_meter.key_version,
            "sequence": 1,
            "bought_total": most,
            "amount": 0,
            "correction_total": 0,
            "pulse_weight": new_meter.pulse_weight,
            **{name: getattr(new, name) for name in PARAMETERS},
            "time": now,
            "flags": records.FLAG_PARAMETERS,
        }
        first = encode.encode_transfer_out(counter.signer, card, out, new_key_version=new_meter.key_version)
        gap = b"\xff" * int(tools.TRANSFER_IN_AT - tools.TOOL_AT - len(first))
        return first + gap + encode.encode_order(counter.signer, card, coming, tools.TRANSFER_IN)

    return make


def _wanted(counter: Counter, books: Books, row: TransferRow, note: Any) -> Wanted:
    """The transfer card of an exchange that is under way, for whichever card number."""
    old, new = _binding(books, row.account, row.old), _binding(books, row.account, row.new)
    replacement = found(books.card_of(row.account)).replacement
    meter, new_meter = found(books.meter(old.meter)), found(books.meter(new.meter))
    frames = _frames(counter, old, meter, new, new_meter, replacement, found(row.most))
    purpose = f"exchange for {new.meter}"
    return Wanted(frames, purpose, old, None, row.requester, row.approver, note=note)


# ---------------------------------------------------------------------- a lost transfer card


def again(counter: Counter, reader: Reader, *, account: str) -> Exchange:
    """See ``Hall.exchange_again``."""
    units.account_number(account)
    with counter.ledger.look() as books:
        row = _under_way(books, account)
        old = _binding(books, account, row.old)

    def plan(books: Books, begun: ToolRow | None) -> Wanted:
        row = _under_way(books, account)
        if begun is not None:
            return _wanted(counter, books, row, None)

        def note(books: Books, tool: ToolRow) -> None:
            before = books.tool(found(row.tool))
            if before is not None and before.ended is None:
                books.change_tool(before, journal.TOOL_ENDED, ended=counter.now())
            books.change_transfer(row, journal.EXCHANGE_CHANGED, tool=tool.number)

        return _wanted(counter, books, row, note)

    made = toolmaking.make(counter, reader, TRANSFER, old.meter, plan)
    with counter.ledger.look() as books:
        return _told(books, _under_way(books, account), resumed=made.resumed)


def _under_way(books: Books, account: str) -> TransferRow:
    """The exchange by transfer card whose final record is not known. LedgerError EXCHANGE_MISSING."""
    row = books.transfer_of(account)
    if row is None or row.tool is None or row.moved_at is not None:
        raise LedgerError(errors.EXCHANGE_MISSING, f"No transfer card is out for account {account}.")
    return row


# ---------------------------------------------------------------------- the card comes back


def read(counter: Counter, reader: Reader) -> Exchange:
    """See ``Hall.read_exchange``."""
    check_reader(reader)
    with reader:
        card = counter.read_card(reader)
    _check_transfer_card(card)
    with counter.ledger.begin() as books:
        tool = toolmaking.tool_row(books, found(card.number))
        rows = [row for row in books.transfers_from(tool.binding or 0) if row.tool is not None]
        if not rows:
            raise LedgerError(errors.EXCHANGE_MISSING, f"Transfer card {tool.number} belongs to no exchange.")
        row = rows[-1]
        if row.moved_at is not None:
            return _told(books, row, resumed=True)
        if row.ended_at is not None:
            raise LedgerError(
                errors.METER_DEAD,
                f"The old meter of account {row.account} was declared dead while this card was out.",
                "Keep the card: the exchange goes by the closing index.",
            )
        old, new = _binding(books, row.account, row.old), _binding(books, row.account, row.new)
        _settle(counter, books, row, old, new, tool, _final(card, old, new))
        return _told(books, found(books.transfer_of(row.account)))


def _check_transfer_card(card: Card) -> None:
    if not card.identity.written:
        raise CardError(errors.CARD_BLANK if card.blank else codes.NOT_OURS)
    for code in (card.identity.code, card.region_code):
        if code:
            raise CardError(code)
    if card.kind != records.CARD_TRANSFER:
        raise CardError(codes.KIND, "This is no transfer card.", "Insert the transfer card of the exchange.")


def _final(card: Card, old: Binding, new: Binding) -> Part:
    """The authentic final record of ``old``, made for ``new``. CardError."""
    final: Part = found(card.final)
    if not final.written:
        raise CardError(
            codes.NO_FINAL_RECORD,
            f"The card has not been in meter {old.meter} yet.",
            "Let the old meter read it, wait until it says so, and bring it back.",
        )
    if not final.authentic:
        raise CardError(
            final.code or codes.MAC,
            "The card's final record is not whole and genuine.",
            "Let the old meter read the card once more: it writes the same record again.",
        )
    values = found(final.values)
    if (values["meter"], values["binding"]) != (old.meter, old.number):
        raise CardError(codes.METER, f"The final record is of meter {values['meter']}, not {old.meter}.")
    # Whose transfer the record's MAC was judged by.
    coming, out = card.transfer_in, card.order
    heir: tuple[Any, Any] | None = None
    if coming is not None and coming.authentic:
        heir = found(coming.values)["meter"], found(coming.values)["binding"]
    elif out.values is not None:
        heir = out.values["new_meter"], out.values["new_binding"]
    if heir != (new.meter, new.number):
        raise CardError(codes.BINDING, "The final record was made for another transfer.")
    return final


def _settle(
    counter: Counter,
    books: Books,
    row: TransferRow,
    old: Binding,
    new: Binding,
    tool: ToolRow,
    record: Part,
) -> None:
    """Book the final record: the old binding is over, the new one is the account's, with what its meter credits."""
    final: Values = found(record.values)
    here = position(counter, books, old)
    entitled = _entitled(here)
    left = encode.remaining(final)
    if left < -S24_MAX:
        raise LedgerError(
            codes.RANGE,
            f"The final record is {units.counted(-left, 'pulse')} below zero: no meter takes so much over.",
            "Declare the old meter dead (icgas hall exchange dead): its index settles the account.",
        )
    moved = min(max(left, 0), found(row.most))
    # A correction the old meter has not taken is, like an order it has not loaded, for the new one.
    later = correction_total(here.last, final) - final["correction_total"]
    # First: what the old binding was recovering from, the new one is.
    books.open_binding(old, new, counter.now())
    take_final(counter, books, old, tool.number, record)
    owed = max(entitled - final["bought_total"], 0)
    _begin_binding(counter, books, row, here, new, tool, moved, max(-left, 0), owed, later)


def _begin_binding(
    counter: Counter,
    books: Books,
    row: TransferRow,
    here: Position,
    new: Binding,
    tool: ToolRow,
    moved: int,
    taken: int,
    owed: int,
    later: int,
) -> None:
    """The account goes to its new binding, with what came into it by transfer card."""
    now = counter.now()
    order = books.add_order(
        new,
        here.row.number,
        tool.frames[tools.TRANSFER_IN_AT - tools.TOOL_AT :],
        sequence=1,
        paid=moved,
        released=moved,
        fen=None,
        made_at=now,
        kind=TRANSFER,
        correction=taken or None,
    )
    books.mark_written(order.id)
    told = _report(books, new)
    if told is not None:
        books.mark_done(new.id, told["sequence"], told["bought_total"])
    books.change_transfer(
        row,
        journal.EXCHANGE_READ,
        moved_at=now,
        moved_pulses=moved,
        owed_pulses=owed,
        correction=taken + later,
    )


def _report(books: Books, new: Binding) -> Values | None:
    """What the new meter has said of its new binding: a management card may have been at it before."""
    kept = books.last_report(new.meter)
    return kept_report(kept) if kept is not None and kept.binding == new.number else None


def proven(counter: Counter, account: str) -> Exchange:
    """See ``Hall.exchange_proven``."""
    units.account_number(account)
    with counter.ledger.begin() as books:
        row = _under_way(books, account)
        old, new = _binding(books, account, row.old), _binding(books, account, row.new)
        told = _report(books, new)
        if told is None:
            raise CardError(
                errors.REPORT_MISSING,
                f"Meter {new.meter} has not been heard of in its binding {new.number}.",
                "Read it out with a management card, and that card back: icgas hall tool read.",
            )
        here, tool = position(counter, books, old), found(books.tool(found(row.tool)))
        # Which of its orders the old meter had loaded only its final record could tell: none is released once more.
        moved, taken = told["bought_total"], told["correction_total"]
        books.open_binding(old, new, counter.now())
        _begin_binding(counter, books, row, here, new, tool, moved, taken, 0, 0)
        return _told(books, found(books.transfer_of(account)))


# ---------------------------------------------------------------------- a dead meter


def dead(
    counter: Counter,
    *,
    account: str,
    meter: NewMeter,
    closing_index: Volume,
    requester: str,
    approver: str,
    reason: str,
    index_agreed: bool,
) -> Exchange:
    """See ``Hall.exchange_dead``."""
    units.account_number(account)
    units.meter_number(meter.number)
    check_approval(requester, approver, reason)
    with counter.ledger.begin() as books:
        known, row = _account(books, account), books.transfer_of(account)
        check_not_closed(known)
        if row is not None and (row.moved_at is not None or row.closing is not None):
            check_exchange(row, account)
        old = _open_binding(books, account)
        check_not_suspended(books, old)
        here = position(counter, books, old)
        if row is None:
            check_made_up(books, old, here.meter.pulse_weight)
            coming = _new_meter(counter, books, old, here.meter, meter)
            new = _bind(books, account, coming)
        else:
            # The transfer card may have been used all the same: the new meter takes its binding once, from either.
            new = _binding(books, account, row.new)
            if new.meter != meter.number:
                raise LedgerError(
                    errors.EXCHANGE,
                    f"The transfer card of account {account} names meter {new.meter}, not {meter.number}.",
                    "Exchange for that meter, whose binding the card may have begun.",
                )
            if _report(books, new) is not None:
                raise LedgerError(
                    errors.EXCHANGE,
                    f"Meter {new.meter} has taken the gas by transfer card.",
                    "Go on by its report: icgas hall exchange proven.",
                )
        used = _used_by_index(old, here, closing_index)
        entitled = _entitled(here)
        now = counter.now()
        if here.last.state == PENDING:
            books.hold_order(here.last)
        if here.unpaid is not None:
            if refunds.proven(books, here.unpaid, here.last):
                check_settled(here.unpaid)
            # The meter will never show that it gave the gas up: it is the customer's again.
            books.change_grant(here.unpaid, journal.GRANT_CANCELLED, cancelled_at=now)
            entitled += here.unpaid.pulses
        left = entitled - used - carried(books, old)
        if -left > old.overdraft + 5 * 10**here.meter.pulse_weight and not index_agreed:
            # The valve shuts at zero: 5 m³ beyond are a mistyped index before they are gas.
            below = units.volume(-left, here.meter.pulse_weight)
            raise RequestError(
                errors.FIELD,
                f"By this index {below} m³ more were burned than the meter ever had.",
                "Read the wheels again. If it is so, say it (--index-agreed): the new meter takes it off.",
            )
        if left < -S24_MAX:
            raise RequestError(
                codes.RANGE, f"This index is {units.counted(-left, 'pulse')} below zero.", "Read the wheels again."
            )
        if row is not None:
            tool = books.tool(found(row.tool))
            if tool is not None and tool.ended is None:
                books.change_tool(tool, journal.TOOL_ENDED, ended=now)
            books.change_transfer(row, journal.EXCHANGE_CHANGED, ended_at=now)
        closing = units.pulses(closing_index, here.meter.pulse_weight, most=here.meter.wheel_pulses - 1)
        row = books.add_transfer(
            account,
            old=old.id,
            new=new.id,
            tool=None,
            most=None,
            requester=requester,
            approver=approver,
            reason=reason,
            at=now,
            closing=closing,
            moved_at=now,
            owed_pulses=max(left, 0),
            correction=max(-left, 0),
        )
        return _told(books, row)


def _used_by_index(old: Binding, here: Position, closing_index: Volume) -> int:
    """Pulses the wheels have counted in this binding, whole turns by the newest report."""
    wheel = here.meter.wheel_pulses
    closing = units.pulses(closing_index, here.meter.pulse_weight, most=wheel - 1, what="closing index")
    used = (closing - old.initial_reading) % wheel
    if here.known is not None:
        used += (here.known["used"] - used + wheel // 2) // wheel * wheel
    if used < 0:
        raise RequestError(
            errors.FIELD,
            "The closing index lies before the reading the meter began with in this account.",
            "Read the wheels again.",
        )
    return used


# ---------------------------------------------------------------------- the customer's card


def card(
    counter: Counter, reader: Reader, *, account: str | None, reason: str | None, issue_batch: int, rescue: bool
) -> Exchange:
    """See ``Hall.exchange_card``."""
    check_reader(reader)
    units.whole(issue_batch, "issue_batch", 0, 0xFFFF)
    if reason is not None and reason not in REASONS:
        raise RequestError(
            errors.FIELD, f"{units.shown(reason)} is no reason to replace a card.", f"Use one of {', '.join(REASONS)}."
        )
    with reader:
        shown = counter.read_card(reader)
        if reason is None and shown.identity.written:
            number, resumed = _on_own_card(counter, reader, shown, rescue)
        else:
            if account is None or reason is None:
                raise RequestError(
                    errors.FIELD,
                    "A blank card becomes the customer's in place of a lost one.",
                    "Say whose it is and what became of the old card (--account, --reason), or insert his card.",
                )
            number = units.account_number(account)
            resumed = _on_new_card(counter, reader, shown, number, reason, issue_batch)
    with counter.ledger.look() as books:
        return _told(books, books.transfers(number)[-1], resumed=resumed)


def _on_own_card(counter: Counter, reader: Reader, shown: Card, rescue: bool) -> tuple[str, bool]:
    with counter.ledger.begin() as books:
        _check_not_cleared(books, shown)
        standing = counter.judge(books, shown, reading=True)
        account, last = standing.account.number, standing.last
        counter.keep(books, standing)
        row = books.transfer_of(account)
        # Made and finished already: a program that died is asked again.
        through = row is None and last.kind == EXCHANGE and last.state != PENDING
        begun = last if last.state == PENDING and last.kind == EXCHANGE else None
        if not through and begun is None:
            _may_write(counter, books, account, row)
    if through:
        return account, True
    if begun is not None:
        counter.finish(reader, standing, begun, rescue)
        return account, True
    counter.unlock(reader, shown, rescue)
    with counter.ledger.begin() as books:
        standing = counter.judge(books, shown, reading=True)
        if standing.last.state == PENDING and standing.last.kind == EXCHANGE:
            raise LedgerError(errors.PENDING_ELSEWHERE)
        counter.keep(books, standing)
        order = _order(counter, books, account, standing.row)
    counter.write_order(reader, shown, order)
    return account, False


def _check_not_cleared(books: Books, shown: Card) -> None:
    """Whether the card's order can be judged: the old meter, though declared dead, may have taken a clear card."""
    place = None if shown.number is None or shown.region_code else books.place(shown.number)
    if place is not None and place.binding is None and place.exchange is not None:
        account = place.account.number
        raise LedgerError(
            errors.EXCHANGE,
            f"The meter of account {account} was declared dead and has been cleared since.",
            f"Take a blank card in this one's place: icgas hall exchange card --account {account} --reason other.",
        )


def _on_new_card(counter: Counter, reader: Reader, shown: Card, account: str, reason: str, issue_batch: int) -> bool:
    with counter.ledger.begin() as books:
        begun = _begun_card(books, account)
        if begun is None:
            row = books.transfer_of(account)
            present = found(books.card_of(account)) if row is not None else None
            if row is None and shown.number is not None and _is_through(books, account, shown.number):
                return True
            shift = _may_write(counter, books, account, row)
            stock.check(books, shift)
            if found(present).replacement >= REPLACEMENT_MOST:
                raise LedgerError(
                    codes.NUMBER_USED_UP,
                    f"Account {account} has had {REPLACEMENT_MOST} replacement cards.",
                    "Open a new account.",
                )
    if begun is None:
        unlock_blank(reader, shown)
        with counter.ledger.begin() as books:
            if _begun_card(books, account) is not None:
                raise LedgerError(errors.PENDING_ELSEWHERE)
            now, shift = counter.now(), shifts.check(books.rules(counter.now()))
            uses_stock = stock.check(books, shift)
            before = found(books.card_of(account))
            row_of_card = books.add_card(account, issue_batch, replacement=before.replacement + 1, reason=reason)
            if uses_stock:
                books.move_stock(stock.USED, 1, at=now, shift=shift, card=row_of_card.number, account=account)
            made = row_of_card, _order(counter, books, account, row_of_card)
    else:
        made = begun
    counter.issue(reader, shown, *made, presented=begun is None)
    return begun is not None


def _begun_card(books: Books, account: str) -> tuple[CardRow, Order] | None:
    """The unfinished new card of an exchange."""
    binding, row = books.binding_of(account), books.card_of(account)
    last = None if binding is None else books.last_order(binding.id)
    if last is None or row is None or last.kind != EXCHANGE or last.state != PENDING or row.issued:
        return None
    return row, last


def _is_through(books: Books, account: str, number: int) -> bool:
    binding = books.binding_of(account)
    last = None if binding is None else books.last_order(binding.id)
    return last is not None and last.kind == EXCHANGE and last.state != PENDING and last.card == number


def _may_write(counter: Counter, books: Books, account: str, row: TransferRow | None) -> int | None:
    """Whether the customer's card may be written now, and the shift."""
    if row is None:
        binding = books.binding_of(account)
        last = None if binding is None else books.last_order(binding.id)
        if last is not None and last.kind == EXCHANGE and last.state == PENDING:
            raise LedgerError(
                errors.PENDING_ELSEWHERE,
                f"The order for account {account}'s new meter is not finished on card {last.card}.",
                "Insert that card once more: icgas hall exchange card. If it does not read any more, replace it: "
                "icgas hall replace.",
            )
        raise LedgerError(errors.EXCHANGE_MISSING, f"No exchange is under way for account {account}.")
    if row.moved_at is None:
        raise LedgerError(
            errors.EXCHANGE,
            f"The final record of account {account}'s old meter is not known.",
            "Let the old meter read the transfer card, then: icgas hall exchange read.",
        )
    return shifts.check(books.rules(counter.now()))


def _order(counter: Counter, books: Books, account: str, customer: CardRow) -> Order:
    """The customer's first order for the new meter, pending; with it the exchange is through."""
    row = books.transfer_of(account)
    shift = _may_write(counter, books, account, row)
    assert row is not None
    old, new = _binding(books, account, row.old), _binding(books, account, row.new)
    now, meter = counter.now(), found(books.meter(new.meter))
    common: dict[str, Any] = {"fen": None, "now": now, "shift": shift, "purpose": EXCHANGE}
    common["correction"] = row.correction or None
    if row.closing is not None:
        books.open_binding(old, new, now)
        order = counter.add_order(
            books,
            replace(new, open=True),
            meter,
            customer,
            kind=records.ORDER_OPENING,
            sequence=1,
            count=0,
            released=0,
            flags=records.FLAG_PARAMETERS,
            **common,
        )
    else:
        moved, owed = found(row.moved_pulses), found(row.owed_pulses)
        recovery = books.recovery(new.id)
        sequence = 2 if recovery is None else max(2, recovery.floor)
        order = counter.add_order(
            books,
            new,
            meter,
            customer,
            kind=records.ORDER_USER,
            sequence=sequence,
            count=owed,
            released=moved + owed,
            flags=0,
            **common,
        )
    books.change_transfer(row, journal.EXCHANGE_CHANGED, ended_at=now)
    return order


# ---------------------------------------------------------------------- what they share


def exchange_of(counter: Counter, account: str) -> Exchange:
    """See ``Hall.exchange``."""
    units.account_number(account)
    with counter.ledger.look() as books:
        _account(books, account)
        # What came along when a cleared account got a meter again is no exchange.
        rows = [
            row for row in books.transfers(account) if row.tool is None or found(books.tool(row.tool)).kind == TRANSFER
        ]
        if not rows:
            raise LedgerError(errors.EXCHANGE_MISSING, f"Account {account} has had no exchange.")
        return _told(books, rows[-1])


def _account(books: Books, account: str) -> Account:
    known = books.account(account)
    if known is None:
        raise LedgerError(errors.ACCOUNT_UNKNOWN, f"There is no account {account}.")
    return known


def _open_binding(books: Books, account: str) -> Binding:
    known, binding = _account(books, account), books.binding_of(account)
    if binding is None:
        raise no_meter(known)
    return binding


def _binding(books: Books, account: str, key: int) -> Binding:
    return next(row for row in books.bindings(account) if row.id == key)


def _told(books: Books, row: TransferRow, *, resumed: bool = False) -> Exchange:
    old, new = _binding(books, row.account, row.old), _binding(books, row.account, row.new)
    weight = found(books.meter(new.meter)).pulse_weight

    def volume(pulses: int | None) -> Decimal | None:
        return None if pulses is None else units.volume(pulses, weight)

    state = THROUGH if row.ended_at is not None else DEAD if row.closing is not None else READ
    if row.ended_at is None and row.moved_at is None:
        state = BEGUN
    final, beyond, unproven = books.final(old.meter, old.number), None, None
    if final is not None and row.moved_pulses is not None:
        left = encode.remaining(encode.decode_frame(final.frame, tools.FINAL))
        beyond = max(left, 0) - row.moved_pulses
    if final is None and row.moved_pulses is not None:
        unproven = _unproven(books, old)
    first = next((o for o in books.orders(row.account) if o.binding == new.id and o.kind == EXCHANGE), None)
    return Exchange(
        account=row.account,
        old_meter=old.meter,
        old_binding=old.number,
        new_meter=new.meter,
        new_binding=new.number,
        state=state,
        tool=row.tool,
        most=volume(row.most),
        moved=volume(row.moved_pulses),
        owed=volume(row.owed_pulses),
        corrected=volume(row.correction),
        beyond=volume(beyond),
        card=None if first is None else first.card,
        requester=row.requester,
        approver=row.approver,
        reason=row.reason,
        at=books.moment(row.at),
        closing_index=volume(row.closing),
        unproven=volume(unproven),
        resumed=resumed,
    )


def _unproven(books: Books, old: Binding) -> int:
    """Pulses of a binding that were paid or given and that no report of its meter shows loaded."""
    kept = books.last_report(old.meter)
    loaded = kept_report(kept)["bought_total"] if kept is not None and kept.binding == old.number else 0
    last = found(books.last_order(old.id))
    return int(max(last.released_pulses, sum(books.paid(old.id).values())) - loaded)


__all__ = ["Exchange", "NewMeter", "again", "begin", "card", "dead", "exchange_of", "proven", "read"]
