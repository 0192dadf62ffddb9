"""Where a command gets a passphrase: a file, a variable of the environment, or a question; never its command line."""

import getpass
import os
import sys

from gashall import errors, keyfile
from gashall.errors import GasError, RequestError

VARIABLE = "ICGAS_PASSPHRASE"
NEW_VARIABLE = "ICGAS_NEW_PASSPHRASE"


def of_key_file(key: str, file: str | None = None) -> str:
    """The passphrase of the key file ``key`` that is there. GasError KEY_FILE if it cannot be had."""
    told = _told(file, VARIABLE)
    if told is None and not _at_terminal():
        raise GasError(
            errors.KEY_FILE,
            f"The key file {key} is under a passphrase, and nobody is here to be asked for it.",
            f"Give it in a file only its owner may read (--passphrase-file), or in {VARIABLE}.",
        )
    return _asked(f"Passphrase of {key}: ") if told is None else told


def new(file: str | None, variable: str, prompt: str) -> str | None:
    """A passphrase to be, asked for twice; None where nobody gives one, or an empty one is typed.

    GasError KEY_FILE; RequestError FIELD for two that differ, or one that is none.
    """
    told = _told(file, variable)
    if told is None and _at_terminal():
        told = _asked(prompt)
        if told and told != _asked("Once more: "):
            raise RequestError(errors.FIELD, "The two passphrases differ.", "Repeat it; nothing was written.")
    return keyfile.check_passphrase(told) if told else None


def _told(file: str | None, variable: str) -> str | None:
    return keyfile.passphrase_in(file) if file else os.environ.get(variable) or None


def _at_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def _asked(prompt: str) -> str:
    try:
        return getpass.getpass(prompt, sys.stderr)
    except EOFError:
        raise GasError(errors.KEY_FILE, "No passphrase was typed.", "Repeat, and type it.") from None
