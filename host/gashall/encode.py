"""Cards as bytes: every record encoded and decoded, pure functions, bytes in, bytes out.

Layouts come from ``gascard.records`` and ``gascard.tools`` and frames from ``gascard.frames``; here are the hall's own
checks, the ``Signer`` instead of a bare key, and ``decode_card``, which says of every part what it is and what is
wrong.
"""

import hmac
import struct
from binascii import crc_hqx
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from gascard import codes, frames, keys, records, tools
from gascard.chip import DUMP_SIZE, Chip
from gascard.codec import RecordError, unpack
from gascard.records import IDENTITY, IDENTITY_AT, IMAGE_SIZE, ORDER, ORDER_AT, REPORT_AT, REPORT_DATA
from gascard.sle4442 import ATR
from gashall import errors
from gashall.errors import CardError, RequestError
from gashall.signer import Parent, Signer
from gashall.units import moment, whole

Values: TypeAlias = Mapping[str, Any]
"""A record as its table names it: int, or str of digits for BCD fields, or bytes for raw ones."""

ORDER_KINDS = (records.ORDER_OPENING, records.ORDER_USER)
"""Kinds of order on a customer's card."""
TOOL_ORDER_KINDS = (tools.ORDER_CLEAR, tools.ORDER_TEST, tools.TRANSFER_IN)
"""Kinds of frame on the company's own cards that are orders by their table."""
BLANK_IMAGE = bytes(Chip().main)
"""Main memory of a card as the maker ships it, 256 bytes."""

IDENTITY_SIZE: int = records.size_of(IDENTITY)
ORDER_FRAME_SIZE: int = frames.frame_size(ORDER)
REPORT_FRAME_SIZE: int = frames.frame_size(REPORT_DATA)

_CARD_KINDS = range(records.CARD_CUSTOMER, records.CARD_TEST + 1)
_LAYOUTS = {
    "order": ORDER,
    "report": REPORT_DATA,
    "transfer": tools.TRANSFER,
    "management": tools.MANAGEMENT,
    "setting": tools.SETTING,
    "key": tools.KEY_BLOCK,
}
_FIELDS = {record: frozenset(layout.names) for record, layout in _LAYOUTS.items()}
_FRAME_SIZES = {record: frames.frame_size(layout) for record, layout in _LAYOUTS.items()}
_RECORD_OF = {
    **dict.fromkeys((*ORDER_KINDS, *TOOL_ORDER_KINDS), "order"),
    **dict.fromkeys((records.REPORT, tools.FINAL), "report"),
    tools.TRANSFER_OUT: "transfer",
    tools.MANAGE: "management",
    tools.SET: "setting",
    tools.KEY: "key",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where on a card of some kind a frame lies, of which record, and which kinds of frame it may be."""

    name: str
    record: str
    at: int
    kinds: tuple[int, ...]


_SLOTS = tuple(Place(f"report slot {i}", "report", at, (records.REPORT,)) for i, at in enumerate(REPORT_AT))
_FINAL = Place("final record", "report", tools.FINAL_AT, (tools.FINAL,))
_CUSTOMER = (Place("order", "order", ORDER_AT, ORDER_KINDS), *_SLOTS)
PLACES: Mapping[int, tuple[Place, ...]] = {
    records.CARD_CUSTOMER: _CUSTOMER,
    records.CARD_TRANSFER: (
        Place("transfer out", "transfer", tools.TOOL_AT, (tools.TRANSFER_OUT,)),
        Place("transfer in", "order", tools.TRANSFER_IN_AT, (tools.TRANSFER_IN,)),
        _FINAL,
    ),
    records.CARD_CLEAR: (Place("clear order", "order", tools.TOOL_AT, (tools.ORDER_CLEAR,)), _FINAL),
    records.CARD_MANAGEMENT: (Place("management", "management", tools.TOOL_AT, (tools.MANAGE,)), *_SLOTS),
    records.CARD_SETTING: (Place("setting", "setting", tools.TOOL_AT, (tools.SET,)), _SLOTS[1]),
    records.CARD_KEY: (Place("key block", "key", tools.TOOL_AT, (tools.KEY,)), _SLOTS[1]),
    records.CARD_TEST: (Place("test order", "order", tools.TOOL_AT, (tools.ORDER_TEST,)), *_SLOTS),
}
"""Card kind to the places of its frames, in their order; what the hall makes first, what meters write behind it."""


@dataclass(frozen=True, slots=True)
class Part:
    """One record on a card and the verdicts on it.

    A verdict is a code of ``gascard.codes``, 0 where it holds, None where it was not reached or cannot be
    given (a CRC behind a wrong shape, a MAC without a key). ``values`` is None unless the bytes are whole.
    """

    name: str
    """``identity``, or the name of its place: on a customer's card ``order``, ``report slot 0``, ``report slot 1``."""
    record: str
    """Name of the record's table, as in ``gascard.meanings.RECORDS``."""
    at: int
    raw: bytes
    written: bool
    """False if the area is as the maker shipped it; then there are no verdicts."""
    shape: int | None = None
    crc: int | None = None
    version: int | None = None
    mac: int | None = None
    values: Values | None = None

    @property
    def code(self) -> int:
        """OK, or the first rule the part breaks (shape, CRC, version, MAC); OK too if nothing is written."""
        for verdict in (self.shape, self.crc, self.version, self.mac):
            if verdict:
                return verdict
        return codes.OK

    @property
    def whole(self) -> bool:
        """Whether it is written and breaks no rule that could be checked."""
        return self.written and self.code == codes.OK

    @property
    def authentic(self) -> bool:
        """Whether it is whole and its MAC was checked and is right."""
        return self.written and self.mac == codes.OK and self.code == codes.OK

    @property
    def kind(self) -> int:
        """The kind byte of the frame (of the identity: the card's kind)."""
        return self.raw[4] if self.record == "identity" else self.raw[1]


@dataclass(frozen=True, slots=True)
class Card:
    """A decoded card: 256 bytes, its parts, and whether a key was there to check MACs."""

    image: bytes
    identity: Part
    order: Part
    """The order, or what a card of the company's own bears in its place."""
    reports: tuple[Part, ...]
    """The slots for reports, two on a customer's card; not those where a final record belongs."""
    region: int | None
    """The signer's region, None without a signer."""
    transfer_in: Part | None = None
    """The order for the new meter, of a transfer card."""
    final: Part | None = None
    """The final record, of a clear or a transfer card."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """All parts in the order they lie on the card: four on a customer's."""
        others = [part for part in (self.transfer_in, *self.reports, self.final) if part is not None]
        return (self.identity, self.order, *others)

    @property
    def kind(self) -> int | None:
        """The card kind (``gascard.records.CARD_…``), None if the identity is not readable."""
        return None if self.identity.values is None else int(self.identity.values["kind"])

    @property
    def number(self) -> int | None:
        """The card number, None if the identity is not readable."""
        return None if self.identity.values is None else int(self.identity.values["card"])

    @property
    def region_code(self) -> int:
        """REGION if the card is readably of another region than the signer's, else OK."""
        values = self.identity.values
        if self.region is None or values is None or values["region"] == self.region:
            return codes.OK
        return codes.REGION

    @property
    def chip_code(self) -> int:
        """NO_CARD if the image does not begin as an SLE4442 answers a reset, else OK."""
        return codes.OK if self.image[: len(ATR)] == ATR else codes.NO_CARD

    @property
    def blank(self) -> bool:
        """Whether all parts are as the maker shipped them."""
        return not any(part.written for part in self.parts)

    @property
    def newest_report(self) -> Part | None:
        """The report of the highest (binding, report number), authentic if there is a key, else whole.

        None on a management card, whose two may be of two meters.
        """
        best: Part | None = None
        if self.kind == records.CARD_MANAGEMENT:
            return None
        for part in self.reports:
            usable = part.whole if self.region is None else part.authentic
            if usable and (best is None or report_rank(part) > report_rank(best)):
                best = part
        return best


def report_rank(report: Part) -> tuple[int, int]:
    """(binding, report number) of a whole report: what says which of two reports of one meter is newer."""
    if report.values is None:
        raise ValueError("a report that is not whole has no rank")
    return report.values["binding"], report.values["report_number"]


def remaining(report: Values) -> int:
    """Pulses left on the meter by its report; negative within the overdraft."""
    return int(report["bought_total"] - report["used"] - report["correction_total"])


def encode_identity(*, region: int, card: int, kind: int = records.CARD_CUSTOMER, issue_batch: int = 0) -> bytes:
    """The 13 identity bytes of a card (they go to 0x08 and are protected).

    ``region`` 0…65535, ``card`` 0…2³²−1, ``kind`` a card kind of ``gascard.records``, ``issue_batch``
    0…65535. RequestError FIELD, or KIND.
    """
    if kind not in _CARD_KINDS:
        raise RequestError(codes.KIND, f"There is no card of kind {kind!r}.")
    values = {
        "mark": records.MARK,
        "format": records.FORMAT_VERSION,
        "region": region,
        "kind": kind,
        "card": _card(card),
        "issue_batch": issue_batch,
    }
    try:
        return frames.build_identity(values)
    except RecordError as error:
        raise _field(error, values) from None


def encode_order(signer: Signer, card: int, values: Values, kind: int = records.ORDER_USER) -> bytes:
    """The 59 bytes of an order frame for card number ``card`` (they go to 0x20).

    ``values`` has every field of the order; ``psc_mask`` is left to the signer if missing; ``kind`` is
    ORDER_OPENING, ORDER_USER, or one of TOOL_ORDER_KINDS (a transfer-in order goes to 0x5B). Raises RequestError:
    FIELD for one missing, unknown, out of range, or that this kind of order never says; KIND, WEIGHT.
    """
    if kind not in ORDER_KINDS:
        _check_tool_order(values, kind)
    _card(card)
    complete = dict(values)
    mask = complete.setdefault("psc_mask", None)
    if mask is None:
        complete["psc_mask"] = bytes(3)
    _known(complete, _FIELDS["order"])
    try:
        # Packed before anything is signed: no key is derived for a malformed number.
        frame, end = frames.begin(ORDER, complete, kind)
    except RecordError as error:
        raise _field(error, complete) from None
    if complete["pulse_weight"] > 2:
        raise RequestError(codes.WEIGHT, f"No meter counts in a pulse weight of {complete['pulse_weight']}.")
    wrong = frames.unfilled(complete)
    if wrong:
        raise RequestError(errors.FIELD, f"{wrong} cannot be {complete[wrong]}.")
    meter, key_version = complete["meter"], complete["key_version"]
    if mask is None:
        frame[_MASK_AT : _MASK_AT + 3] = signer.masked_psc(meter, key_version, card)
    mac = signer.order_mac(meter, key_version, card, records.FORMAT_VERSION, kind, bytes(frame[frames.HEAD : end]))
    return _closed(frame, end, mac)


_MASK_AT: int = frames.HEAD + records.offset_of(ORDER, "psc_mask")


def _check_tool_order(values: Values, kind: int) -> None:
    # What a meter would refuse, or take for something else, whatever else the order says.
    if kind not in TOOL_ORDER_KINDS:
        raise RequestError(codes.KIND, f"There is no order of kind {kind!r}.")
    flags = values.get("flags")
    if isinstance(flags, int) and flags & ~records.FLAG_PARAMETERS:
        raise RequestError(errors.FIELD, f"flags cannot be {flags}: this kind of order is no refund, gift or make-up.")
    for name, only in _TOOL_ORDER_ONLY.get(kind, ()):
        value = values.get(name)
        if value != only:
            raise RequestError(errors.FIELD, f"{name} cannot be {value!r}: in this kind of order it is {only}.")


# A test order is for a meter that was never bound; a transfer-in order begins a binding.
_TOOL_ORDER_ONLY = {tools.ORDER_TEST: (("binding", 1),), tools.TRANSFER_IN: (("sequence", 1),)}


def encode_transfer_out(signer: Signer, card: int, values: Values, *, new_key_version: int) -> bytes:
    """The 55 bytes of a transfer-out order (they go to 0x20 of a transfer card, the transfer-in order to 0x5B).

    ``values`` has every field of the record ``transfer``; ``transfer_key`` and ``psc_mask`` are the signer's and not
    given. ``new_key_version`` is that of the new meter's keys, as its transfer-in order has it. RequestError FIELD.
    """
    frame, end = _begun("transfer", card, values, tools.TRANSFER_OUT, transfer_key=bytes(16), psc_mask=bytes(3))
    meter, key_version = values["meter"], values["key_version"]
    if meter == values["new_meter"]:
        raise RequestError(errors.FIELD, f"new_meter cannot be {meter}: the gas would come from where it goes.")
    _from_one(values, "binding", "key_version", "new_binding")
    whole(new_key_version, "new_key_version", 1, 0xFF)
    wrapped = signer.wrapped_transfer_key(
        meter, key_version, values["binding"], values["new_meter"], new_key_version, values["new_binding"]
    )
    _put(frame, "transfer", transfer_key=wrapped, psc_mask=signer.masked_psc(meter, key_version, card))
    data = bytes(frame[frames.HEAD : end])
    mac = signer.order_mac(meter, key_version, card, records.FORMAT_VERSION, tools.TRANSFER_OUT, data)
    return _closed(frame, end, mac)


def encode_management(signer: Signer, card: int, values: Values) -> bytes:
    """The 27 bytes of a management order (0x20 of a management card): every field but ``psc_mask``, the signer's.

    ``key_version`` is the tool key's, ``expires`` 0 for never. RequestError FIELD.
    """
    return _tool("management", signer, card, values, tools.MANAGE)


def encode_setting(signer: Signer, card: int, values: Values) -> bytes:
    """The 66 bytes of a setting order (0x20 of a setting card): every field but ``psc_mask``, the signer's.

    ``what`` is a sum of ``gascard.tools.SET_…``, ``meter`` may be ``gascard.tools.ANY``, and then no index is set.
    RequestError FIELD.
    """
    what = values.get("what")
    if not isinstance(what, int) or isinstance(what, bool) or not 0 < what <= tools.SET_ALL:
        raise RequestError(errors.FIELD, f"what cannot be {what!r}: it is a sum of clock 1, index 2 and guards 4.")
    if what & tools.SET_INDEX and values.get("meter") == tools.ANY:
        raise RequestError(errors.FIELD, "An index is set on one meter, which the order names.")
    if what & tools.SET_CLOCK and not values.get("clock"):
        raise RequestError(errors.FIELD, "clock cannot be 0: that is a clock nobody has set.")
    return _tool("setting", signer, card, values, tools.SET, "service_number")


def encode_key_block(signer: Signer, card: int, values: Values, *, parent: Parent) -> bytes:
    """The 62 bytes of a key block (0x20 of a key card) that brings a meter the keys of ``key_version``.

    ``values`` has ``meter``, ``key_version`` and ``time``; the rest is the signer's. ``parent`` is what the meter has
    now: its factory key, 16 bytes, or the version of its keys. RequestError FIELD.
    """
    own = {"key": bytes(16), "tool_key": bytes(16), "psc_mask": bytes(3)}
    frame, end = _begun("key", card, values, tools.KEY, **own)
    _from_one(values, "key_version")
    meter, key_version = values["meter"], values["key_version"]
    _put(frame, "key", **dict(zip(own, signer.masked_keys(meter, parent, key_version, card), strict=True)))
    data = bytes(frame[frames.HEAD : end])
    mac = signer.key_mac(meter, parent, key_version, card, records.FORMAT_VERSION, tools.KEY, data)
    return _closed(frame, end, mac)


def _tool(record: str, signer: Signer, card: int, values: Values, kind: int, *rising: str) -> bytes:
    # A frame that is made below the tool key.
    frame, end = _begun(record, card, values, kind, psc_mask=bytes(3))
    _from_one(values, "key_version", *rising)
    if 0 < values["expires"] < values["time"]:
        raise RequestError(
            errors.FIELD,
            f"expires {moment(values['expires']):%Y-%m-%d %H:%M} UTC is before the card is made.",
            "Give a later time.",
        )
    _put(frame, record, psc_mask=signer.tool_masked_psc(values["key_version"], card))
    data = bytes(frame[frames.HEAD : end])
    return _closed(frame, end, signer.tool_mac(values["key_version"], card, records.FORMAT_VERSION, kind, data))


def _begun(record: str, card: int, values: Values, kind: int, **own: bytes) -> tuple[bytearray, int]:
    # A frame with everything but what the signer puts in: nothing is signed or masked for a malformed number.
    _card(card)
    _known(values, _FIELDS[record] - own.keys())
    try:
        return frames.begin(_LAYOUTS[record], {**values, **own}, kind)
    except RecordError as error:
        raise _field(error, values) from None


def _put(frame: bytearray, record: str, **own: bytes) -> None:
    for name, value in own.items():
        at = frames.HEAD + records.offset_of(_LAYOUTS[record], name)
        frame[at : at + len(value)] = value


def _from_one(values: Values, *names: str) -> None:
    for name in names:
        value = values[name]
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise RequestError(errors.FIELD, f"{name} cannot be {value!r}: it is counted from 1.")


def encode_report(report_key: bytes, region: int, card: int, values: Values, kind: int = records.REPORT) -> bytes:
    """The 74 bytes of a report frame as the meter with ``report_key`` (16 bytes) writes it.

    A hall never writes one; meters' stand-ins in tests and tools do. ``values`` has every field of the
    report; ``kind`` is REPORT or FINAL. RequestError FIELD, KIND.
    """
    if _RECORD_OF.get(kind) != "report":
        raise RequestError(codes.KIND, f"There is no report of kind {kind!r}.")
    _card(card)
    _known(values, _FIELDS["report"])
    try:
        return frames.build(REPORT_DATA, dict(values), kind, card, region, report_key)
    except RecordError as error:
        raise _field(error, values) from None


def report_key(meter_key: bytes) -> bytes:
    """The report key (Kr) of the meter whose key is ``meter_key`` (Km), 16 bytes both."""
    return keys.derive(meter_key, keys.REPORT_KEY)


def encode_card(identity: bytes, order: bytes | None = None, reports: Sequence[bytes | None] = ()) -> bytes:
    """A whole card, 256 bytes: the maker's bytes with an identity, an order and up to two report frames.

    Of a card of the company's own ``order`` is what lies in the order's place, and ``reports`` are the frames behind
    it in the order of ``PLACES``: of a transfer card the transfer-in order and the final record. RequestError FIELD if
    one has not the size of its place.
    """
    image = bytearray(BLANK_IMAGE)
    behind = PLACES.get(identity[4] if len(identity) == IDENTITY_SIZE else records.CARD_CUSTOMER, _CUSTOMER)
    if len(reports) >= len(behind):
        raise RequestError(errors.FIELD, f"A card of this kind has room for {len(behind)} frames.")
    places: list[tuple[int, int, bytes | None]] = [(IDENTITY_AT, IDENTITY_SIZE, identity)]
    for place, frame in zip(behind, (order, *reports), strict=False):
        places.append((place.at, _FRAME_SIZES[place.record], frame))
    for at, size, data in places:
        if data is None:
            continue
        if len(data) != size:
            raise RequestError(errors.FIELD, f"The record at {at:#04x} has {size} bytes, not {len(data)}.")
        image[at : at + size] = data
    return bytes(image)


def decode_identity(data: bytes) -> Values:
    """The fields of 13 identity bytes. CardError NOT_OURS, CRC or VERSION."""
    if len(data) != IDENTITY_SIZE:
        raise CardError(codes.SHAPE, f"An identity has {IDENTITY_SIZE} bytes, not {len(data)}.")
    part = _identity(bytes(IDENTITY_AT) + bytes(data))
    return _values(part, IDENTITY_SIZE, data)


def decode_order(frame: bytes) -> Values:
    """The fields of a customer's order frame of 59 bytes, its MAC unchecked. CardError SHAPE, CRC, VERSION or KIND."""
    return _values(_frame("order", "order", bytes(frame), 0, ORDER_KINDS), ORDER_FRAME_SIZE, frame)


def decode_report(frame: bytes) -> Values:
    """The fields of a report frame of 74 bytes, its MAC unchecked. CardError SHAPE, CRC, VERSION or KIND."""
    return _values(_frame("report", "report", bytes(frame), 0, (records.REPORT,)), REPORT_FRAME_SIZE, frame)


def record_of(kind: int) -> str:
    """Name of the record that a frame of this kind carries. RequestError KIND if there is no such kind."""
    record = _RECORD_OF.get(kind)
    if record is None:
        raise RequestError(codes.KIND, f"There is no frame of kind {kind!r}.")
    return record


def frame_size(kind: int) -> int:
    """Bytes of a frame of this kind. RequestError KIND if there is no such kind."""
    return _FRAME_SIZES[record_of(kind)]


def decode_frame(frame: bytes, kind: int) -> Values:
    """The fields of a frame of any ``kind`` of ``gascard``, its MAC unchecked. CardError SHAPE, CRC, VERSION or KIND.

    RequestError KIND if there is no such kind.
    """
    record = record_of(kind)
    return _values(_frame(record, record, bytes(frame), 0, (kind,)), _FRAME_SIZES[record], frame)


def decode_card(
    image: bytes, signer: Signer | None = None, *, key_version: int | None = None, parent: Parent | None = None
) -> Card:
    """What stands on a card: ``image`` is its 256 bytes (or 264 with protection and security memory).

    Never fails on what the card says; each part bears its verdicts. The identity says what card it is, a card whose
    identity is not readable is taken for a customer's. With a ``signer`` MACs are judged too, reports and final records
    by the key version of the card's order (or what stands in its place) unless ``key_version`` is given; one made with
    an earlier version is KEY_VERSION, and no proof. Of a key block the MAC is judged only with the ``parent`` it was
    made under. RequestError IMAGE_SIZE.
    """
    if len(image) not in (IMAGE_SIZE, DUMP_SIZE):
        raise RequestError(
            errors.IMAGE_SIZE,
            f"{len(image)} bytes are no card image: it has 256, or 264 with the security part.",
        )
    main = bytes(image[:IMAGE_SIZE])
    identity = _identity(main)
    values = identity.values
    places = _CUSTOMER if values is None else PLACES[values["kind"]]
    order, *rest = [_frame(place.name, place.record, main, place.at, place.kinds) for place in places]
    transfer_in = rest.pop(0) if order.record == "transfer" else None
    region = None
    if signer is not None:
        region = signer.region
        if values is not None:
            card: int = values["card"]
            if order.values is not None:
                its_version: int = order.values["key_version"]
                order = _with_mac(order, signer, card, its_version, parent)
                key_version = its_version if key_version is None else key_version
            key_version = 1 if key_version is None else key_version
            if transfer_in is None:
                rest = [part if part.values is None else _with_mac(part, signer, card, key_version) for part in rest]
            else:
                transfer_in, rest = _with_transfer(signer, card, order, transfer_in, rest[0], key_version)
    final = rest.pop() if places[-1] is _FINAL else None
    return Card(main, identity, order, tuple(rest), region, transfer_in, final)


def _identity(image: bytes) -> Part:
    raw = image[IDENTITY_AT : IDENTITY_AT + IDENTITY_SIZE]
    blank = raw == BLANK_IMAGE[IDENTITY_AT : IDENTITY_AT + IDENTITY_SIZE]
    if blank:
        return Part("identity", "identity", IDENTITY_AT, raw, False)
    code = frames.check_identity(image)
    values = unpack(IDENTITY, raw) if code == codes.OK else None
    shape, crc, version = _steps(code, codes.NOT_OURS)
    if values is not None and values["kind"] not in _CARD_KINDS:
        shape, values = codes.KIND, None
    return Part("identity", "identity", IDENTITY_AT, raw, True, shape, crc, version, values=values)


def _frame(name: str, record: str, image: bytes, at: int, kinds: tuple[int, ...]) -> Part:
    layout = _LAYOUTS[record]
    size = layout.size
    raw = image[at : at + size + frames.HEAD + frames.TAIL]
    if len(raw) == size + frames.HEAD + frames.TAIL and raw.count(0xFF) == len(raw):
        return Part(name, record, at, raw, False)
    code = codes.OK if _is_right(raw, size) else frames.check(image, at, size)
    shape, crc, version = _steps(code, codes.SHAPE)
    values = None
    if code == codes.OK:
        values = _VALUES[record](image, at + frames.HEAD)
        if values is None or (record in _UNFILLED and _UNFILLED[record](values)):
            shape, values = codes.SHAPE, None
        elif image[at + 1] not in kinds:
            shape, values = codes.KIND, None
    return Part(name, record, at, raw, True, shape, crc, version, values=values)


_MIRRORED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


def _crc16(data: bytes) -> int:
    # gascard.crc.crc16 by the interpreter's own CRC, which goes through bytes and sum the other way round. A test
    # compares them, and the two below with gascard.frames.
    value = crc_hqx(data.translate(_MIRRORED), 0xFFFF)
    return (_MIRRORED[value & 0xFF] << 8 | _MIRRORED[value >> 8]) ^ 0xFFFF


def _is_right(raw: bytes, size: int) -> bool:
    # Most frames are right, and found so at once; what is wrong with another is said by the code the meter runs.
    return (
        len(raw) == size + frames.HEAD + frames.TAIL
        and raw[0] == 0x68
        and raw[2] == size
        and raw[3] == records.FORMAT_VERSION
        and raw[-1] == 0x16
        and _crc16(raw[1:-3]) == raw[-3] << 8 | raw[-2]
    )


# Kinds that struct reads, with its letters; the most of those that may not be all they could; the other sorts, by the
# high half of their kinds.
_PLAIN = {records.U8: "B", records.U16: "H", records.U32: "I", records.TIME: "I", records.TOTAL: "I"}
_MOST = {records.TIME: records.TIME_MAX, records.TOTAL: records.TOTAL_MAX}
_SIGNED, _DIGITS, _RAW = records.S24 >> 4, records.BCD7 >> 4, records.RAW3 >> 4


def _reads(layout: records.Layout) -> Callable[[bytes, int], dict[str, Any] | None]:
    # frames.read for one layout: the values of the record at a place, None if a field is malformed. The meter's codec
    # goes from field to field, for which a hall has a C function.
    form, odd = ">", []
    for name, kind in layout:
        size, sort = records.kind_size(kind), kind >> 4
        form += _PLAIN.get(kind, f"{size}s")
        if kind not in _PLAIN and sort != _RAW or kind in _MOST:
            odd.append((name, kind, sort))
    read, names = struct.Struct(form).unpack_from, layout.names

    def values(image: bytes, at: int) -> dict[str, Any] | None:
        found = dict(zip(names, read(image, at), strict=True))
        for name, kind, sort in odd:
            value = found[name]
            if kind in _MOST:
                if value > _MOST[kind]:
                    return None
            elif sort == _DIGITS:
                found[name] = digits = value.hex()
                if not digits.isdigit():
                    return None
            else:
                found[name] = int.from_bytes(value, "big", signed=sort == _SIGNED)
        return found

    return values


_VALUES = {record: _reads(layout) for record, layout in _LAYOUTS.items()}


def _closed(frame: bytearray, end: int, mac: bytes) -> bytes:
    # As frames.close.
    frame[end : end + 8] = mac
    frame[end + 8 :] = _crc16(bytes(frame[1 : end + 8])).to_bytes(2, "big") + b"\x16"
    return bytes(frame)


def _unset(setting: Values) -> bool:
    # A setting that no hall writes, as a meter judges it.
    what = setting["what"]
    return not what or what > tools.SET_ALL or bool(what & tools.SET_INDEX and setting["meter"] == tools.ANY)


_UNFILLED: dict[str, Callable[[dict[str, Any]], object]] = {"order": frames.unfilled, "setting": _unset}


def _steps(code: int, shape_code: int) -> tuple[int | None, int | None, int | None]:
    """One code as three verdicts: those before it hold, those behind it were not reached."""
    if code == shape_code:
        return code, None, None
    if code == codes.CRC:
        return codes.OK, code, None
    return codes.OK, codes.OK, code


def _with_mac(part: Part, signer: Signer, card: int, key_version: int, parent: Parent | None = None) -> Part:
    assert part.values is not None
    end = len(part.raw) - frames.TAIL
    data, mac = part.raw[frames.HEAD : end], part.raw[end : end + 8]
    kind, version = part.raw[1], part.raw[3]
    if part.record == "report":
        meter: str = part.values["meter"]
        right = signer.report_is_authentic(meter, key_version, card, version, kind, data, mac)
        # A key card came in between: the report is the meter's, made with keys it has no more.
        if not right and any(
            signer.report_is_authentic(meter, earlier, card, version, kind, data, mac)
            for earlier in range(1, key_version)
        ):
            return replace(part, mac=codes.KEY_VERSION)
    elif part.record in ("order", "transfer"):
        right = hmac.compare_digest(signer.order_mac(part.values["meter"], key_version, card, version, kind, data), mac)
    elif part.record != "key":
        right = hmac.compare_digest(signer.tool_mac(key_version, card, version, kind, data), mac)
    elif parent is None:
        return part
    elif isinstance(parent, int) and not 0 < parent < key_version:
        right = False  # no meter takes keys of a version it has or had
    else:
        made = signer.key_mac(part.values["meter"], parent, key_version, card, version, kind, data)
        right = hmac.compare_digest(made, mac)
    return _judged(part, right)


def _with_transfer(
    signer: Signer, card: int, out: Part, coming: Part, final: Part, key_version: int
) -> tuple[Part, list[Part]]:
    # The transfer-in order and the final record, which has the key of the transfer that the card is about.
    heir = None if out.values is None else (out.values["new_meter"], out.values["new_binding"])
    if coming.values is not None:
        key_version = coming.values["key_version"]
        coming = _with_mac(coming, signer, card, key_version)
        if coming.authentic and coming.values is not None:
            heir = coming.values["meter"], coming.values["binding"]
    if final.values is not None and heir is not None:
        end = len(final.raw) - frames.TAIL
        old = final.values["meter"], final.values["binding"]
        told = final.raw[frames.HEAD : end], final.raw[end : end + 8]
        new = heir[0], key_version, heir[1]
        right = signer.transfer_is_authentic(*old, *new, card, final.raw[3], final.raw[1], *told)
        final = _judged(final, right)
    return coming, [final]


def _judged(part: Part, right: bool) -> Part:
    return Part(
        part.name,
        part.record,
        part.at,
        part.raw,
        True,
        part.shape,
        part.crc,
        part.version,
        codes.OK if right else codes.MAC,
        part.values,
    )


def _values(part: Part, size: int, data: bytes) -> Values:
    if not part.written:
        raise CardError(codes.SHAPE, f"There is no {part.name} here: the bytes are as the maker shipped them.")
    if part.values is None:
        raise CardError(part.code)
    if len(data) != size:
        raise CardError(codes.SHAPE, f"This {part.name} has {size} bytes, not {len(data)}.")
    return part.values


def _card(card: int) -> int:
    if isinstance(card, bool) or not isinstance(card, int) or not 0 <= card <= 0xFFFFFFFF:
        raise RequestError(errors.FIELD, f"A card number is 0 to 4294967295, not {card!r}.")
    return card


def _known(values: Values, names: frozenset[str]) -> None:
    if values.keys() != names:
        wrong = sorted(values.keys() ^ names)
        raise RequestError(errors.FIELD, f"Missing or unknown: {', '.join(map(str, wrong))}.")


def _field(error: RecordError, values: Values) -> RequestError:
    name = str(error.args[0])
    return RequestError(errors.FIELD, f"{name} cannot be {values.get(name)!r}.")
