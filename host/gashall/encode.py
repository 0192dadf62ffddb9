"""Cards as bytes: every record encoded and decoded, pure functions, bytes in, bytes out.

Layouts come from ``gascard.records`` and frames from ``gascard.frames``; here are the hall's own checks, the
``Signer`` instead of a bare key, and ``decode_card``, which says of every part what it is and what is wrong.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from gascard import codes, frames, keys, records
from gascard.chip import DUMP_SIZE, Chip
from gascard.codec import RecordError, unpack
from gascard.records import IDENTITY, IDENTITY_AT, IMAGE_SIZE, ORDER, ORDER_AT, REPORT_AT, REPORT_DATA
from gascard.sle4442 import ATR
from gashall import errors
from gashall.errors import CardError, RequestError
from gashall.signer import Signer

Values: TypeAlias = Mapping[str, Any]
"""A record as its table names it: int, or str of digits for BCD fields, or bytes for raw ones."""

ORDER_KINDS = (records.ORDER_OPENING, records.ORDER_USER)
BLANK_IMAGE = bytes(Chip().main)
"""Main memory of a card as the maker ships it, 256 bytes."""

IDENTITY_SIZE: int = records.size_of(IDENTITY)
ORDER_SIZE: int = records.size_of(ORDER)
REPORT_SIZE: int = records.size_of(REPORT_DATA)
ORDER_FRAME_SIZE: int = frames.frame_size(ORDER)
REPORT_FRAME_SIZE: int = frames.frame_size(REPORT_DATA)

_CARD_KINDS = range(records.CARD_CUSTOMER, records.CARD_TEST + 1)
_ORDER_FIELDS = frozenset(name for name, _ in ORDER)
_REPORT_FIELDS = frozenset(name for name, _ in REPORT_DATA)


@dataclass(frozen=True, slots=True)
class Part:
    """One record on a card and the verdicts on it.

    A verdict is a code of ``gascard.codes``, 0 where it holds, None where it was not reached or cannot be
    given (a CRC behind a wrong shape, a MAC without a key). ``values`` is None unless the bytes are whole.
    """

    name: str
    """``identity``, ``order``, ``report slot 0`` or ``report slot 1``."""
    record: str
    """Name of the record's table: ``identity``, ``order`` or ``report``."""
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
    """A decoded card: 256 bytes, four parts, and whether a key was there to check MACs."""

    image: bytes
    identity: Part
    order: Part
    reports: tuple[Part, Part]
    region: int | None
    """The signer's region, None without a signer."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """All four parts in the order they lie on the card."""
        return (self.identity, self.order, *self.reports)

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
        """Whether all four parts are as the maker shipped them."""
        return not any(part.written for part in self.parts)

    @property
    def newest_report(self) -> Part | None:
        """The report of the highest (binding, report number), authentic if there is a key, else whole."""
        best: Part | None = None
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
    ORDER_OPENING or ORDER_USER. Raises RequestError: FIELD for one missing, unknown or out of range; KIND,
    WEIGHT.
    """
    if kind not in ORDER_KINDS:
        raise RequestError(codes.KIND, f"There is no order of kind {kind!r}.")
    _card(card)
    complete = dict(values)
    mask = complete.setdefault("psc_mask", None)
    if mask is None:
        complete["psc_mask"] = bytes(3)
    _known(complete, _ORDER_FIELDS)
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
    return frames.close(frame, end, mac)


_MASK_AT: int = frames.HEAD + records.offset_of(ORDER, "psc_mask")


def encode_report(report_key: bytes, region: int, card: int, values: Values) -> bytes:
    """The 74 bytes of a report frame as the meter with ``report_key`` (16 bytes) writes it.

    A hall never writes one; meters' stand-ins in tests and tools do. ``values`` has every field of the
    report. RequestError FIELD.
    """
    _card(card)
    _known(values, _REPORT_FIELDS)
    try:
        return frames.build(REPORT_DATA, dict(values), records.REPORT, card, region, report_key)
    except RecordError as error:
        raise _field(error, values) from None


def report_key(meter_key: bytes) -> bytes:
    """The report key (Kr) of the meter whose key is ``meter_key`` (Km), 16 bytes both."""
    return keys.derive(meter_key, keys.REPORT_KEY)


def encode_card(identity: bytes, order: bytes | None = None, reports: Sequence[bytes | None] = ()) -> bytes:
    """A whole card, 256 bytes: the maker's bytes with an identity, an order and up to two report frames.

    RequestError FIELD if one has not the size of its place.
    """
    image = bytearray(BLANK_IMAGE)
    if len(reports) > len(REPORT_AT):
        raise RequestError(errors.FIELD, f"A card has room for {len(REPORT_AT)} reports.")
    places = [(IDENTITY_AT, IDENTITY_SIZE, identity), (ORDER_AT, ORDER_FRAME_SIZE, order)]
    places += [(at, REPORT_FRAME_SIZE, report) for at, report in zip(REPORT_AT, reports, strict=False)]
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
    """The fields of an order frame of 59 bytes, its MAC unchecked. CardError SHAPE, CRC or VERSION."""
    return _values(_frame("order", "order", bytes(frame), 0, ORDER_KINDS), ORDER_FRAME_SIZE, frame)


def decode_report(frame: bytes) -> Values:
    """The fields of a report frame of 74 bytes, its MAC unchecked. CardError SHAPE, CRC or VERSION."""
    return _values(_frame("report", "report", bytes(frame), 0, (records.REPORT,)), REPORT_FRAME_SIZE, frame)


def decode_card(image: bytes, signer: Signer | None = None, *, key_version: int | None = None) -> Card:
    """What stands on a card: ``image`` is its 256 bytes (or 264 with protection and security memory).

    Never fails on what the card says; each part bears its verdicts. With a ``signer`` MACs are judged too, by
    the key version of the card's order unless ``key_version`` is given. RequestError IMAGE_SIZE.
    """
    if len(image) not in (IMAGE_SIZE, DUMP_SIZE):
        raise RequestError(
            errors.IMAGE_SIZE,
            f"{len(image)} bytes are no card image: it has 256, or 264 with the security part.",
        )
    main = bytes(image[:IMAGE_SIZE])
    identity = _identity(main)
    order = _frame("order", "order", main, ORDER_AT, ORDER_KINDS)
    reports = [_frame(f"report slot {i}", "report", main, at, (records.REPORT,)) for i, at in enumerate(REPORT_AT)]
    if signer is not None and identity.values is not None:
        card: int = identity.values["card"]
        if order.values is not None:
            its_version: int = order.values["key_version"]
            order = _with_mac(order, signer, card, its_version)
            key_version = its_version if key_version is None else key_version
        reports = [
            part if part.values is None else _with_mac(part, signer, card, 1 if key_version is None else key_version)
            for part in reports
        ]
    return Card(main, identity, order, (reports[0], reports[1]), None if signer is None else signer.region)


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
    layout = ORDER if record == "order" else REPORT_DATA
    size = ORDER_SIZE if record == "order" else REPORT_SIZE
    raw = image[at : at + size + frames.HEAD + frames.TAIL]
    if len(raw) == size + frames.HEAD + frames.TAIL and raw.count(0xFF) == len(raw):
        return Part(name, record, at, raw, False)
    code = frames.check(image, at, size)
    shape, crc, version = _steps(code, codes.SHAPE)
    values = None
    if code == codes.OK:
        values = frames.read(layout, image, at)
        if values is None or (record == "order" and frames.unfilled(values)):
            shape, values = codes.SHAPE, None
        elif image[at + 1] not in kinds:
            shape, values = codes.KIND, None
    return Part(name, record, at, raw, True, shape, crc, version, values=values)


def _steps(code: int, shape_code: int) -> tuple[int | None, int | None, int | None]:
    """One code as three verdicts: those before it hold, those behind it were not reached."""
    if code == shape_code:
        return code, None, None
    if code == codes.CRC:
        return codes.OK, code, None
    return codes.OK, codes.OK, code


def _with_mac(part: Part, signer: Signer, card: int, key_version: int) -> Part:
    assert part.values is not None
    end = len(part.raw) - frames.TAIL
    data, mac = part.raw[frames.HEAD : end], part.raw[end : end + 8]
    meter, kind, version = part.values["meter"], part.raw[1], part.raw[3]
    if part.record == "order":
        right = keys.equal(signer.order_mac(meter, key_version, card, version, kind, data), mac)
    else:
        right = signer.report_is_authentic(meter, key_version, card, version, kind, data, mac)
    verdict = codes.OK if right else codes.MAC
    return Part(
        part.name,
        part.record,
        part.at,
        part.raw,
        True,
        part.shape,
        part.crc,
        part.version,
        verdict,
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
