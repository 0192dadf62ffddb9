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

from gascard import codes, frames, keys, meanings, records, tools  # noqa: E402
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
        elif sort == 4:
            fields[name] = records.TIME_MAX if top else 0
        else:
            fields[name] = (1 << 8 * size) - 1 if top else 0
    if record not in ("identity", "order", "report"):
        return fields
    if record == "order":
        fields["sequence"], fields["binding"] = max(fields["sequence"], 1), max(fields["binding"], 1)
    if top:
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
    yield good("maximum", "every free field at its highest", region=0xFFFF, card=0xFFFFFFFF, issue_batch=0xFFFF)

    yield bad("blank_card", "a chip as the maker ships it", "NOT_OURS", bytes(Chip().main))
    yield bad("all_00", "256 bytes of 00: no chip answers so", "NO_CARD", bytes(256))
    yield bad("all_ff", "256 bytes of FF: an empty slot reads so", "NO_CARD", b"\xff" * 256)
    foreign = bytes((0x92, 0x23, 0x10, 0x91)) + typical[4:]
    yield bad("foreign_chip", "a memory card of another family, our identity copied on it", "NO_CARD", foreign)
    other_system = bytearray(Chip().main)
    other_system[0x20:0x26] = bytes((0x68, 0x01, 0x01, 0x00, 0x02, 0x16))
    yield bad("foreign_system", "an SLE4442 of somebody else's meters", "NOT_OURS", bytes(other_system))

    expected = {"mark": "NOT_OURS"}
    offset = at
    for name, kind in records.IDENTITY:
        yield bad(f"flip_{name}", f"one bit of {name} flipped", expected.get(name, "CRC"), flipped(typical, offset))
        offset += records.kind_size(kind)
    newer = image_of({**IDENTITY_TYPICAL, "format": 2})
    yield bad("newer_format", "format 2, whole", "VERSION", newer)
    yield bad("newer_format_damaged", "format 2 and a flipped bit", "CRC", flipped(newer, at + 6))
    yield bad("other_region", "whole, of region 0022", "REGION", image_of({**IDENTITY_TYPICAL, "region": 0x22}))
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
    """The cases that frames have in common; ``place`` is where the frame lies in the image."""

    def __init__(
        self,
        record: str,
        typical: Fields,
        kind: int,
        key: str,
        place: int,
        tree: Tree = TREE,
        card_kind: int = records.CARD_CUSTOMER,
    ) -> None:
        self.record, self.typical, self.kind, self.key, self.place = record, typical, kind, key, place
        self.tree, self.identity = tree, {**IDENTITY_TYPICAL, "kind": card_kind}
        self.layout = LAYOUTS[record]
        self.frame = self.build(typical)

    def build(self, fields: Fields, tree: Tree | None = None, card: int = CARD, kind: int | None = None) -> bytes:
        tree = tree or self.tree
        key = getattr(tree, self.key)
        return frames.build(self.layout, fields, self.kind if kind is None else kind, card, tree.region, key)

    def good(
        self,
        name: str,
        note: str,
        tree: Tree | None = None,
        kind: int | None = None,
        place: int | None = None,
        **change: Any,
    ) -> Case:
        tree = tree or self.tree
        kind = self.kind if kind is None else kind
        place = self.place if place is None else place
        fields = {**self.typical, **change}
        card = {**self.identity, "region": tree.region}
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

    def bad(self, name: str, note: str, expect: str, frame: bytes, identity: Fields | None = None) -> Case:
        identity = identity or self.identity
        return case(
            name,
            note,
            "decode",
            expect,
            keys=self.tree.shown(),
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
            keys=self.tree.shown(),
            identity=self.identity,
            kind=self.kind,
            at=self.place,
            fields=plain({**self.typical, field: value}),
        )
        made["expect"]["field"] = field
        return made

    def key_of(self, tree: Tree | None = None) -> bytes:
        key: bytes = getattr(tree or self.tree, self.key)
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
        yield self.bad("mac_all_00", "a MAC of zeros, CRC right", "MAC", frames.close(bytearray(frame), end, bytes(8)))

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
    yield f.good("gift", "5 m³ given free", sequence=8, bought_total=21500, amount=500, flags=records.FLAG_GIFT)
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
    yield f.good("by_hand", "after the purchase of order.json; worked out by hand in tests/gascard/test_by_hand.py")
    yield f.good("second_slot", "the same in the other report slot", place=records.REPORT_AT[1], report_number=10)
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


# The company's own cards: transfer.json, management.json, setting.json, key.json ----------------------

NEW_METER = "32060012345679"
FACTORY_KEY = bytes(range(0x40, 0x50))
EXAMPLE_TIME = 13762695  # 2026-03-02 10:15 UTC


class ToolTree(Tree):
    """A meter's keys and the tool key of the same version."""

    def __init__(self, root=ROOT, region=REGION, meter=METER, version=KEY_VERSION) -> None:
        super().__init__(root, region, meter, version)
        self.kt = keys.derive(root, b"tool", region.to_bytes(2, "big") + bytes((version,)))
        self.kt_order = keys.derive(self.kt, keys.ORDER_KEY)
        self.kt_wrap = keys.derive(self.kt, keys.WRAP_KEY)

    def shown(self) -> dict[str, Any]:
        more = {"Kt": self.kt, "Kt_order": self.kt_order, "Kt_wrap": self.kt_wrap}
        return super().shown() | {name: key.hex() for name, key in more.items()}

    def psc_mask(self, wrap: bytes, card: int = CARD) -> bytes:
        return keys.mask_psc(wrap, card, psc_of(self.root, self.region, card))


class TransferTree(ToolTree):
    """The keys of the old meter, and of the transfer to the new one."""

    def __init__(
        self,
        root=ROOT,
        region=REGION,
        meter=METER,
        version=KEY_VERSION,
        new_meter=NEW_METER,
        new_version=1,
        bindings=(3, 5),
    ) -> None:
        super().__init__(root, region, meter, version)
        self.new, self.bindings = Tree(root, region, new_meter, new_version), bindings
        context = tools.transfer_context(meter, *bindings)
        self.t = keys.derive(self.new.km, tools.TRANSFER_KEY, context)
        self.t_report = keys.derive(self.t, keys.REPORT_KEY)
        context = tools.wrap_context(bindings[0], new_meter, bindings[1])
        self.t_wrapped = tools.masked(self.t, keys.derive(self.kw, tools.TRANSFER_KEY, context))

    def shown(self) -> dict[str, Any]:
        return Tree.shown(self) | {
            "T": self.t.hex(),
            "T_report": self.t_report.hex(),
            "new": self.new.shown(),
            "bindings": list(self.bindings),
        }

    def own(self) -> Fields:
        return {
            "meter": self.meter,
            "binding": self.bindings[0],
            "key_version": self.version,
            "new_meter": self.new.meter,
            "new_binding": self.bindings[1],
            "transfer_key": self.t_wrapped,
            "psc_mask": self.psc_mask(self.kw),
        }


class KeyTree(ToolTree):
    """The new keys of a meter, and the parent they come under: its factory key, or its key of an earlier version."""

    def __init__(self, root=ROOT, region=REGION, meter=METER, version=KEY_VERSION, parent=FACTORY_KEY, has=0) -> None:
        super().__init__(root, region, meter, version)
        self.has, self.parent = has, meter_key(root, region, meter, has) if has else parent
        self.parent_order = keys.derive(self.parent, keys.ORDER_KEY)
        self.parent_wrap = keys.derive(self.parent, keys.WRAP_KEY)

    def shown(self) -> dict[str, Any]:
        return {
            "root": self.root.hex(),
            "region": self.region,
            "meter": self.meter,
            "key_version": self.has,
            "parent": self.parent.hex(),
            "parent_order": self.parent_order.hex(),
            "parent_wrap": self.parent_wrap.hex(),
            "Km": self.km.hex(),
            "Kt": self.kt.hex(),
            "Kr": self.kr.hex(),
        }

    def own(self) -> Fields:
        contexts = [tools.key_context(self.region, self.version, i) for i in (0, 1)]
        masks = [keys.derive(self.parent_wrap, tools.KEY_WRAP, context) for context in contexts]
        return {
            "meter": self.meter,
            "key_version": self.version,
            "key": tools.masked(self.km, masks[0]),
            "tool_key": tools.masked(self.kt, masks[1]),
            "psc_mask": self.psc_mask(self.parent_wrap),
        }


class ToolCases(FrameCases):
    """The same for a frame of the company's own cards; ``forged_field`` is what a forger would raise."""

    forged_field = "time"

    def strangers(self) -> Iterator[Case]:
        tree = type(self.tree)
        yield self.bad(
            "other_region",
            "a whole card of region 0022, which this reader does not serve",
            "REGION",
            self.build(self.typical, tree(region=0x0022)),
            {**self.identity, "region": 0x0022},
        )
        yield self.bad(
            "customer_kind",
            "a kind of a customer's order, MAC and CRC right",
            "KIND",
            sealed(self.frame[:1] + bytes((records.ORDER_USER,)) + self.frame[2:], self.key_of()),
        )
        if "meter" in self.layout.names:
            other = "32060012345680"
            fields = {**self.typical, "meter": other}
            yield self.bad(
                "other_meter", "a genuine frame for a third meter", "METER", self.build(fields, tree(meter=other))
            )

    def forged(self) -> Iterator[Case]:
        frame, tree = self.frame, type(self.tree)
        end = len(frame) - frames.TAIL
        field = self.forged_field
        size = records.kind_size(dict(self.layout)[field])
        forged = self.changed(field, (self.typical[field] + 1).to_bytes(size, "big"), None)
        yield self.bad("forged_data", f"{field} raised by one, CRC made right", "MAC", forged)
        last = sealed(flipped(frame, end + 7), None)
        yield self.bad("forged_mac", "one bit of the MAC flipped, CRC made right", "MAC", last)
        for name, note, key in (
            ("other_root", "below another root or parent", self.key_of(self.stranger())),
            ("other_label", "with the report key of the same meter", TREE.kr),
            ("order_key", "with another key of the same meter", TREE.kw if self.key == "ko" else TREE.ko),
        ):
            yield self.bad(f"mac_of_{name}", f"the MAC made {note}", "MAC", sealed(frame, key))
        region = sealed(frame, self.key_of(), region=0x0022)
        yield self.bad("mac_of_other_region", "the MAC made for region 0022 with this key", "MAC", region)
        copied = self.build(self.typical, card=CARD + 1)
        yield self.bad("mac_of_other_card", "a genuine frame copied to a card of another number", "MAC", copied)
        zeros = frames.close(bytearray(frame), end, bytes(8))
        yield self.bad("mac_all_00", "a MAC of zeros, CRC right", "MAC", zeros)
        if tree is ToolTree:
            kind = tools.MANAGE if self.kind == tools.SET else tools.SET
            turned = sealed(frame[:1] + bytes((kind,)) + frame[2:], self.key_of())
            yield self.bad("other_tool_kind", "the other kind below the tool key, MAC right", "KIND", turned)

    def stranger(self) -> Tree:
        if isinstance(self.tree, KeyTree):
            return KeyTree(parent=bytes(range(0x50, 0x60)))
        return type(self.tree)(root=OTHER_ROOT)

    def all_bad(self) -> Iterator[Case]:
        yield from self.damaged()
        yield from self.versions()
        yield from self.malformed()
        yield from self.strangers()
        yield from self.forged()
        yield from self.out_of_range()


def transfer_cases() -> Iterator[Case]:
    tree = TransferTree()
    f = ToolCases(
        "transfer",
        {**tree.own(), "time": EXAMPLE_TIME},
        tools.TRANSFER_OUT,
        "ko",
        tools.TOOL_AT,
        tree,
        records.CARD_TRANSFER,
    )
    f.forged_field = "new_binding"
    yield f.good("by_hand", "binding 3 ends and the gas goes to another meter's binding 5; by hand in test_by_hand.py")
    later = TransferTree(version=2, new_version=3)
    yield f.good("key_versions", "the meters have keys of versions 2 and 3", tree=later, **later.own())
    low = TransferTree(region=0, meter="0" * 14, new_meter="0" * 13 + "1", bindings=(1, 1))
    top = TransferTree(ROOT, 0xFFFF, "9" * 14, 255, "9" * 13 + "8", 255, (255, 255))
    yield f.good("minimum", "every free field at its lowest", tree=low, **low.own(), time=0)
    yield f.good("maximum", "every free field at its highest", tree=top, **top.own(), time=records.TIME_MAX)
    yield from f.all_bad()
    yield f.bad(
        "other_key_version",
        "made with the old meter's keys of version 2, and says so",
        "KEY_VERSION",
        f.build({**f.typical, "key_version": 2}, TransferTree(version=2)),
    )


def tool_fields(tree: ToolTree, **fields: Any) -> Fields:
    return {"key_version": tree.version, "psc_mask": tree.psc_mask(tree.kt_wrap), **fields}


def management_cases() -> Iterator[Case]:
    tree = ToolTree()
    typical = tool_fields(tree, expires=EXAMPLE_TIME + 43200, time=EXAMPLE_TIME)
    f = ToolCases("management", typical, tools.MANAGE, "kt_order", tools.TOOL_AT, tree, records.CARD_MANAGEMENT)
    f.forged_field = "expires"
    yield f.good("by_hand", "good for 30 days; by hand in tests/gascard/test_by_hand.py")
    yield f.good("without_end", "it never expires", expires=0)
    low, top = ToolTree(region=0), ToolTree(region=0xFFFF, version=255)
    yield f.good("minimum", "every free field at its lowest", tree=low, **tool_fields(low, expires=0, time=0))
    late = tool_fields(top, expires=records.TIME_MAX, time=records.TIME_MAX)
    yield f.good("maximum", "every free field at its highest", tree=top, **late)
    yield from f.all_bad()
    yield f.bad(
        "other_key_version",
        "made with the tool key of version 2, and says so",
        "KEY_VERSION",
        f.build({**f.typical, "key_version": 2}, ToolTree(version=2)),
    )


SETTING_TYPICAL: Fields = {
    "meter": METER,
    "service_number": 1027,
    "expires": EXAMPLE_TIME + 43200,
    "time": EXAMPLE_TIME,
    "what": tools.SET_ALL,
    "clock": EXAMPLE_TIME + 60,
    "index": 1234567,
    "report": 0x0FFF,
    "shut": 0x00FE,
    "pause_seconds": 300,
    "over_flow_seconds": 2,
    "over_flow_for": 60,
    "large_flow_gap": 900,
    "large_flow_for": 30,
    "small_flow_gap": 120,
    "small_flow_hours": 8,
    "long_flow_minutes": 240,
    "idle_days": 30,
    "past_valve_pulses": 5,
    "battery_low": 160,
    "battery_empty": 150,
}


def setting_cases() -> Iterator[Case]:
    tree = ToolTree()
    typical = tool_fields(tree, **SETTING_TYPICAL)
    f = ToolCases("setting", typical, tools.SET, "kt_order", tools.TOOL_AT, tree, records.CARD_SETTING)
    f.forged_field = "service_number"
    yield f.good("by_hand", "clock, index and guards of one meter; by hand in tests/gascard/test_by_hand.py")
    yield f.good("clock_of_all", "the clock of every meter of the region", meter=tools.ANY, what=tools.SET_CLOCK)
    yield f.good("index", "the shown index of one meter", what=tools.SET_INDEX)
    yield f.good("guards_of_all", "the guards of every unbound meter", meter=tools.ANY, what=tools.SET_GUARDS)
    low, top = ToolTree(region=0, meter="0" * 14), ToolTree(region=0xFFFF, meter="9" * 14, version=255)
    least = {**extreme("setting", False), "service_number": 1, "what": tools.SET_CLOCK, "clock": 1}
    most = {**extreme("setting", True), "what": tools.SET_ALL}
    yield f.good("minimum", "every free field at its lowest", tree=low, **{**least, **tool_fields(low)})
    yield f.good("maximum", "every free field at its highest", tree=top, **{**most, **tool_fields(top)})
    yield from f.all_bad()
    key = f.key_of()
    yield f.bad("bad_what_none", "nothing is to be set, MAC and CRC right", "SHAPE", f.changed("what", b"\0", key))
    yield f.bad("bad_what", "a bit nobody has defined, MAC and CRC right", "SHAPE", f.changed("what", b"\x0f", key))
    yield f.bad(
        "index_of_all",
        "an index for every meter, MAC and CRC right",
        "SHAPE",
        f.build({**f.typical, "meter": tools.ANY}),
    )
    yield f.bad(
        "other_key_version",
        "made with the tool key of version 2, and says so",
        "KEY_VERSION",
        f.build({**f.typical, "key_version": 2}, ToolTree(version=2)),
    )


def key_block_cases() -> Iterator[Case]:
    tree = KeyTree()
    typical = {**tree.own(), "time": EXAMPLE_TIME}
    f = ToolCases("key", typical, tools.KEY, "parent_order", tools.TOOL_AT, tree, records.CARD_KEY)
    yield f.good("by_hand", "the first keys, below the factory key; by hand in tests/gascard/test_by_hand.py")
    second, fifth = KeyTree(version=2, has=1), KeyTree(version=5, has=2)
    yield f.good("second_version", "keys of version 2 for a meter that has version 1", tree=second, **second.own())
    yield f.good("versions_left_out", "version 5 for a meter that has version 2", tree=fifth, **fifth.own())
    low = KeyTree(region=0, meter="0" * 14, parent=bytes(16))
    top = KeyTree(region=0xFFFF, meter="9" * 14, version=255, parent=b"\xff" * 16)
    yield f.good("minimum", "every free field at its lowest", tree=low, **low.own(), time=0)
    yield f.good("maximum", "every free field at its highest", tree=top, **top.own(), time=records.TIME_MAX)
    yield from f.all_bad()
    yield f.bad(
        "keys_of_version_0",
        "version 0, which every meter has before its first keys, MAC and CRC right",
        "KEY_VERSION",
        f.changed("key_version", b"\0", f.key_of()),
    )
    swapped = f.changed("key", f.typical["tool_key"] + f.typical["key"], None)
    yield f.bad("keys_swapped", "the two keys in each other's place, CRC made right", "MAC", swapped)


# tool_card.json: whole cards of the company's own, every part judged -----------------------------------


def tool_card_cases() -> Iterator[Case]:
    tree, test_tree, key_tree = TransferTree(), ToolTree(), KeyTree()

    def order(kind: int, keys_of: Tree, **change: Any) -> bytes:
        psc = keys.mask_psc(keys_of.kw, CARD, psc_of(ROOT, REGION, CARD))
        fields = {**ORDER_TYPICAL, "meter": keys_of.meter, "psc_mask": psc, **change}
        return frames.build(records.ORDER, fields, kind, CARD, REGION, keys_of.ko)

    def report(kind: int, key: bytes, **change: Any) -> bytes:
        return frames.build(records.REPORT_DATA, {**REPORT_TYPICAL, **change}, kind, CARD, REGION, key)

    def made(name: str, note: str, kind: int, known: Tree, parts: dict[str, tuple[int, bytes, str]]) -> Case:
        """``parts`` are part -> (place, bytes, code)."""
        image = image_of({**IDENTITY_TYPICAL, "kind": kind}, *[(at, raw) for at, raw, _ in parts.values()])
        words = {"identity": "OK", **{part: word for part, (_, _, word) in parts.items()}}
        return {
            "name": name,
            "note": note,
            "direction": "decode",
            "keys": known.shown(),
            "expect": {part: {"name": word, "code": CODE[word]} for part, word in words.items()},
            "image": image.hex(),
        }

    place, (first, second) = tools.TOOL_AT, records.REPORT_AT
    blank = b"\xff" * frames.frame_size(records.REPORT_DATA)
    final = report(tools.FINAL, TREE.kr)
    clear = order(tools.ORDER_CLEAR, TREE, sequence=8, amount=0, flags=0)
    of_clear = {"clear_order": (place, clear, "OK")}
    none = (second, blank, "SHAPE")
    kind = records.CARD_CLEAR
    yield made("clear", "a clear card as the hall hands it out", kind, TREE, {**of_clear, "final_record": none})
    done = {**of_clear, "final_record": (second, final, "OK")}
    yield made("cleared", "back from the meter with its final record", kind, TREE, done)
    for name, note, raw, word in (
        ("report", "a report where the final record belongs", report(records.REPORT, TREE.kr), "KIND"),
        ("transfer", "the final record of a transfer", report(tools.FINAL, tree.t_report, binding=3), "MAC"),
        ("order_key", "a final record made with Ko", report(tools.FINAL, TREE.ko), "MAC"),
        ("torn", "a final record of which 30 bytes have arrived", final[:30] + blank[30:], "SHAPE"),
    ):
        yield made(f"clear_with_{name}", note, kind, TREE, {**of_clear, "final_record": (second, raw, word)})
    user = order(records.ORDER_USER, TREE)
    wrong = {"clear_order": (place, user, "KIND"), "final_record": none}
    yield made("clear_with_user_order", "a user order where the clear order belongs", kind, TREE, wrong)
    wrong = {"order": (place, clear, "KIND"), "report_slot_0": (first, blank, "SHAPE"), "report_slot_1": none}
    yield made("customer_with_clear_order", "a clear order on a customer's card", 1, TREE, wrong)

    kind = records.CARD_TRANSFER
    fields = {**tree.own(), "time": EXAMPLE_TIME}
    out = frames.build(tools.TRANSFER, fields, tools.TRANSFER_OUT, CARD, REGION, tree.ko)
    coming = order(tools.TRANSFER_IN, tree.new, binding=5, sequence=1, bought_total=4000, correction_total=0, amount=0)
    both = {"transfer_out": (place, out, "OK"), "transfer_in": (first, coming, "OK")}
    yield made("transfer", "a transfer card as the hall hands it out", kind, tree, {**both, "final_record": none})
    last = report(tools.FINAL, tree.t_report, binding=3)
    done = {**both, "final_record": (second, last, "OK")}
    yield made("transferred", "back from the old meter with its final record", kind, tree, done)
    for name, note, raw, word in (
        ("clear", "the final record of a clear of the same binding", report(tools.FINAL, TREE.kr, binding=3), "MAC"),
        (
            "other_heir",
            "the final record of a transfer to a third meter",
            report(tools.FINAL, TransferTree(new_meter="32060012345680").t_report, binding=3),
            "MAC",
        ),
        (
            "other_binding",
            "the final record of an earlier transfer to the same meter",
            report(tools.FINAL, TransferTree(bindings=(3, 4)).t_report, binding=3),
            "MAC",
        ),
        ("raised_total", "more gas on the final record, CRC right", b"", "MAC"),
    ):
        if not raw:
            changed = report(tools.FINAL, tree.t_report, binding=3, bought_total=99999999)
            raw = frames.close(bytearray(changed), len(changed) - frames.TAIL, last[-frames.TAIL : -3])
        yield made(f"transfer_with_{name}", note, kind, tree, {**both, "final_record": (second, raw, word)})
    wrong = {**both, "transfer_in": (first, order(records.ORDER_OPENING, tree.new, binding=5), "KIND")}
    wrong["final_record"] = none
    yield made("transfer_with_opening_order", "an opening order for the new meter", kind, tree, wrong)

    kind = records.CARD_MANAGEMENT
    fields = tool_fields(test_tree, expires=0, time=EXAMPLE_TIME)
    manage = frames.build(tools.MANAGEMENT, fields, tools.MANAGE, CARD, REGION, test_tree.kt_order)
    slots = [report(records.REPORT, TREE.kr, report_number=number) for number in (9, 10)]
    parts = {
        "management": (place, manage, "OK"),
        "report_slot_0": (first, slots[0], "OK"),
        "report_slot_1": (second, slots[1], "OK"),
    }
    yield made("management_full", "two reports that nobody has read", kind, test_tree, parts)

    setting = tool_fields(test_tree, **SETTING_TYPICAL)
    frame = frames.build(tools.SETTING, setting, tools.SET, CARD, REGION, test_tree.kt_order)
    parts = {"setting": (place, frame, "OK"), "report_slot_1": (second, slots[0], "OK")}
    yield made("set", "a setting card that a meter has taken", records.CARD_SETTING, test_tree, parts)

    fields = {**key_tree.own(), "time": EXAMPLE_TIME}
    frame = frames.build(tools.KEY_BLOCK, fields, tools.KEY, CARD, REGION, key_tree.parent_order)
    parts = {"key_block": (place, frame, "OK"), "report_slot_1": (second, slots[0], "OK")}
    yield made("keyed", "a key card, and a report made with the new keys", records.CARD_KEY, key_tree, parts)

    test = order(tools.ORDER_TEST, TREE, sequence=1, bought_total=100, amount=100, correction_total=0, flags=0)
    parts = {
        "test_order": (place, test, "OK"),
        "report_slot_0": (first, report(records.REPORT, TREE.kr, binding=0, sequence=0), "OK"),
        "report_slot_1": none,
    }
    yield made("tested", "a test card that a meter has taken", records.CARD_TEST, TREE, parts)


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
    yield made("new", "formatted, nothing sold yet", image_of(IDENTITY_TYPICAL), "OK", "SHAPE", "SHAPE", "SHAPE")
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
    bought = image_of(IDENTITY_TYPICAL, (place, order), (first, report(7, sequence=6)), (second, report(8, sequence=6)))
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
    other = image_of({**IDENTITY_TYPICAL, "card": CARD + 1}, (place, order), (first, report(9)), (second, report(8)))
    yield made("cloned", "all frames copied to a card of another number", other, "OK", "MAC", "MAC", "MAC")
    swapped = image_of(IDENTITY_TYPICAL, (place, order), (first, loaded[second : second + 74]), (second, report(9)))
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
    "transfer.json": transfer_cases,
    "management.json": management_cases,
    "setting.json": setting_cases,
    "key.json": key_block_cases,
    "tool_card.json": tool_card_cases,
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
