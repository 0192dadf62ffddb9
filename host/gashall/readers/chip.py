"""A reader without hardware: it works a ``gascard`` chip in memory by the commands a real reader would send.

The rig puts its own chip in; tests stop or pull it at every stored byte.
"""

from collections.abc import Callable
from typing import TypeAlias

from gascard import codes
from gascard.chip import Chip
from gascard.sle4442 import (
    COMPARE,
    READ_MAIN,
    READ_PROTECTION,
    READ_SECURITY,
    TRIES_FULL,
    UPDATE_MAIN,
    UPDATE_SECURITY,
    WRITE_PROTECTION,
)
from gashall import errors
from gashall.errors import CardError, ReaderError
from gashall.readers.base import Reader

Plan: TypeAlias = tuple[int, int, int]
"""What the chip is about to store: (area, place, value), areas as in ``gascard.chip``."""


class ChipReader(Reader):
    """A reader whose card is ``chip``.

    ``step``, if set, is called with the plan before each byte the chip stores, password tries and
    protection bits included. It may raise (the program dies there), call ``pull`` (the card is gone before
    that byte), or ``store`` something torn first.
    """

    def __init__(self, chip: Chip | None = None, trace: Callable[[str], None] | None = None) -> None:
        """``chip`` is the card in the slot; None for an empty slot."""
        super().__init__(trace)
        self.chip = chip
        self.step: Callable[[Plan], None] | None = None

    def insert(self, chip: Chip) -> None:
        """Put ``chip`` into the slot in place of what was there."""
        self.pull()
        self.chip = chip

    def pull(self) -> Chip | None:
        """Take the card out, in the middle of a write if need be; the chip that was in the slot."""
        chip, self.chip = self.chip, None
        if chip is not None:
            chip.power_off()
        return chip

    def _card(self) -> Chip:
        if self.chip is None:
            raise ReaderError(codes.CARD_OUT, "The card was taken out.", "Insert it again and repeat.")
        return self.chip

    def _connect(self) -> bytes:
        if self.chip is None:
            raise ReaderError(codes.NO_CARD)
        return self.chip.power_on()

    def _disconnect(self) -> None:
        if self.chip is not None:
            self.chip.power_off()

    def _read(self, address: int, length: int) -> bytes:
        return self._card().read(READ_MAIN, address)[:length]

    def _write(self, address: int, data: bytes) -> None:
        for i, byte in enumerate(data):
            self._command(UPDATE_MAIN, address + i, byte)

    def _protect(self, address: int, data: bytes) -> None:
        for i, byte in enumerate(data):
            self._command(WRITE_PROTECTION, address + i, byte)

    def _protection(self) -> bytes:
        return self._card().read(READ_PROTECTION, 0)

    def _error_counter(self) -> int:
        return self._card().read(READ_SECURITY, 0)[0]

    def _present(self, psc: bytes, counter: int) -> bool:
        # The fixed order of DOMAIN 4: spend one free bit, compare three times, erase the counter, read it
        # back.
        self._command(UPDATE_SECURITY, 0, counter & (counter - 1))
        chip = self._card()
        for i in range(3):
            chip.command(COMPARE, i + 1, psc[i])
        plan = chip.plan(UPDATE_SECURITY, 0, 0xFF)
        # After a wrong password the chip stores nothing here.
        if plan is not None:
            self._store(plan)
        return bool(self._error_counter() & TRIES_FULL == TRIES_FULL)

    def _change_psc(self, psc: bytes) -> None:
        present = self._card().read(READ_SECURITY, 0)
        for i in range(3):
            if present[i + 1] != psc[i]:
                self._command(UPDATE_SECURITY, i + 1, psc[i])

    def _command(self, control: int, address: int, data: int) -> None:
        plan = self._card().plan(control, address, data)
        if plan is None:
            raise CardError(errors.WRITE_REFUSED, f"The card did not take the byte at {address:#04x}.")
        self._store(plan)

    def store(self, plan: Plan) -> None:
        """Put one byte on the card as it is kept; for a ``step`` that tears a byte before it stops."""
        self._card().store(plan)

    def _store(self, plan: Plan) -> None:
        if self.step is not None:
            self.step(plan)
        self.store(plan)
