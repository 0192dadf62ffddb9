# What the eight digits and the symbols show at this moment; the panel part only draws it.

try:
    from micropython import const
except ImportError:
    const = lambda x: x  # noqa: E731

REMAINING = const(0)
INDEX = const(1)
CODE = const(2)
WAIT = const(3)

SYMBOL_VALVE_OPEN = const(1)
SYMBOL_LOW_GAS = const(2)
SYMBOL_BATTERY = const(4)
SYMBOL_CARD = const(8)
SYMBOL_FAULT = const(16)
SYMBOL_PRESS_KEY = const(32)

CODE_MS = const(10000)  # how long a code stays before the remaining gas is shown again


def volume(pulses: int, decimals: int) -> str:
    """Pulses as cubic metres with the point where the pulse weight puts it: 1234 at 2 decimals is ``12.34``."""
    sign = "-" if pulses < 0 else ""
    digits = str(abs(pulses))
    if not decimals:
        return sign + digits
    digits = "0" * (decimals + 1 - len(digits)) + digits
    return sign + digits[:-decimals] + "." + digits[-decimals:]


def text(page: int, value: int, decimals: int) -> str:
    """The digits of ``page``: gas and index in m³, a result code as E and its number, minutes to wait as L."""
    if page == CODE:
        return "E%02d" % abs(value)
    if page == WAIT:
        return "L%3d" % value
    return volume(value, decimals)
