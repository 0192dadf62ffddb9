# What the eight digits, the symbols and the buzzer tell at this moment; the panel part only draws and sounds it.

try:
    from micropython import const
except ImportError:
    const = lambda x: x  # noqa: E731

from gascard import codes
from gascard.records import (
    SHUT_ALARM,
    SHUT_BATTERY,
    SHUT_COVER,
    SHUT_FAULT,
    SHUT_LARGE_FLOW,
    SHUT_LONG_FLOW,
    SHUT_MAGNET,
    SHUT_OVER_FLOW,
    SHUT_PAST_VALVE,
    SHUT_REGISTER_END,
    SHUT_SENSOR,
    SHUT_SMALL_FLOW,
    SHUT_STORE_LOST,
    SHUT_UNBOUND,
    SHUT_ZERO,
    STATUS_BATTERY_LOW,
    STATUS_KEY_NEEDED,
    STATUS_SENSOR,
    STATUS_VALVE_FAULT,
    STATUS_VALVE_OPEN,
)

# The pages that the key turns, in this order, and those that something else brings.
REST = const(0)  # the code of what keeps the valve shut, if it has one; else the remaining gas
REMAINING = const(1)
INDEX = const(2)
BOUGHT = const(3)
SEQUENCE = const(4)
CLOCK = const(5)
CODE = const(6)
WAIT = const(7)
TEST = const(8)  # every segment
DARK = const(9)

SYMBOL_VALVE_OPEN = const(1)
SYMBOL_LOW_GAS = const(2)
SYMBOL_BATTERY = const(4)
SYMBOL_CARD = const(8)
SYMBOL_FAULT = const(16)
SYMBOL_PRESS_KEY = const(32)
SYMBOL_TAMPER = const(64)
SYMBOL_FLOW = const(128)
ALL_SYMBOLS = const(255)

CODE_MS = const(10000)  # how long a page stays before the one at rest is shown again ...
LIT_MS = const(60000)  # ... and that one, before the display goes dark
TEST_MS = const(3000)
SELF_TEST_MS = const(3000)  # a key held so long asks for the self-test

# The buzzer: on and off in turn, in hundredths of a second.
BEEP_SERVED = b"\x0a"
BEEP_REFUSED = b"\x0a\x0a\x0a\x0a\x0a"
BEEP_LOW = b"\x32\x19\x32"
BEEP_SHUT = b"\x64"
BEEP_TEST = b"\x05"

# Which code tells people why the valve is shut: the first that holds. What the remaining gas says itself has none.
STANDING = (
    (SHUT_STORE_LOST, codes.STORE_LOST),
    (SHUT_FAULT, codes.FAULT),
    (SHUT_REGISTER_END, codes.REGISTER_END),
    (SHUT_UNBOUND, codes.NOT_BOUND),
    (SHUT_BATTERY, codes.BATTERY_EMPTY),
    (SHUT_MAGNET, codes.MAGNET),
    (SHUT_COVER, codes.COVER_OPEN),
    (SHUT_SENSOR, codes.SENSOR_FAULT),
    (SHUT_PAST_VALVE, codes.PAST_VALVE),
    (SHUT_LARGE_FLOW, codes.LARGE_FLOW),
    (SHUT_OVER_FLOW, codes.OVER_FLOW),
    (SHUT_SMALL_FLOW, codes.SMALL_FLOW),
    (SHUT_LONG_FLOW, codes.LONG_FLOW),
)


def symbols(status: int) -> int:
    """The SYMBOL_ bits of a report's ``status``; that of the card is the session's."""
    lit = 0
    if status & STATUS_VALVE_OPEN:
        lit |= SYMBOL_VALVE_OPEN
    if status & (SHUT_ALARM | SHUT_ZERO):
        lit |= SYMBOL_LOW_GAS
    if status & (STATUS_BATTERY_LOW | SHUT_BATTERY):
        lit |= SYMBOL_BATTERY
    if status & (STATUS_VALVE_FAULT | SHUT_STORE_LOST | SHUT_FAULT):
        lit |= SYMBOL_FAULT
    if status & STATUS_KEY_NEEDED:
        lit |= SYMBOL_PRESS_KEY
    if status & (SHUT_MAGNET | SHUT_COVER | SHUT_SENSOR | STATUS_SENSOR):
        lit |= SYMBOL_TAMPER
    if status & (SHUT_OVER_FLOW | SHUT_LARGE_FLOW | SHUT_SMALL_FLOW | SHUT_LONG_FLOW | SHUT_PAST_VALVE):
        lit |= SYMBOL_FLOW
    return lit


def standing(reasons: int) -> int:
    """The code that tells people of ``reasons`` (SHUT_ of gascard.records), OK if there is none."""
    for reason, code in STANDING:
        if reasons & reason:
            return code
    return codes.OK


def turned(page: int, code: int) -> int:
    """The page that a press of the key turns to; ``code`` is what keeps the valve shut."""
    if page == REST and not code:
        return INDEX  # the remaining gas has been seen
    return page + 1 if page < CLOCK else REST


def volume(pulses: int, decimals: int) -> str:
    """Pulses as cubic metres with the point where the pulse weight puts it: 1234 at 2 decimals is ``12.34``."""
    sign = "-" if pulses < 0 else ""
    digits = str(abs(pulses))
    if not decimals:
        return sign + digits
    digits = "0" * (decimals + 1 - len(digits)) + digits
    return sign + digits[:-decimals] + "." + digits[-decimals:]


def text(page: int, value: int, decimals: int) -> str:
    """The digits of ``page``: gas, bought gas and index in m³, an order's number as N, a code as E and its number,
    minutes to wait as L, of the clock hour and minute.
    """
    if page == CODE:
        return "E%02d" % abs(value)
    if page == WAIT:
        return "L%3d" % value
    if page == SEQUENCE:
        return "N%5d" % value
    if page == CLOCK:
        return "%02d-%02d" % (value // 60 % 24, value % 60)
    if page == TEST:
        return "88888888"
    return "" if page == DARK else volume(value, decimals)
