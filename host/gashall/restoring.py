"""A ledger out of a copy: it has forgotten what came after, and says so of every account (RULES 1, restored ledger)."""

import contextlib
import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from gashall import errors, units
from gashall.audit import Audit, audit
from gashall.errors import LedgerError
from gashall.files import sync_folder
from gashall.ledger import Ledger
from gashall.signer import Signer
from gashall.units import Clock


@dataclass(frozen=True, slots=True)
class Restored:
    """A ledger that was restored: how many accounts are recovering, and the journal's head with that in it, in hex."""

    ledger: str
    recovering: int
    entries: int
    head: str

    def lines(self) -> list[str]:
        """For people."""
        return [
            f"ledger {self.ledger} restored, {units.counted(self.entries, 'row')} of the journal; "
            f"{units.counted(self.recovering, 'account')} recovering",
            f"head {self.head}",
            "Each needs a report of an order written from now on: icgas hall probe, then icgas hall reconcile adopt.",
        ]


@dataclass(frozen=True, slots=True)
class Recovery:
    """An account that is recovering; ``probed`` once an order was written since the restore."""

    account: str
    meter: str
    probed: bool

    def line(self) -> str:
        """For people."""
        return f"account {self.account}, meter {self.meter}: " + (
            "report to be adopted" if self.probed else "no probe yet"
        )


def restore(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    signer: Signer,
    head: str | None = None,
    clock: Clock | None = None,
) -> Restored:
    """See ``Hall.restore``."""
    names = os.fspath(source), os.fspath(target)
    for name in names:
        if "://" in name:
            raise LedgerError(
                errors.LEDGER,
                f"{name.partition('://')[0]} is no SQLite file, and is not restored by this program.",
                "Use the database's own means (PostgreSQL: pg_restore), then icgas hall restore --mark.",
            )
    if not os.path.isfile(names[0]):
        raise LedgerError(errors.LEDGER_MISSING, f"There is no copy {names[0]}.", "Correct the path.")
    _check_free(names[1])
    # Under another name until it says that it was restored: nobody sells from one that does not.
    half = f"{names[1]}.restoring"
    _check_free(half)
    try:
        os.close(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise LedgerError(errors.LEDGER, f"{half} cannot be written: {why}.", "Correct the path.") from error
    try:
        _copy(names[0], half)
        ledger = Ledger(half, signer.region, create=False, clock=clock)
        try:
            ledger.check_root(signer.ledger_check())
            done = mark(ledger, head, names[1], copy=names[0])
        finally:
            ledger.close()
        Ledger.settle(half)
        _put(half, names[1])
    finally:
        for end in ("", "-wal", "-shm", "-journal"):
            with contextlib.suppress(OSError):
                os.remove(half + end)
    return done


def mark(ledger: Ledger, head: str | None = None, name: str | None = None, *, copy: str | None = None) -> Restored:
    """See ``Hall.mark_restored``; ``name`` is what the answer calls the ledger, its own if not given.

    ``copy`` is what a refusal calls it: the file at fault is the one that was given.
    """
    check(audit(ledger, head), copy or ledger.name)
    with ledger.begin() as books:
        recovering = books.restore(units.minutes(ledger.clock()))
        entries, digest = books.head()
    return Restored(name or ledger.name, recovering, entries, digest.hex())


def recovering(ledger: Ledger) -> list[Recovery]:
    """See ``Hall.recovering``."""
    with ledger.look() as books:
        rows = books.recoveries()
        return [
            Recovery(binding.account, binding.meter, books.first_since(binding.id, rows[binding.id].floor) is not None)
            for binding in books.open_bindings()
            if binding.id in rows
        ]


def check(found: Audit, name: str) -> None:
    """Whether an audit found nothing. LedgerError LEDGER."""
    if not found.clean:
        more = f" and {units.counted(len(found.findings) - 1, 'finding')} more" if len(found.findings) > 1 else ""
        raise LedgerError(
            errors.LEDGER,
            f"{name} fails its audit: {found.findings[0]}{more}.",
            "Restore an earlier copy; keep this one, to have it looked at.",
        )


def _check_free(name: str) -> None:
    if os.path.lexists(name):
        raise LedgerError(
            errors.LEDGER,
            f"There is a file {name} already; restoring overwrites nothing.",
            "Choose another path; what a restore that died has left (.restoring) may be deleted.",
        )


def _copy(source: str, target: str) -> None:
    try:
        # To be read only: a copy stays what it is.
        with (
            closing(sqlite3.connect(f"{Path(source).absolute().as_uri()}?mode=ro", uri=True)) as copy,
            closing(sqlite3.connect(target, isolation_level=None)) as ledger,
        ):
            copy.backup(ledger)
    except sqlite3.Error as error:
        raise LedgerError(
            errors.LEDGER, f"The copy {source} cannot be read: {error}.", "Restore another copy."
        ) from error


def _put(half: str, target: str) -> None:
    """Give the finished file its name, without taking it from another file."""
    try:
        try:
            os.link(half, target)
        except FileExistsError:
            raise
        except OSError:  # no links on this file system
            _check_free(target)
            os.rename(half, target)
    except OSError as error:
        raise LedgerError(
            errors.LEDGER, f"{target} cannot be made: {error.strerror}.", "Choose another path."
        ) from error
    sync_folder(target)
