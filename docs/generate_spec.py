"""Fill the tables of SPEC.md and meter-behaviour.md from the code, or with ``--check`` say whether they are stale.

A table stands between ``<!-- table:NAME -->`` and ``<!-- end -->``; NAME is a key of the document's tables in
DOCUMENTS. A new record is one line there.
"""

import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE), *(str(ROOT / folder) for folder in ("protocol", "firmware", "host", "simulator"))]

import behaviour_meanings  # noqa: E402
import bench_meanings  # noqa: E402
import store_meanings  # noqa: E402

from gascard import codes, frames, link, meanings, records, service  # noqa: E402
from gascard.codec import unpack  # noqa: E402
from gashall.encode import PLACES  # noqa: E402
from gasrig import bench  # noqa: E402
from gasrig.parts import CardSlot, Fram, Panel, ValveMotor  # noqa: E402
from meter import display, factory, layouts, store, tools  # noqa: E402
from meter.meter import Meter, Settings  # noqa: E402
from meter.service import Service  # noqa: E402

MARK = re.compile(r"<!-- table:(\S+) -->\n(.*?)<!-- end -->", re.DOTALL)

Layout = Sequence[tuple[str, int]]
Words = dict[str, tuple[str, str]]
Tables = dict[str, Callable[[], str]]

EXAMPLE_MINUTES = 13762695  # 2026-03-02 10:15 UTC
EXAMPLE_MV = 3600

KIND_NAMES = {0: "unsigned", 1: "signed", 2: "BCD", 3: "bytes", 4: "time", 5: "total"}


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(str(cell) for cell in line) + " |\n" for line in lines)


def fields_table(layout: Layout, words: Words, first: int = 0) -> str:
    """One record: offset from ``first``, size, kind, unit and meaning of every field."""
    rows = []
    at = first
    for name, kind in layout:
        size = records.kind_size(kind)
        unit, meaning = words[name]
        rows.append((at, size, f"`{name}`", KIND_NAMES[kind >> 4], unit, meaning))
        at += size
    return table(("offset", "size", "field", "kind", "unit", "meaning"), rows)


def record(name: str) -> str:
    framed = name != "identity"
    return fields_table(meanings.RECORDS[name], meanings.FIELD_MEANINGS[name], frames.HEAD if framed else 0)


def bits(words: dict[int, tuple[str, str]], digits: int) -> str:
    return table(
        ("bit", "name", "meaning"),
        ((f"{bit:0{digits}X}", f"`{name}`", text) for bit, (name, text) in words.items()),
    )


def kinds(words: dict[int, tuple[str, str, str]]) -> str:
    rows = ((f"{number:02X}", f"`{name}`", english, chinese) for number, (name, english, chinese) in words.items())
    return table(("number", "name", "English", "中文"), rows)


def codes_table() -> str:
    rows = [(number, f"`{name}`", *rest) for number, (name, *rest) in meanings.CODES.items()]
    return table(("code", "name", "what it means", "中文", "what to do next"), rows)


def judging_table() -> str:
    rows = []
    for place, code in enumerate(meanings.JUDGING_ORDER, 1):
        name, meaning = meanings.CODES[code][:2]
        rows.append((place, f"`{name}`", meaning))
    return table(("", "code", "answered when"), rows)


def area_table() -> str:
    identity = records.size_of(records.IDENTITY)
    order = frames.frame_size(records.ORDER)
    report = frames.frame_size(records.REPORT_DATA)
    areas = [
        (0x00, 8, "the maker's: answer to reset and manufacturer bytes, protected"),
        (records.IDENTITY_AT, identity, "identity, protected when the card is issued"),
        (records.IDENTITY_AT + identity, 11, "the maker's: application number, protected; unused"),
        (records.ORDER_AT, order, "order, written by the hall"),
        *((at, report, f"report slot {slot}, written by the meter") for slot, at in enumerate(records.REPORT_AT)),
        (records.SPARE_AT, records.IMAGE_SIZE - records.SPARE_AT, "spare"),
    ]
    place = 0
    for at, size, what in areas:
        if at != place:
            raise SystemExit(f"the area map has a hole or an overlap before {what!r} at {at:#x}")
        place += size
    return table(
        ("from", "to", "bytes", "what"),
        ((f"{at:02X}", f"{at + size - 1:02X}", size, what) for at, size, what in areas),
    )


def tool_area_table() -> str:
    """What lies where on each card of the company's own, and with which key it is made."""
    rows = []
    for number, (_, english, chinese) in meanings.CARD_KINDS.items():
        if number == records.CARD_CUSTOMER:
            continue
        end = records.IDENTITY_AT
        for place in PLACES[number]:
            size = frames.frame_size(meanings.RECORDS[place.record])
            if place.at < end or place.at + size > records.IMAGE_SIZE:
                raise SystemExit(f"{place.name} of the {english} lies over something else")
            end = place.at + size
            (kind,) = place.kinds
            what = f"{place.name}, kind {kind:02X} (`{meanings.FRAME_KINDS[kind][0]}`)"
            who = "meter" if kind & 0x80 else "hall"
            rows.append((f"{number:02X} {english} {chinese}", f"{place.at:02X}", f"{end - 1:02X}", size, what, who))
    return table(("card", "from", "to", "bytes", "what", "written by the"), rows)


def store_record(name: str) -> str:
    layout = store_meanings.RECORDS[name]
    size = records.size_of(layout)
    if layout.names[0] == "entry" and size != layouts.COPY_SIZE:
        raise SystemExit(f"the record {name} takes {size} bytes, not a copy's {layouts.COPY_SIZE}")
    return fields_table(layout, store_meanings.FIELD_MEANINGS[name])


def memory_table() -> str:
    """The meter's nonvolatile memory and, below it, that of its keys."""
    checkpoint = records.size_of(layouts.CHECKPOINT)
    copy = layouts.COPY_SIZE
    event = records.size_of(layouts.EVENT)
    events_end = layouts.EVENTS_AT + layouts.EVENT_PLACES * event
    ring = layouts.LOCKOUT_PLACES * layouts.LOCKOUT_STRIDE
    parts = [
        *((at, checkpoint, f"checkpoint, slot {slot}") for slot, at in enumerate(layouts.CHECKPOINT_AT)),
        *((at, copy, f"account, copy {place}") for place, at in enumerate(layouts.ACCOUNT_AT)),
        *((at, copy, f"state, copy {place}") for place, at in enumerate(layouts.STATE_AT)),
        (
            layouts.LOCKOUT_AT,
            ring,
            f"lockout ring: {layouts.LOCKOUT_PLACES} entries of {records.size_of(layouts.LOCKOUT)} bytes, "
            f"one every {layouts.LOCKOUT_STRIDE}",
        ),
        *((at, copy, f"guards, copy {place}") for place, at in enumerate(layouts.GUARDS_AT)),
        (layouts.EVENTS_AT, events_end - layouts.EVENTS_AT, f"{layouts.EVENT_PLACES} events of {event} bytes"),
        *(
            (at, records.size_of(tools.FINAL_RECORD), f"final record of the last binding, copy {place}")
            for place, at in enumerate(layouts.FINAL_RECORD_AT)
        ),
        (layouts.TALLY_AT, Settings().lanes * Settings().lane_length, "tally, of the usual length"),
    ]
    return places_table(parts)


def places_table(parts: Sequence[tuple[int, int, str]]) -> str:
    rows = []
    end = 0
    for at, size, what in parts:
        if at < end:
            raise SystemExit(f"the memory map has an overlap at {what!r}")
        end = at + size
        page = layouts.COPY_SIZE
        first, last = at // page, (end - 1) // page
        pages = first if first == last else f"{first}–{last}"
        rows.append((f"{at:04X}", f"{end - 1:04X}", size, pages, what))
    return table(("from", "to", "bytes", "page", "what"), rows)


def key_memory_table() -> str:
    return places_table([(at, layouts.COPY_SIZE, f"keys, copy {i}") for i, at in enumerate(layouts.KEYS_AT)])


def tally_table() -> str:
    """Where the pulses round a corner of the tally go, by the meter's own cells."""
    rows = []
    length = 1024
    for pulse in (0, 1, 2, 3, 4, 4095):
        four = layouts.TALLY_AT + (pulse & 3) * length + (pulse >> 2)
        rows.append((pulse, f"{layouts.TALLY_AT + pulse:04X}", f"{four:04X}"))
    return table(("pulse", "one lane", f"four lanes of {length}"), rows)


def states_table() -> str:
    rows = ((number, f"`{name}`", text) for number, (name, text) in store_meanings.STATE_MEANINGS.items())
    return table(("state", "name", "meaning"), rows)


def events_table() -> str:
    rows = [(number, f"`{name}`", *rest) for number, (name, *rest) in sorted(store_meanings.EVENT_MEANINGS.items())]
    return table(("kind", "name", "entered when", "detail"), rows)


def new_meter() -> tuple[Fram, Fram, Settings]:
    """What a factory has made: memory, key memory, settings."""
    settings = Settings()
    memory = Fram(layouts.TALLY_AT + settings.lanes * settings.lane_length)
    key_memory = Fram(2 * layouts.COPY_SIZE)
    made = {"meter": "32060012345678", "region": 0x0021, "key_version": 1, "key": b"\x11" * 16}
    made |= {"tool_key": b"\x22" * 16, "register": 120, "index": 145}
    factory.create(memory, key_memory, settings, made)
    return memory, key_memory, settings


def factory_table() -> str:
    """What stands in a meter that has just been made: everything that is not 0."""
    memory, key_memory, _ = new_meter()
    rows = []
    pairs = (
        ("keys", key_memory, layouts.KEYS_AT),
        ("account", memory, layouts.ACCOUNT_AT),
        ("state", memory, layouts.STATE_AT),
        ("guards", memory, layouts.GUARDS_AT),
    )
    for name, part, places in pairs:
        pair = store.Pair(part, places, store_meanings.RECORDS[name])
        if not pair.load():
            raise SystemExit(f"the factory's {name} cannot be read")
        rows.append((f"{name}, both copies", said(pair.values)))
    small = [
        ("checkpoint", "checkpoint, slot 0", layouts.CHECKPOINT_AT[0]),
        ("lockout", "lockout, last of its entries", layouts.LOCKOUT_AT),
    ]
    for name, what, at in small:
        values = store.read_small(memory, at, store_meanings.RECORDS[name])
        if values is None:
            raise SystemExit(f"the factory's {name} cannot be read")
        rows.append((what, said(values)))
    tally = set(memory.cells[layouts.TALLY_AT :])
    rows.append(("tally, every place", ", ".join(f"{byte:02X}" for byte in tally)))
    return table(("record", "what is not 0"), rows)


def said(values: dict[str, object]) -> str:
    kept = []
    for name, value in values.items():
        if name == "crc" or value in (0, "0" * 10) or (isinstance(value, bytes) and not any(value)):
            continue
        kept.append(f"`{name}` as given" if isinstance(value, bytes) else f"`{name}` {value}")
    return ", ".join(kept)


def link_table() -> str:
    controls = (
        (link.READ, "read"),
        (link.READ_ADDRESS, "read address"),
        (link.WRITE, "write"),
        (link.WRITE_ADDRESS, "write address"),
        (link.SET_START_VALUE, "set start value"),
    )
    asked = ", ".join(f"{number:02X} {what}" for number, what in controls)
    least = link.Frame(0, 0, 0).encode(0)[10]
    rows = (
        ("0 or more", f"wake-up, {link.WAKE:02X}; {link.WAKE_BYTES} unless it is known that nobody sleeps"),
        (1, f"start, {link.START:02X}"),
        (1, f"type: {link.TYPE_GAS:02X}–{link.TYPE_GAS_LAST:02X} a gas meter, {link.TYPE_ANY:02X} any"),
        (link.METER_BYTES, "meter number, 14 BCD digits, **low byte first**; all AA is any meter"),
        (1, f"control: {asked}; an answer adds {link.ANSWER:02X}, an error {link.ANSWER | link.ERROR:02X}"),
        (1, f"length of what follows, up to the checksum: {least}–{least + link.MAX_BODY}"),
        (2, "identifier, **low byte first**"),
        (1, "serial number, repeated by the answer"),
        (f"0–{link.MAX_BODY}", "body"),
        (1, "checksum: sum of all bytes from the start mark, modulo 256"),
        (1, f"end, {link.END:02X}"),
    )
    return table(("bytes", "what"), rows)


def requests() -> dict[str, int]:
    """The bench's identifiers, by name."""
    kinds = vars(bench).items()
    return {name: value for name, value in kinds if isinstance(value, int) and 0xF000 <= value <= 0xF0FF}


def requests_table() -> str:
    rows = []
    for name, number in sorted(requests().items(), key=lambda item: item[1]):
        if name not in bench_meanings.REQUESTS:
            raise SystemExit(f"bench_meanings.py has no words for {name}")
        rows.append((f"{number:04X}", f"`{name}`", *bench_meanings.REQUESTS[name]))
    return table(("identifier", "name", "body", "answer"), rows)


def bodies_table() -> str:
    rows = []
    for name, layout in vars(bench).items():
        if not isinstance(layout, records.Layout) or any(layout is known for known in vars(layouts).values()):
            continue
        fields = ", ".join(f"`{field}` {records.kind_size(kind)}" for field, kind in layout)
        rows.append((f"`{name}`", records.size_of(layout), fields))
    return table(("body", "bytes", "fields and their bytes, in order"), rows)


def example(name: str) -> str:
    """The vector called by_hand of a record, byte by byte, at its place on the card."""
    cases = json.loads((ROOT / "protocol" / "vectors" / f"{name}.json").read_text(encoding="utf-8"))
    case = next(case for case in cases if case["name"] == "by_hand")
    raw = bytes.fromhex(case["frame"])
    layout = meanings.RECORDS[name]
    values = unpack(layout, raw, frames.HEAD)
    rows = []
    at = 0

    def row(size: int, what: str, value: object) -> None:
        nonlocal at
        rows.append((f"{case['at'] + at:02X}", f"`{raw[at : at + size].hex(' ').upper()}`", what, value))
        at += size

    row(1, "start", "")
    row(1, "kind", meanings.FRAME_KINDS[raw[1]][0])
    row(1, "length", raw[2])
    row(1, "version", raw[3])
    for field, kind in layout:
        value = values[field]
        row(records.kind_size(kind), f"`{field}`", value.hex() if isinstance(value, bytes) else value)
    row(8, "MAC", f"below Ko = `{case['keys']['Ko']}`" if name == "order" else "")
    row(2, "CRC", "of the bytes from the kind through the MAC")
    row(1, "end", "")
    return table(("address", "bytes", "what", "value"), rows)


def happenings_table() -> str:
    rows = sorted(bench_meanings.HAPPENINGS.items())
    return table(("number", "what happens"), rows)


def reads_table() -> str:
    rows = ((f"{number:04X}", f"`{name}`", *rest) for number, (name, *rest) in meanings.SERVICE_READS.items())
    return table(("identifier", "name", "中文", "body of the request", "body of the answer"), rows)


def errors_table() -> str:
    rows = ((number, f"`{name}`", text) for number, (name, text) in meanings.SERVICE_ERRORS.items())
    return table(("number", "name", "meaning"), rows)


def exchange() -> str:
    """READ_COUNTERS of a new meter: the request's bytes, and the answer's with what they say."""
    memory, key_memory, settings = new_meter()
    meter = Meter(memory, key_memory, ValveMotor(), CardSlot(), Panel(), settings)
    if meter.boot(EXAMPLE_MINUTES, 0):
        raise SystemExit("the new meter does not start")
    meter.battery(EXAMPLE_MV)
    number = bytes.fromhex(meter.keys.values["meter"])
    rows = []
    request = link.Frame(link.READ, service.READ_COUNTERS, 1, b"", number).encode()
    answer = Service(meter).receive(request)
    frame = link.Decoder().feed(answer)[0]
    for who, raw, body in (("request", request, []), ("answer", answer, list(service.COUNTERS))):
        at = 0

        def row(size: int, what: str, value: object = "") -> None:
            nonlocal at
            rows.append((who, f"`{raw[at : at + size].hex(' ').upper()}`", what, value))  # noqa: B023
            at += size

        row(link.WAKE_BYTES, "wake-up")
        row(1, "start")
        row(1, "type")
        row(link.METER_BYTES, "meter number", meter.keys.values["meter"])
        row(1, "control", "read" if who == "request" else "answer to a read")
        row(1, "length", raw[at])
        row(2, "identifier", f"{service.READ_COUNTERS:04X}")
        row(1, "serial number", raw[at])
        values = unpack(service.COUNTERS, frame.body) if body else {}
        for field, kind in body:
            row(records.kind_size(kind), f"`{field}`", values[field])
        row(1, "checksum")
        row(1, "end")
        if at != len(raw):
            raise SystemExit(f"the {who} has {len(raw)} bytes and {at} were told")
    return table(("frame", "bytes", "what", "value"), rows)


def shown(code: int) -> str:
    """A code as the display gives it."""
    return display.text(display.CODE, code, 0)


def told(reason: int) -> str:
    return f"`{meanings.STATUS_MEANINGS[reason][0]}`"


def guards_table() -> str:
    codes_of = dict(display.STANDING)
    rows = []
    for guard, (name, chinese, when, limits, reason) in sorted(behaviour_meanings.GUARD_MEANINGS.items()):
        what = (told(reason), shown(codes_of[reason])) if reason else ("nothing", "")
        rows.append((guard, f"{1 << guard:04X}", name, chinese, when, limits, *what))
    head = ("number", "bit", "guard", "中文", "trips when", "limits", "shuts as", "shows")
    return table(head, rows)


def pages() -> dict[int, str]:
    """Numbers and names of the pages."""
    return {getattr(display, name): name.lower() for name in behaviour_meanings.PAGE_NAMES}


def pages_table() -> str:
    names = pages()
    rows = ((f"`{names[page]}`", *words) for page, words in sorted(behaviour_meanings.PAGE_MEANINGS.items()))
    return table(("page", "digits", "when"), rows)


def presses_table() -> str:
    """What each press of the key turns to, asked of the firmware."""
    names = pages()
    rows = []
    for what, code in (("nothing with a code keeps it shut", codes.OK), ("a code is at rest", codes.MAGNET)):
        page, turned = display.REST, []
        while not turned or page != display.REST:
            page = display.turned(page, code)
            turned.append(f"`{names[page]}`")
        rows.append((f"one press after the other, {what}", ", ".join(turned)))
    others = [page for page in names if page not in range(display.REST, display.CLOCK + 1)]
    if any(display.turned(page, code) != display.REST for page in others for code in (codes.OK, codes.MAGNET)):
        raise SystemExit("the key no longer leads every other page to the one at rest")
    rows.append(("a press on " + ", ".join(f"`{names[page]}`" for page in others), f"`{names[display.REST]}`"))
    held = f"held for {display.SELF_TEST_MS // 1000} seconds, on any page"
    rows.append((held, f"`{names[display.TEST]}`, then `{names[display.CODE]}` with the self-test's result"))
    return table(("key", "turns to"), rows)


def symbols_table() -> str:
    rows = ((f"{bit:02X}", *words) for bit, words in behaviour_meanings.SYMBOL_MEANINGS.items())
    return table(("bit", "symbol", "lit when"), rows)


def beeps_table() -> str:
    rows = []
    for name, when in behaviour_meanings.BEEP_MEANINGS.items():
        lengths = [f"{'off' if place & 1 else 'on'} {10 * part}" for place, part in enumerate(getattr(display, name))]
        rows.append((when, ", ".join(lengths)))
    return table(("when", "pattern in ms"), rows)


def standing_table() -> str:
    """What keeps the valve shut and the code that tells people, the first that holds."""
    rows: list[tuple[object, ...]] = []
    for place, (reason, code) in enumerate(display.STANDING, 1):
        rows.append((place, told(reason), shown(code), f"`{meanings.CODES[code][0]}`"))
    stuck = codes.VALVE_STUCK
    rows.append((len(rows) + 1, told(records.STATUS_VALVE_FAULT), shown(stuck), f"`{meanings.CODES[stuck][0]}`"))
    return table(("", "status bit", "shows", "code"), rows)


def codes_told_table() -> str:
    rows = ((shown(number), english, chinese, do) for number, (_, english, chinese, do) in meanings.CODES.items())
    return table(("shows", "English", "中文", "what to do"), rows)


SPEC_TABLES: Tables = {
    "areas": area_table,
    "identity": lambda: record("identity"),
    "card_kinds": lambda: kinds(meanings.CARD_KINDS),
    "frame_kinds": lambda: kinds(meanings.FRAME_KINDS),
    "order": lambda: record("order"),
    "order_flags": lambda: bits(meanings.FLAG_MEANINGS, 2),
    "report": lambda: record("report"),
    "tool_areas": tool_area_table,
    "transfer": lambda: record("transfer"),
    "management": lambda: record("management"),
    "setting": lambda: record("setting"),
    "setting_bits": lambda: bits(meanings.SETTING_MEANINGS, 2),
    "key_block": lambda: record("key"),
    "status_bits": lambda: bits(meanings.STATUS_MEANINGS, 6),
    "judging": judging_table,
    "codes": codes_table,
    "link": link_table,
    "service_reads": reads_table,
    "counters": lambda: fields_table(service.COUNTERS, meanings.COUNTER_MEANINGS),
    "service_errors": errors_table,
    "exchange": exchange,
    "memory": memory_table,
    "key_memory": key_memory_table,
    "tally": tally_table,
    **{name: lambda name=name: store_record(name) for name in store_meanings.RECORDS},
    "states": states_table,
    "events": events_table,
    "factory": factory_table,
    "requests": requests_table,
    "happenings": happenings_table,
    "bodies": bodies_table,
    "example": lambda: example("order"),
}

BEHAVIOUR_TABLES: Tables = {
    "guards_told": guards_table,
    "pages": pages_table,
    "presses": presses_table,
    "symbols": symbols_table,
    "beeps": beeps_table,
    "standing": standing_table,
    "codes_told": codes_told_table,
}

DOCUMENTS = {HERE / "SPEC.md": SPEC_TABLES, HERE / "meter-behaviour.md": BEHAVIOUR_TABLES}


def filled(name: str, text: str, tables: Tables) -> str:
    """The text of the document ``name`` with every table made anew."""
    named = [mark[1] for mark in MARK.finditer(text)]
    if sorted(named) != sorted(tables):
        wrong = set(named) ^ set(tables) or {mark for mark in named if named.count(mark) > 1}
        raise SystemExit(f"{name} and its tables disagree about: {', '.join(sorted(wrong))}")
    return MARK.sub(lambda mark: f"<!-- table:{mark[1]} -->\n\n{tables[mark[1]]()}\n<!-- end -->", text)


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        print("usage: generate_spec.py [--check]")
        return 2
    stale = 0
    for document, tables in DOCUMENTS.items():
        old = document.read_text(encoding="utf-8")
        new = filled(document.name, old, tables)
        if not arguments:
            document.write_text(new, encoding="utf-8")
        elif old != new:
            print(f"docs/{document.name} is stale: run python docs/generate_spec.py")
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
