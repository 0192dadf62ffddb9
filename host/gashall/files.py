"""Files people name on a command line: regular ones only, for a pipe would be waited on for ever; new ones for good."""

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from gashall import errors
from gashall.errors import RequestError

__all__ = ["open_regular", "sync_folder", "write_asked_for", "write_new"]


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """The file ``path``, to read bytes from. OSError if it cannot be opened or is a folder, a pipe or a device."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is no regular file", os.fspath(path))
    return os.fdopen(handle, "rb")


def write_new(path: str | os.PathLike[str], data: bytes) -> None:
    """Put ``data`` into the new file ``path``, readable by its owner only, and on the disk when this returns.

    FileExistsError if there is one already; any other OSError if it cannot be written, and then there is none.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    try:
        with open(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(path)
        raise
    sync_folder(path)


def write_asked_for(path: str | os.PathLike[str], data: bytes) -> None:
    """As ``write_new``, for a path somebody has named. RequestError FIELD if it cannot be."""
    name = os.fspath(path)
    try:
        write_new(path, data)
    except FileExistsError:
        raise RequestError(
            errors.FIELD, f"There is a file {name} already; none is overwritten.", "Choose another path."
        ) from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise RequestError(
            errors.FIELD, f"{name} cannot be written: {why}.", "Correct the path, or make room."
        ) from None


def sync_folder(path: str | os.PathLike[str]) -> None:
    """Put the name of the file ``path`` on the disk too, where a folder can be synced."""
    with contextlib.suppress(OSError):
        folder = os.open(Path(path).absolute().parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
