# CRC-16/X.25 by table: what tells a damaged frame, checkpoint or log entry from a whole one.
# Width 16, polynomial 0x1021 reflected (0x8408), start 0xFFFF, result inverted; "123456789" gives 0x906E.
# A table of half bytes: two looks for each byte, and 64 bytes of a meter's heap where a table of bytes takes 512.


def _table() -> "list[int]":
    table = []
    for value in range(16):
        for _ in range(4):
            value = (value >> 1) ^ 0x8408 if value & 1 else value >> 1
        table.append(value)
    return table


_TABLE = _table()


def crc16(data: bytes | bytearray, start: int = 0, end: int = -1) -> int:
    """CRC-16/X.25 of ``data[start:end]`` (to the end when ``end`` is -1), without slicing, 0..0xFFFF."""
    if end < 0:
        end = len(data)
    table = _TABLE
    value = 0xFFFF
    for i in range(start, end):
        value ^= data[i]
        value = (value >> 4) ^ table[value & 0x0F]
        value = (value >> 4) ^ table[value & 0x0F]
    return value ^ 0xFFFF
