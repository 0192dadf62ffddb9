# The link frame of the service port and of the simulator's pipe, in the shape of CJ/T 188:
#
#     FE FE FE | 68 | T | A0..A6 | C | L | data | CS | 16
#
# T     meter type, 30H-39H for gas meters, AA for any
# A     meter number, 14 BCD digits, low byte first; AA throughout means any meter
# C     control: what is asked (READ, WRITE), ANSWER and ERROR bits in the reply
# L     length of data, one byte
# data  identifier (2 bytes, low byte first), serial (1 byte, repeated by the answer), body (0-252 bytes)
# CS    sum of all bytes from 68 on, modulo 256
#
# In this project a meter number is 7 bytes, high digits first, as on the card; only the wire turns it round.
# The one-byte sum finds a damaged byte and no more: what must not be forged carries its own MAC.

WAKE = 0xFE
START = 0x68
END = 0x16

TYPE_GAS = 0x30
TYPE_GAS_LAST = 0x39
TYPE_ANY = 0xAA
ANY_METER = b"\xaa\xaa\xaa\xaa\xaa\xaa\xaa"

READ = 0x01
READ_ADDRESS = 0x03
WRITE = 0x04
WRITE_ADDRESS = 0x15
SET_START_VALUE = 0x16
ANSWER = 0x80
ERROR = 0x40

METER_BYTES = 7
MAX_BODY = 252
WAKE_BYTES = 3

_HEAD = 11  # 68, T, seven of A, C, L
_LENGTH_AT = 10
_DATA_MIN = 3  # identifier and serial
_TAIL = 2  # CS, 16
SHORTEST = _HEAD + _DATA_MIN + _TAIL
LONGEST = _HEAD + 255 + _TAIL

_START_BYTE = b"\x68"


class Frame:
    """One frame as the program sees it: numbers, and the meter number with its high digits first."""

    def __init__(
        self,
        control: int,
        identifier: int,
        serial: int,
        body: bytes = b"",
        meter: bytes = ANY_METER,
        kind: int = TYPE_GAS,
    ) -> None:
        self.control = control
        self.identifier = identifier
        self.serial = serial
        self.body = body
        self.meter = meter
        self.kind = kind

    def is_answer(self) -> bool:
        return self.control & ANSWER != 0

    def is_error(self) -> bool:
        return self.control & ERROR != 0

    def encode(self, wake: int = WAKE_BYTES) -> bytes:
        """The bytes; ``wake`` FE bytes go ahead of them to rouse a sleeping UART (a pipe needs none).

        ValueError if a value has no room in its field.
        """
        body = self.body
        size = len(body)
        if size > MAX_BODY:
            raise ValueError("body over 252 bytes")
        if len(self.meter) != METER_BYTES:
            raise ValueError("meter number not 7 bytes")
        if not 0 <= self.control <= 0xFF or not 0 <= self.identifier <= 0xFFFF or not 0 <= self.serial <= 0xFF:
            raise ValueError("control, identifier or serial out of range")
        if not is_gas_type(self.kind):
            raise ValueError("meter type is not a gas meter's")
        if wake < 0:
            raise ValueError("wake-up bytes below 0")
        frame = bytearray((START, self.kind))
        frame += _reversed(self.meter)
        frame += bytes((self.control, _DATA_MIN + size, self.identifier & 0xFF, self.identifier >> 8, self.serial))
        frame += body
        frame += bytes((sum(frame) & 0xFF, END))
        return b"\xfe" * wake + frame


def _reversed(number: bytes) -> bytes:
    turned = bytearray(METER_BYTES)
    for i in range(METER_BYTES):
        turned[METER_BYTES - 1 - i] = number[i]
    return bytes(turned)


def is_gas_type(kind: int) -> bool:
    return TYPE_GAS <= kind <= TYPE_GAS_LAST or kind == TYPE_ANY


class Decoder:
    """Finds frames in a stream that may begin anywhere, be cut anywhere and be damaged anywhere.

    It never raises on any bytes and between calls never holds more than one frame's. A frame that proves
    false costs only its first byte: what follows is looked at again, so a true frame behind it is found.
    """

    def __init__(self) -> None:
        self._held = b""
        self.dropped = 0  # bytes that were no frame, wake-up bytes included

    def feed(self, data: bytes) -> "list[Frame]":
        """Take the next bytes, any number of them; return the frames they complete, in order."""
        return self._scan(self._held + data, True)

    def flush(self) -> "list[Frame]":
        """The line has fallen silent: what looked like the start of a frame will not be completed.

        Returns the frames that hide behind it, and holds nothing any more.
        """
        return self._scan(self._held, False)

    def missing(self) -> int:
        """The least number of bytes that could complete the next frame.

        A reader that waits for just so many never waits for a byte that is not coming, and on a clean line
        needs two reads a frame at most.
        """
        held = self._held
        if len(held) <= _LENGTH_AT:
            return SHORTEST - len(held)
        return _HEAD + held[_LENGTH_AT] + _TAIL - len(held)

    def _scan(self, data: bytes, patient: bool) -> "list[Frame]":
        frames = []
        size = len(data)
        at = 0
        while at < size:
            start = data.find(_START_BYTE, at)
            if start < 0:
                self.dropped += size - at
                at = size
                break
            self.dropped += start - at
            at = start
            left = size - at
            if left < 2 or is_gas_type(data[at + 1]):
                length = data[at + _LENGTH_AT] if left > _LENGTH_AT else _DATA_MIN
                whole = _HEAD + length + _TAIL
                if length < _DATA_MIN:
                    pass
                elif left < whole:
                    if patient:
                        break
                elif data[at + whole - 1] == END and sum(data[at : at + whole - 2]) & 0xFF == data[at + whole - 2]:
                    frames.append(_frame(data[at : at + whole]))
                    at += whole
                    continue
            self.dropped += 1
            at += 1
        self._held = data[at:]
        return frames


def _frame(raw: bytes) -> "Frame":
    return Frame(raw[9], raw[11] | raw[12] << 8, raw[13], raw[14 : len(raw) - _TAIL], _reversed(raw[2:9]), raw[1])
