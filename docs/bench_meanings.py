"""What each request of the test bench takes and gives, for SPEC.md: name in gasrig.bench -> (body, answer)."""

from gasrig import parts

SNAPSHOT = "SNAPSHOT"
NOTHING = ""

REQUESTS: dict[str, tuple[str, str]] = {
    "BUILD": ("CONFIG: manufacture a meter and give it power", SNAPSHOT),
    "RUN": ("RUN_REQUEST: draw so much gas evenly over so much time, less if the valve shuts", SNAPSHOT),
    "CARD_PUT": (
        "half (0 or 1; 2 or 3 of the other card), its 132 bytes: half the dump of a card, to be inserted",
        NOTHING,
    ),
    "CARD_GET": ("half (0 or 1; 2 or 3 of the other card)", "132 bytes of the card that was taken out"),
    "INSERT": (
        "put the card in; report and valve come to rest. RUN_REQUEST: so much gas is drawn meanwhile; "
        "milliseconds (4): the card is out again after so long",
        SNAPSHOT,
    ),
    "REMOVE": ("take it out", SNAPSHOT),
    "KEY": ("press the key, for so many milliseconds (0 to 4 bytes); the valve comes to rest", SNAPSHOT),
    "SNAP": ("only look", SNAPSHOT),
    "POWER_OFF": ("1 with the warning, 0 without", NOTHING),
    "POWER_ON": ("a new core over the same memory", SNAPSHOT),
    "WEAR": ("", "WEAR_ANSWER"),
    "EVENT_READ": (
        "nothing, or an entry's number (3)",
        "the newest number (3), or the entry, empty if it is gone",
    ),
    "STORE_READ": ("address (2), count (1)", "so many bytes of the meter's memory"),
    "CLOCK": ("minutes since 2000-01-01 UTC (4)", NOTHING),
    "PULSES": ("count (4): pulses in one batch, the wheels with them", SNAPSHOT),
    "WAIT": ("milliseconds (4) of powered time without gas", SNAPSHOT),
    "JAM": ("1 blocks the valve's motor, 0 frees it", NOTHING),
    "SWITCH": ("a happening (1); 1: it begins, 0: it is over (1); the valve comes to rest", SNAPSHOT),
    "BATTERY": ("millivolts (2) that the cell gives from now on", "SNAPSHOT; nothing where there is no power"),
    "GUARDS": ("the record of the guards (section 10.4), as a setting card would bring it", NOTHING),
    "FIRED": ("", "a bit for each happening that has made a difference (2), 1 shifted by its number"),
    "PANEL": ("", "symbols (1), sounds so far, modulo 256 (1), length (1) and bytes of the last pattern, text"),
    "PORT": ("bytes to the meter's service port", "the bytes it answers"),
    "RECORD_READ": (
        "nothing, or 1 byte: all entries are forgotten unread",
        "1 if more are left (1), whole entries of the record, oldest first: gasrig.recorder.HEAD and the bytes written",
    ),
    "KEEP": ("number (1): keep all that is stored under it", NOTHING),
    "BACK": (
        "number (1): power goes, all that is stored is as it was kept; perhaps also 1 if the valve's motor is blocked "
        "(1) and WORLD_STATE: valve, wheels and clock stand so",
        NOTHING,
    ),
    "POKE": ("memory 0 or keys 1 (1), address (2), bytes: power goes, they are stored", NOTHING),
    "WORLD": ("WORLD_STATE: power goes, valve, wheels and clock stand so", NOTHING),
    "STOP_AT": ("calls of the core (4): after so many the supply fails with a warning; the answer is empty", NOTHING),
    "PULL_AT": (
        "operations on the card's bus (2), 1 if the switch tells at once, 1 if the other card is then in its place",
        NOTHING,
    ),
    "KEYS_READ": ("", "the key memory, 128 bytes"),
    "WORLD_READ": ("", "WORLD_STATE"),
}

# What SWITCH can begin or end: number in gasrig.parts -> what happens.
HAPPENINGS: dict[int, str] = {
    parts.MAGNET_SWITCH: "a magnet at its switch",
    parts.REED_A_DEAD: "reed A never closes",
    parts.REED_B_DEAD: "reed B never closes",
    parts.COVER_SWITCH: "the cover is open",
    parts.LEAK: "gas passes the shut valve",
    parts.REEDS_HELD: "a magnet holds both reeds closed",
    parts.OPEN_SWITCH_DEAD: "the valve's open switch never closes",
    parts.SHUT_SWITCH_DEAD: "the valve's shut switch never closes",
    parts.SHUT_SWITCH_HELD: "the valve's shut switch is always closed",
    parts.MOTOR_DEAD: "the motor turns nothing and draws no current",
    parts.HALF_WAY: "the valve gets no further than half of its way",
    parts.BOUNCE: "every change of a reed comes five times",
    parts.SUPPLY_DIP: "the supply gives its warning; over: it has recovered",
    parts.REEDS_SWAPPED: "the reeds change in the order of a wheel turned back",
}
