"""``icgas hall``: the counter's services at a command line, over a ledger, a key file and a card file.

One run, one service. Volumes are m³, money is yuan with at most two decimals. Exit code 0: done, 1: refused, failed or
something found, with a sentence that says what to do next; 2: wrong usage, nothing was touched.
"""

import argparse
import contextlib
import functools
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

from gascard.chip import Chip
from gashall import (
    errors,
    exchange_command,
    grant_command,
    keyfile,
    overview,
    passphrase,
    probe,
    reporting,
    tool_command,
    units,
)
from gashall.audit import Audit
from gashall.batch import BAD, Batch, CardFolder, Judged, printed, write_results
from gashall.errors import GasError, LedgerError, RequestError
from gashall.files import write_asked_for, write_new
from gashall.history import printable
from gashall.ledger import Ledger
from gashall.limits import PERIODS
from gashall.prices import Price
from gashall.readers.file import SIDECAR, FileReader
from gashall.services import LEDGER_FILE, Hall, Sale
from gashall.signer import KeyFileSigner
from gashall.units import Clock

DONE = 0
REFUSED = 1
USAGE = 2

LEDGER_VARIABLE = "ICGAS_LEDGER"
KEY_VARIABLE = "ICGAS_KEY"

Answer: TypeAlias = tuple[int, dict[str, Any], list[str]]
"""Exit code, what --json prints, lines of text."""


def command(argv: list[str], clock: Clock | None = None) -> int:
    """``icgas hall ...``; ``clock`` gives the time as an aware datetime, the computer's own if not given."""
    parser = _parser()
    try:
        arguments = parser.parse_args(argv)
        _complete(arguments.parser, arguments)
    except SystemExit as stop:
        return USAGE if stop.code else DONE
    service: Callable[[argparse.Namespace, Clock | None], Answer] = arguments.service
    try:
        code, record, lines = service(arguments, clock)
    except GasError as error:
        if not arguments.json:
            print(f"icgas hall {arguments.action}: {printable(str(error))}", file=sys.stderr)
            return REFUSED
        told = {name: getattr(error, name) for name in ("code", "name", "message", "message_zh", "remedy")}
        code, record, lines = REFUSED, {"error": told}, []
    return _print(arguments, code, record, lines)


def _told(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _print(arguments: argparse.Namespace, code: int, record: dict[str, Any], lines: list[str]) -> int:
    if sys.stdout is None:
        print(f"icgas hall {arguments.action}: done, but not printed: standard output is closed.", file=sys.stderr)
        return REFUSED
    encoding = sys.stdout.encoding or "utf-8"
    if arguments.json:
        plain = not encoding.lower().startswith("utf")
        text = json.dumps(record, ensure_ascii=plain, indent=2, default=_told)
    else:
        text = "\n".join(lines)
    try:
        sys.stdout.write(text.encode(encoding, "replace").decode(encoding) + "\n")
        sys.stdout.flush()
    except OSError as error:
        # What was done is done: only nobody reads of it.
        print(f"icgas hall {arguments.action}: done, but not printed: {error.strerror}.", file=sys.stderr)
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return REFUSED
    return code


# ---------------------------------------------------------------------- arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="icgas hall",
        description="Open accounts, sell gas and keep the ledger. Volumes in m³, money in yuan.",
        epilog=f"--ledger and --key may stand in {LEDGER_VARIABLE} and {KEY_VARIABLE} instead, a passphrase in "
        f"{passphrase.VARIABLE}; it is never given on the command line.",
        allow_abbrev=False,  # half an option must not agree to a price
    )
    actions = parser.add_subparsers(dest="action", required=True)
    groups: dict[str, Any] = {}

    def group(name: str, words: str) -> None:
        sub = actions.add_parser(name, help=words, description=words[0].upper() + words[1:] + ".", allow_abbrev=False)
        groups[name] = sub.add_subparsers(dest="what", required=True)

    def action(name: str, service: Callable[[argparse.Namespace, Clock | None], Answer], words: str) -> Any:
        first, _, second = name.partition(" ")
        place = groups[first] if second else actions
        sub = place.add_parser(
            second or first, help=words, description=words[0].upper() + words[1:] + ".", allow_abbrev=False
        )
        sub.set_defaults(service=service, action=name, parser=sub)
        if first != "key":
            sub.add_argument("--ledger", metavar="FILE", help="the ledger: a file, its folder, or a database URL")
        if name != "upgrade":
            sub.add_argument("--key", metavar="FILE", help="the region's key file")
            sub.add_argument("--passphrase-file", metavar="FILE", help="the key file's passphrase, one line")
        sub.add_argument("--json", action="store_true", help="print one JSON object")
        return sub

    init = action("init", _init, "make a key file and a ledger, both new")
    init.add_argument("--region", metavar="N", type=_whole, required=True, help="0 to 65535, or 0x0000 to 0xffff")
    init.add_argument("--existing-key", action="store_true", help="use the key file that is there")

    group("key", "the region's key file")
    guarding = action("key passphrase", _key_passphrase, "put the key file under a passphrase, or another one")
    guarding.add_argument("--new-passphrase-file", metavar="FILE", help="the new passphrase, one line")

    money = "the money taken; by the price list if not given"
    agreed = "the money may differ from the price list's"
    opening = action("open", _open, "open an account and issue a blank card for it")
    opening.add_argument("--card", metavar="FILE", required=True, help="card file of a blank card")
    opening.add_argument("--blank", action="store_true", help="make the card file first: a new blank card")
    opening.add_argument("--meter", metavar="NUMBER", required=True, help="the meter's 14 digits")
    opening.add_argument("--volume", metavar="M3", required=True, help="the first gas; 0 for none")
    opening.add_argument("--money", metavar="YUAN", type=_money, help=money)
    opening.add_argument("--price-agreed", action="store_true", help=agreed)
    opening.add_argument("--name", default="", help="the customer's name")
    opening.add_argument(
        "--account", metavar="NUMBER", help="10 digits, a free number or one whose meter was cleared; the next free one"
    )
    for option, default, words in (
        ("initial-reading", "0", "the meter's index, m³"),
        ("alarm", "5", "alarm limit, m³"),
        ("ceiling", "1000", "ceiling, m³"),
        ("overdraft", "0", "overdraft, m³"),
    ):
        opening.add_argument(f"--{option}", metavar="M3", default=default, help=f"{words}; {default}")
    for option, number, words in (
        ("pulse-weight", 2, "decimals of a m³ in one pulse, 0 to 2"),
        ("wheel-digits", 5, "the counter's digits before its decimal point"),
        ("over-flow-seconds", 0, "seconds of over-flow until the valve shuts, 0 for never"),
        ("key-version", 1, "version of the meter's keys"),
        ("issue-batch", 0, "batch the card belongs to"),
    ):
        opening.add_argument(f"--{option}", metavar="N", type=_whole, default=number, help=f"{words}; {number}")

    sale = action("sell", _sell, "sell gas to the customer whose card is given")
    sale.add_argument("--card", metavar="FILE", required=True, help="the customer's card file")
    sale.add_argument("--volume", metavar="M3", required=True, help="the gas")
    sale.add_argument("--money", metavar="YUAN", type=_money, help=money)
    sale.add_argument("--price-agreed", action="store_true", help=agreed)
    sale.add_argument("--rescue", action="store_true", help="spend the card's last password try")

    reading = action("read", _read, "read a card back; nothing is written to it")
    reading.add_argument("--card", metavar="FILE", required=True, help="the customer's card file")

    reconciling = action("reconcile", _reconcile, "compare what was sold with the meter's index, and wheels with meter")
    reconciling.add_argument("--account", metavar="NUMBER", help="10 digits")
    reconciling.add_argument("--reading", metavar="M3", help="the wheels, read with the newest report; else its index")
    groups["reconcile"] = reconciling.add_subparsers(dest="what", metavar="list | adopt")
    listing = action("reconcile list", _reconcile_list, "compare every account with its meter, the most urgent first")
    listing.add_argument("--readings", metavar="FILE", help="CSV of what was read: account,reading in m³")
    listing.add_argument("--days", metavar="N", type=_whole, default=overview.DAYS, help="a report is old after; 60")
    listing.add_argument("--csv", metavar="FILE", help="write the list as CSV into this new file")
    listing.add_argument("--page", metavar="FILE", help="write a page to print (HTML) into this new file")
    adopting = action("reconcile adopt", _adopt, "take the word of a card that is ahead of the ledger")
    adopting.add_argument("--card", metavar="FILE", required=True, help="the customer's card file")
    for who in ("requester", "approver"):
        adopting.add_argument(f"--{who}", metavar="NAME", required=True, help="who; not the same person twice")
    adopting.add_argument("--reason", metavar="TEXT", required=True, help="why, for the file")

    probing = action("probe", _probe, "put a probe on a card, so that a recovering account's meter reports")
    probing.add_argument("--card", metavar="FILE", required=True, help="the customer's card file")
    probing.add_argument("--overwrite", action="store_true", help="put it over an order the meter refuses")
    probing.add_argument("--rescue", action="store_true", help="spend the card's last password try")

    group("suspend", "a meter under test")
    for kind, service, words in (
        ("begin", _suspend_begin, "suspend an account while its meter is under test"),
        ("end", _suspend_end, "the meter is back; print what the test took"),
    ):
        suspending = action(f"suspend {kind}", service, words)
        suspending.add_argument("--account", metavar="NUMBER", required=True, help="10 digits")
        suspending.add_argument("--reading", metavar="M3", required=True, help="what the wheels show")
        if kind == "begin":
            suspending.add_argument("--reason", metavar="TEXT", required=True, help="why, for the file")
    suspending = action("suspend cancel", _suspend_cancel, "the test under way was begun by mistake")
    mending = action("suspend correct", _suspend_correct, "give the last test the right readings, approved")
    mending.add_argument("--reading", metavar="M3", help="what the wheels showed at the beginning")
    mending.add_argument("--end-reading", metavar="M3", help="what they showed at the end")
    for who in ("requester", "approver"):
        mending.add_argument(f"--{who}", metavar="NAME", required=True, help="who; not the same person twice")
    for sub in (suspending, mending):
        sub.add_argument("--account", metavar="NUMBER", required=True, help="10 digits")
        sub.add_argument("--reason", metavar="TEXT", required=True, help="why, for the file")

    paper = action("receipt", _receipt, "print the receipt of a purchase, the account's last one if none is named")
    paper.add_argument("--account", metavar="NUMBER", required=True, help="10 digits")
    paper.add_argument("--purchase", metavar="N", type=_whole, help="which purchase, by its number on the card")
    paper.add_argument("--meter", metavar="NUMBER", help="of which meter, where the account had several")
    paper.add_argument("--out", metavar="FILE.html", help="write it as a page to be printed into this new file too")

    group("price", "the price list")
    pricing = action("price set", _price_set, "set the price of a m³, from now or later on")
    pricing.add_argument("yuan", metavar="YUAN", help="yuan for one m³, at most four decimals")
    pricing.add_argument("--from", dest="valid_from", metavar="TIME", help="as 2026-04-01T00:00+08:00; now")
    action("price list", _price_list, "print all prices, past and to come")

    limiting = action("limits", _limits, "print or set how much a customer may buy")
    for period in PERIODS:
        limiting.add_argument(f"--{period}", metavar="M3", help=f"most m³ in one {period}, none for no limit")
    limiting.add_argument("--utc-offset", metavar="MINUTES", type=_signed, help="where days begin; 480 is UTC+8")

    group("shift", "who is at the counter, and what was counted at the end")
    taking = action("shift open", _shift_open, "open a shift: every order made from now on belongs to it")
    taking.add_argument("clerk", metavar="CLERK", help="who is at the counter")
    closing = action("shift close", _shift_close, "close the shift and print its slip")
    words = "the money counted; less than 0 if more was paid back"
    closing.add_argument("--cash", metavar="YUAN", type=_signed_money, required=True, help=words)
    closing.add_argument("--cards", metavar="N", type=_whole, help="the blank cards counted, once stock is booked")
    closing.add_argument("--differs", metavar="REASON", help="why what was counted is not what the ledger says")
    slip = action("shift slip", _shift_slip, "print a shift's slip again")
    slip.add_argument("--number", metavar="N", type=_whole, help="which shift; the last one if not given")
    slip.add_argument("--out", metavar="FILE.html", help="write it as a page to be printed into this new file too")

    group("stock", "blank cards")
    for kind, service, words in (
        ("in", _stock_in, "book blank cards delivered to the store"),
        ("out", _stock_out, "hand blank cards out to the open shift"),
        ("spoiled", _stock_spoiled, "book blank cards that are of no use"),
    ):
        moving = action(f"stock {kind}", service, words)
        moving.add_argument("count", metavar="N", type=_whole, help="how many")
    moving.add_argument("--reason", metavar="TEXT", help="what is wrong with them")
    action("stock show", _stock_show, "print where the blank cards are, and what became of the others")

    grant_command.add(action, group, _hall, _card, whole=_whole, money=_money)
    exchange_command.add(action, group, _hall, _card, _whole)
    tool_command.add(action, group, _hall, _card, whole=_whole, money=_money, moment=_moment)

    group("report", "what was done in a day or a month")
    daily = action("report daily", _report, "print what was done in a day")
    daily.add_argument("--day", metavar="YYYY-MM-DD", help="a day of the hall's own clock; today if not given")
    monthly = action("report monthly", _report, "print what was done in a month")
    monthly.add_argument("--month", metavar="YYYY-MM", help="this month if not given")
    for sub in (daily, monthly):
        sub.add_argument("--csv", metavar="FILE", help="write the figures by day and kind into this new file too")
        sub.add_argument("--page", metavar="FILE.html", help="write a page to be printed into this new file too")

    listing = action("batch", _batch, "open the accounts of a list, a card file each")
    listing.add_argument("file", metavar="FILE.csv", help="meter, name, volume, initial_reading, and other columns")
    listing.add_argument("--cards", metavar="FOLDER", required=True, help="where the cards and results.csv go; new")
    listing.add_argument("--dry-run", action="store_true", help="only judge every row; nothing is written")
    listing.add_argument("--resume", action="store_true", help="go on with the batch that was begun in FOLDER")
    listing.add_argument("--page", metavar="FILE.html", help="write a list to be checked and signed into this new file")

    verifying = action("verify", _verify, "look a card over: ours, whole, alive; nothing is written to it")
    verifying.add_argument("--card", metavar="FILE", required=True, help="the card file")
    verifying.add_argument("--password", action="store_true", help="present its password too, if it is genuine")
    verifying.add_argument("--rescue", action="store_true", help="with --password: spend the card's last try")

    auditing = action("audit", _audit, "check the journal, and every table against it")
    auditing.add_argument("--head", metavar="HASH", help="the head an earlier audit gave, which must still be there")

    action("upgrade", _upgrade, "bring a ledger of an earlier version to today's; a copy is kept beside it")

    filing = action("history", _history, "print customers' files, or write one file for each")
    whose = filing.add_mutually_exclusive_group(required=True)
    whose.add_argument("--account", metavar="NUMBER", help="10 digits")
    whose.add_argument("--all", action="store_true", help="every account")
    filing.add_argument("--out", metavar="FOLDER", help="write ACCOUNT.txt (.json with --json) there, overwriting none")

    saving = action("backup", _backup, "copy the ledger into a new file while windows go on, and audit the copy")
    saving.add_argument("--to", metavar="FILE", required=True, help="the new file")

    restoring = action("restore", _restore, "make a copy the ledger, and mark every account recovering")
    restoring.add_argument("--from", dest="copy", metavar="FILE", help="the copy that backup made")
    restoring.add_argument("--to", metavar="FILE", help="the new ledger; there is no file of that name yet")
    restoring.add_argument("--mark", action="store_true", help="only mark --ledger, which its database has restored")
    restoring.add_argument("--yes", action="store_true", help="with --mark: the ledger did come out of a copy")
    restoring.add_argument("--head", metavar="HASH", help="the head an earlier audit gave, which must still be there")

    recovering = action("recovering", _recovering, "print the accounts that are recovering after a restore")
    recovering.add_argument("--sell", choices=("yes", "no"), help="whether they may buy meanwhile; no until it is set")
    return parser


def _complete(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """What may stand in the environment instead; else wrong usage."""
    if arguments.action == "reconcile" and arguments.account is None:
        parser.error("give --account NUMBER after reconcile, or list or adopt")
    restoring = arguments.action == "restore" and not arguments.mark
    if arguments.action == "restore" and [arguments.copy is None, arguments.to is None] != [arguments.mark] * 2:
        parser.error("give --from FILE and --to FILE after restore, or --mark alone")
    if restoring and arguments.yes:
        parser.error("--yes goes with --mark")
    for name, variable in (("ledger", LEDGER_VARIABLE), ("key", KEY_VARIABLE)):
        if name == "ledger" and restoring:
            continue
        if name in arguments and not getattr(arguments, name):
            value = os.environ.get(variable, "")
            if not value:
                parser.error(f"give --{name} FILE after {arguments.action}, or set {variable}")
            setattr(arguments, name, value)


def _whole(text: str) -> int:
    if re.fullmatch("0x[0-9a-fA-F]{1,8}", text):
        return int(text, 16)
    if re.fullmatch("[0-9]{1,10}", text):
        return int(text)
    raise argparse.ArgumentTypeError(f"{text[:40]!r} is no whole number")


def _signed(text: str) -> int:
    return -_whole(text[1:]) if text.startswith("-") else _whole(text)


def _money(text: str) -> int:
    try:
        return units.fen(text)
    except RequestError as error:
        raise argparse.ArgumentTypeError(f"{error.message} {error.remedy}") from None


def _signed_money(text: str) -> int:
    return -_money(text[1:]) if text.startswith("-") else _money(text)


def _place(ledger: str) -> str:
    return os.path.join(ledger, LEDGER_FILE) if os.path.isdir(ledger) else ledger


def _hall(arguments: argparse.Namespace, clock: Clock | None) -> contextlib.closing[Hall]:
    place, asked = _place(arguments.ledger), _passphrase(arguments)
    return contextlib.closing(Hall.open(place, arguments.key, clock, passphrase=asked))


def _passphrase(arguments: argparse.Namespace) -> Callable[[], str]:
    return functools.cache(lambda: passphrase.of_key_file(arguments.key, arguments.passphrase_file))


# ---------------------------------------------------------------------- services


def _init(arguments: argparse.Namespace, clock: Clock | None) -> Answer:
    place, key = _place(arguments.ledger), arguments.key
    units.whole(arguments.region, "region", 0, 0xFFFF)
    secret = None
    if not arguments.existing_key:
        prompt = "Passphrase for the new key file (empty for none): "
        secret = passphrase.new(arguments.passphrase_file, passphrase.VARIABLE, prompt)
    if "://" not in place:
        # The name first: whoever runs this twice at once makes one ledger. Customers' names stand in it: rights 0600.
        try:
            write_new(place, b"")
        except FileExistsError:
            raise LedgerError(
                errors.LEDGER,
                f"There is a file {place} already; a ledger is never overwritten.",
                "Choose another path, or use the ledger that is there.",
            ) from None
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise LedgerError(
                errors.LEDGER, f"The ledger {place} cannot be made: {why}.", "Correct the path."
            ) from None
    try:
        if arguments.existing_key:
            signer = KeyFileSigner.load(key, _passphrase(arguments))
        else:
            signer = _new_key(key, arguments.region, secret)
        if signer.region != arguments.region:
            raise LedgerError(
                errors.LEDGER_REGION,
                f"The key file {key} is of region {signer.region:#06x}; wanted {arguments.region:#06x}.",
                "Give the region of the key file.",
            )
        ledger = Ledger(place, signer.region, clock=clock)
        Hall(ledger, signer, clock).close()
    except BaseException:
        if "://" not in place:
            with contextlib.suppress(OSError):
                os.remove(place)
        raise
    # By its name: a URL may hold a password.
    sealed = keyfile.is_sealed(key)
    record = {"ledger": ledger.name, "key": key, "region": signer.region, "passphrase": sealed}
    lines = [
        f"ledger {ledger.name} and key file {key} of region {signer.region:#06x}",
        "Put a copy of the key file into the safe: without it no card and no report can be made or checked.",
    ]
    if sealed:
        lines.append("And its passphrase into another: the file opens with it only.")
    return DONE, record, lines


def _new_key(key: str, region: int, secret: str | None) -> KeyFileSigner:
    """As ``KeyFileSigner.create``: an init that failed at its database has left its key file, which is good."""
    try:
        return KeyFileSigner.create(key, region, secret)
    except GasError as error:
        if not os.path.lexists(key):
            raise
        remedy = "Choose another path, or use the key file that is there: --existing-key."
        raise GasError(error.code, error.message, remedy) from None


def _key_passphrase(arguments: argparse.Namespace, clock: Clock | None) -> Answer:
    # The old one first: whoever has not got it is not asked for another.
    old = _passphrase(arguments)
    keyfile.load(arguments.key, old)
    new = passphrase.new(arguments.new_passphrase_file, passphrase.NEW_VARIABLE, "New passphrase: ")
    if new is None:
        raise GasError(
            errors.KEY_FILE,
            "No new passphrase was given; the key file is as it was.",
            f"Give it in a file (--new-passphrase-file), in {passphrase.NEW_VARIABLE}, or at a terminal.",
        )
    region = keyfile.change_passphrase(arguments.key, old, new)
    lines = [f"the key file {arguments.key} of region {region:#06x} is under the new passphrase"]
    lines.append("Copies in the safe open with the old one, or with none: renew them.")
    return DONE, {"key": arguments.key, "region": region, "passphrase": True}, lines


def _open(arguments: argparse.Namespace, clock: Clock | None) -> Answer:
    with _hall(arguments, clock) as hall, _card(arguments) as reader:
        sale = hall.open_account(
            reader,
            meter=arguments.meter,
            volume=arguments.volume,
            name=arguments.name,
            account=arguments.account,
            fen=arguments.money,
            price_agreed=arguments.price_agreed,
            pulse_weight=arguments.pulse_weight,
            initial_reading=arguments.initial_reading,
            wheel_digits=arguments.wheel_digits,
            alarm=arguments.alarm,
            ceiling=arguments.ceiling,
            overdraft=arguments.overdraft,
            over_flow_seconds=arguments.over_flow_seconds,
            key_version=arguments.key_version,
            issue_batch=arguments.issue_batch,
        )
    code, record, lines = _sold(sale, "account opened")
    if sale.bought_total > sale.pulses:
        left = units.volume(sale.bought_total - sale.pulses, arguments.pulse_weight)
        lines.append(f"and {left} m³ that were left when its meter was cleared")
    return code, record, lines


@contextlib.contextmanager
def _card(arguments: argparse.Namespace) -> Iterator[FileReader]:
    """The card to be issued; one that was made for it and is blank as ever after a refusal is taken away again."""
    if not arguments.blank:
        yield FileReader(arguments.card)
        return
    reader = FileReader.blank(arguments.card)
    try:
        yield reader
    except GasError:
        files = [Path(arguments.card), Path(arguments.card + SIDECAR)]
        with contextlib.suppress(OSError):
            if b"".join(file.read_bytes() for file in files) == Chip().dump():
                for file in files:
                    file.unlink()
        raise


def _sell(arguments: argparse.Namespace, clock: Clock | None) -> Answer:
    with _hall(arguments, clock) as hall:
        sale = hall.sell(
            FileReader(arguments.card),
            arguments.volume,
            fen=arguments.money,
            price_agreed=arguments.price_agreed,
            rescue=arguments.rescue,
        )
    return _sold(sale, "sold")


def _sold(sale: Sale, what: str) -> Answer:
    money = None if sale.fen is None else units.yuan(sale.fen)
    lines = [
        f"{what}: {sale.volume} m³" + ("" if money is None else f" for {money} yuan"),
        f"account {sale.account}, meter {sale.meter}, card {sale.card}, order {sale.sequence}: {sale.state}",
    ]
    if sale.resumed:
        lines.append("This order had been begun earlier and was finished now; it was not made twice.")
    return DONE, asdict(sale) | {"yuan": money}, lines


def _read(arguments: argparse.Namespace, clock: Clock | None) -> Answer:
    with _hall(arguments, clock) as hall:
        back = hall.read_back(FileReader(arguments.card))
    lines = [f"account {back.account}, meter {back.meter}, card {back.card}: last order {back.state}"]
    if back.report is None:
        lines.append("The card has not been in its meter.")
    else:
        lines.append(f"report {back.report['report_number']}: {back.remaining} m³ left on the meter")
    lines.append(f"on the card: {back.on_card} m³")
    if back.held:
        lines.append(f"held since the card was replaced: {back.held} m³")
    lines += [f"damaged: {part}" for part in back.damaged]
    return DONE, asdict(back), lines


def _reconcile(arguments: argparse.Namespace, clock: Clock | None) -> Answer:
    with _hall(arguments, clock) as hall:
        told = hall.reconcile(arguments.account, arguments.reading)
    record = asdict(told) | {"difference": told.difference}
    if told.drift is not None:
        record["drift"] |= {"verdict": told.drift.verdict.value, "moment": told.drift.moment.isoformat()}
    return DONE, record, told.lines()


def _reconcile_list(arguments: argparse.Namespace, clock: Clock | None) -> Answer:
    readings = None if arguments.readings is None else overview.read_readings(arguments.readings)
    with _hall(arguments, clock) as hall:
        rows = hall.reconcile_list(readings, days=arguments.days)
        with hall.ledger.look() as books:
            head, now = books.head()[1].hex(), books.moment(hall.counter.now())
        page = overview.printed(rows, now, head)
    record: dict[str, Any] = {"accounts": [row.record() for row in rows]}
    lines = overview.text_lines(rows)
    for option, text in (("csv", overview.csv_text(rows)), ("page", page)):
        path = getattr(arguments, option)
        if path is not None:
            write_asked_for(path, text.encode())
            record[option] = path
            lines.append(f"written to {path}")
    return DONE, record, lines


def _adopt(arguments: argparse.Namespace, clock: Clock | None) -> Answer:
    with _hall(arguments, clock) as hall:
        told = hall.adopt(
            FileReader(arguments.card),
            requester=arguments.requester,
            approver=arguments.approver,
            reason=arguments.reason,
        )
    return DONE, asdict(told), told.lines()


def _probe(arguments: argparse.Namespace, clock: Clock | None) -> Answer:
    with _hall(arguments, clock) as hall:
        told = hall.probe(FileReader(arguments.card), overwrite=arguments.overwrite, rescue=arguments.rescue)
    return DONE, asdict(told), probe.lines(told)


def _restore(arguments: argparse.Namespace, clock: Clock | None) -> Answer:
    if arguments.mark:
        with _hall(arguments, clock) as hall:
            if not arguments.yes:
                with hall.ledger.look() as books:
                    count = units.counted(len(books.open_bindings()), "account")
                raise RequestError(
                    errors.FIELD,
                    f"Nothing was marked. Of {hall.ledger.name} {count} would be recovering, with no way back: nothing "
                    "is sold, paid out or moved until a probe was in the meter, and requests under way are void.",
                    "Only of a ledger that came out of a copy: icgas hall restore --mark --yes.",
                )
            told = hall.mark_restored(arguments.head)
    else:
        asked = _passphrase(arguments)
        told = Hall.restore(arguments.copy, arguments.to, arguments.key, clock, head=arguments.head, passphrase=asked)
    return DONE, asdict(told), told.lines()


def _recovering(arguments: argparse.Namespace, clock: Clock | None) -> Answer:
    with _hall(arguments, clock) as hall:
        if arguments.sell is not None:
            hall.sell_while_recovering(arguments.sell == "yes")
        rows = hall.recovering()
    lines = [*[row.line() for row in rows], f"recovering: {units.counted(len(rows), 'account')}"]
    return DONE, {"recovering": [asdict(row) for row in rows]}, lines


def _suspend_begin(arguments: argparse.Namespace, clock: Clock | None) -> Answer:
    with _hall(arguments, clock) as hall:
        told = hall.suspend(arguments.account, arguments.reading, arguments.reason)
    return DONE, asdict(told), told.lines()


def _suspend_end(arguments: argparse.Namespace, clock: Clock | None) -> Answer:
    with _hall(arguments, clock) as hall:
        told = hall.end_suspension(arguments.account, arguments.reading)
    return DONE, asdict(told), told.lines()


def _suspend_cancel(arguments: argparse.Namespace, clock: Clock | None) -> Answer:
    with _hall(arguments, clock) as hall:
        told = hall.cancel_suspension(arguments.account, arguments.reason)
    return DONE, asdict(told), told.lines()


def _suspend_correct(arguments: argparse.Namespace, clock: Clock | None) -> Answer:
    with _hall(arguments, clock) as hall:
        told = hall.correct_suspension(
            arguments.account,
            reading=arguments.reading,
            end_reading=arguments.end_reading,
            requester=arguments.requester,
            approver=arguments.approver,
            reason=arguments.reason,
        )
    return DONE, asdict(told), told.lines()


def _receipt(arguments: argparse.Namespace, clock: Clock | None) -> Answer:
    with _hall(arguments, clock) as hall:
        told = hall.receipt(arguments.account, arguments.purchase, meter=arguments.meter)
    lines = told.lines()
    if arguments.out is not None:
        write_asked_for(arguments.out, told.page().encode("utf-8"))
        lines.append(f"page written to {arguments.out}")
    return DONE, told.record(), lines


def _price_set(arguments: argparse.Namespace, clock: Clock | None) -> Answer:
    valid_from = None if arguments.valid_from is None else _moment(arguments.valid_from)
    price = _per_cubic_metre(arguments.yuan)
    with _hall(arguments, clock) as hall:
        told = hall.set_price(valid_from, price)
    return DONE, _priced(told), [told.line()]


def _price_list(arguments: argparse.Namespace, clock: Clock | None) -> Answer:
    with _hall(arguments, clock) as hall:
        told = hall.prices()
    return DONE, {"prices": [_priced(row) for row in told]}, [row.line() for row in told] or ["no price is set"]


def _priced(price: Price) -> dict[str, Any]:
    return {
        "valid_from": price.valid_from.isoformat(),
        "fen_per_cubic_metre": price.fen_per_cubic_metre,
        "set_at": price.set_at.isoformat(),
    }


def _per_cubic_metre(yuan: str) -> Decimal:
    match = re.fullmatch(r"([0-9]{1,9})(?:\.([0-9]{1,4}))?", yuan)
    if match is None:
        raise RequestError(
            errors.AMOUNT, f"{units.shown(yuan)} is no price of a m³ in yuan.", "Enter yuan as 2.63 or 2.6315."
        )
    price = int(match[1] + (match[2] or "").ljust(4, "0"))
    if not 1 <= price <= units.PRICE_MOST:
        raise RequestError(
            errors.AMOUNT,
            f"{units.shown(yuan)} is no price of a m³ in yuan.",
            f"Enter yuan from 0.0001 to {units.price_yuan(units.PRICE_MOST)}.",
        )
    return Decimal(price).scaleb(-2)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise RequestError(
            errors.FIELD, f"{units.shown(text)} is no time with its zone.", "Enter it as 2026-04-01T00:00+08:00."
        )
    return moment


def _limits(arguments: argparse.Namespace, clock: Clock | None) -> Answer:
    given = {period: getattr(arguments, period) for period in PERIODS}
    wanted = {period: None if limit == "none" else limit for period, limit in given.items() if limit is not None}
    with _hall(arguments, clock) as hall:
        if wanted or arguments.utc_offset is not None:
            told = hall.set_limits(utc_offset=arguments.utc_offset, **wanted)
        else:
            told = hall.limits()
    return DONE, asdict(told), told.lines()


def _shift_open(arguments: argparse.Namespace, clock: Clock | None) -> Answer:
    with _hall(arguments, clock) as hall:
        told = hall.open_shift(arguments.clerk)
    return DONE, told.record(), [f"shift {told.number} of {printable(told.clerk)} is open"]


def _shift_close(arguments: argparse.Namespace, clock: Clock | None) -> Answer:
    with _hall(arguments, clock) as hall:
        told = hall.close_shift(arguments.cash, cards=arguments.cards, differs=arguments.differs)
    return DONE, told.record(), told.lines()


def _shift_slip(arguments: argparse.Namespace, clock: Clock | None) -> Answer:
    with _hall(arguments, clock) as hall:
        told = hall.shift(arguments.number)
    lines = told.lines()
    if arguments.out is not None:
        write_asked_for(arguments.out, told.page().encode())
        lines.append(f"page written to {arguments.out}")
    return DONE, told.record(), lines


def _stock_in(arguments: argparse.Namespace, clock: Clock | None) -> Answer:
    with _hall(arguments, clock) as hall:
        told = hall.stock_in(arguments.count)
    return DONE, asdict(told), told.lines()


def _stock_out(arguments: argparse.Namespace, clock: Clock | None) -> Answer:
    with _hall(arguments, clock) as hall:
        told = hall.stock_out(arguments.count)
    return DONE, asdict(told), told.lines()


def _stock_spoiled(arguments: argparse.Namespace, clock: Clock | None) -> Answer:
    with _hall(arguments, clock) as hall:
        told = hall.stock_spoiled(arguments.count, reason=arguments.reason)
    return DONE, asdict(told), told.lines()


def _stock_show(arguments: argparse.Namespace, clock: Clock | None) -> Answer:
    with _hall(arguments, clock) as hall:
        told = hall.stock()
    return DONE, asdict(told), told.lines()


def _report(arguments: argparse.Namespace, clock: Clock | None) -> Answer:
    monthly = arguments.what == "monthly"
    text = arguments.month if monthly else arguments.day
    with _hall(arguments, clock) as hall:
        which = None if text is None else reporting.which(text, monthly)
        told = hall.monthly_report(which) if monthly else hall.daily_report(which)
    record, lines = told.record(), told.lines()
    for option, content in (("csv", told.csv), ("page", told.page)):
        path = getattr(arguments, option)
        if path is not None:
            reporting.write(path, content())
            record[option] = path
            lines.append(f"written to {path}")
    return DONE, record, lines


def _batch(arguments: argparse.Namespace, clock: Clock | None) -> Answer:
    with _hall(arguments, clock) as hall:
        judged = hall.judge_batch(arguments.file, resume=arguments.resume)
        told: dict[str, Any] = {
            "rows": len(judged.rows),
            "volume": judged.volume,
            "problems": [
                {"line": problem.line, "code": problem.error.code, "name": problem.error.name}
                | {"message": problem.error.message, "remedy": problem.error.remedy}
                for problem in judged.problems
            ],
        }
        if judged.problems or arguments.dry_run:
            lines = [printable(str(problem)) for problem in judged.problems]
            faults = units.counted(len(judged.problems), "fault")
            lines.append(f"{units.counted(told['rows'], 'row')} can be read, {judged.volume} m³; {faults} found")
            lines += ["Nothing was written."]
            if judged.problems and not arguments.resume and os.path.isdir(arguments.cards):
                lines += [f"If this batch was begun in {arguments.cards}, go on with it: --resume."]
            return REFUSED if judged.problems else DONE, told, lines
        folder = CardFolder(arguments.cards, resume=arguments.resume)
        try:
            done = _watched(hall, judged, folder)
        except KeyboardInterrupt:
            if folder.has_begun():
                told_here = "What is opened stays. Go on with the same list and folder, and --resume."
                print(f"icgas hall batch: {told_here}", file=sys.stderr)
            raise
    path = write_results(folder.folder, done)
    if arguments.page is not None:
        write_asked_for(arguments.page, printed(done).encode())
    earlier = sum(made.earlier for made in done.made)
    told |= {"opened": len(done.made) - earlier, "earlier": earlier, "left": len(done.left), "bad": len(done.bad)}
    told |= {"results": path, "stopped": None if done.stopped is None else str(done.stopped)}
    lines = [f"{units.counted(told['opened'], 'account')} opened" + (f", open already: {earlier}" if earlier else "")]
    if done.bad:
        lines.append(
            f"failed: {units.counted(len(done.bad), 'card')}, in {BAD}: to be booked, icgas hall stock spoiled"
        )
    if done.stopped is not None:
        lines += [
            printable(f"stopped at {done.stopped}"),
            f"{units.counted(len(done.left), 'row')} left; --resume goes on from there",
        ]
    return DONE if done.stopped is None else REFUSED, told, [*lines, f"results in {path}"]


def _watched(hall: Hall, judged: Judged, folder: CardFolder) -> Batch:
    """The batch, with a bar where somebody watches."""
    from rich.console import Console  # only a batch draws anything
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("opening"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("opening", total=len(judged.rows))
        return hall.batch(judged, folder, report=lambda done, total: bar.update(task, completed=done, total=total))


def _verify(arguments: argparse.Namespace, clock: Clock | None) -> Answer:
    with _hall(arguments, clock) as hall:
        told = hall.verify(FileReader(arguments.card), password=arguments.password, rescue=arguments.rescue)
    return DONE if told.good else REFUSED, told.record(), told.lines()


def _audit(arguments: argparse.Namespace, clock: Clock | None) -> Answer:
    with _hall(arguments, clock) as hall:
        found = hall.audit(arguments.head)
    return _audited(found, {}, [])


def _audited(found: Audit, record: dict[str, Any], lines: list[str]) -> Answer:
    lines = [
        *lines,
        *[printable(str(finding)) for finding in found.findings],
        f"{units.counted(found.entries, 'row')} of the journal and {found.rows} of the tables checked: "
        f"{units.counted(len(found.findings), 'finding')}",
        f"head {found.head}",
    ]
    if not found.clean:
        lines.append("Sell nothing; have the ledger looked at, or restore it from its copy.")
    return DONE if found.clean else REFUSED, record | asdict(found) | {"clean": found.clean}, lines


def _upgrade(arguments: argparse.Namespace, clock: Clock | None) -> Answer:
    done = Ledger.upgrade(_place(arguments.ledger), clock)
    if done.before == done.after:
        return DONE, asdict(done), [f"ledger {done.name} is of version {done.after}: there is nothing to do"]
    lines = [f"ledger {done.name} brought from version {done.before} to {done.after}"]
    if done.copy is not None:
        lines.append(f"as it was: {done.copy}")
    return DONE, asdict(done), lines


def _history(arguments: argparse.Namespace, clock: Clock | None) -> Answer:
    with _hall(arguments, clock) as hall:
        if arguments.all:
            with hall.ledger.look() as books:
                numbers = books.accounts()
        else:
            numbers = [arguments.account]
        files = {number: hall.history(number) for number in numbers}
    if arguments.out is None:
        lines = [line for number in numbers for line in (*files[number].lines(), "")][:-1]
        return DONE, {"histories": [files[number].record() for number in numbers]}, lines
    suffix = ".json" if arguments.json else ".txt"
    folder = Path(arguments.out)
    paths = {number: folder / f"{number}{suffix}" for number in numbers}
    standing = [str(path) for path in paths.values() if os.path.lexists(path)]
    if standing:
        raise RequestError(
            errors.FIELD, f"There is a file {standing[0]} already; none is overwritten.", "Choose another folder."
        )
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        for number, path in paths.items():
            if arguments.json:
                text = json.dumps(files[number].record(), ensure_ascii=False, indent=2)
            else:
                text = "\n".join(files[number].lines())
            write_new(path, (text + "\n").encode("utf-8"))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise RequestError(
            errors.FIELD, f"{folder} cannot be written to: {why}.", "Correct the folder, or make room."
        ) from None
    written = [str(path) for path in paths.values()]
    return DONE, {"files": written}, [f"{units.counted(len(written), 'file')} written to {folder}"]


def _backup(arguments: argparse.Namespace, clock: Clock | None) -> Answer:
    with _hall(arguments, clock) as hall:
        found = hall.backup(arguments.to)
    return _audited(found, {"copy": arguments.to}, [f"copied to {arguments.to}"])
