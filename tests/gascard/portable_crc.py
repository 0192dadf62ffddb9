# CRC-16/X.25. Runs on every VM: nothing is imported but gascard.

from gascard.crc import crc16


def by_bits(data):
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ 0x8408 if value & 1 else value >> 1
    return value ^ 0xFFFF


def test_crc_check_value():
    assert crc16(b"123456789") == 0x906E


def test_crc_empty_is_zero():
    assert crc16(b"") == 0


def test_crc_table_agrees_with_the_bits_for_every_byte():
    for byte in range(256):
        assert crc16(bytes((byte,))) == by_bits(bytes((byte,)))
        assert crc16(bytes((0x5A, byte, 255 - byte))) == by_bits(bytes((0x5A, byte, 255 - byte)))


def test_crc_of_a_part_equals_crc_of_the_slice():
    data = bytes(range(100))
    for start, end in ((0, 0), (0, 100), (1, 99), (40, 41), (99, 100), (100, 100)):
        assert crc16(data, start, end) == crc16(data[start:end])
    assert crc16(data, 10) == crc16(data[10:])


def test_crc_takes_every_kind_of_buffer():
    data = b"\x68\x02\x2c\x01"
    assert crc16(bytearray(data)) == crc16(memoryview(data)) == crc16(data)


def test_crc_notices_every_burst_of_16_bits():
    data = bytearray(59)
    whole = crc16(data)
    for place in range(58):
        for burst in (0x0180, 0x8001, 0xFFFF, 0x0001):
            data[place], data[place + 1] = burst >> 8, burst & 0xFF
            assert crc16(data) != whole
        data[place] = data[place + 1] = 0
