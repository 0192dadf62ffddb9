"""What each request of the test bench takes and gives, for SPEC.md: name in gasrig.bench -> (body, answer)."""

SNAPSHOT = "SNAPSHOT"
NOTHING = ""

REQUESTS: dict[str, tuple[str, str]] = {
    "BUILD": ("CONFIG: manufacture a meter and give it power", SNAPSHOT),
    "RUN": ("RUN_REQUEST: draw so much gas evenly over so much time, less if the valve shuts", SNAPSHOT),
    "CARD_PUT": ("half (0 or 1), its 132 bytes: half the dump of a card, to be inserted", NOTHING),
    "CARD_GET": ("half (0 or 1)", "132 bytes of the card that was taken out"),
    "INSERT": ("put the card in; report and valve come to rest", SNAPSHOT),
    "REMOVE": ("take it out", SNAPSHOT),
    "KEY": ("press the key; the valve comes to rest", SNAPSHOT),
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
}
