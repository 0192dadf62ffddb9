"""The test bench: one meter core with its virtual parts, driven by requests, on every target.

A request is an identifier and a body, as the service port's frames carry them (gascard.link); the answer is a
body. The bench answers only for meters of region FFFF, the test region: no bench opens a meter in the field.
Time and gas come from the rig in large pieces ("this hour, so much gas") and are played out here, a quarter
of a pulse after the other.
"""

import struct

from gascard.chip import DUMP_SIZE, Chip
from gascard.codec import RecordError, pack_into, unpack
from gascard.records import BCD7, RAW16, S32, TOTAL, TOTAL_MAX, U8, U16, U32, Layout, size_of
from gasrig.parts import (
    BOUNCE,
    COVER_SWITCH,
    HALF_WAY,
    LEAK,
    MAGNET_SWITCH,
    MOTOR_DEAD,
    OPEN_SWITCH_DEAD,
    REED_A_DEAD,
    REED_B_DEAD,
    REEDS_HELD,
    REEDS_SWAPPED,
    SHUT_SWITCH_DEAD,
    SHUT_SWITCH_HELD,
    SUPPLY_DIP,
    Battery,
    CardSlot,
    Eeprom,
    Fram,
    MappedFram,
    Panel,
    ValveMotor,
    Wheels,
)
from gasrig.recorder import KEYS, RecordedChip, RecordedEeprom, RecordedFram, RecordedMotor, RecordedSlot, Recorder
from meter.factory import create
from meter.layouts import EVENT
from meter.layouts import GUARDS as GUARDS_LAYOUT
from meter.meter import Meter, Settings
from meter.service import Service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TEST_REGION = 0xFFFF

BUILD = 0xF001
RUN = 0xF002
CARD_PUT = 0xF003
CARD_GET = 0xF004
INSERT = 0xF005
REMOVE = 0xF006
KEY = 0xF007
SNAP = 0xF008
POWER_OFF = 0xF009
POWER_ON = 0xF00A
WEAR = 0xF00B
EVENT_READ = 0xF00C
STORE_READ = 0xF00D
CLOCK = 0xF00E
PULSES = 0xF00F
WAIT = 0xF010
JAM = 0xF011
SWITCH = 0xF01B
BATTERY = 0xF01C
GUARDS = 0xF01D
FIRED = 0xF01E
PANEL = 0xF01F
PORT = 0xF020
# On a bench of recorded parts only:
RECORD_READ = 0xF012  # the oldest entries of the record; they are forgotten, or all unread
KEEP = 0xF013  # keep all that is stored, under a number
BACK = 0xF014  # all that is stored becomes what was kept under a number; no power
POKE = 0xF015  # stored bytes become others; no power
WORLD = 0xF016  # valve, wheels and clock become these; no power
STOP_AT = 0xF017  # the supply fails, with warning, after so many calls of the core
PULL_AT = 0xF018  # the card is pulled before so many operations on its bus, perhaps another is put in its place
KEYS_READ = 0xF019
WORLD_READ = 0xF01A

# What SWITCH can begin or end (gasrig.parts), and whose it is.
OF_WHEELS = (REED_A_DEAD, REED_B_DEAD, REEDS_HELD, BOUNCE, REEDS_SWAPPED)
OF_MOTOR = (LEAK, OPEN_SWITCH_DEAD, SHUT_SWITCH_DEAD, SHUT_SWITCH_HELD, MOTOR_DEAD, HALF_WAY)

MEMORY_FRAM = 0
MEMORY_EEPROM = 1
MEMORY_MAPPED = 2
RECORDED = 0x10  # added to one of the first two: parts that write down what is stored on them (gasrig.recorder)

CHUNK = DUMP_SIZE // 2
HOUR_MS = 3600000
MOST_MILLI = 100  # of a pulse in a millisecond: beyond it the valve would get no time between two edges
MOST_PULSES = 1000000
NO_PULL = 0xFFFF
MAX_ENTRIES = 251  # bytes of the record in one answer

CONFIG = Layout(
    ("memory", U8),
    ("lanes", U8),
    ("lane_length", U16),
    ("pulse_weight", U8),
    ("region", U16),
    ("meter", BCD7),
    ("key_version", U8),
    ("key", RAW16),
    ("tool_key", RAW16),
    ("factory_key", RAW16),  # where it is not all nought the meter leaves the factory with this key only
    ("register", TOTAL),
    ("index", TOTAL),
    ("wheels", TOTAL),
    ("travel_ms", U16),
    ("minutes", U32),
)

RUN_REQUEST = Layout(
    ("milliseconds", U32),  # at most one hour
    ("milli_pulses", U32),
)

SNAPSHOT = Layout(
    ("elapsed_ms", U32),
    ("drawn_milli", U32),
    ("code", U8),
    ("index", TOTAL),
    ("index_milli", U16),
    ("register", TOTAL),
    ("remaining", S32),
    ("bought_total", TOTAL),
    ("sequence", U16),
    ("binding", U8),
    ("status", U32),
    ("reasons", U16),
    ("valve", U8),
    ("flows", U8),
    ("next_ms", U32),
    ("tokens", U8),
    ("symbols", U8),
    ("moves", U16),
    ("failures", U8),
)

# What is neither on a card nor in a memory and outlives the power. ``place`` is the valve's, in ms of travel.
WORLD_STATE = Layout(
    ("place", U16),
    ("index", TOTAL),
    ("index_milli", U16),
    ("minutes", U32),
    ("operations", U16),  # on the card's bus since PULL_AT; read only
    ("pulled", U8),  # whether PULL_AT has taken a card that is not yet in hand; read only
)

WEAR_ANSWER = Layout(
    ("written", U32),
    ("writes", U32),
    ("cell_most", U32),
    ("page_most", U32),
)


def wire(layout: "Layout") -> str:
    """A record without texts as a format of ``struct``: what is asked after every request must not cost much."""
    return ">" + "".join([{U8: "B", U16: "H", U32: "I", TOTAL: "I", S32: "i"}[kind] for _, kind in layout])


SNAPSHOT_WIRE = wire(SNAPSHOT)
WORLD_WIRE = wire(WORLD_STATE)


def pack(layout: "Layout", values: "dict[str, Any]") -> bytes:
    """A record as bytes."""
    buffer = bytearray(size_of(layout))
    pack_into(layout, values, buffer)
    return bytes(buffer)


class SupplyFailed(Exception):
    """The supply has failed where STOP_AT said, in the middle of a request."""


class Bench:
    """A meter and its world as far as it reaches the wall it hangs on. ``answer`` is all a target calls."""

    def __init__(self) -> None:
        self._core: "Meter | None" = None
        # Plain parts, or recorded ones of the same interface and more.
        self.memory: "Any" = None
        self.key_memory: "Any" = None
        self.motor: "Any" = None
        self.slot: "Any" = CardSlot()
        self._card = bytearray(DUMP_SIZE)
        self._other = bytearray(DUMP_SIZE)  # the card that was put in the place of one that was pulled
        self.recorder: "Recorder | None" = None
        self._kept: "dict[int, tuple]" = {}
        self.stop_at = -1  # after so many calls of the core the supply fails
        self._pull_early = False
        self._magnet = self._cover = False  # what the two switches say
        self._fired = 0  # happenings to the meter as a whole
        self._port: "Service | None" = None

    @property
    def meter(self) -> "Meter":
        """The core. ValueError while it has no power: then there is none."""
        if self._core is None:
            raise ValueError("no power")
        return self._core

    # --- physical world

    def build(self, config: "dict[str, Any]") -> None:
        """Manufacture a meter, its memory written and its keys in place, and give it power."""
        if config["region"] != TEST_REGION:
            raise ValueError("the bench serves meters of region FFFF only")
        self._core = None  # whatever comes of this, the old meter is gone
        size = 0x1000 + config["lanes"] * config["lane_length"]
        self.recorder = None
        self._kept = {}
        self.stop_at = -1
        self._magnet = self._cover = False
        self._fired = 0
        self.wheels = Wheels(config["index"])
        if config["memory"] >= RECORDED:
            self._build_recorded(config["memory"] - RECORDED, size, config["travel_ms"])
        else:
            self.memory = (Fram, Eeprom, MappedFram)[config["memory"]](size)
            self.key_memory = Fram(0x80)
            self.motor = ValveMotor(config["travel_ms"])
            self.slot = CardSlot()
        self.panel = Panel()
        self.battery = Battery()
        self.settings = Settings(config["lanes"], config["lane_length"], config["pulse_weight"], config["wheels"])
        self.minutes = config["minutes"]
        if any(config.get("factory_key", b"")):
            config = dict(config)
            for name in ("region", "key_version", "key", "tool_key"):
                config[name] = 0
        create(self.memory, self.key_memory, self.settings, config)
        if self.recorder:
            self.recorder.entries = []
        self.power_on()

    def _build_recorded(self, memory: int, size: int, travel_ms: int) -> None:
        if memory > MEMORY_EEPROM:
            raise ValueError("FRAM and EEPROM can be recorded")
        make = (RecordedFram, RecordedEeprom)[memory]
        self.memory, self.key_memory = make(size), make(0x80)
        self.motor, self.slot = RecordedMotor(travel_ms), RecordedSlot()
        self.key_memory.kind = KEYS
        self.recorder = recorder = Recorder()
        recorder.motor, recorder.slot, recorder.wheels = self.motor, self.slot, self.wheels
        for part in (self.memory, self.key_memory, self.motor):
            part.recorder = recorder

    def power_on(self) -> int:
        """Give the meter power: a new core over the same memory."""
        meter = Meter(self.memory, self.key_memory, self.motor, self.slot, self.panel, self.settings)
        self._core = meter
        self._port = Service(meter)
        if self.recorder:
            self.recorder.asked = -1
        code = meter.boot(self.minutes, self.wheels.levels)
        meter.battery(self.battery.millivolts)
        if self._magnet:
            meter.magnet(True)
        if self._cover:
            meter.cover(True)
        return code

    def power_off(self, warned: bool) -> None:
        """Take the power away, with or without a warning; with it the stored charge still moves the valve."""
        if warned:
            self.meter.power_failing()
            self.pass_time(self.motor.travel_ms + 100)
        self.motor.drive(0)
        if self.slot.chip is not None:
            self.slot.chip.power_off()
        self._core = None

    def _step(self, most: int) -> int:
        # The shortest piece of time that matters: what the core asks for, what the card's bus has just taken.
        meter = self.meter
        busy, self.slot.busy_ms = self.slot.busy_ms, 0
        step = min(most, max(1, busy, meter.next_ms))
        self.motor.advance(step)
        if self.recorder:
            self.recorder.milliseconds += step
        meter.tick(step)
        self.called()
        return step

    def called(self) -> None:
        """After each call of the core: where a supply may fail with a warning (SupplyFailed), or a pulled card be
        noticed. gasrig.twin puts another in its place."""
        recorder = self.recorder
        if recorder:
            recorder.calls += 1
            if recorder.calls == self.stop_at:
                self.stop_at = -1
                self.power_off(True)
                raise SupplyFailed
            if self._pull_early and self.slot.pulled is not None:
                self._pull_early = False
                self.meter.card_out()

    def _taken_out(self) -> None:
        out = self.slot.remove()
        pulled = self._pulled()
        if out is not None:
            (self._other if pulled else self._card)[:] = out.dump()
        self.meter.card_out()
        self.called()

    def _set_clock(self) -> None:
        # As a board does with what a setting card has brought.
        if self.meter.clock_set:
            self.minutes = self.meter.clock_set
            self.meter.clock_set = 0

    def _asked(self) -> None:
        # Somebody is at the meter, from the moment the core hears of it.
        if self.recorder:
            self.recorder.asked = self.recorder.milliseconds

    def pass_time(self, milliseconds: int) -> None:
        """Let time pass: the core is called as often as it asks for."""
        while milliseconds > 0:
            milliseconds -= self._step(milliseconds)

    def run(self, milliseconds: int, milli_pulses: int) -> "tuple[int, int]":
        """Draw gas evenly until time is over or the valve has shut: (milliseconds, thousandths) done."""
        meter, motor, wheels = self.meter, self.motor, self.wheels
        reeds = meter.reeds
        time_left, gas_left = milliseconds, milli_pulses
        while gas_left and (motor.flows or meter.valve.moving):
            part = min(wheels.to_edge, gas_left)
            step = part * time_left // gas_left
            moving = meter.valve.moving or meter.session.active
            if moving and step > 50:
                # The motor runs: small steps, and gas only while the valve lets it through.
                step = 50
                part = max(1, gas_left * step // time_left)
                part = min(part, wheels.to_edge, gas_left)
            if step >= meter.next_ms or moving:
                self.pass_time(step)
            else:
                if self.recorder:
                    self.recorder.milliseconds += step
                meter.tick(step)
                self.called()
            time_left -= step
            if motor.flows:
                gas_left -= part
                before = wheels.levels if wheels.faults else 0
                wheels.turn(part)
                pulse = reeds.edge(wheels.levels)
                if wheels.faults:
                    for change in range(1, wheels.changes):
                        pulse |= reeds.edge(before if change & 1 else wheels.levels)
                if pulse:
                    meter.pulse()
                    if meter.watching:
                        meter.tick(0)  # the guards hear of it now, not after the time that follows
                    self.called()
            elif not time_left:
                break
        if gas_left and not motor.flows:
            return milliseconds - time_left, milli_pulses - gas_left
        self.pass_time(time_left)
        return milliseconds, milli_pulses - gas_left

    def settle(self) -> int:
        """Let the card session and the motor come to rest; the milliseconds it took."""
        passed = 0
        while self.meter.session.active or self.meter.valve.moving:
            passed += self._step(1000)
            if passed > 600000:
                raise OSError(110)
        return passed

    # --- requests

    def answer(self, identifier: int, body: bytes) -> bytes:
        """Carry out one request; empty if the supply failed in it. ValueError for an unknown one or one out of turn."""
        try:
            if RECORD_READ <= identifier <= WORLD_READ:
                return self._record(identifier, body)
            return self._answer(identifier, body)
        except SupplyFailed:
            return b""

    def _answer(self, identifier: int, body: bytes) -> bytes:
        if identifier == BUILD:
            self.build(unpack(CONFIG, body))
            return self.snapshot(0)
        if identifier == CARD_PUT:
            # Halves 0 and 1 of the card in hand; 2 and 3 of the other, for PULL_AT.
            if body[0] > 3 or len(body) != 1 + CHUNK:
                raise ValueError("a card is put in two halves of 132 bytes")
            at = (body[0] & 1) * CHUNK
            card = self._other if body[0] > 1 else self._card
            card[at : at + CHUNK] = body[1:]
            return b""
        if identifier == CARD_GET:
            at = (body[0] & 1) * CHUNK
            return bytes((self._other if body[0] > 1 else self._card)[at : at + CHUNK])
        if identifier == CLOCK:
            # The clock has a cell of its own: it goes on, and can be set, while the meter has no power.
            self.minutes = int.from_bytes(body[:4], "big")
            if self._core is not None:
                self._core.clock(self.minutes)
            return b""
        if identifier == JAM:
            self.motor.jammed = body[0] != 0
            return b""
        if identifier == BATTERY:
            self.battery.millivolts = int.from_bytes(body[:2], "big")
            if self._core is not None:
                self._core.battery(self.battery.millivolts)
                self.called()
                return self.snapshot(0)
            return b""
        if identifier == FIRED:
            return (self._fired | self.wheels.fired | self.motor.fired).to_bytes(2, "big")
        if identifier == POWER_ON and self._core is None:
            return self.snapshot(-self.power_on())
        meter = self.meter
        if identifier == SWITCH:
            # Something happens to the meter's parts, or is over.
            self._happens(body[0], body[1] != 0)
            self.called()
            return self.snapshot(0, self.settle())
        if identifier == GUARDS:
            # As a setting card would: limits and enable bits, fields of meter.layouts.GUARDS.
            meter.set_limits(unpack(GUARDS_LAYOUT, body))
            return b""
        if identifier == PANEL:
            panel = self.panel
            return bytes((panel.symbols, panel.beeps & 0xFF, len(panel.pattern))) + panel.pattern + panel.text.encode()
        if identifier == PORT and self._port is not None:
            return self._port.receive(body)
        if identifier == RUN:
            request = unpack(RUN_REQUEST, body)
            if request["milliseconds"] > HOUR_MS or request["milli_pulses"] > MOST_MILLI * request["milliseconds"]:
                raise ValueError("at most an hour, and a tenth of a pulse in each millisecond of it")
            elapsed, drawn = self.run(request["milliseconds"], request["milli_pulses"])
            return self.snapshot(0, elapsed, drawn)
        if identifier == WAIT:
            milliseconds = int.from_bytes(body[:4], "big")
            self.pass_time(milliseconds)
            return self.snapshot(0, milliseconds)
        if identifier == PULSES:
            # Counted by the interrupt while the core slept, and handed to it in one piece.
            count = int.from_bytes(body[:4], "big")
            if count > MOST_PULSES:
                raise ValueError("at most a million pulses at once")
            self.wheels.pulses += count
            meter.pulses(count)
            self.called()
            return self.snapshot(0)
        if identifier == INSERT:
            chip = self._chip()
            chip.restore(self._card)
            self.slot.insert(chip)
            self._asked()
            meter.card_in()
            self.called()
            spent, drawn = 0, 0
            if len(body) == 4:
                # It stays for so many milliseconds only, whatever is going on.
                spent = int.from_bytes(body, "big")
                self.pass_time(spent)
                self._taken_out()
            elif body:
                # Somebody cooks meanwhile: so much gas, as long as the valve lets it through.
                request = unpack(RUN_REQUEST, body)
                spent, drawn = self.run(request["milliseconds"], request["milli_pulses"])
            spent += self.settle()  # the report may still fail
            self._set_clock()
            return self.snapshot(-meter.last_code, spent, drawn)
        if identifier == REMOVE:
            self._taken_out()
            return self.snapshot(0)
        if identifier == KEY:
            # For so many milliseconds, where the body says.
            self._asked()
            meter.key(int.from_bytes(body, "big"))
            self.called()
            return self.snapshot(0, self.settle())
        if identifier == SNAP:
            return self.snapshot(0)
        if identifier == POWER_OFF:
            self.power_off(body[0] != 0)
            return b""
        if identifier == WEAR:
            memory = self.memory
            if isinstance(memory, MappedFram) or not memory.counts_wear:
                raise ValueError("a mapped or recorded memory counts no wear")
            most = {"cell_most": max(memory.wear), "page_most": max(memory.page_wear)}
            most["written"], most["writes"] = memory.written, memory.writes
            return pack(WEAR_ANSWER, most)
        if identifier == EVENT_READ:
            # No body: the number of the newest entry. A number: that entry, empty if it is there no more.
            if not body:
                return meter.events.number.to_bytes(3, "big")
            number = int.from_bytes(body[:3], "big")
            values = meter.events.read(number)
            return b"" if values is None or values["number"] != number else pack(EVENT, values)
        if identifier == STORE_READ:
            at = int.from_bytes(body[:2], "big")
            return bytes(self.memory.cells[at : at + body[2]])
        raise ValueError("unknown request")

    # --- requests to recorded parts

    def _chip(self) -> "Chip":
        if not self.recorder:
            return Chip()
        chip = RecordedChip()
        chip.recorder = self.recorder
        return chip

    def _pulled(self) -> bool:
        # Whether the card was pulled before it came out; it is then in hand as it was at that moment.
        slot = self.slot
        if not self.recorder or slot.pulled is None:
            return False
        self._card[:] = slot.pulled.dump()
        slot.pulled = None
        return True

    def _record(self, identifier: int, body: bytes) -> bytes:
        recorder = self.recorder
        if not recorder:
            raise ValueError("these parts are not recorded")
        if identifier == RECORD_READ:
            if body:
                recorder.entries = []
            taken = recorder.take(MAX_ENTRIES)
            return bytes((len(recorder.entries) > 0,)) + taken
        if identifier == KEYS_READ:
            return bytes(self.key_memory.cells)
        if identifier == WORLD_READ:
            pulled = 0 if self.slot.pulled is None else 1
            return struct.pack(WORLD_WIRE, *self._world(), self.slot.operations, pulled)
        if identifier == STOP_AT:
            self.stop_at = int.from_bytes(body, "big")
            recorder.calls = 0
            return b""
        if identifier == PULL_AT:
            # How many operations from now, NO_PULL none; 1 if the meter notices at once, 0 when the card is taken out;
            # 1 if another card is in its place.
            slot = self.slot
            at = int.from_bytes(body[:2], "big")
            slot.operations, slot.pull_at = 0, -1 if at == NO_PULL else at
            slot.pulled = None
            self._pull_early = body[2] != 0
            slot.other = None
            if body[3]:
                slot.other = self._chip()
                slot.other.restore(self._other)
            return b""
        if identifier == KEEP:
            self._kept[body[0]] = (bytes(self.memory.cells), bytes(self.key_memory.cells), self._world())
            return b""
        self._lose_power(recorder)
        if identifier == BACK:
            # Whatever happened to the parts is over.
            self._magnet = self._cover = False
            self.motor.faults = self.wheels.faults = 0
            self.battery = Battery()
            memory, keys, world = self._kept[body[0]]
            self.memory.cells[:] = memory
            self.key_memory.cells[:] = keys
            if len(body) > 1:
                self.motor.jammed = body[1] != 0
                world = struct.unpack(WORLD_WIRE, body[2:])
            self._set_world(*world[:4])
        elif identifier == POKE:
            at = int.from_bytes(body[1:3], "big")
            cells = self.key_memory.cells if body[0] == KEYS else self.memory.cells
            if at + len(body) - 3 > len(cells):
                raise ValueError("beyond the end of the memory")
            cells[at : at + len(body) - 3] = body[3:]
        else:
            self._set_world(*struct.unpack(WORLD_WIRE, body)[:4])
        return b""

    def _lose_power(self, recorder: "Recorder") -> None:
        self._core = None
        slot = self.slot
        slot.remove()
        slot.operations, slot.pull_at, slot.pulled, slot.other = 0, -1, None, None
        self.motor.drive(0)
        recorder.entries = []

    def _world(self) -> "tuple[int, int, int, int]":
        # The first four fields of WORLD_STATE: what can be kept and set.
        return self.motor.place, self.wheels.pulses, self.wheels.milli, self.minutes

    def _set_world(self, place: int, index: int, index_milli: int, minutes: int) -> None:
        self.motor.put_at(place)
        self.wheels.pulses, self.wheels.milli = index, index_milli
        self.minutes = minutes

    def _happens(self, what: int, begins: bool) -> None:
        for part, numbers in ((self.wheels, OF_WHEELS), (self.motor, OF_MOTOR)):
            if what in numbers:
                part.faults = part.faults | 1 << what if begins else part.faults & ~(1 << what)
                if what == REEDS_HELD:
                    self.meter.reeds.edge(self.wheels.levels)
                return
        self._fired |= 1 << what
        if what == MAGNET_SWITCH:
            self._magnet = begins
            self.meter.magnet(begins)
        elif what == COVER_SWITCH:
            self._cover = begins
            self.meter.cover(begins)
        elif what == SUPPLY_DIP and begins:
            self.meter.power_failing()
        elif what == SUPPLY_DIP:
            self.meter.power_back()
        else:
            raise ValueError("unknown happening")

    def snapshot(self, code: int, elapsed_ms: int = 0, drawn_milli: int = 0) -> bytes:
        """What stands where now: the wheels' truth beside the meter's word."""
        meter = self.meter
        account = meter.account.values or {"bought_total": 0, "sequence": 0, "binding": 0}
        index, register, bought_total = self.wheels.pulses, meter.register.value, account["bought_total"]
        if not 0 <= min(index, register, bought_total) <= max(index, register, bought_total) <= TOTAL_MAX:
            raise RecordError("index, register or bought_total")
        return struct.pack(
            SNAPSHOT_WIRE,
            elapsed_ms,
            drawn_milli,
            code,
            index,
            self.wheels.milli,
            register,
            meter.remaining,
            bought_total,
            account["sequence"],
            account["binding"],
            meter.status,
            meter.reasons,
            meter.valve.state,
            1 if self.motor.flows else 0,
            meter.next_ms,
            meter.lockout.tokens[0],
            self.panel.symbols,
            meter.valve.moves,
            meter.valve.failures,
        )
