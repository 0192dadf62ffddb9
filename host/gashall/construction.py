"""The records as ``construct`` declarations, made from the same tables: a second engine beside the codec.

No offset, size or order stands here; only what each *kind* of field means to ``construct``. The CRC is
``crcmod``'s. For tests, tools and people who explore cards; the fast path is ``gashall.encode``.
Needs ``pip install icgas[check]``.
"""

from typing import Any

import construct
import crcmod.predefined

from gascard import records, tools
from gascard.records import FORMAT_VERSION, IDENTITY, ORDER, REPORT_DATA, TIME_MAX, TOTAL_MAX, Layout, kind_size

_crc16 = crcmod.predefined.mkPredefinedCrcFun("x-25")
_HIGHEST = {records.TOTAL >> 4: TOTAL_MAX, records.TIME >> 4: TIME_MAX}
_UNSIGNED = {1: construct.Int8ub, 2: construct.Int16ub, 3: construct.Int24ub, 4: construct.Int32ub}


# construct comes without types: its classes are Any, which strict mypy lets nobody inherit from. Hence the two below.
class _Digits(construct.Adapter):  # type: ignore[misc]
    """Decimal digits, two a byte, as text."""

    def _decode(self, obj: bytes, context: Any, path: str) -> str:
        digits = obj.hex()
        if not digits.isdecimal():
            raise construct.ValidationError("a nibble above 9", path=path)
        return digits

    def _encode(self, obj: str, context: Any, path: str) -> bytes:
        if not (isinstance(obj, str) and obj.isascii() and obj.isdecimal()):
            raise construct.ValidationError("digits as text", path=path)
        return bytes.fromhex(obj)


class _Raw(construct.Adapter):  # type: ignore[misc]
    """Bytes as they are; ``construct`` alone would take a number too."""

    def _decode(self, obj: bytes, context: Any, path: str) -> bytes:
        return obj

    def _encode(self, obj: bytes, context: Any, path: str) -> bytes:
        if not isinstance(obj, bytes | bytearray):
            raise construct.ValidationError("bytes", path=path)
        return bytes(obj)


def field(kind: int) -> Any:
    """The ``construct`` declaration of one field kind of ``gascard.records``."""
    size = kind_size(kind)
    sort = kind >> 4
    if sort == records.BCD5 >> 4:
        return _Digits(construct.Bytes(size))
    if sort == records.RAW3 >> 4:
        return _Raw(construct.Bytes(size))
    if sort == records.S24 >> 4:
        return construct.Int24sb
    if sort in _HIGHEST:
        highest = _HIGHEST[sort]
        return construct.ExprValidator(_UNSIGNED[size], lambda value, context: value <= highest)
    return _UNSIGNED[size]


def record(layout: Layout) -> Any:
    """A record table as ``construct.Struct``: the data of a frame, or the identity with its CRC unchecked."""
    return construct.Struct(*[name / field(kind) for name, kind in layout])


def frame(layout: Layout) -> Any:
    """The frame round a record: ``68 | kind | length | version | data | MAC 8 | CRC 2 | 16``, CRC checked.

    Parses to, and builds from, ``{"body": {"value": {"kind", "version", "data", "mac"}}}``; length, CRC and
    the two marks fill themselves in. ``version`` must be the one this format has.
    """
    body = construct.Struct(
        "kind" / construct.Int8ub,
        "length" / construct.Const(records.size_of(layout), construct.Int8ub),
        "version" / construct.Const(FORMAT_VERSION, construct.Int8ub),
        "data" / record(layout),
        "mac" / construct.Bytes(8),
    )
    return construct.Struct(
        "start" / construct.Const(b"\x68"),
        "body" / construct.RawCopy(body),
        "crc" / construct.Checksum(construct.Int16ub, _crc16, construct.this.body.data),
        "end" / construct.Const(b"\x16"),
    )


def identity() -> Any:
    """The 13 identity bytes with their CRC checked; builds from ``{"body": {"value": fields}}``."""
    return construct.Struct(
        "body" / construct.RawCopy(record(Layout(*list(IDENTITY)[:-1]))),
        "crc" / construct.Checksum(construct.Int16ub, _crc16, construct.this.body.data),
    )


IDENTITY_RECORD = identity()
ORDER_FRAME = frame(ORDER)
REPORT_FRAME = frame(REPORT_DATA)
TRANSFER_FRAME = frame(tools.TRANSFER)
MANAGEMENT_FRAME = frame(tools.MANAGEMENT)
SETTING_FRAME = frame(tools.SETTING)
KEY_FRAME = frame(tools.KEY_BLOCK)
