"""Reading the company's own cards back: what meters wrote on them goes into the ledger, and only then off the card.

Each report is judged by its own meter's key and kept like one that came on a customer's card: what it proves loaded
needs the customer's card no more (RULES 1, settling). A final record ends its binding.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from gascard import codes, records, tools
from gashall import encode, errors, journal, units
from gashall.books import Books
from gashall.counter import Counter, check_reader, found, is_ahead, kept_report
from gashall.encode import Card, Part, Values
from gashall.ending import not_loaded
from gashall.errors import CardError, GasError, LedgerError
from gashall.readers.base import Reader
from gashall.rows import Binding, FinalRow, ReportRow, ToolRow
from gashall.terms import CLEAR, CLOSED, MANAGEMENT, TRANSFER
from gashall.toolcards import Tool, check_tool, put, told
from gashall.toolmaking import tool_row

_START = 0x68  # a frame's first byte


@dataclass(frozen=True, slots=True)
class ToolReport:
    """A report on a tool card, and what became of it. Volumes in m³, None where the meter is not booked."""

    slot: int
    """Where it begins on the card."""
    meter: str | None
    account: str | None
    binding: int | None
    values: Values | None
    remaining: Decimal | None
    kept: bool
    """Whether the ledger has it."""
    error: GasError | None
    """Why it has not."""

    def line(self) -> str:
        """For people."""
        if self.error is not None:
            return f"report at {self.slot:#04x}: not kept: {self.error}"
        whose = "bound to nobody" if self.account is None else f"account {self.account}, {self.remaining} m³ left"
        return f"report at {self.slot:#04x}: meter {self.meter}, {whose}"


@dataclass(frozen=True, slots=True)
class Ended:
    """A binding that is over, by its final record. Volumes in m³."""

    meter: str
    account: str
    binding: int
    remaining: Decimal
    """What the meter had left; below zero within the overdraft."""
    not_loaded: Decimal
    """What was paid or given and never came to the meter: it never will."""
    resumed: bool
    without_meter: bool
    """Whether the account is open and has no meter: another may have come in place of one that was declared dead."""


@dataclass(frozen=True, slots=True)
class ToolRead:
    """What a tool card brought back; ``emptied`` if its reports are off it and it can be used again."""

    tool: Tool
    reports: tuple[ToolReport, ...]
    ended: Ended | None
    emptied: bool

    def record(self) -> dict[str, Any]:
        """As JSON holds it."""
        ended = self.ended
        return {
            "tool": self.tool.record(),
            "reports": [
                {name: getattr(row, name) for name in ("slot", "meter", "account", "binding", "remaining", "kept")}
                | {"values": None if row.values is None else dict(row.values)}
                | {"error": None if row.error is None else {"code": row.error.code, "name": row.error.name}}
                for row in self.reports
            ],
            "ended": None if ended is None else {name: getattr(ended, name) for name in ended.__slots__},
            "emptied": self.emptied,
        }

    def lines(self) -> list[str]:
        """For people."""
        lines = [self.tool.line().strip(), *[row.line() for row in self.reports]]
        if self.ended is not None:
            lines += [
                f"binding {self.ended.binding} of meter {self.ended.meter} is over: account {self.ended.account}",
                f"{self.ended.remaining} m³ were left on the meter, {self.ended.not_loaded} m³ never came to it",
            ]
            if self.ended.without_meter:
                lines.append("The account is closed next: icgas hall close. Or it gets a meter again: icgas hall open.")
        if self.emptied:
            lines.append("The card is empty and can be used again.")
        return lines


def read_tool(counter: Counter, reader: Reader) -> ToolRead:
    """See ``Hall.read_tool``."""
    check_reader(reader)
    with reader:
        card = counter.read_card(reader)
        if card.blank:
            raise CardError(errors.CARD_BLANK, "The card is blank.", "Insert a tool card.")
        for code in (card.identity.code if card.identity.written else codes.NOT_OURS, card.region_code):
            if code:
                raise CardError(code)
        if card.kind == records.CARD_CUSTOMER:
            told_here = "This is a customer's card, none of the company's."
            raise CardError(codes.KIND, told_here, "It is read by icgas hall read.")
        with counter.ledger.look() as books:
            row = tool_row(books, found(card.number))
        check_tool(card, row)
        if row.kind == TRANSFER:
            raise CardError(
                codes.KIND, f"Tool card {row.number} is a transfer card.", "Read it back: icgas hall exchange read."
            )
        ended = _end(counter, card, row) if row.kind == CLEAR else None
        parts = [part for part in card.reports if part.written]
        # Whoever empties a place begins at its first byte, whose bits rise: one that has lost it was kept, and is
        # only emptied further.
        half = [part.at for part in parts if row.kind == MANAGEMENT and part.raw[0] & _START == _START != part.raw[0]]
        reports = tuple(_take(counter, card, row, part) for part in parts if part.at not in half)
        emptied = False
        if row.kind == MANAGEMENT and row.ended is None:
            taken = half + [report.slot for report in reports if report.kept]
            if taken:
                blank = b"\xff" * encode.REPORT_FRAME_SIZE
                put(counter, reader, card, row.number, [(at, blank) for at in taken])
            emptied = len(taken) == len(parts)
    with counter.ledger.look() as books:
        return ToolRead(told(books, tool_row(books, row.number)), reports, ended, emptied)


def _take(counter: Counter, card: Card, row: ToolRow, part: Part) -> ToolReport:
    """Keep a report, in a transaction of its own: what is wrong with one says nothing of the other."""
    values = part.values
    name = None if values is None else str(values["meter"])
    try:
        if not part.authentic:
            raise CardError(part.code, "The report is damaged." if values is None else "")
        with counter.ledger.begin() as books:
            account, left = _keep(counter, books, card, row, part, found(values))
    except GasError as error:
        return ToolReport(part.at, name, None, None, values, None, False, error)
    return ToolReport(part.at, name, account, int(found(values)["binding"]), values, left, True, None)


def _keep(
    counter: Counter, books: Books, card: Card, row: ToolRow, part: Part, values: Values
) -> tuple[str | None, Decimal]:
    """Book an authentic report of a meter: whose it is, and what it has left."""
    meter = books.meter(values["meter"])
    if meter is None:
        raise LedgerError(errors.METER_UNKNOWN, f"The ledger has no meter {values['meter']}.")
    number = values["binding"]
    if number > meter.highest_binding:
        raise LedgerError(
            errors.LEDGER_BEHIND,
            f"Meter {meter.number} reports binding {number}; the ledger knows {meter.highest_binding}.",
        )
    binding = binding_numbered(books, meter.number, number)
    if binding is not None:
        check_not_ahead(books, binding, values)
    wanted = values["report_number"]
    kept = next((old for old in books.reports(meter.number, number) if old.report_number == wanted), None)
    if kept is not None and kept.frame != part.raw and encode.decode_report(kept.frame) != values:
        raise LedgerError(
            codes.SEQUENCE_CONFLICT, f"Meter {meter.number} has told something else as report {kept.report_number}."
        )
    if kept is None:
        account = None if binding is None else binding.account
        at = counter.now()
        report = ReportRow(meter.number, number, values["report_number"], row.number, part.raw, at)
        books.keep_report(report, account or "")
    if binding is not None:
        books.mark_done(binding.id, values["sequence"], values["bought_total"])
    version = int(found(card.order.values)["key_version"])
    if meter.key_version < version:
        # Nobody but a meter that has these keys can have made it.
        books.set_key_version(meter, version)
    if row.kind != MANAGEMENT and row.seen_at is None and books.tool(row.number) == row:
        books.change_tool(row, journal.TOOL_READ, seen_at=counter.now())
    left = units.volume(encode.remaining(values), meter.pulse_weight)
    return (None if binding is None else binding.account), left


def _end(counter: Counter, card: Card, row: ToolRow) -> Ended:
    """Take the final record of a clear card in; its binding is over."""
    final = card.final
    if final is None or not final.written:
        raise CardError(errors.FINAL_MISSING, f"Clear card {row.number} bears no final record.")
    if not final.authentic:
        raise CardError(final.code, "The final record is damaged." if final.values is None else "")
    values: Values = found(final.values)
    with counter.ledger.begin() as books:
        binding = binding_numbered(books, values["meter"], values["binding"])
        if binding is None or binding.id != row.binding:
            raise CardError(
                codes.BINDING, f"The final record is of binding {values['binding']} of meter {values['meter']}."
            )
        resumed = take_final(counter, books, binding, row.number, final)
        if resumed and row.seen_at is None:
            # Another card of this binding told the same before.
            books.change_tool(row, journal.TOOL_READ, seen_at=counter.now())
        last = found(books.last_order(binding.id))
        weight = found(books.meter(binding.meter)).pulse_weight
        meterless = books.binding_of(binding.account) is None and books.transfer_of(binding.account) is None
        return Ended(
            meter=binding.meter,
            account=binding.account,
            binding=binding.number,
            remaining=units.volume(encode.remaining(values), weight),
            not_loaded=units.volume(not_loaded(books, binding, last, values), weight),
            resumed=resumed,
            without_meter=meterless and found(books.account(binding.account)).state != CLOSED,
        )


def take_final(counter: Counter, books: Books, binding: Binding, card: int, final: Part) -> bool:
    """Book an authentic final record of ``binding`` that stood on tool card ``card``; whether it was booked before.

    The binding is closed, and what the record shows loaded is done. LedgerError LEDGER_BEHIND; CardError
    SEQUENCE_CONFLICT for another record of the same binding, or one that tells less than a report before it.
    """
    values: Values = found(final.values)
    kept = books.final(binding.meter, binding.number)
    if kept is not None:
        if encode.decode_frame(kept.frame, tools.FINAL) != values:
            raise CardError(
                codes.SEQUENCE_CONFLICT, f"Meter {binding.meter} has told something else at the end of this binding."
            )
        return True
    check_not_ahead(books, binding, values)
    for report in books.reports(binding.meter, binding.number):
        # A register never goes back: whoever has the meter's key could else have gas paid back that is burned.
        earlier = kept_report(report)
        if earlier["report_number"] < values["report_number"] and earlier["register"] > values["register"]:
            raise CardError(
                codes.SEQUENCE_CONFLICT,
                f"By report {earlier['report_number']} meter {binding.meter} had counted more than it says now.",
                "Keep the card and have the meter looked at; nothing is paid back.",
            )
    books.end_binding(binding, FinalRow(binding.meter, binding.number, card, final.raw, counter.now()))
    books.mark_done(binding.id, values["sequence"], values["bought_total"])
    return False


def check_not_ahead(books: Books, binding: Binding, values: Values) -> None:
    last = books.last_order(binding.id)
    if last is None:
        return  # an exchange is to begin it: what came by transfer card the final record will tell
    if is_ahead(books, binding, last, values):
        raise LedgerError(
            errors.LEDGER_BEHIND,
            f"Meter {binding.meter} reports order {values['sequence']} and "
            f"{units.counted(values['bought_total'], 'pulse')}; "
            f"the ledger knows {last.sequence} and {last.released_pulses}.",
            "Adopt the word of the account's own card first: icgas hall reconcile adopt.",
        )


def binding_numbered(books: Books, meter: str, number: int) -> Binding | None:
    """The meter's binding of that number, open or not."""
    return next((binding for binding in books.bindings_on(meter) if binding.number == number), None)


__all__ = ["Ended", "ToolRead", "ToolReport", "binding_numbered", "read_tool", "take_final"]
