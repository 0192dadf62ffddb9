# The SLE4442's words: command bytes, addresses and the numbers its users must respect (DOMAIN 4).

try:
    from micropython import const
except ImportError:
    const = lambda x: x  # noqa: E731

ATR = b"\xa2\x13\x10\x91"

READ_MAIN = const(0x30)
UPDATE_MAIN = const(0x38)
READ_PROTECTION = const(0x34)
WRITE_PROTECTION = const(0x3C)
READ_SECURITY = const(0x31)
UPDATE_SECURITY = const(0x39)
COMPARE = const(0x33)

TRIES_FULL = const(0x07)  # the error counter of a card nobody has mistyped on: three free bits


def tries_left(counter: int) -> int:
    """How many of the three password tries the error counter (bits 0-2) still holds."""
    return (counter & 1) + (counter >> 1 & 1) + (counter >> 2 & 1)
