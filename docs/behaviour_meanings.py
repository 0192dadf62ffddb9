"""What a meter notices and shows, in words for people: the tables of meter-behaviour.md, filled by generate_spec.py.

A test proves that every guard, page, symbol and sound of the firmware has words, and that no words are left over.
"""

from gascard import records
from meter import display, guards

# Guard -> (name, 中文, what trips it, limits of layouts.GUARDS that say when, status bit of what it shuts; 0: nothing).
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
        "No gas for so many powered days: the valve is exercised at the next card or key",
        "`idle_days`",
        0,
    ),
    guards.PAST_VALVE: (
        "flow past the valve",
        "关阀漏气",
        "More than so many pulses while the valve stands shut; 0 switches the guard off",
        "`past_valve_pulses`",
        records.SHUT_PAST_VALVE,
    ),
    guards.SENSOR: (
        "sensor",
        "计数传感器故障",
        "A reed stands still while the other swings, or both changed at once",
        "",
        records.SHUT_SENSOR,
    ),
    guards.REVERSE: ("reverse flow", "反向计数", "The wheel was led back by more than a turn", "", records.SHUT_SENSOR),
    guards.MAGNET: (
        "magnet",
        "强磁干扰",
        "A strong magnet is at its switch",
        "",
        records.SHUT_MAGNET,
    ),
    guards.COVER: ("cover", "表盖打开", "The cover, or the battery's, is open", "", records.SHUT_COVER),
}

PAGE_NAMES = ("REST", "REMAINING", "INDEX", "BOUGHT", "SEQUENCE", "CLOCK", "CODE", "WAIT", "TEST", "DARK")

# Page -> (what the digits give, when).
PAGE_MEANINGS: dict[int, tuple[str, str]] = {
    display.REST: (
        "the code of what keeps the valve shut, as on the page `code`; if it has none, the remaining gas in m³",
        "a minute, after anything else and whenever there is a new reason to be shut",
    ),
    display.REMAINING: ("the remaining gas in m³, negative within the overdraft", "by the key, if a code is at rest"),
    display.INDEX: ("the counter's reading in m³, as the wheels show it", "by the key"),
    display.BOUGHT: ("all gas bought in this binding, in m³", "by the key"),
    display.SEQUENCE: ("`N` and the number of the newest order loaded (购气次数)", "by the key"),
    display.CLOCK: ("hour and minute, local time of the model's `clock_minutes`", "by the key"),
    display.CODE: ("`E` and the number of a result code", "after a card that was not simply loaded, or the self-test"),
    display.WAIT: ("`L` and the minutes until a token is back", "after a card while the lockout holds"),
    display.TEST: ("every segment and every symbol", "three seconds, when the key was held"),
    display.DARK: ("nothing; the symbols stay", "after a minute at rest, until key, card or a new reason to be shut"),
}

SYMBOL_MEANINGS: dict[int, tuple[str, str]] = {
    display.SYMBOL_VALVE_OPEN: ("valve", "the valve stands open"),
    display.SYMBOL_LOW_GAS: ("low gas", "the alarm or zero keeps the valve shut"),
    display.SYMBOL_BATTERY: ("battery", "the battery is low, or empty"),
    display.SYMBOL_CARD: ("card", "a report is being written: leave the card in"),
    display.SYMBOL_FAULT: ("fault", "the valve is stuck, the store is lost, or a fault is latched"),
    display.SYMBOL_PRESS_KEY: ("press the key", "nothing keeps the valve shut but that nobody has asked"),
    display.SYMBOL_TAMPER: (
        "tamper",
        "magnet, cover or sensor keeps the valve shut, or a fault of the reeds has been found",
    ),
    display.SYMBOL_FLOW: ("flow", "a guard of the flow, or flow past the valve, keeps the valve shut"),
}

# Name in meter.display -> when the buzzer sounds so.
BEEP_MEANINGS: dict[str, str] = {
    "BEEP_SERVED": "a card was served: its report is written, it may go",
    "BEEP_REFUSED": "a card session ended with any other code than OK or REPEAT",
    "BEEP_LOW": "the alarm, or zero, shuts the valve",
    "BEEP_SHUT": "another new reason shuts the valve, the supply's warning excepted",
    "BEEP_TEST": "the key was held: the self-test begins",
}
