"""A selling day, worked off by a program that is killed again and again: nothing is lost, nothing is made twice.

A plan is written to a file before the day begins: prices, deliveries of blank cards, shifts, openings, purchases,
reading back, reconciling, and in between the customers' ways to their meters. A child process works it off in order, on
a real ledger, a key file and card files in a folder; the parent forks it, kills it by SIGKILL, and forks the next one.
The child is the clerk: after each service he writes a slip, and after a crash he takes up the first service that has
none. What he does then he knows from the program's answers and from what a person at a counter can look at; his rules
stand at the methods of ``Clerk``. The meters are real cores in the parent: they outlive the clerk's computer.

At the end ``Day`` adds everything up from the plan alone and compares. SIGKILL ends a program at any machine
instruction, but not the computer: what SQLite has handed to the system stays. Power cuts of the computer are SQLite's
own tests' matter.

Kills fall where ``make_blows`` draws them: six of ten at instants of the measured day, the others inside writes to
cards, between a service's return and its slip, and in the program's start. Where each fell is kept (``Fell``).

The parent opens no ledger: SQLite must not be carried over a fork. A POSIX system is needed.

    python -m gasrig.selling_day --seeds 1..20 --kills 200
"""

import argparse
import gc
import json
import mmap
import os
import random
import re
import select
import signal
import sqlite3
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from gascard import codes
from gascard.chip import Chip
from gascard.records import IMAGE_SIZE, ORDER_AT
from gashall import errors, units
from gashall.errors import CardError, GasError, LedgerError
from gashall.keyfile import PLAIN
from gashall.readers.chip import Plan
from gashall.readers.file import SIDECAR, FileReader
from gashall.services import LEDGER_FILE, Hall
from gashall.signer import KeyFileSigner
from gashall.terms import PENDING
from gasrig.bench import TEST_REGION
from gasrig.handset import MeterUnderTest
from gasrig.targets import CPythonTarget

__all__ = ["PHASES", "Blow", "Clerk", "Course", "Day", "Fell", "main", "make_plan", "run_day"]

KEY_FILE = "region.key"
PLAN_FILE = "plan.json"
SLIPS_FILE = "slips"  # one line a service that was told to be over
NOTES_FILE = "notes"  # one line each time a service is begun
ASIDE_FILE = "aside"  # one line a blank card that was put aside
AWAY_FILE = "away"  # one line a service whose customer went to the meter before it was repeated

START = units.minutes(datetime(2026, 3, 2, tzinfo=UTC))
PULSE_WEIGHT = 2
ALARM = 500
CUSTOMERS = 8
SERVICES = 230
BLANKS = 3
"""Blank cards that lie ready for each customer; one will do unless a half-made one loses its password."""
TRY_BYTES = 2
"""The first bytes a card stores in a sale: the try that is spent and given back."""
SILENCE_SECONDS = 60.0
CARD_KINDS = ("open", "sell")


class DayFault(Exception):
    """Something at the counter is not as it must be: the day ends here."""


# ---------------------------------------------------------------------- the plan


def make_plan(seed: int, customers: int = CUSTOMERS, services: int = SERVICES) -> dict[str, Any]:
    """A selling day as JSON holds it: what the customers' meters show, and the services in their order.

    Volumes are pulses, prices hundredths of a fen.
    """
    chance = random.Random(f"selling day {seed}")
    people = [
        {"meter": f"{chance.randrange(10**14):014d}", "index": chance.randrange(100, 5000), "name": f"customer {k}"}
        for k in range(customers)
    ]
    plan: list[dict[str, Any]] = []

    def add(kind: str, **particulars: Any) -> None:
        plan.append({"id": len(plan), "kind": kind, **particulars})

    add("price", price=chance.randrange(20000, 30000))
    add("stock in", count=chance.randrange(customers * BLANKS, 100))
    add("open shift", clerk="Wang Fang")
    add("stock out", count=customers * BLANKS)
    last = [0] * customers  # what each bought last
    left = [0] * customers  # on his meter, when all is loaded
    on_card: set[int] = set()
    opened = 0
    half = False
    while len(plan) < services:
        if not half and len(plan) >= services // 2:
            half = True
            add("close shift", clerk="Wang Fang")
            add("price", price=chance.randrange(20000, 30000))
            add("open shift", clerk="Liu Yang")
            add("stock in", count=chance.randrange(1, 50))
            add("stock out", count=customers * BLANKS)
        if opened < customers and chance.randrange(12) == 0 or not opened:
            left[opened] = last[opened] = chance.randrange(1000, 4000)
            add("open", customer=opened, pulses=last[opened])
            on_card.add(opened)
            opened += 1
            continue
        who = chance.randrange(opened)
        if who in on_card:
            if chance.randrange(8) == 0:
                add("refused", customer=who, pulses=last[who])
            burn = chance.randrange(max(1, left[who] - 2 * ALARM))
            left[who] -= burn
            add("visit", customer=who, burn=burn)
            on_card.discard(who)
        elif chance.randrange(4) == 0:
            add("read", customer=who)
            add("reconcile", customer=who)
        else:
            last[who] = chance.randrange(100, 3000)
            left[who] += last[who]
            add("sell", customer=who, pulses=last[who])
            on_card.add(who)
    add("close shift", clerk="Liu Yang")
    return {"seed": seed, "customers": people, "services": plan}


def money(pulses: int, price: int) -> int:
    """What that costs in fen, half up; the day's own arithmetic."""
    return (pulses * price + 5000) // 10000


def card_name(customer: int, number: int) -> str:
    """The file of that blank of the customer's."""
    return f"card-{customer}-{number}.bin"


# ---------------------------------------------------------------------- what parent and child share


PHASES = ("starting", "between", "service", "card", "returned")
"""Where a program can be: starting, between two services, in one, in a write to a card, told but with no slip yet."""
STARTING, BETWEEN, SERVICE, CARD, RETURNED = range(5)


class Watch:
    """Where the child is, in memory that outlives it."""

    _LAYOUT = struct.Struct("<BHH")

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, mmap.PAGESIZE)
        self.reset()

    def reset(self) -> None:
        self.phase, self.service, self.stored = STARTING, 0, 0
        self._tell()

    def enter(self, phase: int, service: int | None = None) -> None:
        self.phase = phase
        if service is not None:
            self.service, self.stored = service, 0
        self._tell()

    def byte(self) -> None:
        self.stored += 1
        self._tell()

    def _tell(self) -> None:
        self._LAYOUT.pack_into(self._shared, 0, self.phase, self.service, self.stored)

    def seen(self) -> tuple[int, int, int]:
        """Phase, service and bytes stored on its card, as the child left them."""
        phase, service, stored = self._LAYOUT.unpack_from(self._shared)
        return phase, service, stored


class Blow(NamedTuple):
    """When a life ends: ``how`` and at which service at the earliest.

    timed: the parent kills so many seconds after the service has begun; start: after the fork; byte: the child kills
    itself before its service stores that byte on the card; returned: when the service has returned, before the slip.
    """

    how: str
    service: int
    seconds: float = 0.0
    byte: int = 0


NO_BLOW = Blow("none", 0)


class DayReader(FileReader):
    """A card file whose every stored byte is watched."""

    def __init__(self, path: Path, watch: Watch, blow: Blow) -> None:
        super().__init__(path)
        self.watch = watch
        self.blow = blow
        self.step = self._watched

    def _watched(self, plan: Plan) -> None:
        # A service that resumes stores fewer bytes: what it never came to is struck at the next card that is written.
        due = self.watch.stored >= (self.blow.byte if self.watch.service == self.blow.service else TRY_BYTES)
        if self.blow.how == "byte" and self.watch.service >= self.blow.service and due:
            os.kill(os.getpid(), signal.SIGKILL)
        self.watch.byte()

    def _write(self, address: int, data: bytes) -> None:
        self.watch.enter(CARD)
        super()._write(address, data)
        self.watch.enter(SERVICE)

    def _protect(self, address: int, data: bytes) -> None:
        self.watch.enter(CARD)
        super()._protect(address, data)
        self.watch.enter(SERVICE)

    def _present(self, psc: bytes, counter: int) -> bool:
        self.watch.enter(CARD)
        taken = super()._present(psc, counter)
        self.watch.enter(SERVICE)
        return taken

    def _change_psc(self, psc: bytes) -> None:
        self.watch.enter(CARD)
        super()._change_psc(psc)
        self.watch.enter(SERVICE)


# ---------------------------------------------------------------------- the clerk


# What GAS_ON_CARD, OPENING_NOT_LOADED and ALREADY_BOUND say of the order they speak of.
_TOLD = re.compile(r"order (\d+) over ([\d.]+) m³ for ([\d.]+) yuan of (\S+ \S+) ")
_BELONGS = re.compile(r"Meter (\d{14}) belongs to account (\d{10}): ")


class Told(NamedTuple):
    """The order an answer speaks of; ``made_at`` in minutes."""

    sequence: int
    pulses: int
    fen: int
    made_at: int


def told_order(error: GasError) -> Told:
    """The order that an error's text names. DayFault if it names none: the clerk could not know his own."""
    found = _TOLD.search(str(error))
    if found is None:
        raise DayFault(f"the answer names no order: {error}")
    made = datetime.fromisoformat(found[4])
    return Told(int(found[1]), units.pulses(Decimal(found[2]), PULSE_WEIGHT), units.fen(found[3]), units.minutes(made))


class Clerk:
    """One run of the hall's program and who sits before it. He has the plan, his own notes and slips, and eyes.

    Each method is one kind of service and its rule for a crash: ``again`` says that it was begun before. Every begin
    takes a minute by the clock, which he notes: an order of an earlier minute is not the one he was making.
    """

    def __init__(self, folder: Path, watch: Watch, blow: Blow, ask: Callable[[str], str]) -> None:
        """``ask`` sends a line to the parent and gives its answer; a line without one is answered empty."""
        self.folder = folder
        self.watch = watch
        self.blow = blow
        self.ask = ask
        plan = json.loads((folder / PLAN_FILE).read_text())
        self.customers: list[dict[str, Any]] = plan["customers"]
        self.plan: list[dict[str, Any]] = plan["services"]
        self.slips: list[dict[str, Any]] = [json.loads(line) for line in _lines(folder / SLIPS_FILE)]
        notes = [int(line) for line in _lines(folder / NOTES_FILE)]
        self.begun: dict[int, int] = {}
        for minute, number in enumerate(notes):
            self.begun.setdefault(number, START + minute)
        self.minute = START + len(notes)
        self.hall = Hall.open(folder, folder / KEY_FILE, clock=lambda: units.moment(self.minute))

    def work(self) -> None:
        """Work the plan off from the first service that has no slip."""
        for service in self.plan[len(self.slips) :]:
            number, kind = service["id"], service["kind"]
            again = number in self.begun
            self.minute = START + len(_lines(self.folder / NOTES_FILE))
            _append(self.folder / NOTES_FILE, str(number))
            self.begun.setdefault(number, self.minute)
            if kind == "visit":
                self.watch.enter(BETWEEN, number)
                slip = json.loads(self.ask(f"visit {number}"))
            else:
                self.ask(f"begin {number}")
                self.watch.enter(SERVICE, number)
                began = time.perf_counter()
                slip = getattr(self, "_" + kind.replace(" ", "_"))(service, again)
                slip["seconds"] = time.perf_counter() - began
                slip["bytes"] = self.watch.stored
                self.watch.enter(RETURNED)
                if self.blow.how == "returned" and number >= self.blow.service:
                    os.kill(os.getpid(), signal.SIGKILL)
            slip |= {"id": number, "again": again}
            _append(self.folder / SLIPS_FILE, json.dumps(slip))
            self.slips.append(slip)
            self.watch.enter(BETWEEN)
        self.hall.close()

    def _reader(self, service: dict[str, Any]) -> DayReader:
        customer = service["customer"]
        opening = next(other["id"] for other in self.plan if other["kind"] == "open" and other["customer"] == customer)
        aside = _lines(self.folder / ASIDE_FILE).count(str(opening))
        return DayReader(self.folder / card_name(customer, aside), self.watch, self.blow)

    def _account(self, service: dict[str, Any]) -> str:
        customer = service["customer"]
        openings = [slip for slip in self.slips if self.plan[slip["id"]]["kind"] == "open"]
        found: str = next(s["account"] for s in openings if self.plan[s["id"]]["customer"] == customer)
        return found

    def _his_own(self, error: GasError, service: dict[str, Any]) -> Told:
        """The order the answer speaks of, if that is what he was making: his volume and money, since he first began."""
        told = told_order(error)
        his = service["pulses"], self._cost(service)
        if (told.pulses, told.fen) != his or told.made_at < self.begun[service["id"]]:
            raise DayFault(f"service {service['id']} was told of another order than its own: {error}")
        return told

    # Cards

    def _open(self, service: dict[str, Any], again: bool) -> dict[str, Any]:
        """Repeated, ALREADY_BOUND naming his meter and order says that it was made: the card in the reader is issued.

        A half-made card whose password is lost is put aside, as the answer says, and another blank is taken.
        """
        person = self.customers[service["customer"]]
        while True:
            try:
                sale = self.hall.open_account(
                    self._reader(service),
                    meter=person["meter"],
                    volume=units.volume(service["pulses"], PULSE_WEIGHT),
                    name=person["name"],
                    initial_reading=units.volume(person["index"], PULSE_WEIGHT),
                    alarm=units.volume(ALARM, PULSE_WEIGHT),
                )
            except LedgerError as error:
                belongs = _BELONGS.search(str(error))
                if not again or error.code != codes.ALREADY_BOUND or belongs is None or belongs[1] != person["meter"]:
                    raise
                told = self._his_own(error, service)
                return {"how": "told", "account": belongs[2], "sequence": told.sequence, "fen": told.fen}
            except CardError as error:
                if not again or error.code not in (codes.PASSWORD_REFUSED, errors.LAST_TRY, errors.CARD_DEAD):
                    raise
                _append(self.folder / ASIDE_FILE, str(service["id"]))
                continue
            how = "resumed" if sale.resumed else "sold"
            return {"how": how, "account": sale.account, "sequence": sale.sequence, "fen": sale.fen}

    def _sell(self, service: dict[str, Any], again: bool) -> dict[str, Any]:
        """Repeated with the card still here: ``resumed`` is his own sale; GAS_ON_CARD names the order it speaks of.

        If the customer has been away with the card, a repetition could be a second sale and no answer would say so:
        then he reads the card and looks into the account's history first.
        """
        account = self._account(service)
        if again and self._was_away(service):
            self.hall.read_back(self._reader(service))
            orders = self.hall.history(account).orders
            mine = [order for order in orders if order.made_at >= self.begun[service["id"]]]
            if mine and mine[-1].state != PENDING:
                return {"how": "found", "account": account, "sequence": mine[-1].sequence, "fen": mine[-1].fen}
        volume = units.volume(service["pulses"], PULSE_WEIGHT)
        rescue = False
        while True:
            try:
                sale = self.hall.sell(self._reader(service), volume, rescue=rescue)
            except CardError as error:
                if again and error.code == errors.LAST_TRY and not rescue:
                    rescue = True
                    continue
                if not again or error.code != errors.GAS_ON_CARD:
                    raise
                told = self._his_own(error, service)
                return {"how": "told", "account": account, "sequence": told.sequence, "fen": told.fen}
            how = "resumed" if sale.resumed else "sold"
            return {"how": how, "account": sale.account, "sequence": sale.sequence, "fen": sale.fen}

    def _was_away(self, service: dict[str, Any]) -> bool:
        return str(service["id"]) in _lines(self.folder / AWAY_FILE)

    def _refused(self, service: dict[str, Any], again: bool) -> dict[str, Any]:
        """A customer with gas still on his card wants as much again: the answer names the earlier order."""
        try:
            self.hall.sell(self._reader(service), units.volume(service["pulses"], PULSE_WEIGHT))
        except CardError as error:
            if error.code not in (errors.GAS_ON_CARD, errors.OPENING_NOT_LOADED):
                raise
            told = told_order(error)
            if told.made_at >= self.begun[service["id"]]:
                raise DayFault(f"an order was made on a card with gas on it: {error}") from error
            return {"sequence": told.sequence}
        raise DayFault(f"service {service['id']}: sold on a card with gas on it")

    def _read(self, service: dict[str, Any], again: bool) -> dict[str, Any]:
        """Repeating it does no harm."""
        return {"state": self.hall.read_back(self._reader(service)).state}

    def _reconcile(self, service: dict[str, Any], again: bool) -> dict[str, Any]:
        """Repeating it does no harm."""
        found = self.hall.reconcile(self._account(service))
        if found.difference:
            raise DayFault(f"service {service['id']}: account {found.account} differs by {found.difference} pulses")
        return {"difference": found.difference}

    def _cost(self, service: dict[str, Any]) -> int:
        return self.hall.cost(units.volume(service["pulses"], PULSE_WEIGHT))

    # Counter

    def _price(self, service: dict[str, Any], again: bool) -> dict[str, Any]:
        """Repeated, he asks first what is in force."""
        price = Decimal(service["price"]) / 100
        if again and self.hall.price() == price:
            return {"how": "found"}
        self.hall.set_price(None, price)
        return {"how": "set"}

    def _stock_in(self, service: dict[str, Any], again: bool) -> dict[str, Any]:
        """A repetition would book the delivery twice: he compares with his delivery notes first."""
        if again and self.hall.stock().delivered == self._earlier(service, "stock in") + service["count"]:
            return {"how": "found"}
        self.hall.stock_in(service["count"])
        return {"how": "booked"}

    def _stock_out(self, service: dict[str, Any], again: bool) -> dict[str, Any]:
        """A repetition would hand out twice: he compares with what the shift's slip says was handed out."""
        if again and self.hall.shift().handed_out == service["count"]:
            return {"how": "found"}
        self.hall.stock_out(service["count"])
        return {"how": "booked"}

    def _open_shift(self, service: dict[str, Any], again: bool) -> dict[str, Any]:
        """Repeated, SHIFT_OPEN names whose shift is open."""
        try:
            self.hall.open_shift(service["clerk"])
        except LedgerError as error:
            if not again or error.code != errors.SHIFT_OPEN or service["clerk"] not in str(error):
                raise
            return {"how": "told"}
        return {"how": "opened"}

    def _close_shift(self, service: dict[str, Any], again: bool) -> dict[str, Any]:
        """He counts drawer and blank cards, books the pile of spoiled ones, and closes.

        Repeated, SHIFT_MISSING names whose shift was the last, and its slip can be had again.
        """
        opened = max(s["id"] for s in self.plan[: service["id"]] if s["kind"] == "open shift")
        mine = self.slips[opened:]
        cash = sum(slip["fen"] for slip in mine if "fen" in slip)
        aside = [int(line) for line in _lines(self.folder / ASIDE_FILE)]
        handed = sum(self.plan[slip["id"]]["count"] for slip in mine if self.plan[slip["id"]]["kind"] == "stock out")
        issued = sum(self.plan[slip["id"]]["kind"] == "open" for slip in mine)
        cards = handed - issued - sum(number > opened for number in aside)
        try:
            spoiled = len(aside) - self.hall.stock().spoiled
            if spoiled:
                self.hall.stock_spoiled(spoiled)
            self.hall.close_shift(cash, cards=cards)
        except LedgerError as error:
            if not again or error.code != errors.SHIFT_MISSING or service["clerk"] not in str(error):
                raise
            slip = self.hall.shift()
            if (slip.cash, slip.cards, slip.clerk) != (cash, cards, service["clerk"]):
                raise DayFault(f"the slip of shift {slip.number} is not what was counted") from error
            return {"how": "told", "cash": cash, "cards": cards}
        return {"how": "closed", "cash": cash, "cards": cards}

    def _earlier(self, service: dict[str, Any], kind: str) -> int:
        return sum(s["count"] for s in self.plan[: service["id"]] if s["kind"] == kind)


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def _append(path: Path, line: str) -> None:
    # One write: a kill leaves the whole line or none of it.
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(handle, line.encode() + b"\n")
    finally:
        os.close(handle)


# ---------------------------------------------------------------------- the day


class Fell(NamedTuple):
    """Where a kill fell: how it was meant, and phase, service, its kind, and bytes it had stored on a card."""

    how: str
    phase: str
    service: int
    kind: str
    stored: int


@dataclass
class Course:
    """What came of a day: where the kills fell, what the clerk was told, and what is wrong (nothing, one hopes)."""

    seed: int
    fell: list[Fell] = field(default_factory=list)
    hows: dict[str, int] = field(default_factory=dict)
    """How repeated services ended, by kind and answer: "sell told" -> how often."""
    away: int = 0
    aside: int = 0
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def within(self, *phases: str) -> int:
        """How many kills fell in these phases."""
        return sum(fell.phase in phases for fell in self.fell)


class Day:
    """A folder with a hall, its plan, its cards, and the meters of its customers."""

    def __init__(self, folder: Path, plan: dict[str, Any]) -> None:
        self.folder = folder
        self.plan = plan
        self.chance = random.Random(f"kills {plan['seed']}")
        self.watch = Watch()
        self.course = Course(plan["seed"])
        self.burned: set[int] = set()
        root = sha256(b"icgas selling day %d" % plan["seed"]).digest()
        self.signer = KeyFileSigner(root, TEST_REGION)
        text = json.dumps({"format": PLAIN, "region": TEST_REGION, "root": root.hex()})
        handle = os.open(folder / KEY_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(handle, "w", encoding="ascii") as file:
            file.write(text + "\n")
        (folder / PLAN_FILE).write_text(json.dumps(plan))
        for customer in range(len(plan["customers"])):
            for number in range(BLANKS):
                FileReader.blank(folder / card_name(customer, number))
        self.meters = [self._meter(person) for person in plan["customers"]]
        self._forked(lambda: Hall.open(folder, folder / KEY_FILE, clock=_first_minute, create=True).close())

    def _meter(self, person: dict[str, Any]) -> MeterUnderTest:
        meter = MeterUnderTest(CPythonTarget())
        key, tool_key = self.signer.meter_keys(person["meter"], 1)
        index = person["index"]
        made = {"meter": person["meter"], "key": key, "tool_key": tool_key, "register": index, "index": index}
        meter.build(**made, minutes=START, travel_ms=100)
        return meter

    # --- lives

    def run(self, blows: Sequence[Blow]) -> None:
        """Live one life for each blow, in order, then one that is left alone; a fault ends the day."""
        for blow in (*blows, NO_BLOW):
            if self._life(blow) or self.course.faults:
                break
        self.course.aside = len(_lines(self.folder / ASIDE_FILE))
        for slip in self.slips:
            if slip["again"] and "how" in slip:
                name = f"{self.plan['services'][slip['id']]['kind']} {slip['how']}"
                self.course.hows[name] = self.course.hows.get(name, 0) + 1

    @property
    def slips(self) -> list[dict[str, Any]]:
        """The clerk's slips so far."""
        return [json.loads(line) for line in _lines(self.folder / SLIPS_FILE)]

    def _life(self, blow: Blow) -> bool:
        """One run of the program; whether it came to the end of the plan."""
        self.watch.reset()
        from_child, to_parent = os.pipe()
        from_parent, to_child = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(from_child)
            os.close(to_child)
            self._child(blow, to_parent, from_parent)
        os.close(to_parent)
        os.close(from_parent)
        try:
            killed = self._attend(child, blow, from_child, to_child)
        finally:
            os.close(from_child)
            os.close(to_child)
            status = os.waitpid(child, 0)[1]
        if os.WIFEXITED(status):
            if os.WEXITSTATUS(status):
                fault = self.folder / "fault"
                self.course.faults.append(fault.read_text() if fault.exists() else f"the program ended by {status}")
            return True
        if os.WTERMSIG(status) != signal.SIGKILL:
            self.course.faults.append(f"the program died by signal {os.WTERMSIG(status)}")
        elif not killed and blow.how not in ("byte", "returned"):
            self.course.faults.append("the program was killed by somebody else")
        phase, number, stored = self.watch.seen()
        service = self.plan["services"][number]
        self.course.fell.append(Fell(blow.how, PHASES[phase], number, service["kind"], stored))
        # Some customers do not wait until the computer is back, and go home with the card.
        chosen = self.chance.randrange(4) == 0
        if chosen and phase in (SERVICE, CARD, RETURNED) and self._may_leave(service):
            _append(self.folder / AWAY_FILE, str(number))
            self.course.away += 1
            self._insert(service["customer"])
        return False

    def _may_leave(self, service: dict[str, Any]) -> bool:
        """A buyer may, once; not one who by the plan is to ask for more with the gas still on his card."""
        if service["kind"] != "sell" or str(service["id"]) in _lines(self.folder / AWAY_FILE):
            return False
        later = self.plan["services"][service["id"] + 1 :]
        return next((s["kind"] for s in later if s.get("customer") == service["customer"]), "") != "refused"

    def _child(self, blow: Blow, to_parent: int, from_parent: int) -> None:
        """Never returns: nothing of the parent's may be ended twice."""
        gc.freeze()
        code = 3
        try:

            def ask(line: str) -> str:
                os.write(to_parent, line.encode() + b"\n")
                return "" if line.startswith("begin") else os.read(from_parent, 4096).decode()

            Clerk(self.folder, self.watch, blow, ask).work()
            code = 0
        except BaseException as error:
            (self.folder / "fault").write_text(
                f"{type(error).__name__}: {error} (service {self.watch.service})\n{traceback.format_exc()}"
            )
        finally:
            os._exit(code)

    def _attend(self, child: int, blow: Blow, from_child: int, to_child: int) -> bool:
        """Answer the child, and kill it when its time has come; whether it was killed here."""
        deadline = time.monotonic() + blow.seconds if blow.how == "start" else None
        heard = b""
        while True:
            wait = SILENCE_SECONDS if deadline is None else max(0.0, deadline - time.monotonic())
            heard_more = select.select([from_child], [], [], wait)[0]
            # However late this process is: no customer is served after the time, so a day cannot run away.
            if not heard_more or (deadline is not None and time.monotonic() >= deadline):
                if deadline is None:
                    self.course.faults.append(f"the program says nothing for {SILENCE_SECONDS} s")
                os.kill(child, signal.SIGKILL)
                return True
            some = os.read(from_child, 4096)
            if not some:
                return False
            heard += some
            *lines, heard = heard.split(b"\n")
            for line in lines:
                word, number = line.decode().split()
                if word == "visit":
                    began = time.monotonic()
                    os.write(to_child, json.dumps(self._visit(int(number))).encode())
                    # The customer's way is not the program's time.
                    if deadline is not None:
                        deadline += time.monotonic() - began
                elif blow.how == "timed" and deadline is None and int(number) >= blow.service:
                    deadline = time.monotonic() + blow.seconds

    # --- people at their meters

    def card_path(self, customer: int) -> Path:
        """The file of the card the customer was given."""
        opening = next(s["id"] for s in self.plan["services"] if s["kind"] == "open" and s["customer"] == customer)
        return self.folder / card_name(customer, _lines(self.folder / ASIDE_FILE).count(str(opening)))

    def _visit(self, number: int) -> dict[str, Any]:
        """The planned way to the meter: the card goes in, gas is burned, once however often it is asked for."""
        service = self.plan["services"][number]
        code = self._insert(service["customer"])
        meter = self.meters[service["customer"]]
        if number not in self.burned:
            self.burned.add(number)
            if service["burn"]:
                meter.pulses(service["burn"])
        return {"code": code, "index": meter.snapshot()["index"]}

    def _insert(self, customer: int) -> int:
        path = self.card_path(customer)
        beside = Path(str(path) + SIDECAR)
        chip = Chip()
        chip.restore(path.read_bytes() + beside.read_bytes())
        code = self.meters[customer].insert(chip)
        dump = self.meters[customer].remove().dump()
        path.write_bytes(dump[:IMAGE_SIZE])
        beside.write_bytes(dump[IMAGE_SIZE:])
        return code

    # --- the end

    def judge(self) -> None:
        """Add the plan up and compare with ledger, cards, meters, shifts and stock; what differs is a fault."""
        if self.course.faults:
            return
        text = self._forked(self._compared)
        self.course.faults += json.loads(text)

    def _forked(self, work: Callable[[], Any]) -> str:
        """What ``work`` gives, as JSON, in a process of its own: the parent opens no ledger."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            gc.freeze()
            try:
                os.close(reading)
                try:
                    text = json.dumps(work())
                except BaseException:
                    text = json.dumps([traceback.format_exc()])
                with open(writing, "w", encoding="utf-8") as file:
                    file.write(text)
            finally:
                os._exit(0)
        os.close(writing)
        with open(reading, encoding="utf-8") as file:
            text = file.read()
        os.waitpid(child, 0)
        return text

    def _compared(self) -> list[str]:
        faults: list[str] = []

        def same(what: str, found: Any, expected: Any) -> None:
            if found != expected:
                faults.append(f"{what}: {found!r}, by the plan {expected!r}")

        services = self.plan["services"]
        made: list[list[tuple[int, int, int]]] = [[] for _ in self.plan["customers"]]  # pulses, fen, shift
        moneys, counts = [0], [0]
        price = prices = 0
        for service in services:
            if service["kind"] == "price":
                price, prices = service["price"], prices + 1
            elif service["kind"] == "open shift":
                moneys.append(0)
                counts.append(0)
            elif service["kind"] in CARD_KINDS:
                fen = money(service["pulses"], price)
                made[service["customer"]].append((service["pulses"], fen, len(moneys) - 1))
                moneys[-1] += fen
                counts[-1] += 1
        opened = [person for person, orders in zip(self.plan["customers"], made, strict=True) if orders]
        slips = self.slips
        same("slips", [slip["id"] for slip in slips], list(range(len(services))))
        files = {LEDGER_FILE, KEY_FILE, PLAN_FILE, SLIPS_FILE, NOTES_FILE, ASIDE_FILE, AWAY_FILE}
        files |= {
            card_name(customer, number) + end
            for customer in range(len(made))
            for number in range(BLANKS)
            for end in ("", SIDECAR)
        }
        same("files left over", sorted({path.name for path in self.folder.iterdir()} - files), [])

        with closing(sqlite3.connect(self.folder / LEDGER_FILE)) as raw:
            accounts = dict(raw.execute("SELECT meter, account FROM bindings").fetchall())
            same("accounts", raw.execute("SELECT count(*) FROM accounts").fetchone()[0], len(opened))
            same("bindings", sorted(accounts), sorted(person["meter"] for person in opened))
            same("orders", raw.execute("SELECT count(*) FROM orders").fetchone()[0], sum(counts))
            same("prices", raw.execute("SELECT count(*) FROM prices").fetchone()[0], prices)
            for customer, person in enumerate(self.plan["customers"]):
                if not made[customer]:
                    continue
                rows = raw.execute(
                    "SELECT paid_pulses, fen, shift, sequence, released_pulses, state, frame, card FROM orders "
                    "WHERE account = ? ORDER BY id",
                    (accounts[person["meter"]],),
                ).fetchall()
                name = person["name"]
                same(f"orders of {name}", [tuple(row[:3]) for row in rows], made[customer])
                same(f"sequences of {name}", [row[3] for row in rows], list(range(1, len(rows) + 1)))
                totals = [sum(row[0] for row in rows[: count + 1]) for count in range(len(rows))]
                same(f"totals of {name}", [row[4] for row in rows], totals)
                same(f"orders of {name} not on the card", [row[3] for row in rows if row[5] == PENDING], [])
                dump = self.card_path(customer).read_bytes()
                same(f"card of {name}", dump[ORDER_AT : ORDER_AT + len(rows[-1][6])], rows[-1][6])
                security = Path(str(self.card_path(customer)) + SIDECAR).read_bytes()[4:]
                same(f"tries and password of {name}", security, b"\x07" + self.signer.card_psc(rows[-1][7]))
                told = [
                    (slip["account"], slip["sequence"], slip["fen"])
                    for slip in slips
                    if services[slip["id"]]["kind"] in CARD_KINDS and services[slip["id"]]["customer"] == customer
                ]
                booked = [(accounts[person["meter"]], row[3], row[1]) for row in rows]
                same(f"slips of {name}", told, booked)

        minute = START + len(_lines(self.folder / NOTES_FILE))
        hall = Hall.open(self.folder, self.folder / KEY_FILE, clock=lambda: units.moment(minute))
        for number in range(1, len(moneys)):
            shift = hall.shift(number)
            same(f"money of shift {number}", (shift.money, shift.cash, shift.reason), (moneys[number],) * 2 + (None,))
            same(f"orders of shift {number}", shift.openings + shift.sales, counts[number])
            same(f"unfinished in shift {number}", (shift.unfinished, shift.unpaid), (0, 0))
        aside = len(_lines(self.folder / ASIDE_FILE))
        delivered = sum(service["count"] for service in services if service["kind"] == "stock in")
        stock = hall.stock()
        figures = (stock.store, stock.delivered, stock.used, stock.spoiled, stock.missing)
        same("stock", figures, (delivered - len(opened) - aside, delivered, len(opened), aside, 0))
        # Everybody goes to his meter once more, and every pulse is accounted for: sold is burned or left.
        for customer, person in enumerate(self.plan["customers"]):
            if not made[customer]:
                continue
            same(f"last visit of {person['name']}", self._insert(customer) in (codes.OK, codes.REPEAT), True)
            meter = self.meters[customer].snapshot()
            burned = meter["index"] - person["index"]
            sold = sum(pulses for pulses, _, _ in made[customer])
            planned = sum(s["burn"] for s in services if s["kind"] == "visit" and s["customer"] == customer)
            same(f"gas of {person['name']}", (burned, burned + meter["remaining"]), (planned, sold))
            read = hall.read_back(FileReader(self.card_path(customer)))
            same(f"left on the card of {person['name']}", (read.state, read.on_card), ("done", 0))
            index = units.volume(meter["index"], PULSE_WEIGHT)
            same(f"difference of {person['name']}", hall.reconcile(read.account, index).difference, 0)
        same("audit", [str(finding) for finding in hall.audit().findings], [])
        hall.close()
        left = [name for name in (LEDGER_FILE + "-wal", LEDGER_FILE + "-shm") if (self.folder / name).exists()]
        same("files SQLite left over", left, [])
        return faults


def _first_minute() -> datetime:
    return units.moment(START)


# ---------------------------------------------------------------------- kills


def make_blows(seed: int, kills: int, slips: Sequence[dict[str, Any]], kinds: Sequence[str]) -> list[Blow]:
    """Where to kill, in the day's order: ``slips`` are those of a day nobody disturbed, ``kinds`` of its services.

    Of ten kills six fall at instants drawn evenly from the whole time the services took, two at a drawn byte of an
    opening or a sale, one between a service's return and its slip, and one while the program starts.
    """
    chance = random.Random(f"blows {seed}")
    # The end is left in peace, so that every kill, however late, still finds the day under way.
    end = [number for number, kind in enumerate(kinds) if kind == "sell"][-4]
    calm = [slip for slip in slips if "seconds" in slip and slip["id"] < end and "visit" in kinds[slip["id"] :]]
    cards = [slip for slip in calm if kinds[slip["id"]] in CARD_KINDS]
    blows = []
    for number in range(kills):
        how = ("timed", "byte", "timed", "returned", "timed", "timed", "byte", "timed", "start", "timed")[number % 10]
        if how == "timed":
            instant = chance.uniform(0, sum(slip["seconds"] for slip in calm))
            for slip in calm:
                if instant < slip["seconds"]:
                    break
                instant -= slip["seconds"]
            blows.append(Blow(how, slip["id"], seconds=instant))
        elif how == "byte":
            slip = chance.choice(cards)
            # Three deaths at the try of one sale would cost the customer's card; of an opening, a blank.
            least = TRY_BYTES if kinds[slip["id"]] == "sell" else 0
            blows.append(Blow(how, slip["id"], byte=chance.randrange(least, slip["bytes"])))
        elif how == "returned":
            blows.append(Blow(how, chance.choice(cards if chance.randrange(2) else calm)["id"]))
        else:
            blows.append(Blow(how, chance.choice(calm)["id"], seconds=chance.uniform(0, 0.02)))
    return sorted(blows, key=lambda blow: blow.service)


def run_day(
    seed: int, kills: int, folder: Path, *, plan: dict[str, Any] | None = None, blows: Sequence[Blow] | None = None
) -> Course:
    """A day that nobody disturbs, to measure it, then the same day with so many kills; what came of that.

    ``folder`` must be empty. ``blows`` are struck instead of drawn ones.
    """
    plan = make_plan(seed) if plan is None else plan
    began = time.monotonic()
    if blows is None:
        (folder / "calm").mkdir()
        calm = Day(folder / "calm", plan)
        calm.run(())
        calm.judge()
        if calm.course.faults:
            return calm.course
        blows = make_blows(seed, kills, calm.slips, [service["kind"] for service in plan["services"]])
    (folder / "day").mkdir()
    day = Day(folder / "day", plan)
    day.run(blows)
    day.judge()
    day.course.seconds = time.monotonic() - began
    return day.course


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m gasrig.selling_day``: 0 if every day held, else 3."""
    parser = argparse.ArgumentParser(prog="python -m gasrig.selling_day", description="Kill a selling day.")
    parser.add_argument("--seeds", default="1..2", metavar="A..B")
    parser.add_argument("--kills", type=int, default=200)
    options = parser.parse_args(argv)
    first, _, last = options.seeds.partition("..")
    wrong = 0
    for seed in range(int(first), int(last or first) + 1):
        with tempfile.TemporaryDirectory(prefix="icgas-day-") as folder:
            course = run_day(seed, options.kills, Path(folder))
        where = ", ".join(f"{course.within(phase)} {phase}" for phase in PHASES)
        print(f"seed {seed}: {len(course.fell)} kills ({where}), {course.seconds:.1f} s, {len(course.faults)} faults")
        print(f"  repeated: {course.hows}, {course.away} customers went home, {course.aside} cards put aside")
        for fault in course.faults:
            print(f"  {fault}")
        wrong += bool(course.faults)
    return 3 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
