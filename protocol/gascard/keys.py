# HMAC-SHA256 and the key tree below a meter (RULES 4); the branches above it only the hall's signer grows.

from hashlib import sha256

ORDER_KEY = b"order"
REPORT_KEY = b"report"
WRAP_KEY = b"wrap"
SERVICE_KEY = b"service"


def hmac_sha256(key: bytes | bytearray, message: bytes | bytearray) -> bytes:
    """HMAC-SHA256 (RFC 2104) of ``message``, 32 bytes."""
    if len(key) > 64:
        key = sha256(key).digest()
    pad = bytearray(b"\x36" * 64)
    for i in range(len(key)):
        pad[i] ^= key[i]
    inner = sha256(pad)
    inner.update(message)
    for i in range(64):
        pad[i] ^= 0x36 ^ 0x5C
    outer = sha256(pad)
    outer.update(inner.digest())
    return outer.digest()


def derive(parent: bytes, label: bytes, context: bytes = b"") -> bytes:
    """The 16-byte key ``label`` below ``parent`` for ``context``: KDF of RULES 4."""
    return hmac_sha256(parent, b"icgas/1 " + label + b"\0" + context)[:16]


def frame_mac(key: bytes, card: int, region: int, version: int, kind: int, data: bytes | bytearray) -> bytes:
    """The 8-byte MAC of a frame: it binds the data to one card of one region and to the frame's own head."""
    head = card.to_bytes(4, "big") + region.to_bytes(2, "big") + bytes((version, kind, len(data)))
    return hmac_sha256(key, head + bytes(data))[:8]


def mask_psc(wrap_key: bytes, card: int, psc: bytes) -> bytes:
    """Mask a card's 3-byte password for the meter, or unmask it: the same operation both ways."""
    pad = hmac_sha256(wrap_key, b"psc" + card.to_bytes(4, "big"))
    return bytes([psc[i] ^ pad[i] for i in range(3)])


def equal(a: bytes, b: bytes) -> bool:
    """Compare two MACs in a time that does not tell where they differ."""
    if len(a) != len(b):
        return False
    difference = 0
    for i in range(len(a)):
        difference |= a[i] ^ b[i]
    return difference == 0
