"""``icgas fuzz``: hostile bytes for every decoder, on the meter's side and on the hall's.

The meter's decoders are in ``gasrig.hostile`` and run on every target; the hall's are here. Both go by name, take
bytes and either tell a documented outcome or raise. Inputs come from the corpus (``tests/fuzz``) and from genuine
cards, changed by somebody who knows the layouts: CRCs are mended, orders signed anew, so that the changes get past
the checks. Where atheris is installed its coverage decides which inputs are worth going on from; without it the
changes are drawn blindly.
"""

import argparse
import atexit
import contextlib
import functools
import importlib
import importlib.util
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from binascii import crc32
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC
from decimal import Decimal, DecimalException
from fractions import Fraction
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from gascard import codes, frames, link, meanings, tools
from gascard.chip import DUMP_SIZE, Chip
from gascard.keys import derive
from gascard.records import (
    CARD_CUSTOMER,
    CARD_TEST,
    FLAG_REFUND,
    IDENTITY,
    IDENTITY_AT,
    IMAGE_SIZE,
    ORDER,
    ORDER_AT,
    ORDER_OPENING,
    REPORT,
    REPORT_AT,
    REPORT_DATA,
    TOTAL_MAX,
    Layout,
    kind_size,
    offset_of,
    size_of,
)
from gashall import encode, errors, units, viewer
from gashall.errors import CardError, GasError, RequestError
from gashall.keyfile import KEY_FILE_MOST, PLAIN
from gashall.readers.file import SIDECAR, FileReader
from gashall.signer import KeyFileSigner
from gasrig import hostile
from gasrig.hostile import CARD, KEY_VERSION, METER, MINUTES, PSC, REGION, ROOT, Undocumented
from meter.layouts import ACCOUNT, CHECKPOINT, COPY_SIZE, EVENT, KEYS, LOCKOUT, STATE
from meter.store import MARKERS

__all__ = ["Finding", "Outcome", "Trace", "command", "corpus", "decoders", "feed", "fuzz", "mutate", "reduced", "seeds"]

INPUTS = 300_000
INPUTS_MOST = 1_000_000_000
SEED = 1
FOUND = 3  # exit code: an outcome nobody documented
UNUSABLE = 2  # exit code: what was asked for cannot be run
CORPUS = Path("tests", "fuzz")
FAILURES = Path("build", "fuzz")
PACK = ".pack"
HANG_SECONDS = 20  # a guard against an input that never ends; no measure of anything
MEMORY_MB = 1024  # of the process under atheris
NO_ATHERIS = (
    "not coverage-guided: atheris is not installed (pip install 'icgas[fuzz]'); inputs are changed blindly, "
    "with CRCs and MACs mended"
)

# Of a million inputs, so many to each decoder: most to those that take microseconds.
SHARES = {
    "codec": 314_000,
    "frames": 170_000,
    "link": 150_000,
    "judge": 150_000,
    "units": 100_000,
    "hall": 50_000,
    "engines": 10_000,
    "card": 12_000,
    "emulator": 12_000,
    "boot": 12_000,
    "keyfile": 10_000,
    "sidecar": 5_000,
    "viewer": 1_500,
    "vectors": 3_500,
}

# Longest input worth trying, in bytes.
MOST = {
    "codec": 96,
    "frames": 320,
    "judge": 258,
    "card": 2 + hostile.VISITS_MOST * DUMP_SIZE,
    "emulator": 1 + IMAGE_SIZE + 96,
    "boot": 512,
    "link": 700,
    "hall": 1 + DUMP_SIZE,
    "engines": 1 + IMAGE_SIZE,
    "viewer": 1 + DUMP_SIZE,
    "vectors": 1500,
    "keyfile": KEY_FILE_MOST + 100,
    "sidecar": 1 + 16 + DUMP_SIZE,
    "units": 120,
}

# Most lines of our own code that one input of at most MOST bytes may run through: what "no loop without a bound" comes
# to for a decoder as a whole, counted and not timed. Two to three times what has been seen.
LINES_MOST = {
    "codec": 2_500,
    "frames": 10_000,
    "judge": 6_000,
    "card": 80_000,
    "emulator": 50_000,
    "boot": 150_000,
    "link": 40_000,
    "hall": 20_000,
    "engines": 6_000,
    "viewer": 15_000,
    "vectors": 6_000,
    "keyfile": 200,
    "sidecar": 3_000,
    "units": 500,
}


# ---------------------------------------------------------------------- the hall's decoders


@functools.cache
def _signer() -> KeyFileSigner:
    return KeyFileSigner(ROOT, REGION)


@functools.cache
def _scratch() -> Path:
    # Files that are written and read a thousand times a second: in memory, where there is a place for that.
    shared = Path("/dev/shm")
    place = shared if shared.is_dir() and os.access(shared, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="icgas-fuzz-", dir=place))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _file(name: str, content: bytes) -> Path:
    path = _scratch() / name
    path.write_bytes(content)
    return path


def _hall(data: bytes) -> str:
    """``encode.decode_*``. Bytes: bit 0 a signer, bits 1-7 a key version; then an image of any length."""
    first, image = data[0] if data else 0, data[1:]
    said = [
        _decoded(encode.decode_identity, IDENTITY, image[IDENTITY_AT : IDENTITY_AT + encode.IDENTITY_SIZE]),
        _decoded(encode.decode_order, ORDER, image[ORDER_AT : ORDER_AT + encode.ORDER_FRAME_SIZE]),
        _decoded(encode.decode_report, REPORT_DATA, image[REPORT_AT[0] : REPORT_AT[0] + encode.REPORT_FRAME_SIZE]),
        _decoded(encode.decode_order, ORDER, image),
        _decoded(encode.decode_report, REPORT_DATA, image),
        _decoded(encode.decode_identity, IDENTITY, image),
    ]
    for kind in _TOOL_KINDS:
        layout = meanings.RECORDS[encode.record_of(kind)]
        at = tools.TRANSFER_IN_AT if kind == tools.TRANSFER_IN else ORDER_AT
        frame = image[at : at + frames.frame_size(layout)]
        said.append(_decoded(functools.partial(encode.decode_frame, kind=kind), layout, frame))
    signer = _signer() if first & 1 else None
    try:
        card = encode.decode_card(image, signer, key_version=first >> 1 or None, parent=KEY_VERSION)
    except RequestError as error:
        if error.code != errors.IMAGE_SIZE or len(image) in (IMAGE_SIZE, DUMP_SIZE):
            raise Undocumented(f"{len(image)} bytes: {error}") from error
        return f"{said} size"
    for part in card.parts:
        if (part.values is not None) != part.written and not part.code:
            raise Undocumented(f"{part.name}: no values and nothing wrong")
        if part.values is not None and part.record != "identity":
            _same_bytes(meanings.RECORDS[part.record], part.values, part.raw)
        said.append(str(part.code))
    newest = card.newest_report
    if newest is not None and not (newest.authentic if signer else newest.whole):
        raise Undocumented("the newest report is none")
    known, order = card.identity.values, card.order.values
    if signer and known and order and known["region"] == REGION and order.get("meter", METER) == METER:
        if known["kind"] == CARD_CUSTOMER:
            genuine = hostile.authentic(image) is not None
        else:
            genuine = ORDER_AT in hostile.genuine_frames(image)
        # The keys a block brings are of the version above those that made its MAC.
        own = order["key_version"] > KEY_VERSION if card.order.record == "key" else order["key_version"] == KEY_VERSION
        if own and genuine != (card.order.mac == codes.OK):
            raise Undocumented("hall and meter disagree about a MAC")
    return f"{said} {card.number} {card.blank} {card.region_code} {card.chip_code} {newest and newest.name}"


_TOOL_KINDS = (*encode.TOOL_ORDER_KINDS, tools.TRANSFER_OUT, tools.MANAGE, tools.SET, tools.KEY)


def _decoded(decode: Callable[[bytes], encode.Values], layout: Layout, data: bytes) -> str:
    try:
        values = decode(data)
    except CardError as error:
        return str(error.code)
    if layout is not IDENTITY:
        _same_bytes(layout, values, data)
    return "values"


def _same_bytes(layout: Layout, values: encode.Values, raw: bytes) -> None:
    frame, end = frames.begin(layout, dict(values), raw[1])
    if frame[:end] != raw[:end]:
        raise Undocumented("what was decoded is encoded otherwise")


def _engines(data: bytes) -> str:
    """The codec against ``construct`` and ``crcmod``: equal verdicts, equal values. Bytes: one unused, an image."""
    import construct

    from gashall import construction

    image = data[1:]
    said = []
    for layout, at, declaration in (
        (ORDER, ORDER_AT, construction.ORDER_FRAME),
        (REPORT_DATA, REPORT_AT[0], construction.REPORT_FRAME),
        (REPORT_DATA, REPORT_AT[1], construction.REPORT_FRAME),
        (tools.TRANSFER, tools.TOOL_AT, construction.TRANSFER_FRAME),
        (ORDER, tools.TRANSFER_IN_AT, construction.ORDER_FRAME),
        (tools.MANAGEMENT, tools.TOOL_AT, construction.MANAGEMENT_FRAME),
        (tools.SETTING, tools.TOOL_AT, construction.SETTING_FRAME),
        (tools.KEY_BLOCK, tools.TOOL_AT, construction.KEY_FRAME),
    ):
        ours = None if frames.check(image, at, size_of(layout)) else frames.read(layout, image, at)
        try:
            parsed = declaration.parse(image[at : at + frames.frame_size(layout)])
            theirs = {name: parsed.body.value.data[name] for name in layout.names}
        except construct.ConstructError:
            theirs = None
        if ours != theirs:
            raise Undocumented(f"two engines, two readings at {at:#x}: {ours} and {theirs}")
        said.append(ours is not None)
    return str(said)


def _viewer(data: bytes) -> str:
    """``icgas card show``. Bytes: bit 0 JSON, bit 1 meanings, bit 2 a key, bits 3-7 a key version; then the file."""
    first = data[0] if data else 0
    arguments = [str(_file("card.bin", data[1:]))]
    arguments += ["--json"] if first & 1 else []
    arguments += ["--meanings"] if first & 2 else []
    if first & 4:
        arguments += ["--key", str(_key_file())]
    if first >> 3:
        arguments += ["--key-version", str(first >> 3)]
    return _shown(arguments, bool(first & 1))


def _vectors(data: bytes) -> str:
    """``icgas card show FILE.json``. Bytes: bit 0 JSON, bit 1 name a case, bit 2 an ASCII terminal; then the file."""
    first = data[0] if data else 0
    arguments = [str(_file("vectors.json", data[1:]))]
    arguments += ["--json"] if first & 1 else []
    arguments += ["--vector", "a"] if first & 2 else []
    return _shown(arguments, bool(first & 1), "ascii" if first & 4 else "utf-8")


def _written(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()


def _shown(arguments: list[str], as_json: bool, encoding: str = "utf-8") -> str:
    # As a terminal is: bytes in an encoding, and a character it has not got is an error.
    out, complaint = (io.TextIOWrapper(io.BytesIO(), encoding, errors) for errors in ("strict", "backslashreplace"))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(complaint):
        code = viewer.command(["show", *arguments])
    text, words = (_written(stream) for stream in (out, complaint))
    if code == viewer.UNUSABLE:
        if text or not words:
            raise Undocumented("no card image, and not a word about it")
        return str(code)
    if code not in (viewer.FINE, viewer.DAMAGED):
        raise Undocumented(f"exit code {code}")
    if as_json and (bool(json.loads(text)["problems"]) != (code == viewer.DAMAGED)):
        raise Undocumented("the exit code says otherwise")
    return f"{code} {crc32(text.encode()):08x}"


@functools.cache
def _key_file() -> Path:
    path = _scratch() / "root.key"
    path.touch(0o600)
    path.write_text(_key_text())
    return path


def _key_text() -> str:
    return json.dumps({"format": PLAIN, "region": REGION, "root": ROOT.hex()})


def _keyfile(data: bytes) -> str:
    """``KeyFileSigner.load``. Bytes: the file."""
    path = _scratch() / "any.key"
    path.touch(0o600)
    path.write_bytes(data)
    try:
        signer = KeyFileSigner.load(path)
    except GasError as error:
        if error.code != errors.KEY_FILE:
            raise Undocumented(f"error {error.code} for a key file") from error
        return str(error.code)
    if not 0 <= signer.region <= 0xFFFF:
        raise Undocumented(f"region {signer.region}")
    return f"region {signer.region}"


def _sidecar(data: bytes) -> str:
    """``FileReader``. Bytes: length of the sidecar (255: none), the sidecar, the card file.

    Everything a hall does with a card; what is refused is refused with an error of the reader or the card.
    """
    length = data[0] if data else 255
    beside = data[1 : 1 + length] if length != 255 else b""
    main = data[1 + len(beside) :]
    path = _file("card.img", main)
    other = path.with_name(path.name + SIDECAR)
    other.unlink(missing_ok=True)
    if length != 255:
        other.write_bytes(beside)
    reader = FileReader(path, trace=lambda line: None)
    said, total = [], 0
    psc = beside[5:8] if len(beside) == 8 else b"\xff\xff\xff"
    steps: tuple[Callable[[], object], ...] = (
        reader.connect,
        lambda: reader.read(0, IMAGE_SIZE),
        reader.protection,
        reader.error_counter,
        lambda: reader.present(psc),
        lambda: reader.write(0x20, bytes(range(8))),
        lambda: reader.protect(8, main[8:12]),
        lambda: reader.change_psc(PSC),
    )
    try:
        for step in steps:
            try:
                value = step()
                said.append("bytes" if isinstance(value, bytes) else str(value))
                total = crc32(str(value).encode(), total)
            except (errors.ReaderError, CardError) as error:
                said.append(str(error.code))
    finally:
        reader.disconnect()
    kept = path.read_bytes()
    if kept[:0x20] != main[:0x20] or kept[0x28:] != main[0x28:] or len(kept) != len(main):
        raise Undocumented("the card file has changed where nobody wrote")
    return f"{' '.join(said)} {total:08x}"


def _units(data: bytes) -> str:
    """``units``. Bytes: bits 0-2 what is asked, bits 3-4 the pulse weight; then a text or a number."""
    first, body = data[0] if data else 0, data[1:]
    weight, text = first >> 3 & 3, body.decode(errors="surrogateescape")
    number = int.from_bytes(body[:40], "big", signed=True)
    value: Any = text
    try:
        match first & 7:
            case 0 | 1:
                return _whole(text, Fraction(text.strip()) if _short(text) else None, weight)
            case 2 | 3:
                try:
                    value = Decimal(text)
                except DecimalException:
                    return "no Decimal"
                return _whole(value, None, weight)
            case 4:
                return _whole(number, Fraction(number), weight)
            case 5:
                return f"{units.meter_number(text)} {units.account_number(text[:10])}"
            case 6:
                moment = units.moment(number)
                if moment.tzinfo is not UTC or units.minutes(moment) != number:
                    raise Undocumented(f"{number} minutes are {moment}")
                return f"moment {number}"
            case _:
                value = (None, 1.5, body, True)[weight]
                return _whole(value, None, 2)
    except RequestError as error:
        return str(error.code)


def _short(text: str) -> bool:
    # Whether Fraction may read it: it takes more than the hall does, but not every power of ten in finite time.
    return len(text) <= MOST["units"] and "e" not in text.lower() and _is_number(text)


def _is_number(text: str) -> bool:
    try:
        Fraction(text.strip())
    except (ValueError, ZeroDivisionError):
        return False
    return True


def _whole(value: Any, exact: Fraction | None, weight: int) -> str:
    count = units.pulses(value, weight)
    if not isinstance(count, int) or not 0 <= count <= TOTAL_MAX:
        raise Undocumented(f"{value!r} m³ are {count!r} pulses")
    if exact is None and count and isinstance(value, Decimal):
        exact = Fraction(value)
    if exact is not None and exact * 10**weight != count:
        raise Undocumented(f"{value!r} m³ are no {count} pulses")
    if units.pulses(units.volume(count, weight), weight) != count:
        raise Undocumented(f"{count} pulses there and back are others")
    return f"pulses {count}"


HALL: dict[str, Callable[[bytes], str]] = {
    "hall": _hall,
    "engines": _engines,
    "viewer": _viewer,
    "vectors": _vectors,
    "keyfile": _keyfile,
    "sidecar": _sidecar,
    "units": _units,
}
_NEEDS = {"engines": ("construct", "crcmod"), "viewer": ("rich",), "vectors": ("rich",)}


def decoders() -> list[str]:
    """The names of all decoders whose packages are installed, the meter's first."""
    names = [*hostile.DECODERS, *HALL]
    return [name for name in names if all(importlib.util.find_spec(part) for part in _NEEDS.get(name, ()))]


def feed(name: str, data: bytes) -> "int | str":
    """Show ``data`` to a decoder of either side: its documented outcome. Whatever it raised, if it has none."""
    decoder = HALL.get(name)
    return hostile.feed(name, data) if decoder is None else decoder(data)


# ---------------------------------------------------------------------- where inputs come from


def seeds(name: str) -> list[bytes]:
    """Inputs to begin with where there is no corpus: what an honest hall, meter or person would give."""
    opening = hostile.genuine(ORDER_OPENING, {"sequence": 1})
    newer = hostile.genuine(order={"sequence": hostile.SEQUENCE + 1, "bought_total": hostile.BOUGHT + 700})
    same = hostile.genuine(ORDER_OPENING)
    refund = hostile.genuine(order={"sequence": 9, "bought_total": 100, "flags": FLAG_REFUND})
    reported = hostile.genuine(order={"sequence": 5, "bought_total": 9000})
    for number, at in enumerate(REPORT_AT):
        report = encode.encode_report(encode.report_key(hostile.KEY), REGION, CARD, _report(number + 1))
        reported.main[at : at + len(report)] = report
    chips = [Chip(), opening, newer, same, refund, reported, *tool_cards()]
    images = [bytes(chip.main) for chip in chips]
    dumps = [chip.dump() for chip in chips]
    stream = link.Frame(link.READ, 0x901F, 7, b"\x01\x02\x03").encode()
    vector = [{"name": "a", "image": images[2].hex(), "keys": {"root": ROOT.hex(), "region": REGION, "key_version": 1}}]
    made: dict[str, list[bytes]] = {
        "codec": [bytes((i, 0)) + bytes(size_of(layout)) for i, layout in enumerate(hostile.LAYOUTS)],
        "frames": [bytes((ORDER_AT, size_of(ORDER))) + image for image in images],
        "judge": [bytes(head) + image for image in images for head in ((0x80, 0), (0x83, 3), (0x83, 0x43), (9, 0))],
        "card": [bytes((state, 0)) + dump for dump in dumps for state in (0, 1, 2, 3)]
        + [b"\x01\x00" + dumps[2] + dumps[4] + dumps[5]]
        + [bytes((state, pull)) + dump * 2 for dump in dumps[6:] for state in (0, 1) for pull in (0, 12)]
        + [b"\x01\x00" + dumps[6] + dumps[8], b"\x01\x00" + dumps[7] + dumps[6]],
        "emulator": [bytes((state,)) + image + bytes((7, 0, 0, 0)) * 2 for image in images for state in (0, 1)],
        "boot": [bytes((state, flaky, 0)) for state in range(4) for flaky in (0, 0, 0, 5, 90, 200)]
        + [bytes((state, 0, 3)) for state in range(4, 8)]
        + [bytes((3, 0, 4 * place)) for place in (2, 4, 8, 16)],
        "link": [bytes((5,)) + stream * count + b"\x68\x30" for count in (1, 2, 5)],
        "hall": [bytes((head,)) + data for data in (*images, *dumps) for head in (0, 3)],
        "engines": [b"\0" + image for image in images],
        "viewer": [bytes((head,)) + data for data in (*images[2:], *dumps[2:]) for head in (0, 7, 12)],
        "vectors": [b"\x01" + json.dumps(vector).encode(), b"\x02" + json.dumps(vector[0]).encode()]
        + [b"\0[]", b"\0" + b"[" * 1400],
        "keyfile": [_key_text().encode(), b"", b"[]", b"[" * KEY_FILE_MOST],
        "sidecar": [bytes((8,)) + dump[IMAGE_SIZE:] + dump[:IMAGE_SIZE] for dump in dumps]
        + [b"\xff" + image for image in images],
        "units": [bytes((mode | 16,)) + text for mode in range(8) for text in (b"12.34", b"0", b"\x01\x02")]
        + [b"\x05" + METER.encode()],
    }
    return made[name]


def tool_cards() -> list[Chip]:
    """The company's cards for the meter under attack: each kind, the transfer card from it and to it."""
    signer = _signer()
    order = {"meter": METER, "account": "0000000042", "binding": 1, "replacement": 0, "key_version": KEY_VERSION}
    order |= {"sequence": 1, "bought_total": 500, "amount": 0, "correction_total": 0, "pulse_weight": 2, "alarm": 0}
    order |= {"ceiling": 0, "overdraft": 0, "over_flow_seconds": 0, "time": MINUTES, "flags": 0}
    tool: dict[str, Any] = {"key_version": KEY_VERSION, "expires": 0, "time": MINUTES}
    setting = dict.fromkeys(tools.SETTING.names, 0) | tool | {"meter": METER, "service_number": 3}
    del setting["psc_mask"]
    setting |= {"what": tools.SET_ALL, "clock": MINUTES + 1, "index": 77, "shut": 6, "long_flow_minutes": 20_000}
    other = "00000000000018"

    def way(meter: str, new_meter: str) -> list[bytes]:
        # Out of one meter and into another; the final record as the old one would write it.
        moved = {"meter": meter, "binding": 1, "key_version": KEY_VERSION, "new_meter": new_meter, "new_binding": 1}
        out = encode.encode_transfer_out(signer, CARD, moved | {"time": MINUTES}, new_key_version=KEY_VERSION)
        coming = encode.encode_order(signer, CARD, order | {"meter": new_meter}, tools.TRANSFER_IN)
        km = signer.meter_keys(new_meter, KEY_VERSION)[0]
        key = encode.report_key(derive(km, tools.TRANSFER_KEY, tools.transfer_context(meter, 1, 1)))
        values = _report(9) | {"meter": meter, "bought_total": 400, "used": 30}
        return [out, coming, encode.encode_report(key, REGION, CARD, values, tools.FINAL)]

    def card(kind: int, *parts: bytes) -> Chip:
        chip = Chip()
        identity = encode.encode_identity(region=REGION, card=CARD, kind=kind)
        chip.main[:] = encode.encode_card(identity, parts[0], parts[1:])
        chip.security[1:4] = signer.card_psc(CARD)
        return chip

    block = {"meter": METER, "key_version": KEY_VERSION + 1, "time": MINUTES}
    made = {
        "clear": [encode.encode_order(signer, CARD, order, tools.ORDER_CLEAR)],
        "test": [encode.encode_order(signer, CARD, order, tools.ORDER_TEST)],
        "management": [encode.encode_management(signer, CARD, tool)],
        "setting": [encode.encode_setting(signer, CARD, setting)],
        "key": [encode.encode_key_block(signer, CARD, block, parent=KEY_VERSION)],
    }
    numbers = {name: number for number, (name, _, _) in meanings.CARD_KINDS.items()}
    ways = [card(numbers["transfer"], *way(METER, other)[:2]), card(numbers["transfer"], *way(other, METER))]
    return [*ways, *[card(numbers[name], *parts) for name, parts in made.items()]]


def _report(number: int) -> dict[str, Any]:
    values: dict[str, Any] = dict.fromkeys(REPORT_DATA.names, 0)
    return values | {"report_number": number, "meter": METER, "binding": 1, "versions": 0x11, "time": MINUTES}


def corpus(folder: Path | None, name: str) -> list[bytes]:
    """The inputs of a decoder's pack in ``folder``; none if there is no pack."""
    path = None if folder is None else folder / (name + PACK)
    return list(hostile.unpacked(path.read_bytes())) if path is not None and path.is_file() else []


def write_pack(folder: Path, name: str, inputs: Iterable[bytes]) -> int:
    """Write a decoder's pack, short inputs first; its size in bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    pack = hostile.packed(sorted(set(inputs), key=lambda data: (len(data), data)))
    (folder / (name + PACK)).write_bytes(pack)
    return len(pack)


# ---------------------------------------------------------------------- how inputs are changed

# Where in an input a card's image begins.
_IMAGE_AT = {"frames": 2, "judge": 2, "card": 2, "emulator": 1, "hall": 1, "engines": 1, "viewer": 1}
# Where on a card the fields of a record begin.
_RECORDS = (
    (IDENTITY_AT, IDENTITY),
    (ORDER_AT + frames.HEAD, ORDER),
    (REPORT_AT[0] + frames.HEAD, REPORT_DATA),
    (REPORT_AT[1] + frames.HEAD, REPORT_DATA),
)
# Of ``hostile.PLACES`` those that hold one record, and its table.
_STORED: tuple[tuple[Sequence[int], Layout], ...] = (
    ((0, 1), CHECKPOINT),
    ((2, 3), ACCOUNT),
    ((4, 5), STATE),
    ((6, 7), KEYS),
    (range(8, 16), LOCKOUT),
    (range(20, len(hostile.PLACES)), EVENT),
)
_TOKENS = {
    "units": ("0", "-", "+", ".", "9" * 30, "0.01", "1e5", "E-9", "NaN", "sNaN", "Infinity", " ", "٣", "_"),
    "keyfile": ('"', "{", "}", "[", ":", "null", "1e999", "-1", "65536", "true", '"root"', '"region"', "é", "\\u0000"),
    "vectors": ('"', "{", "}", "[", ":", "null", "NaN", "1e999", '"image"', '"keys"', '"root"', '"region"', "\\ud800"),
}
_EDGES = (b"\0", b"\x01", b"\x7f", b"\x80", b"\xff", b"\x99", b"\x10", b"\x68", b"\x16", b"\xa5", b"\x5a")
_TOTALS = (TOTAL_MAX, TOTAL_MAX + 1, 0, 1, 0x7FFFFFFF, 0x80000000, 0x3FFFFFFF, 0x40000000, 0xFFFFFFFF)


def mutate(name: str, data: bytes, rng: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """``data`` a little changed, as somebody would who knows the layouts; ``others`` may lend a piece."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        _change(name, out, rng, others)
    del out[MOST[name] :]
    return bytes(mended(name, out, rng))


def _change(name: str, out: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    at = int(rng.random() * (len(out) + 1))
    what = int(rng.random() * 10)
    if name in _IMAGE_AT and what < 4:
        _change_field(name, out, rng)
    elif name == "boot" and what < 6:
        _change_store(out, rng)
    elif name in _TOKENS and what < 5:
        out[at : at + int(rng.random() * 3)] = rng.choice(_TOKENS[name]).encode()
    elif what < 6 and at < len(out):
        out[at] ^= 1 << int(rng.random() * 8)
    elif what == 6:
        out[at : at + 1] = rng.choice(_EDGES)
    elif what == 7:
        out[at : at + int(rng.random() * 4)] = rng.randbytes(int(rng.random() * 4))
    elif what == 8 and others:
        lent = rng.choice(others)
        start = int(rng.random() * (len(lent) + 1))
        piece = lent[start : start + 1 + int(rng.random() * 80)]
        at = min(start, len(out)) if rng.random() < 0.7 else at
        out[at : at + (len(piece) if rng.random() < 0.8 else 0)] = piece
    elif rng.random() < 0.3:
        del out[at:]
    elif at < len(out):
        out[at] = int(rng.random() * 256)


def _change_field(name: str, out: bytearray, rng: random.Random) -> None:
    # One field of one record on a card; of a company's card mostly of what it bears.
    at, layout = rng.choice(_RECORDS)
    kind = int.from_bytes(out[_IMAGE_AT[name] + IDENTITY_AT + 4 :][:1], "big")
    if CARD_CUSTOMER < kind <= CARD_TEST and rng.random() < 0.7:
        place, layout, _, _ = rng.choice(hostile.HALL_FRAMES[kind])
        at = place + frames.HEAD
    field, size = _field(layout, rng)
    at += _IMAGE_AT[name] + offset_of(layout, field)
    if at + size <= len(out):
        out[at : at + size] = _value(bytes(out[at : at + size]), rng)


def _change_store(out: bytearray, rng: random.Random) -> None:
    # One more patch of ``hostile.boot``: a field of a stored record, mostly in both copies and checksummed.
    if len(out) < 3:
        out += bytes(3 - len(out))
    if rng.random() < 0.2:
        # A piece of the tally, in one generation's marks or the other's.
        length = 1 + int(rng.random() * COPY_SIZE)
        out += bytes((16 + int(rng.random() * 4), int(rng.random() * COPY_SIZE), length))
        out += bytes((rng.choice(MARKERS),)) * length
        return
    places, layout = rng.choice(_STORED)
    field, size = _field(layout, rng)
    patch = bytes((offset_of(layout, field), size)) + _value(bytes(size), rng)
    check = 0x80 if rng.random() < 0.9 else 0
    for place in places if rng.random() < 0.7 else (rng.choice(places),):
        out += bytes((place | check,)) + patch


def _field(layout: Layout, rng: random.Random) -> tuple[str, int]:
    field = rng.choice(layout.names)
    return field, kind_size(dict(layout)[field])


def _value(old: bytes, rng: random.Random) -> bytes:
    # What a field may hold next: the ends of its range, a neighbour of what it holds, anything.
    size = len(old)
    choice = rng.random()
    if choice < 0.4:
        return rng.choice(_EDGES) * size
    if choice < 0.6:
        value = int.from_bytes(old, "big") + rng.choice((-1, 1, 2, 256))
    elif choice < 0.7:
        value = int(rng.random() * 10)
    elif choice < 0.85:
        value = rng.choice(_TOTALS)
    else:
        return rng.randbytes(size)
    return (value % (1 << 8 * size)).to_bytes(size, "big")


def mended(name: str, out: bytearray, rng: random.Random) -> bytearray:
    """Most of the time, make the checks hold again that guard what is behind them: CRC, length, sum, MAC."""
    choice = rng.random()
    if name == "link" and choice < 0.75:
        _mend_stream(out)
    if name not in _IMAGE_AT or choice < 0.2:
        return out
    start = _IMAGE_AT[name]
    for at in range(start, len(out), DUMP_SIZE if name == "card" else MOST[name]):
        if at + IDENTITY_AT + size_of(IDENTITY) <= len(out):
            hostile.mend_identity(out, at)
        made = hostile.hall_frames(out, at)
        if at + made[-1][0] + frames.frame_size(made[-1][1]) <= len(out) and choice > 0.3:
            if choice > 0.5:
                hostile.mend_mac(out, at)
            for place, layout, _, _ in made:
                hostile.mend_frame(out, at + place, size_of(layout))
        for place in REPORT_AT:
            whole = at + place + frames.frame_size(REPORT_DATA) <= len(out)
            if whole and out[at + place] == 0x68 and out[at + place + 1] in (REPORT, tools.FINAL):
                hostile.mend_frame(out, at + place, size_of(REPORT_DATA))
    return out


def _mend_stream(out: bytearray) -> None:
    at = out.find(b"\x68", 1)
    while at >= 0:
        end = at + 11 + out[at + 10] if at + 10 < len(out) else len(out)
        if end + 2 <= len(out):
            out[end], out[end + 1] = sum(out[at:end]) & 0xFF, 0x16
            at = end
        at = out.find(b"\x68", at + 1)


# ---------------------------------------------------------------------- what an input reaches


_OURS = ("gascard", "meter", "gashall", "readers")  # folders


class Trace:
    """Which lines of our own code run, and which follows which; a context manager, its figures for one input.

    ``arcs`` are (file, function's first line, line before, line); ``lines`` counts lines as often as they run, and the
    first one beyond ``most`` raises Hang.
    """

    def __init__(self, most: int = sys.maxsize) -> None:
        self.most = most
        self.arcs: set[tuple[str, int, int, int]] = set()
        self.lines = 0
        self._watched: dict[CodeType, bool] = {}
        self._before: Any = None

    def __enter__(self) -> "Trace":
        self.arcs, self.lines = set(), 0
        self._before = sys.gettrace()
        sys.settrace(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _call(self, frame: FrameType, event: str, arg: Any) -> Any:
        code = frame.f_code
        watched = self._watched.get(code)
        if watched is None:
            watched = self._watched[code] = Path(code.co_filename).parent.name in _OURS
        if not watched:
            return None
        before = 0
        name, first = code.co_filename, code.co_firstlineno

        def line(frame: FrameType, event: str, arg: Any) -> Any:
            nonlocal before
            if event == "line":
                self.lines += 1
                if self.lines > self.most:
                    raise Hang(f"over {self.most} lines for one input")
                self.arcs.add((name, first, before, frame.f_lineno))
                before = frame.f_lineno
            return line

        return line


_CODES = re.compile(r"-\d+|[A-Za-z]\w*")


def _told(result: "int | str") -> set[str]:
    # The codes and names in an outcome; the last word is a checksum or a count, of which there is no end.
    return set(_CODES.findall(str(result).rpartition(" ")[0]))


def reduced(name: str, inputs: Iterable[bytes]) -> list[bytes]:
    """Of ``inputs`` those that reach something of their own, short ones first: an arc of our code, or a code."""
    trace = Trace()
    seen: set[object] = set()
    kept = []
    feed(name, b"")  # what is made once and cached is nobody's merit
    for data in sorted(set(inputs), key=lambda data: (len(data), data)):
        with trace:
            result = feed(name, data)
        found: set[object] = {*trace.arcs, *_told(result)}
        if not found <= seen:
            seen |= found
            kept.append(data)
    return kept


def function_lines(path: Path) -> set[int]:
    """The numbers of all lines of a source file that lie within functions and can run."""
    found: set[int] = set()
    waiting = [compile(path.read_text(encoding="utf-8"), str(path), "exec")]
    while waiting:
        code = waiting.pop()
        inner = [const for const in code.co_consts if isinstance(const, CodeType)]
        waiting += inner
        if code.co_flags & 0x02:  # a function has locals of its own; a module and a class have not
            found |= {line for _, _, line in code.co_lines() if line is not None and line > code.co_firstlineno}
    return found


# ---------------------------------------------------------------------- fuzzing


@dataclass(frozen=True, slots=True)
class Finding:
    """An input whose outcome nobody documented: the smallest that could be made of it, and what it did."""

    decoder: str
    data: bytes
    text: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of fuzzing one decoder."""

    decoder: str
    guided: bool
    inputs: int
    seconds: float
    corpus: tuple[bytes, ...]
    finding: Finding | None = None

    @property
    def rate(self) -> int:
        """Inputs a second, the making of them included."""
        return int(self.inputs / self.seconds) if self.seconds else 0


class Hang(BaseException):
    """One input that does not end: too many lines under a trace, or HANG_SECONDS as a guard.

    No decoder can take it for an error of its own.
    """


@contextlib.contextmanager
def _watch() -> Iterator[Callable[[], None]]:
    # Gives what to call before each input. Only a main thread can be interrupted, and only where there is a timer.
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return

    def late(*_: object) -> None:
        raise Hang(f"no end within {HANG_SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    try:
        yield lambda: signal.setitimer(signal.ITIMER_REAL, HANG_SECONDS) and None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _said(fault: BaseException) -> str:
    return f"{type(fault).__name__}: {fault}"


def _fault(name: str, data: bytes) -> str:
    # What goes wrong with this input, "" if nothing.
    with _watch() as begin:
        begin()
        try:
            feed(name, data)
        except (Exception, Hang) as fault:
            return _said(fault)
    return ""


def shrunk(name: str, data: bytes) -> Finding:
    """The shortest and plainest input made of ``data`` that still goes wrong in the same way."""
    text = _fault(name, data)
    kind = text.partition(":")[0]
    if kind == "Hang":
        return Finding(name, data, text)
    size = len(data)
    while size:
        for start in range(0, len(data), size):
            shorter = data[:start] + data[start + size :]
            if len(shorter) < len(data) and _fault(name, shorter).partition(":")[0] == kind:
                data = shorter
                break
        else:
            size //= 2
    for at in range(len(data)):
        plain = data[:at] + b"\0" + data[at + 1 :]
        if _fault(name, plain).partition(":")[0] == kind:
            data = plain
    return Finding(name, data, _fault(name, data))


def fuzz(name: str, inputs: int, seed: int, pool: Sequence[bytes]) -> Outcome:
    """Show the decoder its ``pool`` and then changed ones, ``inputs`` in all, the same for equal arguments.

    An input that was the first to come to some code is worth going on from. Stops at the first finding.
    """
    rng = random.Random(f"{seed}:{name}")
    pool = list(pool)
    told: set[str] = set()
    given = len(pool)
    decode = HALL.get(name) or hostile.DECODERS[name]
    started = time.perf_counter()
    finding = None
    done = 0
    with _watch() as begin:
        for done in range(1, inputs + 1):
            if done <= given:
                data = pool[done - 1]
            elif rng.random() < 0.03:
                data = rng.randbytes(int(rng.random() * MOST[name]))
            else:
                data = mutate(name, pool[int(rng.random() * len(pool))], rng, pool)
            begin()
            try:
                said = _told(decode(data))
            except (Exception, Hang):
                finding = data
                break
            if not said <= told:
                told |= said
                pool.append(data)
    seconds = time.perf_counter() - started
    return Outcome(name, False, done, seconds, tuple(pool), None if finding is None else shrunk(name, finding))


def guidance() -> bool:
    """Whether atheris is here, to say which inputs are worth going on from."""
    return importlib.util.find_spec("atheris") is not None


# The decoders are loaded under atheris's eyes: what is imported before it is not seen.
_GUIDED = """
import sys, atheris
with atheris.instrument_imports(include=["gascard", "meter", "gashall", "gasrig.hostile"]):
    import gasrig.fuzz
gasrig.fuzz.drive(sys.argv[1], sys.argv[2:])
"""


def drive(name: str, arguments: list[str]) -> None:
    """In a process of its own, started by ``guided``: fuzz one decoder under atheris. Does not return."""
    atheris: Any = importlib.import_module("atheris")
    others = seeds(name)

    def changed(data: bytes, most: int, seed: int) -> bytes:
        rng = random.Random(seed)
        if rng.random() < 0.5:
            out = bytearray(atheris.Mutate(data, most))
            return bytes(mended(name, out, rng)[:most])
        return mutate(name, data, rng, others)[:most]

    feed(name, b"")
    atheris.Setup(["icgas fuzz", *arguments], lambda data: feed(name, data) and None, custom_mutator=changed)
    atheris.Fuzz()


def guided(name: str, inputs: int, seed: int, pool: Sequence[bytes]) -> Outcome:
    """As ``fuzz``, in a process of its own under atheris; what reached new code is in the outcome's corpus."""
    with tempfile.TemporaryDirectory(prefix="icgas-fuzz-") as place:
        folder = Path(place, "corpus")
        folder.mkdir()
        for i, data in enumerate(pool):
            (folder / f"{i:05}").write_bytes(data)
        options = {
            "runs": inputs,
            "seed": seed % 0xFFFFFFFF + 1,  # libFuzzer takes 0 for "any"
            "max_len": MOST[name],
            "timeout": HANG_SECONDS,
            "rss_limit_mb": MEMORY_MB,
            "artifact_prefix": f"{place}/found-",
            "print_final_stats": 1,
            "verbosity": 0,
        }
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", _GUIDED, name, *[f"-{key}={value}" for key, value in options.items()], str(folder)],
            capture_output=True,
            check=False,
        )
        seconds = time.perf_counter() - started
        found = sorted(Path(place).glob("found-*"))
        grown = tuple(file.read_bytes() for file in sorted(folder.iterdir()))
        if found:
            finding = shrunk(name, found[0].read_bytes())
            return Outcome(name, True, inputs, seconds, grown, finding)
        if done.returncode:
            last = done.stderr.decode(errors="replace")[-2000:]
            return Outcome(name, True, 0, seconds, grown, Finding(name, b"", f"exit code {done.returncode}: {last}"))
        return Outcome(name, True, inputs, seconds, grown)


def shares(names: Sequence[str], inputs: int) -> dict[str, int]:
    """``inputs`` dealt out to decoders by SHARES, at least one each."""
    total = sum(SHARES[name] for name in names)
    return {name: max(1, inputs * SHARES[name] // total) for name in names}


# ---------------------------------------------------------------------- the command


def command(argv: Sequence[str]) -> int:
    """``icgas fuzz``. The exit code is 0 if every outcome was a documented one, 3 if not, 2 for a wrong request."""
    try:
        options = _options(argv)
    except SystemExit as stop:
        return UNUSABLE if stop.code else 0
    names = decoders() if options.decoder == "all" else [options.decoder]
    if options.replay is not None:
        return _replay(names[0], options.replay)
    folder = options.corpus or (CORPUS if CORPUS.is_dir() else None)
    if (options.corpus or options.keep) and (folder is None or not folder.is_dir()):
        print(f"icgas fuzz: there is no folder {folder or CORPUS}", file=sys.stderr)
        return UNUSABLE
    blind = options.blind or not guidance()
    if blind and not options.blind:
        print(f"icgas fuzz: {NO_ATHERIS}", file=sys.stderr)
    outcomes = []
    for name, inputs in shares(names, options.inputs).items():
        pool = corpus(folder, name) + seeds(name)
        outcome = (fuzz if blind else guided)(name, inputs, options.seed, pool)
        outcomes.append(outcome)
        if options.keep and folder and outcome.finding is None:
            write_pack(folder, name, reduced(name, outcome.corpus))
        if not options.json:
            _tell(outcome)
    failures = [_kept(outcome.finding) for outcome in outcomes if outcome.finding is not None]
    if options.json:
        print(json.dumps({"seed": options.seed, "decoders": [_summary(outcome) for outcome in outcomes]}))
    for line in failures:
        print(line, file=sys.stderr)
    return FOUND if failures else 0


def _summary(outcome: Outcome) -> dict[str, Any]:
    finding = None if outcome.finding is None else asdict(outcome.finding) | {"data": outcome.finding.data.hex()}
    return {
        "decoder": outcome.decoder,
        "guided": outcome.guided,
        "inputs": outcome.inputs,
        "seconds": round(outcome.seconds, 3),
        "corpus": len(outcome.corpus),
        "finding": finding,
    }


def _tell(outcome: Outcome) -> None:
    how = "guided" if outcome.guided else "blind"
    end = "documented outcomes only" if outcome.finding is None else f"FOUND {outcome.finding.text[:100]}"
    print(f"{outcome.decoder:9} {outcome.inputs:>9} inputs {outcome.rate:>7}/s {how:6} {end}", flush=True)


def _kept(finding: Finding) -> str:
    FAILURES.mkdir(parents=True, exist_ok=True)
    path = FAILURES / f"{finding.decoder}-{crc32(finding.data):08x}.bin"
    path.write_bytes(finding.data)
    return f"icgas fuzz: {finding.text}\n  again: icgas fuzz --decoder {finding.decoder} --replay {path}"


def _replay(name: str, path: Path) -> int:
    try:
        data = path.read_bytes()
    except OSError as error:
        print(f"icgas fuzz: {path} cannot be read: {error.strerror}", file=sys.stderr)
        return UNUSABLE
    try:
        print(feed(name, data))
    except Exception:
        traceback.print_exc()
        return FOUND
    return 0


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="icgas fuzz", description="Show hostile bytes to every decoder; nothing but documented outcomes may come."
    )
    parser.add_argument("--decoder", choices=["all", *decoders()], default="all", help="which one (default all)")
    parser.add_argument("--inputs", type=_count, default=INPUTS, metavar="N", help=f"in all (default {INPUTS})")
    parser.add_argument("--corpus", type=Path, metavar="DIR", help=f"packs to begin with (default {CORPUS})")
    parser.add_argument("--seed", type=int, default=SEED, metavar="S", help=f"of all chance (default {SEED})")
    parser.add_argument("--blind", action="store_true", help="not coverage-guided, even where atheris is installed")
    parser.add_argument("--keep", action="store_true", help="put what reached new code into the corpus, reduced")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="show one input to --decoder and tell the outcome")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    options = parser.parse_args(argv)
    if options.replay is not None and options.decoder == "all":
        parser.error("--replay needs --decoder")
    return options


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= INPUTS_MOST:
        raise argparse.ArgumentTypeError(f"1 to {INPUTS_MOST}")
    return value
