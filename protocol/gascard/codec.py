# Turns a record table and a dict of values into bytes and back, the same on the meter and in the hall.

from binascii import hexlify, unhexlify

from gascard.records import TIME, TIME_MAX, TOTAL, TOTAL_MAX, U8, U16, kind_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gascard.records import Layout


class RecordError(ValueError):
    """A value that does not fit its field, or bytes that no encoder writes. ``args[0]`` names the field."""


def pack_into(layout: "Layout", values: dict, buffer: bytearray, offset: int = 0) -> int:
    """Write ``values`` (a dict, name to value) as ``layout`` into ``buffer`` at ``offset``; return the end.

    The whole record is checked before the first byte is written. RecordError if a field is missing, of the
    wrong type or out of its range.
    """
    record = bytearray()
    for name, kind in layout:
        size = kind & 0x0F or 16  # kind_size, without the call
        sort = kind >> 4
        try:
            value = values[name]
            if sort == 2:
                if not isinstance(value, str) or len(value) != 2 * size or not value.isdigit():
                    raise ValueError
                raw = unhexlify(value)
            elif sort == 3:
                if len(value) != size:
                    raise ValueError
                raw = bytes(value)
            else:
                if isinstance(value, bool) or not isinstance(value, int):
                    raise ValueError
                if (value < 0 or value >> 8 * size) if sort == 0 else not _within(kind, value):
                    raise ValueError
                if value < 0:
                    value += 1 << 8 * size
                raw = value.to_bytes(size, "big")
        except (KeyError, ValueError, TypeError, AttributeError):
            raise RecordError(name) from None
        record += raw
    end = offset + len(record)
    if end > len(buffer):
        raise RecordError("buffer")
    buffer[offset:end] = record
    return end


def _within(kind: int, value: int) -> bool:
    # Whether a number is one that a total, a time or a signed field may hold.
    if kind == TOTAL:
        return 0 <= value <= TOTAL_MAX
    if kind == TIME:
        return 0 <= value <= TIME_MAX
    top = 1 << 8 * kind_size(kind)
    return -top <= 2 * value < top


def unpack(layout: "Layout", data: bytes | bytearray, offset: int = 0) -> dict:
    """Read the record at ``offset`` of ``data``: a dict, name to value.

    RecordError if the bytes are too few, a BCD field holds a nibble above 9, or a total or time is out of range.
    """
    values: dict = {}
    value: "Any"
    for name, kind in layout:
        start = offset
        offset += kind & 0x0F or 16  # kind_size, without the call
        if offset > len(data):
            raise RecordError(name)
        if kind == U8:
            value = data[start]  # most fields are such, or the next
        elif kind == U16:
            value = data[start] << 8 | data[start + 1]
        else:
            raw = data[start:offset]
            sort = kind >> 4
            if sort == 2:
                value = hexlify(bytes(raw)).decode()
                if not value.isdigit():
                    raise RecordError(name)
            elif sort == 3:
                value = bytes(raw)
            else:
                value = int.from_bytes(raw, "big")
                if sort == 1:
                    if raw[0] & 0x80:
                        value -= 1 << 8 * len(raw)
                elif sort and not _within(kind, value):
                    raise RecordError(name)  # of plain numbers the bytes hold none that does not fit
        values[name] = value
    return values
