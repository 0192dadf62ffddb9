"""What every card reader can do, and what none may: the base class of all readers.

A reader is told addresses and bytes and knows nothing of what they mean. Subclasses carry out six steps;
here the calls are validated and traced, passwords are kept out of the trace, and whatever a driver throws
becomes a ``ReaderError``. Rules: DOMAIN 4 and 5, RULES 1 "last try".
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from gascard import codes
from gascard.records import IMAGE_SIZE
from gascard.sle4442 import ATR, TRIES_FULL, tries_left
from gashall import errors
from gashall.errors import CardError, ReaderError

_log = logging.getLogger("gashall.readers")

PROTECTABLE = 32


class Reader(ABC):
    """One card reader. Use it as a context manager, or call ``connect`` and ``disconnect``.

    Every call may raise ReaderError: NO_CARD, CARD_OUT, READER (hardware, driver), READER_USE (out of order).
    """

    driver_errors: tuple[type[Exception], ...] = (OSError,)
    """What this reader's driver throws; it becomes ReaderError READER."""

    def __init__(self, trace: Callable[[str], None] | None = None) -> None:
        """``trace`` is called with one line a call; without it the lines go to the log "gashall.readers"."""
        self._trace = trace
        self._connected = False
        self._verified = False

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.disconnect()
        except ReaderError:
            if error is None:
                raise

    def connect(self) -> bytes:
        """Power the card; its 4-byte ATR. ReaderError NO_CARD if nothing answers like an SLE4442."""
        self._verified = False
        with self._driver("connect"):
            atr = self._connect()
        if atr[-len(ATR) :] != ATR:
            raise ReaderError(codes.NO_CARD, f"The card answered {atr.hex(' ') or 'nothing'}: no SLE4442.")
        self._connected = True
        self._note(f"connect: {atr.hex()}")
        return ATR

    def disconnect(self) -> None:
        """Take the power away; the right to write ends. Harmless if not connected."""
        if self._connected:
            self._connected = self._verified = False
            with self._driver("disconnect"):
                self._disconnect()
            self._note("disconnect")

    def read(self, address: int, length: int) -> bytes:
        """``length`` bytes of main memory from ``address`` on."""
        self._check(address, length, IMAGE_SIZE)
        with self._driver("read"):
            data = self._read(address, length)
        if len(data) != length:
            raise ReaderError(errors.READER, f"The reader gave {len(data)} bytes instead of {length}.")
        if self._told():
            self._note(f"read {address:#04x} +{length}: {data.hex()}")
        return data

    def write(self, address: int, data: bytes) -> int:
        """Put ``data`` at ``address``, touching only bytes that differ; how many were written.

        A card is slow and wears: each byte costs 5.6 ms. CardError WRITE_REFUSED if the card does not take
        one.
        """
        self._check(address, len(data), IMAGE_SIZE)
        self._need_password()
        with self._driver("write"):
            present = self._read(address, len(data))
            count = 0
            start = 0
            while start < len(data):
                end = start
                while end < len(data) and data[end] != present[end]:
                    end += 1
                if end > start:
                    if self._told():
                        self._note(f"write {address + start:#04x}: {data[start:end].hex()}")
                    self._write(address + start, data[start:end])
                    count += end - start
                start = end + 1
        return count

    def protect(self, address: int, data: bytes) -> None:
        """Protect bytes 0–31 for ever, those from ``address`` on that hold ``data``; protected ones stay so.

        CardError WRITE_REFUSED if one holds something else.
        """
        self._check(address, len(data), PROTECTABLE)
        self._need_password()
        with self._driver("protect"):
            bits = int.from_bytes(self._protection(), "little")
            for i, byte in enumerate(data):
                if bits >> (address + i) & 1:
                    self._note(f"protect {address + i:#04x}")
                    self._protect(address + i, bytes((byte,)))

    def protection(self) -> bytes:
        """The 4 protection bytes, low addresses first; a 0 bit is a protected byte."""
        self._need_card()
        with self._driver("protection"):
            return self._protection()

    def error_counter(self) -> int:
        """The error counter, 0…7: each 1 bit is one password try left (``gascard.sle4442.tries_left``)."""
        self._need_card()
        with self._driver("error counter"):
            counter: int = self._error_counter() & TRIES_FULL
        self._note(f"error counter: {counter:#04x}")
        return counter

    def present(self, psc: bytes, *, rescue: bool = False) -> bool:
        """Present the 3-byte password; whether the card took it.

        CardError CARD_DEAD with no try left, LAST_TRY with one left unless ``rescue`` says to spend it.
        """
        _check_psc(psc)
        counter = self.error_counter()
        left = tries_left(counter)
        if left == 0:
            raise CardError(errors.CARD_DEAD)
        if left == 1 and not rescue:
            raise CardError(errors.LAST_TRY)
        with self._driver("present"):
            self._verified = self._present(bytes(psc), counter)
        self._note(f"present password: {'right' if self._verified else 'wrong'}")
        return self._verified

    def change_psc(self, psc: bytes) -> None:
        """Change the password to the 3 bytes ``psc``; the present one must have been presented."""
        _check_psc(psc)
        self._need_password()
        with self._driver("change password"):
            self._change_psc(bytes(psc))
        self._note("change password")

    @abstractmethod
    def _connect(self) -> bytes:
        """Power the card and give its ATR; a PC/SC reader's may have a header before the chip's 4 bytes."""

    @abstractmethod
    def _disconnect(self) -> None:
        """Take the power away."""

    @abstractmethod
    def _read(self, address: int, length: int) -> bytes:
        """Bytes of main memory."""

    @abstractmethod
    def _write(self, address: int, data: bytes) -> None:
        """Write a run of bytes, each of which differs from what is there."""

    @abstractmethod
    def _protect(self, address: int, data: bytes) -> None:
        """Set the protection bits of bytes that hold ``data``."""

    @abstractmethod
    def _protection(self) -> bytes:
        """The 4 protection bytes, low addresses first."""

    @abstractmethod
    def _error_counter(self) -> int:
        """The error counter; more bits than three are cut off."""

    @abstractmethod
    def _present(self, psc: bytes, counter: int) -> bool:
        """Present the password; ``counter`` is the error counter that was judged, in case the card is another now."""

    @abstractmethod
    def _change_psc(self, psc: bytes) -> None:
        """Change the password."""

    @contextmanager
    def _driver(self, step: str) -> Iterator[None]:
        try:
            yield
        except self.driver_errors as error:
            self._note(f"{step}: {error!r}")
            raise ReaderError(errors.READER, f"The reader failed to {step}: {error}.") from error

    def _check(self, address: int, length: int, end: int) -> None:
        self._need_card()
        if address < 0 or length < 1 or address + length > end:
            raise ReaderError(
                errors.READER_USE, f"{length} bytes from {address:#x} on do not lie within 0 to {end - 1}."
            )

    def _need_card(self) -> None:
        if not self._connected:
            raise ReaderError(errors.READER_USE, "The reader is not connected to a card.")

    def _need_password(self) -> None:
        self._need_card()
        if not self._verified:
            raise ReaderError(errors.READER_USE, "The card's password has not been presented.")

    def _told(self) -> bool:
        """Whether anybody hears the notes: writing bytes out for nobody costs more than reading them."""
        return self._trace is not None or _log.isEnabledFor(logging.DEBUG)

    def _note(self, line: str) -> None:
        if self._trace is not None:
            self._trace(line)
        else:
            _log.debug(line)


def _check_psc(psc: bytes) -> None:
    if len(psc) != 3:
        raise ReaderError(errors.READER_USE, f"A card's password has 3 bytes, not {len(psc)}.")
