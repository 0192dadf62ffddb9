"""A meter under test as an object: the bench's requests with names, numbers and cards instead of bytes.

Thin on purpose: nothing is remembered here but the last snapshot: what a test sees is what the meter said.
"""

import struct
from typing import Any, NamedTuple, TypeAlias

from gascard.chip import Chip
from gascard.codec import unpack
from gasrig import bench, recorder
from gasrig.targets import Target
from meter.layouts import EVENT, GUARDS

__all__ = ["BUILD_DEFAULTS", "VALVE_NAMES", "Entry", "MeterUnderTest", "RecordedMeter", "Snapshot", "SupplyFailed"]

Snapshot: TypeAlias = dict[str, int]
"""What stands where now, by the names of ``bench.SNAPSHOT``; ``code`` as in ``gascard.codes``."""

VALVE_NAMES = ("shut", "opening", "open", "shutting", "stuck")

BUILD_DEFAULTS: dict[str, Any] = {
    "memory": bench.MEMORY_FRAM,
    "lanes": 1,
    "lane_length": 4096,
    "pulse_weight": 2,
    "region": bench.TEST_REGION,
    "key_version": 1,
    "factory_key": bytes(16),
    "register": 0,
    "index": 0,
    "wheels": 10000000,
    "travel_ms": 4000,
    "minutes": 0,
}


class Panel(NamedTuple):
    """Digits, SYMBOL_ bits of meter.display, how often the buzzer has sounded (modulo 256) and what it did last."""

    text: str
    symbols: int
    beeps: int
    pattern: bytes


_HEAD = struct.Struct(recorder.HEAD)


def _snapshot(answer: bytes) -> Snapshot:
    values = dict(zip(bench.SNAPSHOT.names, struct.unpack(bench.SNAPSHOT_WIRE, answer), strict=True))
    values["code"] = -values["code"]
    return values


class MeterUnderTest:
    """One meter on a target. ``last`` is the snapshot of the latest request that gave one."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.last: Snapshot = {}

    def _ask(self, identifier: int, body: bytes = b"") -> Snapshot:
        self.last = _snapshot(self.target.ask(identifier, body))
        return self.last

    def build(self, **config: Any) -> Snapshot:
        """Make a new meter and give it power. ``config`` is fields of bench.CONFIG: meter, key and tool_key.

        The rest may be left out and is then as in BUILD_DEFAULTS. RecordError for a field out of range.
        """
        return self._ask(bench.BUILD, bench.pack(bench.CONFIG, {**BUILD_DEFAULTS, **config}))

    def run(self, milliseconds: int, milli_pulses: int) -> Snapshot:
        """Draw gas evenly for at most an hour; over early (elapsed_ms, drawn_milli) when the valve shuts."""
        request = {"milliseconds": milliseconds, "milli_pulses": milli_pulses}
        return self._ask(bench.RUN, bench.pack(bench.RUN_REQUEST, request))

    def wait(self, milliseconds: int) -> Snapshot:
        """Let powered time pass without gas."""
        return self._ask(bench.WAIT, milliseconds.to_bytes(4, "big"))

    def pulses(self, count: int) -> Snapshot:
        """Let ``count`` pulses come as one batch; the wheels turn with them."""
        return self._ask(bench.PULSES, count.to_bytes(4, "big"))

    def insert(self, chip: Chip, *, milliseconds: int = 0, milli_pulses: int = 0) -> int:
        """Put a card in, all 264 bytes of it, and let meter and valve come to rest; the meter's code.

        Gas may be drawn meanwhile, as with ``run``.
        """
        self._put(chip, 0)
        request = b""
        if milli_pulses:
            drawn = {"milliseconds": milliseconds, "milli_pulses": milli_pulses}
            request = bench.pack(bench.RUN_REQUEST, drawn)
        return self._ask(bench.INSERT, request)["code"]

    def visit(self, chip: Chip, milliseconds: int) -> Chip:
        """Put a card in and pull it out after so long, whatever the meter is doing; the chip that comes out."""
        self._put(chip, 0)
        self._ask(bench.INSERT, milliseconds.to_bytes(4, "big"))
        return self._get(0)

    def remove(self) -> Chip:
        """Take the card out: a chip with what the meter has left on it."""
        self._ask(bench.REMOVE)
        return self._get(0)

    def _put(self, chip: Chip, hand: int) -> None:
        dump = chip.dump()
        for part in (0, 1):
            half = dump[part * bench.CHUNK : (part + 1) * bench.CHUNK]
            self.target.ask(bench.CARD_PUT, bytes((hand + part,)) + half)

    def _get(self, hand: int) -> Chip:
        chip = Chip()
        chip.restore(b"".join(self.target.ask(bench.CARD_GET, bytes((hand + part,))) for part in (0, 1)))
        return chip

    def key(self, held_ms: int = 0) -> Snapshot:
        """Press the key for so long, and let the valve come to rest."""
        return self._ask(bench.KEY, held_ms.to_bytes(2, "big"))

    def snapshot(self) -> Snapshot:
        """Only look."""
        return self._ask(bench.SNAP)

    def power_off(self, *, warned: bool) -> None:
        """Take the power away; with the warning the meter shuts its valve on the stored charge first."""
        self.target.ask(bench.POWER_OFF, bytes((warned,)))

    def power_on(self) -> Snapshot:
        """Give it back: a new core over the same memory."""
        return self._ask(bench.POWER_ON)

    def clock(self, minutes: int) -> None:
        """Set the meter's clock, with or without power: minutes since 2000-01-01 UTC."""
        self.target.ask(bench.CLOCK, minutes.to_bytes(4, "big"))

    def jam(self, jammed: bool = True) -> None:
        """Block the valve's motor, or free it."""
        self.target.ask(bench.JAM, bytes((jammed,)))

    def happens(self, what: int, begins: bool = True) -> Snapshot:
        """Something happens to the meter's parts, or is over: bench.MAGNET_SWITCH and its like. Valve and card rest."""
        return self._ask(bench.SWITCH, bytes((what, begins)))

    def fired(self) -> int:
        """Which happenings have made a difference since manufacture: bits by their numbers."""
        return int.from_bytes(self.target.ask(bench.FIRED), "big")

    def panel(self) -> Panel:
        """What the meter shows and has sounded."""
        answer = self.target.ask(bench.PANEL)
        end = 3 + answer[2]
        return Panel(answer[end:].decode(), answer[0], answer[1], answer[3:end])

    def port(self, frames: bytes) -> bytes:
        """Bytes to the meter's service port; its answer."""
        return self.target.ask(bench.PORT, frames)

    def battery(self, millivolts: int) -> Snapshot:
        """The cell of a meter that has power gives so much from now on, and is measured."""
        return self._ask(bench.BATTERY, millivolts.to_bytes(2, "big"))

    def guards(self, **limits: Any) -> None:
        """Set the guards: fields of meter.layouts.GUARDS, 0 where not given."""
        values = {**dict.fromkeys(GUARDS.names, 0), "spare": bytes(16), "spare_more": bytes(13), "spare_last": bytes(8)}
        self.target.ask(bench.GUARDS, bench.pack(GUARDS, {**values, **limits}))

    def wear(self) -> dict[str, int]:
        """Bytes and writes since manufacture, most writes to one cell and to one page."""
        return unpack(bench.WEAR_ANSWER, self.target.ask(bench.WEAR))

    def events(self) -> list[dict[str, int]]:
        """The event log, oldest first, as far as the ring still holds it (fields of meter.layouts.EVENT)."""
        newest = int.from_bytes(self.target.ask(bench.EVENT_READ), "big")
        found = []
        for number in range(newest, 0, -1):
            entry = self.target.ask(bench.EVENT_READ, number.to_bytes(3, "big"))
            if not entry:
                break
            found.append(unpack(EVENT, entry))
        return found[::-1]

    def store(self, address: int, count: int) -> bytes:
        """Up to 252 bytes of the meter's nonvolatile memory."""
        return self.target.ask(bench.STORE_READ, address.to_bytes(2, "big") + bytes((count,)))


class SupplyFailed(Exception):
    """The supply failed in the middle of a request, where ``stop_at`` said."""


class Entry(NamedTuple):
    """One thing the parts wrote down, and what else was true just before it (gasrig.recorder)."""

    kind: int
    address: int
    data: bytes
    calls: int
    wheels: int
    wheels_milli: int
    place: int
    asked_ms: int
    operations: int


class RecordedMeter(MeterUnderTest):
    """A meter whose parts write down what is stored on them, and whose stored state can be kept and changed."""

    def _ask(self, identifier: int, body: bytes = b"") -> Snapshot:
        answer = self.target.ask(identifier, body)
        if not answer:
            raise SupplyFailed
        self.last = _snapshot(answer)
        return self.last

    def build(self, **config: Any) -> Snapshot:
        """Make a new meter of recorded parts, FRAM or EEPROM. ``config`` as for MeterUnderTest."""
        memory = config.pop("memory", bench.MEMORY_FRAM)
        return super().build(memory=memory + bench.RECORDED, **config)

    def entries(self) -> list[Entry]:
        """What was written down since the last call, oldest first."""
        found = []
        more = 1
        while more:
            record = self.target.ask(bench.RECORD_READ)
            more, at = record[0], 1
            while at < len(record):
                kind, length, address, *rest = _HEAD.unpack_from(record, at)
                at += _HEAD.size
                found.append(Entry(kind, address, record[at : at + length], *rest))
                at += length
        return found

    def forget(self) -> None:
        """Forget what was written down."""
        self.target.ask(bench.RECORD_READ, b"\x01")

    def memory(self, size: int) -> bytes:
        """The first ``size`` bytes of the meter's nonvolatile memory."""
        return b"".join(self.store(at, min(250, size - at)) for at in range(0, size, 250))

    def keys(self) -> bytes:
        """The key memory, 128 bytes."""
        return self.target.ask(bench.KEYS_READ)

    def keep(self, number: int) -> None:
        """Keep all that is stored, the valve's place, the wheels and the clock, under ``number``."""
        self.target.ask(bench.KEEP, bytes((number,)))

    def back(self, number: int) -> None:
        """Take the power away; everything stored is as it was kept under ``number``."""
        self.target.ask(bench.BACK, bytes((number,)))

    def back_in(self, number: int, *, jammed: bool, place: int, index: int, index_milli: int, minutes: int) -> None:
        """``back`` with the motor blocked or not, and ``world``, in one request."""
        world = struct.pack(bench.WORLD_WIRE, place, index, index_milli, minutes, 0, 0)
        self.target.ask(bench.BACK, bytes((number, jammed)) + world)

    def poke(self, kind: int, address: int, data: bytes) -> None:
        """Take the power away; stored bytes become ``data``: ``kind`` recorder.STORE or KEYS."""
        self.target.ask(bench.POKE, bytes((kind,)) + address.to_bytes(2, "big") + data)

    def world(self, *, place: int, index: int, index_milli: int, minutes: int) -> None:
        """Take the power away; valve (ms of travel from shut), wheels and clock stand so."""
        self.target.ask(bench.WORLD, struct.pack(bench.WORLD_WIRE, place, index, index_milli, minutes, 0, 0))

    def world_now(self) -> dict[str, int]:
        """The fields of bench.WORLD_STATE as they are, with power or without."""
        values = struct.unpack(bench.WORLD_WIRE, self.target.ask(bench.WORLD_READ))
        return dict(zip(bench.WORLD_STATE.names, values, strict=True))

    def stop_at(self, calls: int) -> None:
        """After so many more calls of the core the supply fails with a warning: the request raises SupplyFailed."""
        self.target.ask(bench.STOP_AT, calls.to_bytes(4, "big"))

    def pull_at(self, operations: int, *, early: bool, other: Chip | None = None) -> None:
        """Before that operation of the next session the card is pulled, and ``other`` is in its place.

        ``early``: the meter's switch tells at once; else only when the card is removed.
        """
        if other is not None:
            self._put(other, 2)
        self.target.ask(bench.PULL_AT, operations.to_bytes(2, "big") + bytes((early, other is not None)))

    def other(self) -> Chip:
        """The card that was put in the place of the pulled one, after ``remove``."""
        return self._get(2)
