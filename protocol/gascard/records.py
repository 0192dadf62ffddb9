# Every record as a table: one row a field, (name, kind). Offsets follow from the order of the rows, so there
# is no second copy of an offset; the codec, the construct declaration, SPEC.md, the viewer and the generic
# tests are all made from these rows. What a field means stands in meanings.py, which no meter carries.

try:
    from micropython import const
except ImportError:
    const = lambda x: x  # noqa: E731

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# A kind is a type in the high half of a byte and a size in bytes in the low half. High byte first throughout.
U8 = const(0x01)
U16 = const(0x02)
U24 = const(0x03)
U32 = const(0x04)
S24 = const(0x13)  # two's complement
S32 = const(0x14)
BCD5 = const(0x25)  # decimal digits, two a byte; a str of 10 digits in Python
BCD7 = const(0x27)
RAW3 = const(0x33)  # bytes as they are
RAW6 = const(0x36)
RAW8 = const(0x38)
RAW12 = const(0x3C)
RAW13 = const(0x3D)
RAW16 = const(0x30)  # a size nibble of 0 stands for 16
TIME = const(0x44)  # minutes since 2000-01-01 00:00 UTC
TOTAL = const(0x54)  # pulses, 0..99 999 999

TOTAL_MAX = const(99999999)
TIME_MAX = const(0x3FFFFFFF)  # the year 4041: a time stays a small integer on a 32-bit meter
S24_MAX = const(0x7FFFFF)
SEQUENCE_MAX = const(0xFFFF)
BINDING_MAX = const(0xFF)
REPORT_NUMBER_MAX = const(0xFFFFFF)

FORMAT_VERSION = const(1)  # of identity and frames alike
MARK = const(0x69)  # first byte of the identity: a card of this system

# Kinds of card (identity.kind).
CARD_CUSTOMER = const(1)
CARD_TRANSFER = const(2)
CARD_CLEAR = const(3)
CARD_MANAGEMENT = const(4)
CARD_SETTING = const(5)
CARD_KEY = const(6)
CARD_TEST = const(7)

# Kinds of frame; the high bit marks meter to hall.
ORDER_OPENING = const(0x01)
ORDER_USER = const(0x02)
REPORT = const(0x81)

# Order flags.
FLAG_REFUND = const(0x01)
FLAG_GIFT = const(0x02)
FLAG_MAKEUP = const(0x04)
FLAG_PARAMETERS = const(0x08)  # alarm, ceiling, overdraft and over-flow of this order are to be taken
FLAGS_ALL = const(0x0F)

# Status bits of a report. The low sixteen are why the valve is shut, as the meter itself reckons with them.
SHUT_UNBOUND = const(0x0001)
SHUT_ZERO = const(0x0002)
SHUT_ALARM = const(0x0004)
SHUT_STORE_LOST = const(0x0008)
SHUT_REGISTER_END = const(0x0010)
SHUT_FAULT = const(0x0020)
SHUT_POWER = const(0x0040)  # the supply is going
SHUT_MAGNET = const(0x0080)
SHUT_BATTERY = const(0x0100)
SHUT_OVER_FLOW = const(0x0200)  # the guards' four stand in the guards' order (meter.guards)
SHUT_LARGE_FLOW = const(0x0400)
SHUT_SMALL_FLOW = const(0x0800)
SHUT_LONG_FLOW = const(0x1000)
SHUT_PAST_VALVE = const(0x2000)
SHUT_SENSOR = const(0x4000)
SHUT_COVER = const(0x8000)
STATUS_VALVE_OPEN = const(0x010000)
STATUS_VALVE_FAULT = const(0x020000)
STATUS_KEY_NEEDED = const(0x040000)  # nothing keeps the valve shut but that nobody has asked to open it
STATUS_LOCKED_OUT = const(0x080000)
STATUS_BATTERY_LOW = const(0x100000)
STATUS_SENSOR = const(0x200000)


def kind_size(kind: int) -> int:
    """Bytes a field of this kind takes."""
    return kind & 0x0F or 16


class Layout:
    """The table of one record. Iterating gives its rows, (name, kind); kept as two lines, it costs a meter a third.

    A board's build gives it as those lines: all names, then the kinds as bytes.
    """

    def __init__(self, *rows: "tuple[str, int]") -> None:
        lines: "Any" = rows
        if isinstance(lines[-1], bytes):
            self.names: "tuple[str, ...]" = lines[:-1]
            self.kinds: bytes = lines[-1]
        else:
            self.names = tuple([row[0] for row in rows])
            self.kinds = bytes([row[1] for row in rows])
        self.size = sum([kind_size(kind) for kind in self.kinds])

    def __iter__(self) -> "zip[tuple[str, int]]":
        return zip(self.names, self.kinds)  # noqa: B905 - no strict= on MicroPython


IDENTITY = Layout(
    ("mark", U8),
    ("format", U8),
    ("region", U16),
    ("kind", U8),
    ("card", U32),
    ("issue_batch", U16),
    ("crc", U16),
)

ORDER = Layout(
    ("meter", BCD7),
    ("account", BCD5),
    ("binding", U8),
    ("replacement", U8),
    ("key_version", U8),
    ("sequence", U16),
    ("bought_total", TOTAL),
    ("amount", S24),
    ("correction_total", S24),
    ("pulse_weight", U8),
    ("alarm", U16),
    ("ceiling", U24),
    ("overdraft", U16),
    ("over_flow_seconds", U8),
    ("time", TIME),
    ("psc_mask", RAW3),
    ("flags", U8),
)

REPORT_DATA = Layout(
    ("report_number", U24),
    ("meter", BCD7),
    ("binding", U8),
    ("replacement", U8),
    ("versions", U8),
    ("sequence", U16),
    ("bought_total", TOTAL),
    ("correction_total", S24),
    ("register", TOTAL),
    ("used", TOTAL),
    ("index", TOTAL),
    ("status", U24),
    ("last_code", U8),
    ("battery", U8),
    ("time", TIME),
    ("valve_moves", U16),
    ("valve_failures", U8),
    ("boots", U16),
    ("power_failures", U8),
    ("magnet_events", U8),
    ("over_flow_count", U8),
    ("alarm", U16),
    ("ceiling", U24),
    ("overdraft", U16),
    ("over_flow_seconds", U8),
)

# Area map of the SLE4442 (RULES 5): where each record lies in the 256 bytes.
IMAGE_SIZE = const(256)
IDENTITY_AT = const(0x08)
ORDER_AT = const(0x20)
REPORT_AT = (0x5B, 0xA5)
SPARE_AT = const(0xEF)


def size_of(layout: Layout) -> int:
    """Bytes a record of this layout takes."""
    return layout.size


def offset_of(layout: Layout, name: str) -> int:
    """Byte offset of the field ``name`` from the start of the record. KeyError if there is none."""
    offset = 0
    for field, kind in layout:
        if field == name:
            return offset
        offset += kind_size(kind)
    raise KeyError(name)
