"""The words for what a meter keeps for itself: units and meanings of the fields of meter.layouts, for SPEC.md.

Plain data beside the document, as gascard.meanings is for the card; no meter carries it. A test proves that every
field, state and kind of event has words, and that no words are left for something that is gone.
"""

from gascard import meanings
from meter import events, layouts, tools, valve

PULSE = "pulse"
MINUTES = "min since 2000-01-01 UTC"

RECORDS = {
    "checkpoint": layouts.CHECKPOINT,
    "account": layouts.ACCOUNT,
    "state": layouts.STATE,
    "guards": layouts.GUARDS,
    "keys": layouts.KEYS,
    "event": layouts.EVENT,
    "lockout": layouts.LOCKOUT,
    "final_record": tools.FINAL_RECORD,
}

_ENTRY = ("", "Rises by one, modulo 2¹⁶, with each saving of this record; of two valid copies the newer counts.")
_LAYOUT = ("", "Version of this table; a copy of another version is not read.")
_SPARE = ("", "Written as 0.")
_CRC32 = ("", "CRC-32 (IEEE 802.3) over the 60 bytes before it.")
_CRC16 = ("", "CRC-16/X.25, as the card's, over the bytes before it.")

# Record -> field -> (unit, meaning). The unit is empty where a number only names or counts.
FIELD_MEANINGS: dict[str, dict[str, tuple[str, str]]] = {
    "checkpoint": {
        "generation": (
            "",
            "How many tallies have been filled, modulo 2¹⁶. Its lowest bit says which slot this is and which "
            "marker the tally is written with.",
        ),
        "base": (PULSE, "The register when this generation began: its marks count from here."),
        "crc": _CRC16,
    },
    "account": {
        "entry": _ENTRY,
        "layout": _LAYOUT,
        "state": ("", "One of the written states."),
        "binding": ("", "Number of the present or the last binding; 0 before the first."),
        "replacement": ("", "The highest replacement number taken in this binding."),
        "card": ("", "Number of the card that brought the newest order."),
        "account": ("", "The customer's account, 10 digits."),
        "sequence": ("", "Number of the newest order loaded in this binding."),
        "bought_total": (PULSE, "Everything credited under this binding."),
        "register_at_binding": (PULSE, "What the register read when this binding began."),
        "correction_total": (PULSE, "Signed sum of the corrections taken in this binding."),
        "alarm": (PULSE, "Remaining gas at which the valve shuts once as a warning; 0 is no alarm."),
        "ceiling": (PULSE, "Remaining gas above which a card is not loaded; 0 is no ceiling."),
        "overdraft": (PULSE, "How far below zero the remaining gas may fall; 0 is no overdraft."),
        "over_flow_seconds": (
            "s",
            "Two pulses closer together than this are too much flow; 0: the guards' own limit counts.",
        ),
        "latest_time": (MINUTES, "The latest time any loaded order has named; it survives a new binding."),
        "order_mac": (
            "",
            "MAC of the newest order loaded: it tells the same order again (REPEAT) from another one of the "
            "same number (SEQUENCE_CONFLICT).",
        ),
        "spare": _SPARE,
        "crc": _CRC32,
    },
    "state": {
        "entry": _ENTRY,
        "layout": _LAYOUT,
        "alarm_binding": ("", "Binding in which the alarm was last acknowledged."),
        "alarm_sequence": (
            "",
            "Sequence at which it was: while both are the account's own the alarm does not shut the valve.",
        ),
        "latched": (
            "bits",
            "Reasons to stay shut that outlive a power cut: what guards have shut and nobody has reopened.",
        ),
        "report_number": ("", "Number of the last report begun; stored before the card is written."),
        "service_number": ("", "Number of the last setting card taken; an older one is refused."),
        "test_gas": (PULSE, "All test gas this meter was ever given; more than its model allows is refused."),
        "index_offset": (
            PULSE,
            "Added to the register, modulo the wheels, this is the index shown on the display.",
        ),
        "barred_card": ("", "The card number whose password was refused last; 0 is none."),
        "warned": (
            "",
            "1 if the last run ended with the power-fail warning, 2 if the wheel then stood behind the last pulse; "
            "made 0 at each boot, so a run that ends without the warning leaves a 0.",
        ),
        "valve_moves": ("", "Whole movements of the valve; stops at its highest number."),
        "valve_failures": ("", "Movements that did not arrive in time; stops at its highest number."),
        "boots": ("", "How often the firmware has started; stops at its highest number."),
        "power_failures": ("", "Boots that found warned 0; stops at its highest number."),
        "magnet_events": ("", "How often a strong magnet was met; stops at its highest number."),
        "over_flow_count": ("", "How often flow was above the meter's size; stops at its highest number."),
        "last_code": ("", "Result of the last card session as its absolute value, as of this saving."),
        "brown_outs": ("", "Warnings after which the supply came back; stops at its highest number."),
        "exercises": (
            "",
            "How often the valve was moved because no gas had flowed for long; stops at its highest number.",
        ),
        "test_gas_end": (PULSE, "Register at which the test gas is used up: unbound, the valve is shut from there on."),
        "spare": _SPARE,
        "spare_more": _SPARE,
        "crc": _CRC32,
    },
    "guards": {
        "entry": _ENTRY,
        "layout": _LAYOUT,
        "report": ("bits", "Guards whose tripping goes into the log, 1 shifted by the guard's number."),
        "shut": ("bits", "Guards whose tripping shuts the valve."),
        "pause_seconds": ("s", "A longer gap between two pulses is a pause."),
        "over_flow_seconds": ("s", "Gaps below this are over-flow, where the account names no limit of its own."),
        "over_flow_for": ("s", "So long over-flow must last; 0 switches the guard off."),
        "large_flow_gap": ("ms", "Gaps below this are abnormally large flow."),
        "large_flow_for": ("s", "So long it must last; 0 switches the guard off."),
        "small_flow_gap": ("s", "Gaps from this on, and no pause, are small flow."),
        "small_flow_hours": ("h", "So long it must last; 0 switches the guard off."),
        "long_flow_minutes": ("min", "So long gas may flow without a pause, 16 666 at most; 0: guard off."),
        "idle_days": ("d", "After so long without a pulse the valve wants exercise; 0 switches the guard off."),
        "past_valve_pulses": (PULSE, "More than these while the valve is shut are flow past it."),
        "battery_low": ("20 mV", "Below this the battery is low: a warning; 0 is never."),
        "battery_empty": ("20 mV", "Below this it is empty: the valve shuts; 0 is never."),
        "spare": _SPARE,
        "spare_more": _SPARE,
        "spare_last": _SPARE,
        "crc": _CRC32,
    },
    "keys": {
        "entry": _ENTRY,
        "layout": _LAYOUT,
        "state": ("", "keyed if the keys below are a region's, factory before."),
        "region": ("", "The region whose cards this meter serves."),
        "meter": ("", "The meter's number, 14 digits."),
        "key_version": ("", "Version of the two keys; only rises."),
        "binding": (
            "",
            "The highest binding this meter has ever begun, raised here before it is in the account; it "
            "survives the loss of the account.",
        ),
        "key": ("", "Km: the meter's own branch of the key tree."),
        "tool_key": ("", "Kt: the region's key for harmless tool orders."),
        "spare": _SPARE,
        "crc": _CRC32,
    },
    "event": {
        "number": ("", "Number of the entry; rises for the life of the meter, begins with 1 and never wraps."),
        "kind": ("", "What happened: one of the kinds of event."),
        "detail": ("", "By kind; the low sixteen bits of what is said there."),
        "register": (PULSE, "The register at that moment."),
        "time": (MINUTES, "The meter's clock at that moment."),
        "crc": _CRC16,
    },
    "lockout": {
        "number": ("", "Rises by one, modulo 2¹⁶, with each entry; its remainder by 8 is the entry's place."),
        "cards": ("token", "What a power cut leaves in the bucket of cards."),
        "service": ("token", "What a power cut leaves in the bucket of the service port."),
        "crc": _CRC16,
    },
    # A report as it was when the binding ended, and whom the gas goes to.
    "final_record": {
        **meanings.FIELD_MEANINGS["report"],
        "new_meter": ("", "The meter a transfer's gas goes to; 14 zeros after a clear."),
        "new_binding": ("", "The binding of that meter; 0 after a clear."),
        "crc": _CRC16,
    },
}

# Written state -> (name, meaning).
STATE_MEANINGS: dict[int, tuple[str, str]] = {
    layouts.FACTORY: ("factory", "As made, without a region's keys: every card but its key card is REGION."),
    layouts.KEYED: ("keyed", "It has a region's keys and no account: an opening order is awaited."),
    layouts.BOUND: ("bound", "It serves an account."),
    layouts.TRANSFERRED: ("transferred", "Its account has gone to another meter (section 13.6)."),
    layouts.CLOSED: ("closed", "Its account was closed by a clear card (section 13.6)."),
}

# Kind of event -> (name, what happened, what its detail says).
EVENT_MEANINGS: dict[int, tuple[str, str, str]] = {
    events.BOOT: ("boot", "Power came and the store was recovered.", "boots, this one included"),
    events.POWER_FAILING: ("power_failing", "The supply gave its warning.", "0"),
    events.BOUND: ("bound", "An opening order was journalled.", "sequence"),
    events.LOADED: ("loaded", "A further order was journalled.", "sequence"),
    events.REFUSED: (
        "refused",
        "A card session ended with another code than OK, REPEAT or REPORT_NOT_WRITTEN.",
        "absolute value of the code",
    ),
    events.VALVE_OPENED: ("valve_opened", "The valve has arrived open.", "reasons to be shut at that moment"),
    events.VALVE_SHUT: ("valve_shut", "The valve has arrived shut.", "reasons to be shut at that moment"),
    events.VALVE_FAULT: (
        "valve_fault",
        "A movement failed three times over, and the valve is left alone until somebody asks.",
        f"the last cause: {valve.NO_ARRIVAL} it did not arrive in time, {valve.NO_CURRENT} the motor drew no current",
    ),
    events.ALARM: ("alarm", "Remaining gas has reached the alarm.", "0"),
    events.ZERO: ("zero", "Gas and overdraft are used up.", "0"),
    events.REGISTER_END: ("register_end", "The register has reached its last number.", "0"),
    events.SCRUBBED: ("scrubbed", "Recovery has put places of the tally right.", "how many places"),
    events.FAULT: (
        "fault",
        "A fault was latched; only the first of a run is entered.",
        "the address that does not hold what is written, or the error number",
    ),
    events.REPORT_NOT_WRITTEN: (
        "report_not_written",
        "The gas was loaded and the card could not take the report.",
        "0",
    ),
    events.GUARD: ("guard", "A guard has tripped whose report bit is set.", "the guard's number"),
    events.EXERCISED: (
        "exercised",
        "The valve is moved because no gas had flowed for long.",
        "how often that has been, this time included",
    ),
    events.BATTERY: ("battery", "The battery was found low, or empty.", "its voltage in 20 mV"),
    events.BROWN_OUT: (
        "brown_out",
        "The supply gave its warning and came back.",
        "how often that has been, this time included",
    ),
    events.VALVE_SLOW: (
        "valve_slow",
        "A movement arrived, and took longer than the model's `travel_slow_ms`.",
        "its travel in ms",
    ),
    events.SELF_TEST: (
        "self_test",
        "The key was held for the self-test.",
        "absolute value of the code it showed; 0: nothing is wrong",
    ),
    events.ENDED: ("ended", "A clear or transfer card has ended the binding.", "the binding number"),
    events.TEST_GAS: ("test_gas", "A test card has given gas to a meter without a binding.", "pulses given"),
    events.SET: ("set", "A setting card was taken.", "what it set: the sum of clock 1, index 2, guards 4"),
    events.KEYED: ("keyed", "A key card has given the meter its keys.", "their version"),
}
