# What a board gives the core: narrow sets of methods, written down for people who port the meter to a new board.
#
# Only the type checker reads the classes below; a board's parts need no common base and a build leaves this out.
# Voltages in millivolts, times in milliseconds. A method that says so raises OSError when the hardware does not
# answer; the core repeats a write a few times and then latches a fault with the valve shut.

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Memory(Protocol):
        """Nonvolatile memory: FRAM or EEPROM. A write returns when the bytes are stored. All may raise OSError.

        A part mapped into the address space also has ``buffer``, a bytearray that is the memory.
        """

        def read_into(self, address: int, buffer: bytearray) -> None:
            """Fill ``buffer`` with the bytes from ``address`` on."""

        def write(self, address: int, data: "bytes | bytearray") -> None:
            """Store ``data`` (at most 64 bytes, within one page) from ``address`` on, in order."""

        def put(self, address: int, value: int) -> None:
            """Store one byte. Called once a pulse: allocate nothing."""

        def fill(self, address: int, value: int, count: int) -> None:
            """Store ``count`` (1 to 64) equal bytes in order, one lane only. Called for a batch: allocate nothing."""

    class Motor(Protocol):
        """The valve's motor and its end switches."""

        def drive(self, direction: int) -> None:
            """Run towards open (1) or shut (-1), or stop (0). Returns at once."""

        def position(self) -> int:
            """What the end switches say: 1 open, -1 shut, 0 between or unknown."""

        def current(self) -> bool:
            """Whether the motor draws current; True where the board cannot tell."""

    class Slot(Protocol):
        """An SLE4442 in the slot, at command level. Every wait is bounded by the driver."""

        def power_on(self) -> "bytes | None":
            """Power and reset the card: its four answer bytes, None if nothing answers."""

        def power_off(self) -> None:
            """Take the power away; safe at any time, with or without a card."""

        def read(self, control: int, address: int, buffer: bytearray) -> None:
            """Send a read command and fill ``buffer``; FF where nothing answers."""

        def write(self, control: int, address: int, data: int) -> None:
            """Send a processing command and wait until the card is ready or the bound is over."""

    class Panel(Protocol):
        """Display and buzzer."""

        def show(self, text: str, symbols: int) -> None:
            """Draw up to eight digits with sign and point, nothing if empty, and the SYMBOL_ bits of meter.display."""

        def beep(self, pattern: bytes) -> None:
            """Sound: on and off in turn, in hundredths of a second. Returns at once; does nothing without a buzzer."""
