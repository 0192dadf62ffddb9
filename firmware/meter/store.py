# The nonvolatile memory of the meter: register (checkpoint and tally), pairs of records, and their recovery.
#
# Theory of operation (docs/DESIGN.md, D3). The register is base + count: a checkpoint holds the base, and pulse n
# of a generation has written one whole byte, the generation's marker, at place n of the tally. Two markers
# alternate, so what is not of this generation holds the other marker and nothing is ever erased. A full tally is
# closed by the next checkpoint, over the older of two. Where a torn write garbles its page, places run through
# four lanes on different pages and recovery takes the count that at least three lanes agree on; where it garbles
# only its own bytes one lane does. A record is kept twice, on two pages, each copy with an entry number and a
# checksum; a save goes over the copy that is not the newest valid one.

from array import array
from binascii import crc32

try:
    from micropython import const
except ImportError:
    const = lambda x: x  # noqa: E731

from gascard.codec import RecordError, pack_into, unpack
from gascard.crc import crc16
from gascard.records import TOTAL_MAX, size_of
from meter.hot import COUNT, MARKER, STOP, WRITE_MOST
from meter.layouts import CHECKPOINT, CHECKPOINT_AT, COPY_SIZE, LAYOUT_VERSION, TALLY_AT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gascard.records import Layout
    from meter.parts import Memory

MARKERS = b"\xa5\x5a"
_CHUNK = const(512)  # of a tally read at once, where it is that long
_ENOUGH = const(4)  # marks that outvote a place without
_TRIES = const(3)  # a write that does not read back is repeated this often before it is a fault


class StoreFault(Exception):
    """The memory does not keep what is written to it, or nothing in it can be read: the meter shuts."""


# What a core that keeps its word must expect: a memory that does not answer or does not keep, a value no field holds.
FAULTS = (StoreFault, OSError, ValueError)


def newer(a: int, b: int) -> bool:
    """Whether entry number ``a`` comes after ``b``, modulo 2**16."""
    return a != b and (a - b) & 0xFFFF < 0x8000


def write_checked(memory: "Memory", address: int, data: bytes | bytearray) -> None:
    """Write and read back. StoreFault if the memory does not keep it."""
    check = bytearray(len(data))
    for _ in range(_TRIES):
        try:
            memory.write(address, data)
            memory.read_into(address, check)
        except OSError:
            continue
        if check == data:
            return
    raise StoreFault(address)


def write_small(memory: "Memory", address: int, layout: "Layout", values: dict) -> None:
    """Write a record whose last field is a CRC-16 over the rest, page by page. StoreFault as write_checked."""
    raw = bytearray(size_of(layout))
    values["crc"] = 0
    end = pack_into(layout, values, raw) - 2
    crc = crc16(raw, 0, end)
    raw[end], raw[end + 1] = crc >> 8, crc & 0xFF
    for start in range(0, end, COPY_SIZE):
        write_checked(memory, address + start, raw[start : start + COPY_SIZE])


def read_small(memory: "Memory", address: int, layout: "Layout") -> "dict | None":
    """The values of such a record, None if it is not whole."""
    raw = bytearray(size_of(layout))
    memory.read_into(address, raw)
    try:
        values = unpack(layout, raw)
    except RecordError:
        return None
    return values if crc16(raw, 0, len(raw) - 2) == values["crc"] else None


class Pair:
    """Two copies of one record. ``layout`` begins with ``entry`` and ``layout`` and ends with a CRC-32."""

    def __init__(self, memory: "Memory", places: tuple, layout: "Layout") -> None:
        self._memory = memory
        self._places = places
        self._layout = layout
        self._newest = 1
        self._alike = False
        self.values: dict = {}

    def _read(self, copy: int) -> "bytearray | None":
        # The bytes of a copy whose checksum is right.
        raw = bytearray(COPY_SIZE)
        self._memory.read_into(self._places[copy], raw)
        end = COPY_SIZE - 4
        return raw if crc32(bytes(raw[:end])) & 0xFFFFFFFF == int.from_bytes(raw[end:], "big") else None

    def _unpacked(self, raw: "bytearray | None") -> dict:
        if raw:
            try:
                values = unpack(self._layout, raw)
                if values["layout"] == LAYOUT_VERSION:
                    return values
            except RecordError:
                pass
        return {}

    def load(self) -> bool:
        """Read both copies; ``values`` are the newest valid one's. False if neither can be read."""
        first = self._read(0)
        second = self._read(1)
        newest = 1
        if first and (not second or newer(first[0] << 8 | first[1], second[0] << 8 | second[1])):
            newest = 0
        self.values = self._unpacked(second if newest else first)
        if not self.values:
            newest = 1 - newest
            self.values = self._unpacked(second if newest else first)
        self._newest = newest
        self._alike = bool(first and first == second)
        return bool(self.values)

    def begin(self, values: dict) -> None:
        """Write the first entry, into both copies. Fields not named in ``values`` are nought. StoreFault."""
        self.values = unpack(self._layout, bytearray(COPY_SIZE))
        self.values.update(values)
        self.values["layout"] = LAYOUT_VERSION
        self.save(True)

    def begin_blank(self) -> bool:
        """``begin`` with nought where a copy is blank, as an older firmware leaves it that did not know this record.

        One is enough: a cut may have fallen between the two. False if none is.
        """
        raw = bytearray(COPY_SIZE)
        for place in self._places:
            self._memory.read_into(place, raw)
            if len(set(raw)) == 1:
                self.begin({})
                return True
        return False

    def intact(self) -> bool:
        """Whether a copy can be read now, on the memory itself."""
        return Pair(self._memory, self._places, self._layout).load()

    def save(self, both: bool = False) -> None:
        """Write ``values`` as the next entry: one copy, or both one after the other where credit is lowered."""
        values = self.values
        values["entry"] = (values["entry"] + 1) & 0xFFFF
        raw = bytearray(COPY_SIZE)
        pack_into(self._layout, values, raw)
        end = COPY_SIZE - 4
        crc = crc32(bytes(raw[:end])) & 0xFFFFFFFF
        raw[end:] = crc.to_bytes(4, "big")
        for _ in range(2 if both else 1):
            place = 1 - self._newest
            write_checked(self._memory, self._places[place], raw)
            self._newest = place
        self._alike = both

    def commit(self, values: dict, both: bool) -> None:
        """Make ``values`` the next entry, or let everything be as it was: StoreFault, RecordError as ``save``."""
        values["entry"] = self.values["entry"]
        old, self.values = self.values, values
        try:
            self.save(both)
        except Exception:
            self.values = old
            raise

    def confirm(self) -> None:
        """Both copies hold the newest entry, or do after this: for an entry whose second copy a cut may have missed."""
        if not self._alike:
            self.save(True)


class Register:
    """The count of pulses since manufacture. ``cells`` is what the hot path works on (meter.hot)."""

    def __init__(self, memory: "Memory", lanes: int = 1, lane_length: int = 4096) -> None:
        if lanes not in (1, 4) or lane_length % COPY_SIZE or not lane_length:
            raise ValueError("lanes: 1 or 4; lane_length: a multiple of 64")
        self._memory = memory
        self._lanes = lanes
        self._length = lane_length
        self.capacity = lanes * lane_length
        self.generation = 0
        self.base = 0
        self.scrubbed = 0
        # COUNT, STOP, MARKER, ORIGIN, LANE
        self.cells = array("i", (0, 0, 0, TALLY_AT, lane_length if lanes == 4 else 0))

    @property
    def value(self) -> int:
        """Pulses since manufacture, 0..99 999 999."""
        return self.base + self.cells[COUNT]

    def _begin(self, generation: int) -> None:
        self.generation = generation
        self.cells[MARKER] = MARKERS[generation & 1]
        self.cells[COUNT] = 0

    def _write_checkpoint(self, generation: int, base: int) -> None:
        values = {"generation": generation, "base": base}
        write_small(self._memory, CHECKPOINT_AT[generation & 1], CHECKPOINT, values)

    def _read_checkpoint(self, slot: int) -> "dict | None":
        values = read_small(self._memory, CHECKPOINT_AT[slot], CHECKPOINT)
        return values if values and values["generation"] & 1 == slot else None

    def checkpoint(self) -> None:
        """Close a full tally: base up by its count, the other marker, place 0. StoreFault as write_checked."""
        # A write that got lost without a word left the marker that comes next: there it would be a pulse.
        self._scrub(self.capacity)
        base = self.value
        generation = (self.generation + 1) & 0xFFFF
        self._write_checkpoint(generation, base)
        self.base = base
        self._begin(generation)

    def recover(self) -> bool:
        """Find base and count again after power-up and mend the tally. False if the register is lost."""
        first = self._read_checkpoint(0)
        second = self._read_checkpoint(1)
        newest = first
        if second and (not first or newer(second["generation"], first["generation"])):
            newest = second
        if not newest:
            return False
        self.base = newest["base"]
        self._begin(newest["generation"])
        other = CHECKPOINT_AT[0 if newest is second else 1]
        if not (first and second) and self._ended(other) and self.base + self.capacity <= TOTAL_MAX:
            # The checkpoint that closed this tally was torn, or is unreadable since: it says what follows from here.
            self.base += self.capacity
            self._begin((self.generation + 1) & 0xFFFF)
            self._write_checkpoint(self.generation, self.base)
        count = self._agree([self._run(lane) for lane in range(self._lanes)])
        if count < 0 or self.base + count > TOTAL_MAX:
            return False
        self._scrub(count)
        self.cells[COUNT] = count
        if count == self.capacity:
            self.checkpoint()
        return True

    def _ended(self, other: int) -> bool:
        # Whether the last place of every lane bears this generation's marker: the tally has been full. Not where the
        # checkpoint at ``other`` was never written: then those marks are of a batch whose head was cut off.
        slot = bytearray(size_of(CHECKPOINT))
        self._memory.read_into(other, slot)
        if not any(slot):
            return False
        # In four lanes the next generation may have come to the last places of some, but then to the first of all.
        ended = begun = 0
        cell = bytearray(1)
        for lane in range(self._lanes):
            for last in (0, self._length - 1):
                self._memory.read_into(TALLY_AT + lane * self._length + last, cell)
                if cell[0] == self.cells[MARKER]:
                    if last:
                        ended += 1
                    else:
                        begun += 1
        return ended == self._lanes or ended > 0 == begun

    def _run(self, lane: int) -> int:
        # How many places at the head of the lane bear this generation's marker. On one lane a write covers at most
        # WRITE_MOST places, so several marks together, as far as that behind a place without, say that the place is
        # damaged and not new.
        chunk = bytearray(COPY_SIZE)
        marker = self.cells[MARKER]
        at = TALLY_AT + lane * self._length
        hole, beyond = -1, 0
        for start in range(0, self._length, COPY_SIZE):
            self._memory.read_into(at + start, chunk)
            for i in range(COPY_SIZE):
                far = 0 <= hole <= start + i - WRITE_MOST
                if chunk[i] != marker:
                    if far or self._lanes == 4:
                        return start + i if hole < 0 else hole
                    if hole < 0:
                        hole, beyond = start + i, 0
                elif far:
                    beyond += 1
                    if beyond == _ENOUGH:
                        hole = -1
        return self._length if hole < 0 else hole

    def _agree(self, runs: list) -> int:
        # The count that all lanes, else all but one, bear out; of two such the larger. -1: there is none.
        if self._lanes == 1:
            return runs[0]
        best, most = -1, 2
        for lane in range(4):
            for count in range(4 * runs[lane] + lane - 3, 4 * runs[lane] + lane + 1):
                votes = sum([(count + 3 - k) >> 2 == runs[k] for k in range(4)])
                if 0 <= count <= self.capacity and (votes > most or votes == most > 2 and count > best):
                    best, most = count, votes
        return best

    def _scrub(self, count: int) -> None:
        # Every place says again what the count says: marks of this generation below it, of the other above.
        size = COPY_SIZE if self._length % _CHUNK else _CHUNK
        chunk = bytearray(size)
        marker = self.cells[MARKER]
        other = MARKERS[0] ^ MARKERS[1] ^ marker
        full = bytes((marker,)) * size
        for lane in range(self._lanes):
            marks = (count + 3 - lane) >> 2 if self._lanes == 4 else count
            for start in range(0, self._length, size):
                at = TALLY_AT + lane * self._length + start
                self._memory.read_into(at, chunk)
                if start + size <= marks and chunk == full:
                    continue
                for i in range(size):
                    right = marker if start + i < marks else other
                    if chunk[i] != right:
                        write_checked(self._memory, at + i, bytes((right,)))
                        self.scrubbed += 1

    def stop_after(self, pulses: int) -> None:
        """Leave the hot path again after this many more pulses (at least 1), or when the tally is full."""
        cells = self.cells
        cells[STOP] = min(self.capacity, cells[COUNT] + pulses)
