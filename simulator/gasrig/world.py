"""One deterministic world: a meter on a wall, a household behind it, a card, and the hall in town.

``World(seed)`` owns time, chance, the meter under test, the cards and the hall's ledger; nothing in it reads
the computer's clock or the global random numbers, so one seed gives one history, on every target. ``tick`` is
the only way time moves. A visit of a card takes the meter some seconds; they belong to the tick that follows.
"""

import json
import os
import random
import shutil
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gascard.chip import Chip
from gashall import units
from gashall.keyfile import PLAIN
from gashall.readers.chip import ChipReader
from gashall.services import Hall
from gashall.signer import KeyFileSigner
from gasrig.bench import TEST_REGION
from gasrig.handset import BUILD_DEFAULTS, MeterUnderTest, Snapshot
from gasrig.targets import Target, open_target

__all__ = ["CARD_FILE", "HOUR_MS", "KEY_FILE", "LEDGER_FILE", "World"]

HOUR_MS = 3600000
MINUTE_MS = 60000
START = units.minutes(datetime(2025, 1, 1, tzinfo=UTC))

KEY_FILE = "region.key"
LEDGER_FILE = "ledger.db"
CARD_FILE = "card.bin"


class World:
    """A world; a context manager: leaving it ends target, ledger and, unless it was given, the folder.

    ``demand`` is thousandths of a pulse for each hour of a year and begins again at its end; none without it.
    Attributes: ``chance`` (the only source of it), ``meter`` (under test), ``hall``, ``milliseconds`` since
    the start, ``index_at_start``, and how the hours went: ``drawn_milli``, ``refused_milli`` (wanted while
    shut).
    """

    def __init__(
        self,
        seed: int,
        target: str | Target = "cpython",
        *,
        folder: str | os.PathLike[str] | None = None,
        demand: Sequence[int] = (),
        start: int = START,
        **config: Any,
    ) -> None:
        """``target`` by name or ready-made (then the caller closes it); ``folder`` keeps key file and ledger.

        ``start`` is minutes since 2000-01-01 UTC, ``config`` goes to the meter's manufacture (bench.CONFIG).
        TargetError, GasError.
        """
        self.seed = seed
        self.chance = random.Random(seed)
        self.start = start
        self.milliseconds = 0
        self.drawn_milli = 0
        self.refused_milli = 0
        self.powered = True
        self.demand = demand
        self._ahead_ms = 0  # what the meter has lived through beyond ``milliseconds``
        self._own_folder = folder is None
        self._own_target = isinstance(target, str)
        self.folder = Path(tempfile.mkdtemp(prefix="icgas-world-")) if folder is None else Path(folder)
        try:
            self.hall = self._open_hall()
            self.target = open_target(target) if isinstance(target, str) else target
            try:
                self.hang_meter(self.new_meter(self.chance) | config)
            except BaseException:
                self._close_target()
                raise
        except BaseException:
            self._close_folder()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the target, give the ledger's handles back, remove a folder that was not given."""
        self._close_target()
        self.hall.close()
        self._close_folder()

    def _close_target(self) -> None:
        if self._own_target:
            self.target.close()

    def _close_folder(self) -> None:
        if self._own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _open_hall(self) -> Hall:
        # The root comes from the seed, so that cards repeat byte for byte: a test region has no secrets.
        self.folder.mkdir(parents=True, exist_ok=True)
        keyfile = self.folder / KEY_FILE
        root = sha256(b"icgas test region %d" % self.seed).digest()
        text = json.dumps({"format": PLAIN, "region": TEST_REGION, "root": root.hex()}) + "\n"
        handle = os.open(keyfile, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(handle, "w", encoding="ascii") as file:
            file.write(text)
        self.signer = KeyFileSigner.load(keyfile)
        return Hall.open(self.folder / LEDGER_FILE, keyfile, clock=self.moment, create=True)

    def new_meter(self, chance: random.Random | None = None) -> dict[str, Any]:
        """A meter as it comes from the factory, for ``hang_meter``: fields of bench.CONFIG, index in pulses.

        Chance is its own unless it is given, so that a meter more changes nothing of what else happens.
        """
        if chance is None:
            chance = random.Random(f"the meter after {self.number}")
        # It has some pulses of its calibration run on register and wheels.
        calibration = chance.randrange(100, 2000)
        number = f"{chance.randrange(10**14):014d}"
        key, tool_key = self.signer.meter_keys(number, 1)
        made: dict[str, Any] = {"meter": number, "key": key, "tool_key": tool_key, "minutes": self.minutes}
        return made | {"register": calibration, "index": calibration + chance.randrange(1000)}

    def hang_meter(self, made: dict[str, Any]) -> None:
        """Hang a meter on the wall, in the place of the one that was there; that one is gone for good."""
        self.number = made["meter"]
        meter = MeterUnderTest(self.target)
        self.index_at_start = meter.build(**made)["index"]
        made = {**BUILD_DEFAULTS, **made}
        self.pulse_weight: int = made["pulse_weight"]
        self.wheels: int = made["wheels"]  # in pulses: the index returns to 0 there
        self.meter = meter

    # --- time

    @property
    def minutes(self) -> int:
        """Minutes since 2000-01-01 00:00 UTC."""
        return self.start + self.milliseconds // MINUTE_MS

    @property
    def hours(self) -> int:
        """Whole hours since the start."""
        return self.milliseconds // HOUR_MS

    def moment(self) -> datetime:
        """The time of day, for the hall."""
        return units.moment(self.minutes)

    def tick(self, milliseconds: int | None = None) -> Snapshot:
        """Let time pass, to the next full hour if not said how much, and the household draw what it wants.

        Gas wanted while the valve is shut or the meter without power is not made up for later. Gives the
        meter's latest snapshot.
        """
        if milliseconds is None:
            milliseconds = HOUR_MS - self.milliseconds % HOUR_MS
        while True:
            step = min(milliseconds, HOUR_MS - self.milliseconds % HOUR_MS)
            snapshot = self._pass(step, self._wanted(step))
            self.milliseconds += step
            milliseconds -= step
            if milliseconds <= 0:
                return snapshot

    def days(self, count: int) -> Snapshot:
        """Let ``count`` days pass, hour by hour; the meter's latest snapshot."""
        for _ in range(24 * count):
            self.tick()
        return self.meter.last

    def _wanted(self, step: int) -> int:
        # Thousandths of a pulse in the next ``step`` of this hour, by difference: no rounding adds up.
        if not self.demand:
            return 0
        hour, at = divmod(self.milliseconds, HOUR_MS)
        use = self.demand[hour % len(self.demand)]
        return use * (at + step) // HOUR_MS - use * at // HOUR_MS

    def _pass(self, step: int, wanted: int) -> Snapshot:
        meter = self.meter
        if not self.powered:
            self.refused_milli += wanted
            return meter.last
        owed = min(self._ahead_ms, step)
        self._ahead_ms -= owed
        left = step - owed
        snapshot = meter.run(left, wanted)
        self.drawn_milli += snapshot["drawn_milli"]
        self.refused_milli += wanted - snapshot["drawn_milli"]
        if snapshot["elapsed_ms"] < left:
            snapshot = meter.wait(left - snapshot["elapsed_ms"])
        return snapshot

    # --- people at the meter

    def insert(self, chip: Chip) -> int:
        """Put a card into the meter; its code. The seconds it takes belong to the next tick."""
        code = self.meter.insert(chip)
        self._ahead_ms += self.meter.last["elapsed_ms"]
        return code

    def visit(self, chip: Chip) -> int:
        """Put a card in and take it out again; the meter's code. ``chip`` is then as the meter left it."""
        code = self.insert(chip)
        chip.restore(self.meter.remove().dump())
        return code

    def press_key(self) -> Snapshot:
        """Press the meter's key."""
        snapshot = self.meter.key()
        self._ahead_ms += snapshot["elapsed_ms"]
        return snapshot

    def power_off(self, *, warned: bool) -> None:
        """Take the meter's power away. Until it is back no gas is drawn; the clock has a cell of its own."""
        self.meter.power_off(warned=warned)
        self.powered = False

    def power_on(self) -> Snapshot:
        """Give the meter its power back."""
        self.meter.clock(self.minutes)
        self.powered = True
        return self.meter.power_on()

    # --- people in town

    def blank_card(self) -> Chip:
        """A card from stock."""
        return Chip()

    def reader(self, chip: Chip) -> ChipReader:
        """The hall's reader with a card in it."""
        return ChipReader(chip)

    def index_reading(self) -> int:
        """What the wheels show, in pulses: somebody looks."""
        return self.meter.snapshot()["index"]

    def index_volume(self) -> Decimal:
        """The same in m³, as a person reads it off."""
        return units.volume(self.index_reading() % self.wheels, self.pulse_weight)
