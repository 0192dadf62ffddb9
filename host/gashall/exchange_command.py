"""``icgas hall exchange``: another meter for an account, by transfer card or where the old one is dead."""

import argparse
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any, TypeAlias

from gashall.exchange import Exchange, NewMeter
from gashall.files import write_asked_for
from gashall.readers.base import Reader
from gashall.readers.file import FileReader
from gashall.replacement import REASONS
from gashall.services import Hall
from gashall.units import Clock

Arguments: TypeAlias = argparse.Namespace
Answer: TypeAlias = tuple[int, dict[str, Any], list[str]]
Service: TypeAlias = Callable[[Arguments, Clock | None], Answer]
Opener: TypeAlias = Callable[[Arguments, Clock | None], AbstractContextManager[Hall]]
Blank: TypeAlias = Callable[[Arguments], AbstractContextManager[Reader]]


def add(
    action: Callable[[str, Service, str], Any],
    group: Callable[[str, str], None],
    opened: Opener,
    blank: Blank,
    whole: Callable[[str], int],
) -> None:
    """Add the subcommands: ``opened`` opens the hall, ``blank`` the card to be issued."""

    def service(work: Callable[[Hall, Arguments], Exchange]) -> Service:
        def run(arguments: Arguments, clock: Clock | None) -> Answer:
            with opened(arguments, clock) as hall:
                told = work(hall, arguments)
            lines = told.lines()
            if getattr(arguments, "out", None) is not None:
                write_asked_for(arguments.out, told.page().encode())
                lines.append(f"page written to {arguments.out}")
            return 0, asdict(told), lines

        return run

    def begin(hall: Hall, given: Arguments) -> Exchange:
        with blank(given) as reader:
            return hall.begin_exchange(reader, account=given.account, meter=_meter(given), **_people(given))

    def again(hall: Hall, given: Arguments) -> Exchange:
        with blank(given) as reader:
            return hall.exchange_again(reader, account=given.account)

    def dead(hall: Hall, given: Arguments) -> Exchange:
        return hall.exchange_dead(
            account=given.account,
            meter=_meter(given),
            closing_index=given.closing_index,
            index_agreed=given.index_agreed,
            **_people(given),
        )

    def card(hall: Hall, given: Arguments) -> Exchange:
        with blank(given) as reader:
            return hall.exchange_card(
                reader,
                account=given.account,
                reason=given.reason,
                issue_batch=given.issue_batch,
                rescue=given.rescue,
            )

    group("exchange", "another meter for an account")
    beginning = action("exchange begin", service(begin), "make the transfer card that moves the gas to another meter")
    repeating = action("exchange again", service(again), "make another transfer card in place of a lost one")
    reading = action(
        "exchange read",
        service(lambda hall, given: hall.read_exchange(FileReader(given.card))),
        "read a transfer card back that was in the old meter",
    )
    writing = action("exchange card", service(card), "write the customer's card for the new meter")
    dying = action("exchange dead", service(dead), "declare the old meter dead and handed in")
    showing = action(
        "exchange show", service(lambda hall, given: hall.exchange(given.account)), "print how far an exchange is"
    )
    proving = action(
        "exchange proven",
        service(lambda hall, given: hall.exchange_proven(given.account)),
        "go on by the new meter's report, where no transfer card comes back",
    )
    for parser in (beginning, repeating, writing):
        words = "the customer's card file, or a blank one" if parser is writing else "card file of a blank card"
        parser.add_argument("--card", metavar="FILE", required=True, help=words)
        parser.add_argument("--blank", action="store_true", help="make the card file first: a new blank card")
    reading.add_argument("--card", metavar="FILE", required=True, help="the transfer card's file")
    showing.add_argument("--out", metavar="FILE.html", help="write it as a page to be printed into this new file too")
    for parser in (beginning, repeating, dying, showing, proving):
        parser.add_argument("--account", metavar="NUMBER", required=True, help="10 digits")
    writing.add_argument("--account", metavar="NUMBER", help="with a blank card: 10 digits")
    writing.add_argument("--reason", choices=REASONS, help="with a blank card: what became of the old one")
    writing.add_argument("--issue-batch", metavar="N", type=whole, default=0, help="batch a blank card belongs to; 0")
    writing.add_argument("--rescue", action="store_true", help="spend the card's last password try")
    dying.add_argument("--closing-index", metavar="M3", required=True, help="what the dead meter's wheels show")
    dying.add_argument("--index-agreed", action="store_true", help="it is meant, though above all gas sold")
    for parser in (beginning, dying):
        parser.add_argument("--new-meter", metavar="NUMBER", required=True, help="the new meter's 14 digits")
        parser.add_argument("--initial-reading", metavar="M3", required=True, help="the new meter's index")
        for name in ("alarm", "ceiling", "overdraft"):
            parser.add_argument(f"--{name}", metavar="M3", help="as before if not given")
        for option, default, words in (
            ("pulse-weight", None, "decimals of a m³ in one pulse; the old meter's"),
            ("wheel-digits", 5, "the counter's digits before its decimal point; 5"),
            ("over-flow-seconds", None, "seconds of over-flow until the valve shuts; as before"),
            ("key-version", 1, "version of the new meter's keys; 1"),
        ):
            parser.add_argument(f"--{option}", metavar="N", type=whole, default=default, help=words)
        for who in ("requester", "approver"):
            parser.add_argument(f"--{who}", metavar="NAME", required=True, help="who; not the same person twice")
        parser.add_argument("--reason", metavar="TEXT", required=True, help="why, for the file")


def _meter(given: Arguments) -> NewMeter:
    return NewMeter(
        number=given.new_meter,
        initial_reading=given.initial_reading,
        pulse_weight=given.pulse_weight,
        wheel_digits=given.wheel_digits,
        key_version=given.key_version,
        alarm=given.alarm,
        ceiling=given.ceiling,
        overdraft=given.overdraft,
        over_flow_seconds=given.over_flow_seconds,
    )


def _people(given: Arguments) -> dict[str, str]:
    return {name: getattr(given, name) for name in ("requester", "approver", "reason")}
