"""``icgas hall tool ...``, ``clear`` and ``close``: the company's own cards, a binding's end and an account's."""

import argparse
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from datetime import datetime
from typing import Any, TypeAlias

from gashall import errors
from gashall.errors import RequestError
from gashall.files import write_asked_for
from gashall.readers.base import Reader
from gashall.readers.file import FileReader
from gashall.services import Hall
from gashall.sizes import SIZES
from gashall.terms import KEY, MANAGEMENT, SETTING, TEST
from gashall.toolcards import GUARD_LIMITS, Tool, printed
from gashall.units import Clock

Arguments: TypeAlias = argparse.Namespace
Answer: TypeAlias = tuple[int, dict[str, Any], list[str]]
Service: TypeAlias = Callable[[Arguments, Clock | None], Answer]
Opener: TypeAlias = Callable[[Arguments, Clock | None], AbstractContextManager[Hall]]
Blank: TypeAlias = Callable[[Arguments], AbstractContextManager[Reader]]

# Kind of card -> the options it takes, by the names of their values, and which of them it needs.
KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    MANAGEMENT: (("purpose", "expires", "key_version"), ("purpose",)),
    SETTING: (
        ("purpose", "expires", "key_version", "meter", "clock", "index", "size", "limit", "pulse_weight"),
        ("purpose",),
    ),
    KEY: (("purpose", "meter", "version", "factory_keys"), ("purpose", "meter")),
    TEST: (("purpose", "meter", "volume"), ("purpose", "meter", "volume")),
}


def add(
    action: Callable[[str, Service, str], Any],
    group: Callable[[str, str], None],
    opened: Opener,
    blank: Blank,
    *,
    whole: Callable[[str], int],
    money: Callable[[str], int],
    moment: Callable[[str], datetime],
) -> None:
    """Add the subcommands; as ``gashall.grant_command.add``, ``moment`` reads a time."""

    def service(work: Callable[[Hall, Arguments], Answer]) -> Service:
        def run(arguments: Arguments, clock: Clock | None) -> Answer:
            with opened(arguments, clock) as hall:
                return work(hall, arguments)

        return run

    group("tool", "the company's own cards")
    issuing = action("tool issue", service(lambda hall, given: _issue(hall, given, blank, moment)), "make a tool card")
    issuing.add_argument("kind", choices=KINDS, help="what the card does")
    _takes_blank(issuing)
    for option, sign, words in (
        ("purpose", "TEXT", "for whom or what"),
        ("meter", "NUMBER", "14 digits: setting (every meter if not given), key, test"),
        ("expires", "TIME", "the last minute meters take it: management, setting"),
        ("clock", "TIME", "the clock is put to this: setting"),
        ("index", "M3", "the shown index, of one meter bound to nobody: setting"),
        ("volume", "M3", "the test gas: test"),
        ("factory-keys", "FILE", "the maker's file, for a meter's first keys: key"),
    ):
        issuing.add_argument(f"--{option}", metavar=sign, help=words)
    issuing.add_argument("--size", choices=SIZES, help="the guards' limits of meters of this size: setting")
    words = f"one limit of the guards, or the bits report or shut; {', '.join(GUARD_LIMITS)}: setting"
    issuing.add_argument("--limit", metavar="NAME=N", action="append", help=words)
    for option, words in (
        ("pulse-weight", "the meters' decimals of a m³, where none is named: setting"),
        ("key-version", "of the tool key, 1 if not given: management, setting"),
        ("version", "of the new keys, the next if not given: key"),
    ):
        issuing.add_argument(f"--{option}", metavar="N", type=whole, help=words)
    listing = action("tool list", service(_list), "print all tool cards")
    listing.add_argument("--page", metavar="FILE.html", help="write a page to be printed into this new file too")
    reading = action("tool read", service(_read), "read a tool card back; a management card is emptied")
    reading.add_argument("--card", metavar="FILE", required=True, help="the card file")
    ending = action("tool end", service(_end), "a tool card is taken back")
    ending.add_argument("number", metavar="NUMBER", type=whole, help="its card number")
    ending.add_argument("--card", metavar="FILE", help="the card file: what it orders is taken off it")
    ending.add_argument("--keys-taken", choices=("yes", "no"), help="of a key card that is lost: what the meter did")
    booking = action("tool meter", service(_meter), "book a meter bound to nobody, for cards that name it")
    booking.add_argument("meter", metavar="NUMBER", help="14 digits")
    for option, number, words in (
        ("pulse-weight", 2, "decimals of a m³ in one pulse, 0 to 2"),
        ("wheel-digits", 5, "the counter's digits before its decimal point"),
        ("key-version", 1, "version of the meter's keys"),
    ):
        booking.add_argument(f"--{option}", metavar="N", type=whole, default=number, help=f"{words}; {number}")
    keying = action("tool rekey", service(_rekey), "write a customer's card anew with the keys the meter has now")
    keying.add_argument("--card", metavar="FILE", required=True, help="the customer's card file")
    keying.add_argument("--rescue", action="store_true", help="spend the card's last password try")

    clearing = action("clear", service(lambda hall, given: _clear(hall, given, blank)), "make a clear card")
    _takes_blank(clearing)
    clearing.add_argument("--account", metavar="NUMBER", required=True, help="10 digits")
    clearing.add_argument("--meter", metavar="NUMBER", help="14 digits: one the account had, if not its present one")
    words = "another one for the same binding: the one that is out is lost, or no longer reads"
    clearing.add_argument("--again", action="store_true", help=words)
    _takes_approval(clearing)

    closing = action("close", service(_close), "close an account whose meter was cleared, and pay back what is left")
    closing.add_argument("--account", metavar="NUMBER", required=True, help="10 digits")
    closing.add_argument("--card", metavar="FILE", help="the customer's card file, which is taken back")
    closing.add_argument("--money", metavar="YUAN", type=money, help="what is paid back, if not what the gas cost")
    _takes_approval(closing)
    closing.add_argument("--out", metavar="FILE.html", help="write its slip as a page into this new file too")


def _takes_blank(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--card", metavar="FILE", required=True, help="card file of a blank card")
    parser.add_argument("--blank", action="store_true", help="make the card file first: a new blank card")


def _takes_approval(parser: argparse.ArgumentParser) -> None:
    for who in ("requester", "approver"):
        parser.add_argument(f"--{who}", metavar="NAME", required=True, help="who; not the same person twice")
    parser.add_argument("--reason", metavar="TEXT", required=True, help="why, for the file")


def _issue(hall: Hall, given: Arguments, blank: Blank, moment: Callable[[str], datetime]) -> Answer:
    taken, needed = KINDS[given.kind]
    words: dict[str, Any] = {}
    for name in sorted({name for options, _ in KINDS.values() for name in options}):
        value, option = getattr(given, name), "--" + name.replace("_", "-")
        if value is None and name in needed:
            raise RequestError(errors.FIELD, f"A {given.kind} card needs {option}.", f"Give {option}.")
        if value is not None and name not in taken:
            raise RequestError(errors.FIELD, f"A {given.kind} card takes no {option}.", "Leave it out.")
        if value is not None:
            words[name] = moment(value) if name in ("expires", "clock") else value
    if "limit" in words:
        words["guards"] = _guards(words.pop("limit"))
    service: Callable[..., Tool] = getattr(hall, f"issue_{given.kind}")
    with blank(given) as reader:
        return _made(service(reader, **words))


def _clear(hall: Hall, given: Arguments, blank: Blank) -> Answer:
    words = {name: getattr(given, name) for name in ("account", "meter", "again", "requester", "approver", "reason")}
    with blank(given) as reader:
        return _made(hall.issue_clear(reader, **words))


def _made(tool: Tool) -> Answer:
    lines = [tool.line().strip()]
    if tool.resumed:
        lines.append("This card had been begun earlier and was finished now; it was not made twice.")
    return 0, tool.record(), lines


def _guards(limits: list[str]) -> dict[str, int]:
    guards = {}
    for text in limits:
        name, _, number = text.partition("=")
        try:
            guards[name] = int(number, 0)
        except ValueError:
            raise RequestError(errors.FIELD, f"{text} is no limit.", "Give NAME=N, as idle_days=30.") from None
    return guards


def _list(hall: Hall, given: Arguments) -> Answer:
    tools = hall.tools()
    lines = [tool.line() for tool in tools] or ["There are none."]
    if given.page is not None:
        with hall.ledger.look() as books:
            now = books.moment(hall.counter.now())
        write_asked_for(given.page, printed(tools, now).encode())
        lines.append(f"page written to {given.page}")
    return 0, {"tools": [tool.record() for tool in tools]}, lines


def _read(hall: Hall, given: Arguments) -> Answer:
    told = hall.read_tool(FileReader(given.card))
    bad = any(report.error is not None for report in told.reports)
    return int(bad), told.record(), told.lines()


def _end(hall: Hall, given: Arguments) -> Answer:
    reader = None if given.card is None else FileReader(given.card)
    taken = None if given.keys_taken is None else given.keys_taken == "yes"
    tool = hall.end_tool(given.number, reader, keys_taken=taken)
    return 0, tool.record(), [tool.line().strip()]


def _meter(hall: Hall, given: Arguments) -> Answer:
    row = hall.add_meter(
        given.meter,
        pulse_weight=given.pulse_weight,
        wheel_digits=given.wheel_digits,
        key_version=given.key_version,
    )
    return 0, asdict(row), [f"meter {row.number} is booked, keys of version {row.key_version}"]


def _rekey(hall: Hall, given: Arguments) -> Answer:
    sale = hall.rekey(FileReader(given.card), rescue=given.rescue)
    return (
        0,
        asdict(sale),
        [f"card {sale.card} of account {sale.account} bears order {sale.sequence} with the new keys"],
    )


def _close(hall: Hall, given: Arguments) -> Answer:
    told = hall.close_account(
        given.account,
        requester=given.requester,
        approver=given.approver,
        reason=given.reason,
        fen=given.money,
        card=None if given.card is None else FileReader(given.card),
    )
    lines = told.lines()
    if told.resumed:
        lines.append("It had been closed before; nothing is paid twice.")
    if given.out is not None:
        write_asked_for(given.out, told.page().encode())
        lines.append(f"page written to {given.out}")
    return 0, told.record(), lines
