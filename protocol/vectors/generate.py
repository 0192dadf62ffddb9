"""Write the published test vectors, or with ``--check`` compare them with the files on disk.

The good cases come out of gascard; the bad ones are good ones damaged or forged on purpose, and the expected
code is written down here, not computed. What keeps gascard honest is not this file but the cases called
``by_hand`` (tests/gascard/test_by_hand.py) and the host's second codec. README.md here tells the format.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# The status bits of version 0.1.0: a published vector stays what it was.
STATUS_FIRST = 0x3F01FF
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from gascard import codes, frames, keys, meanings, records  # noqa: E402
from gascard.chip import Chip  # noqa: E402
from gascard.crc import crc16  # noqa: E402

Case = dict[str, Any]
Fields = dict[str, Any]

ROOT = bytes(range(32))
OTHER_ROOT = bytes(range(100, 132))
REGION = 0x0021
METER = "32060012345678"
CARD = 0x00A1B2C3
KEY_VERSION = 1

CODE = {name: value for value, (name, _, _, _) in meanings.CODES.items()}
LAYOUTS = meanings.RECORDS


# Keys ------------------------------------------------------------------------------------------------


def meter_key(root: bytes, region: int, meter: str, version: int) -> bytes:
    return keys.derive(root, b"meter", region.to_bytes(2, "big") + bytes.fromhex(meter) + bytes((version,)))


class Tree:
    """The keys of one meter, from the root of its region."""

    def __init__(self, root=ROOT, region=REGION, meter=METER, version=KEY_VERSION) -> None:
        self.root, self.region, self.meter, self.version = root, region, meter, version
        self.km = meter_key(root, region, meter, version)
        self.ko = keys.derive(self.km, keys.ORDER_KEY)
        self.kr = keys.derive(self.km, keys.REPORT_KEY)
        self.kw = keys.derive(self.km, keys.WRAP_KEY)

    def shown(self) -> dict[str, Any]:
        return {
            "root": self.root.hex(),
            "region": self.region,
            "meter": self.meter,
            "key_version": self.version,
            "Km": self.km.hex(),
            "Ko": self.ko.hex(),
            "Kr": self.kr.hex(),
            "Kw": self.kw.hex(),
        }


TREE = Tree()


def psc_of(root: bytes, region: int, card: int) -> bytes:
    """A card's password: the first three bytes of HMAC(Kp, card) that are neither 000000 nor FFFFFF."""
    digest = keys.hmac_sha256(keys.derive(root, b"psc", region.to_bytes(2, "big")), card.to_bytes(4, "big"))
    for at in range(0, 30, 3):
        if digest[at : at + 3] not in (b"\0\0\0", b"\xff\xff\xff"):
            return digest[at : at + 3]
    raise AssertionError("ten bad triples in one digest")


# Fields ----------------------------------------------------------------------------------------------

IDENTITY_TYPICAL: Fields = {
    "mark": records.MARK,
    "format": 1,
    "region": REGION,
    "kind": records.CARD_CUSTOMER,
    "card": CARD,
    "issue_batch": 2603,
}

ORDER_TYPICAL: Fields = {
    "meter": METER,
    "account": "0000104417",
    "binding": 1,
    "replacement": 0,
    "key_version": KEY_VERSION,
    "sequence": 7,
    "bought_total": 21000,
    "amount": 3000,
    "correction_total": -12,
    "pulse_weight": 2,
    "alarm": 500,
    "ceiling": 30000,
    "overdraft": 200,
    "over_flow_seconds": 9,
    "time": 13762695,
    "psc_mask": keys.mask_psc(TREE.kw, CARD, psc_of(ROOT, REGION, CARD)),
    "flags": records.FLAG_PARAMETERS,
}

REPORT_TYPICAL: Fields = {
    "report_number": 9,
    "meter": METER,
    "binding": 1,
    "replacement": 0,
    "versions": 0x11,
    "sequence": 7,
    "bought_total": 21000,
    "correction_total": -12,
    "register": 18743,
    "used": 18695,
    "index": 18750,
    "status": records.STATUS_VALVE_OPEN,
    "last_code": 0,
    "battery": 178,
    "time": 13763340,
    "valve_moves": 11,
    "valve_failures": 0,
    "boots": 3,
    "power_failures": 1,
    "magnet_events": 0,
    "over_flow_count": 0,
    "alarm": 500,
    "ceiling": 30000,
    "overdraft": 200,
    "over_flow_seconds": 9,
}


def extreme(record: str, top: bool) -> Fields:
    """Every field at its lowest or highest value; where few values mean anything, the highest of those."""
    fields: Fields = {}
    for name, kind in LAYOUTS[record]:
        size, sort = records.kind_size(kind), kind >> 4
        if sort == 2:
            fields[name] = ("9" if top else "0") * (2 * size)
        elif sort == 3:
            fields[name] = (b"\xff" if top else b"\0") * size
        elif sort == 1:
            fields[name] = (1 << 8 * size - 1) - 1 if top else -(1 << 8 * size - 1)
        elif sort == 5:
            fields[name] = records.TOTAL_MAX if top else 0
        else:
            fields[name] = (1 << 8 * size) - 1 if top else 0
    if record == "order":
        fields["sequence"], fields["binding"] = max(fields["sequence"], 1), max(fields["binding"], 1)
    if top:
        fields["time"] = (1 << 30) - 1
        if record == "order":
            fields["pulse_weight"], fields["flags"] = 2, records.FLAGS_ALL
        else:
            fields["status"], fields["last_code"] = STATUS_FIRST, 127
    return fields


def plain(fields: Fields) -> Fields:
    """The fields as JSON holds them: bytes as hex, everything else as it is."""
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in fields.items()}


# Images and frames -----------------------------------------------------------------------------------


def image_of(identity: Fields, *parts: tuple[int, bytes]) -> bytes:
    """A card fresh from the maker with its identity and the given bytes at the given places."""
    image = Chip().main
    for at, data in ((records.IDENTITY_AT, frames.build_identity(identity)), *parts):
        image[at : at + len(data)] = data
    return bytes(image)


def flipped(data: bytes, at: int, mask: int = 0x01) -> bytes:
    changed = bytearray(data)
    changed[at] ^= mask
    return bytes(changed)


def sealed(frame: bytes, key: bytes | None, card: int = CARD, region: int = REGION) -> bytes:
    """The same frame with its MAC (if a key is given) and its CRC made right again."""
    end = len(frame) - frames.TAIL
    mac = frame[end : end + 8]
    if key is not None:
        mac = keys.frame_mac(key, card, region, frame[3], frame[1], frame[frames.HEAD : end])
    return frames.close(bytearray(frame), end, mac)


def with_data(frame: bytes, data: bytes, key: bytes | None) -> bytes:
    """The frame round other data of any length, everything made right again."""
    return sealed(bytes((frame[0], frame[1], len(data), frame[3])) + data + bytes(frames.TAIL), key)


def case(name: str, note: str, direction: str, expect: str, **rest: Any) -> Case:
    return {
        "name": name,
        "note": note,
        "direction": direction,
        "expect": {"name": expect, "code": CODE[expect]},
        **rest,
    }


# identity.json ---------------------------------------------------------------------------------------


def identity_cases() -> Iterator[Case]:
    def good(name: str, note: str, **change: Any) -> Case:
        fields = {**IDENTITY_TYPICAL, **change}
        return case(
            name,
            note,
            "both",
            "OK",
            region=fields["region"],
            fields=fields,
            frame=frames.build_identity(fields).hex(),
            image=image_of(fields).hex(),
        )

    def bad(name: str, note: str, expect: str, image: bytes, region: int = REGION) -> Case:
        at = records.IDENTITY_AT
        frame = image[at : at + records.size_of(records.IDENTITY)]
        return case(name, note, "decode", expect, region=region, frame=frame.hex(), image=image.hex())

    def refused(name: str, field: str, value: Any) -> Case:
        fields = {**IDENTITY_TYPICAL, field: value}
        made = case(name, f"{field} does not fit its field", "encode", "RANGE", region=REGION, fields=fields)
        made["expect"]["field"] = field
        return made

    typical = image_of(IDENTITY_TYPICAL)
    at = records.IDENTITY_AT
    yield good("by_hand", "worked out by hand in tests/gascard/test_by_hand.py")
    for kind, (word, english, _) in meanings.CARD_KINDS.items():
        yield good(f"kind_{word}", f"a {english}", kind=kind)
    yield good("minimum", "every free field at 0", region=0, card=0, issue_batch=0)
    yield good(
        "maximum", "every free field at its highest", region=0xFFFF, card=0xFFFFFFFF, issue_batch=0xFFFF
    )

    yield bad("blank_card", "a chip as the maker ships it", "NOT_OURS", bytes(Chip().main))
    yield bad("all_00", "256 bytes of 00: no chip answers so", "NO_CARD", bytes(256))
    yield bad("all_ff", "256 bytes of FF: an empty slot reads so", "NO_CARD", b"\xff" * 256)
    foreign = bytes((0x92, 0x23, 0x10, 0x91)) + typical[4:]
    yield bad(
        "foreign_chip", "a memory card of another family, our identity copied on it", "NO_CARD", foreign
    )
    other_system = bytearray(Chip().main)
    other_system[0x20:0x26] = bytes((0x68, 0x01, 0x01, 0x00, 0x02, 0x16))
    yield bad("foreign_system", "an SLE4442 of somebody else's meters", "NOT_OURS", bytes(other_system))

    expected = {"mark": "NOT_OURS"}
    offset = at
    for name, kind in records.IDENTITY:
        yield bad(
            f"flip_{name}", f"one bit of {name} flipped", expected.get(name, "CRC"), flipped(typical, offset)
        )
        offset += records.kind_size(kind)
    newer = image_of({**IDENTITY_TYPICAL, "format": 2})
    yield bad("newer_format", "format 2, whole", "VERSION", newer)
    yield bad("newer_format_damaged", "format 2 and a flipped bit", "CRC", flipped(newer, at + 6))
    yield bad(
        "other_region", "whole, of region 0022", "REGION", image_of({**IDENTITY_TYPICAL, "region": 0x22})
    )
    yield bad(
        "unknown_kind",
        "whole, of a card kind nobody has defined",
        "KIND",
        image_of({**IDENTITY_TYPICAL, "kind": 0x63}),
    )

    yield refused("encode_region_over", "region", 0x10000)
    yield refused("encode_card_over", "card", 1 << 32)
    yield refused("encode_card_negative", "card", -1)
    yield refused("encode_kind_missing", "kind", None)


# order.json and report.json --------------------------------------------------------------------------


class FrameCases:
    """The cases that orders and reports have in common; ``place`` is where the frame lies in the image."""

    def __init__(self, record: str, typical: Fields, kind: int, key: str, place: int) -> None:
        self.record, self.typical, self.kind, self.key, self.place = record, typical, kind, key, place
        self.layout = LAYOUTS[record]
        self.frame = self.build(typical)

    def build(self, fields: Fields, tree: Tree = TREE, card: int = CARD, kind: int | None = None) -> bytes:
        key = getattr(tree, self.key)
        return frames.build(self.layout, fields, self.kind if kind is None else kind, card, tree.region, key)

    def good(
        self,
        name: str,
        note: str,
        tree: Tree = TREE,
        kind: int | None = None,
        place: int | None = None,
        **change: Any,
    ) -> Case:
        kind = self.kind if kind is None else kind
        place = self.place if place is None else place
        fields = {**self.typical, **change}
        card = {**IDENTITY_TYPICAL, "region": tree.region}
        frame = self.build(fields, tree, kind=kind)
        return case(
            name,
            note,
            "both",
            "OK",
            keys=tree.shown(),
            identity=card,
            kind=kind,
            at=place,
            fields=plain(fields),
            frame=frame.hex(),
            image=image_of(card, (place, frame)).hex(),
        )

    def bad(
        self, name: str, note: str, expect: str, frame: bytes, identity: Fields = IDENTITY_TYPICAL
    ) -> Case:
        return case(
            name,
            note,
            "decode",
            expect,
            keys=TREE.shown(),
            identity=identity,
            at=self.place,
            frame=frame.hex(),
            image=image_of(identity, (self.place, frame)).hex(),
        )

    def refused(self, field: str, value: Any, word: str) -> Case:
        made = case(
            f"encode_{field}_{word}",
            f"{field} does not fit its field",
            "encode",
            "RANGE",
            keys=TREE.shown(),
            identity=IDENTITY_TYPICAL,
            kind=self.kind,
            at=self.place,
            fields=plain({**self.typical, field: value}),
        )
        made["expect"]["field"] = field
        return made

    def key_of(self, tree: Tree = TREE) -> bytes:
        key: bytes = getattr(tree, self.key)
        return key

    def changed(self, field: str, raw: bytes, key: bytes | None) -> bytes:
        """The typical frame with the bytes of one field replaced, everything made right again."""
        frame = bytearray(self.frame)
        at = frames.HEAD + records.offset_of(self.layout, field)
        frame[at : at + len(raw)] = raw
        return sealed(bytes(frame), key)

    def damaged(self) -> Iterator[Case]:
        frame, size = self.frame, len(self.frame)
        end = size - frames.TAIL
        for part, at, expect in (
            ("mark", 0, "SHAPE"),
            ("kind", 1, "CRC"),
            ("length", 2, "SHAPE"),
            ("version", 3, "CRC"),
            ("first_data", 4, "CRC"),
            ("last_data", end - 1, "CRC"),
            ("mac", end, "CRC"),
            ("crc", end + 8, "CRC"),
            ("end", end + 10, "SHAPE"),
        ):
            yield self.bad(
                f"flip_{part}", f"one bit of the {part.replace('_', ' ')} flipped", expect, flipped(frame, at)
            )
        for length, word in (
            (1, "start"),
            (frames.HEAD, "head"),
            (size // 2, "half"),
            (end + 8, "mac"),
            (size - 1, "crc"),
        ):
            yield self.bad(
                f"torn_after_{word}",
                f"only the first {length} bytes reached the card, FF behind them",
                "SHAPE",
                frame[:length] + b"\xff" * (size - length),
            )
        yield self.bad("empty_slot_ff", "nothing written yet", "SHAPE", b"\xff" * size)
        yield self.bad("empty_slot_00", "zeros where the frame should be", "SHAPE", bytes(size))
        yield self.bad(
            "longer_data",
            "one data byte too many, everything else right",
            "SHAPE",
            with_data(frame, frame[frames.HEAD : end] + b"\0", self.key_of()),
        )
        yield self.bad(
            "shorter_data",
            "one data byte too few, everything else right",
            "SHAPE",
            with_data(frame, frame[frames.HEAD : end - 1], self.key_of()),
        )

    def versions(self) -> Iterator[Case]:
        end = len(self.frame) - frames.TAIL
        newer = self.frame[:3] + b"\x02" + self.frame[4:]
        whole = sealed(newer, self.key_of())
        yield self.bad("newer_version", "format 2 of the same length, MAC and CRC right", "VERSION", whole)
        yield self.bad(
            "newer_version_longer",
            "format 2 with two more data bytes, MAC and CRC right",
            "VERSION",
            with_data(newer, newer[frames.HEAD : end] + b"\x12\x34", self.key_of()),
        )
        yield self.bad(
            "newer_version_other_mac",
            "format 2 with a MAC of another key: the MAC is not asked",
            "VERSION",
            sealed(newer, bytes(16)),
        )
        yield self.bad("newer_version_damaged", "format 2 with a flipped bit", "CRC", flipped(whole, 20))
        yield self.bad(
            "newer_version_endless",
            "format 2 with a length beyond the card",
            "SHAPE",
            whole[:2] + b"\xff" + whole[3:],
        )
        yield self.bad(
            "version_0",
            "format 0, MAC and CRC right",
            "VERSION",
            sealed(self.frame[:3] + b"\0" + self.frame[4:], self.key_of()),
        )

    def malformed(self) -> Iterator[Case]:
        key = self.key_of()
        for name, kind in self.layout:
            if kind >> 4 == 2:
                raw = bytes.fromhex(self.typical[name])
                yield self.bad(
                    f"bad_bcd_{name}",
                    f"a nibble A in {name}, MAC and CRC right",
                    "SHAPE",
                    self.changed(name, b"\xa0" + raw[1:], key),
                )
            elif kind == records.TOTAL:
                over = (records.TOTAL_MAX + 1).to_bytes(4, "big")
                yield self.bad(
                    f"over_{name}",
                    f"{name} 100 000 000, MAC and CRC right",
                    "SHAPE",
                    self.changed(name, over, key),
                )

    def strangers(self) -> Iterator[Case]:
        other_region = {**IDENTITY_TYPICAL, "region": 0x0022}
        elsewhere = Tree(region=0x0022)
        yield self.bad(
            "other_region",
            "a whole card of region 0022, which this reader does not serve",
            "REGION",
            self.build(self.typical, elsewhere),
            other_region,
        )
        neighbour = Tree(meter="32060012345679")
        yield self.bad(
            "other_meter",
            "a genuine frame of the neighbour's meter",
            "METER",
            self.build({**self.typical, "meter": neighbour.meter}, neighbour),
        )

    def forged(self) -> Iterator[Case]:
        frame = self.frame
        end = len(frame) - frames.TAIL
        yield self.bad(
            "forged_data",
            "bought total raised, CRC made right",
            "MAC",
            self.changed("bought_total", (90000).to_bytes(4, "big"), None),
        )
        yield self.bad(
            "forged_mac",
            "one bit of the MAC flipped, CRC made right",
            "MAC",
            sealed(flipped(frame, end + 7), None),
        )
        yield self.bad(
            "mac_of_other_root",
            "the MAC made below another root",
            "MAC",
            sealed(frame, self.key_of(Tree(root=OTHER_ROOT))),
        )
        yield self.bad(
            "mac_of_other_key_version",
            "the MAC made with the keys of version 2",
            "MAC",
            sealed(frame, self.key_of(Tree(version=2))),
        )
        yield self.bad(
            "mac_of_other_region",
            "the MAC made for region 0022 with this meter's key",
            "MAC",
            sealed(frame, self.key_of(), region=0x0022),
        )
        yield self.bad(
            "mac_of_other_direction",
            "the MAC made with the key of the other direction",
            "MAC",
            sealed(frame, TREE.kr if self.key == "ko" else TREE.ko),
        )
        yield self.bad(
            "mac_of_other_card",
            "a genuine frame copied to a card of another number",
            "MAC",
            self.build(self.typical, card=CARD + 1),
        )
        yield self.bad(
            "mac_all_00", "a MAC of zeros, CRC right", "MAC", frames.close(bytearray(frame), end, bytes(8))
        )

    def out_of_range(self) -> Iterator[Case]:
        for name, kind in self.layout:
            size, sort = records.kind_size(kind), kind >> 4
            if sort == 2:
                yield self.refused(name, "1" * (2 * size - 1), "short")
                yield self.refused(name, "1" * (2 * size - 1) + "A", "letter")
            elif sort == 3:
                yield self.refused(name, bytes(size - 1), "short")
            elif sort == 1:
                yield self.refused(name, 1 << 8 * size - 1, "over")
                yield self.refused(name, -(1 << 8 * size - 1) - 1, "under")
            else:
                top = records.TOTAL_MAX + 1 if sort == 5 else 1 << 8 * size
                yield self.refused(name, top, "over")
                yield self.refused(name, -1, "negative")


def order_cases() -> Iterator[Case]:
    f = FrameCases("order", ORDER_TYPICAL, records.ORDER_USER, "ko", records.ORDER_AT)
    yield f.good(
        "by_hand",
        "a purchase of 30 m³ by pulses of 0.01 m³; worked out by hand in tests/gascard/test_by_hand.py",
    )
    yield f.good(
        "opening",
        "the order of an opening card",
        kind=records.ORDER_OPENING,
        sequence=1,
        bought_total=3000,
        correction_total=0,
    )
    yield f.good("without_parameters", "the parameters stand there but are not to be taken", flags=0)
    yield f.good(
        "refund",
        "10 m³ paid back: bought total falls",
        sequence=8,
        bought_total=20000,
        amount=-1000,
        flags=records.FLAG_REFUND,
    )
    yield f.good(
        "gift", "5 m³ given free", sequence=8, bought_total=21500, amount=500, flags=records.FLAG_GIFT
    )
    yield f.good(
        "make_up",
        "2 m³ given back for a proven loss",
        sequence=8,
        bought_total=21200,
        amount=200,
        flags=records.FLAG_MAKEUP,
    )
    yield f.good(
        "correction_positive",
        "the register was behind the index: 0.37 m³ more have been used",
        correction_total=37,
    )
    yield f.good("correction_lowest", "the most negative correction", correction_total=-8388608)
    yield f.good("amount_lowest", "the most negative amount", amount=-8388608, flags=records.FLAG_REFUND)
    yield f.good("replacement_card", "third card of this customer", replacement=2, sequence=8)
    yield f.good("weight_0", "pulses of 1 m³", pulse_weight=0)
    yield f.good("weight_1", "pulses of 0.1 m³", pulse_weight=1)
    yield f.good(
        "probe",
        "an order that carries nothing and only fetches a report",
        sequence=107,
        bought_total=0,
        amount=0,
    )
    low, top = Tree(region=0, meter="0" * 14, version=0), Tree(region=0xFFFF, meter="9" * 14, version=255)
    yield f.good("minimum", "every field at its lowest", tree=low, **extreme("order", False))
    yield f.good("maximum", "every field at its highest", tree=top, **extreme("order", True))
    yield from f.damaged()
    yield from f.versions()
    yield from f.malformed()
    yield from f.strangers()
    yield f.bad(
        "unknown_kind",
        "a kind nobody has defined, MAC and CRC right",
        "KIND",
        sealed(f.frame[:1] + b"\x7e" + f.frame[2:], TREE.ko),
    )
    for field, raw, note in (
        ("flags", b"\x18", "a flag nobody has defined"),
        ("sequence", b"\0\0", "sequence 0: orders are numbered from 1"),
        ("binding", b"\0", "binding 0: no account has it"),
    ):
        yield f.bad(f"bad_{field}", f"{note}, MAC and CRC right", "SHAPE", f.changed(field, raw, TREE.ko))
    yield f.bad(
        "report_kind",
        "an order that calls itself a report, MAC and CRC right",
        "KIND",
        sealed(f.frame[:1] + bytes((records.REPORT,)) + f.frame[2:], TREE.ko),
    )
    yield f.bad(
        "opening_forged_from_user",
        "the kind changed from user to opening, CRC made right",
        "MAC",
        sealed(f.frame[:1] + bytes((records.ORDER_OPENING,)) + f.frame[2:], None),
    )
    yield f.bad(
        "other_key_version",
        "made with the keys of version 2, and says so",
        "KEY_VERSION",
        f.build({**ORDER_TYPICAL, "key_version": 2}, Tree(version=2)),
    )
    yield from f.forged()
    yield from f.out_of_range()


def report_cases() -> Iterator[Case]:
    f = FrameCases("report", REPORT_TYPICAL, records.REPORT, "kr", records.REPORT_AT[0])
    yield f.good(
        "by_hand", "after the purchase of order.json; worked out by hand in tests/gascard/test_by_hand.py"
    )
    yield f.good(
        "second_slot", "the same in the other report slot", place=records.REPORT_AT[1], report_number=10
    )
    yield f.good(
        "shut_at_zero",
        "everything used up, the 2 m³ of overdraft too",
        register=21260,
        used=21212,
        index=21267,
        status=records.SHUT_ZERO,
    )
    yield f.good("every_status_bit", "all that can go wrong at once", status=STATUS_FIRST)
    yield f.good("every_guard", "and all that has come since", status=sum(meanings.STATUS_MEANINGS))
    yield f.good("refused_card", "the last card was refused for its MAC", last_code=-codes.MAC)
    low, top = Tree(region=0, meter="0" * 14, version=0), Tree(region=0xFFFF, meter="9" * 14, version=255)
    yield f.good("minimum", "every field at its lowest", tree=low, **extreme("report", False))
    yield f.good("maximum", "every field at its highest", tree=top, **extreme("report", True))
    yield from f.damaged()
    yield from f.versions()
    yield from f.malformed()
    yield from f.strangers()
    yield f.bad(
        "order_kind",
        "a report that calls itself an order, MAC and CRC right",
        "KIND",
        sealed(f.frame[:1] + bytes((records.ORDER_USER,)) + f.frame[2:], TREE.kr),
    )
    yield from f.forged()
    yield from f.out_of_range()


# card.json: whole images, every part judged ----------------------------------------------------------


def card_cases() -> Iterator[Case]:
    order = frames.build(records.ORDER, ORDER_TYPICAL, records.ORDER_USER, CARD, REGION, TREE.ko)
    opening_fields = {**ORDER_TYPICAL, "sequence": 1, "bought_total": 3000, "correction_total": 0}
    opening = frames.build(records.ORDER, opening_fields, records.ORDER_OPENING, CARD, REGION, TREE.ko)

    def report(number: int, **change: Any) -> bytes:
        fields = {**REPORT_TYPICAL, "report_number": number, **change}
        return frames.build(records.REPORT_DATA, fields, records.REPORT, CARD, REGION, TREE.kr)

    def made(name: str, note: str, image: bytes, *expect: str, newest: int | None = None) -> Case:
        words = dict(zip(("identity", "order", "report_0", "report_1"), expect, strict=True))
        return {
            "name": name,
            "note": note,
            "direction": "decode",
            "keys": TREE.shown(),
            "expect": {part: {"name": word, "code": CODE[word]} for part, word in words.items()},
            "newest_report": newest,
            "image": image.hex(),
        }

    first, second = records.REPORT_AT
    place = records.ORDER_AT
    blank = bytes(Chip().main)
    yield made("blank", "a chip as the maker ships it", blank, "NOT_OURS", "SHAPE", "SHAPE", "SHAPE")
    yield made(
        "new", "formatted, nothing sold yet", image_of(IDENTITY_TYPICAL), "OK", "SHAPE", "SHAPE", "SHAPE"
    )
    yield made(
        "opening",
        "handed out, not yet in a meter",
        image_of(IDENTITY_TYPICAL, (place, opening)),
        "OK",
        "OK",
        "SHAPE",
        "SHAPE",
    )
    opened = image_of(IDENTITY_TYPICAL, (place, opening), (first, report(1, sequence=1, bought_total=3000)))
    yield made("opened", "back from the meter: one report", opened, "OK", "OK", "OK", "SHAPE", newest=0)
    bought = image_of(
        IDENTITY_TYPICAL, (place, order), (first, report(7, sequence=6)), (second, report(8, sequence=6))
    )
    yield made("purchase", "a purchase over two older reports", bought, "OK", "OK", "OK", "OK", newest=1)
    loaded = image_of(IDENTITY_TYPICAL, (place, order), (first, report(9)), (second, report(8, sequence=6)))
    yield made(
        "loaded",
        "the purchase has been loaded: report 9 over report 7",
        loaded,
        "OK",
        "OK",
        "OK",
        "OK",
        newest=0,
    )
    torn = bytearray(loaded)
    torn[first + 30 : first + 74] = bought[first + 30 : first + 74]
    yield made(
        "pulled_while_reporting",
        "30 bytes of report 9 over report 7: the other slot still speaks",
        bytes(torn),
        "OK",
        "OK",
        "CRC",
        "OK",
        newest=1,
    )
    half = bytearray(opened)
    half[place : place + 30] = order[:30]
    yield made(
        "pulled_while_selling",
        "30 bytes of a new order over the opening order",
        bytes(half),
        "OK",
        "CRC",
        "OK",
        "SHAPE",
        newest=0,
    )
    other = image_of(
        {**IDENTITY_TYPICAL, "card": CARD + 1}, (place, order), (first, report(9)), (second, report(8))
    )
    yield made("cloned", "all frames copied to a card of another number", other, "OK", "MAC", "MAC", "MAC")
    swapped = image_of(
        IDENTITY_TYPICAL, (place, order), (first, loaded[second : second + 74]), (second, report(9))
    )
    yield made(
        "slots_swapped",
        "the newest report is told by its number, not by its place",
        swapped,
        "OK",
        "OK",
        "OK",
        "OK",
        newest=1,
    )


# keys.json -------------------------------------------------------------------------------------------


def key_cases() -> Iterator[Case]:
    for number, key, message in (
        (1, b"\x0b" * 20, b"Hi There"),
        (2, b"Jefe", b"what do ya want for nothing?"),
        (3, b"\xaa" * 20, b"\xdd" * 50),
        (4, bytes(range(1, 26)), b"\xcd" * 50),
        (6, b"\xaa" * 131, b"Test Using Larger Than Block-Size Key - Hash Key First"),
    ):
        yield {
            "name": f"hmac_rfc4231_{number}",
            "operation": "hmac",
            "key": key.hex(),
            "message": message.hex(),
            "result": keys.hmac_sha256(key, message).hex(),
        }
    for name, tree in (
        ("typical", TREE),
        ("other_root", Tree(root=OTHER_ROOT)),
        ("other_region", Tree(region=0x0022)),
        ("other_meter", Tree(meter="32060012345679")),
        ("version_2", Tree(version=2)),
        ("lowest", Tree(bytes(32), 0, "0" * 14, 0)),
        ("highest", Tree(b"\xff" * 32, 0xFFFF, "9" * 14, 255)),
    ):
        yield {"name": f"tree_{name}", "operation": "tree", **tree.shown()}
    for name, kind, data in (
        ("user_order", 2, b"\x01\x02\x03"),
        ("report", 0x81, b""),
        ("long", 2, bytes(100)),
    ):
        yield {
            "name": f"mac_{name}",
            "operation": "mac",
            "key": TREE.ko.hex(),
            "card": CARD,
            "region": REGION,
            "version": 1,
            "kind": kind,
            "data": data.hex(),
            "result": keys.frame_mac(TREE.ko, CARD, REGION, 1, kind, data).hex(),
        }
    for card in (0, CARD, 0xFFFFFFFF):
        psc = psc_of(ROOT, REGION, card)
        yield {
            "name": f"psc_{card:08x}",
            "operation": "psc",
            "root": ROOT.hex(),
            "region": REGION,
            "card": card,
            "Kw": TREE.kw.hex(),
            "psc": psc.hex(),
            "mask": keys.mask_psc(TREE.kw, card, psc).hex(),
        }
    for name, data in (
        ("check_value", b"123456789"),
        ("empty", b""),
        ("one_zero", b"\0"),
        ("all_ff", b"\xff" * 59),
        ("every_byte", bytes(range(256))),
    ):
        yield {"name": f"crc_{name}", "operation": "crc", "data": data.hex(), "result": crc16(data)}


FILES = {
    "identity.json": identity_cases,
    "order.json": order_cases,
    "report.json": report_cases,
    "card.json": card_cases,
    "keys.json": key_cases,
}


def text_of(file: str) -> str:
    cases = list(FILES[file]())
    names = [one["name"] for one in cases]
    doubled = {name for name in names if names.count(name) > 1}
    if doubled:
        raise SystemExit(f"{file}: names used twice: {sorted(doubled)}")
    return json.dumps(cases, indent=1, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        print("usage: generate.py [--check]")
        return 2
    stale = []
    for file in FILES:
        text = text_of(file)
        path = HERE / file
        if arguments:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                stale.append(file)
        else:
            path.write_text(text, encoding="utf-8")
    for file in stale:
        print(f"{file} is not what generate.py makes: run python protocol/vectors/generate.py")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
