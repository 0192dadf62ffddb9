"""One vector a record worked out by hand from docs/SPEC.md: the bytes are literals, and no table, encoder,
CRC or HMAC of gascard has a part in making them. If a table were wrong, the tests that derive everything
from it would agree with the error; this one does not.
"""

import hashlib
import hmac
import json
from pathlib import Path

import pytest

from gascard import frames, meanings, records

VECTORS = Path(__file__).parents[2] / "protocol" / "vectors"

# The card and the meter of the example.
CARD = bytes.fromhex("00 A1 B2 C3")  # card number 10 597 059
REGION = bytes.fromhex("00 21")  # region 33
METER = bytes.fromhex("32 06 00 12 34 56 78")  # meter 32060012345678
ROOT = bytes.fromhex("000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F")


def crc_x25(data):
    """CRC-16/X.25 bit by bit, as its definition reads: no table."""
    value = 0xFFFF
    for byte in data:
        for place in range(8):
            feedback = (value ^ byte >> place) & 1
            value = value >> 1 ^ (0x8408 if feedback else 0)
    value ^= 0xFFFF
    return bytes((value >> 8, value & 0xFF))


def hmac_of(key, message):
    return hmac.new(key, message, hashlib.sha256).digest()


def key_below(parent, label, context=b""):
    return hmac_of(parent, b"icgas/1 " + label + b"\x00" + context)[:16]


METER_KEY = key_below(ROOT, b"meter", REGION + METER + b"\x01")
ORDER_KEY = key_below(METER_KEY, b"order")
REPORT_KEY = key_below(METER_KEY, b"report")
WRAP_KEY = key_below(METER_KEY, b"wrap")
CARD_KEY = key_below(ROOT, b"psc", REGION)
PASSWORD = hmac_of(CARD_KEY, CARD)[:3]  # 47 D5 87: neither 000000 nor FFFFFF, so it stands

IDENTITY = bytes.fromhex(
    "69"  # mark
    "01"  # format 1
    "00 21"  # region 33
    "01"  # kind: customer card
    "00 A1 B2 C3"  # card 10 597 059
    "0A 2B"  # issue batch 2603 = 10 x 256 + 43
)

ORDER = bytes.fromhex(
    "32 06 00 12 34 56 78"  # meter
    "00 00 10 44 17"  # account 0000104417
    "01"  # binding 1
    "00"  # replacement 0
    "01"  # key version 1
    "00 07"  # sequence 7
    "00 00 52 08"  # bought total 21 000 = 82 x 256 + 8
    "00 0B B8"  # amount 3 000 = 11 x 256 + 184
    "FF FF F4"  # correction total -12 = 16 777 216 - 12
    "02"  # pulse weight: two decimals, 0.01 m3
    "01 F4"  # alarm 500 = 256 + 244
    "00 75 30"  # ceiling 30 000 = 117 x 256 + 48
    "00 C8"  # overdraft 200
    "09"  # over-flow 9 s
    # 2026-03-02 10:15 UTC: 26 years of 365 days, 7 leap days, January 31, February 28, 1 day of March make
    # 9 557 days; x 1 440 + 10 x 60 + 15 = 13 762 695 = 210 x 65 536 + 135.
    "00 D2 00 87"
) + bytes(a ^ b for a, b in zip(PASSWORD, hmac_of(WRAP_KEY, b"psc" + CARD), strict=False)) + bytes.fromhex(
    "08"  # flags: parameters
)  # fmt: skip

REPORT = bytes.fromhex(
    "00 00 09"  # report number 9
    "32 06 00 12 34 56 78"  # meter
    "01"  # binding 1
    "00"  # replacement 0
    "11"  # versions: newest 1, oldest 1
    "00 07"  # sequence 7
    "00 00 52 08"  # bought total 21 000
    "FF FF F4"  # correction total -12
    "00 00 49 37"  # register 18 743 = 73 x 256 + 55
    "00 00 49 07"  # used 18 695 = 73 x 256 + 7
    "00 00 49 3E"  # index 18 750 = 73 x 256 + 62
    "01 00 00"  # status: the valve stands open, and nothing keeps it shut
    "00"  # last code 0: OK
    "B2"  # battery 178 x 20 mV = 3.56 V
    "00 D2 03 0C"  # time 13 763 340, 645 minutes after the order: 135 + 645 = 780 = 3 x 256 + 12
    "00 0B"  # valve moves 11
    "00"  # valve failures 0
    "00 03"  # boots 3
    "01"  # power failures 1
    "00"  # magnet events 0
    "00"  # over-flow count 0
    "01 F4"  # alarm 500
    "00 75 30"  # ceiling 30 000
    "00 C8"  # overdraft 200
    "09"  # over-flow 9 s
)


def frame_by_hand(kind, key, data):
    """68 | kind | length | version | data | MAC 8 | CRC 2 | 16."""
    mac = hmac_of(key, CARD + REGION + b"\x01" + kind + bytes((len(data),)) + data)[:8]
    inside = kind + bytes((len(data),)) + b"\x01" + data + mac
    return b"\x68" + inside + crc_x25(inside) + b"\x16"


def vector(record):
    cases = json.loads((VECTORS / f"{record}.json").read_text(encoding="utf-8"))
    return next(case for case in cases if case["name"] == "by_hand")


def built(record, layout, key):
    case = vector(record)
    fields = dict(case["fields"])
    if "psc_mask" in fields:
        fields["psc_mask"] = bytes.fromhex(fields["psc_mask"])
    return frames.build(layout, fields, case["kind"], 0x00A1B2C3, 0x0021, key)


def test_crc_by_hand_gives_the_check_value():
    assert crc_x25(b"123456789") == b"\x90\x6e"


def test_identity_by_hand_equals_gascard_and_vector():
    identity = IDENTITY + crc_x25(IDENTITY)
    assert len(identity) == 13
    assert frames.build_identity(vector("identity")["fields"]) == identity
    assert vector("identity")["frame"] == identity.hex()
    assert bytes.fromhex(vector("identity")["image"])[0x08:0x15] == identity


def test_order_by_hand_equals_gascard_and_vector():
    frame = frame_by_hand(b"\x02", ORDER_KEY, ORDER)
    assert (len(ORDER), len(frame)) == (44, 59)
    assert built("order", records.ORDER, ORDER_KEY) == frame
    assert vector("order")["frame"] == frame.hex()
    assert bytes.fromhex(vector("order")["image"])[0x20:0x5B] == frame


def test_report_by_hand_equals_gascard_and_vector():
    frame = frame_by_hand(b"\x81", REPORT_KEY, REPORT)
    assert (len(REPORT), len(frame)) == (59, 74)
    assert built("report", records.REPORT_DATA, REPORT_KEY) == frame
    assert vector("report")["frame"] == frame.hex()
    assert bytes.fromhex(vector("report")["image"])[0x5B:0xA5] == frame


def test_keys_by_hand_equal_the_vectors():
    shown = vector("order")["keys"]
    assert bytes.fromhex(shown["Km"]) == METER_KEY
    assert bytes.fromhex(shown["Ko"]) == ORDER_KEY
    assert bytes.fromhex(shown["Kr"]) == REPORT_KEY
    assert bytes.fromhex(shown["Kw"]) == WRAP_KEY


# ---------------------------------------------------------------------- the company's own cards (SPEC 13)

NEW_METER = bytes.fromhex("32 06 00 12 34 56 79")
MADE = bytes.fromhex("00 D2 00 87")  # 2026-03-02 10:15 UTC, as above
TOOL_KEY = key_below(ROOT, b"tool", REGION + b"\x01")
FACTORY_KEY = bytes.fromhex("40 41 42 43 44 45 46 47 48 49 4A 4B 4C 4D 4E 4F")


def xor(a, b):
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


def masked_password(wrap_key):
    return xor(PASSWORD, hmac_of(wrap_key, b"psc" + CARD)[:3])


# Binding 3 of the old meter ends; the gas goes to binding 5 of the new one. T is made below the new meter's Km for
# (new binding, old meter, old binding), and masked below the old meter's Kw for (old binding, new meter, new binding).
NEW_METER_KEY = key_below(ROOT, b"meter", REGION + NEW_METER + b"\x01")
TRANSFER_KEY = key_below(NEW_METER_KEY, b"transfer", b"\x05" + METER + b"\x03")
TRANSFER = (
    bytes.fromhex(
        "32 06 00 12 34 56 78"  # meter, the old one
        "03"  # its binding
        "01"  # key version of the old meter
        "32 06 00 12 34 56 79"  # new meter
        "05"  # new binding
    )
    + xor(TRANSFER_KEY, key_below(WRAP_KEY, b"transfer", b"\x03" + NEW_METER + b"\x05"))
    + MADE
    + masked_password(WRAP_KEY)
)

MANAGEMENT = (
    bytes.fromhex(
        "01"  # key version
        "00 D2 A9 47"  # expires 30 days later: + 43 200 = 13 805 895 = 210 x 65 536 + 43 335, and 43 335 is A9 47
    )
    + MADE
    + masked_password(key_below(TOOL_KEY, b"wrap"))
)

SETTING = (
    bytes.fromhex(
        "01"  # key version
        "32 06 00 12 34 56 78"  # meter
        "00 04 03"  # service number 1 027 = 4 x 256 + 3
        "00 D2 A9 47"  # expires 30 days later
    )
    + MADE
    + masked_password(key_below(TOOL_KEY, b"wrap"))
    + bytes.fromhex(
        "07"  # what: clock 1, index 2, guards 4
        "00 D2 00 C3"  # clock: an hour later, 135 + 60 = 195
        "00 12 D6 87"  # index 1 234 567 = 18 x 65 536 + 214 x 256 + 135
        "0F FF"  # report: guards 0 to 11
        "00 FE"  # shut: guards 1 to 7
        "01 2C"  # pause 300 s
        "02"  # over-flow 2 s
        "3C"  # ... for 60 s
        "03 84"  # large flow 900 ms
        "1E"  # ... for 30 s
        "00 78"  # small flow 120 s
        "08"  # ... for 8 h
        "00 F0"  # long flow 240 min
        "1E"  # idle 30 d
        "05"  # 5 pulses past the valve
        "A0"  # battery low 160 x 20 mV = 3.2 V
        "96"  # battery empty 150 x 20 mV = 3.0 V
    )
)

# The keys of version 1, each under a mask of its own below the key the meter has: context version, then 0 or 1.
FACTORY_WRAP = key_below(FACTORY_KEY, b"wrap")
KEY_BLOCK = (
    METER
    + b"\x01"  # key version 1
    + xor(METER_KEY, key_below(FACTORY_WRAP, b"key", b"\x00\x21\x01\x00"))
    + xor(TOOL_KEY, key_below(FACTORY_WRAP, b"key", b"\x00\x21\x01\x01"))
    + MADE
    + masked_password(FACTORY_WRAP)
)

TOOL_FRAMES = [
    ("transfer", b"\x06", ORDER_KEY, TRANSFER, 55),
    ("management", b"\x07", key_below(TOOL_KEY, b"order"), MANAGEMENT, 27),
    ("setting", b"\x08", key_below(TOOL_KEY, b"order"), SETTING, 66),
    ("key", b"\x09", key_below(FACTORY_KEY, b"order"), KEY_BLOCK, 62),
]


@pytest.mark.parametrize(("record", "kind", "key", "data", "size"), TOOL_FRAMES, ids=[row[0] for row in TOOL_FRAMES])
def test_tool_frame_by_hand_equals_gascard_and_vector(record, kind, key, data, size):
    frame = frame_by_hand(kind, key, data)
    assert len(frame) == size
    case, layout = vector(record), meanings.RECORDS[record]
    raw = {name for name, kind in layout if kind >> 4 == 3}
    fields = {name: bytes.fromhex(value) if name in raw else value for name, value in case["fields"].items()}
    assert frames.build(layout, fields, case["kind"], 0x00A1B2C3, 0x0021, key) == frame
    assert case["frame"] == frame.hex()
    assert bytes.fromhex(case["image"])[0x20 : 0x20 + size] == frame


def final_record(key, binding):
    """A report that closes a binding: kind 82, and every field but the binding as in the report above."""
    return frame_by_hand(b"\x82", key, REPORT[:10] + binding + REPORT[11:])


@pytest.mark.parametrize(
    ("name", "key", "binding"),
    [
        ("cleared", REPORT_KEY, b"\x01"),
        ("transferred", key_below(TRANSFER_KEY, b"report"), b"\x03"),
    ],
)
def test_final_record_by_hand_equals_the_vector(name, key, binding):
    cases = json.loads((VECTORS / "tool_card.json").read_text(encoding="utf-8"))
    image = bytes.fromhex(next(case for case in cases if case["name"] == name)["image"])
    assert image[0xA5:0xEF] == final_record(key, binding)
