"""Collects what the benchmarks measure into one table, printed at the end and written to ``build/bench.json``.

A test declares its rows with a marker, ``key=(name, unit, goal)``, and fills them in by key::

    @pytest.mark.rows(encode=("cards encoded", "1/s", "≥ 10000"))
    def test_...(record): record(encode=12345)

A goal is ``≤ number``, ``≥ number`` or None. A row whose test was skipped or failed stays in the table without a
value and with the reason. No test here fails because a figure misses its goal.
"""

import json
import os
import statistics
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from gasrig import mpy, targets

TITLES = ("name", "value", "unit", "goal", "met")
VERDICTS = {True: "yes", False: "NO", None: "—"}


class Table:
    """Rows in the order in which the tests stand. ``details`` go to the file only."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], dict[str, Any]] = {}
        self.details: list[dict[str, Any]] = []

    def declare(self, test: str, key: str, name: str, unit: str, goal: str | None) -> None:
        self.rows[test, key] = {"name": name, "value": None, "unit": unit, "goal": goal, "met": None}

    def fill(self, test: str, key: str, value: float | None, note: str = "") -> None:
        row = self.rows[test, key]
        row["value"] = rounded(value)
        row["met"] = met(value, row["goal"])
        if note:
            row["note"] = note

    def excuse(self, test: str, reason: str) -> None:
        """Say of every row ``test`` has not filled why there is no value."""
        for (owner, _), row in self.rows.items():
            if owner == test and row["value"] is None:
                row.setdefault("note", reason)

    def text(self) -> Iterator[str]:
        notes: list[str] = []
        lines = [TITLES]
        for row in self.rows.values():
            mark = ""
            if row.get("note"):
                if row["note"] not in notes:
                    notes.append(row["note"])
                mark = f" [{notes.index(row['note']) + 1}]"
            value = "—" if row["value"] is None else f"{row['value']:,}"
            lines.append((row["name"] + mark, value, row["unit"], row["goal"] or "—", VERDICTS[row["met"]]))
        widths = [max(len(line[column]) for line in lines) for column in range(len(TITLES))]
        for line in lines:
            cells = [
                cell.rjust(width) if column == 1 else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            ]
            yield "  ".join(cells).rstrip()
            if line is TITLES:
                yield "  ".join("-" * width for width in widths)
        for number, note in enumerate(notes, start=1):
            yield f"[{number}] {note}"


def rounded(value: float | None) -> float | int | None:
    """Five figures are more than any of these measurements carries; counts stay whole."""
    if not isinstance(value, float):
        return value
    short = float(f"{value:.5g}")
    return int(short) if short == int(short) and abs(short) >= 1000 else short


def met(value: float | None, goal: str | None) -> bool | None:
    """Whether ``value`` is within ``goal``; None where there is neither or one."""
    if value is None or goal is None:
        return None
    sign, number = goal.split()
    limit = float(Fraction(number))
    return value <= limit if sign == "≤" else value >= limit


TABLE = pytest.StashKey[Table]()
COLLECTED = pytest.StashKey[set[str]]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "rows(**rows): the rows a benchmark fills, key=(name, unit, goal)")
    config.stash[TABLE] = Table()
    config.option.benchmark_quiet = True  # one table, ours


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    config.stash[COLLECTED] = {item.path.name for item in items}
    for item in items:
        for mark in item.iter_markers("rows"):
            for key, (name, unit, goal) in mark.kwargs.items():
                config.stash[TABLE].declare(item.nodeid, key, name, unit, goal)


def pytest_runtest_setup(item: pytest.Item) -> None:
    # A benchmark that cannot run leaves rows without a value and says why under the table; a required part fails.
    required = os.environ.get("ICGAS_REQUIRE", "").split(",")
    for mark in item.iter_markers("needs"):
        for part in mark.args:
            reason = mpy.unavailable() if part == "mpy-cross" else targets.unavailable(part)
            if reason and part in required:
                pytest.fail(f"ICGAS_REQUIRE names {part}, but: {reason}", pytrace=False)
            if reason:
                pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if call.excinfo is not None:
        reason = str(call.excinfo.value).splitlines() or [call.excinfo.typename]
        word = "skipped" if report.skipped else "failed"
        last = f" … {reason[-1].strip()}" if len(reason) > 1 else ""
        item.config.stash[TABLE].excuse(item.nodeid, f"{word}: {reason[0]}{last}")
    return report


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    table = config.stash[TABLE]
    if not table.rows:
        return
    terminalreporter.section("benchmarks")
    for line in table.text():
        terminalreporter.write_line(line)
    files = {path.name for path in Path(__file__).parent.glob("test_*.py")}
    if files != config.stash[COLLECTED]:
        terminalreporter.write_line("not all benchmarks were run: build/bench.json is left as it is")
        return
    out = config.rootpath / "build" / "bench.json"
    out.parent.mkdir(exist_ok=True)
    rows = [*table.rows.values(), *table.details]
    out.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    terminalreporter.write_line(f"written to {os.path.relpath(out)}")


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Callable[..., None]:
    """``record(key=value, …, note="")`` fills rows of this test; a value of None needs a note."""
    table = request.config.stash[TABLE]

    def fill(note: str = "", **values: float | None) -> None:
        for key, value in values.items():
            table.fill(request.node.nodeid, key, value, note)

    return fill


@pytest.fixture
def detail(request: pytest.FixtureRequest) -> Callable[[str, float, str], None]:
    """``detail(name, value, unit)`` adds a row without a goal that is written to the file and not printed."""
    details = request.config.stash[TABLE].details

    def add(name: str, value: float, unit: str) -> None:
        details.append({"name": name, "value": rounded(value), "unit": unit, "goal": None, "met": None, "detail": True})

    return add


@pytest.fixture
def vm_text() -> Callable[..., str]:
    """``vm_text("parts", "debit")``: programs of ``benchmarks/vm`` put together, to be run on a VM."""
    folder = Path(__file__).with_name("vm")
    return lambda *names: "\n".join((folder / f"{name}.py").read_text() for name in names)


@pytest.fixture
def rate(benchmark: Any) -> Callable[..., float]:
    """``rate(work, count, setup, rounds)``: how many of ``count`` things ``work(*args)`` does in a second.

    The median of ``rounds``; ``setup`` gives each round its ``(args, kwargs)`` and is not timed.
    """

    def measure(work: Callable[..., Any], count: int, setup: Callable[[], Any] | None = None, rounds: int = 7) -> float:
        benchmark.pedantic(work, setup=setup, rounds=rounds, iterations=1, warmup_rounds=1)
        return count / statistics.median(benchmark.stats.stats.data)

    return measure
