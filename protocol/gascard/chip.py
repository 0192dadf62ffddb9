"""What an SLE4442 does with each command: its memory, its password and nothing else.

The one model of the chip in this project: the hall's file-backed reader and every level of the simulator stand
on it; the firmware never imports it. It has no clock, no pins and no faults of its own. A command is first
*planned* (what would the chip store, and where) and then *stored*, so that whoever pulls the card can stop
between the two or store something torn instead. Rules: DOMAIN 4.
"""

from gascard.sle4442 import (
    ATR,
    COMPARE,
    READ_MAIN,
    READ_PROTECTION,
    READ_SECURITY,
    TRIES_FULL,
    UPDATE_MAIN,
    UPDATE_SECURITY,
    WRITE_PROTECTION,
)

DEFAULT_PSC = b"\xff\xff\xff"

CLOCKS_UPDATE = 281  # command 24 + start and stop 2 + processing 255, a byte that must be erased and written
CLOCKS_WRITE = 150  # as above with 124: erase alone or write alone
CLOCKS_REJECTED = 28  # compare, or a command the chip does not carry out
CLOCKS_ATR = 34
CLOCK_HZ = 50000


MAIN = 0
PROTECTION = 1
SECURITY = 2

DUMP_SIZE = 264


class Chip:
    """One SLE4442. ``main`` is its 256 bytes, ``protection`` 4 (a 0 bit is protected), ``security`` 4.

    ``security[0]`` is the error counter, the rest the PSC. A new chip is blank: ATR, the maker's bytes, FF,
    nothing protected but the ATR, PSC FF FF FF.
    """

    def __init__(self) -> None:
        self.main = bytearray(b"\xff" * 256)
        self.main[0:8] = ATR + b"\xff\xff\x81\x15"
        self.main[0x15:0x1B] = b"\xd2\x76\x00\x00\x04\x00"
        self.protection = bytearray(b"\xf0\xff\xff\xff")
        self.security = bytearray(bytes((TRIES_FULL,)) + DEFAULT_PSC)
        self.power_off()

    def power_on(self) -> bytes:
        """Reset; the four bytes the chip answers."""
        self.power_off()
        return bytes(self.main[0:4])

    def power_off(self) -> None:
        """Take the power away: the right to write is gone, what is stored stays."""
        self.verified = False
        # How far the password procedure has come: 0 nothing, 1 a try is spent, 2-4 that many compares are right.
        self._step = 0

    @property
    def dead(self) -> bool:
        """Whether all tries are used up: read-only for ever (卡锁)."""
        return self.security[0] & TRIES_FULL == 0

    def read(self, control: int, address: int) -> bytes:
        """Outgoing data of a read command: to the end of main memory, or 4 bytes. Others give nothing."""
        if control == READ_MAIN:
            return bytes(self.main[address & 0xFF :])
        if control == READ_PROTECTION:
            return bytes(self.protection)
        if control == READ_SECURITY:
            return bytes(self.security) if self.verified else bytes((self.security[0], 0, 0, 0))
        return b""

    def plan(self, control: int, address: int, data: int) -> "tuple[int, int, int] | None":
        """What a processing command would store: (area, place, value), or None if the chip will not.

        The password procedure is followed here: spend one free counter bit, compare 1, 2, 3 in order; after that
        the chip may be written and its counter erased. Anything out of order starts it again.
        """
        address &= 0xFF
        data &= 0xFF
        step, self._step = self._step, 0
        if control == UPDATE_MAIN:
            guarded = address < 32 and not self.protection[address >> 3] >> (address & 7) & 1
            return None if guarded or not self.verified else (MAIN, address, data)
        if control == WRITE_PROTECTION:
            if not self.verified or address > 31 or self.main[address] != data:
                return None
            return (PROTECTION, address >> 3, self.protection[address >> 3] & ~(1 << (address & 7)) & 0xFF)
        if control == COMPARE:
            if step and step == address and step < 4 and self.security[address] == data:
                self._step = step + 1
                if step == 3:
                    self.verified = True
            return None
        if control == UPDATE_SECURITY and address == 0:
            counter = self.security[0] & TRIES_FULL
            if self.verified:
                return (SECURITY, 0, data & TRIES_FULL)
            left = counter & data
            spent = counter ^ left
            if spent and not spent & (spent - 1):
                self._step = 1
                return (SECURITY, 0, left)
            return None
        if control == UPDATE_SECURITY and address < 4 and self.verified:
            return (SECURITY, address, data)
        return None

    def store(self, plan: "tuple[int, int, int]") -> None:
        """Carry out what ``plan`` gave."""
        area, place, value = plan
        (self.main, self.protection, self.security)[area][place] = value

    def value(self, plan: "tuple[int, int, int]") -> int:
        """The byte that stands now where ``plan`` would write."""
        area, place, _ = plan
        return (self.main, self.protection, self.security)[area][place]

    def command(self, control: int, address: int, data: int) -> int:
        """Plan and store at once; the clock cycles the command took (281, 150 or 28)."""
        plan = self.plan(control, address, data)
        if plan is None:
            return CLOCKS_REJECTED
        clocks = self.clocks(plan)
        self.store(plan)
        return clocks

    def clocks(self, plan: "tuple[int, int, int]") -> int:
        """Clock cycles to carry out ``plan``: a bit that rises needs an erase, one that falls a write."""
        old = self.value(plan)
        new = plan[2]
        erases = new & ~old & 0xFF
        writes = new != 0xFF and plan[0] != PROTECTION
        return CLOCKS_UPDATE if erases and writes else CLOCKS_WRITE

    def dump(self) -> bytes:
        """All the chip holds, 264 bytes: main 256, protection 4, security 4."""
        return bytes(self.main) + bytes(self.protection) + bytes(self.security)

    def restore(self, dump: bytes | bytearray) -> None:
        """Become the chip of ``dump``: 264 bytes, or 256 of main memory alone (then the PSC is the maker's)."""
        if len(dump) not in (256, DUMP_SIZE):
            raise ValueError("a card is 256 bytes of main memory, or 264 with protection and security")
        blank = Chip()
        self.protection[:] = blank.protection
        self.security[:] = blank.security
        self.power_off()
        self.main[:] = dump[:256]
        if len(dump) == DUMP_SIZE:
            self.protection[:] = dump[256:260]
            self.security[:] = dump[260:264]


def milliseconds(clocks: int) -> int:
    """Time of ``clocks`` cycles on the card bus, rounded up to whole milliseconds."""
    return (clocks * 1000 + CLOCK_HZ - 1) // CLOCK_HZ
