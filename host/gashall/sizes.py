"""Meter sizes, and the guards' limits that suit each: one table, and two functions over it.

A pulse weight is the order's field (0: 1 m³, 1: 0.1 m³, 2: 0.01 m³). Flows are in m³ an hour. Ranges in use and
the sizes themselves are those of docs/DOMAIN.md, section 2; what each guard does with its limits stands in
docs/meter-behaviour.md. All of it is advice: a company that knows its appliances better sets its own limits.
"""

from decimal import ROUND_CEILING, Decimal
from typing import NamedTuple

from gashall import errors
from gashall.errors import RequestError
from gashall.units import check_weight, shown

__all__ = ["SIZES", "Size", "guard_limits", "over_flow_seconds"]


class Size(NamedTuple):
    """The largest and the smallest flow a meter measures within its error, m³ an hour."""

    qmax: Decimal
    qmin: Decimal


SIZES: dict[str, Size] = {
    name: Size(Decimal(qmax), Decimal(qmin))
    for name, qmax, qmin in (
        ("G1.6", "2.5", "0.016"),
        ("G2.5", "4", "0.025"),
        ("G4", "6", "0.04"),
        ("G6", "10", "0.06"),
        ("G10", "16", "0.10"),
        ("G16", "25", "0.16"),
        ("G25", "40", "0.25"),
        ("G40", "65", "0.40"),
    )
}

OVER_FLOW_SECONDS_MAX = 0xFF  # the order's field, one byte
LARGE_FLOW_GAP_MAX = 0xFFFF  # the meter's, two bytes of milliseconds

# Bits of `report` and `shut`, by the meter's numbers of its guards. All ten are told.
_ALL = 0x3FF
_LONG_FLOW = 1 << 3
_IDLE = 1 << 4

# Volts differ from cell to cell: these are for one lithium cell of 3.6 V, whose voltage stays flat until it is nearly
# empty, and leave it enough to drive the valve shut. In the meter's steps of 20 mV: 3.3 V and 3.0 V.
BATTERY_LOW = 165
BATTERY_EMPTY = 150

_GAPS = 20  # so many gaps of one sort in a row are no accident


def _size(name: str) -> Size:
    if not isinstance(name, str) or name not in SIZES:
        raise RequestError(errors.FIELD, f"There is no meter size {shown(name)}.", f"Use one of {', '.join(SIZES)}.")
    return SIZES[name]


def over_flow_seconds(size: str, pulse_weight: int) -> int:
    """Least whole seconds between two pulses of a meter of that ``size``: those at its qmax, rounded down.

    For the order's field of that name. RequestError WEIGHT for no pulse weight; FIELD for an unknown size, or where
    the pulses come too quickly (below 1 s) or too slowly (above 255 s) for the field.
    """
    volume = Decimal(1).scaleb(-check_weight(pulse_weight))
    seconds = int(3600 * volume // _size(size).qmax)
    if not 1 <= seconds <= OVER_FLOW_SECONDS_MAX:
        told = f"{seconds} s" if seconds else "less than 1 s"
        raise RequestError(
            errors.FIELD,
            f"At the largest flow of a {size} pulses of {volume} m³ are {told} apart; "
            f"over_flow_seconds is 1 to {OVER_FLOW_SECONDS_MAX}.",
            "Use a pulse weight that suits the size, or 0, which leaves the meter's own limit in force.",
        )
    return seconds


def guard_limits(size: str, pulse_weight: int) -> dict[str, int]:
    """Recommended limits and enable bits of all guards: the fields of the meter's record of limits, without its frame.

    Units are the fields' own (docs/SPEC.md): s, but ms for ``large_flow_gap``, h, min and d where the name says so,
    20 mV for the battery. RequestError as ``over_flow_seconds``.
    """
    over = over_flow_seconds(size, pulse_weight)
    flows = SIZES[size]
    volume = Decimal(1).scaleb(-pulse_weight)
    # Seconds between two pulses at qmin, rounded up so that qmin itself is still flow. Below qmin a meter owes nobody a
    # count, so a longer silence cannot be told from rest. That makes it the pause. A pilot flame of ten litres
    # an hour or so is below qmin of every size, and so is no leak.
    pause = int((3600 * volume / flows.qmin).to_integral_value(ROUND_CEILING))
    # Small flow is qmin to twice qmin: the smallest burner alone. The gap at twice qmin, rounded down, is its shortest,
    # and shorter than the pause whatever the rounding.
    small = int(3600 * volume // (2 * flows.qmin))
    # Nobody simmers for a day. But with coarse pulses a day is two or three gaps, and somebody who uses little, now and
    # then, makes gaps like a leak's: at least twenty of them must follow each other. 24 to 200 h (range: to 240 h).
    hours = max(24, -(-_GAPS * pause // 3600))
    # Twice qmax passes a burst pipe, no appliance. Coarse pulses of small meters are further apart than the field can
    # say; then the flow must be stronger still.
    large = min(LARGE_FLOW_GAP_MAX, int(1800 * 1000 * volume // flows.qmax))
    return {
        "report": _ALL,
        # Continuous flow is told and does not shut: a boiler burns through a frost. An idle valve needs no shutting.
        "shut": _ALL & ~(_LONG_FLOW | _IDLE),
        "pause_seconds": pause,
        "over_flow_seconds": over,
        # Range: to 120 s. All burners lit at once may be a little above qmax for a moment, which harms nothing.
        "over_flow_for": 120,
        "large_flow_gap": large,
        # Range: to 120 s. Quickly, but three gaps if they fit: one false gap must not shut a valve.
        "large_flow_for": min(120, max(10, -(-3 * large // 1000))),
        "small_flow_gap": small,
        "small_flow_hours": hours,
        # Range: 120 s to 240 h. As long as a small flow: any other that has no end, such as a fire left on.
        "long_flow_minutes": 60 * hours,
        # Range: to 30 d. A movement costs charge, and a valve of several thousand movements bears one a month.
        "idle_days": 30,
        # 0.05 m³, or one pulse: what passes while the valve shuts, and a wheel that stands at the edge of a pulse.
        "past_valve_pulses": max(1, int(Decimal("0.05") / volume)),
        "battery_low": BATTERY_LOW,
        "battery_empty": BATTERY_EMPTY,
    }
