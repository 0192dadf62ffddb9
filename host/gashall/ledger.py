"""The hall's ledger as a file or database: opened, upgraded, copied, and one transaction at a time.

Needs ``pip install icgas[hall]``.
"""

import contextlib
import functools
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from gashall import errors, migrations, schema
from gashall.books import Books
from gashall.cells import CELL_TYPES, checked_row
from gashall.errors import LedgerError
from gashall.files import sync_folder
from gashall.schema import SCHEMA_VERSION, TRIGGERS, metadata
from gashall.units import Clock, minutes, whole

# How SQLite and PostgreSQL call an order that another window has made meanwhile, and a journal row.
_ONE_ORDER_RULES = ("UNIQUE constraint failed: orders.", "one_pending_order", "orders_binding_sequence_key")
_ONE_JOURNAL_RULES = ("the journal has no gaps", "UNIQUE constraint failed: journal.", "journal_pkey")
# A sale changes a few bytes in each of a dozen pages, and a commit puts whole pages on the disk: small ones take less
# time. A file keeps the size it was made with.
_PRAGMAS = ("page_size=1024", "journal_mode=WAL", "foreign_keys=ON", "synchronous=FULL")
# PostgreSQL lets windows write side by side; the ledger's go one after the other, as SQLite's do. Any number will do.
_POSTGRESQL_TURN = "SELECT pg_advisory_xact_lock(1768121697)"


class _Database:
    """The engine behind a ledger, and what its failures are called."""

    def __init__(self, path: str | os.PathLike[str], *, create: bool) -> None:
        name = os.fsdecode(path)
        self.name = name.partition("://")[0] if "://" in name else name
        """What messages call this ledger: its path, or its URL without the password."""
        with self._opened(), self._translated():
            url = sa.make_url(name) if "://" in name else sa.URL.create("sqlite", database=name)
            # What follows a question mark may be a password too.
            self.name = url.set(query={}).render_as_string() if "://" in name else name
            self._backend = url.get_backend_name()
            self._file = url.database if self._backend == "sqlite" else None
            sqlite = self._backend == "sqlite"
            if sqlite and not create and not os.path.exists(self._file or ""):
                raise LedgerError(errors.LEDGER_MISSING, f"There is no ledger {self.name}.")
            self._engine = sa.create_engine(url, connect_args={"timeout": 30} if sqlite else {})
            if sqlite:
                sa.event.listen(self._engine, "connect", _prepare_sqlite)
            # Of a file's connections those at rest are kept ready: the pool's giving and taking back costs a sale more
            # time than its statements. A memory's belong to their threads, and another database is slower than that.
            self._keeps_ready = sqlite and isinstance(self._engine.pool, sa.pool.QueuePool)
            self._ready: list[sa.Connection] = []

    def close(self) -> None:
        """Give the database's handles back."""
        while self._ready:
            self._ready.pop().close()
        self._engine.dispose()

    @contextmanager
    def _transaction(self, *, reading: bool) -> Iterator[sa.Connection]:
        """A transaction. One that writes is the only writer while it lasts.

        One that reads sees one moment's ledger from beginning to end and keeps no window waiting.
        """
        connection: sa.Connection | None = None
        try:
            try:
                connection = self._ready.pop()
            except IndexError:
                connection = self._engine.connect()
            turn: Any
            if self._backend == "sqlite":
                # Said to the driver itself, to which SQLAlchemy's begin says nothing. Writer from the start: two
                # windows that read the same state and both write would else meet too late.
                turn = connection.connection.driver_connection
                turn.execute("BEGIN" if reading else "BEGIN IMMEDIATE")
            else:
                if reading:
                    connection.execution_options(isolation_level="REPEATABLE READ")
                turn = connection.begin()
                if self._backend == "postgresql" and not reading:
                    connection.exec_driver_sql(_POSTGRESQL_TURN)
            yield connection
            if reading:
                turn.rollback()  # whatever was written in it has no row in the journal
            else:
                turn.commit()
            if connection.in_transaction():
                connection.rollback()  # the driver's is over: what is left is SQLAlchemy's count of it
            if self._keeps_ready:
                self._ready.append(connection)
            else:
                connection.close()
        except BaseException as error:
            if connection is not None:
                connection.close()  # which undoes what was not committed
            told = self._told(error)
            if told is error:
                raise
            raise told from error

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sa.exc.SQLAlchemyError, sqlite3.Error, OSError) as error:
            raise self._told(error) from error

    def _told(self, error: BaseException) -> BaseException:
        """What a failure of the database is called; anything else is itself."""
        if isinstance(error, sa.exc.IntegrityError):
            if any(rule in str(error.orig) for rule in _ONE_ORDER_RULES):
                return LedgerError(errors.PENDING_ELSEWHERE, f"Another window was faster: {error.orig}.")
            if any(rule in str(error.orig) for rule in _ONE_JOURNAL_RULES):
                return LedgerError(
                    errors.PENDING_ELSEWHERE,
                    f"Another window was faster: {error.orig}.",
                    "Repeat it: the ledger is as that window left it.",
                )
            return LedgerError(
                errors.LEDGER,
                f"The ledger {self.name} does not take a row: {error.orig}.",
                "Repeat once; if it stays so, sell nothing and have the ledger looked at.",
            )
        if isinstance(error, (sa.exc.SQLAlchemyError, sqlite3.Error, OSError)):
            cause = getattr(error, "orig", None) or error
            return LedgerError(errors.LEDGER, f"The ledger {self.name} cannot be used: {cause}.")
        return error

    @contextmanager
    def _opened(self) -> Iterator[None]:
        """What only the path or URL can be wrong about."""
        try:
            yield
        except ImportError as error:
            raise LedgerError(
                errors.LEDGER,
                f"The ledger {self.name} needs the database driver {error.name}, which is not installed.",
                f"Install it: pip install {error.name}",
            ) from error
        except (ValueError, TypeError):
            # Not chained: the cause's text could quote a URL's password.
            raise LedgerError(
                errors.LEDGER, f"{self.name!r} is no path or database URL that can be used.", "Correct it."
            ) from None

    def _about(self, connection: sa.Connection) -> dict[str, Any] | None:
        """What the ledger says of itself; None if there is no ledger yet."""
        if not sa.inspect(connection).has_table(schema.about.name):
            return None
        about = connection.execute(sa.select(schema.about)).mappings().first()
        if about is None:
            raise LedgerError(
                errors.LEDGER,
                f"The ledger {self.name} is damaged: about has no row.",
                "Sell nothing; have the ledger looked at, or restore it from its copy.",
            )
        return checked_row(about, schema.about)


@dataclass(frozen=True, slots=True)
class Upgraded:
    """What an upgrade did: the schema versions, and where the ledger of the first one is kept (None: no file)."""

    name: str
    before: int
    after: int
    copy: str | None


class Ledger(_Database):
    """The hall's books: an SQLite file, or any database SQLAlchemy reaches by URL."""

    def __init__(
        self, path: str | os.PathLike[str], region: int, *, create: bool = True, clock: Clock | None = None
    ) -> None:
        """Open ``path`` (a file or a database URL) for ``region``; a new one is made only if ``create``.

        ``clock`` gives the time the journal's rows bear, as an aware datetime; the computer's own if not given.

        LedgerError LEDGER if it cannot be opened, LEDGER_MISSING if it is not there and may not be made,
        LEDGER_REGION if it is another region's, LEDGER_VERSION if it is to be upgraded first or newer than this.
        """
        whole(region, "region", 0, 0xFFFF)
        super().__init__(path, create=create)
        self.region = region
        self.clock: Clock = clock if clock is not None else lambda: datetime.now(UTC)
        """Whose time the journal's rows bear; a hall that was given a clock puts its own here."""
        with self._opened():
            # Opening one that is there waits for no window.
            with self._transaction(reading=True) as connection:
                about = self._about(connection)
            if about is None and not create:
                raise LedgerError(errors.LEDGER_MISSING, f"There is no ledger in {self.name}.")
            if about is None:
                with self._transaction(reading=False) as connection:
                    about = self._about(connection) or self._make(connection)
            if about["region"] != region:
                raise LedgerError(
                    errors.LEDGER_REGION,
                    f"The ledger {self.name} is of region {about['region']:#06x}; wanted {region:#06x}.",
                )
            self._check_version(about["version"], SCHEMA_VERSION)

    def _check_version(self, version: int, least: int) -> None:
        if not 1 <= version <= SCHEMA_VERSION:
            raise LedgerError(
                errors.LEDGER_VERSION,
                f"The ledger {self.name} is of version {version}; this program knows 1 to {SCHEMA_VERSION}.",
                "Use it with the program that made it, or a newer one.",
            )
        if version < least:
            raise LedgerError(
                errors.LEDGER_VERSION, f"The ledger {self.name} is of version {version}, not {SCHEMA_VERSION}."
            )

    def _make(self, connection: sa.Connection) -> dict[str, Any]:
        schema.create_tables(connection)
        connection.execute(sa.insert(schema.alembic_version).values(version_num=migrations.revision(SCHEMA_VERSION)))
        about: dict[str, Any] = {"id": 1, "version": SCHEMA_VERSION, "region": self.region, "root_check": None}
        Books(connection, self._now).add_about(about)
        return about

    def check_root(self, check: bytes) -> None:
        """Refuse a root whose ``Signer.ledger_check`` is not the first one this ledger was shown: LEDGER_KEY."""
        with self.look() as books:
            kept = books.root_check()
        if kept is None:
            with self._transaction(reading=False) as connection:
                books = Books(connection, self._now)
                kept = books.root_check() or books.set_root_check(check)
        if kept != check:
            raise LedgerError(
                errors.LEDGER_KEY,
                f"The ledger {self.name} was made with another root key: this is not its key file.",
            )

    @contextmanager
    def begin(self) -> Iterator[Books]:
        """One transaction, the only writer while it lasts; committed at its end, undone by any exception."""
        with self._transaction(reading=False) as connection, Books(connection, self._now) as books:
            yield books

    @contextmanager
    def look(self) -> Iterator[Books]:
        """One moment's ledger to read in; it keeps no window waiting, and what is written in it is refused."""
        with self._transaction(reading=True) as connection, Books(connection, None) as books:
            yield books

    @contextmanager
    def raw_rows(self) -> Iterator[Callable[[str], list[dict[str, Any]]]]:
        """Tables as the database holds them, at one moment: a function of a table's name. For audits.

        No type of a column is believed: cells come as the driver gives them, bytes that are no UTF-8 as surrogates.
        """
        with self._transaction(reading=True) as connection:
            raw: Any = connection.connection.driver_connection
            if self._backend == "sqlite":
                raw.text_factory = lambda data: data.decode("utf-8", "surrogateescape")

            def read(name: str) -> list[dict[str, Any]]:
                columns = ", ".join(f'"{column}"' for column in CELL_TYPES[name])
                keys = ", ".join(f'"{key.name}"' for key in metadata.tables[name].primary_key)
                found = connection.exec_driver_sql(f"SELECT {columns} FROM {name} ORDER BY {keys}")
                return [dict(row) for row in found.mappings()]

            try:
                yield read
            finally:
                if self._backend == "sqlite":
                    raw.text_factory = str

    def guards_missing(self) -> list[tuple[str, str]]:
        """What of the database's own guards is not there, or not as it was made: (table, its kind and name).

        Guards are the triggers and the indexes; with SQLite the tables' own texts too, their checks and keys.
        """
        with self._transaction(reading=True) as connection:
            if self._backend == "sqlite":
                found = _schema(connection)
            else:
                # PostgreSQL keeps no texts: the names, and whether a trigger is on.
                names = (
                    "SELECT 'trigger', tgname FROM pg_trigger WHERE tgrelid = 'journal'::regclass"
                    " AND tgenabled IN ('O', 'A') UNION SELECT 'index', indexname FROM pg_indexes"
                )
                known = self._backend == "postgresql"
                found = {(row[0], row[1]): ("", "") for row in connection.exec_driver_sql(names)} if known else {}
                wanted = {
                    ("index", str(index.name)): table.name
                    for table in metadata.tables.values()
                    for index in table.indexes
                }
                wanted |= {("trigger", name): "journal" for name in TRIGGERS["postgresql"] if "append" not in name}
                return [(table, " ".join(key)) for key, table in wanted.items() if known and key not in found]
        made = _made_schema()
        return [(made[key][0], " ".join(key)) for key in made if found.get(key) != made[key]]

    def damage(self) -> list[str]:
        """What SQLite finds wrong with its own file: sales read by the indexes, the audit by the tables.

        Nothing of another database, which looks after its pages itself.
        """
        if self._backend != "sqlite":
            return []
        with self._transaction(reading=True) as connection:
            told = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA integrity_check")]
        return [text for text in told if text != "ok"]

    @classmethod
    def upgrade(cls, path: str | os.PathLike[str], clock: Clock | None = None) -> Upgraded:
        """Bring a ledger of an earlier version to today's, in one transaction; nothing it holds is changed.

        An SQLite file is first copied beside, under its name and ``.version-1``. One that is of today's version is left
        alone. Other windows must be closed: they know the old version only. LedgerError LEDGER_MISSING, LEDGER_VERSION
        (newer than this program), LEDGER (damaged, or not to be written); in each case the ledger is as it was.
        """
        ledger = cls.__new__(cls)
        _Database.__init__(ledger, path, create=False)
        ledger.clock = clock if clock is not None else lambda: datetime.now(UTC)
        copy: str | None = None
        try:
            with ledger._opened(), ledger._transaction(reading=False) as connection:
                about = ledger._about(connection)
                if about is None:
                    raise LedgerError(errors.LEDGER_MISSING, f"There is no ledger in {ledger.name}.")
                version = about["version"]
                ledger._check_version(version, 1)
                if version < SCHEMA_VERSION:
                    copy = ledger._copy_beside(version)
                    migrations.migrate(connection, version, ledger._now())
        except BaseException:
            # Rolled back: the file is what its copy is.
            if copy is not None:
                with contextlib.suppress(OSError):
                    os.remove(copy)
            raise
        finally:
            ledger.close()
        return Upgraded(ledger.name, version, SCHEMA_VERSION, copy)

    def _copy_beside(self, version: int) -> str | None:
        if self._file is None or not os.path.isfile(self._file):
            return None
        number, target = 1, f"{self._file}.version-{version}"
        while os.path.lexists(target):
            number += 1
            target = f"{self._file}.version-{version}.{number}"
        self.copy_to(target)
        return target

    def copy_to(self, target: str | os.PathLike[str]) -> None:
        """A copy of the ledger's SQLite file as the new file ``target`` (rights 0600), while windows go on selling.

        LedgerError LEDGER if the ledger is no such file, ``target`` exists or cannot be written; then there is none.
        """
        name = os.fspath(target)
        if self._file is None or not os.path.isfile(self._file):
            raise LedgerError(
                errors.LEDGER,
                f"The ledger {self.name} is no SQLite file, and is not copied by this program.",
                "Use the database's own backup (PostgreSQL: pg_dump).",
            )
        try:
            if os.path.realpath(name) in [os.path.realpath(self._file) + end for end in ("-journal", "-wal", "-shm")]:
                raise LedgerError(
                    errors.LEDGER, f"{name} is a name SQLite uses beside the ledger itself.", "Choose another path."
                )
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            raise LedgerError(
                errors.LEDGER, f"There is a file {name} already; a copy overwrites nothing.", "Choose another path."
            ) from None
        except (OSError, ValueError) as error:
            raise LedgerError(
                errors.LEDGER,
                f"The copy {name} cannot be written: {getattr(error, 'strerror', None) or error}.",
                "Correct the path, or make room.",
            ) from error
        try:
            with self._translated():
                with (
                    closing(sqlite3.connect(name, isolation_level=None)) as copy,
                    closing(sqlite3.connect(self._file, timeout=30)) as source,
                ):
                    source.backup(copy)
                self.settle(name)
        except BaseException:
            with contextlib.suppress(OSError):
                os.remove(name)
            raise

    @staticmethod
    def settle(path: str | os.PathLike[str]) -> None:
        """Make a closed ledger one file with no other beside it, to be kept or carried away. LedgerError LEDGER."""
        try:
            with closing(sqlite3.connect(path, isolation_level=None)) as copy:
                copy.execute("PRAGMA journal_mode=DELETE")
        except sqlite3.Error as error:
            raise LedgerError(errors.LEDGER, f"The copy {os.fspath(path)} cannot be used: {error}.") from error
        sync_folder(path)

    def _now(self) -> int:
        return minutes(self.clock())


def _schema(connection: sa.Connection) -> dict[tuple[str, str], tuple[str, str]]:
    """Of an SQLite ledger: kind and name -> table, and the text it was made by, however that is broken into lines."""
    query = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY tbl_name, type, name"
    return {(row[0], row[1]): (row[2], " ".join(row[3].split())) for row in connection.exec_driver_sql(query)}


@functools.cache
def _made_schema() -> dict[tuple[str, str], tuple[str, str]]:
    """What ``_schema`` gives of a ledger as it is made."""
    engine = sa.create_engine("sqlite://")
    with engine.begin() as connection:
        schema.create_tables(connection)
        made = _schema(connection)
    engine.dispose()
    return made


def _prepare_sqlite(connection: Any, record: Any) -> None:
    # Autocommit in the driver's eyes, so that BEGIN is ours to say; a commit is on the disk when it returns.
    connection.isolation_level = None
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
