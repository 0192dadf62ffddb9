"""``icgas hall``: subcommands for gas that is not sold, cards that are replaced, and holders that change."""

import argparse
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any, TypeAlias

from gashall import errors
from gashall.errors import LedgerError
from gashall.files import write_asked_for
from gashall.grants import MAKEUPS, Grant
from gashall.history import printable
from gashall.readers.base import Reader
from gashall.readers.file import FileReader
from gashall.replacement import REASONS
from gashall.rows import Account
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
    *,
    whole: Callable[[str], int],
    money: Callable[[str], int],
) -> None:
    """Add the subcommands: ``opened`` opens the hall, ``blank`` the card to be issued, the others read numbers."""

    def service(work: Callable[[Hall, Arguments], Answer]) -> Service:
        def run(arguments: Arguments, clock: Clock | None) -> Answer:
            with opened(arguments, clock) as hall:
                return work(hall, arguments)

        return run

    for sort, words in (
        ("makeup", "gas made up for a proven loss"),
        ("gift", "gas given free"),
        ("refund", "money paid back for gas"),
    ):
        group(sort, words)
        asking = action(f"{sort} request", service(_request), f"ask for {words}")
        asking.add_argument("--account", metavar="NUMBER", required=True, help="10 digits")
        gas = "the gas; negative for drift taken off" if sort == "makeup" else "the gas"
        asking.add_argument("--volume", metavar="M3", required=True, help=gas)
        if sort == "makeup":
            asking.add_argument("--kind", choices=MAKEUPS, required=True, help="what kind of loss")
        if sort == "refund":
            asking.add_argument("--money", metavar="YUAN", type=money, help="what the gas cost, if not given")
        asking.add_argument("--reason", metavar="TEXT", required=True, help="why")
        asking.add_argument("--requester", metavar="NAME", required=True, help="who asks")
        approving = action(f"{sort} approve", service(_approve), "approve a request and print its slip")
        approving.add_argument("--approver", metavar="NAME", required=True, help="who approves: not who asked")
        writing = action(f"{sort} write", service(_write), "write an approved request on its account's card, once")
        writing.add_argument("--card", metavar="FILE", required=True, help="the customer's card file")
        cancelling = action(f"{sort} cancel", service(_cancel), "cancel a request")
        numbered = [approving, writing, cancelling]
        if sort == "refund":
            numbered.append(action("refund pay", service(_pay), "pay a refund out, once a report proves it"))
            cancelling.add_argument("--card", metavar="FILE", help="the customer's card file, once it is written")
        for parser in [writing, cancelling] if sort == "refund" else [writing]:
            parser.add_argument("--rescue", action="store_true", help="spend the card's last password try")
        listing = action(f"{sort} list", service(_list), "print all requests and how far they are")
        listing.add_argument("--account", metavar="NUMBER", help="of this account only")
        printing = action(f"{sort} slip", service(_slip), "print a request's slip")
        printing.add_argument("--out", metavar="FILE", help="write it there as an HTML page")
        for parser in [*numbered, printing]:
            parser.add_argument("number", metavar="NUMBER", type=whole, help="the request's number")

    replacing = action(
        "replace", service(lambda hall, given: _replace(hall, given, blank)), "replace a customer's card"
    )
    replacing.add_argument("--card", metavar="FILE", required=True, help="card file of a blank card")
    replacing.add_argument("--blank", action="store_true", help="make the card file first: a new blank card")
    replacing.add_argument("--account", metavar="NUMBER", required=True, help="10 digits")
    replacing.add_argument("--reason", choices=REASONS, required=True, help="what became of the old card")
    replacing.add_argument("--old-card", metavar="FILE", help="the old card, if it can still be read")
    replacing.add_argument("--issue-batch", metavar="N", type=whole, default=0, help="batch the card belongs to; 0")
    replacing.add_argument("--again", action="store_true", help="the present card, a new replacement, is gone as well")
    taking = action("take-back", service(_take_back), "take a replaced card back that has turned up")
    taking.add_argument("--card", metavar="FILE", required=True, help="the old card's file")
    taking.add_argument("--clear", action="store_true", help="take its order off it too, once it is booked")

    for name, work, words in (
        ("transfer-account", _transfer, "enter another holder of an account"),
        ("stop", _stop, "stop a customer, who then cannot buy"),
        ("resume", _resume, "let a stopped customer buy again"),
    ):
        changing = action(name, service(work), words)
        changing.add_argument("--account", metavar="NUMBER", required=True, help="10 digits")
        if name == "transfer-account":
            changing.add_argument("--name", required=True, help="the new holder's name")
        changing.add_argument("--reason", metavar="TEXT", required=True, help="why")
        changing.add_argument("--approver", metavar="NAME", required=True, help="who approved it")


def _request(hall: Hall, given: Arguments) -> Answer:
    sort = _sort(given)
    common: dict[str, Any] = {"reason": given.reason, "requester": given.requester}
    if sort == "makeup":
        told = hall.request_makeup(given.account, given.volume, kind=given.kind, **common)
    elif sort == "gift":
        told = hall.request_gift(given.account, given.volume, **common)
    else:
        told = hall.request_refund(given.account, given.volume, fen=given.money, **common)
    return 0, told.record(), [told.line(), f"Have it approved: icgas hall {sort} approve {told.number}."]


def _approve(hall: Hall, given: Arguments) -> Answer:
    _check_sort(hall, given)
    told = hall.approve_grant(given.number, given.approver)
    return 0, told.record(), told.lines()


def _write(hall: Hall, given: Arguments) -> Answer:
    _check_sort(hall, given)
    told = hall.write_grant(FileReader(given.card), given.number, rescue=given.rescue)
    lines = [told.line(), f"order {told.sequence} on card {told.card}"]
    if told.resumed:
        lines.append("This order had been begun earlier and was finished now; it was not made twice.")
    return 0, told.record(), lines


def _cancel(hall: Hall, given: Arguments) -> Answer:
    _check_sort(hall, given)
    card = getattr(given, "card", None)
    reader = None if card is None else FileReader(card)
    told = hall.cancel_grant(given.number, reader, rescue=getattr(given, "rescue", False))
    return 0, told.record(), [told.line()]


def _pay(hall: Hall, given: Arguments) -> Answer:
    _check_sort(hall, given)
    told = hall.pay_refund(given.number)
    return 0, told.record(), told.lines()


def _list(hall: Hall, given: Arguments) -> Answer:
    told = hall.grants(given.account, _sort(given))
    return 0, {"requests": [row.record() for row in told]}, [row.line() for row in told] or ["there is none"]


def _slip(hall: Hall, given: Arguments) -> Answer:
    told = _check_sort(hall, given)
    if given.out is None:
        return 0, told.record(), told.lines()
    write_asked_for(given.out, told.page().encode())
    return 0, told.record() | {"file": given.out}, [f"slip of {told.sort} {told.number} written to {given.out}"]


def _sort(given: Arguments) -> str:
    sort: str = given.action.partition(" ")[0]
    return sort


def _check_sort(hall: Hall, given: Arguments) -> Grant:
    """The request of that number; LedgerError GRANT_MISSING if it is of another sort than the command."""
    told = hall.grant(given.number)
    if told.sort != _sort(given):
        raise LedgerError(
            errors.GRANT_MISSING,
            f"Request {told.number} is a {told.sort}, no {_sort(given)}.",
            f"Use icgas hall {told.sort}.",
        )
    return told


def _replace(hall: Hall, given: Arguments, blank: Blank) -> Answer:
    old = None if given.old_card is None else FileReader(given.old_card)
    with blank(given) as reader:
        told = hall.replace(
            reader,
            account=given.account,
            reason=given.reason,
            old_card=old,
            issue_batch=given.issue_batch,
            again=given.again,
        )
    lines = [
        f"card {told.card} is account {told.account}'s, replacement {told.replacement}: {told.state}",
        f"released: {told.released} m³ in all; held: {told.held} m³",
    ]
    if told.opening:
        lines.append("It is an opening card: the meter is not known to be bound.")
    if told.probe:
        lines.append("The account is recovering: the meter reads it, then icgas hall reconcile adopt takes its report.")
    elif told.held:
        lines.append("Held gas waits for the new card's report, or an approved make-up of kind held.")
    if told.cancelled_refund is not None:
        lines.append(f"Refund {told.cancelled_refund} is cancelled by it: pay nothing out for it.")
    if told.resumed:
        lines.append("This replacement had been begun earlier and was finished now; it was not made twice.")
    return 0, asdict(told), lines


def _take_back(hall: Hall, given: Arguments) -> Answer:
    told = hall.take_back(FileReader(given.card), clear=given.clear)
    lines = [f"card {told.card} of account {told.account}, replaced by card {told.replaced_by}, is taken back"]
    if told.report is not None:
        lines.append(f"Its report {told.report['report_number']} tells of order {told.report['sequence']}.")
    elif told.why_not:
        lines.append(f"It bears no report that proves anything ({errors.words(told.why_not)[1].rstrip('.')}).")
    else:
        lines.append("It bears no report of the meter.")
    lines.append(f"gas on it that no report shows loaded: {told.waiting} m³; held: {told.held} m³")
    if told.held:
        lines.append(
            "Held gas waits for the new card's report. What was surely not loaded is made up: icgas hall makeup "
            f"request --account {told.account} --kind held --volume {min(told.waiting, told.held) or told.held} "
            "--reason TEXT --requester NAME"
        )
    if given.clear:
        lines.append("Its order is taken off it.")
    return 0, asdict(told), lines


def _transfer(hall: Hall, given: Arguments) -> Answer:
    return _changed(hall.transfer_account(given.account, given.name, reason=given.reason, approver=given.approver))


def _stop(hall: Hall, given: Arguments) -> Answer:
    return _changed(hall.stop_account(given.account, reason=given.reason, approver=given.approver))


def _resume(hall: Hall, given: Arguments) -> Answer:
    return _changed(hall.resume_account(given.account, reason=given.reason, approver=given.approver))


def _changed(account: Account) -> Answer:
    state = account.state or "open"
    return 0, asdict(account), [f"account {account.number}, {printable(account.name)}: {state}"]
