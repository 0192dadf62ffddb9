# The frame round every record that is not the identity: 68 | kind | length | version | data | MAC 8 | CRC 2 | 16.
# The shape is GB/T 18460.2's; where that has a one-byte sum ours has a MAC and a CRC-16/X.25. The CRC runs from
# the kind to the last byte of the MAC: it tells a damaged frame from a forged one, and costs an attacker nothing.

try:
    from micropython import const
except ImportError:
    const = lambda x: x  # noqa: E731

from gascard import codes
from gascard.codec import RecordError, pack_into, unpack
from gascard.crc import crc16
from gascard.keys import equal, frame_mac
from gascard.records import FLAGS_ALL, FORMAT_VERSION, IDENTITY, IDENTITY_AT, MARK, size_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gascard.records import Layout

HEAD = const(4)
TAIL = const(11)  # MAC 8, CRC 2, end mark 1
_START = const(0x68)
_END = const(0x16)


def frame_size(layout: "Layout") -> int:
    """Bytes of a whole frame round a record of this layout."""
    return size_of(layout) + HEAD + TAIL


def begin(layout: "Layout", values: dict, kind: int, version: int = FORMAT_VERSION) -> "tuple[bytearray, int]":
    """(frame, end): a frame with head and data, and where the data end; ``close`` finishes it. RecordError."""
    size = size_of(layout)
    frame = bytearray(size + HEAD + TAIL)
    frame[0], frame[1], frame[2], frame[3] = _START, kind, size, version
    return frame, pack_into(layout, values, frame, HEAD)


def build(
    layout: "Layout", values: dict, kind: int, card: int, region: int, key: bytes, version: int = FORMAT_VERSION
) -> bytes:
    """A whole frame for card number ``card`` of ``region``, its MAC made with ``key``. RecordError as pack_into."""
    frame, end = begin(layout, values, kind, version)
    return close(frame, end, frame_mac(key, card, region, version, kind, frame[HEAD:end]))


def close(frame: bytearray, end: int, mac: bytes) -> bytes:
    """Put ``mac``, the CRC and the end mark behind the data of ``frame``, which ends at ``end``."""
    for i in range(8):
        frame[end + i] = mac[i]
    crc = crc16(frame, 1, end + 8)
    frame[end + 8], frame[end + 9], frame[end + 10] = crc >> 8, crc & 0xFF, _END
    return bytes(frame)


def check(image: bytes | bytearray, at: int, size: int) -> int:
    """Shape, CRC and version of the frame of ``size`` data bytes at ``at``: OK, SHAPE, CRC or VERSION.

    A frame of another version may be longer or shorter than ours, so its CRC is looked for where its own length
    says; only a whole frame is called newer rather than damaged.
    """
    if at + HEAD > len(image) or image[at] != _START:
        return codes.SHAPE
    if image[at + 3] != FORMAT_VERSION:
        size = image[at + 2]
    elif image[at + 2] != size:
        return codes.SHAPE
    end = at + HEAD + size + 8
    if end + 3 > len(image) or image[end + 2] != _END:
        return codes.SHAPE
    if crc16(image, at + 1, end) != image[end] << 8 | image[end + 1]:
        return codes.CRC
    return codes.OK if image[at + 3] == FORMAT_VERSION else codes.VERSION


def read(layout: "Layout", image: bytes | bytearray, at: int) -> "dict | None":
    """The values of the frame at ``at``, which ``check`` has found whole; None if a field is malformed."""
    try:
        return unpack(layout, image, at + HEAD)
    except RecordError:
        return None


def unfilled(order: dict) -> str:
    """The field of an order that no hall fills so, though it would fit its bytes: SHAPE. Else an empty string."""
    if order["flags"] & ~FLAGS_ALL:
        return "flags"
    for name in ("sequence", "binding"):
        if not order[name]:
            return name
    return ""


def mac_at(image: bytes | bytearray, at: int, size: int) -> bytes:
    """The 8 MAC bytes of the frame of ``size`` data bytes at ``at``."""
    return bytes(image[at + HEAD + size : at + HEAD + size + 8])


def mac_right(image: bytes | bytearray, at: int, size: int, card: int, region: int, key: bytes) -> bool:
    """Whether the frame at ``at`` carries the MAC that ``key`` makes for this card and region."""
    data = image[at + HEAD : at + HEAD + size]
    return equal(frame_mac(key, card, region, image[at + 3], image[at + 1], data), mac_at(image, at, size))


def build_identity(values: dict) -> bytes:
    """The 13 identity bytes, CRC filled in. RecordError as pack_into."""
    identity = bytearray(size_of(IDENTITY))
    values = dict(values)
    values["crc"] = 0
    end = pack_into(IDENTITY, values, identity) - 2
    crc = crc16(identity, 0, end)
    identity[end], identity[end + 1] = crc >> 8, crc & 0xFF
    return bytes(identity)


def check_identity(image: bytes | bytearray) -> int:
    """Whether ``image`` bears an identity this format can read: OK, NOT_OURS, CRC or VERSION."""
    end = IDENTITY_AT + size_of(IDENTITY)
    if len(image) < end or image[IDENTITY_AT] != MARK:
        return codes.NOT_OURS
    if crc16(image, IDENTITY_AT, end - 2) != image[end - 2] << 8 | image[end - 1]:
        return codes.CRC
    return codes.OK if image[IDENTITY_AT + 1] == FORMAT_VERSION else codes.VERSION
