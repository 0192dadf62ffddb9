"""What each request of the test bench takes and gives, for SPEC.md: name in gasrig.bench -> (body, answer)."""

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
    "SWITCH": (
        "0 a magnet at its switch, 1 reed A dead, 2 reed B dead, 4 the cover open, 5 gas past the shut valve, "
        "6 a magnet that holds both reeds (1); 1 begins, 0 is over (1)",
        SNAPSHOT,
    ),
    "BATTERY": ("millivolts (2) that the cell gives from now on", "SNAPSHOT; nothing where there is no power"),
    "GUARDS": ("the record of the guards, as a setting card would bring it", NOTHING),
    "RECORD_READ": ("", "whole entries of the record, oldest first: gasrig.recorder.HEAD and the bytes written"),
    "KEEP": ("number (1): keep all that is stored under it", NOTHING),
    "BACK": ("number (1): power goes, all that is stored is as it was kept", NOTHING),
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
