"""A card in a file: what crosses between hall, simulator and meter in tests, demos and on paper.

``PATH`` holds the 256 bytes of main memory; ``PATH.chip`` beside it the 4 protection and 4 security bytes.
Every byte the chip stores is in the file before the next one: a program may die at any of them, as with a
real card. Reading leaves no trace on the disk.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

from gascard import codes
from gascard.chip import DUMP_SIZE, MAIN, SECURITY, Chip
from gascard.records import IMAGE_SIZE
from gashall import errors
from gashall.errors import ReaderError
from gashall.files import open_regular
from gashall.readers.chip import ChipReader, Plan

SIDECAR = ".chip"
SIDECAR_SIZE = 8

_REMEDY = "Give a card file that can be read and written, and repeat; an unfinished sale is finished, not made twice."

_FLAGS = os.O_RDWR | getattr(os, "O_BINARY", 0)


class FileReader(ChipReader):
    """A reader whose card is the file ``path``, read anew at each ``connect``.

    Without a sidecar a blank card counts as the maker ships it: nothing protected but the ATR, password FF FF FF.
    Any other can be read, and no more: what its password, tries and protection are stood in the sidecar.
    """

    def __init__(self, path: str | os.PathLike[str], trace: Callable[[str], None] | None = None) -> None:
        """``path`` need not exist yet; a missing file is an empty slot."""
        super().__init__(None, trace)
        self.path = os.fspath(path)
        self._files: list[int] = []
        self._read_only = False

    @classmethod
    def blank(cls, path: str | os.PathLike[str], trace: Callable[[str], None] | None = None) -> Self:
        """A new blank card in the new file ``path``. ReaderError READER if there is such a file already."""
        reader = cls(path, trace)
        dump = Chip().dump()
        try:
            for name, data in ((reader.path, dump[:IMAGE_SIZE]), (reader.path + SIDECAR, dump[IMAGE_SIZE:])):
                with open(name, "xb") as file:
                    file.write(data)
        except FileExistsError as error:
            raise ReaderError(
                errors.READER,
                f"There is a card in {error.filename} already.",
                "If it was begun with this one, go on with it without --blank; else choose another file name.",
            ) from None
        except OSError as error:
            raise ReaderError(
                errors.READER, f"The card file {error.filename} cannot be written: {error.strerror}.", _REMEDY
            ) from error
        return reader

    def pull(self) -> Chip | None:
        """Take the card out, in the middle of a write if need be; the file stays as it is."""
        self._close()
        return super().pull()

    @contextmanager
    def _driver(self, step: str) -> Iterator[None]:
        # No cable is to be looked at: the file is at fault, or its disk.
        try:
            yield
        except OSError as error:
            self._note(f"{step}: {error!r}")
            told = f"The card file {error.filename or self.path} cannot be used: {error.strerror or error}."
            raise ReaderError(errors.READER, told, _REMEDY) from error

    def _connect(self) -> bytes:
        self._close()
        self.chip = None
        try:
            with open_regular(self.path) as file:
                image = file.read(DUMP_SIZE + 1)
        except FileNotFoundError:
            raise ReaderError(
                codes.NO_CARD,
                f"There is no card file {self.path}.",
                "Correct the path; a new blank card is made by --blank where one is issued (FileReader.blank).",
            ) from None
        if len(image) == DUMP_SIZE:
            raise ReaderError(
                codes.NO_CARD,
                f"{self.path} has 264 bytes; a card file has 256: protection and security memory, the last eight, "
                f"stand beside it in {self.path + SIDECAR}.",
                "Put the first 256 and the last 8 bytes into a file each.",
            )
        if len(image) != IMAGE_SIZE:
            raise ReaderError(
                codes.NO_CARD,
                f"{self.path} is no card file: it has not {IMAGE_SIZE} bytes.",
                "Look whether it is the right file, and whole.",
            )
        made = Chip()
        sidecar = made.dump()[IMAGE_SIZE:]
        try:
            with open_regular(self.path + SIDECAR) as file:
                sidecar = file.read(SIDECAR_SIZE + 1)
            names = [self.path, self.path + SIDECAR]
            self._read_only = False
        except FileNotFoundError:
            names = [self.path]
            self._read_only = any(byte != 0xFF for byte, maker in zip(image, made.main, strict=True) if maker == 0xFF)
        if len(sidecar) != SIDECAR_SIZE:
            raise ReaderError(
                codes.NO_CARD,
                f"{self.path + SIDECAR} has not {SIDECAR_SIZE} bytes.",
                "Restore it from where the card file came from; removed, the card can be read and no more.",
            )
        for name in names:
            self._files.append(os.open(name, _FLAGS))
        made.restore(image + sidecar)
        self.chip = made
        return super()._connect()

    def _disconnect(self) -> None:
        super()._disconnect()
        self._close()
        self.chip = None

    def _protection(self) -> bytes:
        self._need_sidecar()
        return super()._protection()

    def _error_counter(self) -> int:
        self._need_sidecar()
        return super()._error_counter()

    def _need_password(self) -> None:
        self._need_card()
        self._need_sidecar()
        super()._need_password()

    def _need_sidecar(self) -> None:
        if self._read_only:
            raise ReaderError(
                errors.READER,
                f"There is no {self.path + SIDECAR}: password, tries and protection of the card are not known.",
                "Put the .chip file of this card beside it; without it the card can be read and no more.",
            )

    def store(self, plan: Plan) -> None:
        """Put one byte on the chip and into the file."""
        if len(self._files) == 1:
            self._files.append(os.open(self.path + SIDECAR, _FLAGS | os.O_CREAT | os.O_EXCL, 0o666))
            os.write(self._files[1], self._card().dump()[IMAGE_SIZE:])
        super().store(plan)
        if not self._files:
            return
        area, place, value = plan
        file = self._files[0 if area == MAIN else 1]
        os.lseek(file, place + 4 if area == SECURITY else place, os.SEEK_SET)
        os.write(file, bytes((value,)))

    def _close(self) -> None:
        while self._files:
            os.close(self._files.pop())
