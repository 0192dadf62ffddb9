"""What a meter notices and shows, in words for people: the tables of meter-behaviour.md, filled by generate_spec.py.

A test proves that every guard, page and symbol of the firmware has words, and that none is left for what is gone.
"""

from gascard import records
from meter import display, guards

# Guard -> (name, 中文, what trips it, limits of layouts.GUARDS that say when, status bit while the valve is shut by it).
GUARD_MEANINGS: dict[int, tuple[str, str, str, str, int]] = {
    guards.OVER_FLOW: (
        "over-flow",
        "超流量",
        "Pulses closer together than the meter's size allows, for so long",
        "`over_flow_seconds` (the account's own goes before it), `over_flow_for`",
        records.SHUT_OVER_FLOW,
    ),
    guards.LARGE_FLOW: (
        "abnormally large flow",
        "异常大流量",
        "Pulses as from a burst pipe, for so long",
        "`large_flow_gap`, `large_flow_for`",
        records.SHUT_LARGE_FLOW,
    ),
    guards.SMALL_FLOW: (
        "abnormally small flow",
        "异常小流量",
        "A little gas for hours, without a pause: a leak",
        "`small_flow_gap`, `pause_seconds`, `small_flow_hours`",
        records.SHUT_SMALL_FLOW,
    ),
    guards.LONG_FLOW: (
        "continuous flow",
        "持续流量超时",
        "Gas for so long without a pause",
        "`pause_seconds`, `long_flow_minutes`",
        records.SHUT_LONG_FLOW,
    ),
    guards.IDLE: (
        "long idle",
        "长期未用",
        "No gas for so many powered days: the valve moves shut and open again at the next card or key, and never by itself",
        "`idle_days`",
        0,
    ),
    guards.PAST_VALVE: (
        "flow past the valve",
        "关阀漏气",
        "More than so many pulses while the valve stands shut",
        "`past_valve_pulses`",
        records.SHUT_PAST_VALVE,
    ),
    guards.SENSOR: (
        "sensor",
        "计数传感器故障",
        "A reed is dead, or both changed at once",
        "",
        records.SHUT_SENSOR,
    ),
    guards.REVERSE: ("reverse flow", "反向计数", "The wheel was led back by more than a turn", "", records.SHUT_SENSOR),
    guards.MAGNET: (
        "magnet",
        "强磁干扰",
        "A strong magnet is at its switch; shut while it is there, and until a card or the key once it is gone",
        "",
        records.SHUT_MAGNET,
    ),
    guards.COVER: ("cover", "表盖打开", "The cover is open; then as the magnet", "", records.SHUT_COVER),
}

# Page -> (what the digits give, when).
PAGE_MEANINGS: dict[int, tuple[str, str]] = {
    display.REMAINING: ("remaining gas in m³", "always, if nothing below holds"),
    display.INDEX: ("the counter's reading in m³, as the wheels show it", "for ten seconds after every other press of the key"),
    display.CODE: ("`E` and the number of a result code", "for ten seconds after a card that was not simply loaded"),
    display.WAIT: ("`L` and minutes", "for ten seconds after a card while the lockout holds: so long until a token is back"),
}

SYMBOL_MEANINGS: dict[int, tuple[str, str]] = {
    display.SYMBOL_VALVE_OPEN: ("valve", "the valve stands open"),
    display.SYMBOL_LOW_GAS: ("low gas", "the alarm or zero keeps the valve shut"),
    display.SYMBOL_BATTERY: ("battery", "the battery is low, or empty"),
    display.SYMBOL_CARD: ("card", "a report is being written: leave the card in"),
    display.SYMBOL_FAULT: ("fault", "the valve does not arrive, the store is lost, or a fault is latched"),
    display.SYMBOL_PRESS_KEY: ("press the key", "nothing keeps the valve shut but that nobody has asked"),
}
