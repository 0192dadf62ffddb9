"""A whole estate opened from a list (批量开户): a CSV file is judged as a whole, then its cards are made.

Each row is an opening like any other (``opening``), under the same prices, limits, shift and stock. What a batch adds
is that rows go side by side where their cards can: a group's rows are booked in one transaction, and so is each step of
their cards. The order of things stays what it is for one card (DESIGN D5): the row with its exact frame before any
byte on the card, a password byte announced before it is written. Whatever goes wrong in a group, its rows are then
taken one by one, as a clerk would repeat them; and so are those of a batch that died.
"""

import csv
import hashlib
import io
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from gashall import errors, opening, shifts, stock, units
from gashall.books import Books
from gashall.counter import Counter, Sale, check_reader, sale_of
from gashall.encode import Card
from gashall.errors import CardError, GasError, LedgerError, ReaderError, RequestError
from gashall.files import open_regular, sync_folder, write_new
from gashall.labels import both
from gashall.opening import Opening
from gashall.page import WIDE, Table, page
from gashall.readers.base import Reader
from gashall.readers.file import SIDECAR, FileReader
from gashall.rows import Binding, CardRow, MeterRow, Order

REQUIRED = ("meter", "name", "volume", "initial_reading")
VOLUMES = ("alarm", "ceiling", "overdraft")
WHOLE = ("pulse_weight", "wheel_digits", "over_flow_seconds", "key_version", "issue_batch")
COLUMNS = (*REQUIRED, "account", *VOLUMES, *WHOLE)
"""What a batch file's first line may name, in any order; the first four it must."""
_FILLED = ("meter", "volume", "initial_reading")

DEFAULTS: Mapping[str, Any] = {
    "volume": 0,
    "name": "",
    "account": None,
    "initial_reading": 0,
    "alarm": 5,
    "ceiling": 1000,
    "overdraft": 0,
    "pulse_weight": 2,
    "wheel_digits": 5,
    "over_flow_seconds": 0,
    "key_version": 1,
    "issue_batch": 0,
}
"""As ``Hall.open_account``."""

FILE_MOST = 32 << 20
ATTEMPTS = 3
"""Cards tried for one row: where three fail it is not the cards."""
GROUP = 50

RESULTS = "results.csv"
MARK = "list.sha256"
"""In a folder of cards: the list they are of, as sha256sum writes it."""
GOOD = "good"
BAD = "bad"

Report = Callable[[int, int], None]
"""Told after each group: rows finished, rows in all."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a row cannot be opened. ``line`` counts from 1 as an editor does; 0: it is of the whole file."""

    line: int
    error: GasError

    def __str__(self) -> str:
        return f"line {self.line}: {self.error}" if self.line else str(self.error)


@dataclass(frozen=True, slots=True)
class Row:
    """A row that is an opening: its line, what ``open_account`` is asked for, and the same checked."""

    line: int
    particulars: Mapping[str, Any]
    request: Opening

    @property
    def meter(self) -> str:
        """The meter's number."""
        return self.request.meter.number


@dataclass(frozen=True, slots=True)
class Judged:
    """A batch file read and judged; nothing is written yet."""

    rows: tuple[Row, ...]
    problems: tuple[Problem, ...]
    finished: Mapping[int, Sale]
    """Line -> the opening an earlier run has made."""
    name: str
    """The file's name, without its folder."""
    digest: str
    """SHA-256 of the file, in hex."""

    @property
    def volume(self) -> Decimal:
        """First gas of all rows in m³."""
        hundredths = sum(row.request.pulses * 10 ** (2 - row.request.meter.pulse_weight) for row in self.rows)
        return units.volume(hundredths, 2)


@dataclass(frozen=True, slots=True)
class Made:
    """A row and its card."""

    line: int
    sale: Sale
    earlier: bool
    """Whether an earlier run had made it."""
    place: str
    """Where the card is, as the cards' keeper calls it."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What a run has done."""

    made: tuple[Made, ...]
    left: tuple[int, ...]
    """Lines not opened, or not finished."""
    bad: tuple[tuple[int, str, GasError], ...]
    """Cards that failed: line, where the card is, why."""
    stopped: Problem | None
    """Why the batch ended before its end."""


class Cards(Protocol):
    """Who hands out blank cards and takes the finished ones."""

    group: int
    """How many cards may be in readers at the same time."""

    def begin(self, judged: Judged) -> None:
        """The batch begins, or goes on; nothing was written yet. RequestError if its cards are not of this list."""

    def take(self, row: Row) -> Reader:
        """The card begun for ``row``, else a blank one. An error ends the batch."""

    def put(self, row: Row, reader: Reader, error: GasError | None) -> str:
        """The card is good (None) or failed by ``error``; what its place is called."""

    def settle(self, row: Row, is_card: Callable[[Reader], bool]) -> str:
        """``row`` was finished by an earlier run, on the card ``is_card`` tells; what its place is called."""


class NextBlank:
    """Cards one after the other from a function that gives the reader with the next blank card."""

    group = 1

    def __init__(self, next_blank: Callable[[], Reader]) -> None:
        self._next = next_blank

    def begin(self, judged: Judged) -> None:
        """Nothing to do."""

    def take(self, row: Row) -> Reader:
        """Another card, whatever became of the last."""
        return self._next()

    def put(self, row: Row, reader: Reader, error: GasError | None) -> str:
        """Whoever feeds the reader knows where the card goes."""
        return ""

    def settle(self, row: Row, is_card: Callable[[Reader], bool]) -> str:
        """Nothing to do."""
        return ""


_NEW = f"{MARK}.new"


class CardFolder:
    """Card files in a folder: begun in it, finished in ``good`` and failed in ``bad`` below it.

    A row's file bears its line and meter, and from its second card on a number. A file and its sidecar move one after
    the other, the sidecar first; a move that was cut short is ended when the batch goes on. A mark says which list the
    cards are of: by another one they would be taken for other rows' cards.
    """

    group = GROUP

    def __init__(self, folder: str | os.PathLike[str], *, resume: bool = False) -> None:
        """``folder`` must not hold anything; with ``resume`` a batch must have begun in it. RequestError FIELD."""
        self.folder = Path(folder)
        self._resume = resume
        self._begun: dict[str, Path] = {}
        self._names: set[str] = set()
        with self._usable():
            if resume and not self.has_begun():
                raise RequestError(
                    errors.FIELD,
                    f"No batch was begun in the folder {self.folder}.",
                    "Give the folder it was begun in, the one above good and bad; a new batch begins without --resume.",
                )
            # A mark half made is of a run that died before it did anything.
            if not resume and self.folder.exists() and any(name.name != _NEW for name in self.folder.iterdir()):
                raise RequestError(
                    errors.FIELD,
                    f"The folder {self.folder} is not empty.",
                    "Give a new folder, or --resume to go on with the batch begun in it.",
                )

    def has_begun(self) -> bool:
        """Whether a batch was begun in the folder."""
        return (self.folder / MARK).is_file()

    def begin(self, judged: Judged) -> None:
        """Make the folder for this list, or check that it is this list's. RequestError FIELD."""
        with self._usable():
            if self._resume:
                self._check_mark(judged)
            else:
                self._mark(judged)
            for tray in (GOOD, BAD):
                (self.folder / tray).mkdir(mode=0o700, exist_ok=True)
            self._end_moves()
            self._begun = {name.name: name for name in self.folder.glob("*.bin")}
            self._names = set(self._begun)
            for tray in (GOOD, BAD):
                self._names |= {name.name for name in (self.folder / tray).glob("*.bin")}

    @contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise RequestError(
                errors.FIELD, f"The folder {self.folder} cannot be used: {why}.", "Correct it, or make room."
            ) from None

    def _mark(self, judged: Judged) -> None:
        """Say whose cards these will be, before the first is made; whole or not at all."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        new = self.folder / _NEW
        new.unlink(missing_ok=True)
        write_new(new, os.fsencode(f"{judged.digest}  {judged.name}\n"))
        new.rename(self.folder / MARK)
        sync_folder(new)

    def _check_mark(self, judged: Judged) -> None:
        with open_regular(self.folder / MARK) as file:
            digest, _, name = file.read(1000).decode(errors="replace").strip().partition("  ")
        if digest != judged.digest:
            raise RequestError(
                errors.FIELD,
                f"The folder {self.folder} holds the batch of another list, {units.shown(name)}; "
                f"{units.shown(judged.name)} is not that list as it was.",
                "Give the folder of this list, or the very list the batch was begun with; "
                "another list begins in a new folder, without --resume.",
            )

    def take(self, row: Row) -> Reader:
        """The file begun for ``row`` if there is one, else a new blank card."""
        stem = self._stem(row)
        number, name = 1, f"{stem}.bin"
        while name in self._names:
            if name in self._begun:
                return FileReader(self._begun[name])
            number += 1
            name = f"{stem}-{number}.bin"
        self._names.add(name)
        self._begun[name] = self.folder / name
        return FileReader.blank(self._begun[name])

    def put(self, row: Row, reader: Reader, error: GasError | None) -> str:
        """Move the card's file to its tray."""
        assert isinstance(reader, FileReader)
        return self._move(Path(reader.path).name, GOOD if error is None else BAD)

    def settle(self, row: Row, is_card: Callable[[Reader], bool]) -> str:
        """Move what the earlier run had not come to move: the card itself to ``good``, any other to ``bad``."""
        place, number, name = "", 1, f"{self._stem(row)}.bin"
        while name in self._names:
            if name in self._begun:
                good = is_card(FileReader(self._begun[name]))
                moved = self._move(name, GOOD if good else BAD)
                place = moved if good else place
            elif (self.folder / GOOD / name).exists():
                place = f"{GOOD}/{name}"
            number += 1
            name = f"{self._stem(row)}-{number}.bin"
        return place

    def _stem(self, row: Row) -> str:
        return f"{row.line:05d}-{row.meter}"

    def _move(self, name: str, tray: str) -> str:
        try:
            with suppress(FileNotFoundError):
                os.replace(self.folder / f"{name}{SIDECAR}", self.folder / tray / f"{name}{SIDECAR}")
            os.replace(self.folder / name, self.folder / tray / name)
        except OSError as error:
            raise ReaderError(
                errors.READER, f"The card file {name} cannot be moved to {tray}: {error.strerror}."
            ) from None
        self._begun.pop(name, None)
        return f"{tray}/{name}"

    def _end_moves(self) -> None:
        for tray in (GOOD, BAD):
            for sidecar in (self.folder / tray).glob(f"*.bin{SIDECAR}"):
                name = sidecar.name.removesuffix(SIDECAR)
                if (self.folder / name).exists() and not (self.folder / tray / name).exists():
                    os.replace(self.folder / name, self.folder / tray / name)


# ---------------------------------------------------------------------- judging


def judge(counter: Counter, path: str | os.PathLike[str], *, resume: bool = False) -> Judged:
    """Read the batch file ``path`` and judge every row; see ``Hall.judge_batch``."""
    problems: list[Problem] = []
    rows: list[Row] = []
    data = _read(os.fspath(path))
    for line, cells in _lines(data, problems):
        found, row = _row(line, cells)
        problems += [Problem(line, error) for error in found]
        if row is not None:
            rows.append(row)
    _find_twins(rows, problems)
    finished: dict[int, Sale] = {}
    with counter.ledger.look() as books:
        _judge_by_ledger(counter, books, rows, problems, finished, resume)
    if not rows and not problems:
        problems.append(Problem(0, RequestError(errors.FIELD, "The batch file has no rows.", "Give a file with rows.")))
    problems.sort(key=lambda problem: problem.line)
    digest = hashlib.sha256(data).hexdigest()
    return Judged(tuple(rows), tuple(problems), finished, os.path.basename(os.fspath(path)), digest)


def _read(name: str) -> bytes:
    try:
        with open_regular(name) as file:
            data = file.read(FILE_MOST + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise RequestError(errors.FIELD, f"The batch file {name} cannot be read: {why}.", "Correct its path.") from None
    if len(data) > FILE_MOST:
        raise RequestError(errors.FIELD, f"{name} has more than {FILE_MOST} bytes.", "Divide the estate.")
    return data


def _lines(data: bytes, problems: list[Problem]) -> Iterator[tuple[int, dict[str, str]]]:
    """Each row's line and its cells by column; what is no row goes to ``problems``."""
    remedy = "Save the table as CSV: UTF-8, comma between cells."
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problems.append(Problem(line, RequestError(errors.FIELD, "This line is no UTF-8.", remedy)))
        return
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    columns: list[str] | None = None
    line = 0
    try:
        for cells in reader:
            line, here = reader.line_num, line + 1
            cells = [cell.strip() for cell in cells]
            if not any(cells):
                continue
            if columns is None:
                columns = [cell.lower() for cell in cells]
                wrong = [column for column in columns if column not in COLUMNS]
                wrong += [column for column in set(columns) if columns.count(column) > 1]
                missing = [column for column in REQUIRED if column not in columns]
                if wrong or missing:
                    separator = _separator(cells)
                    if separator is not None:
                        problems.append(Problem(here, RequestError(errors.FIELD, *separator)))
                        return
                    told = [f"unknown or twice: {', '.join(map(_named, wrong))}"] if wrong else []
                    told += [f"missing: {', '.join(missing)}"] if missing else []
                    error_here = RequestError(
                        errors.FIELD,
                        f"The first line does not name the columns ({'; '.join(told)}).",
                        f"Name them, comma between: {', '.join(COLUMNS)}; the first {len(REQUIRED)} must be there.",
                    )
                    problems.append(Problem(here, error_here))
                    return
            elif len(cells) > len(columns):
                told_here = f"The line has {len(cells)} cells; the first line names {len(columns)}."
                problems.append(Problem(here, RequestError(errors.FIELD, told_here, "Correct its commas and quotes.")))
            else:
                yield here, dict(zip(columns, cells + [""] * (len(columns) - len(cells)), strict=True))
    except csv.Error as error:
        told_here = f"From here on it is no CSV: {error}."
        problems.append(Problem(line + 1, RequestError(errors.FIELD, told_here, remedy)))


def _separator(cells: Sequence[str]) -> tuple[str, str] | None:
    """What is to be said of a first line that another separator than the comma stands in, and the remedy."""
    if re.fullmatch("sep=.?", cells[0], re.IGNORECASE):
        return "The first line is a spreadsheet's sep= line.", "Take it out: the first line names the columns."
    for mark, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(cells) == 1 and mark in cells[0]:
            return f"The columns are divided by {name}.", "Save the table as CSV with a comma between cells."
    return None


def _named(column: str) -> str:
    """A column's name as it is told: of a word only. A key file given for a list is not printed."""
    return units.shown(column) if re.fullmatch("[A-Za-z_]{1,20}", column) else "what is no word"


def _row(line: int, cells: dict[str, str]) -> tuple[list[GasError], Row | None]:
    """What is wrong with a row, else the row."""
    wrong: list[GasError] = [
        RequestError(errors.FIELD, f"There is no {name}.", f"Every row has a {name}.")
        for name in _FILLED
        if not cells[name]
    ]
    values: dict[str, Any] = dict(DEFAULTS)
    for name, text in cells.items():
        if not text or name == "meter":
            continue
        if name in WHOLE:
            if not re.fullmatch("[0-9]{1,10}", text):
                told = f"{name} is a whole number, not {units.shown(text)}."
                wrong.append(RequestError(errors.FIELD, told, f"Correct {name}."))
                continue
            values[name] = int(text)
        else:
            values[name] = text
    if cells["meter"]:
        values["meter"] = cells["meter"]
        if not wrong:
            try:
                return [], Row(line, values, _checked(values))
            except RequestError:
                pass  # each of them is looked for below
    return [*wrong, *_wrong_values(values)], None


def _wrong_values(values: dict[str, Any]) -> Iterator[GasError]:
    """What is wrong with each value by itself, beside values that are sound."""
    sound: dict[str, Any] = {**DEFAULTS, "meter": "0" * 14}
    # In what the counter counts decides what the other figures may be.
    weights = ("pulse_weight", "wheel_digits")
    for name in (*weights, *[name for name in values if name not in weights]):
        try:
            _checked(sound | {name: values[name]})
        except RequestError as error:
            yield error
        else:
            if name in weights:
                sound[name] = values[name]


def _checked(values: Mapping[str, Any]) -> Opening:
    meter = MeterRow(units.meter_number(values["meter"]), values["pulse_weight"], 0, values["key_version"], 0)
    rest = {name: value for name, value in values.items() if name not in ("meter", "pulse_weight", "key_version")}
    return opening.check_opening(meter, fen=None, price_agreed=False, **rest)


def _find_twins(rows: Sequence[Row], problems: list[Problem]) -> None:
    for what in ("meter", "account"):
        first: dict[str, int] = {}
        for row in rows:
            number = row.meter if what == "meter" else row.request.account
            if number is None:
                continue
            if number in first:
                told = f"{what} {number} stands in line {first[number]} already."
                problems.append(Problem(row.line, RequestError(errors.FIELD, told, "Take one of the two out.")))
            first.setdefault(number, row.line)


def _judge_by_ledger(
    counter: Counter,
    books: Books,
    rows: Sequence[Row],
    problems: list[Problem],
    finished: dict[int, Sale],
    resume: bool,
) -> None:
    """Whether each row could be opened now, and all of them out of the stock."""
    rules = books.rules(counter.now())
    shift = rules.shift
    try:
        shifts.check(rules)
    except LedgerError as error:
        problems.append(Problem(0, error))
        return
    needed = 0
    for row in rows:
        try:
            made = opening.finished_opening(books, row.request) if resume else None
            if made is not None:
                finished[row.line] = _sale(row, *made)
            elif opening.begun_opening(counter, books, row.request) is None:
                counter.terms(
                    books, row.request.account or "", row.request.pulses, row.request.meter, None, price_agreed=False
                )
                needed += 1
            elif not resume:
                raise LedgerError(
                    errors.PENDING_ELSEWHERE,
                    f"The opening of meter {row.meter} was begun already.",
                    "Finish it at the counter, or go on with the batch it is of: --resume.",
                )
        except GasError as error:
            problems.append(Problem(row.line, error))
    moves = books.stock()
    there = stock.store(moves) if shift is None else stock.hand(moves, shift)
    if moves and needed > there:
        whose = "the store" if shift is None else f"shift {shift}"
        told = f"By the stock {whose} has {units.counted(there, 'blank card')}; the rows need {needed}."
        problems.append(Problem(0, LedgerError(errors.STOCK_SHORT, told)))


def _sale(row: Row, card: CardRow, binding: Binding, order: Order) -> Sale:
    return sale_of(binding, order, row.request.meter.pulse_weight, resumed=True)


# ---------------------------------------------------------------------- making


def run(counter: Counter, judged: Judged, cards: Cards | Callable[[], Reader], report: Report | None = None) -> Batch:
    """Make the cards of all rows; see ``Hall.batch``."""
    refuse(judged)
    return _Run(counter, judged, NextBlank(cards) if callable(cards) else cards).run(report)


@dataclass(slots=True)
class _Job:
    """A row of a group, its blank card unlocked."""

    row: Row
    reader: Reader
    card: Card


class _Run:
    def __init__(self, counter: Counter, judged: Judged, cards: Cards) -> None:
        self.counter = counter
        self.judged = judged
        self.cards = cards
        self.made: dict[int, Made] = {}
        self.bad: list[tuple[int, str, GasError]] = []

    def run(self, report: Report | None) -> Batch:
        rows, finished = self.judged.rows, self.judged.finished
        stopped: Problem | None = None
        self.cards.begin(self.judged)
        for row in rows:
            if row.line in finished:
                place = self.cards.settle(row, partial(self._is_card, finished[row.line].card))
                self.made[row.line] = Made(row.line, finished[row.line], True, place)
        todo = [row for row in rows if row.line not in finished]
        size = max(self.cards.group, 1)
        line = 0
        try:
            for start in range(0, len(todo), size):
                group = todo[start : start + size]
                line = group[0].line
                if len(group) > 1:
                    self._group(group)
                for row in group:
                    line = row.line
                    if row.line not in self.made:
                        self._single(row)
                if report is not None:
                    report(len(self.made), len(rows))
        except GasError as error:
            stopped = Problem(line, error)
        left = tuple(row.line for row in rows if row.line not in self.made)
        made = tuple(self.made[row.line] for row in rows if row.line in self.made)
        return Batch(made, left, tuple(self.bad), stopped)

    def _is_card(self, number: int, reader: Reader) -> bool:
        """Whether the card is the one issued under ``number``: a half-made one bears it too, not its password."""
        try:
            with reader:
                card = self.counter.read_card(reader)
                return (
                    card.number == number
                    and card.order.authentic
                    and reader.present(self.counter.signer.card_psc(number))
                )
        except (CardError, ReaderError):
            return False

    def _single(self, row: Row) -> None:
        """One row as the counter opens it, on another card where one fails."""
        for _ in range(ATTEMPTS):
            reader = self.cards.take(row)
            check_reader(reader)
            try:
                sale = opening.open_account(self.counter, reader, **row.particulars)
            except (CardError, ReaderError) as error:
                self._put_bad(row, reader, error)
                continue
            self.made[row.line] = Made(row.line, sale, False, self.cards.put(row, reader, None))
            return
        raise CardError(
            errors.BATCH_STOPPED, f"{ATTEMPTS} cards in succession failed for meter {row.meter}: {self.bad[-1][2]}"
        )

    def _put_bad(self, row: Row, reader: Reader, error: GasError) -> None:
        self.bad.append((row.line, self.cards.put(row, reader, error), error))

    def _group(self, group: Sequence[Row]) -> None:
        """Rows side by side. Those that do not get to their end are left for ``_single``."""
        with ExitStack() as readers:
            jobs = self._unlock(group, readers)
            if not jobs:
                return
            try:
                with self.counter.ledger.begin() as books:
                    booked = [opening.book_opening(self.counter, books, job.row.request) for job in jobs]
            except GasError:
                return  # nothing was booked; one by one it shows whose error it is
            steps = [
                (job, row, binding, order, self.counter.issuing(job.reader, job.card, row, order.frame, presented=True))
                for job, (row, binding, order) in zip(jobs, booked, strict=True)
            ]
            while steps:
                going = []
                for step in steps:
                    # One that fails is a row begun: it is finished or put aside by ``_single``, as if it had died.
                    with suppress(CardError, ReaderError):
                        going.append((step, next(step[4])))
                steps = []
                try:
                    with self.counter.ledger.begin() as books:
                        for (_, row, _, order, _), (psc_bytes, issued) in going:
                            self.counter.mark_issue(books, row, order, psc_bytes, issued)
                except LedgerError as error:
                    if error.code != errors.PENDING_ELSEWHERE:
                        raise
                    return  # another window has issued one of them: one by one it shows which
                for step, (_, issued) in going:
                    if issued:
                        self._finish(*step[:4])
                    else:
                        steps.append(step)

    def _unlock(self, group: Sequence[Row], readers: ExitStack) -> list[_Job]:
        jobs = []
        with self.counter.ledger.look() as books:
            fresh = [row for row in group if books.binding_on(row.meter) is None]
        for row in fresh:
            reader = self.cards.take(row)
            try:
                readers.enter_context(reader)
                card = self.counter.read_card(reader)
                opening.unlock_blank(reader, card)
            except (CardError, ReaderError) as error:
                reader.disconnect()
                self._put_bad(row, reader, error)
                continue
            jobs.append(_Job(row, reader, card))
        return jobs

    def _finish(self, job: _Job, row: CardRow, binding: Binding, order: Order) -> None:
        job.reader.disconnect()
        with self.counter.ledger.look() as books:
            written = books.last_order(binding.id)
        assert written is not None
        sale = sale_of(binding, written, job.row.request.meter.pulse_weight, resumed=False)
        self.made[job.row.line] = Made(job.row.line, sale, False, self.cards.put(job.row, job.reader, None))


def refuse(judged: Judged) -> None:
    """RequestError BATCH_ROWS if a row cannot be opened."""
    if judged.problems:
        count = len(judged.problems)
        raise RequestError(errors.BATCH_ROWS, f"{count} found in the batch file; the first: {judged.problems[0]}")


HEAD = ("line", "result", "meter", "account", "card", "m3", "yuan", "file", "message")
OPENED = "opened"
EARLIER = "opened earlier"
FAILED = "card failed"
NOT_OPENED = "not opened"


def results(batch: Batch) -> str:
    """The result as CSV: a row for each row opened, each card that failed, and each row left."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([HEAD, *_rows(batch)])
    return text.getvalue()


def printed(batch: Batch) -> str:
    """The same as a page, for the second person to tick off against the cards and sign (DOMAIN 1.18)."""
    head = tuple(words.replace("m3", "m³") for words in HEAD)
    rows = [(row[0], both(str(row[1])), *row[2:]) for row in _rows(batch)]
    return page("batch list", [Table(head, rows, frozenset({5, 6}))], sign=("made by", "checked by"), paper=WIDE)


def _rows(batch: Batch) -> Iterator[tuple[object, ...]]:
    for made in batch.made:
        sale = made.sale
        yuan = "" if sale.fen is None else units.yuan(sale.fen)
        word = EARLIER if made.earlier else OPENED
        yield (made.line, word, sale.meter, sale.account, sale.card, sale.volume, yuan, made.place, "")
    for line, place, error in batch.bad:
        yield (line, FAILED, "", "", "", "", "", place, str(error))
    for line in batch.left:
        told = str(batch.stopped.error) if batch.stopped is not None and batch.stopped.line == line else ""
        yield (line, NOT_OPENED, "", "", "", "", "", "", told)


def write_results(folder: Path, batch: Batch) -> str:
    """Put ``results`` into the folder, whole or not at all; its path. RequestError FIELD if it cannot be written."""
    path = folder / RESULTS
    try:
        new = path.with_suffix(".new")
        # The mark is for spreadsheets, which else take UTF-8 for something older.
        new.write_text("\ufeff" + results(batch), encoding="utf-8")
        os.replace(new, path)
    except OSError as error:
        raise RequestError(
            errors.FIELD, f"{path} cannot be written: {error.strerror}.", "The cards are made; make room, --resume."
        ) from None
    return str(path)
