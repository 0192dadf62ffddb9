"""Parts that write down what is stored on them, and can be stopped: what a power cut or a pulled card is made of.

Portable: they run beside the core. A power cut leaves exactly what was stored before it, so one recorded run
gives every state a cut could leave, and nothing has to be thrown out of the firmware's middle. A card that is
pulled is another matter, for the meter lives on: ``Slot`` takes the card away, or puts another in its place,
before operation ``pull_at`` of the card's bus.
"""

import struct

from gascard.chip import Chip
from gasrig.parts import CardSlot, Eeprom, Fram, ValveMotor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gasrig.parts import Data, Wheels

STORE = 0  # a write to the meter's memory
KEYS = 1  # to its key memory
CARD = 2  # a byte stored by the chip in the slot; address = area * 256 + place
DRIVE = 3  # the valve's motor told another direction: one byte, direction + 1

# kind, length, address, calls of the core, wheels' pulses and thousandths, motor's place in ms, milliseconds since a
# card or key (-1: none since power-up), operations on the card's bus
HEAD = ">BBHIIHHiH"


class Recorder:
    """The log. ``context`` is set by the bench: what else was true at the moment of a write."""

    def __init__(self) -> None:
        self.entries: "list[bytes]" = []
        self.calls = 0
        self.milliseconds = 0
        self.asked = -1  # ``milliseconds`` at the last card or key; -1 if nobody has come since power-up
        self.motor: "RecordedMotor | None" = None
        self.slot: "RecordedSlot | None" = None
        self.wheels: "Wheels | None" = None

    def note(self, kind: int, address: int, data: "Data") -> None:
        """Write an entry down."""
        place = self.motor.place if self.motor else 0
        operations = self.slot.operations if self.slot else 0
        turned, milli = (self.wheels.pulses, self.wheels.milli) if self.wheels else (0, 0)
        asked = -1 if self.asked < 0 else self.milliseconds - self.asked
        head = struct.pack(HEAD, kind, len(data), address, self.calls, turned, milli, place, asked, operations)
        self.entries.append(head + bytes(data))

    def take(self, most: int) -> bytes:
        """The oldest entries, at most so many bytes of them; they are forgotten here."""
        count, size = 0, 0
        while count < len(self.entries) and size + len(self.entries[count]) <= most:
            size += len(self.entries[count])
            count += 1
        if self.entries and not count:
            raise ValueError("an entry that fits into no answer")
        taken = b"".join(self.entries[:count])
        self.entries = self.entries[count:]
        return taken


class RecordedFram(Fram):
    """An FRAM whose writes are noted before they are made. ``kind`` says which memory it is.

    It is booted a million times over and nobody asks for its wear, so that is not counted.
    """

    recorder: "Recorder | None" = None
    kind = STORE
    counts_wear = False

    def write(self, address: int, data: "Data") -> None:
        if self.recorder:
            self.recorder.note(self.kind, address, data)
        super().write(address, data)

    def put(self, address: int, value: int) -> None:
        self.write(address, bytes((value,)))


class RecordedEeprom(Eeprom):
    """The same of an EEPROM."""

    recorder: "Recorder | None" = None
    kind = STORE
    counts_wear = False

    def write(self, address: int, data: "Data") -> None:
        if self.recorder:
            self.recorder.note(self.kind, address, data)
        super().write(address, data)

    def put(self, address: int, value: int) -> None:
        self.write(address, bytes((value,)))


class RecordedMotor(ValveMotor):
    """A motor whose changes of direction are noted."""

    recorder: "Recorder | None" = None

    def drive(self, direction: int) -> None:
        if self.recorder and direction != self._direction:
            self.recorder.note(DRIVE, 0, bytes((direction + 1,)))
        super().drive(direction)

    @property
    def place(self) -> int:
        """Milliseconds of travel away from shut."""
        return self._place

    def put_at(self, place: int) -> None:
        """Stand still at ``place``."""
        self._place = place
        self._direction = 0


class RecordedChip(Chip):
    """A chip whose stored bytes are noted before they are stored."""

    recorder: "Recorder | None" = None

    def store(self, plan: "tuple[int, int, int]") -> None:
        if self.recorder:
            self.recorder.note(CARD, plan[0] << 8 | plan[1], bytes((plan[2],)))
        super().store(plan)


class RecordedSlot(CardSlot):
    """A slot that counts the operations on its bus and can lose its card before one of them."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0
        self.pull_at = -1  # before this operation the card is pulled ...
        self.other: "Chip | None" = None  # ... and this one is in its place, already powered
        self.pulled: "Chip | None" = None  # the card that was pulled

    def _operation(self) -> None:
        if self.operations == self.pull_at and self.chip is not None:
            powered = self.powered
            self.pulled = self.remove()
            if self.other is not None:
                self.insert(self.other)
                self.powered = powered
        self.operations += 1

    def power_on(self) -> "bytes | None":
        self._operation()
        return super().power_on()

    def read(self, control: int, address: int, buffer: bytearray) -> None:
        self._operation()
        super().read(control, address, buffer)

    def write(self, control: int, address: int, data: int) -> None:
        self._operation()
        super().write(control, address, data)
