"""``icgas card show``: any card image as tables a person can read, or as JSON.

Every part, every field with its unit, every verdict, and in plain words what is wrong with a damaged card.
The words come from ``gascard.meanings``, the judgement from ``gashall.encode``; here they are only laid
out.
"""

import argparse
import contextlib
import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

from gascard import codes
from gascard.chip import DEFAULT_PSC, DUMP_SIZE
from gascard.frames import HEAD
from gascard.meanings import (
    CARD_KINDS,
    FIELD_MEANINGS,
    FLAG_MEANINGS,
    FRAME_KINDS,
    RECORDS,
    SECRET_FIELDS,
    SETTING_MEANINGS,
    STATUS_MEANINGS,
)
from gascard.records import IDENTITY_AT, IMAGE_SIZE, SPARE_AT, kind_size, offset_of
from gascard.sle4442 import ATR, tries_left
from gascard.tools import ANY
from gashall import errors, passphrase, units
from gashall.encode import IDENTITY_SIZE, Card, Part, decode_card, remaining
from gashall.errors import GasError, words
from gashall.files import open_regular
from gashall.readers.file import SIDECAR, SIDECAR_SIZE
from gashall.signer import KeyFileSigner, Signer

FINE = 0
DAMAGED = 1
UNUSABLE = 2

NOT_CHECKED = "not checked"
NOT_REACHED = "not reached"
HIDDEN = "xx"  # a byte of a masked key or password

VECTORS_MOST = 1 << 24  # bytes of a file of test vectors
NAMES_SHOWN = 8


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
        help="version of the meter's keys, 1 to 255, if the order does not tell",
    )
    show_parser.add_argument("--vector", metavar="NAME", help="the case of a .json file to show")
    try:
        arguments = parser.parse_args(argv)
    except SystemExit as stop:
        return UNUSABLE if stop.code else FINE
    try:
        told_version = None if arguments.key_version is None else _key_version(arguments.key_version)
        image, signer, key_version = _load(arguments.image, arguments.vector)
        if arguments.key is not None:
            signer = KeyFileSigner.load(arguments.key, partial(passphrase.of_key_file, arguments.key))
        description = describe(image, signer, told_version or key_version)
    except OSError as error:
        return _complain(f"{error.filename or arguments.image} cannot be read: {error.strerror}.")
    except (GasError, ValueError) as error:
        return _complain(str(error))
    if sys.stdout is None:
        _complain("the output cannot be written: standard output is closed.")
        return DAMAGED
    encoding = sys.stdout.encoding or "utf-8"
    try:
        if arguments.json:
            plain = not encoding.lower().startswith("utf")
            text = json.dumps(description, ensure_ascii=plain, indent=2) + "\n"
        else:
            text = _tables(description, arguments.meanings)
        sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
        sys.stdout.flush()
    except OSError as error:
        _complain(f"the output cannot be written: {error.strerror}.")
        with contextlib.suppress(OSError):  # what is still buffered would fail once more at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DAMAGED
    return DAMAGED if description["problems"] else FINE


def _complain(message: str) -> int:
    print(f"icgas card show: {message}", file=sys.stderr)
    return UNUSABLE


def _key_version(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 4 and 1 <= int(text) <= 0xFF):
        raise ValueError(f"--key-version is 1 to 255, not {text[:20]}.")
    return int(text)


def describe(image: bytes, signer: Signer | None = None, key_version: int | None = None) -> dict[str, Any]:
    """All there is to say about a card image of 256 or 264 bytes, as JSON holds it.

    Keys: ``verdict`` ("fine", "blank", "damaged", or "foreign": no card of this system, or of another region than
    the key), ``problems``, ``parts``, ``newest_report``, ``spare`` and, for 264 bytes, ``security``. RequestError
    IMAGE_SIZE for another size.
    """
    card = decode_card(image, signer, key_version=key_version)
    mac_unchecked = NOT_CHECKED if signer is None else ""
    problems: list[dict[str, Any]] = []
    if signer is not None and card.region_code:
        # A key of another region says nothing about a MAC: it would call every one of them forged.
        mac_unchecked = f"{NOT_CHECKED}: the key is of region {signer.region:#06x}"
        message = f"The card is of another region than the key, {signer.region:#06x}; no MAC was checked."
        problems = [_problem("identity", card.region_code, message, "Use the key file of the card's region.")]
        card = decode_card(image)
    weight = _weight(card)
    foreign = _foreign(card)
    damages = foreign or _problems(card)
    problems += damages
    verdict = "foreign" if foreign or (problems and not damages) else "damaged" if problems else ""
    description: dict[str, Any] = {
        "size": len(image),
        "verdict": verdict or ("blank" if card.blank else "fine"),
        "problems": problems,
        "parts": [_describe_part(part, mac_unchecked, weight) for part in card.parts],
        "newest_report": None if card.newest_report is None else card.newest_report.name,
        "spare": card.image[SPARE_AT:].hex(),
    }
    if len(image) == DUMP_SIZE:
        bits = int.from_bytes(image[IMAGE_SIZE : IMAGE_SIZE + 4], "little")
        counter, psc = image[IMAGE_SIZE + 4], image[IMAGE_SIZE + 5 :]
        description["security"] = {
            "protected": [i for i in range(32) if not bits >> i & 1],
            "identity_protected": not bits >> IDENTITY_AT & (1 << IDENTITY_SIZE) - 1,
            "error_counter": counter & 7,
            "tries_left": tries_left(counter),
            # Never the password itself. A chip whose password was not presented gives zeros for it.
            "password": "the maker's" if psc == DEFAULT_PSC else "changed" if any(psc) else "not told",
        }
    return description


def _load(path: Path, vector: str | None) -> tuple[bytes, Signer | None, int | None]:
    """The image in a file, and for a test vector the signer of its keys and their version."""
    if path.suffix == ".json":
        return _load_vector(path, vector)
    if vector is not None:
        raise ValueError(f"--vector names a case of a .json file; {path} is none.")
    image = _content(path, DUMP_SIZE, "a card image has 256 bytes, or 264")
    sidecar = path.with_name(path.name + SIDECAR)
    if len(image) == IMAGE_SIZE and sidecar.is_file():
        beside = sidecar.read_bytes() if sidecar.stat().st_size == SIDECAR_SIZE else b""
        if not beside:
            _complain(f"{sidecar} has not {SIDECAR_SIZE} bytes and is not shown.")
        image += beside
    elif len(image) not in (IMAGE_SIZE, DUMP_SIZE):
        raise GasError(errors.IMAGE_SIZE, f"{path} has {len(image)} bytes; a card image has 256, or 264.")
    return image, None, None


def _content(path: Path, most: int, rule: str) -> bytes:
    """A regular file's bytes; nothing that never ends, waits for a writer or is larger than ``most``."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise GasError(errors.IMAGE_SIZE, f"{path} has {size} bytes; {rule}.")
        return file.read(most)


def _load_vector(path: Path, vector: str | None) -> tuple[bytes, Signer | None, int | None]:
    data = _content(path, VECTORS_MOST, f"a file of test vectors has at most {VECTORS_MOST}")
    try:
        content = json.loads(data)
        cases = {
            str(case.get("name")): case
            for case in (content if isinstance(content, list) else [content])
            if isinstance(case, dict) and isinstance(case.get("image"), str)
        }
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is no JSON: look at line {error.lineno}, column {error.colno}.") from None
    except (ValueError, RecursionError):
        raise ValueError(f"{path} is no JSON text.") from None
    if not cases:
        raise ValueError(f"{path} has no card images.")
    if vector is None and len(cases) == 1:
        vector = next(iter(cases))
    if vector not in cases:
        more = len(cases) - NAMES_SHOWN
        names = ", ".join(list(cases)[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
        asked = f"has no case {vector!r}" if vector else f"has {len(cases)} cases"
        raise ValueError(f"{path} {asked}; --vector names one of: {names}.")
    case = cases[vector]
    try:
        image = bytes.fromhex(case["image"])
    except ValueError:
        raise ValueError(f"{path}, case {vector}: the image is not hexadecimal.") from None
    if len(image) not in (IMAGE_SIZE, DUMP_SIZE):
        raise GasError(
            errors.IMAGE_SIZE, f"{path}, case {vector}: the image has {len(image)} bytes; it should be 256, or 264."
        )
    keys = case.get("keys")
    if keys is None:
        return image, None, None
    try:
        key_version = keys.get("key_version")
        if key_version is not None:
            units.whole(key_version, "key_version", 0, 0xFF)
        return image, KeyFileSigner(bytes.fromhex(keys["root"]), keys["region"]), key_version
    except (AttributeError, KeyError, TypeError, ValueError, GasError):
        raise ValueError(f"{path}, case {vector}: its keys cannot be used.") from None


def _foreign(card: Card) -> list[dict[str, Any]]:
    """One problem for bytes that are nothing of ours at all, instead of one for each place in them."""
    unmarked = card.identity.code == codes.NOT_OURS or (card.chip_code and not card.identity.written)
    if not unmarked or any(part.whole for part in card.parts):
        return []
    message = "These bytes are no card of this system: nothing in them can be read"
    if card.chip_code:
        message += f", and they begin with {card.image[:4].hex(' ')} instead of {ATR.hex(' ')}"
    remedy = "Look whether this is the right file, and whether the reader gave all of the card."
    return [_problem("card", card.chip_code or codes.NOT_OURS, f"{message}.", remedy)]


def _problems(card: Card) -> list[dict[str, Any]]:
    found: list[tuple[str, int, str]] = []
    if card.chip_code:
        found.append(("chip", card.chip_code, f"it begins with {card.image[:4].hex(' ')}"))
    for part in card.parts:
        if part.code:
            found.append((part.name, part.code, _how(part)))
    if not card.identity.written and not card.blank:
        found.append(("identity", codes.NOT_OURS, "the place is blank, though other parts are written"))
    problems = []
    for part_name, code, how in found:
        english = words(code)[1]
        problems.append(_problem(part_name, code, f"{english} ({how})" if how else english))
    return problems


def _problem(part: str, code: int, message: str, remedy: str = "") -> dict[str, Any]:
    name, _, chinese, next_step = words(code)
    return {
        "part": part,
        "code": code,
        "name": name,
        "message": message,
        "message_zh": chinese,
        "remedy": remedy or next_step,
    }


def _how(part: Part) -> str:
    """What of the bytes shows the damage, as far as it can be told."""
    raw = part.raw
    blank_tail = len(raw) - len(raw.rstrip(b"\xff"))
    if part.code in (codes.SHAPE, codes.CRC) and blank_tail >= 3:
        return f"only the first {len(raw) - blank_tail} of {len(raw)} bytes are written: the card was pulled"
    if part.code == codes.VERSION:
        return f"format {raw[1] if part.record == 'identity' else raw[3]}"
    if part.code == codes.KEY_VERSION:
        return "here the report, made before the meter had the keys of the card's order"
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


def _describe_part(part: Part, mac_unchecked: str, weight: int | None) -> dict[str, Any]:
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
            verdicts["mac"] = mac_unchecked or _mac_verdict(part)
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
                "value": _masked(value) if isinstance(value, bytes) else value,
                "text": _text(part.record, name, value, meanings[name][0], weight),
                "unit": meanings[name][0],
                "meaning": meanings[name][1],
            }
            for name, value in (part.values or {}).items()
        },
        "derived": _derived(part, weight),
        "raw": "".join(_raw(part)),
    }


def _raw(part: Part) -> list[str]:
    """The bytes of a part in hexadecimal, HIDDEN where its table has a masked key or password."""
    shown = [f"{byte:02x}" for byte in part.raw]
    if part.written:
        layout = RECORDS[part.record]
        for name in SECRET_FIELDS.get(part.record, ()):
            at = HEAD + offset_of(layout, name)
            size = len(shown[at : at + kind_size(dict(layout)[name])])
            shown[at : at + size] = [HIDDEN] * size
    return shown


def _masked(value: bytes) -> str:
    return f"masked, {len(value)} bytes"


def _mac_verdict(part: Part) -> str:
    # The MAC of a key block is made below a key that neither the card nor the region's root tells.
    return NOT_CHECKED if part.mac is None and part.values is not None else _verdict(part.mac)


def _derived(part: Part, weight: int | None) -> dict[str, Any]:
    """What follows from a part's fields and is no field itself."""
    if part.record != "report" or part.values is None:
        return {}
    left = remaining(part.values)
    return {
        "remaining": {
            "value": left,
            "text": _text(part.record, "remaining", left, "pulse", weight),
            "unit": "pulse",
            "meaning": "Gas left on the meter: bought total less used less correction total; below 0 is overdraft.",
        }
    }


def _verdict(code: int | None) -> str:
    return NOT_REACHED if code is None else words(code)[0]


def _weight(card: Card) -> int | None:
    """The pulse weight the card's order names, None if it names none a meter has."""
    order = card.transfer_in or card.order
    weight = None if order.values is None else order.values.get("pulse_weight")
    return weight if weight in units.PULSE_WEIGHTS else None


_BITS = {"flags": FLAG_MEANINGS, "status": STATUS_MEANINGS, "what": SETTING_MEANINGS}


def _text(record: str, name: str, value: Any, unit: str, weight: int | None) -> str:
    """A value as a person reads it: volumes in m³ beside pulses, times as dates, sums of bits by name."""
    if unit == "pulse" and weight is not None:
        return f"{value} ({units.volume(value, weight)} m³)"
    if name == "expires" and not value:
        return "never"
    if unit.startswith("min since"):
        try:
            return units.moment(value).strftime("%Y-%m-%d %H:%M UTC")
        except GasError:
            return f"{value} (beyond the calendar)"
    if unit == "bits":
        names = _BITS.get(name, {})
        known = [words for bit, (words, _) in names.items() if value & bit]
        return f"{value:#x}" + (f" ({', '.join(known)})" if known else "")
    if unit == "20 mV":
        return f"{value} ({value / 50:.2f} V)" if value else "0 (not measured)"
    if isinstance(value, bytes):
        return _masked(value)
    if name in ("mark", "crc", "region"):
        return f"{value} ({value:#06x})" if name != "mark" else f"{value:#04x}"
    if record == "identity" and name == "kind":
        return f"{value} ({CARD_KINDS[value][0]})"
    if record == "setting" and name == "meter" and value == ANY:
        return f"{value} (every meter of the region)"
    if name == "versions":
        return f"{value:#04x} ({value & 15} to {value >> 4})"
    if name == "last_code":
        try:
            return f"{value} ({words(-value)[0]})"
        except KeyError:
            return f"{value} (unknown)"
    return str(value)


def _tables(description: dict[str, Any], meanings: bool) -> str:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    with console.capture() as capture:
        for part in description["parts"]:
            place = f"{part['name']} at 0x{part['at']:02X}, {part['size']} bytes"
            if not part["written"]:
                console.print(f"[bold]{place}[/]: not written\n", highlight=False)
                continue
            verdicts = ", ".join(f"{check} {verdict}" for check, verdict in part["verdicts"].items())
            kind = escape(part["kind"] or "not readable")
            console.print(f"[bold]{place}[/]: {kind}\n{escape(verdicts)}", highlight=False)
            table = Table()
            if part["fields"]:
                for column in ("field", "value", "unit", "meaning")[: 4 if meanings else 3]:
                    table.add_column(column, overflow="fold")
                for name, field in (part["fields"] | part["derived"]).items():
                    row = (name, escape(field["text"]), field["unit"], escape(field["meaning"]))
                    table.add_row(*row[: 4 if meanings else 3])
            else:
                table.add_column("bytes", overflow="fold")
                table.add_row(" ".join(part["raw"][i : i + 2] for i in range(0, len(part["raw"]), 2)))
            console.print(table, "")
        spare = description["spare"]
        console.print(f"spare at 0x{SPARE_AT:02X}: {'not written' if not spare.strip('f') else spare}", highlight=False)
        if "security" in description:
            security = description["security"]
            console.print(
                f"protected bytes: {', '.join(map(str, security['protected'])) or 'none'}\n"
                f"password: {security['password']}\n"
                f"password tries left: {security['tries_left']} (error counter {security['error_counter']:02x})",
                highlight=False,
            )
        if description["newest_report"] is not None:
            console.print(f"newest report: {description['newest_report']}", highlight=False)
        if not description["problems"]:
            console.print(f"The card is {description['verdict']}.", highlight=False)
        for problem in description["problems"]:
            console.print(
                f"[bold red]{problem['part']}: {problem['name']}[/] {escape(problem['message'])}\n"
                f"  {escape(problem['remedy'])}",
                highlight=False,
            )
    return capture.get()
