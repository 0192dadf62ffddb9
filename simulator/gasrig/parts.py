"""The virtual parts a meter is built from: memory, wheels and reeds, valve motor, card slot, display, cell.

Portable: on a virtual machine these run beside the core, so that a year of pulses crosses no pipe. Each has
the interface the core asks of the real part (meter.parts) plus what only the rig may see: the wheels' true
position, the valve's true opening, the wear of every cell. None draws chance or reads a clock; time is told
by ``advance``.
"""

from array import array

from gascard.chip import CLOCKS_ATR, CLOCKS_REJECTED, Chip, milliseconds
from gascard.sle4442 import COMPARE

MILLI = 1000  # parts of a pulse in which the wheels turn
QUARTER = 250  # one reed changes at each quarter of a pulse; the last quarter ends where the digit changes

# Levels of the reeds (meter.reeds.REED_A = 1, REED_B = 2) in the four quarters; a turn begins with both open.
_LEVELS = b"\x00\x01\x03\x02"

# What can be wrong with the parts, or happen to them; a bit each where several are kept in a number.
MAGNET_SWITCH = 0
REED_A_DEAD = 1
REED_B_DEAD = 2
COVER_SWITCH = 4
LEAK = 5
REEDS_HELD = 6  # a magnet closes both
OPEN_SWITCH_DEAD = 7  # never closes
SHUT_SWITCH_DEAD = 8
SHUT_SWITCH_HELD = 9  # always closed
MOTOR_DEAD = 10  # draws no current
HALF_WAY = 11  # the valve gets no further than half of its way
BOUNCE = 12  # every change of a reed comes five times
SUPPLY_DIP = 13
REEDS_SWAPPED = 14  # as when somebody leads a magnet past them the wrong way


TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    Data: TypeAlias = "bytes | bytearray"


class Fram:
    """A ferroelectric memory: byte by byte, at bus speed. ``cells`` is the storage itself.

    ``written`` counts bytes written, ``wear`` writes of each cell, ``page_wear`` writes that touched each
    page of ``page`` bytes (for an FRAM a page is only a place to count); neither where ``counts_wear`` is False.
    """

    page = 64
    write_ms = 0
    counts_wear = True

    def __init__(self, size: int = 0x2000, fill: int = 0xFF) -> None:
        self.size = size
        self.cells = bytearray(bytes((fill,)) * size)
        self.written = 0
        self.writes = 0
        self.wear = array("I", bytes(4 * size))
        self.page_wear = array("I", bytes(4 * (size // self.page)))
        self.busy_ms = 0

    def _place(self, address: int, i: int) -> int:
        place = address + i
        if not 0 <= place < self.size:
            raise OSError(5)
        return place

    def read_into(self, address: int, buffer: bytearray) -> None:
        """Fill ``buffer`` from ``address`` on. OSError past the end."""
        if address < 0 or address + len(buffer) > self.size:
            raise OSError(5)
        buffer[:] = self.cells[address : address + len(buffer)]

    def write(self, address: int, data: "Data") -> None:
        """Write ``data`` from ``address`` on."""
        if address >= 0 and address // self.page == (address + len(data) - 1) // self.page < self.size // self.page:
            # Within one page: as below, at once.
            self.cells[address : address + len(data)] = data
            if self.counts_wear:
                for place in range(address, address + len(data)):
                    self.wear[place] += 1
                self.page_wear[address // self.page] += 1
            self.written += len(data)
            self.writes += 1
            self.busy_ms += self.write_ms
            return
        touched = -1
        for i in range(len(data)):
            place = self._place(address, i)
            self.cells[place] = data[i]
            self.wear[place] += 1
            if place // self.page != touched:
                touched = place // self.page
                self.page_wear[touched] += 1
        self.written += len(data)
        self.writes += 1
        self.busy_ms += self.write_ms

    def put(self, address: int, value: int) -> None:
        """Write one byte."""
        self.cells[address] = value
        self.wear[address] += 1
        self.page_wear[address // self.page] += 1
        self.written += 1
        self.writes += 1
        self.busy_ms += self.write_ms

    def fill(self, address: int, value: int, count: int) -> None:
        """Write ``count`` equal bytes in one write."""
        self.write(address, bytes((value,)) * count)


class Eeprom(Fram):
    """An AT24C256: pages of 64 bytes, 5 ms a write; a write that runs over its page goes on at its head."""

    write_ms = 5

    def _place(self, address: int, i: int) -> int:
        base = address - address % self.page
        return super()._place(base + (address + i) % self.page, 0)

    def fill(self, address: int, value: int, count: int) -> None:
        """Write ``count`` equal bytes, page by page, as a driver must."""
        while count > 0:
            length = min(count, self.page - address % self.page)
            self.write(address, bytes((value,)) * length)
            address += length
            count -= length


class MappedFram:
    """A memory the processor sees in its own address space: written without a call, its wear not counted."""

    def __init__(self, size: int = 0x2000) -> None:
        self.size = size
        self.buffer = bytearray(b"\xff" * size)
        self.cells = self.buffer

    def read_into(self, address: int, buffer: bytearray) -> None:
        """Fill ``buffer`` from ``address`` on."""
        buffer[:] = self.buffer[address : address + len(buffer)]

    def write(self, address: int, data: "Data") -> None:
        """Write ``data`` from ``address`` on."""
        if address < 0 or address + len(data) > self.size:
            raise OSError(5)
        self.buffer[address : address + len(data)] = data

    def put(self, address: int, value: int) -> None:
        """Write one byte."""
        self.buffer[address] = value

    def fill(self, address: int, value: int, count: int) -> None:
        """Write ``count`` equal bytes."""
        self.write(address, bytes((value,)) * count)


class Wheels:
    """The mechanical counter, the legal truth: ``pulses`` whole pulses, ``milli`` thousandths of the next."""

    def __init__(self, pulses: int = 0) -> None:
        self.pulses = pulses
        self.milli = 0
        self.faults = 0  # bits by number: REED_A_DEAD, REED_B_DEAD, REEDS_HELD, BOUNCE
        self.fired = 0  # those that have made a difference
        self.unseen = 0  # pulses that went by while the reeds did not tell the truth

    @property
    def levels(self) -> int:
        """What the two reeds read now: a dead one is open for ever, a magnet closes both."""
        true = levels = _LEVELS[self.milli // QUARTER]
        if self.faults & 1 << REEDS_HELD:
            levels = 3
        elif self.faults & 1 << REEDS_SWAPPED:
            levels = levels >> 1 | (levels & 1) << 1
        levels &= ~(self.faults >> REED_A_DEAD)
        if levels != true:
            self.fired |= self.faults & ~(1 << BOUNCE)
        return levels

    @property
    def changes(self) -> int:
        """How often a change of the levels comes to the interrupt: an odd number."""
        if not self.faults & 1 << BOUNCE:
            return 1
        self.fired |= 1 << BOUNCE
        return 5

    @property
    def to_edge(self) -> int:
        """Thousandths of a pulse until a reed changes."""
        return QUARTER - self.milli % QUARTER

    def turn(self, milli: int) -> None:
        """So much gas went through, at most up to the next edge."""
        milli += self.milli
        if milli >= MILLI:
            milli -= MILLI
            self.pulses += 1
            if self.faults & ~(1 << BOUNCE):
                self.unseen += 1
        self.milli = milli


class ValveMotor:
    """The gas valve: a motor, two end switches, ``travel_ms`` from end to end.

    Gas flows while it is not quite shut, and past it while there is LEAK. While ``jammed`` the motor turns nothing.
    """

    def __init__(self, travel_ms: int = 4000) -> None:
        self.travel_ms = travel_ms
        self._place = 0  # 0 shut, travel_ms open
        self._direction = 0
        self.movements = 0
        self.jammed = False
        self.faults = 0  # bits by number: LEAK to HALF_WAY
        self.fired = 0  # those that have made a difference

    def _fault(self, number: int) -> bool:
        # Whether it holds, at a place where it makes a difference.
        if self.faults & 1 << number:
            self.fired |= 1 << number
            return True
        return False

    def drive(self, direction: int) -> None:
        """1 towards open, -1 towards shut, 0 stop."""
        if direction and direction != self._direction:
            self.movements += 1
        self._direction = direction

    def position(self) -> int:
        """The end switches: 1 open, -1 shut, 0 between."""
        if self._place <= 0:
            return 0 if self._fault(SHUT_SWITCH_DEAD) else -1
        if self._fault(SHUT_SWITCH_HELD):
            return -1
        if self._place >= self.travel_ms:
            return 0 if self._fault(OPEN_SWITCH_DEAD) else 1
        return 0

    def current(self) -> bool:
        """Whether it draws any."""
        return self._direction != 0 and not self._fault(MOTOR_DEAD)

    def advance(self, passed_ms: int) -> None:
        """Time passes."""
        if not self._direction or self.jammed or self._fault(MOTOR_DEAD):
            return
        place = max(0, min(self.travel_ms, self._place + self._direction * passed_ms))
        half = self.travel_ms // 2
        if min(self._place, place) <= half <= max(self._place, place) and self._fault(HALF_WAY):
            place = half
        self._place = place

    @property
    def flows(self) -> bool:
        """Whether gas can pass."""
        return self._place > 0 or self._fault(LEAK)


class CardSlot:
    """The meter's slot with a card's chip in it, or empty: what the core asks, at command level.

    ``busy_ms`` sums the time the bus took, for the rig to let pass.
    """

    def __init__(self) -> None:
        self.chip: "Chip | None" = None
        self.powered = False
        self.busy_ms = 0
        self.compares = 0  # password bytes presented since the card went in

    def insert(self, chip: "Chip") -> None:
        """Push a card in."""
        self.chip = chip
        self.powered = False
        self.compares = 0

    def remove(self) -> "Chip | None":
        """Pull the card out, whatever is going on; the chip, or None."""
        chip, self.chip = self.chip, None
        if chip is not None:
            chip.power_off()
        self.powered = False
        return chip

    def power_on(self) -> "bytes | None":
        """Reset: the four bytes of the answer, or None if nothing answers."""
        self.busy_ms += milliseconds(CLOCKS_ATR)
        if self.chip is None:
            return None
        self.powered = True
        return self.chip.power_on()

    def power_off(self) -> None:
        """Take the power from the card."""
        if self.chip is not None:
            self.chip.power_off()
        self.powered = False

    def read(self, control: int, address: int, buffer: bytearray) -> None:
        """Fill ``buffer`` with what the card sends; where nothing answers the line is high, FF."""
        data = self.chip.read(control, address) if self.chip is not None and self.powered else b""
        self.busy_ms += milliseconds(24 + 8 * len(data))
        for i in range(len(buffer)):
            buffer[i] = data[i] if i < len(data) else 0xFF

    def write(self, control: int, address: int, data: int) -> None:
        """Send a processing command and wait until the card is ready."""
        if control == COMPARE:
            self.compares += 1
        if self.chip is None or not self.powered:
            self.busy_ms += milliseconds(CLOCKS_REJECTED)
            return
        self.busy_ms += milliseconds(self.chip.command(control, address, data))


class Panel:
    """The display and the buzzer: what it shows now, how often it has sounded and what it sounded last."""

    def __init__(self) -> None:
        self.text = ""
        self.symbols = 0
        self.beeps = 0
        self.pattern = b""

    def show(self, text: str, symbols: int) -> None:
        """Draw."""
        self.text = text
        self.symbols = symbols

    def beep(self, pattern: bytes) -> None:
        """Sound."""
        self.beeps += 1
        self.pattern = pattern


class Battery:
    """A cell of ``millivolts`` under a light load."""

    def __init__(self, millivolts: int = 3600) -> None:
        self.millivolts = millivolts
