# CRC-16/X.25 by table: what tells a damaged frame, checkpoint or log entry from a whole one.
# Width 16, polynomial 0x1021 reflected (0x8408), start 0xFFFF, result inverted; "123456789" gives 0x906E.

from array import array


def _table() -> "array[int]":
    table = array("H", bytes(512))
    for i in range(256):
        value = i
        for _ in range(8):
            value = (value >> 1) ^ 0x8408 if value & 1 else value >> 1
        table[i] = value
    return table


_TABLE = _table()


def crc16(data: bytes | bytearray, start: int = 0, end: int = -1) -> int:
    """CRC-16/X.25 of ``data[start:end]`` (to the end when ``end`` is -1), without slicing, 0..0xFFFF."""
    if end < 0:
        end = len(data)
    table = _TABLE
    value = 0xFFFF
    for i in range(start, end):
        value = (value >> 8) ^ table[(value ^ data[i]) & 0xFF]
    return value ^ 0xFFFF
