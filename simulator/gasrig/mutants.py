"""Known-bug builds: firmware and hall with one small defect each, and which check of the suite finds it.

A suite that finds nothing says little until it is known what it would have found. A *mutant* is a sentence, a few
patches to today's sources, and the checks that are to find it. The four packages are copied into a folder of their
own, patched there, and the checks run in another process with that folder first on its path. The truth-keepers
(``gasrig.checkers``) are never patched. The unpatched copy is run too and has to pass every check used, else being
caught would mean nothing.

The checks; ``flows`` is played first, but for mutants of what only a ``day`` comes near. These two are without any
fault; what they do not find is found only by cuts, pulls, broken parts or an adversary:

    flows      every flow of gasrig.flows as it is, and plain days at hall and meter
    cut        the power is cut (gasrig.cut)
    count      the same, the pulses judged by wheels and meter alone, whatever stands in the tally
    pull       the card is pulled or swapped (gasrig.cut)
    hall cut   the hall is killed, its card pulled or swapped (gasrig.counter_cut)
    damage     one copy of a record becomes unreadable, at rest
    silence    a memory, or a card at the hall, loses a write and does not say so
    verdict    what is stored before the verdict on a card, whatever it will be
    lockout    gasrig.attacks
    collage    the order of one image and the reports of another, on one card, at a hall
    adversary  gasrig.adversary
    heirs      gasrig.heirs
    explore    gasrig.explore
    day        a plain day at the counter (gasrig.counter_days); no fault in it, but what must be refused

A new mutant is one entry of MUTANTS; what cannot be observed at all is listed in EQUIVALENT, with the reason.
"""

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from gascard import codes
from gascard.chip import Chip
from gascard.crc import crc16
from gascard.frames import HEAD, frame_size
from gascard.records import FLAG_REFUND, ORDER, ORDER_AT, REPORT_AT, REPORT_DATA, SHUT_LARGE_FLOW, offset_of
from gashall.errors import GasError
from gashall.signer import KeyFileSigner
from gasrig import adversary, attacks, checkers, counter_cut, counter_days, explore, heirs
from gasrig.bench import TEST_REGION
from gasrig.checkers import Violation
from gasrig.counter_cut import Counts
from gasrig.cut import Cutter, _Edge
from gasrig.faults import PAGE
from gasrig.flows import FLOWS, GUARD_LIMITS, HEIR, METER, ROOT, Flow, FlowError, Player, Step, play
from gasrig.handset import Entry, MeterUnderTest, RecordedMeter
from gasrig.parts import Fram
from gasrig.recorder import KEYS, STORE
from gasrig.states import Stored
from gasrig.targets import CPythonTarget, TargetError, open_target
from gasrig.town import Town
from gasrig.world import World
from meter.layouts import EVENTS_AT, FINAL_RECORD_AT, GUARDS_AT, LOCKOUT_AT

__all__ = [
    "CHECKS",
    "EQUIVALENT",
    "MUTANTS",
    "PACKAGES",
    "Check",
    "Mutant",
    "Patch",
    "PatchError",
    "Result",
    "baseline",
    "build",
    "command",
    "patched",
    "run",
]

PACKAGES = ("gascard", "meter", "gashall", "gasrig")
PLAIN = "flows"
DAY = "day"
SURVIVED = 3  # exit code
MOST_SECONDS = 240  # of one mutant: one that hangs is caught
LANE_LENGTH = 64


# ---------------------------------------------------------------------- what a mutant is


class Patch(NamedTuple):
    """``old`` stands exactly once in ``file`` (package/module.py) and becomes ``new``."""

    file: str
    old: str
    new: str


class PatchError(ValueError):
    """A patch that does not match today's source exactly once."""


class Check(NamedTuple):
    """One of CHECKS and where it looks: a flow, a scope, a strategy, seeds.

    ``steps`` are numbers of the flow's steps, expectations not counted; none: all. ``shard``: one in so many of the
    cases is tried. ``depth``: of a search, moves; of a siege, days; of a story, steps; of a cut, cuts in a row.
    """

    kind: str
    where: str = ""
    steps: tuple[int, ...] = ()
    memory: str = "fram"
    shard: int = 1
    depth: int = 1

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.kind}: {self.where}" if self.where else self.kind


@dataclass(frozen=True, slots=True)
class Mutant:
    """A defect: ``what`` is wrong, in one sentence; ``checks`` in this order, none where ``flows`` finds it."""

    name: str
    what: str
    patches: tuple[Patch, ...]
    checks: tuple[Check, ...] = ()

    @property
    def beyond(self) -> bool:
        """Whether it takes more than a check without any fault to find it."""
        return any(check.kind not in (PLAIN, DAY) for check in self.checks)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a mutant: the first check that caught it, with rule and text; None if it survived."""

    name: str
    what: str
    caught_by: str | None
    where: str
    rule: str
    text: str
    seconds: float


class CaughtError(Exception):
    """The check has found something: rule and text."""

    def __init__(self, rule: str, text: str) -> None:
        super().__init__(f"{rule}: {text}")
        self.rule = rule
        self.text = text


# ---------------------------------------------------------------------- the checks


def _flows(check: Check) -> None:
    with open_target("cpython") as target:
        meter = MeterUnderTest(target)
        for name, flow in FLOWS.items():
            try:
                play(flow, meter)
            except FlowError as error:
                raise CaughtError("flow", f"{name}: {error}") from None
    _town_days()
    _world_days()


def _expect(what: str, said: object, right: object) -> None:
    if said != right:
        raise CaughtError("plain day", f"{what}: {said}, not {right}")


def _town_days() -> None:
    # Nobody does anything wrong: two customers buy, burn, come back; the checkers look after each step.
    with Town(2, alarm=3, overdraft=1) as town:

        def so(what: str, said: int, right: int = codes.OK) -> None:
            _expect(what, said, right)
            town.check()

        for meter, first in ((0, 90), (1, 8)):
            so("open", town.open_account(meter, first), meter)
            so("opening card", town.visit(meter, meter))
            so("read back", town.read_back(meter))
        for meter, burned in ((0, 80), (1, 3)):
            so("burn", town.burn(meter, burned), burned)
            so("sell", town.sell(meter, 20))
            so("load", town.visit(meter, meter))
            so("repeat", town.visit(meter, meter), codes.REPEAT)
            so("read back", town.read_back(meter))
            so("burn to the alarm", town.burn(meter, 99), 30 - 3 if meter == 0 else 25 - 3)
            so("key", town.key(meter))
            so("burn to the end", town.burn(meter, 99), 3 + 1)
            so("sell", town.sell(meter, 5))
            so("load", town.visit(meter, meter))
            so("burn", town.burn(meter, 1), 1)


def _world_days() -> None:
    # The hall's own sum, at the end of two weeks.
    with World(7, demand=[150_000]) as world:
        chip = world.blank_card()
        reader = world.reader(chip)
        initial = world.index_volume()
        sale = world.hall.open_account(reader, meter=world.number, volume=400, initial_reading=initial, alarm=5)
        _expect("opening card", world.visit(chip), codes.OK)
        world.days(7)
        _expect("repeat", world.visit(chip), codes.REPEAT)
        world.hall.sell(reader, 100, fen=10_000)
        _expect("load", world.visit(chip), codes.OK)
        world.days(7)
        _expect("repeat", world.visit(chip), codes.REPEAT)
        back = world.hall.read_back(reader)
        _expect("order", back.state, "done")
        reconciled = world.hall.reconcile(sale.account, world.index_volume())
        _expect("sold", reconciled.sold, 50_000)
        _expect("difference", reconciled.difference, 0)


class _Cut(Cutter):
    """Cuts some steps of a flow and stops at the first violation. ``pulls`` only, or none.

    ``shard`` of the check thins out what a write may leave behind, or the pulls, so that every write is cut.
    """

    def __init__(self, check: Check, *, pulls: bool, stranger: bool = False) -> None:
        self._opened = [open_target("cpython") for _ in range(2 if stranger else 1)]
        super().__init__(*self._opened, depth=check.depth, shard=(1, check.shard if pulls else 1))
        self._check = check
        self._only_pulls = pulls

    def close(self) -> None:
        """End the targets."""
        for target in self._opened:
            target.close()

    def _steps(self, flow: Flow, memory: str) -> tuple[Step, ...] | None:
        return super()._steps(flow, memory) if memory == self._check.memory else None

    def _edge(self, edge: _Edge, steps: tuple[Step, ...]) -> None:
        if self._check.steps and len(steps) - 1 not in self._check.steps:
            return
        super()._edge(replace(edge, entries=[]) if self._only_pulls else edge, steps)

    def _torn(self, entry: Entry, stored: Stored) -> Iterator[tuple[str, Stored]]:
        return islice(super()._torn(entry, stored), 0, None, self._check.shard)

    def _pulls(self, edge: _Edge) -> None:
        if self._only_pulls:
            super()._pulls(edge)

    def _found(self, case: str, text: str) -> None:
        rule, _, said = text.partition(": ")
        raise CaughtError(rule, f"{self._name}, {case}: {said}")


class _Count(_Cut):
    """Judges nothing but the pulses, and asks for them the meter and the wheels."""

    def _reference(self, edge: _Edge, stored: Stored) -> tuple[Any, ...]:
        self._load(stored)
        self.meter.power_on()
        self.meter.entries()
        return ()

    def _booted(self, edge: _Edge, stored: Stored, between: object, in_flight: int) -> list[Entry]:
        self._load(stored)
        meter = self.meter
        counted = meter.power_on()["register"]
        entries = meter.entries()
        turned = stored.wheels - self._made_index
        if not turned - in_flight <= counted <= turned:
            raise Violation("register_true", f"{turned} turned, {in_flight} in flight, {counted} counted")
        meter.pulses(3)
        meter.power_off(warned=True)
        again = meter.power_on()["register"]
        meter.entries()
        if again != counted + 3:
            raise Violation("register_true", f"{counted} counted after the cut and 3 more, then {again}")
        return entries


def _cutting(cutter: type[_Cut], **options: bool) -> Callable[[Check], None]:
    def check_flow(check: Check) -> None:
        cut = cutter(check, **options)
        try:
            cut.run(check.where)
        finally:
            cut.close()

    return check_flow


def _hall_cut(check: Check) -> None:
    def look(counts: Counts) -> None:
        for found in counts.violations:
            rule, _, said = found.text.partition(": ")
            if rule not in counter_cut.HALL_RULES.keys() | checkers.RULES.keys():
                rule, said = "settles", found.text  # an error that should not have come
            raise CaughtError(rule, f"{found.flow}, {found.case}: {said}")

    look(counter_cut.run(check.where, check.depth, (1, check.shard), None, look))


def _lockout(check: Check) -> None:
    with open_target("cpython") as target:
        try:
            row = attacks.besiege(target, check.where, check.depth)
        except TargetError as error:
            raise CaughtError("lockout", str(error)) from None
    if not attacks.kept(asdict(row)):
        raise CaughtError("lockout", f"{check.where}: {row.judged} judged, {row.bound} promised")


def _verdict(check: Check) -> None:
    # Right or wrong, a card costs its token before the MAC is judged: the first thing stored after power-up says so.
    with open_target("cpython") as target:
        meter = RecordedMeter(target)
        player = Player(meter)
        player.step(_OPENING[0])
        later = _LATER[1]
        forged = (*later[:2], {**later[2], "wrong_mac": 1})
        for card in (_OPENING[1], forged, later, ("card", "clear", {"wrong_mac": 1}), ("card", "management", {})):
            meter.power_off(warned=False)
            tokens = meter.power_on()["tokens"]
            player.step(card)
            meter.entries()
            player.step(("insert",))
            first = next((entry for entry in meter.entries() if entry.kind == STORE), None)
            if first is None or not LOCKOUT_AT <= first.address < EVENTS_AT or first.data[2] >= tokens:
                raise CaughtError("lockout_held", f"answer {player.code}, and the first thing stored is {first}")
            player.step(("remove",))


def _adversary(check: Check) -> None:
    for found in adversary.search(check.where, check.depth).violations:
        moves = " > ".join([" ".join(map(str, action)) for action in found.story])
        raise CaughtError(found.rule, f"{found.text} ({check.where}: {moves})")


def _heirs(check: Check) -> None:
    for found in heirs.search(check.where, check.depth).violations:
        raise CaughtError(found.rule, f"{found.text} ({check.where}: {'; '.join(found.story)})")


def _explore(check: Check) -> None:
    first, _, last = check.where.partition("..")
    for seed in range(int(first), int(last) + 1):
        outcome = explore.play(explore.draw(seed, check.depth))
        if outcome.rule is not None:
            raise CaughtError(outcome.rule, f"seed {seed}: {outcome.text}")


def _day(check: Check) -> None:
    counter_days.play(check.where)


_OPENING: tuple[Step, ...] = (
    ("build", {"lane_length": LANE_LENGTH}),
    ("card", "opening", {"bought_total": 3000, "amount": 3000}),
    ("insert",),
    ("remove",),
)
_LATER: tuple[Step, ...] = (
    ("gas", 70_000, 3_600_000),
    ("card", "user", {"sequence": 2, "bought_total": 5000, "amount": 2000}),
    ("insert",),
    ("remove",),
)
_REFUND: tuple[Step, ...] = (
    ("card", "user", {"sequence": 3, "bought_total": 4000, "amount": -1000, "flags": FLAG_REFUND}),
    ("insert",),
    ("remove",),
)
# The copies of which a meter must be able to lose any one (RULES 2); checkpoints once there are two.
_COPIES = ((STORE, 0x80), (STORE, 0xC0), (KEYS, 0x00), (KEYS, 0x40))
_CHECKPOINTS = ((STORE, 0x00), (STORE, 0x40))


def _damage(check: Check) -> None:
    # Any one copy may be lost at rest: the meter stays bound and counts on, and its card brings back the rest.
    with open_target("cpython") as target:
        meter = RecordedMeter(target)
        player = Player(meter)
        player.step(_OPENING[0])
        made = {at: meter.store(at, PAGE) for at in (0x80, 0xC0)}
        for steps, copies in ((_OPENING, _COPIES), (_LATER, _COPIES + _CHECKPOINTS), (_REFUND, _COPIES)):
            for step in steps:
                player.step(step)
            meter.keep(0)
            before, card = meter.snapshot(), player.card.dump()
            for kind, at in copies:
                meter.back(0)
                meter.poke(kind, at, b"\xff" * PAGE)
                after = meter.power_on()
                where = f"{'store' if kind == STORE else 'keys'} {at:#04x} lost"
                # What was opened or paid back stands in both copies: no card is needed to know it.
                for name in ("binding", "register") + (("bought_total",) if steps is not _LATER else ()):
                    _damaged(where, name, after[name], before[name])
                chip = Chip()
                chip.restore(card)
                code = meter.insert(chip)
                if code not in (codes.OK, codes.REPEAT):
                    raise CaughtError("account_steady", f"{where}: the card is answered with {code}")
                for name in ("bought_total", "remaining", "sequence"):
                    _damaged(where, name, meter.last[name], before[name])
                meter.remove()
                store = checkers.read_store(meter.memory(0x1000 + LANE_LENGTH), meter.keys(), 1, LANE_LENGTH)
                checkers.binding_first(store)
            if steps is _OPENING:
                _completed(meter, player, made)
            meter.back(0)
            meter.power_on()
            meter.key()
        meter.keep(0)
        for at in GUARDS_AT:
            _limits_kept(meter, at)
        for ending in _ENDINGS:
            _ended(meter, ending)


def _limits_kept(meter: RecordedMeter, at: int) -> None:
    # Limits of the guards that were changed stand in both copies as well: no card brings them back.
    meter.back(0)
    meter.power_on()
    meter.guards(**GUARD_LIMITS)
    meter.poke(STORE, at, b"\xff" * PAGE)
    meter.power_on()
    meter.key()
    _damaged(f"store {at:#04x} lost", "reasons", meter.run(30_000, 30_000)["reasons"], SHUT_LARGE_FLOW)


# What ends a binding, or begins one on the heir's meter: the card, and what the account is then.
_ENDINGS: dict[str, tuple[Step, str]] = {
    "clear": (("card", "clear", {}), "over"),
    "transfer out": (("card", "transfer out", {}), "over"),
    "transfer in": (
        ("card", "transfer in", {"meter": HEIR, "heir": {"meter": METER}, "final": {"bought_total": 3000}}),
        "bound",
    ),
}


def _ended(meter: RecordedMeter, kind: str) -> None:
    # Either copy may be lost then, also where a cut had missed one of them and the card was shown once more.
    card, state = _ENDINGS[kind]
    player = Player(meter)
    for step in _OPENING if state == "over" else _OPENING[:1]:
        player.step(step)
    made = {at: meter.store(at, PAGE) for _, at in _COPIES[:2]}
    for step in (card, ("insert",), ("remove",)):
        player.step(step)
    meter.keep(0)
    for at in made:
        for cut in (False, True):
            meter.back(0)
            if cut:
                meter.poke(STORE, at, made[at])
                meter.power_on()
                player.step(("insert",))
                player.step(("remove",))
            meter.poke(STORE, at ^ 0x40 if cut else at, b"\xff" * PAGE)
            meter.power_on()
            store = checkers.read_store(meter.memory(0x1000 + LANE_LENGTH), meter.keys(), 1, LANE_LENGTH)
            _damaged(f"{kind}, store {at:#04x} lost, cut: {cut}", state, getattr(store, state), True)
    for at in FINAL_RECORD_AT if state == "over" else ():
        meter.back(0)
        meter.poke(STORE, at, b"\xff" * PAGE)
        meter.power_on()
        player.step(("insert",))
        player.step(("remove",))
        _damaged(f"{kind}, final record {at:#04x} lost", "code", player.code, codes.REPEAT)


def _completed(meter: RecordedMeter, player: Player, made: dict[int, bytes]) -> None:
    # A cut has missed the second copy of the opening: a repeat completes it, and then the first may be lost.
    for at, other in ((0x80, 0xC0), (0xC0, 0x80)):
        meter.back(0)
        meter.poke(STORE, at, made[at])
        meter.power_on()
        chip = Chip()
        chip.restore(player.card.dump())
        meter.insert(chip)
        meter.remove()
        meter.poke(STORE, other, b"\xff" * PAGE)
        _damaged(f"store {other:#04x} lost after a repeat", "binding", meter.power_on()["binding"], 1)


def _damaged(where: str, name: str, said: int, right: int) -> None:
    if said != right:
        raise CaughtError("account_steady", f"{where}: {name} is {said}, not {right}")


class _Forgetful(Fram):
    """An FRAM that loses one write in silence: the one after ``left`` more, -1 none. ``lost``: whether it has."""

    def __init__(self, cells: bytearray) -> None:
        super().__init__(len(cells))
        self.cells[:] = cells
        self.left = -1
        self.lost = False

    def _forgets(self) -> bool:
        self.left -= 1
        self.lost = self.lost or self.left == -1
        return self.left == -1

    def write(self, address: int, data: bytes | bytearray) -> None:
        if self.left < 0 or not self._forgets():
            super().write(address, data)

    def put(self, address: int, value: int) -> None:
        if self.left < 0 or not self._forgets():
            super().put(address, value)


def _silence(check: Check) -> None:
    if check.where == "card":
        _silent_card(check)
        return
    # A write is lost and nobody says so: what the meter has told the card it must know after the next power-up.
    key = KeyFileSigner(ROOT, TEST_REGION).meter_keys(METER, 1)[0]
    with CPythonTarget() as target:
        meter = MeterUnderTest(target)
        for lost in range(LANE_LENGTH - 1):
            player = Player(meter)
            player.step(_OPENING[0])
            meter.power_off(warned=False)
            memory = target.bench.memory = _Forgetful(target.bench.memory.cells)
            meter.power_on()
            for step in _OPENING[1:]:
                player.step(step)
            memory.left = lost
            if check.where == "tally":
                # The lost mark is of the generation before: it counts as soon as the next one has come to its place.
                player.step(("gas", (LANE_LENGTH + lost) * 1000, 3_600_000))
            else:
                for step in _LATER[1:]:
                    player.step(step)
            if not memory.lost:
                return
            memory.left = -1
            said = meter.last
            meter.power_off(warned=False)
            after = meter.power_on()
            for name in ("register", "bought_total", "binding"):
                if player.code == codes.OK and after[name] != said[name]:
                    raise CaughtError("store_kept", f"write {lost} lost: {name} was {said[name]}, is {after[name]}")
            store = checkers.read_store(bytes(memory.cells), bytes(target.bench.key_memory.cells), 1, LANE_LENGTH)
            checkers.reports_true(checkers.read_card(player.card.dump(), checkers.KeySet(key)), store)


class _ForgetfulChip(Chip):
    """A chip that loses one byte in silence, the one after ``left`` more. ``lost``: whether it has."""

    left = -1
    lost = False

    def store(self, plan: tuple[int, int, int]) -> None:
        self.left -= 1
        if self.left == -1:
            self.lost = True
        else:
            super().store(plan)


def _silent_card(check: Check) -> None:
    # A card at the hall loses a byte and nobody says so: a sale that is reported is on its card all the same.
    with World(7) as world:
        chip = _ForgetfulChip()
        reader = world.reader(chip)
        world.hall.open_account(reader, meter=world.number, volume=100)
        keys = checkers.KeySet(world.signer.meter_keys(world.number, 1)[0])
        for lost in range(0, 1000, 5):
            _expect("load", world.visit(chip), codes.OK)
            chip.left, chip.lost = lost, False
            try:
                sale = world.hall.sell(reader, 1)
            except GasError:
                chip.left = -1
                sale = world.hall.sell(reader, 1)
            order = checkers.read_card(chip.dump(), keys).order
            if order is None or order.sequence != sale.sequence:
                raise CaughtError("card_written", f"byte {lost} lost: order {sale.sequence} is not on its card")
            if not chip.lost:
                return


def _collage(check: Check) -> None:
    # An emulated card: the order of one image, the reports of another of the same card, or forged ones.
    with Town(1) as town:
        town.open_account(0, 3)
        town.visit(0, 0)
        town.read_back(0)
        copy, before = town.copy_ledger(), town.last_image
        town.sell(0, 1)
        town.read_back(0, _as_if_loaded(town.last_image))
        town.check()
        town.visit(0, 0)
        loaded = town.last_image
        # The ledger is restored: the card tells of an order it does not know.
        town.restore_ledger(copy)
        place = REPORT_AT[0]
        rows = len(town.orders())
        town.sell(0, 3, before[:place] + loaded[place:])
        if len(town.orders()) != rows:
            raise CaughtError("ledger_behind", "an order is made though the card's report is ahead of the ledger")
        # An order made anew under the old one's sequence, with another total: the old one's report does not settle it.
        town.sell(0, 3, before)
        town.read_back(0, town.last_image[:place] + loaded[place:])
        town.check()


def _as_if_loaded(image: bytes) -> bytes:
    # The newest report altered to say that the card's order is loaded; its checksum is mended, its MAC cannot be.
    dump = bytearray(image)
    number = HEAD + offset_of(REPORT_DATA, "report_number")
    at = max([place for place in REPORT_AT if dump[place] == 0x68], key=lambda at: dump[at + number : at + number + 3])
    for name, size in (("sequence", 2), ("bought_total", 4)):
        told, asked = at + HEAD + offset_of(REPORT_DATA, name), ORDER_AT + HEAD + offset_of(ORDER, name)
        dump[told : told + size] = dump[asked : asked + size]
    dump[at + number + 2] += 1
    end = at + frame_size(REPORT_DATA) - 3
    dump[end : end + 2] = crc16(dump, at + 1, end).to_bytes(2, "big")
    return bytes(dump)


CHECKS: dict[str, Callable[[Check], None]] = {
    PLAIN: _flows,
    "cut": _cutting(_Cut, pulls=False),
    "count": _cutting(_Count, pulls=False),
    "pull": _cutting(_Cut, pulls=True, stranger=True),
    "hall cut": _hall_cut,
    "damage": _damage,
    "silence": _silence,
    "verdict": _verdict,
    "lockout": _lockout,
    "collage": _collage,
    "adversary": _adversary,
    "heirs": _heirs,
    "explore": _explore,
    DAY: _day,
}


def child() -> None:
    """In the process of its own: run the checks named on standard input until one catches; a JSON line each."""
    home = Path.cwd().resolve()
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None or home not in Path(spec.origin).resolve().parents:
            raise RuntimeError(f"package {package} is not the copy in {home}")
    for raw in json.load(sys.stdin):
        check = Check(*raw)._replace(steps=tuple(raw[2]))
        begun = time.perf_counter()
        print(json.dumps({"begun": check}), flush=True)
        found: dict[str, str] | None = None
        try:
            CHECKS[check.kind](check)
        except (CaughtError, Violation) as caught:
            found = {"rule": caught.rule, "text": caught.text}
        except Exception as fault:  # what breaks here breaks in what is judged: the unpatched copy does not
            found = {"rule": "fault", "text": f"{type(fault).__name__}: {fault}"}
        print(json.dumps({"found": found, "seconds": time.perf_counter() - begun}), flush=True)
        if found:
            return


# ---------------------------------------------------------------------- the catalogue


def _cut(flow: str, *steps: int, memory: str = "fram", shard: int = 1, depth: int = 1) -> Check:
    return Check("cut", flow, steps, memory, shard, depth)


def _count(flow: str, *steps: int, memory: str = "fram", shard: int = 1, depth: int = 1) -> Check:
    return Check("count", flow, steps, memory, shard, depth)


def _pull(flow: str, *steps: int, shard: int = 1) -> Check:
    return Check("pull", flow, steps, "fram", shard)


def _hall(flow: str, shard: int = 1) -> Check:
    return Check("hall cut", flow, shard=shard)


def _story(scope: str, depth: int) -> Check:
    return Check("adversary", scope, depth=depth)


def _at_counter(day: str) -> Check:
    return Check(DAY, day)


def _siege(strategy: str, days: int) -> Check:
    return Check("lockout", strategy, depth=days)


_ACCOUNT = "meter/account.py"
_ADOPTION = "gashall/adoption.py"
_BATCH = "gashall/batch.py"
_BOOKS = "gashall/books.py"
_COUNTER = "gashall/counter.py"
_CLOSING = "gashall/closing.py"
_ENDING = "gashall/ending.py"
_EVENTS = "meter/events.py"
_EXCHANGE = "gashall/exchange.py"
_FRAMES = "gascard/frames.py"
_GRANTS = "gashall/grants.py"
_GUARDS = "meter/guards.py"
_HOT = "meter/hot.py"
_JUDGING = "meter/judging.py"
_KEY_FILE = "gashall/keyfile.py"
_LOCKOUT = "meter/lockout.py"
_METER = "meter/meter.py"
_OPENING_AT_HALL = "gashall/opening.py"
_PLACING = "gashall/placing.py"
_REEDS = "meter/reeds.py"
_REFUNDS = "gashall/refunds.py"
_REPLACEMENT = "gashall/replacement.py"
_REPORTING = "gashall/reporting.py"
_SESSION = "meter/session.py"
_SHIFTS = "gashall/shifts.py"
_STATEMENTS = "gashall/statements.py"
_STORE = "meter/store.py"
_SUSPENSION = "gashall/suspension.py"
_TOOLCARDS = "gashall/toolcards.py"
_TOOLMAKING = "gashall/toolmaking.py"
_TOOLREADING = "gashall/toolreading.py"
_TOOLS = "meter/tools.py"
_VALVE = "meter/valve.py"
_VERIFICATION = "gashall/verification.py"

# Where the checks look. Numbers are steps of gasrig.flows: in "purchase" 2 is the opening card's visit, 6 the second's.
_LOADS = _cut("purchase", 2, 6, shard=16)
_PULLED = _pull("purchase", 2, 6, shard=4)
_PULSES = _cut("checkpoint", 7, shard=8)
_TURNS = _cut("checkpoint", 5, 6, shard=8)
_LANES = _cut("checkpoint in four lanes", 5, 6, memory="eeprom", shard=3)
_LANES_COUNTED = _count("checkpoint in four lanes", 6, memory="eeprom", shard=3)

_CLEARED = _cut("clear", 6, shard=16)
_REKEYED = _cut("keys of a bound meter", 6, shard=16)

_BITS_OF_A_LANE = """        if self._lanes == 1:
            cell = bytearray(1)
            for place in range(self._length):
                self._memory.read_into(TALLY_AT + (place >> 3), cell)
                if (cell[0] ^ self.cells[MARKER]) & 0x80 >> (place & 7):
                    return place
            return self._length
"""
_SCRUBBED_BITS = """        if self._lanes == 1:
            cell = bytearray(1)
            for place in range(0, self._length, 8):
                right = self.cells[MARKER] ^ 0xFF >> min(8, max(0, count - place))
                self._memory.read_into(TALLY_AT + (place >> 3), cell)
                if cell[0] != right:
                    write_checked(self._memory, TALLY_AT + (place >> 3), bytes((right,)))
            return
"""

MUTANTS: tuple[Mutant, ...] = (
    # --- the store
    Mutant(
        "no read-back",
        "A record is written and not read back.",
        (Patch(_STORE, "        if check == data:\n", "        if True:\n"),),
        (Check("silence", "records"),),
    ),
    Mutant(
        "tally not read back",
        "A full tally is closed without a look at its marks.",
        (Patch(_STORE, "        self._scrub(self.capacity)\n", ""),),
        (Check("silence", "tally"),),
    ),
    Mutant(
        "single copy",
        "Records are written to one of their two places only.",
        (Patch(_STORE, "            place = 1 - self._newest\n", "            place = 0\n"),),
        (_LOADS,),
    ),
    Mutant(
        "newest copy overwritten",
        "A save goes over the copy that is the newest.",
        (
            Patch(
                _STORE,
                "            place = 1 - self._newest\n",
                "            place = 1 - self._newest if both else self._newest\n",
            ),
        ),
        (_LOADS,),
    ),
    Mutant(
        "CRC ignored",
        "A copy of a record is believed without its checksum.",
        (
            Patch(
                _STORE,
                "return raw if crc32(bytes(raw[:end])) & 0xFFFFFFFF ==",
                "return raw if True or end ==",
            ),
        ),
        (_LOADS,),
    ),
    Mutant(
        "small CRC ignored",
        "Checkpoints, tokens and events are believed without their checksum.",
        (
            Patch(
                _STORE,
                '    return values if crc16(raw, 0, len(raw) - 2) == values["crc"] else None\n',
                "    return values\n",
            ),
        ),
        (_TURNS,),
    ),
    Mutant(
        "frame CRC ignored",
        "A frame on a card is whole whatever its checksum says.",
        (
            Patch(
                _FRAMES,
                "    if crc16(image, at + 1, end) != image[end] << 8 | image[end + 1]:\n        return codes.CRC\n",
                "",
            ),
        ),
        (_hall("hall sale", 4),),
    ),
    Mutant(
        "one bit per pulse",
        "A pulse writes a bit of a byte and not a byte.",
        (
            Patch(
                _HOT,
                "        put(origin + place, cells[MARKER])\n",
                "        if lane:\n"
                "            put(origin + place, cells[MARKER])\n"
                "        else:\n"
                "            put(origin + (place >> 3), cells[MARKER] ^ (0xFF >> (place & 7) + 1))\n",
            ),
            Patch(_HOT, "    if cells[LANE]:\n", "    if True:\n"),
            Patch(
                _STORE,
                "        # How many places at the head of the lane bear",
                f"{_BITS_OF_A_LANE}        # How many places at the head of the lane bear",
            ),
            Patch(_STORE, "        # Every place says again", f"{_SCRUBBED_BITS}        # Every place says again"),
        ),
    ),
    Mutant(
        "eight places a pulse",
        "A pulse writes the marks of the seven before it once more, in the same write.",
        (
            Patch(
                _HOT,
                "        put(origin + place, cells[MARKER])\n",
                "        memory.write(origin + place - (place & 7), bytes((cells[MARKER],)) * ((place & 7) + 1))\n",
            ),
        ),
        (_cut("pulse", 4, 5, 6),),
    ),
    Mutant(
        "two lanes",
        "The tally of a memory that garbles pages runs through two lanes and not through four.",
        (
            Patch(
                _HOT,
                "        place = (n & 3) * lane + (n >> 2) if lane else n\n        put(",
                "        place = (n & 1) * 2 * lane + (n >> 1) if lane else n\n        put(",
            ),
            Patch(_STORE, "        self._lanes = lanes\n", "        self._lanes = 2 if lanes == 4 else 1\n"),
            Patch(
                _STORE,
                "        self._length = lane_length\n",
                "        self._length = 2 * lane_length if lanes == 4 else lane_length\n",
            ),
            Patch(_STORE, "if far or self._lanes == 4:", "if far or self._lanes == 2:"),
            Patch(
                _STORE,
                "        best, most = -1, 2\n",
                "        first, second = runs\n"
                "        if self._lanes == 2:\n"
                "            return first + second if 0 <= first - second <= 1 else max(2 * first - 1, 2 * second)\n"
                "        best, most = -1, 2\n",
            ),
            Patch(
                _STORE,
                "(count + 3 - lane) >> 2 if self._lanes == 4 else count",
                "(count + 1 - lane) >> 1 if self._lanes == 2 else count",
            ),
        ),
        (_LANES_COUNTED,),
    ),
    Mutant(
        "one lane for pages",
        "The tally of a memory that garbles pages runs through one lane.",
        (
            Patch(
                _HOT,
                "        place = (n & 3) * lane + (n >> 2) if lane else n\n        put(",
                "        place = n\n        put(",
            ),
            Patch(_STORE, "        self._lanes = lanes\n", "        self._lanes = 1\n"),
            Patch(_STORE, "        self._length = lane_length\n", "        self._length = lanes * lane_length\n"),
        ),
        (_LANES_COUNTED,),
    ),
    Mutant(
        "greatest lane believed",
        "Recovery takes the lane that has counted most, not the number that three bear out.",
        (
            Patch(
                _STORE,
                "        best, most = -1, 2\n",
                "        if self._lanes == 4:\n"
                "            return min(self.capacity, max([4 * runs[lane] + lane - 3 for lane in range(4)]))\n"
                "        best, most = -1, 2\n",
            ),
        ),
        (_LANES,),
    ),
    Mutant(
        "no scrub",
        "What a cut left in the tally stays there.",
        (Patch(_STORE, "        self._scrub(count)\n", ""),),
        (_PULSES,),
    ),
    Mutant(
        "checkpoint into the same slot",
        "Every checkpoint goes over the one before it.",
        (
            Patch(_STORE, "CHECKPOINT_AT[generation & 1]", "CHECKPOINT_AT[0]"),
            Patch(_STORE, ' if values and values["generation"] & 1 == slot else None\n', "\n"),
        ),
    ),
    Mutant(
        "checkpoint after the first pulse",
        "The next generation begins before its checkpoint is stored.",
        (
            Patch(
                _STORE,
                "        self._write_checkpoint(generation, base)\n"
                "        self.base = base\n"
                "        self._begin(generation)\n",
                "        self.base = base\n"
                "        self._begin(generation)\n"
                "        self._memory.put(TALLY_AT, self.cells[MARKER])\n"
                "        self._write_checkpoint(generation, base)\n"
                "        self._memory.put(TALLY_AT, MARKERS[0] ^ MARKERS[1] ^ self.cells[MARKER])\n",
            ),
        ),
        (_TURNS,),
    ),
    Mutant(
        "marker not alternating",
        "Every generation of the tally writes the same mark.",
        (Patch(_STORE, "self.cells[MARKER] = MARKERS[generation & 1]", "self.cells[MARKER] = MARKERS[0]"),),
    ),
    Mutant(
        "lost checkpoint not inferred",
        "A full tally says nothing of the checkpoint that has closed it.",
        (Patch(_STORE, "if not (first and second) and self._ended(", "if False and self._ended("),),
        (Check("damage"),),
    ),
    Mutant(
        "opening in one copy",
        "An opening is journalled in one copy of the account.",
        (Patch(_METER, "self.account.commit(values, lowers or opening)", "self.account.commit(values, lowers)"),),
        (Check("damage"),),
    ),
    Mutant(
        "lowering in one copy",
        "A refund is journalled in one copy of the account.",
        (Patch(_METER, "self.account.commit(values, lowers or opening)", "self.account.commit(values, opening)"),),
        (Check("damage"),),
    ),
    Mutant(
        "key record in one copy",
        "The binding is raised in one copy of the key record.",
        (
            Patch(_METER, "            keys.save(True)", "            keys.save()"),
            Patch(_METER, "            keys.confirm()", "            pass"),
        ),
        (Check("damage"),),
    ),
    Mutant(
        "key record not raised first",
        "The account is bound before the key record knows of the binding.",
        (
            Patch(
                _METER,
                '        self.note(events.BOUND if opening else events.LOADED, values["sequence"])\n',
                "        keys.save(True)\n"
                '        self.note(events.BOUND if opening else events.LOADED, values["sequence"])\n',
            ),
            Patch(_METER, "            keys.save(True)  # the only", "            pass  # the only"),
        ),
        (_LOADS,),
    ),
    Mutant(
        "factory inferred",
        "An account that cannot be read is taken for one that was never written.",
        (
            Patch(
                _STORE,
                "        self._newest = newest\n",
                "        self._newest = newest\n"
                '        if not self.values and "account" in self._layout.names:\n'
                "            self.values = unpack(self._layout, bytearray(COPY_SIZE))\n"
                '            self.values.update({"layout": LAYOUT_VERSION, "state": 2})\n',
            ),
        ),
        (_story("store", 3),),
    ),
    Mutant(
        "repeat completes nothing",
        "A second copy that a cut has missed is not written when the card comes again.",
        (Patch(_SESSION, "            account.confirm()\n", "            pass\n"),),
        (Check("damage"),),
    ),
    # --- judging, the card, the report
    Mutant(
        "MAC ignored",
        "An order is genuine whatever its MAC.",
        (Patch(_JUDGING, "    if not mac_right(", "    if False and not mac_right("),),
    ),
    Mutant(
        "binding not checked",
        "An order of another binding is taken by a bound meter.",
        (
            Patch(
                _JUDGING,
                '    elif order["binding"] != own:\n        return codes.BINDING\n',
                "",
            ),
            Patch(_JUDGING, '    elif kind == ORDER_OPENING and order["binding"] == own + 1:\n', "    elif False:\n"),
        ),
    ),
    Mutant(
        "equal sequence credited",
        "An order of the loaded sequence with another total is credited.",
        (
            Patch(
                _JUDGING,
                'equal(mac, account["order_mac"]) else codes.SEQUENCE_CONFLICT',
                'equal(mac, account["order_mac"]) else codes.OK',
            ),
        ),
    ),
    Mutant(
        "older order credited",
        "The meter takes an order that comes before the loaded one.",
        (Patch(_JUDGING, "        return codes.OLDER\n", "        return codes.OK\n"),),
    ),
    Mutant(
        "amount added",
        "The meter adds an order's amount and does not take its total.",
        (
            Patch(
                _ACCOUNT,
                'max(new["bought_total"], order["bought_total"])',
                'new["bought_total"] + order["amount"]',
            ),
        ),
    ),
    Mutant(
        "a repeat credits again",
        "The order that is loaded already is credited once more.",
        (
            Patch(
                _SESSION,
                "        if code == codes.OK:\n            code, values, lowers =",
                "        if repeat:\n"
                "            values = dict(account.values)\n"
                '            values["bought_total"] += order["amount"]\n'
                "        if code == codes.OK:\n            code, values, lowers =",
            ),
        ),
    ),
    Mutant(
        "credit and sequence apart",
        "The amount is journalled first and the sequence that makes it old in a second entry.",
        (
            Patch(
                _STORE,
                "            self.save(both)\n        except",
                '            if old.get("bought_total"):\n'
                '                self.values = dict(old, bought_total=values["bought_total"])\n'
                "                self.save(both)\n"
                '                values["entry"] = self.values["entry"]\n'
                "                self.values = values\n"
                "            self.save(both)\n        except",
            ),
        ),
        (Check("explore", "6..6", depth=150), _LOADS),
    ),
    Mutant(
        "credit before journal",
        "The valve is told to open for credit that is not yet in the journal.",
        (
            Patch(
                _SESSION,
                "            meter.journal(values, lowers)\n",
                "            before = account.values\n"
                '            values["entry"] = before["entry"]\n'
                "            account.values = values\n"
                "            meter.asked()\n"
                "            account.values = before\n"
                "            meter.journal(values, lowers)\n",
            ),
        ),
        (_LOADS,),
    ),
    Mutant(
        "credit before the password",
        "A copied chip is refused only after its credit was journalled.",
        (
            Patch(
                _SESSION,
                '        verified = self.verify(identity["card"], psc)\n',
                "        if values:\n"
                "            meter.journal(values, lowers)\n"
                "            values = None\n"
                '        verified = self.verify(identity["card"], psc)\n',
            ),
        ),
    ),
    Mutant(
        "report before journal",
        "The credit is journalled when the report about it is on the card.",
        (
            Patch(
                _SESSION,
                "            meter.journal(values, lowers)\n",
                "            if verified:\n"
                "                meter.journal(values, lowers)\n"
                "            else:\n"
                '                values["entry"] = account.values["entry"]\n'
                "                self._owed = account.values, values, lowers\n"
                "                account.values = values\n",
            ),
            Patch(
                _SESSION,
                "        self.active = False\n\n    def insert",
                "        self.active = False\n        self._owed = None\n\n    def insert",
            ),
            Patch(
                _SESSION,
                "        self.end()\n        return codes.OK if back == frame",
                "        self.end()\n"
                "        if self._owed:\n"
                "            self._meter.account.values, values, lowers = self._owed\n"
                "            self._owed = None\n"
                "            self._meter.journal(values, lowers)\n"
                "        return codes.OK if back == frame",
            ),
        ),
        (_LOADS,),
    ),
    Mutant(
        "report over the newest slot",
        "A report is written over the newest one on the card.",
        (Patch(_SESSION, "if self._newest() == 0 else", "if self._newest() == 1 else"),),
    ),
    Mutant(
        "report number not stored first",
        "A report's number is stored when the report is on the card.",
        (
            Patch(
                _SESSION,
                "        meter.save_state()\n        keys = meter.keys.values",
                "        keys = meter.keys.values",
            ),
            Patch(
                _SESSION,
                "        self.end()\n        return codes.OK if back == frame",
                "        self.end()\n        self._meter.save_state()\n        return codes.OK if back == frame",
            ),
        ),
        (_LOADS,),
    ),
    Mutant(
        "report not read back",
        "The meter says OK without a look at the report it has written.",
        (Patch(_SESSION, "return codes.OK if back == frame else codes.REPORT_NOT_WRITTEN", "return codes.OK"),),
        (_PULLED,),
    ),
    Mutant(
        "last try spent",
        "The meter presents the password with one try left.",
        (Patch(_SESSION, "tries_left(counter) <= 1", "tries_left(counter) < 1"),),
    ),
    Mutant(
        "barred card ignored",
        "A card whose chip has refused its password is tried again.",
        (Patch(_SESSION, "        if barred and counter != TRIES_FULL:\n", "        if False:\n"),),
    ),
    # --- the lockout
    Mutant(
        "lockout in RAM",
        "A token that is taken is not stored.",
        (
            Patch(
                _LOCKOUT,
                "            self.stored[bucket] = left\n            self._write()\n        return True",
                "            self.stored[bucket] = left\n        return True",
            ),
        ),
    ),
    Mutant(
        "token after judging",
        "A token is taken when the MAC was found wrong, not before it is judged.",
        (
            Patch(_JUDGING, "    if not lockout.take(CARDS):\n", "    if not lockout.tokens[CARDS]:\n"),
            Patch(
                _JUDGING,
                "        lockout.failed(CARDS)\n",
                "        lockout.take(CARDS)\n        lockout.failed(CARDS)\n",
            ),
        ),
        (Check("verdict"),),
    ),
    Mutant(
        "refill at boot",
        "Power-up gives a token back.",
        (
            Patch(
                _METER,
                "            self.lockout.recover()\n",
                "            self.lockout.recover()\n            self.lockout.refill()\n",
            ),
        ),
    ),
    # --- the valve
    Mutant(
        "valve opened at power-up",
        "A meter with credit opens its valve when power comes.",
        (
            Patch(
                _METER,
                "            self._count()\n        except FAULTS as cause:",
                "            self.deadlines.set(WINDOW, _WINDOW_MS)\n"
                "            self._count()\n        except FAULTS as cause:",
            ),
        ),
    ),
    Mutant(
        "valve not shut at power-up",
        "A valve that stands open when power comes stays so.",
        (Patch(_VALVE, "        self.tell(ASK_SHUT)\n", ""),),
    ),
    Mutant(
        "alarm not stored",
        "That somebody has answered the alarm is kept in memory only.",
        (
            Patch(
                _METER,
                '["alarm_sequence"] = values["sequence"]\n                self.save_state()\n',
                '["alarm_sequence"] = values["sequence"]\n',
            ),
        ),
        (_cut("alarm and key", 6, shard=4),),
    ),
    Mutant(
        "alarm stored after the valve",
        "The valve is told to open and only then is it stored that the alarm was answered.",
        (
            Patch(
                _METER,
                '["alarm_sequence"] = values["sequence"]\n                self.save_state()\n',
                '["alarm_sequence"] = values["sequence"]\n'
                "                self.review()\n"
                "                self.save_state()\n",
            ),
        ),
        (_cut("alarm and key", 6, shard=4),),
    ),
    Mutant(
        "tokens without end",
        "With no token left a card is judged all the same.",
        (
            Patch(_LOCKOUT, "        if left < 0:\n            return False\n", "        left = max(0, left)\n"),
            Patch(
                _LOCKOUT,
                "        self.tokens[bucket] -= 1\n",
                "        self.tokens[bucket] = max(1, self.tokens[bucket] - 1)\n",
            ),
        ),
    ),
    Mutant(
        "tokens by the clock",
        "A clock that is set forward by half an hour gives a token back.",
        (
            Patch(
                _METER,
                "        self._minutes = minutes if 0 <=",
                "        if self._minutes and minutes - self.minutes >= REFILL_MINUTES:\n"
                "            self.lockout.refill()\n"
                "        self._minutes = minutes if 0 <=",
            ),
        ),
        (_siege("clock set", 1),),
    ),
    Mutant(
        "tries without end",
        "A valve that does not arrive is driven again and again.",
        (Patch(_VALVE, "_ATTEMPTS = const(3)", "_ATTEMPTS = const(1000000)"),),
    ),
    Mutant(
        "current not asked for",
        "A motor that draws nothing is waited for as long as one that turns.",
        (Patch(_VALVE, "not self._motor.current()", "False"),),
    ),
    Mutant(
        "press stops at the switch",
        "A valve that gas flows past is driven no further than to the end switch that may lie.",
        (Patch(_VALVE, "            self._pressing = True\n", ""),),
    ),
    Mutant(
        "pulses lost while the valve moves",
        "The meter does not count while the valve shuts.",
        (
            Patch(
                _METER,
                "            if state in (valve.OPEN, valve.OPENING):\n",
                "            if state in (valve.OPEN, valve.OPENING):\n                self.pulse = self._pulse_lost\n",
            ),
            Patch(
                _METER,
                "    def _valve_changed(self) -> None:\n",
                "    def _valve_changed(self) -> None:\n"
                "        if not self.valve.moving and not self._latched:\n"
                "            self._count()\n",
            ),
        ),
    ),
    Mutant(
        "pulses kept until the valve rests",
        "What is counted while the valve shuts is kept in memory until it has arrived.",
        (
            Patch(
                _METER,
                "            if state in (valve.OPEN, valve.OPENING):\n",
                "            if state in (valve.OPEN, valve.OPENING):\n                self.pulse = self._pulse_lost\n",
            ),
            Patch(
                _METER,
                "    def _valve_changed(self) -> None:\n",
                "    def _valve_changed(self) -> None:\n"
                "        if not self.valve.moving and not self._latched:\n"
                "            late, self.uncounted = self.uncounted, 0\n"
                "            self._count()\n"
                "            self.pulses(late)\n",
            ),
        ),
        (_count("alarm and key", 4, shard=4),),
    ),
    Mutant(
        "exercise by itself",
        "A valve that has not moved for days moves without anybody there.",
        (
            Patch(
                _METER,
                "            self._exercise = True\n",
                "            self._exercise = True\n            self.valve.tell(valve.ASK_SHUT)\n",
            ),
        ),
    ),
    Mutant(
        "exercise ends shut",
        "A valve that was moved for exercise is not opened again.",
        (
            Patch(
                _METER,
                "  # and the window opens it again\n",
                "\n                self.deadlines.clear(WINDOW)\n",
            ),
        ),
    ),
    # --- guards, battery and a supply that comes back
    Mutant(
        "magnet that is gone opens",
        "The magnet shuts for as long as it is there and no longer.",
        (Patch(_METER, 'bits & limits["shut"] & 1 << guard:', 'bits & limits["shut"] & 1 << guard & ~0x100:'),),
    ),
    Mutant(
        "magnet ignored",
        "A key opens the valve beside a magnet.",
        (Patch(_METER, "before | reason if shuts else before & ~reason", "before"),),
    ),
    Mutant(
        "guard's word in RAM",
        "What a guard has shut is kept in memory only.",
        (
            Patch(
                _METER,
                "        self.state.save()\n",
                '        latched, values["latched"] = values["latched"], 0\n'
                "        self.state.save()\n"
                '        values["latched"] = latched\n',
            ),
        ),
    ),
    Mutant(
        "guard's word lost at power-up",
        "Power-up takes back what a guard has shut.",
        (
            Patch(
                _METER,
                '            values["boots"] = min(',
                '            values["latched"] = 0\n            values["boots"] = min(',
            ),
        ),
    ),
    Mutant(
        "guards not answered",
        "What a guard has shut nobody opens again.",
        (Patch(_METER, "            if latched & ~holds:\n", "            if False:\n"),),
    ),
    Mutant(
        "gaps of any sort",
        "The guard against strong flow watches for long gaps too.",
        (Patch(_GUARDS, "over - 1, values[", "pause, values["),),
    ),
    Mutant(
        "flow past the valve not noticed",
        "Pulses behind a shut valve are counted and nothing else.",
        (Patch(_METER, "                tripped |= 1 << guards.PAST_VALVE\n", "                pass\n"),),
    ),
    Mutant(
        "limits not stored",
        "Limits of the guards that were changed are kept in memory only.",
        (Patch(_METER, "        self.limits.commit(limits, True)\n", "        self.limits.values = limits\n"),),
        (Check("damage"),),
    ),
    Mutant(
        "limits in one copy",
        "Limits of the guards that were changed are stored in one copy.",
        (Patch(_METER, "self.limits.commit(limits, True)", "self.limits.commit(limits, False)"),),
        (Check("damage"),),
    ),
    Mutant(
        "limits stored at power-up",
        "Every power-up stores the limits of the guards again.",
        (
            Patch(
                _METER,
                "            self._set_limits()\n            self._count()\n",
                "            self.limits.save()\n            self._set_limits()\n            self._count()\n",
            ),
        ),
        (_LOADS,),
    ),
    Mutant(
        "event numbers from one",
        "The log begins at number 1 again at every power-up.",
        (Patch(_EVENTS, '                        self.number = values["number"]\n', "                        pass\n"),),
        (_LOADS,),
    ),
    Mutant(
        "two events at a place",
        "Every other entry of the log goes over the one before it.",
        (Patch(_EVENTS, "number % EVENT_PLACES * _SIZE", "(number | 1) % EVENT_PLACES * _SIZE"),),
        (_LOADS,),
    ),
    Mutant(
        "resting cell is new",
        "A cell that recovers to between the two levels opens the valve again.",
        (Patch(_METER, "        elif not low:\n", "        else:\n"),),
    ),
    Mutant(
        "empty cell only warns",
        "A cell that is empty is warned of and used up.",
        (Patch(_METER, "            self._present |= SHUT_BATTERY\n", "            pass\n"),),
    ),
    Mutant(
        "supply back opens",
        "A supply that has come back opens the valve without anybody there.",
        (Patch(_METER, "        self.deadlines.clear(WINDOW)\n", "        self.deadlines.set(WINDOW, _WINDOW_MS)\n"),),
    ),
    Mutant(
        "supply back not believed",
        "A meter whose supply dipped stays shut until it has lost its power.",
        (Patch(_METER, "        self._latched &= ~SHUT_POWER\n", ""),),
    ),
    Mutant(
        "bounce counts",
        "A reed that bounces back and forth moves the count forward only.",
        (Patch(_REEDS, "(1 if step == 1 else -1)", "(1 if step == 1 else 0)"),),
    ),
    Mutant(
        "backwards counts",
        "A wheel that is turned backwards counts as gas.",
        (Patch(_REEDS, "(1 if step == 1 else -1)", "1"),),
    ),
    Mutant(
        "dead reed not noticed",
        "A reed may be still for ever while the other swings.",
        (Patch(_REEDS, "            if self._swings >= _SWINGS:\n", "            if False:\n"),),
    ),
    Mutant(
        "window without end",
        "The minute in which the valve may open lasts for days.",
        (Patch(_METER, "_WINDOW_MS = const(60000)", "_WINDOW_MS = const(1000000000)"),),
    ),
    Mutant(
        "minute outlives a dip",
        "A supply that dips within the minute after a key opens the valve when it comes back.",
        (Patch(_METER, "        self.deadlines.clear(WINDOW)\n", ""),),
    ),
    Mutant(
        "answered beside the magnet",
        "A key answers a magnet that is still there.",
        (
            Patch(_METER, "            if latched & ~holds:\n", "            if latched:\n"),
            Patch(_METER, '["latched"] = latched & holds\n', '["latched"] = 0\n'),
        ),
    ),
    Mutant(
        "pause ends nothing",
        "Hours of flow add up over any pause.",
        (Patch(_GUARDS, "self._set(LONG_FLOW, 0, pause,", "self._set(LONG_FLOW, 0, _NEVER,"),),
    ),
    Mutant(
        "account's limit ignored",
        "The over-flow limit on a card is stored and not used.",
        (Patch(_GUARDS, '(over_flow_seconds or values["over_flow_seconds"])', 'values["over_flow_seconds"]'),),
    ),
    Mutant(
        "batch as one gap",
        "The guards take a batch of pulses for one.",
        (Patch(_METER, "            self._flow(value - self._counted)\n", "            self._flow(1)\n"),),
    ),
    Mutant(
        "batch as two gaps",
        "Of a batch the guards hear the first two pulses.",
        (Patch(_GUARDS, "        if pulses > 2:\n", "        if False:\n"),),
    ),
    Mutant(
        "every guard shuts",
        "A guard that is to report only shuts the valve.",
        (Patch(_METER, 'bits & limits["shut"] & 1 << guard', "bits & 1 << guard"),),
    ),
    Mutant(
        "small flow for strong flow",
        "The guard against a leak trips over any flow without a pause.",
        (Patch(_GUARDS, "self._set(SMALL_FLOW, small,", "self._set(SMALL_FLOW, 0,"),),
    ),
    Mutant(
        "warning outlives the dip",
        "A supply that has come back leaves the record saying that it went.",
        (
            Patch(
                _METER,
                '            values["warned"] = 0\n            values["brown_outs"]',
                '            values["brown_outs"]',
            ),
        ),
    ),
    Mutant(
        "press without end",
        "A shut valve is driven again for every pulse that comes past it.",
        (
            Patch(_METER, "                if not self._pressed:\n", "                if True:\n"),
            Patch(_METER, "if allowed and before <= allowed < self._past:", "if allowed and allowed < self._past:"),
        ),
    ),
    Mutant(
        "exercise under a flame",
        "A valve that is due for exercise gets it though gas flows again.",
        (Patch(_METER, "self._exercise = False  # gas flows again", "pass  # gas flows again"),),
    ),
    Mutant(
        "sensor answered beside the magnet",
        "A key answers a magnet that still holds both reeds.",
        (Patch(_METER, "self._present | (SHUT_SENSOR if self.reeds.held else 0)", "self._present"),),
    ),
    # --- the hall
    Mutant(
        "pending row forgotten",
        "The hall does not look for an order that was begun and not finished.",
        (
            Patch(
                _STATEMENTS,
                "_first(orders, orders.c.binding == _KEY, orders.c.sequence.desc())",
                "_first(orders, (orders.c.binding == _KEY) & (orders.c.state != PENDING), orders.c.sequence.desc())",
            ),
        ),
        (_hall("hall sale", 4),),
    ),
    Mutant(
        "pending row cancelled",
        "A begun order is taken back because the card does not bear it.",
        (
            Patch(
                _COUNTER,
                "        last: Order = found(books.last_order(binding.id))\n",
                "        last: Order = found(books.last_order(binding.id))\n"
                "        if last.state == PENDING and card.order.authentic and card.order.raw != last.frame:\n"
                "            books.cancel(last.id)\n"
                "            last = found(books.last_order(binding.id))\n",
            ),
            Patch(
                _BOOKS,
                "    def mark_written(self, order: int, account: str | None = None) -> None:\n",
                "    def cancel(self, order: int) -> None:\n"
                "        self._connection.execute(sa.delete(schema.orders).where(schema.orders.c.id == order))\n\n"
                "    def mark_written(self, order: int, account: str | None = None) -> None:\n",
            ),
        ),
        (_story("pulls", 4),),
    ),
    Mutant(
        "order rebuilt on resume",
        "A begun order is finished with a new frame of the same sequence and total.",
        (
            Patch(
                _COUNTER,
                "            self.write_order(reader, card, order)\n\n",
                "            values = dict(encode.decode_order(order.frame), time=self.now(), psc_mask=None)\n"
                "            frame = encode.encode_order(self.signer, order.card, values)\n"
                "            self.write_order(reader, card, replace(order, frame=frame))\n\n",
            ),
        ),
        (_hall("hall sale", 4),),
    ),
    Mutant(
        "written before the card",
        "An order's row says written before the card was.",
        (
            Patch(
                _COUNTER,
                "        reader.write(ORDER_AT, order.frame)\n        check_read_back(reader, spliced(",
                "        with self.ledger.begin() as books:\n"
                "            books.mark_written(order.id)\n"
                "        reader.write(ORDER_AT, order.frame)\n        check_read_back(reader, spliced(",
            ),
        ),
        (_hall("hall sale", 4),),
    ),
    Mutant(
        "swapped card not noticed",
        "The hall does not look whether the card in its reader is still the one it has judged.",
        (
            Patch(
                _COUNTER,
                "        if reader.read(IDENTITY_AT, encode.IDENTITY_SIZE) != card.identity.raw:\n",
                "        if False:\n",
            ),
        ),
        (_hall("hall sale", 1),),
    ),
    Mutant(
        "password not announced",
        "A byte of a new card's password is written before the ledger knows of it.",
        (
            Patch(
                _COUNTER,
                "            yield i, False\n            reader.change_psc(passwords[i])\n",
                "            reader.change_psc(passwords[i])\n            yield i, False\n",
            ),
        ),
        (_hall("hall opening resumed"),),
    ),
    Mutant(
        "sold on a waiting card",
        "The hall sells although the last purchase is still on the card.",
        (Patch(_COUNTER, "        if last.state == WRITTEN:\n", "        if False:\n"),),
        (_story("one meter", 2),),
    ),
    Mutant(
        "older report believed",
        "A report older than the newest one known is taken at its word.",
        (Patch(_COUNTER, "            if report_rank(report) < rank:\n", "            if False:\n"),),
        (_story("one meter", 3),),
    ),
    Mutant(
        "done by sequence alone",
        "A report settles an order of its sequence whatever total it tells.",
        (
            Patch(
                _STATEMENTS,
                "        sa.func.coalesce(orders.c.frame_pulses, orders.c.released_pulses) "
                '<= sa.bindparam("_bought_total"),\n',
                "",
            ),
            Patch(
                _BOOKS,
                '"_sequence": sequence, "_bought_total": bought_total}',
                '"_sequence": sequence}',
            ),
            Patch(_COUNTER, ' and values["bought_total"] >= last.total:', ":"),
        ),
        (Check("collage"),),
    ),
    Mutant(
        "hall does not read back",
        "A sale is booked as written without a look at the card.",
        (
            Patch(
                _COUNTER,
                "        check_read_back(reader, spliced(card.image, ORDER_AT, order.frame))\n        with self.ledger",
                "        with self.ledger",
            ),
        ),
        (Check("silence", "card"),),
    ),
    Mutant(
        "ledger behind not noticed",
        "A report that is ahead of the ledger stops no sale.",
        (
            Patch(
                _COUNTER,
                "if not adopting and is_ahead(books, binding, last, values):",
                "if False:",
            ),
        ),
        (Check("collage"),),
    ),
    Mutant(
        "report's MAC ignored",
        "The hall believes a report whoever has made it.",
        (
            Patch(
                _COUNTER,
                "        if not part.authentic:\n            reasons",
                "        if part.values is None:\n            reasons",
            ),
        ),
        (Check("collage"),),
    ),
    Mutant(
        "lower total taken",
        "A newer order with a lower total takes gas back that no refund has paid.",
        (Patch(_ACCOUNT, 'max(new["bought_total"], order["bought_total"])', 'order["bought_total"]'),),
    ),
    Mutant(
        "replaced card served",
        "A card that was replaced is judged like any other.",
        (
            Patch(
                _JUDGING, '    elif order["replacement"] < account["replacement"]:\n        return codes.REPLACED\n', ""
            ),
        ),
    ),
    # --- the company's cards
    Mutant(
        "final record on the card first",
        "The final record is written to the card before the account says that it is over.",
        (
            Patch(
                _TOOLS,
                "        account = dict(meter.account.values)\n",
                "        self.put(values)\n"
                "        while self._session.active:\n"
                "            self._session.step()\n"
                "        account = dict(meter.account.values)\n",
            ),
            Patch(_TOOLS, "        meter.review()\n        self.put(values)\n", "        meter.review()\n"),
        ),
        (_CLEARED,),
    ),
    Mutant(
        "over before the valve stops",
        "A binding ends while the valve is on its way, and gas still flows.",
        (Patch(_TOOLS, "        if self._meter.valve.moving:\n            return codes.OK\n", ""),),
    ),
    Mutant(
        "final record after the account",
        "The account says that it is over before the final record is stored.",
        (
            Patch(
                _TOOLS,
                "        for at in FINAL_RECORD_AT:\n            write_small(meter.memory, at, FINAL_RECORD, values)\n",
                "",
            ),
            Patch(
                _TOOLS,
                "        meter.account.commit(account, True)\n",
                "        meter.account.commit(account, True)\n"
                "        for at in FINAL_RECORD_AT:\n"
                "            write_small(meter.memory, at, FINAL_RECORD, values)\n",
            ),
        ),
        (_CLEARED,),
    ),
    Mutant(
        "final record in one copy",
        "The final record is stored once.",
        (Patch(_TOOLS, "        for at in FINAL_RECORD_AT:\n", "        for at in FINAL_RECORD_AT[:1]:\n"),),
        (_CLEARED,),
    ),
    Mutant(
        "final record over its page",
        "A record longer than a page is written in one piece.",
        (
            Patch(_STORE, "    for start in range(0, end, COPY_SIZE):\n", "    for start in (0,):\n"),
            Patch(_STORE, "raw[start : start + COPY_SIZE])", "raw)"),
        ),
        (_cut("clear", 6, memory="eeprom", shard=16),),
    ),
    Mutant(
        "end in one copy",
        "The end of a binding stands in one copy of the account.",
        (
            Patch(
                _TOOLS,
                "        meter.account.commit(account, True)\n",
                "        meter.account.commit(account, False)\n",
            ),
        ),
        (Check("damage"),),
    ),
    Mutant(
        "end not completed",
        "A card that comes again after a cut gets the final record while one copy says that the binding runs.",
        (Patch(_TOOLS, "        meter.account.confirm()", "        pass"),),
        (Check("damage"),),
    ),
    Mutant(
        "transfer not completed",
        "A transfer card that comes again after a cut leaves its credit in one copy.",
        (Patch(_TOOLS, "        account.confirm()\n", ""),),
        (Check("damage"),),
    ),
    Mutant(
        "second heir served",
        "A transfer card for another meter or binding gets the final record of the first.",
        (Patch(_TOOLS, '        if (final["new_meter"], final["new_binding"]) != heir:\n', "        if False:\n"),),
    ),
    Mutant(
        "transfer credited twice",
        "A transfer is taken in by a meter that has had that binding.",
        (
            Patch(
                _TOOLS,
                '    if order["binding"] != own["binding"] + 1 or order["binding"] < keys["binding"]:\n',
                "    if False:\n",
            ),
        ),
        (Check("heirs", "cleared", depth=6),),
    ),
    Mutant(
        "transfer credited again and again",
        "A transfer is taken in by a meter that is bound by it.",
        (
            Patch(
                _TOOLS,
                '        return codes.ALREADY_BOUND if order["binding"] == own["binding"] + 1 else codes.BINDING\n',
                '        return codes.ALREADY_BOUND if order["binding"] == own["binding"] + 1 else codes.OK\n',
            ),
        ),
    ),
    Mutant(
        "transfer leaves the account as it is",
        "The old meter tells what is left and goes on.",
        (Patch(_TOOLS, '        account["state"] = self._state\n', ""),),
    ),
    Mutant(
        "transfer not limited",
        "The new meter credits what the old one says, whatever the hall has released.",
        (
            Patch(
                _TOOLS,
                '    order["bought_total"] = max(0, min(left, order["bought_total"]))\n',
                '    order["bought_total"] = max(0, left)\n',
            ),
        ),
    ),
    Mutant(
        "what is owed is forgotten",
        "A remainder below zero is not taken along.",
        (Patch(_TOOLS, '    order["correction_total"] = max(0, -left)\n', '    order["correction_total"] = 0\n'),),
    ),
    Mutant(
        "final record's MAC ignored",
        "The new meter believes any final record.",
        (
            Patch(
                _TOOLS,
                "    if not mac_right(image, FINAL_AT, size_of(REPORT_DATA), "
                'identity["card"], identity["region"], key):\n',
                "    if False:\n",
            ),
        ),
    ),
    Mutant(
        "company card without a token",
        "The MAC of a company's card costs no token before it is judged.",
        (Patch(_TOOLS, "    if not meter.lockout.take(CARDS):\n", "    if not meter.lockout.tokens[CARDS]:\n"),),
        (Check("verdict"),),
    ),
    Mutant(
        "company card's chip not asked",
        "A company's card is served whatever the chip says to its password.",
        (
            Patch(
                _TOOLS,
                '    code = session.verify(identity["card"], psc)\n',
                '    session.verify(identity["card"], psc)\n    code = codes.OK\n',
            ),
        ),
    ),
    Mutant(
        "unread report overwritten",
        "A management card's report is written over the first one, read or not.",
        (Patch(_TOOLS, " in (codes.SHAPE, codes.CRC):\n            break\n", " <= 0:\n            break\n"),),
    ),
    Mutant(
        "bound meter set",
        "A setting card changes limits and index of a bound meter.",
        (Patch(_TOOLS, "    if what & (SET_INDEX | SET_GUARDS) and meter.account.bound:\n", "    if False:\n"),),
    ),
    Mutant(
        "older setting taken",
        "A setting card with a lower service number is taken.",
        (Patch(_TOOLS, '    if values["service_number"] < state["service_number"]:\n', "    if False:\n"),),
    ),
    Mutant(
        "setting's number first",
        "The service number is stored before the limits.",
        (
            Patch(
                _TOOLS,
                "        if what & SET_GUARDS:\n            meter.set_limits(values)\n",
                '        state["service_number"] = values["service_number"]\n'
                "        meter.save_state()\n"
                "        if what & SET_GUARDS:\n            meter.set_limits(values)\n",
            ),
        ),
        (_cut("setting", 2, shard=16),),
    ),
    Mutant(
        "key version falls",
        "A key card of a lower version is taken.",
        (Patch(_TOOLS, '    if version <= keys["key_version"]:\n', '    if version == keys["key_version"]:\n'),),
    ),
    Mutant(
        "old key left",
        "New keys are stored in one copy, and the old ones stay in the other.",
        (Patch(_TOOLS, "    meter.keys.commit(new, True)\n", "    meter.keys.commit(new, False)\n"),),
        (_REKEYED,),
    ),
    Mutant(
        "old key left by a cut",
        "A key card that comes again leaves the copy that a cut has missed.",
        (Patch(_TOOLS, "        meter.keys.confirm()", "        pass"),),
        (_REKEYED,),
    ),
    Mutant(
        "keys before the account",
        "A meter from the factory has its keys before its account says so.",
        (
            Patch(
                _TOOLS,
                '    if account.values["state"] == FACTORY:\n'
                "        account.commit(dict(account.values, state=KEYED), True)\n",
                "",
            ),
            Patch(
                _TOOLS,
                "    meter.keys.commit(new, True)\n",
                "    meter.keys.commit(new, True)\n"
                '    if account.values["state"] == FACTORY:\n'
                "        account.commit(dict(account.values, state=KEYED), True)\n",
            ),
        ),
        (_cut("keys from the factory", 5, shard=16),),
    ),
    Mutant(
        "test gas without end",
        "More test gas is given than a meter has in its life.",
        (Patch(_TOOLS, "    if total > meter.settings.test_gas:\n", "    if False:\n"),),
    ),
    Mutant(
        "test gas forgiven",
        "What passed beyond the test gas while the valve shut is given anew with the next card.",
        (
            Patch(
                _TOOLS,
                '    end = (state["test_gas_end"] or meter.register.value) + more\n',
                '    end = max(meter.register.value, state["test_gas_end"]) + more\n',
            ),
        ),
    ),
    Mutant(
        "test gas comes back",
        "A meter that was cleared has its test gas again.",
        (
            Patch(
                _METER,
                '                if left > 0 and not account.values["binding"]:\n',
                "                if left > 0:\n",
            ),
        ),
    ),
    Mutant(
        "old binding opens again",
        "An unbound meter takes an opening order of any binding.",
        (
            Patch(
                _JUDGING,
                '        if order["binding"] != own + 1 or order["binding"] < keys["binding"]:\n',
                "        if False:\n",
            ),
        ),
    ),
    # --- the counter's other services
    Mutant(
        "own request approved",
        "Who asked for gas may approve it.",
        (Patch(_GRANTS, "        if same_person(approver, row.requester):\n", "        if False:\n"),),
        (_at_counter("make-up"),),
    ),
    Mutant(
        "own request approved in capitals",
        "Two names are compared letter by letter.",
        (Patch(_GRANTS, "    return _plain_name(one) == _plain_name(other)\n", "    return one == other\n"),),
        (_at_counter("make-up"),),
    ),
    Mutant(
        "unapproved written",
        "A request nobody approved is written.",
        (Patch(_GRANTS, "    if row.approver is None:\n        raise", "    if False:\n        raise"),),
        (_at_counter("make-up"),),
    ),
    Mutant(
        "grant written twice",
        "A request that was written is written again.",
        (Patch(_GRANTS, "    if row.written is not None:\n", "    if False:\n"),),
        (_at_counter("make-up"), _hall("hall makeup", 8)),
    ),
    Mutant(
        "grant not noted",
        "The order of a grant is booked, and the grant not as written.",
        (
            Patch(
                _GRANTS,
                "        books.change_grant(grant_row(books, number), journal.GRANT_WRITTEN, written=order.id)\n",
                "        pass\n",
            ),
        ),
        (_hall("hall makeup", 8),),
    ),
    Mutant(
        "grant on any card",
        "A request is written to the card of any account.",
        (Patch(_GRANTS, "    if row.account != account.number:\n", "    if False:\n"),),
        (_at_counter("make-up"),),
    ),
    Mutant(
        "cancelled grant written",
        "A request that was cancelled or paid is written.",
        (Patch(_GRANTS, "    if row.cancelled_at is not None or row.paid_at is not None:\n", "    if False:\n"),),
        (_at_counter("make-up"),),
    ),
    Mutant(
        "gift to a stopped account",
        "A gift asks for no account's state.",
        (Patch(_GRANTS, "        check_state(standing.account)\n", "        pass\n"),),
        (_at_counter("gift"),),
    ),
    Mutant(
        "held gas made up without end",
        "More gas is made up than is held.",
        (Patch(_GRANTS, "    if kind == HELD and pulses > held:\n", "    if False:\n"),),
        (_at_counter("held"),),
    ),
    Mutant(
        "held gas paid twice",
        "Held gas that is made up counts as paid once more.",
        (
            Patch(
                _GRANTS,
                "    return Wanted(purpose, 0 if row.kind == HELD else row.pulses, row.pulses,",
                "    return Wanted(purpose, row.pulses, row.pulses,",
            ),
        ),
        (_at_counter("held"),),
    ),
    Mutant(
        "another loss while gas is held",
        "Held gas is made up as another loss.",
        (Patch(_GRANTS, "    if held and kind in (LOSS, DEAD_METER, OTHER):\n", "    if False:\n"),),
        (_at_counter("held"),),
    ),
    Mutant(
        "nothing held",
        "A replacement card releases all that was paid, loaded or not.",
        (
            Patch(
                _REPLACEMENT,
                '        released=0 if known is None else known["bought_total"],\n',
                "        released=here.base,\n",
            ),
        ),
        (_at_counter("held"),),
    ),
    Mutant(
        "held not computed",
        "What was paid and not loaded is forgotten with the lost card.",
        (
            Patch(
                _COUNTER,
                "        return base, sum(books.paid(binding.id).values()) - base if row.replacement else 0\n",
                "        return base, 0\n",
            ),
        ),
        (_at_counter("held"),),
    ),
    Mutant(
        "replacement not numbered",
        "A replacement card bears the number of the card before it.",
        (Patch(_REPLACEMENT, "replacement=here.row.replacement + 1,", "replacement=here.row.replacement,"),),
        (_at_counter("held"),),
    ),
    Mutant(
        "old card's report not taken",
        "A card that is taken back is filed unread.",
        (
            Patch(
                _REPLACEMENT,
                "        report, why_not = prove(counter, books, card)\n",
                "        report, why_not = None, codes.OK\n",
            ),
        ),
        (_at_counter("held, loaded after all"),),
    ),
    Mutant(
        "replacement uses no stock",
        "A replacement card is not taken off the stock.",
        (Patch(_REPLACEMENT, "    if uses_stock:\n", "    if False:\n"),),
        (_at_counter("held"),),
    ),
    Mutant(
        "refund outlives its card",
        "The card with a refund is replaced, and the refund stays open.",
        (
            Patch(
                _REPLACEMENT,
                "        books.change_grant(here.unpaid, journal.GRANT_CANCELLED, cancelled_at=now)\n",
                "        pass\n",
            ),
        ),
        (_at_counter("refund cancelled"),),
    ),
    Mutant(
        "refund paid without the report",
        "A refund that is on the card is paid.",
        (Patch(_REFUNDS, "        if not proven(books, row, order):\n", "        if False:\n"),),
        (_at_counter("refund"),),
    ),
    Mutant(
        "refund proven by an older report",
        "A report of no more gas than the refund's order proves it, whatever its sequence.",
        (Patch(_REFUNDS, '    return bool(report["sequence"] >= order.sequence and', "    return bool(True and"),),
        (_at_counter("refund cancelled"),),
    ),
    Mutant(
        "sold while a refund is unpaid",
        "A sale asks for no unpaid refund.",
        (
            Patch(
                _COUNTER,
                "        check_state(standing.account)\n        check_settled(standing.unpaid)\n",
                "        check_state(standing.account)\n",
            ),
        ),
        (_at_counter("refund"),),
    ),
    Mutant(
        "cancelled refund paid",
        "A refund is paid whether it was cancelled or paid before.",
        (
            Patch(
                _REFUNDS,
                "        _check_open(row)\n        order = _order(books, row)\n",
                "        order = _order(books, row)\n",
            ),
        ),
        (_at_counter("refund"),),
    ),
    Mutant(
        "cancelled refund's gas lost",
        "The order that cancels a refund bears the refund's own total.",
        (Patch(_REFUNDS, "standing.last.released_pulses + row.pulses)", "standing.last.released_pulses)"),),
        (_at_counter("refund cancelled"),),
    ),
    Mutant(
        "gifts paid back",
        "Money is paid back for gas that was given.",
        (Patch(_REFUNDS, "    if pulses > bought:\n", "    if False:\n"),),
        (_at_counter("gift"),),
    ),
    Mutant(
        "paid back to the wrong shift's drawer",
        "A refund paid is in no shift.",
        (Patch(_REFUNDS, "paid_at=now, shift=shift)", "paid_at=now, shift=None)"),),
        (_at_counter("refund"),),
    ),
    Mutant(
        "drawer without pay-outs",
        "A shift's money is what it took, whatever it paid out.",
        (
            Patch(
                _SHIFTS,
                "        money=sum(order.fen or 0 for order in sales) - sum(fen for _, fen in paid_out),\n",
                "        money=sum(order.fen or 0 for order in sales),\n",
            ),
        ),
        (_at_counter("refund"),),
    ),
    Mutant(
        "sold without a shift",
        "Nobody is asked whether a shift is open.",
        (Patch(_SHIFTS, "    if rules.shift is None and rules.last_shift is not None:\n", "    if False:\n"),),
        (_at_counter("shift"),),
    ),
    Mutant(
        "short drawer closed",
        "A shift whose money does not agree is closed without a word.",
        (Patch(_SHIFTS, "        if cash != money:\n            side", "        if False:\n            side"),),
        (_at_counter("shift"),),
    ),
    Mutant(
        "cards left stay in the hand",
        "The blank cards counted at a close do not go back to the store.",
        (
            Patch(
                _SHIFTS,
                "                books.move_stock(stock.BACK, cards, at=now, shift=row.number)\n",
                "                pass\n",
            ),
        ),
        (_at_counter("shift"),),
    ),
    Mutant(
        "price not asked for",
        "Any sum is taken for gas that has a price.",
        (Patch("gashall/prices.py", "    if not agreed:\n", "    if False:\n"),),
        (_at_counter("shift"),),
    ),
    Mutant(
        "limits count gifts",
        "What was given or made up uses up what may be bought.",
        (
            Patch(
                _STATEMENTS,
                ' orders.c.made_at >= sa.bindparam("_since"), orders.c.kind.is_(None))\n',
                ' orders.c.made_at >= sa.bindparam("_since"))\n',
            ),
        ),
        (_at_counter("gift"),),
    ),
    Mutant(
        "days begin at Greenwich",
        "A limit's day begins at midnight UTC.",
        (
            Patch(
                "gashall/limits.py",
                "    local = units.moment(now + offset(rules))\n",
                "    local = units.moment(now)\n",
            ),
        ),
        (_at_counter("gift"),),
    ),
    Mutant(
        "correction dropped by a sale",
        "A purchase bears no correction total.",
        (
            Patch(
                _COUNTER,
                "            correction=correction_total(last, standing.known) or None,\n",
                "            correction=None,\n",
            ),
        ),
        (_at_counter("drift"),),
    ),
    Mutant(
        "correction dropped by a replacement",
        "A replacement card bears no correction total.",
        (Patch(_REPLACEMENT, "        correction=here.last.correction,\n", "        correction=None,\n"),),
        (_at_counter("drift"),),
    ),
    Mutant(
        "correction dropped by a gift",
        "Make-ups, gifts and refunds bear no correction total but drift's own.",
        (
            Patch(
                _PLACING,
                "        correction=correction_total(standing.last, standing.known) if wanted.correction is None else "
                "wanted.correction,\n",
                "        correction=wanted.correction,\n",
            ),
        ),
        (_at_counter("drift"),),
    ),
    Mutant(
        "probe carries the total",
        "A probe bears all that was sold, and so gives what it is put over.",
        (Patch("gashall/probe.py", "                total=0,\n", ""),),
        (_at_counter("sold while recovering"),),
    ),
    Mutant(
        "probe over gas",
        "A probe overwrites an order that no report shows loaded.",
        (
            Patch(
                "gashall/probe.py",
                "    if waits and not overwrite and not _has_lapsed(books, last):\n",
                "    if False:\n",
            ),
        ),
        (_at_counter("restored"),),
    ),
    Mutant(
        "adopting lowers",
        "An adopted order's total counts, even if it is a probe's.",
        (
            Patch(
                _ADOPTION,
                "    released = max(total, lost.released)\n    lost.orders",
                "    released = total\n    lost.orders",
            ),
        ),
        (_at_counter("restored"),),
    ),
    Mutant(
        "recovery ends with any report",
        "A report from before the restore ends an account's recovery.",
        (
            Patch(
                _ADOPTION,
                '    return first is not None and standing.known is not None and standing.known["sequence"] >= first\n',
                "    return standing.known is not None\n",
            ),
        ),
        (_at_counter("restored"),),
    ),
    Mutant(
        "recovering accounts buy",
        "A recovering account may buy, whatever the company has set.",
        (
            Patch(
                _COUNTER,
                " or not books.rules(self.now()).sell_recovering:\n",
                ":\n",
            ),
        ),
        (_at_counter("restored"),),
    ),
    Mutant(
        "meter under test gets another card",
        "A card is replaced while its meter is under test.",
        (Patch(_REPLACEMENT, "    check_free(books, binding, recovering=True)\n", ""),),
        (_at_counter("suspended"),),
    ),
    Mutant(
        "recovering account's card says too much",
        "A card that replaces a recovering account's bears the total of a report from before the restore.",
        (
            Patch(
                _REPLACEMENT,
                "    known = None if books.recovery(binding.id) else here.known\n",
                "    known = here.known\n",
            ),
        ),
        (_at_counter("lost while recovering"),),
    ),
    Mutant(
        "sequences do not jump",
        "After a restore the next order bears the sequence after the ledger's last.",
        (
            Patch(
                _COUNTER,
                "        return max(self.last.sequence + 1, self.floor or 0)\n",
                "        return self.last.sequence + 1\n",
            ),
        ),
        (_at_counter("restored"),),
    ),
    Mutant(
        "requests outlive a restore",
        "What was asked for before a restore may still be written, and paid.",
        (
            Patch(
                _BOOKS,
                "        for grant in lapsed:\n            self._run",
                "        for grant in ():\n            self._run",
            ),
            Patch(
                _BOOKS,
                '"recoveries": [*ended, *marked], "grants": lapsed}\n',
                '"recoveries": [*ended, *marked]}\n',
            ),
        ),
        (_at_counter("restored"),),
    ),
    Mutant(
        "damaged copy restored",
        "A copy that fails its audit is restored.",
        (Patch("gashall/restoring.py", "    check(audit(ledger, head), copy or ledger.name)\n", ""),),
        (_at_counter("tampered"),),
    ),
    Mutant(
        "meter under test sold to",
        "Gas is sold to an account whose meter is under test.",
        (Patch(_COUNTER, "        if self.suspended:\n", "        if False:\n"),),
        (_at_counter("suspended"),),
    ),
    Mutant(
        "wheels turn back",
        "Wheels that passed zero in a test have taken less than nothing.",
        (
            Patch(
                "gashall/suspension.py",
                "(row.end_reading - row.reading) % meter.wheel_pulses\n",
                "max(0, row.end_reading - row.reading)\n",
            ),
        ),
        (_at_counter("suspended"),),
    ),
    Mutant(
        "holding not journalled",
        "A pending order whose card is replaced changes without a row of the journal.",
        (
            Patch(
                _BOOKS,
                "        self._tell(journal.ORDER_HELD,",
                "        str((journal.ORDER_HELD,",
            ),
            Patch(
                _BOOKS,
                '{"orders": [{"id": order.id, "state": WRITTEN}]})\n',
                '{"orders": [{"id": order.id, "state": WRITTEN}]}))\n',
            ),
        ),
        (_at_counter("held, not finished"),),
    ),
    Mutant(
        "taking back not journalled",
        "A card is taken back without a row of the journal.",
        (
            Patch(
                _BOOKS,
                "            self._tell(journal.CARD_ENDED,",
                "            str((journal.CARD_ENDED,",
            ),
            Patch(
                _BOOKS,
                '{"cards": [{"number": card.number, "ended": at}]})\n',
                '{"cards": [{"number": card.number, "ended": at}]}))\n',
            ),
        ),
        (_at_counter("held"),),
    ),
    Mutant(
        "journal without a chain",
        "A row's hash does not hold the row before it.",
        (
            Patch(
                "gashall/journal.py",
                "    parts = [DOMAIN, previous, number",
                "    parts = [DOMAIN, FIRST, number",
            ),
        ),
        (_at_counter("make-up"),),
    ),
    Mutant(
        "audit forgets the head",
        "An audit does not ask whether the head it was given is still there.",
        (Patch("gashall/audit.py", "    if wanted is not None and wanted not in hashes:\n", "    if False:\n"),),
        (_at_counter("tampered"),),
    ),
    Mutant(
        "check tries strangers",
        "A card check presents the password to whatever card there is.",
        (
            Patch(
                "gashall/verification.py",
                "        if password and genuine and before",
                "        if password and card.number is not None and before",
            ),
        ),
        (_at_counter("verified"),),
    ),
    Mutant(
        "check tries a damaged card",
        "A card check presents the password to a card whose order is damaged.",
        (
            Patch(
                "gashall/verification.py",
                "    return card.order.authentic and not forged and place",
                "    return not forged and place",
            ),
        ),
        (_at_counter("verified"),),
    ),
    Mutant(
        "grant judged once",
        "What another window did while the password was presented is not looked at before a grant is booked.",
        (
            Patch(
                _PLACING,
                "                    _judged(counter, books, standing, plan)\n",
                "                    judged = _judged(counter, books, standing, plan)\n",
            ),
            Patch(
                _PLACING,
                "            wanted, shift = _judged(counter, books, standing, plan)\n",
                "            wanted, shift = judged\n",
            ),
        ),
        (_at_counter("two windows"),),
    ),
    Mutant(
        "sale judged once",
        "What another window did while the password was presented is not looked at before a sale is booked.",
        (
            Patch(
                "gashall/purchase.py",
                "            if books.head() != judged_at or counter.now() != terms.now:\n",
                "            if False:\n",
            ),
        ),
        (_at_counter("two windows"),),
    ),
    Mutant(
        "price of the minute before",
        "A sale judged in one minute and booked in the next is sold for the price that is over.",
        (Patch("gashall/purchase.py", " or counter.now() != terms.now:\n", ":\n"),),
        (_at_counter("two windows"),),
    ),
    Mutant(
        "batch writes before it books",
        "The cards of a group get their orders in the transaction that books them.",
        (
            Patch(
                _BATCH,
                "(self.counter, books, job.row.request) for job in jobs]\n",
                "(self.counter, books, job.row.request) for job in jobs]\n"
                "                    for job, made in zip(jobs, booked, strict=True):\n"
                "                        job.reader.write(0x20, made[2].frame)\n",
            ),
        ),
        (_at_counter("batch"),),
    ),
    Mutant(
        "batch announces nothing",
        "A batch books that a card is issued, and no byte of its password before.",
        (
            Patch(
                _BATCH,
                "                            self.counter.mark_issue(books, row, order, psc_bytes, issued)\n",
                "                            if issued:\n"
                "                                self.counter.mark_issue(books, row, order, psc_bytes, issued)\n",
            ),
        ),
        (_at_counter("batch"),),
    ),
    Mutant(
        "batch made twice",
        "A resumed batch opens what it has opened once more, on another card.",
        (
            Patch(
                _BATCH,
                "            made = opening.finished_opening(books, row.request) if resume else None\n",
                "            made = None\n",
            ),
        ),
        (_at_counter("batch"),),
    ),
    # --- the company's cards at the hall
    Mutant(
        "waiting gas released twice",
        "An exchange releases all that was ever paid on the customer's card, not what the old meter has not loaded.",
        (
            Patch(
                _EXCHANGE,
                '    owed = max(entitled - final["bought_total"], 0)\n',
                "    owed = entitled\n",
            ),
        ),
        (_hall("hall transfer card read"), _story("exchanged with gas on the card", 3)),
    ),
    Mutant(
        "waiting gas forgotten",
        "An exchange releases nothing on the customer's card but what its meter has.",
        (
            Patch(
                _EXCHANGE,
                '    owed = max(entitled - final["bought_total"], 0)\n',
                "    owed = 0\n",
            ),
        ),
        (_hall("hall transfer card read"),),
    ),
    Mutant(
        "transfer card booked twice",
        "A transfer card that comes back a second time is booked once more.",
        (
            Patch(
                _EXCHANGE,
                "        if row.moved_at is not None:\n            return _told(books, row, resumed=True)\n",
                "",
            ),
        ),
        (_hall("hall transfer card read"),),
    ),
    Mutant(
        "transfer card not noted",
        "A transfer card is made, and no exchange is booked with it.",
        (Patch(_TOOLMAKING, "    if wanted.note is not None:\n", "    if False:\n"),),
        (_hall("hall transfer card", 32),),
    ),
    Mutant(
        "sold in an exchange",
        "Gas is sold, given and replaced while an account's meter is exchanged.",
        (
            Patch(
                _COUNTER,
                "    if row is None:\n        return\n    if row.moved_at is None:\n        raise",
                "    return\n    if row.moved_at is None:\n        raise",
            ),
        ),
        (_hall("hall transfer card", 32),),
    ),
    Mutant(
        "card for the new meter before its time",
        "The customer's card for the new meter is written before the final record is known.",
        (
            Patch(
                _EXCHANGE,
                "    if row.moved_at is None:\n",
                "    if False:\n",
            ),
        ),
        (_hall("hall transfer card", 32),),
    ),
    Mutant(
        "awaited meter given away",
        "The meter an exchange waits for is opened for another customer.",
        (Patch("gashall/opening.py", "    if coming is not None:\n", "    if False:\n"),),
        (_hall("hall transfer card", 32),),
    ),
    Mutant(
        "dead meter opened again",
        "A meter that was declared dead is opened though nobody has cleared it.",
        (Patch("gashall/opening.py", "    if over is not None:\n", "    if False:\n"),),
        (_at_counter("exchange, dead meter"),),
    ),
    Mutant(
        "dead meter's gas without end",
        "More is made up for a dead meter than its closing index leaves.",
        (Patch(_GRANTS, "    if pulses > left:\n", "    if False:\n"),),
        (_at_counter("exchange, dead meter"),),
    ),
    Mutant(
        "closed without the final record",
        "An account is closed against the last report where no final record is known.",
        (
            Patch(
                _ENDING,
                "    if binding is None or binding.open or books.final(binding.meter, binding.number) is None:\n",
                "    if binding is None:\n",
            ),
            Patch(
                _ENDING,
                "    check_free(books, binding, ending=False)\n",
                "",
            ),
            Patch(
                _ENDING,
                "    final = encode.decode_frame(found(books.final(binding.meter, binding.number)).frame, "
                "tools.FINAL)\n",
                "    kept = books.final(binding.meter, binding.number)\n"
                "    final = encode.decode_frame(kept.frame, tools.FINAL) if kept is not None else "
                "encode.decode_report(books.last_report(binding.meter).frame)\n",
            ),
        ),
        (_story("cleared", 2), _at_counter("closed")),
    ),
    Mutant(
        "forged final record booked",
        "The hall asks for no MAC of a clear card's final record.",
        (
            Patch(
                _TOOLREADING,
                "    if not final.authentic:\n",
                "    if final.values is None:\n",
            ),
        ),
        (_story("cleared", 4),),
    ),
    Mutant(
        "closed twice",
        "Who closes an account again is not told that it is closed.",
        (Patch(_CLOSING, "        if known.state == CLOSED and done is not None:\n", "        if False:\n"),),
        (_hall("hall account closed"),),
    ),
    Mutant(
        "gifts paid back at the end",
        "Closing pays for gas that was given.",
        (
            Patch(
                _CLOSING,
                "        payable = bought_of(books, account, scales, max(count, 0) * scale) // scale\n",
                "        payable = max(count, 0)\n",
            ),
        ),
        (_at_counter("closed"),),
    ),
    Mutant(
        "gifts burned first",
        "What is left counts as bought as far as anything was, and a gift is paid back.",
        (
            Patch(
                _REFUNDS,
                "        left -= taken\n        bought += 0 if part.given else taken\n",
                "        left -= 0 if part.given else taken\n        bought += 0 if part.given else taken\n",
            ),
        ),
        (_at_counter("closed"),),
    ),
    Mutant(
        "closed on a copy's word",
        "An account that was cleared before a restore is paid once more.",
        (
            Patch(
                _CLOSING,
                "        if payable and fen is None and not books.ended_since_restore(account):\n",
                "        if False:\n",
            ),
        ),
        (_at_counter("lapsed"),),
    ),
    Mutant(
        "a void refund waits",
        "A refund that a restore made void is loaded before the probe is written, and paid by nobody.",
        (
            Patch(
                "gashall/probe.py",
                "    if waits and not overwrite and not _has_lapsed(books, last):\n",
                "    if waits and not overwrite:\n",
            ),
        ),
        (_at_counter("lapsed"),),
    ),
    Mutant(
        "a void refund counts",
        "A refund nobody paid counts as paid back.",
        (
            Patch(
                _REFUNDS,
                "        if order.kind == REFUND and order.id not in cancelled:\n",
                "        if order.kind == REFUND:\n",
            ),
        ),
        (_at_counter("lapsed"),),
    ),
    Mutant(
        "nothing for nothing",
        "A sale before the price list begins costs nothing.",
        (
            Patch(
                _COUNTER,
                "        if rules.price is None and fen is None and count and books.prices():\n",
                "        if False:\n",
            ),
        ),
        (_at_counter("no price"),),
    ),
    Mutant(
        "sold beside a clear card",
        "An order is made while a card is out that may end its binding.",
        (Patch(_COUNTER, "    if tool is not None:\n        raise", "    if False:\n        raise"),),
        (_hall("hall clear card", 32),),
    ),
    Mutant(
        "used clear card taken back",
        "A clear card is taken back as unused though a meter has written on it.",
        (
            Patch(
                _TOOLCARDS,
                "        if row.seen_at is None and not over and any(part.written for part in behind(card)):\n",
                "        if False:\n",
            ),
        ),
        (_hall("hall clear card taken back", 8), _story("cleared", 4)),
    ),
    Mutant(
        "begun company's card forgotten",
        "A company's card that was begun and not finished is begun anew.",
        (
            Patch(
                _TOOLMAKING,
                "    return next((row for row in rows if not row.issued and row.ended is None), None)\n",
                "    return None\n",
            ),
        ),
        (_hall("hall clear card", 8),),
    ),
    Mutant(
        "company's card announces nothing",
        "The ledger knows that a company's card is issued, and no byte of its password before.",
        (
            Patch(
                _TOOLMAKING,
                "            with counter.ledger.begin() as books:\n                books.mark_tool(",
                "            with counter.ledger.begin() as books:\n                if issued:\n"
                "                    books.mark_tool(",
            ),
        ),
        (_hall("hall clear card"),),
    ),
    Mutant(
        "company's card judged once",
        "What another window did while the password was presented is not looked at before a company's card is booked.",
        (
            Patch(
                _TOOLMAKING,
                "                row = _book(counter, books, kind, meter, plan(books, None))\n",
                "                row = _book(counter, books, kind, meter, wanted)\n",
            ),
        ),
        (_at_counter("company's card, two windows"),),
    ),
    Mutant(
        "card number given twice",
        "The company's cards have numbers that are not counted.",
        (
            Patch(
                _BOOKS,
                "        highest = [self._highest(schema.cards.c.number), self._highest(schema.tools.c.number)]\n",
                "        highest = [self._highest(schema.cards.c.number)]\n",
            ),
        ),
        (_hall("hall setting card", 64),),
    ),
    Mutant(
        "service number given twice",
        "A setting card bears the service number of the one before it.",
        (
            Patch(
                _BOOKS,
                "        number = self._highest_service() + 1\n",
                "        number = max(1, self._highest_service())\n",
            ),
        ),
        (_hall("hall setting card", 64),),
    ),
    Mutant(
        "report emptied half way",
        "A report whose taking off was cut short in its first byte is taken for one a meter damaged.",
        (
            Patch(
                _TOOLREADING,
                "part.raw[0] & _START == _START != part.raw[0]]",
                "part.raw[0] == 0xFF]",
            ),
        ),
        (_hall("hall management card read"),),
    ),
    Mutant(
        "blank cards for the company not counted",
        "A company's card uses no blank card.",
        (Patch(_TOOLMAKING, "    if uses_stock:\n", "    if False:\n"),),
        (_hall("hall clear card", 32),),
    ),
    # --- a dead meter, and what it had left
    Mutant(
        "dead meter's gas forgotten at a clear",
        "A binding is cleared before it was decided what is made up of a dead meter's gas.",
        (Patch(_CLOSING, "        check_made_up(books, binding, here.meter.pulse_weight)\n", ""),),
        (_story("dead meter's heir", 2),),
    ),
    Mutant(
        "dead meter's gas forgotten in an exchange",
        "A transfer card is made before it was decided what is made up of a dead meter's gas.",
        (
            Patch(
                _EXCHANGE,
                "    check_bound(here.known, account)\n    check_made_up(books, old, here.meter.pulse_weight)\n",
                "    check_bound(here.known, account)\n",
            ),
        ),
        (_story("dead meter's heir", 2),),
    ),
    Mutant(
        "dead meter's gas forgotten when its heir dies",
        "A dead meter's heir is declared dead before it was decided what is made up of the first one's gas.",
        (
            Patch(
                _EXCHANGE,
                "            check_made_up(books, old, here.meter.pulse_weight)\n            coming",
                "            coming",
            ),
        ),
        (_story("dead meter's heir", 2),),
    ),
    Mutant(
        "dead meter's gas asked for and forgotten",
        "A request for a dead meter's gas that is still open counts as decided.",
        (
            Patch(
                _GRANTS,
                " and (not decided or any(row.written is None and row.cancelled_at is None for row in rows)):\n",
                " and not decided:\n",
            ),
        ),
        (_story("dead meter's heir", 2),),
    ),
    Mutant(
        "dead meter's gas refused by a restore",
        "A request for a dead meter's gas that a restore made void counts as refused.",
        (Patch(_GRANTS, " or (row.last_sequence or 0) >= since for row in rows)\n", " or True for row in rows)\n"),),
        (_story("dead meter's heir", 2), _at_counter("dead meter's gas")),
    ),
    Mutant(
        "dead meter's gas refused before it was known",
        "A dead meter's gas that was refused before a card's word was adopted counts as refused.",
        (
            Patch(
                _GRANTS,
                "    since = max([row.sequence for row in books.adoptions(binding.id)], default=0)\n",
                "    since = 0\n",
            ),
        ),
        (_at_counter("dead meter's gas"),),
    ),
    Mutant(
        "dead meter's gas asked for without end",
        "A request for more than a dead meter had left is refused only when it is written.",
        (
            Patch(
                _GRANTS,
                "        if kind == DEAD_METER:\n            _check_dead",
                "        if False:\n            _check_dead",
            ),
        ),
        (_at_counter("exchange, dead meter"),),
    ),
    Mutant(
        "dead meter's gas judged once",
        "What is known by now of a dead meter's heir is not looked at when the make-up is written.",
        (
            Patch(
                _GRANTS,
                "        if row.kind == DEAD_METER:\n            _check_dead(books, standing",
                "        if False:\n            _check_dead(books, standing",
            ),
        ),
        (_story("dead meter, declared anew", 4),),
    ),
    Mutant(
        "dead meter's gas beside what was adopted",
        "What a dead meter's heir has told, and was adopted, is made up once more.",
        (
            Patch(
                _GRANTS,
                "    return left - sum(row.raised_pulses for row in books.adoptions(binding.id))\n",
                "    return left\n",
            ),
        ),
        (_story("dead meter, declared anew", 4),),
    ),
    Mutant(
        "dead meter's gas by its last report",
        "What a dead meter had left is reckoned by its last report and not by its closing index.",
        (
            Patch(
                _EXCHANGE,
                "        used = _used_by_index(old, here, closing_index)\n",
                '        used = 0 if here.known is None else here.known["used"]\n',
            ),
        ),
        (_at_counter("exchange, dead meter"),),
    ),
    Mutant(
        "dead meter for an heir",
        "A meter that was declared dead may take another's place.",
        (
            Patch(
                _EXCHANGE,
                "    check_meter_free(books, wanted.number)\n",
                "",
            ),
        ),
        (_at_counter("dead meter's gas"),),
    ),
    Mutant(
        "another heir than the card's",
        "A meter whose transfer card is out is declared dead for another new meter than the card names.",
        (Patch(_EXCHANGE, "            if new.meter != meter.number:\n", "            if False:\n"),),
        (_at_counter("dead meter, its card out"),),
    ),
    Mutant(
        "refund outlives its meter",
        "A refund that a dead meter never loaded stays open.",
        (
            Patch(
                _EXCHANGE,
                "            books.change_grant(here.unpaid, journal.GRANT_CANCELLED, cancelled_at=now)\n",
                "",
            ),
        ),
        (_at_counter("dead meter's gas"),),
    ),
    Mutant(
        "exchange's card uses no stock",
        "The blank card that takes a lost one's place in an exchange is not taken off the stock.",
        (Patch(_EXCHANGE, "            if uses_stock:\n", "            if False:\n"),),
        (_at_counter("dead meter's gas"),),
    ),
    Mutant(
        "exchange before the meter is bound",
        "A transfer card is made for a meter that no report shows bound, and which refuses it for ever.",
        (
            Patch(
                _EXCHANGE,
                "    check_bound(here.known, account)\n    check_made_up",
                "    check_made_up",
            ),
        ),
        (_at_counter("meter not bound, one person"),),
    ),
    Mutant(
        "exchange proven gives it all again",
        "An exchange by the new meter's report releases what no report shows that the old one had loaded.",
        (
            Patch(
                _EXCHANGE,
                "        _begin_binding(counter, books, row, here, new, tool, moved, taken, 0, 0)\n",
                "        again = max(_unproven(books, old), 0)\n"
                "        _begin_binding(counter, books, row, here, new, tool, moved, taken, again, 0)\n",
            ),
        ),
        (_at_counter("exchange proven"),),
    ),
    Mutant(
        "one person ends a meter",
        "Exchange, clear, close and adopting ask for two names and take the same one twice.",
        (
            Patch(
                _ADOPTION,
                "    if same_person(requester, approver):\n",
                "    if False:\n",
            ),
        ),
        (_at_counter("meter not bound, one person"),),
    ),
    # --- an account that is opened again
    Mutant(
        "left comes along across a restore",
        "What a meter had left when it was cleared before a restore comes along to another meter.",
        (
            Patch(
                _OPENING_AT_HALL,
                "    if reckoned(books, before)[0] and not books.ended_since_restore(account.number):\n",
                "    if False:\n",
            ),
        ),
        (_at_counter("opened again"),),
    ),
    Mutant(
        "left stays behind",
        "An account that gets a meter again gets what it buys and nothing of what it had left.",
        (
            Patch(
                _OPENING_AT_HALL,
                "        left = _left(books, before, meter, request.pulses)\n",
                "        left = 0\n",
            ),
        ),
        (_at_counter("opened again"),),
    ),
    Mutant(
        "left counts as bought",
        "What comes along when an account is opened again is a purchase, to limits and reports.",
        (
            Patch(
                _OPENING_AT_HALL,
                "        kind=TRANSFER,\n        correction=owed or None,\n",
                "        correction=owed or None,\n",
            ),
        ),
        (_at_counter("opened again"),),
    ),
    Mutant(
        "owed gas forgiven at an opening",
        "What the customer burned and never bought is not taken off when his account is opened again.",
        (
            Patch(
                _OPENING_AT_HALL,
                "        correction=max(-left, 0) or None,\n",
                "        correction=None,\n",
            ),
        ),
        (_hall("hall opening again, gas owed", 32),),
    ),
    Mutant(
        "opened again before it is cleared",
        "An account that has a meter gets another beside it.",
        (Patch(_OPENING_AT_HALL, "    if bound is not None:\n", "    if False:\n"),),
        (_at_counter("opened again"),),
    ),
    Mutant(
        "opened again though it is stopped",
        "A stopped account gets a meter again, with a purchase.",
        (Patch(_OPENING_AT_HALL, "    check_state(account)\n    if request.name", "    if request.name"),),
        (_at_counter("opened again"),),
    ),
    Mutant(
        "opened again for another",
        "An account that is opened again may be another holder's by the name that is typed.",
        (Patch(_OPENING_AT_HALL, '    if request.name not in ("", account.name):\n', "    if False:\n"),),
        (_at_counter("opened again"),),
    ),
    Mutant(
        "opened again under the old card's number",
        "The card of an account that is opened again bears the replacement number of a first one.",
        (
            Patch(
                _OPENING_AT_HALL,
                "_next_replacement(books, before.account)\n",
                "0\n",
            ),
        ),
        (_at_counter("opened again"),),
    ),
    # --- cards that are taken back
    Mutant(
        "present card cleared",
        "A card is cleared before it is asked whether it is the account's present one.",
        (
            Patch(
                _REPLACEMENT,
                "        told = _take_back(counter, card)\n        # What",
                "        if clear:\n            _clear(counter, reader, card)\n"
                "        told = _take_back(counter, counter.read_card(reader))\n        # What",
            ),
        ),
        (_at_counter("taken back and cleared"),),
    ),
    Mutant(
        "card cleared of anything",
        "A card that is taken back is given its password and cleared of an order the ledger did not make.",
        (
            Patch(
                _REPLACEMENT,
                "    if not any(all(",
                "    if not frames and not any(all(",
            ),
        ),
        (_at_counter("taken back and cleared"),),
    ),
    Mutant(
        "reports cleared with the order",
        "A card that is cleared loses what its meter has said as well.",
        (
            Patch(
                _REPLACEMENT,
                "    put(counter, reader, card, found(card.number), [(ORDER_AT, blank)])\n",
                "    put(counter, reader, card, found(card.number), [(ORDER_AT, encode.BLANK_IMAGE[ORDER_AT:])])\n",
            ),
        ),
        (_at_counter("taken back and cleared"),),
    ),
    Mutant(
        "order left on the card",
        "Whoever asks for a card to be cleared gets it back as it was.",
        (Patch(_REPLACEMENT, "        if clear:\n            _clear(counter, reader, card)\n", ""),),
        (_at_counter("taken back and cleared"),),
    ),
    Mutant(
        "clearing begun and not gone on with",
        "A card whose clearing was cut short is told from the one the ledger made, and stays as it is.",
        (
            Patch(
                _REPLACEMENT,
                "all(b & f == f for b, f in zip(card.order.raw, frame, strict=True))",
                "card.order.raw == frame",
            ),
        ),
        (_hall("hall take-back, cleared", 8),),
    ),
    Mutant(
        "replaced twice",
        "A replacement that is asked for twice makes two cards.",
        (Patch(_REPLACEMENT, "    if made is not None and made.state != DONE:\n", "    if False:\n"),),
        (_at_counter("replaced twice"),),
    ),
    Mutant(
        "cards out of nowhere",
        "A card is issued though by the stock there is none.",
        (Patch("gashall/stock.py", "    if moves:\n        _check(moves, shift, 1)\n", ""),),
        (_at_counter("replaced twice"),),
    ),
    Mutant(
        "last try for a card taken back",
        "The last try of a company's card is spent on taking its order off.",
        (Patch(_TOOLCARDS, " != blank and tries_left(reader.error_counter()) > 1:\n", " != blank:\n"),),
        (_at_counter("tool cards"),),
    ),
    Mutant(
        "card taken back made good",
        "A company's card that was taken back with its order on it gets its tries back at a card check.",
        (
            Patch(
                _VERIFICATION,
                " and own is not None and not (own and row.ended is not None)\n",
                " and own is not None\n",
            ),
        ),
        (_at_counter("tool cards"),),
    ),
    Mutant(
        "altered company's card is good",
        "A card check of a company's card does not compare what is on it.",
        (Patch(_VERIFICATION, "    if there == row.frames:\n", "    if True:\n"),),
        (_at_counter("tool cards"),),
    ),
    # --- tests of meters
    Mutant(
        "test corrected by one person",
        "Who asked for a test's readings to be corrected may approve it.",
        (
            Patch(
                _SUSPENSION,
                "    check_approval(requester, approver, reason)\n",
                "",
            ),
        ),
        (_at_counter("test corrected"),),
    ),
    Mutant(
        "void test corrected",
        "A test that was cancelled is corrected, and counts again.",
        (
            Patch(
                _SUSPENSION,
                "        rows = [row for row in books.suspensions(binding.id) if row.cancelled_at is None]\n",
                "        rows = books.suspensions(binding.id)\n",
            ),
        ),
        (_at_counter("test corrected"),),
    ),
    Mutant(
        "cancelled test goes on",
        "A test that is cancelled keeps its account from buying.",
        (
            Patch(
                _SUSPENSION,
                "        books.cancel_suspension(binding, row, cancelled_at=counter.now(), cancelled_for=reason)\n",
                "",
            ),
        ),
        (_at_counter("test corrected"), _hall("hall test cancelled")),
    ),
    Mutant(
        "corrected wheels turn back",
        "Readings are corrected to what no wheels can have shown.",
        (
            Patch(
                _SUSPENSION,
                "        if after is not None:\n            _check_turn(meter, before, after)\n",
                "",
            ),
        ),
        (_at_counter("test corrected"),),
    ),
    Mutant(
        "correction forgets the other reading",
        "A correction of a test's first reading takes the reading at its end away.",
        (
            Patch(
                _SUSPENSION,
                "        before, after = row.reading, row.end_reading\n",
                "        before, after = row.reading, None\n",
            ),
        ),
        (_at_counter("test corrected"),),
    ),
    Mutant(
        "test of a meter that may be over",
        "A meter is tested though a card is out that may end its binding.",
        (Patch(_SUSPENSION, "        check_free(books, binding, recovering=True)\n", ""),),
        (_at_counter("test corrected"),),
    ),
    Mutant(
        "meter in test declared dead",
        "A meter that is away for a test is declared dead, and another bound in its place.",
        (Patch(_EXCHANGE, "        check_not_suspended(books, old)\n", ""),),
        (_at_counter("test corrected"),),
    ),
    # --- money, keys and reports
    Mutant(
        "refund of another day's worth",
        "A refund is written for the money it was worth before more gas was bought.",
        (Patch(_REFUNDS, "        _check_worth(books, row)\n", ""),),
        (_at_counter("bought since the refund"),),
    ),
    Mutant(
        "report of earlier keys proves",
        "A report made with keys its meter has no more is proof.",
        (
            Patch(
                "gashall/encode.py",
                "            return replace(part, mac=codes.KEY_VERSION)\n",
                "            return replace(part, mac=codes.OK)\n",
            ),
        ),
        (_at_counter("tool cards"),),
    ),
    Mutant(
        "report of earlier keys forged",
        "A report made with keys its meter has no more is taken for a forgery.",
        (
            Patch(
                "gashall/encode.py",
                "            return replace(part, mac=codes.KEY_VERSION)\n",
                "            return replace(part, mac=codes.MAC)\n",
            ),
        ),
        (_at_counter("tool cards"),),
    ),
    Mutant(
        "keys over a purchase",
        "A key card is made while a purchase waits that its meter will then refuse.",
        (Patch(_TOOLCARDS, "            if last.state != DONE:\n", "            if False:\n"),),
        (_at_counter("tool cards"),),
    ),
    Mutant(
        "guards for a bound meter",
        "A setting card is made that its meter, being bound, refuses.",
        (
            Patch(
                _TOOLCARDS,
                "        if meter is not None and what & ~tools.SET_CLOCK and books.binding_on(meter) is not None:\n",
                "        if False:\n",
            ),
        ),
        (_at_counter("tool cards"),),
    ),
    Mutant(
        "test gas for a customer's meter",
        "A test gas card is made for a meter that was bound.",
        (Patch(_TOOLCARDS, "        if known.highest_binding:\n", "        if False:\n"),),
        (_at_counter("tool cards"),),
    ),
    Mutant(
        "card taken back, and not why",
        "A card that is taken back does not say why its report proves nothing.",
        (Patch(_REPLACEMENT, "            why_not=why_not,\n", "            why_not=0,\n"),),
        (_at_counter("tool cards"),),
    ),
    Mutant(
        "papers by Greenwich",
        "Answers and papers say the time by UTC, and so another day than the customer's.",
        (
            Patch(
                "gashall/books.py",
                "        return moment(at).astimezone(self.zone)\n",
                "        return moment(at)\n",
            ),
        ),
        (_at_counter("reported"),),
    ),
    Mutant(
        "price of yesterday",
        "A price is set for a minute that is over.",
        (Patch("gashall/prices.py", "    if start < now:\n", "    if False:\n"),),
        (_at_counter("reported"),),
    ),
    Mutant(
        "report's days begin at Greenwich",
        "A report's day begins at midnight UTC.",
        (Patch(_REPORTING, "        offset = limits.offset(books.rules(now))\n", "        offset = 0\n"),),
        (_at_counter("reported"),),
    ),
    Mutant(
        "what came along reported",
        "A report counts gas that came along from the meter before as an order of its day.",
        (Patch(_REPORTING, "            if order.kind == TRANSFER:\n", "            if False:\n"),),
        (_at_counter("opened again"),),
    ),
    Mutant(
        "replacements not reported as cards",
        "A report counts the cards of openings alone as issued.",
        (Patch(_REPORTING, "            issued += order.issues_card\n", "            issued += order.opens\n"),),
        (_at_counter("reported"),),
    ),
    Mutant(
        "company's cards not reported",
        "A report says nothing of the company's own cards.",
        (Patch(_REPORTING, "books.tools_between(since, until):\n", "():\n"),),
        (_at_counter("reported"),),
    ),
    Mutant(
        "one salt for all",
        "Every key file is stretched with the same salt.",
        (Patch(_KEY_FILE, '"salt": secrets.token_hex(SALT_SIZE)}', '"salt": "00" * SALT_SIZE}'),),
        (_at_counter("passphrase"),),
    ),
    Mutant(
        "key file's head not sealed",
        "The region beside a sealed root may be changed.",
        (
            Patch(_KEY_FILE, ".encrypt(nonce, root, _beside(head))", '.encrypt(nonce, root, b"")'),
            Patch(_KEY_FILE, "cipher.decrypt(nonce, sealed, _beside(content))", 'cipher.decrypt(nonce, sealed, b"")'),
        ),
        (_at_counter("passphrase"),),
    ),
)


EQUIVALENT: dict[str, str] = {
    "closing order's MAC not kept": (
        "The account that is over keeps no MAC of the order that ended it: nobody reads it, a card that comes again is "
        "known by its binding and its heir."
    ),
    "final record read from the other copy first": (
        "Both copies were written before the account said that it is over, so while they can be read they are the same."
    ),
    "password not heard is right": (
        "A card pulled while its password is presented is loaded: its order is genuine, and credit is cumulative, so "
        "it is what the card would have brought anyway; no report is written."
    ),
    "counted before stored": (
        "The pulse's count rises before its mark is written: the count is in memory only, so no cut can tell; a memory "
        "that refuses the mark latches a fault."
    ),
}


# ---------------------------------------------------------------------- building and running


def patched(mutant: Mutant, sources: Callable[[str], str]) -> dict[str, str]:
    """The files of a mutant by name, patched. ``sources`` gives today's text of one. PatchError."""
    files: dict[str, str] = {}
    for patch in mutant.patches:
        text = files.get(patch.file) or sources(patch.file)
        if text.count(patch.old) != 1:
            raise PatchError(f"{mutant.name}: in {patch.file} there are {text.count(patch.old)} of {patch.old!r}")
        files[patch.file] = text.replace(patch.old, patch.new)
    return files


def source(file: str) -> str:
    """Today's text of ``package/module.py``."""
    package, _, module = file.partition("/")
    return (_home(package) / module).read_text(encoding="utf-8")


def _home(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise PatchError(f"package {package} is nowhere to be copied from")
    return Path(spec.origin).parent


def build(folder: Path, mutant: Mutant | None) -> None:
    """Copy the four packages into ``folder`` and patch them; None: as they are. PatchError."""
    for package in PACKAGES:
        shutil.copytree(_home(package), folder / package, dirs_exist_ok=True)
    if mutant is not None:
        for file, text in patched(mutant, source).items():
            path = folder / file
            path.write_text(text, encoding="utf-8")
            for stale in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
                stale.unlink()


class _Ran(NamedTuple):
    """What a process came to: the check that caught, rule and text; seconds of each check."""

    check: Check | None
    rule: str
    text: str
    seconds: list[float]


def _run(mutant: Mutant | None, checks: Sequence[Check]) -> _Ran:
    with tempfile.TemporaryDirectory(prefix="icgas-mutant-") as name:
        folder = Path(name)
        build(folder, mutant)
        environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONHASHSEED": "0"}
        call = [sys.executable, "-c", "from gasrig.mutants import child; child()"]
        hung = False
        most = MOST_SECONDS if mutant is not None else 4 * MOST_SECONDS
        try:
            done = subprocess.run(
                call,
                cwd=folder,
                env=environment,
                input=json.dumps(checks),
                capture_output=True,
                text=True,
                timeout=most,
                check=False,
            )
            said, wrong = done.stdout, done.stderr if done.returncode else ""
        except subprocess.TimeoutExpired as late:
            said, wrong, hung = (late.stdout or b"").decode(), "", True
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    begun = [line["begun"] for line in lines if "begun" in line]
    over = [line for line in lines if "found" in line]
    seconds = [line["seconds"] for line in over]
    found = next((line["found"] for line in over if line["found"]), None)
    if found is None and hung:
        found = {"rule": "hang", "text": f"not over after {most} s"}
    elif found is None and wrong:
        # It does not even come to its checks, or a check took the process with it.
        found = {"rule": "fault", "text": wrong.strip().splitlines()[-1]}
    if found is None:
        return _Ran(None, "", "", seconds)
    return _Ran(Check(*begun[-1]) if begun else checks[0], found["rule"], found["text"], seconds)


def baseline(mutants: Iterable[Mutant]) -> str | None:
    """What the unpatched copy fails of all the checks these mutants use; None if it passes them."""
    checks = list(dict.fromkeys([Check(PLAIN), *[check for mutant in mutants for check in mutant.checks]]))
    ran = _run(None, checks)
    return None if ran.check is None else f"{ran.check.label}: {ran.rule}: {ran.text}"


def run(mutant: Mutant) -> Result:
    """Build a mutant and run its checks, a plain one first, until one catches it. PatchError."""
    begun = time.perf_counter()
    # A plain day at the counter has no fault in it either, and what it is asked for no flow comes near.
    plain = [] if mutant.checks and mutant.checks[0].kind == DAY else [Check(PLAIN)]
    ran = _run(mutant, [*plain, *mutant.checks])
    seconds = round(time.perf_counter() - begun, 1)
    kind, where = (None, "") if ran.check is None else (ran.check.kind, ran.check.where)
    return Result(mutant.name, mutant.what, kind, where, ran.rule, ran.text, seconds)


# ---------------------------------------------------------------------- the command


def command(argv: Sequence[str]) -> int:
    """``icgas mutants``. 0 if every mutant is caught, 3 if one survived, 2 for wrong usage.

    1 if the unpatched copy fails a check, or a patch does not fit the sources.
    """
    options = _options(argv)
    names = [mutant.name for mutant in MUTANTS]
    wanted = options.only or names
    if unknown := [name for name in wanted if name not in names]:
        return _refused(2, f"no mutant is called {unknown[0]!r}; --list names them")
    mutants = [mutant for mutant in MUTANTS if mutant.name in wanted]
    if options.list:
        for mutant in mutants:
            print(f"{mutant.name}: {mutant.what}")
        return 0
    begun = time.perf_counter()
    try:
        _tell("the copy as it is")
        if failed := baseline(mutants):
            return _refused(1, f"without any defect, {failed}")
        results = list(_results(mutants))
    except PatchError as error:
        return _refused(1, str(error))
    summary = _summary(results, time.perf_counter() - begun)
    print(json.dumps(summary)) if options.json else _print(summary)
    return SURVIVED if summary["survived"] else 0


def _refused(code: int, reason: str) -> int:
    print(f"icgas mutants: {reason}", file=sys.stderr)
    return code


def _tell(line: str) -> None:
    if sys.stderr.isatty():
        print(line, file=sys.stderr, flush=True)


def _results(mutants: Sequence[Mutant]) -> Iterator[Result]:
    for number, mutant in enumerate(mutants, 1):
        result = run(mutant)
        _tell(f"{number}/{len(mutants)} {mutant.name}: {result.caught_by or 'SURVIVED'} ({result.seconds} s)")
        yield result


def _summary(results: Sequence[Result], seconds: float) -> dict[str, Any]:
    caught = [result.caught_by for result in results if result.caught_by is not None]
    return {
        "total": len(results),
        "survived": sum(result.caught_by is None for result in results),
        "caught_by": {kind: caught.count(kind) for kind in CHECKS if kind in caught},
        "beyond_flows": sum(kind not in (PLAIN, DAY) for kind in caught),
        "seconds": round(seconds, 1),
        "mutants": [asdict(result) for result in results],
        "equivalent": [{"name": name, "reason": reason} for name, reason in EQUIVALENT.items()],
    }


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="icgas mutants", description="Build firmware and hall with known bugs; the suite has to catch every one."
    )
    parser.add_argument("--only", action="append", metavar="NAME", help="this mutant; may be given more than once")
    parser.add_argument("--list", action="store_true", help="name the mutants and what is wrong with each")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    return parser.parse_args(argv)


def _print(summary: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("mutant", "caught by", "rule", title=f"known bugs: {summary['total']}")
    for mutant in summary["mutants"]:
        by = ": ".join(filter(None, (mutant["caught_by"], mutant["where"]))) or "[red]survived[/red]"
        table.add_row(mutant["name"], by, mutant["rule"])
    console = Console()
    console.print(table)
    counts = ", ".join(f"{kind} {count}" for kind, count in summary["caught_by"].items())
    console.print(f"survived: {summary['survived']}; caught by {counts}; {summary['seconds']} s", highlight=False)
    for equivalent in summary["equivalent"]:
        console.print(f"equivalent: {equivalent['name']}: {equivalent['reason']}", markup=False, highlight=False)
