"""``icgas cut``: cut the power and pull the card everywhere, in every flow, and say what came of it."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from typing import Any
from xml.etree import ElementTree

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from gasrig import counter_cut
from gasrig.counter_cut import NoCaseError
from gasrig.cut import Counts, Cutter, Found, flow_names
from gasrig.sharing import StateOutsideError, remembered
from gasrig.targets import TARGETS, TargetError, open_target, unavailable

__all__ = ["ALL_FLOWS", "command", "cut_flows"]

VIOLATED = 3  # exit code: a violation, or a flow whose fault never fired
ALL_FLOWS = (*flow_names(), *counter_cut.HALL_FLOWS)

Report = Callable[[str, int], None]


def cut_flows(
    names: Sequence[str],
    *,
    target: str = "cpython",
    depth: int = 1,
    shard: tuple[int, int] = (1, 1),
    case: str | None = None,
    whole: bool = False,
    report: Report | None = None,
    done: Callable[[str, Counts], None] | None = None,
) -> tuple[Counts, dict[str, Counts]]:
    """Cut these flows: (all of them together, what came of each). TargetError.

    What two flows share counts for both and once in the sum.

    ``depth`` 2 cuts power-up too; ``shard`` (K, N) tries every Nth state; ``whole`` plays every power-up, also one that
    is shown to be the same as another; ``report`` hears of the states, ``done`` of each flow when it is over.
    """
    results: dict[str, Counts] = {}
    total = Counts()
    with ExitStack() as stack:
        cutter: Cutter | None = None
        for name in names:
            if name in counter_cut.HALL_FLOWS:
                with remembered() if case is None and not whole else nullcontext():
                    result = counter_cut.run(name, depth, shard, case, _hall_report(name, total.states, report))
                result.own = result.fired
                total.add(result)
            else:
                if cutter is None:
                    meters = [stack.enter_context(open_target(target)) for _ in range(2)]
                    cutter = Cutter(*meters, depth=depth, shard=shard, case=case, report=report, whole=whole)
                before = Counts(cutter.states, cutter.fired)
                result = cutter.run(name)
                fresh = Counts(cutter.states - before.states, cutter.fired - before.fired, 0, result.violations)
                total.add(fresh)
            results[name] = result
            if done is not None:
                done(name, result)
    return total, results


def _hall_report(name: str, before: int, report: Report | None) -> Callable[[Counts], None] | None:
    return None if report is None else lambda counts: report(name, before + counts.states)


def command(argv: Sequence[str]) -> int:
    """``icgas cut``. The exit code is 0 if all held, 3 if not or if a flow's fault never fired, 2 for wrong usage."""
    options = _options(argv)
    if reason := unavailable(options.target):
        return _refused(2, f"{options.target}: {reason}")
    names = list(ALL_FLOWS) if options.flow in (None, "all") else [options.flow]
    if unknown := [name for name in names if name not in ALL_FLOWS]:
        return _refused(2, f"no flow is called {unknown[0]!r}; there are {', '.join(map(repr, ALL_FLOWS))}")
    if options.case is not None and len(names) != 1:
        return _refused(2, "--case needs --flow NAME")
    if options.junit and (reason := _unwritable(options.junit)):
        return _refused(2, f"--junit {options.junit}: {reason}; name a file in a folder that may be written")
    start = time.perf_counter()
    try:
        total, results = _watched(names, options)
    except (TargetError, StateOutsideError) as error:
        return _refused(1, str(error))
    except NoCaseError:
        total, results = Counts(), {}
    if options.case is not None and not total.fired:
        where = "copy it from a violation's command, with its --depth and --target"
        return _refused(2, f"flow {names[0]!r} has no case {options.case!r}; {where}")
    result = _summary(total, results, options, time.perf_counter() - start)
    if options.junit:
        _write_junit(options.junit, results)
    if options.json:
        print(json.dumps(result))
    else:
        _print(result)
    silent = [] if options.case else [name for name, counts in results.items() if not counts.own]
    if silent:
        said = ", ".join(map(repr, silent))
        smaller = "; this shard has none of their states: take a smaller N" if options.shard[1] > 1 else ""
        print(f"icgas cut: no fault has fired in flow {said}{smaller}", file=sys.stderr)
    return VIOLATED if result["violations"] or silent else 0


def _unwritable(path: str) -> str | None:
    try:
        with open(path, "a", encoding="utf-8"):
            return None
    except OSError as error:
        return error.strerror


def _refused(code: int, reason: str) -> int:
    print(f"icgas cut: {reason}", file=sys.stderr)
    return code


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="icgas cut",
        description="Cut the power at every byte a meter stores, pull the card at every byte written to it, kill the "
        "hall at every commit; the gas must still add up.",
        epilog="Exit code 0: all held; 3: a violation, or a flow in which nothing fired; 2: wrong usage; 1: the target "
        "failed.",
    )
    parser.add_argument("--flow", metavar="NAME", help="one flow, or all (default)")
    parser.add_argument("--depth", type=int, choices=(1, 2), default=1, help="2: cut again while the meter recovers")
    parser.add_argument("--shard", type=_shard, default=(1, 1), metavar="K/N", help="each Nth write or pull")
    parser.add_argument("--target", choices=TARGETS, default="cpython", help="where the firmware runs")
    parser.add_argument("--case", metavar="CASE", help="one case of one flow, as a violation names it")
    parser.add_argument("--whole", action="store_true", help="play every power-up, also those shown to be the same")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument("--junit", metavar="FILE", help="write a JUnit report")
    return parser.parse_args(argv)


def _shard(text: str) -> tuple[int, int]:
    shard, _, shards = text.partition("/")
    if not (shard.isdecimal() and shards.isdecimal() and 1 <= int(shard) <= int(shards)):
        raise argparse.ArgumentTypeError(f"{text!r} is no shard: K/N with K from 1 to N")
    return int(shard), int(shards)


def _watched(names: Sequence[str], options: argparse.Namespace) -> tuple[Counts, dict[str, Counts]]:
    console = Console(stderr=True)
    wanted = {name: getattr(options, name) for name in ("target", "depth", "shard", "case", "whole")}
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[states]} states"))
    quiet = not console.is_terminal
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True, disable=quiet) as bar:
        task = bar.add_task("cutting", total=len(names), states=0)

        def report(name: str, states: int) -> None:
            bar.update(task, description=name, states=states)

        def done(name: str, counts: Counts) -> None:
            bar.advance(task)
            if quiet:
                told = f"{counts.states} states, {counts.fired} fired, {len(counts.violations)} violations"
                print(f"icgas cut: {name}: {told}", file=sys.stderr)

        return cut_flows(names, report=report, done=done, **wanted)


def _command_of(found: Found, target: str) -> str:
    where = "" if target == "cpython" else f" --target {target}"
    depth = " --depth 2" if "/again/" in found.case or "/then" in found.case else ""
    return f'icgas cut --flow "{found.flow}" --case "{found.case}"{depth}{where}'


def _summary(total: Counts, results: dict[str, Counts], options: argparse.Namespace, seconds: float) -> dict[str, Any]:
    return {
        "target": options.target,
        "depth": options.depth,
        "shard": "/".join(map(str, options.shard)),
        "states": total.states,
        "fired": total.fired,
        "violations": len(total.violations),
        "seconds": round(seconds, 1),
        "flows": [
            {"name": name, "states": counts.states, "fired": counts.fired, "violations": len(counts.violations)}
            for name, counts in results.items()
        ],
        "found": [
            {**violation._asdict(), "command": _command_of(violation, options.target)}
            for violation in sorted(total.violations)
        ],
    }


def _print(result: dict[str, Any]) -> None:
    console = Console()
    table = Table("flow", title=f"{result['target']}, depth {result['depth']}, shard {result['shard']}")
    for name in ("states", "faults fired", "violations"):
        table.add_column(name, justify="right")
    for flow in result["flows"]:
        table.add_row(flow["name"], f"{flow['states']:,}", f"{flow['fired']:,}", str(flow["violations"]))
    table.add_section()
    counts = (f"{result['states']:,}", f"{result['fired']:,}", str(result["violations"]))
    table.add_row("all, what they share once", *counts)
    console.print(table)
    for found in result["found"][:20]:
        text = f"{found['flow']}: {found['text']}\n  {found['command']}"
        console.print(text, style="red", markup=False, soft_wrap=True)
    if len(result["found"]) > 20:
        console.print(f"... and {len(result['found']) - 20} more; --json gives them all")


def _write_junit(path: str, results: dict[str, Counts]) -> None:
    failed = sum(bool(counts.violations) or not counts.own for counts in results.values())
    suite = ElementTree.Element("testsuite", name="icgas cut", tests=str(len(results)), failures=str(failed))
    for name, counts in results.items():
        case = ElementTree.SubElement(suite, "testcase", classname="icgas.cut", name=name)
        said = [f"{found.case}: {found.text}" for found in counts.violations]
        if not counts.own:
            said.append("no fault has fired")
        if said:
            ElementTree.SubElement(case, "failure", message=said[0]).text = "\n".join(said)
    ElementTree.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)
