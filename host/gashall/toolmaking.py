"""Making the company's own cards (工具卡) of blank ones: clear, transfer, management, setting, key and test cards.

The order of things is an opening's (DESIGN D5): the card is judged and takes the maker's password, the row is committed
with the exact bytes the card shall bear, then come frames, identity, read-back, protection and the password, each of
its bytes announced before it is written. It may die anywhere: whoever asks for the same card again finishes it, on that
card or another blank one, with the very same bytes.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from gashall import errors, shifts, stock
from gashall.books import Books
from gashall.counter import Counter, check_reader
from gashall.errors import CardError, LedgerError
from gashall.opening import unlock_blank
from gashall.readers.base import Reader
from gashall.rows import Binding, ToolRow

Make = Callable[[int, int, int], bytes]
"""Card number, minute and service number (0: it has none) -> the bytes from 0x20 on; the same for the same three."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A tool card a service wants. ``purpose`` says for whom or what; ``binding`` is what it ends, or nothing."""

    make: Make
    purpose: str
    binding: Binding | None = None
    expires: int | None = None
    requester: str | None = None
    approver: str | None = None
    pulses: int | None = None
    numbered: bool = False
    """Whether it takes a service number."""
    note: Callable[[Books, ToolRow], None] | None = None
    """Books what else a new card means, with its row."""


Plan = Callable[[Books, ToolRow | None], Wanted]
"""Judges, and gives the card that may be made; else raises. It writes nothing and may be asked twice.

The row it is given is the unfinished card of the same kind and meter, which the plan must not hold against itself.
"""


@dataclass(frozen=True, slots=True)
class Made:
    """A tool card that was made; ``resumed`` if it had been begun earlier and was only finished now."""

    tool: ToolRow
    resumed: bool


def make(counter: Counter, reader: Reader, kind: str, meter: str | None, plan: Plan) -> Made:
    """Make the blank card in ``reader`` the tool card of ``kind`` for ``meter`` that ``plan`` gives; once.

    CardError CARD_NOT_BLANK, PASSWORD_REFUSED, READ_BACK_DIFFERS, CARD_DEAD, LAST_TRY; LedgerError TOOL_DIFFERS,
    SHIFT_MISSING, STOCK_SHORT, PENDING_ELSEWHERE, NUMBER_USED_UP; ReaderError; and whatever ``plan`` raises.
    """
    check_reader(reader)
    with reader:
        card = counter.read_card(reader)
        with counter.ledger.look() as books:
            begun = unfinished(books, kind, meter)
            shown = None if card.number is None or card.region_code else books.tool(card.number)
            if shown is not None and shown.issued and (shown.kind, shown.meter, shown.ended) == (kind, meter, None):
                # A program that died behind its last commit is asked again: the card is made.
                if begun is None and _same(shown, plan(books, shown)):
                    return Made(shown, True)
                raise CardError(errors.CARD_NOT_BLANK, f"This is tool card {shown.number}, made already.")
            wanted = plan(books, begun)
            if begun is not None:
                _check_same(begun, wanted)
            else:
                stock.check(books, shifts.check(books.rules(counter.now())))
        if begun is None:
            unlock_blank(reader, card)
            with counter.ledger.begin() as books:
                if unfinished(books, kind, meter) is not None:
                    raise LedgerError(errors.PENDING_ELSEWHERE)
                row = _book(counter, books, kind, meter, plan(books, None))
        else:
            row = begun
        for psc_bytes, issued in counter.issuing(reader, card, row, row.frames, presented=begun is None):
            with counter.ledger.begin() as books:
                books.mark_tool(row, psc_bytes=psc_bytes, issued=issued)
    return Made(replace(row, psc_bytes=3, issued=True), begun is not None)


def unfinished(books: Books, kind: str, meter: str | None) -> ToolRow | None:
    """The card of that kind and meter that was begun and not finished."""
    rows = [row for row in books.tools(meter) if row.kind == kind and row.meter == meter]
    return next((row for row in rows if not row.issued and row.ended is None), None)


def tool_row(books: Books, number: int) -> ToolRow:
    """The tool card of that number. CardError TOOL_UNKNOWN."""
    row = books.tool(number)
    if row is None:
        raise CardError(errors.TOOL_UNKNOWN, f"The ledger has no tool card {number}.")
    return row


def _book(counter: Counter, books: Books, kind: str, meter: str | None, wanted: Wanted) -> ToolRow:
    now = counter.now()
    shift = shifts.check(books.rules(now))
    uses_stock = stock.check(books, shift)
    number, service = books.free_card(), books.free_service() if wanted.numbered else None
    binding = wanted.binding
    row = books.add_tool(
        ToolRow(
            number=number,
            kind=kind,
            meter=meter,
            account=None if binding is None else binding.account,
            binding=None if binding is None else binding.id,
            service_number=service,
            frames=wanted.make(number, now, service or 0),
            made_at=now,
            expires=wanted.expires,
            purpose=wanted.purpose,
            requester=wanted.requester,
            approver=wanted.approver,
            pulses=wanted.pulses,
            shift=shift,
        )
    )
    if uses_stock:
        books.move_stock(stock.USED, 1, at=now, shift=shift, tool=number, account=row.account or "")
    if wanted.note is not None:
        wanted.note(books, row)
    return row


def _same(row: ToolRow, wanted: Wanted) -> bool:
    binding = None if wanted.binding is None else wanted.binding.id
    told = (binding, wanted.expires, wanted.purpose, wanted.requester, wanted.approver, wanted.pulses)
    if told != (row.binding, row.expires, row.purpose, row.requester, row.approver, row.pulses):
        return False
    return wanted.make(row.number, row.made_at, row.service_number or 0) == row.frames


def _check_same(row: ToolRow, wanted: Wanted) -> None:
    if not _same(row, wanted):
        raise LedgerError(errors.TOOL_DIFFERS, f"Tool card {row.number} was begun with other particulars.")


__all__ = ["Made", "Make", "Plan", "Wanted", "make", "tool_row", "unfinished"]
