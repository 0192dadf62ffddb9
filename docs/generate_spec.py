"""Fill the tables of SPEC.md from the code, or with ``--check`` say whether they are stale.

In SPEC.md a table stands between ``<!-- table:NAME -->`` and ``<!-- end -->``; NAME is a key of TABLES. A new
record is one line there.
"""

import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT / "protocol"), str(ROOT / "firmware")]

from gascard import codes, frames, meanings, records  # noqa: E402
from gascard.codec import unpack  # noqa: E402

SPEC = HERE / "SPEC.md"
MARK = re.compile(r"<!-- table:(\S+) -->\n(.*?)<!-- end -->", re.DOTALL)

Layout = Sequence[tuple[str, int]]
Words = dict[str, tuple[str, str]]

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
    rows = (
        (f"{number:02X}", f"`{name}`", english, chinese) for number, (name, english, chinese) in words.items()
    )
    return table(("number", "name", "English", "中文"), rows)


def codes_table() -> str:
    rows = [(number, f"`{name}`", *rest) for number, (name, *rest) in meanings.CODES.items()]
    return table(("code", "name", "what it means", "中文", "what to do next"), rows)


def judging_table() -> str:
    rows = []
    for place, code in enumerate(codes.JUDGING_ORDER, 1):
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
        *(
            (at, report, f"report slot {slot}, written by the meter")
            for slot, at in enumerate(records.REPORT_AT)
        ),
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


TABLES: dict[str, Callable[[], str]] = {
    "areas": area_table,
    "identity": lambda: record("identity"),
    "card_kinds": lambda: kinds(meanings.CARD_KINDS),
    "frame_kinds": lambda: kinds(meanings.FRAME_KINDS),
    "order": lambda: record("order"),
    "order_flags": lambda: bits(meanings.FLAG_MEANINGS, 2),
    "report": lambda: record("report"),
    "status_bits": lambda: bits(meanings.STATUS_MEANINGS, 6),
    "judging": judging_table,
    "codes": codes_table,
    "example": lambda: example("order"),
}


def filled(text: str) -> str:
    """The text of SPEC.md with every table made anew."""
    named = [mark[1] for mark in MARK.finditer(text)]
    if sorted(named) != sorted(TABLES):
        wrong = set(named) ^ set(TABLES) or {name for name in named if named.count(name) > 1}
        raise SystemExit(f"SPEC.md and TABLES disagree about: {', '.join(sorted(wrong))}")
    return MARK.sub(lambda mark: f"<!-- table:{mark[1]} -->\n\n{TABLES[mark[1]]()}\n<!-- end -->", text)


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        print("usage: generate_spec.py [--check]")
        return 2
    old = SPEC.read_text(encoding="utf-8")
    new = filled(old)
    if not arguments:
        SPEC.write_text(new, encoding="utf-8")
    elif old != new:
        print("docs/SPEC.md is stale: run python docs/generate_spec.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
