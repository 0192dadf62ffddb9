"""The company's own cards, each with what it may say: management, setting, key and test gas; and their list.

Whatever carries gas or ends an account names one meter and is made with that meter's keys; what the region's tool key
opens is harmless (RULES 1 "tool limits", "setting", 4). How a card is made stands in ``gashall.toolmaking``, what one
brings back is taken in by ``gashall.toolreading``.
"""

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from gascard import codes, records, tools
from gascard.records import S24_MAX, TOTAL_MAX
from gascard.sle4442 import tries_left
from gashall import encode, errors, journal, sizes, stock, units
from gashall.books import Books
from gashall.counter import (
    Counter,
    Standing,
    check_image,
    check_read_back,
    check_reader,
    check_settled,
    found,
    is_superseded,
    spliced,
)
from gashall.encode import Card
from gashall.errors import CardError, GasError, LedgerError, RequestError
from gashall.history import printable
from gashall.labels import both
from gashall.page import WIDE, Table, page
from gashall.placing import Placed, place
from gashall.placing import Wanted as WantedOrder
from gashall.readers.base import Reader
from gashall.rows import MeterRow, ToolRow
from gashall.terms import CLEAR, DONE, KEY, MANAGEMENT, REKEY, SETTING, TEST, TRANSFER
from gashall.toolmaking import Made, Wanted, make, tool_row
from gashall.units import Volume

GUARD_LIMITS = tools.SETTING.names[tools.SETTING.names.index("report") :]
"""What a setting may say of the guards, in the units of docs/SPEC.md 13.3."""
READ_BY = {CLEAR: "icgas hall tool read", TRANSFER: "icgas hall exchange read"}
"""The command that takes in what a meter wrote on a card that ends a binding."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A card of the company's own. Times by the hall's own clock, volume in m³."""

    card: int
    kind: str
    meter: str | None
    account: str | None
    purpose: str
    service_number: int | None
    key_version: int
    """Of the keys its frame was made with; of a key card, of those it brings."""
    made_at: datetime
    expires: datetime | None
    total: Decimal | None
    """Of a test card: all the test gas of its meter, with this card."""
    state: str
    """unfinished, out, read, or taken back."""
    resumed: bool = False

    def record(self) -> dict[str, Any]:
        """The card as JSON holds it, times in ISO 8601."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(self).items()
        }

    def line(self) -> str:
        """One line of a list."""
        told = [f"{self.card:>10}  {self.made_at:%Y-%m-%d}  {self.kind}"]
        told += [f"meter {self.meter}"] if self.meter else []
        told += [f"account {self.account}"] if self.account else []
        told += [f"service number {self.service_number}"] if self.service_number else []
        told += [f"{self.total} m³ of test gas in all"] if self.total is not None else []
        told += [f"keys {self.key_version}"] if self.kind == KEY else []
        told += [f"until {units.stamp(self.expires)}"] if self.expires else []
        return f"{', '.join(told)}: {self.state}  ({printable(self.purpose)})"


def printed(tools: Sequence[Tool], now: datetime) -> str:
    """The register of tool cards as a page to be printed and filed."""
    head = ("card", "made at", "kind", "meter", "account", "purpose", "until", "state")
    rows = [
        (
            tool.card,
            f"{tool.made_at:%Y-%m-%d}",
            both(tool.kind),
            tool.meter,
            tool.account,
            printable(tool.purpose),
            None if tool.expires is None else units.stamp(tool.expires),
            both(tool.state),
        )
        for tool in tools
    ]
    when = f"{both('as of')} {units.stamp(now)}"
    return page("tool cards", [when, Table(head, rows)], sign=("made by", "checked by"), paper=WIDE)


def told(books: Books, row: ToolRow, *, resumed: bool = False) -> Tool:
    """A row of the ledger as a card."""
    meter = None if row.meter is None else books.meter(row.meter)
    kind = row.frames[1]
    values = encode.decode_frame(row.frames[: encode.frame_size(kind)], kind)
    return Tool(
        card=row.number,
        kind=row.kind,
        meter=row.meter,
        account=row.account,
        purpose=row.purpose,
        service_number=row.service_number,
        key_version=int(values["key_version"]),
        made_at=books.moment(row.made_at),
        expires=None if row.expires is None else books.moment(row.expires),
        total=None if row.pulses is None or meter is None else units.volume(row.pulses, meter.pulse_weight),
        state=row.state,
        resumed=resumed,
    )


def tool_list(counter: Counter) -> list[Tool]:
    """See ``Hall.tools``."""
    with counter.ledger.look() as books:
        return [told(books, row) for row in books.tools()]


def add_meter(counter: Counter, number: str, pulse_weight: int, wheel_digits: int, key_version: int) -> MeterRow:
    """See ``Hall.add_meter``."""
    units.meter_number(number)
    units.check_weight(pulse_weight)
    units.whole(wheel_digits, "wheel_digits", 1, 8 - pulse_weight)
    units.whole(key_version, "key_version", 1, 0xFF)
    row = MeterRow(number, pulse_weight, int(10 ** (wheel_digits + pulse_weight)), key_version, 0)
    with counter.ledger.begin() as books:
        known = books.meter(number)
        if known is None:
            books.add_meter(row)
        elif (known.pulse_weight, known.wheel_pulses) != (row.pulse_weight, row.wheel_pulses):
            raise RequestError(
                codes.WEIGHT,
                f"Meter {number} is booked with a pulse weight of {known.pulse_weight} and wheels of "
                f"{known.wheel_pulses} pulses.",
                "Look at the meter's plate.",
            )
        return known or row


def issue_management(
    counter: Counter, reader: Reader, *, purpose: str, expires: datetime | None, key_version: int
) -> Tool:
    """See ``Hall.issue_management``."""
    end = _expires(expires)
    units.whole(key_version, "key_version", 1, 0xFF)

    def frames(card: int, now: int, service: int) -> bytes:
        values = {"key_version": key_version, "expires": end or 0, "time": now}
        return encode.encode_management(counter.signer, card, values)

    wanted = Wanted(frames, _purpose(purpose), expires=end)

    def plan(books: Books, begun: ToolRow | None) -> Wanted:
        _check_expires(counter, books, begun, end)
        return wanted

    return _made(counter, make(counter, reader, MANAGEMENT, None, plan))


def issue_setting(
    counter: Counter,
    reader: Reader,
    *,
    purpose: str,
    meter: str | None,
    clock: datetime | None,
    index: Volume | None,
    size: str | None,
    guards: Mapping[str, int] | None,
    pulse_weight: int | None,
    expires: datetime | None,
    key_version: int | None,
) -> Tool:
    """See ``Hall.issue_setting``."""
    end = _expires(expires)
    if meter is not None:
        units.meter_number(meter)
    if index is not None and meter is None:
        raise RequestError(errors.FIELD, "An index is set on one meter.", "Name the meter.")
    if clock is None and index is None and size is None and not guards:
        raise RequestError(
            errors.FIELD,
            "The setting card would set nothing.",
            "Give what it sets: --clock, --index, --size or --limit.",
        )
    minute = None if clock is None else units.minutes(clock)

    def plan(books: Books, begun: ToolRow | None) -> Wanted:
        _check_expires(counter, books, begun, end)
        known = None if meter is None else books.meter(meter)
        weight = pulse_weight if known is None else known.pulse_weight
        limits = _limits(size, guards, weight)
        what = tools.SET_CLOCK * (minute is not None) | tools.SET_INDEX * (index is not None)
        what |= tools.SET_GUARDS * (limits is not None)
        if meter is not None and what & ~tools.SET_CLOCK and books.binding_on(meter) is not None:
            raise LedgerError(codes.NOT_UNBOUND, f"Meter {meter} is bound: only its clock can be set.")
        shown = 0
        if index is not None:
            row = _known(books, found(meter))
            shown = units.pulses(index, row.pulse_weight, most=row.wheel_pulses - 1, what="index")
        version = key_version if key_version is not None else 1 if known is None else known.key_version
        units.whole(version, "key_version", 1, 0xFF)
        values = dict.fromkeys(GUARD_LIMITS, 0) | {
            "key_version": version,
            "meter": tools.ANY if meter is None else meter,
            "expires": end or 0,
            "what": what,
            "clock": minute or 0,
            "index": shown,
            **(limits or {}),
        }

        def frames(card: int, now: int, service: int) -> bytes:
            return encode.encode_setting(counter.signer, card, values | {"time": now, "service_number": service})

        frames(
            1, counter.now() if begun is None else begun.made_at, 1
        )  # what cannot be said is refused before all else
        return Wanted(frames, _purpose(purpose), expires=end, numbered=True)

    return _made(counter, make(counter, reader, SETTING, meter, plan))


def _limits(size: str | None, guards: Mapping[str, int] | None, weight: int | None) -> dict[str, int] | None:
    """All the fields of the guards: those that suit ``size``, with what ``guards`` says in their places."""
    if size is None and not guards:
        return None
    unknown = sorted((guards or {}).keys() - set(GUARD_LIMITS))
    if unknown:
        raise RequestError(errors.FIELD, f"There is no guard limit {unknown[0]}.", f"Use {', '.join(GUARD_LIMITS)}.")
    limits = dict.fromkeys(GUARD_LIMITS, 0)
    if size is not None:
        if weight is None:
            raise RequestError(
                errors.FIELD, "The guards' limits need the meters' pulse weight.", "Give it: --pulse-weight."
            )
        limits |= sizes.guard_limits(size, weight)
    return limits | dict(guards or {})


def issue_key(
    counter: Counter,
    reader: Reader,
    *,
    meter: str,
    purpose: str,
    version: int | None,
    factory_keys: str | os.PathLike[str] | None,
) -> Tool:
    """See ``Hall.issue_key``."""
    units.meter_number(meter)
    factory = None if factory_keys is None else factory_key(factory_keys, meter)

    def plan(books: Books, begun: ToolRow | None) -> Wanted:
        known = _known(books, meter)
        first = known.key_version if factory is not None else known.key_version + 1
        new = first if version is None else units.whole(version, "version", first, 0xFF)
        if new > 0xFF:
            raise LedgerError(codes.NUMBER_USED_UP, f"Meter {meter} has had all the key versions there are.")
        binding = books.binding_on(meter)
        if factory is not None and (known.highest_binding or new != known.key_version):
            raise RequestError(
                errors.FIELD,
                f"Meter {meter} is booked with keys of version {known.key_version}, or was bound already.",
                "Its first keys are of that version; a meter that was bound has them.",
            )
        if begun is None and binding is not None:
            last = found(books.last_order(binding.id))
            if last.state != DONE:
                raise LedgerError(
                    errors.ORDER_WAITS, f"Order {last.sequence} of account {binding.account} is not loaded yet."
                )

        def frames(card: int, now: int, service: int) -> bytes:
            values = {"meter": meter, "key_version": new, "time": now}
            parent = known.key_version if factory is None else factory
            return encode.encode_key_block(counter.signer, card, values, parent=parent)

        return Wanted(frames, _purpose(purpose))

    return _made(counter, make(counter, reader, KEY, meter, plan))


def factory_key(path: str | os.PathLike[str], meter: str) -> bytes:
    """The factory key of ``meter`` out of the maker's file: a line for each meter, its 14 digits, a comma, 32 hex.

    It is kept nowhere and in no message. GasError KEY_FILE.
    """
    name = os.fspath(path)
    try:
        with open(name, encoding="ascii") as file:
            if os.fstat(file.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise GasError(errors.KEY_FILE, f"The factory key file {name} is open to others than its owner.")
            lines = [line.strip().partition(",") for line in file]
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise GasError(errors.KEY_FILE, f"The factory key file {name} cannot be read: {why}.") from None
    keys = [key.strip() for number, _, key in lines if number.strip() == meter]
    if len(keys) != 1 or len(keys[0]) != 32 or keys[0].strip("0123456789abcdefABCDEF"):
        raise GasError(errors.KEY_FILE, f"The factory key file {name} has not one key of 32 hex digits for {meter}.")
    return bytes.fromhex(keys[0])


def issue_test(counter: Counter, reader: Reader, *, meter: str, volume: Volume, purpose: str) -> Tool:
    """See ``Hall.issue_test``."""
    units.meter_number(meter)

    def plan(books: Books, begun: ToolRow | None) -> Wanted:
        known = _known(books, meter)
        if known.highest_binding:
            raise LedgerError(codes.NOT_UNBOUND, f"Meter {meter} was bound: it gets no test gas any more.")
        pulses = units.pulses(volume, known.pulse_weight, least=1, most=S24_MAX)
        before = max(
            (row.pulses or 0 for row in books.tools(meter) if begun is None or row.number < begun.number), default=0
        )
        total = before + pulses
        if total > TOTAL_MAX:
            raise RequestError(codes.RANGE, f"Meter {meter} has had all the test gas it can have.")
        values = {
            "meter": meter,
            "account": "0000000000",
            "binding": 1,
            "replacement": 0,
            "key_version": known.key_version,
            "sequence": 1,
            "bought_total": total,
            "amount": pulses,
            "correction_total": 0,
            "pulse_weight": known.pulse_weight,
            "alarm": 0,
            "ceiling": 0,
            "overdraft": 0,
            "over_flow_seconds": 0,
            "flags": 0,
        }

        def frames(card: int, now: int, service: int) -> bytes:
            return encode.encode_order(counter.signer, card, values | {"time": now}, tools.ORDER_TEST)

        return Wanted(frames, _purpose(purpose), pulses=total)

    return _made(counter, make(counter, reader, TEST, meter, plan))


def end(counter: Counter, number: int, reader: Reader | None, *, keys_taken: bool | None) -> Tool:
    """See ``Hall.end_tool``."""
    units.whole(number, "number", 1, 0xFFFFFFFF)
    with counter.ledger.look() as books:
        row = tool_row(books, number)
        over = _is_over(books, row)
    if row.ended is not None and not (row.kind == KEY and keys_taken):
        raise LedgerError(errors.TOOL_ENDED, f"Tool card {number} was taken back.")
    if keys_taken is not None and row.kind != KEY:
        raise RequestError(errors.FIELD, f"Tool card {number} is no key card.")
    unread = row.seen_at is None and row.psc_bytes > 0 and not over
    if reader is not None:
        _blank_unused(counter, reader, row, over)
    elif unread and row.kind in (CLEAR, TRANSFER):
        raise LedgerError(
            errors.TOOL_OUT,
            f"{row.kind.capitalize()} card {number} is out: whether it was used only the card can say.",
            f"Insert it to read it back ({READ_BY[row.kind]}), or to have it taken back unused."
            + (" If it is lost or no longer reads: icgas hall clear --again." if row.kind == CLEAR else ""),
        )
    elif unread and row.kind == KEY and keys_taken is None:
        raise LedgerError(
            errors.TOOL_OUT,
            f"Whether meter {row.meter} has taken the keys of card {number} is not known.",
            "Read the card, or say what the meter shows (--keys-taken yes or no).",
        )
    with counter.ledger.begin() as books:
        row = tool_row(books, number)
        if keys_taken:
            _keys_taken(books, row)
        if row.ended is None:
            books.change_tool(row, journal.TOOL_ENDED, ended=counter.now())
        return told(books, tool_row(books, number))


def _is_over(books: Books, row: ToolRow) -> bool:
    """Whether the card is a clear card of a binding whose final record is known: it can end nothing any more."""
    if row.kind != CLEAR or row.account is None:
        return False
    bindings = [binding for binding in books.bindings(row.account) if binding.id == row.binding]
    return any(books.final(binding.meter, binding.number) is not None for binding in bindings)


def _keys_taken(books: Books, row: ToolRow) -> None:
    version = told(books, row).key_version
    meter = _known(books, found(row.meter))
    if meter.key_version < version:
        books.set_key_version(meter, version)


def _blank_unused(counter: Counter, reader: Reader, row: ToolRow, over: bool) -> None:
    """Take what the card orders off it, so that it does nothing in any drawer. TOOL_OUT if it may have been used, and
    what it did is not known by another card (``over``).

    A card at its last try, or dead, does nothing as it is.
    """
    check_reader(reader)
    with reader:
        card = counter.read_card(reader)
        check_tool(card, row)
        if row.seen_at is None and not over and any(part.written for part in behind(card)):
            command = READ_BY.get(row.kind, READ_BY[CLEAR])
            message = f"Tool card {row.number} bears what a meter wrote."
            raise CardError(errors.TOOL_OUT, message, f"Insert the card and read it back: {command}.")
        if row.kind == MANAGEMENT and any(part.written for part in behind(card)):
            raise CardError(errors.TOOL_OUT, f"Management card {row.number} bears reports that are not read.")
        size = len(row.frames)
        blank = encode.BLANK_IMAGE[tools.TOOL_AT : tools.TOOL_AT + size]
        # At its last try no meter takes it, whatever it bears (RULES 1, last try).
        if card.image[tools.TOOL_AT : tools.TOOL_AT + size] != blank and tries_left(reader.error_counter()) > 1:
            put(counter, reader, card, row.number, [(tools.TOOL_AT, blank)])


def check_tool(card: Card, row: ToolRow) -> None:
    """Whether the card is that tool card, whatever stands in its places; else CardError."""
    for code in (card.identity.code, card.region_code):
        if code:
            raise CardError(code)
    if card.number != row.number or card.kind != row.card_kind:
        raise CardError(errors.TOOL_UNKNOWN, f"This is not tool card {row.number}.", "Insert that card.")


def behind(card: Card) -> list[encode.Part]:
    """The places meters write in."""
    return [part for part in (*card.reports, card.final) if part is not None]


def put(counter: Counter, reader: Reader, card: Card, number: int, changes: list[tuple[int, bytes]]) -> None:
    """Write ``changes`` on the card ``number`` that was read, under its own password, and read it back.

    ``changes`` are places in the image, each with its bytes. CardError PASSWORD_REFUSED, LAST_TRY, CARD_DEAD,
    READ_BACK_DIFFERS and as ``check_image``.
    """
    check_image(reader, card)
    remedy = "It stays as it is, and what it said is in the ledger: keep it for a card check, or cut it up."
    try:
        right = reader.present(counter.signer.card_psc(number))
    except CardError as error:
        raise CardError(error.code, error.message, remedy) from error
    if not right:
        raise CardError(codes.PASSWORD_REFUSED, "The card does not take its own password.", remedy)
    check_image(reader, card)
    image = card.image
    for at, data in changes:
        reader.write(at, data)
        image = spliced(image, at, data)
    check_read_back(reader, image)


def rekey(counter: Counter, reader: Reader, *, rescue: bool) -> Placed:
    """See ``Hall.rekey``."""

    def plan(books: Books, standing: Standing) -> WantedOrder:
        check_settled(standing.unpaid)
        if not is_superseded(standing):
            raise RequestError(
                errors.FIELD,
                f"The card's order is made with the keys meter {standing.meter.number} has, or loaded.",
                "Nothing is to be done.",
            )
        return WantedOrder(REKEY, 0, 0, standing.base)

    return place(counter, reader, plan, lambda books, order: None, rescue=rescue)


def _known(books: Books, meter: str) -> MeterRow:
    row = books.meter(meter)
    if row is None:
        raise LedgerError(errors.METER_UNKNOWN, f"The ledger has no meter {meter}.")
    return row


def _made(counter: Counter, made: Made) -> Tool:
    with counter.ledger.look() as books:
        return told(books, made.tool, resumed=made.resumed)


def _purpose(purpose: str) -> str:
    stock.check_text(purpose, "purpose")
    return purpose


def _expires(moment: datetime | None) -> int | None:
    return None if moment is None else units.whole(units.minutes(moment), "expires", 1, records.TIME_MAX)


def _check_expires(counter: Counter, books: Books, begun: ToolRow | None, end: int | None) -> None:
    """Whether the card is made before the minute ``end``, said by the hall's clock; else RequestError FIELD."""
    made_at = counter.now() if begun is None else begun.made_at
    if end is not None and end < made_at:
        until, now = (units.stamp(books.moment(at)) for at in (end, made_at))
        raise RequestError(
            errors.FIELD, f"A card that is made at {now} cannot hold until {until}.", "Give a later time (--expires)."
        )
