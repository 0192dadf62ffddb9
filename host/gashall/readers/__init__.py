"""Card readers: one base class that validates, traces and translates errors; one module a kind of reader."""

from gashall.readers.base import Reader
from gashall.readers.chip import ChipReader
from gashall.readers.file import FileReader

__all__ = ["ChipReader", "FileReader", "Reader"]
