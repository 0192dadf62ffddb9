"""A card in a file: what crosses between hall, simulator and meter in tests, demos and on paper.

``PATH`` holds the 256 bytes of main memory; ``PATH.chip`` beside it the 4 protection and 4 security bytes.
Every byte the chip stores is in the file before the next one: a program may die at any of them, as with a
real card. Reading leaves no trace on the disk.
"""

import os
from collections.abc import Callable
from typing import Self

from gascard import codes
from gascard.chip import MAIN, SECURITY, Chip
from gascard.records import IMAGE_SIZE
from gashall import errors
from gashall.errors import ReaderError
from gashall.readers.chip import ChipReader, Plan

SIDECAR = ".chip"
SIDECAR_SIZE = 8


class FileReader(ChipReader):
    """A reader whose card is the file ``path``, read anew at each ``connect``.

    Without a sidecar a blank card counts as the maker ships it: nothing protected but the ATR, password FF FF FF.
    Any other can be read, and no more: what its password, tries and protection are stood in the sidecar.
    """

    def __init__(self, path: str | os.PathLike[str], trace: Callable[[str], None] | None = None) -> None:
        """``path`` need not exist yet; a missing file is an empty slot."""
        super().__init__(None, trace)
        self.path = os.fspath(path)
        self._files: tuple[int, int] | None = None

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
                errors.READER, f"There is a card in {error.filename} already.", "Choose another file name."
            ) from None
        except OSError as error:
            raise ReaderError(
                errors.READER, f"The card file {error.filename} cannot be written: {error.strerror}."
            ) from error
        return reader

    def pull(self) -> Chip | None:
        """Take the card out, in the middle of a write if need be; the file stays as it is."""
        self._close()
        return super().pull()

    def _connect(self) -> bytes:
        self._close()
        self.chip = None
        try:
            with open(self.path, "rb") as file:
                dump = file.read(IMAGE_SIZE + 1)
        except FileNotFoundError:
            raise ReaderError(codes.NO_CARD, f"There is no card in {self.path}.") from None
        if len(dump) != IMAGE_SIZE:
            raise ReaderError(codes.NO_CARD, f"{self.path} is no card image: it has not 256 bytes.")
        try:
            with open(self.path + SIDECAR, "rb") as file:
                sidecar = file.read(SIDECAR_SIZE + 1)
        except FileNotFoundError:
            sidecar = Chip().dump()[IMAGE_SIZE:]
            with open(self.path + SIDECAR, "xb") as file:
                file.write(sidecar)
        if len(sidecar) != SIDECAR_SIZE:
            raise ReaderError(codes.NO_CARD, f"{self.path + SIDECAR} has not {SIDECAR_SIZE} bytes.")
        flags = os.O_RDWR | getattr(os, "O_BINARY", 0)
        main = os.open(self.path, flags)
        try:
            self._files = main, os.open(self.path + SIDECAR, flags)
        except OSError:
            os.close(main)
            raise
        chip = Chip()
        chip.restore(dump + sidecar)
        self.chip = chip
        return super()._connect()

    def _disconnect(self) -> None:
        super()._disconnect()
        self._close()
        self.chip = None

    def store(self, plan: Plan) -> None:
        """Put one byte on the chip and into the file."""
        super().store(plan)
        if self._files is None:
            return
        area, place, value = plan
        file = self._files[0 if area == MAIN else 1]
        os.lseek(file, place + 4 if area == SECURITY else place, os.SEEK_SET)
        os.write(file, bytes((value,)))

    def _close(self) -> None:
        if self._files is not None:
            files, self._files = self._files, None
            for file in files:
                os.close(file)
