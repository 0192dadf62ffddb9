"""One vector a record worked out by hand from docs/SPEC.md: the bytes are literals, and no table, encoder,
CRC or HMAC of gascard has a part in making them. If a table were wrong, the tests that derive everything
from it would agree with the error; this one does not.
"""

import hashlib
import hmac
import json
from pathlib import Path

from gascard import frames, records

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
