"""``icgas card show``: any card image as tables a person can read, or as JSON.

Every part, every field with its unit, every verdict, and in plain words what is wrong with a damaged card.
The words come from ``gascard.meanings``, the judgement from ``gashall.encode``; here they are only laid
out.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from gascard import codes
from gascard.chip import DUMP_SIZE
from gascard.meanings import CARD_KINDS, FIELD_MEANINGS, FLAG_MEANINGS, FRAME_KINDS, STATUS_MEANINGS
from gascard.records import IDENTITY_AT, IMAGE_SIZE, SPARE_AT
from gascard.sle4442 import tries_left
from gashall import units
from gashall.encode import IDENTITY_SIZE, Card, Part, decode_card
from gashall.errors import GasError, words
from gashall.signer import KeyFileSigner, Signer

FINE = 0
DAMAGED = 1
UNUSABLE = 2

NOT_CHECKED = "not checked"
NOT_REACHED = "not reached"


def command(argv: list[str]) -> int:
    """``icgas card …``: exit code 0 if the card is fine or blank, 1 if it is not, 2 for no card image."""
    parser = argparse.ArgumentParser(prog="icgas card", description="Look at card images.")
    actions = parser.add_subparsers(dest="action", required=True)
    show_parser = actions.add_parser("show", help="show a card image")
    show_parser.add_argument(
        "image",
        metavar="IMAGE",
        type=Path,
        help="file of 256 bytes (or 264), or a .json file of test vectors",
    )
    show_parser.add_argument("--meanings", action="store_true", help="say what each field means")
    show_parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    show_parser.add_argument("--key", metavar="FILE", type=Path, help="key file of the region: MACs are checked")
    show_parser.add_argument(
        "--key-version",
        metavar="N",
        type=int,
        choices=range(256),
        help="version of the meter's keys, if the order does not tell",
    )
    show_parser.add_argument("--vector", metavar="NAME", help="the case of a .json file to show")
    try:
        arguments = parser.parse_args(argv)
    except SystemExit as stop:
        return UNUSABLE if stop.code else FINE
    try:
        image, signer, key_version = _load(arguments.image, arguments.vector)
        if arguments.key is not None:
            signer = KeyFileSigner.load(arguments.key)
        if arguments.key_version is not None:
            key_version = arguments.key_version
        description = describe(image, signer, key_version)
    except GasError as error:
        print(f"icgas card show: {error}", file=sys.stderr)
        return UNUSABLE
    except OSError as error:
        print(f"icgas card show: {arguments.image} cannot be read: {error.strerror}.", file=sys.stderr)
        return UNUSABLE
    except ValueError as error:
        print(f"icgas card show: {error}", file=sys.stderr)
        return UNUSABLE
    if arguments.json:
        print(json.dumps(description, ensure_ascii=False, indent=2))
    else:
        _print(description, arguments.meanings)
    return DAMAGED if description["problems"] else FINE


def describe(image: bytes, signer: Signer | None = None, key_version: int | None = None) -> dict[str, Any]:
    """All there is to say about a card image of 256 or 264 bytes, as JSON holds it.

    Keys: ``verdict`` ("fine", "blank" or "damaged"), ``problems``, ``parts``, ``newest_report``, ``spare``
    and, for 264 bytes, ``security``. RequestError IMAGE_SIZE for another size.
    """
    card = decode_card(image, signer, key_version=key_version)
    weight = _weight(card)
    problems = _problems(card)
    description: dict[str, Any] = {
        "size": len(image),
        "verdict": "damaged" if problems else "blank" if card.blank else "fine",
        "problems": problems,
        "parts": [_describe_part(part, signer is not None, weight) for part in card.parts],
        "newest_report": None if card.newest_report is None else card.newest_report.name,
        "spare": card.image[SPARE_AT:].hex(),
    }
    if len(image) == DUMP_SIZE:
        bits = int.from_bytes(image[IMAGE_SIZE : IMAGE_SIZE + 4], "little")
        counter = image[IMAGE_SIZE + 4]
        description["security"] = {
            "protected": [i for i in range(32) if not bits >> i & 1],
            "identity_protected": not bits >> IDENTITY_AT & (1 << IDENTITY_SIZE) - 1,
            "error_counter": counter & 7,
            "tries_left": tries_left(counter),
        }
    return description


def _load(path: Path, vector: str | None) -> tuple[bytes, Signer | None, int | None]:
    """The image in a file, and for a test vector the signer of its keys and their version."""
    if path.suffix != ".json":
        with path.open("rb") as file:
            return file.read(DUMP_SIZE + 1), None, None
    content = json.loads(path.read_text(encoding="utf-8"))
    cases = {
        str(case.get("name")): case
        for case in (content if isinstance(content, list) else [content])
        if isinstance(case, dict) and isinstance(case.get("image"), str)
    }
    if vector is None and len(cases) == 1:
        vector = next(iter(cases))
    if vector not in cases:
        raise ValueError(f"{path} has no case {vector!r}; --vector names one of: {', '.join(cases) or 'none'}.")
    case = cases[vector]
    keys = case.get("keys")
    image = bytes.fromhex(case["image"])
    if not isinstance(keys, dict):
        return image, None, None
    return image, KeyFileSigner(bytes.fromhex(keys["root"]), keys["region"]), keys.get("key_version")


def _problems(card: Card) -> list[dict[str, Any]]:
    found: list[tuple[str, int, str]] = []
    if card.chip_code:
        found.append(("chip", card.chip_code, f"it begins with {card.image[:4].hex(' ')}"))
    for part in card.parts:
        if part.code:
            found.append((part.name, part.code, _how(part)))
    if card.region_code:
        found.append(("identity", card.region_code, "the key is of another region"))
    if not card.identity.written and not card.blank:
        found.append(("identity", codes.NOT_OURS, "the place is blank, though other parts are written"))
    problems = []
    for part_name, code, how in found:
        name, english, chinese, remedy = words(code)
        problems.append(
            {
                "part": part_name,
                "code": code,
                "name": name,
                "message": f"{english} ({how})" if how else english,
                "message_zh": chinese,
                "remedy": remedy,
            }
        )
    return problems


def _how(part: Part) -> str:
    """What of the bytes shows the damage, as far as it can be told."""
    raw = part.raw
    blank_tail = len(raw) - len(raw.rstrip(b"\xff"))
    if part.code in (codes.SHAPE, codes.CRC) and blank_tail >= 3:
        return f"only the first {len(raw) - blank_tail} of {len(raw)} bytes are written: the card was pulled"
    if part.code == codes.VERSION:
        return f"format {raw[1] if part.record == 'identity' else raw[3]}"
    if part.code == codes.KIND:
        return f"kind {part.kind:#04x}"
    if part.code == codes.NOT_OURS:
        return f"it begins with {raw[0]:02x} instead of 69"
    if part.code == codes.SHAPE and part.record != "identity":
        if raw[0] != 0x68:
            return f"it begins with {raw[0]:02x} instead of 68"
        if part.crc == codes.OK:
            return "a field holds what no field of its kind can hold"
        if raw[2] != len(raw) - 15:
            return f"its length says {raw[2]} instead of {len(raw) - 15}"
        return f"it ends with {raw[-1]:02x} instead of 16"
    return ""


def _describe_part(part: Part, with_key: bool, weight: int | None) -> dict[str, Any]:
    kinds = CARD_KINDS if part.record == "identity" else FRAME_KINDS
    kind = kinds[part.kind][1] if part.written and part.values is not None else None
    verdicts = {}
    if part.written:
        verdicts = {
            "shape": _verdict(part.shape),
            "crc": _verdict(part.crc),
            "version": _verdict(part.version),
        }
        if part.record != "identity":
            verdicts["mac"] = _verdict(part.mac) if with_key else NOT_CHECKED
    meanings = FIELD_MEANINGS[part.record]
    return {
        "name": part.name,
        "record": part.record,
        "at": part.at,
        "size": len(part.raw),
        "written": part.written,
        "kind": kind,
        "verdicts": verdicts,
        "fields": {
            name: {
                "value": value.hex() if isinstance(value, bytes) else value,
                "text": _text(part.record, name, value, meanings[name][0], weight),
                "unit": meanings[name][0],
                "meaning": meanings[name][1],
            }
            for name, value in (part.values or {}).items()
        },
        "raw": part.raw.hex(),
    }


def _verdict(code: int | None) -> str:
    return NOT_REACHED if code is None else words(code)[0]


def _weight(card: Card) -> int | None:
    """The pulse weight the card's order names, None if it names none a meter has."""
    weight = None if card.order.values is None else card.order.values["pulse_weight"]
    return weight if weight in units.PULSE_WEIGHTS else None


def _text(record: str, name: str, value: Any, unit: str, weight: int | None) -> str:
    """A value as a person reads it: volumes in m³ beside pulses, times as dates, sums of bits by name."""
    if unit == "pulse" and weight is not None:
        return f"{value} ({units.volume(value, weight)} m³)"
    if unit.startswith("min since"):
        try:
            return units.moment(value).strftime("%Y-%m-%d %H:%M UTC")
        except GasError:
            return f"{value} (beyond the calendar)"
    if unit == "bits":
        names = FLAG_MEANINGS if name == "flags" else STATUS_MEANINGS
        known = [words for bit, (words, _) in names.items() if value & bit]
        return f"{value:#x}" + (f" ({', '.join(known)})" if known else "")
    if unit == "20 mV":
        return f"{value} ({value / 50:.2f} V)" if value else "0 (not measured)"
    if isinstance(value, bytes):
        return value.hex(" ")
    if name in ("mark", "crc", "region"):
        return f"{value} ({value:#06x})" if name != "mark" else f"{value:#04x}"
    if record == "identity" and name == "kind":
        return f"{value} ({CARD_KINDS[value][0]})"
    if name == "last_code":
        try:
            return f"{value} ({words(-value)[0]})"
        except KeyError:
            return f"{value} (unknown)"
    return str(value)


def _print(description: dict[str, Any], meanings: bool) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    for part in description["parts"]:
        place = f"{part['name']} at 0x{part['at']:02X}, {part['size']} bytes"
        if not part["written"]:
            console.print(f"[bold]{place}[/]: not written\n")
            continue
        verdicts = ", ".join(f"{check} {verdict}" for check, verdict in part["verdicts"].items())
        table = Table(title=escape(f"{place}: {part['kind'] or 'not readable'}"), title_justify="left")
        table.caption = escape(verdicts)
        table.caption_justify = "left"
        if part["fields"]:
            for column in ("field", "value", "unit", "meaning")[: 4 if meanings else 3]:
                table.add_column(column, overflow="fold")
            for name, field in part["fields"].items():
                row = (name, escape(field["text"]), field["unit"], escape(field["meaning"]))
                table.add_row(*row[: 4 if meanings else 3])
        else:
            table.add_column("bytes", overflow="fold")
            table.add_row(bytes.fromhex(part["raw"]).hex(" "))
        console.print(table, "")
    spare = description["spare"]
    console.print(f"spare at 0x{SPARE_AT:02X}: {'not written' if not spare.strip('f') else spare}", highlight=False)
    if "security" in description:
        security = description["security"]
        console.print(
            f"protected bytes: {', '.join(map(str, security['protected'])) or 'none'}\n"
            f"password tries left: {security['tries_left']} (error counter {security['error_counter']:02x})",
            highlight=False,
        )
    if description["newest_report"] is not None:
        console.print(f"newest report: {description['newest_report']}", highlight=False)
    if not description["problems"]:
        blank = description["verdict"] == "blank"
        console.print("The card is blank." if blank else "The card is fine.", highlight=False)
    for problem in description["problems"]:
        console.print(
            f"[bold red]{problem['part']}: {problem['name']}[/] {escape(problem['message'])}\n"
            f"  {escape(problem['remedy'])}",
            highlight=False,
        )
