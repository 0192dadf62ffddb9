"""The adversary: every story up to a depth, with the real hall and the real firmware, judged after each step.

He may show any image ever written, whole or on a stranger's chip, to any meter or hall at any time (DESIGN D10):
cards cloned and rolled back are nothing else. He restores ledgers from copied files, wipes stores, pulls cards,
cuts power, alters what a frame says and mends its CRC. What he may not do is reach one of the rules of
gasrig.checkers and gasrig.town. Each scope in SCOPES is a small town and a choice of his moves.

How it is done. A town falls into a hall and meters that touch each other through images only. So a step of hall or
meter is run once for each state of that one part and each image, by the real code put back exactly to that state
(``Site.freeze``, ``Desk.put_back``), and remembered; the states of the whole town are then tuples of such parts,
and breadth-first search over them finds the shortest story first. Equal are two states that differ only in what
no rule reads and no judgement asks: times within reports and log, how often a valve has moved or a meter was
booted, where in a pair of copies a record stands.

    python -m gasrig.adversary [--scope NAME|all] [--depth N] [--budget N] [--quick] [--json]
    python -m gasrig.adversary --scope NAME --replay STORY [--target micropython]
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any, TypeAlias

from gascard.crc import crc16
from gascard.frames import HEAD, frame_size
from gascard.records import IDENTITY_AT, ORDER, ORDER_AT, REPORT_AT, REPORT_DATA, offset_of
from gascard.tools import FINAL
from gashall import encode, errors
from gashall.errors import GasError
from gasrig.checkers import Violation
from gasrig.targets import TARGETS
from gasrig.town import (
    HALF_HOUR_MS,
    WIPES,
    Desk,
    Frozen,
    OrderRow,
    Served,
    Site,
    Sold,
    Standing,
    Told,
    Town,
    foreign,
    is_shared,
    judge_burned,
    judge_credit,
    judge_images,
    judge_town,
    of_company,
)
from meter.deadlines import REFILL, WINDOW

__all__ = ["FORGERIES", "SCOPES", "Found", "Result", "Scope", "forged", "main", "replay", "search", "told"]

Action: TypeAlias = tuple[Any, ...]
Story: TypeAlias = tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class Scope:
    """A small town, a story that begins it, and what the adversary may do then.

    ``setup`` is a story. ``moves`` are actions without their images and copies, which are put in for every one there
    is: ("show",) is every image into every meter. ``depth`` is the number of moves of the full search, ``quick`` of
    the one that every test run makes. ``alarm``, ``ceiling`` and ``overdraft`` are pulses.
    """

    text: str
    setup: Story
    moves: Story
    depth: int
    quick: int
    meters: int = 1
    alarm: int = 0
    ceiling: int = 0
    overdraft: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """A rule that fell: its name, what was found, and the shortest story to it, for ``replay``."""

    scope: str
    rule: str
    text: str
    story: Story

    def lines(self) -> list[str]:
        """For people: the story, a line an action, and the command that plays it again."""
        steps = [f"  {number:3} {action}" for number, action in enumerate(self.story)]
        command = f"python -m gasrig.adversary --scope '{self.scope}' --replay '{json.dumps(self.story)}'"
        return [f"{self.rule}: {self.text}", *steps, command]


@dataclass(frozen=True, slots=True)
class Result:
    """What a search came to. ``sessions`` are steps of hall and meters really run; ``whole``: no budget ended it."""

    scope: str
    depth: int
    states: int
    sessions: int
    transitions: int
    seconds: float
    whole: bool
    violations: tuple[Found, ...] = field(default=())


# ---------------------------------------------------------------------- actions
#
# An image is named by the step of the story whose card it was when that step was over, a copy of the ledger by the
# step that made it; the setup's steps count. Within a search they are numbers of its own.
#
#     ("open", meter, pulses)                         an account on a blank card
#     ("show hall", image, "sell", pulses)            ... with a fifth part: pulled before so many stored bytes
#     ("show hall", image, "read back")              ... or "gift", "held", "refund", each with pulses; "pay", "cancel",
#                                                     "replace", "probe", "adopt", "take in", "take back",
#                                                     "exchange card", "exchange anew", "make up"
#     ("exchange", old, new) ("clear", meter)        a transfer or clear card on a blank one
#     ("close", meter)                                its last account is closed
#     ("dead", old, new)                             declared dead, its wheels as they stand; the other in its place
#     ("ask", meter, pulses) ("refuse", meter)       what a dead meter had left, for its successor's account
#     ("forged hall", image, forgery, "sell", pulses) ... or "read back"
#     ("show", image, meter)                          a card goes in and comes out
#     ("show foreign", image, meter)                  on a stranger's chip, whose password is another
#     ("show pulled", image, meter, at, early)        pulled before that operation on its bus
#     ("show cut", image, meter, write)               the power goes before that write of the visit
#     ("show forged", image, meter, forgery)
#     ("burn", meter, pulses) ("key", meter) ("cut", meter, warned) ("wait", meter, ms)
#     ("copy",) ("restore", copy) ("recover", copy)   of the ledger; the last as it must be done
#     ("wipe", meter, what) ("forget", meter)         a store; the hall's knowledge that the meter is bound

_SHOWN = ("show", "show foreign", "show pulled", "show cut", "show forged")
_AT_HALL = ("show hall", "forged hall")
_NEW_CARD = ("open", "exchange", "clear", "close")
_PAPER = ("dead", "ask", "refuse")
_RESTORES = ("restore", "recover")

# What is altered, and by how much; the CRC is mended, the MAC is not, for which a key would be needed.
FORGERIES: dict[str, tuple[str, int]] = {
    "total": ("bought_total", 50),
    "sequence": ("sequence", 1),
    "binding": ("binding", 1),
    "account": ("account", 1),
    "mask": ("psc_mask", 1),
}


def forged(image: bytes, what: str) -> bytes:
    """An image with its order altered as FORGERIES says, its newest report ("report"), final record ("final") or card
    number ("card").

    The image itself where there is nothing to alter. Every checksum is right, no MAC is.
    """
    dump = bytearray(image)
    if what == "card":
        dump[IDENTITY_AT + 8] ^= 0x03
        crc = crc16(dump, IDENTITY_AT, IDENTITY_AT + 11)
        dump[IDENTITY_AT + 11 : IDENTITY_AT + 13] = crc.to_bytes(2, "big")
        return bytes(dump)
    if what == "report":
        written = [at for at in REPORT_AT if dump[at] == 0x68]
        if not written:
            return image
        number = HEAD + offset_of(REPORT_DATA, "report_number")
        at = max(written, key=lambda place: dump[place + number : place + number + 3])
        layout, name, add = REPORT_DATA, "bought_total", 50
    elif what == "final":
        at = REPORT_AT[1]
        if dump[at : at + 2] != bytes((0x68, FINAL)):
            return image
        layout, name, add = REPORT_DATA, "used", -1
    else:
        at, layout = ORDER_AT, ORDER
        name, add = FORGERIES[what]
    place = at + HEAD + offset_of(layout, name)
    size = {"bought_total": 4, "used": 4, "sequence": 2, "binding": 1, "account": 5, "psc_mask": 3}[name]
    value = int.from_bytes(dump[place : place + size], "big") + add
    dump[place : place + size] = (value % 256**size).to_bytes(size, "big")
    end = at + frame_size(layout) - 3
    dump[end : end + 2] = crc16(dump, at + 1, end).to_bytes(2, "big")
    return bytes(dump)


def _as_shown(action: Action, image: bytes) -> bytes:
    if action[0] == "show foreign":
        return foreign(image)
    if action[0] == "show forged":
        return forged(image, action[3])
    return forged(image, action[2]) if action[0] == "forged hall" else image


def _pull(action: Action) -> tuple[int | None, bool]:
    return (action[3], action[4]) if action[0] == "show pulled" else (None, False)


def replay(
    story: Story, scope: Scope, target: str = "cpython", progress: Callable[[str], None] | None = None
) -> list[int]:
    """Play a story in a real town, everything judged after each step: each step's code, or pulses burned.

    ``progress`` gets a line a step. Raises the Violation at its end, where the story has one.
    """
    codes: list[int] = []
    images: list[bytes] = []
    copies: dict[int, bytes] = {}
    with _town(scope, target) as town:
        for number, action in enumerate(story):
            code = _play(town, action, images, copies, number)
            codes.append(code)
            images.append(town.last_image)
            if progress is not None:
                name = errors.words(code)[0] if code <= 0 else str(code)
                progress(f"{number:3} {action}: {name}")
            town.check()
    return codes


def _town(scope: Scope, target: str) -> Town:
    return Town(scope.meters, target, alarm=scope.alarm, ceiling=scope.ceiling, overdraft=scope.overdraft)


def _play(town: Town, action: Action, images: Sequence[bytes], copies: dict[int, bytes], number: int) -> int:
    name, *rest = action
    if name == "show cut":
        return town.visit_cut(rest[1], 0, rest[2], images[rest[0]])
    if name in _SHOWN:
        pull_at, early = _pull(action)
        return town.visit(rest[1], 0, _as_shown(action, images[rest[0]]), pull_at, early)
    if name in _AT_HALL:
        service, *arguments = rest[2:] if name == "forged hall" else rest[1:]
        image = _as_shown(action, images[rest[0]])
        if service != "sell":
            return town.serve(service, image, *arguments)
        return town.sell(0, arguments[0], image, pull_at=arguments[1] if len(arguments) > 1 else None)
    if name == "copy":
        copies[number] = town.copy_ledger()
        return 0
    if name in _RESTORES:
        town.restore_ledger(copies[rest[0]], recovering=name == "recover")
        return 0
    if name == "open":
        return min(0, town.open_account(*rest))
    if name == "close":
        return town.close_account(*rest)
    return int(getattr(town, name)(*rest))


# ---------------------------------------------------------------------- the parts of a town, one state at a time

# hall, meters, images (a bit each), sales, copies, whether the ledger was ever restored
_State: TypeAlias = tuple[int, tuple[int, ...], int, tuple[int, ...], tuple[int, ...], bool]

# What no rule reads: (table columns; fields of a report).
_COLUMNS = ("opened_at", "made_at", "seen_at")
_FIELDS = ("time", "boots", "power_failures", "valve_moves", "valve_failures", "last_code", "battery", "status")


def _essence(frame: bytes) -> Any:
    # A report by what is in it; anything else by its bytes.
    try:
        values = encode.decode_report(frame)
    except GasError:
        return frame
    return tuple([value for name, value in values.items() if name not in _FIELDS])


class _Numbers:
    """Numbers for things that are equal if their keys are; what is kept is the first."""

    def __init__(self) -> None:
        self.things: list[Any] = []
        self._places: dict[Any, int] = {}

    def of(self, key: Any, make: Callable[[], Any]) -> int:
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = len(self.things)
            self.things.append(make())
        return place


@dataclass(frozen=True, slots=True)
class _HallState:
    ledger: bytes
    minutes: int
    rows: tuple[OrderRow, ...]


class _Parts:
    """The real hall and the real meters, put into any state they have been in, one step at a time."""

    def __init__(self, scope: Scope) -> None:
        self.town = _town(scope, "cpython")
        self.sessions = 0
        self.images = _Numbers()
        self.sales = _Numbers()
        self._halls = _Numbers()
        self._meters = [_Numbers() for _ in self.town.sites]
        self._hall_at = -1
        self._meter_at = [-1] * scope.meters
        self._hall_steps: dict[Any, Any] = {}
        self._meter_steps: dict[Any, Any] = {}
        self._orders_on: dict[int, int] = {}
        self._company: dict[int, int] = {}
        self._on_images = _Numbers()
        self._judged: set[Any] = set()
        meters = tuple([self._meter_now(place) for place in range(scope.meters)])
        self.start: _State = (self._hall_now(), meters, 0, (), (), False)

    def close(self) -> None:
        self.town.close()

    # --- one part

    def _image(self, image: bytes) -> int:
        return self.images.of(image, lambda: image)

    def _sale(self, sale: Sold) -> int:
        row, order = sale
        key = row.meter, row.binding, row.paid, order, (row.kind, row.released) if order is None else ""
        return self.sales.of(key, lambda: sale)

    def _hall_now(self) -> int:
        desk = self.town.desk
        *tables, reports = desk.rows(leave=_COLUMNS)
        # In rising order: the last of a meter is the only one ever asked for.
        kept = {row[0]: (*row[:4], _essence(row[4])) for row in reports}
        key = desk.minutes, *tables, tuple(kept.items())
        self._hall_at = self._halls.of(key, lambda: _HallState(desk.copy(), desk.minutes, tuple(desk.orders())))
        return self._hall_at

    def _meter_now(self, place: int) -> int:
        site = self.town.sites[place]
        target: Any = site.target  # a town's targets are in this process, and have their bench at hand
        core = target.bench.meter
        deadlines, watch = core.deadlines, site.watch
        store, final = site.store, site.store.final
        if final is not None:
            # What it says of the account is asked for, not what it says of the meter.
            store = store._replace(final=None)
        key = (
            store,
            None if final is None else (final.heir, final.said.sequence, final.said.register, final.remaining),
            site.flows,
            core.valve.state,
            core.reasons,
            bytes(core.lockout.tokens),
            core.state.values.get("barred_card"),
            deadlines.runs(WINDOW),
            deadlines.left(REFILL) // 60_000 if deadlines.runs(REFILL) else -1,
            site.index,
            site.index_at_binding,
            site.awake_ms // HALF_HOUR_MS,
            watch.wiped,
            watch.behind,
            # Two histories with the same numbers of other reports are two: no number may be used twice.
            tuple(site.reports.items()),
        )
        self._meter_at[place] = self._meters[place].of(key, lambda: (site.freeze(), site.standing))
        return self._meter_at[place]

    def _at_hall(self, number: int) -> Desk:
        desk = self.town.desk
        if self._hall_at != number:
            state: _HallState = self._halls.things[number]
            desk.put_back(state.ledger)
            desk.minutes = state.minutes
            self._hall_at = number
        self.sessions += 1
        return desk

    def _at_meter(self, place: int, number: int) -> Site:
        if self._meter_at[place] != number:
            frozen: Frozen = self._meters[place].things[number][0]
            frozen.put_back()
            self._meter_at[place] = number
        self.sessions += 1
        return self.town.sites[place]

    def _hall_step(self, hall: int, action: Action, image: int) -> tuple[int, int, tuple[int, ...]]:
        # The hall's next state, the image of the card, and what was sold.
        key = hall, action[0], action[2:] if image >= 0 else action[1:], image
        known = self._hall_steps.get(key)
        if known is None:
            desk = self._at_hall(hall)
            self._hall_at = -1
            try:
                if action[0] in _NEW_CARD:
                    served = self._new_card(desk, *action)
                elif action[0] in _PAPER:
                    served = self._on_paper(desk, *action)
                else:
                    shown = _as_shown(action, self.images.things[image])
                    service, *rest = action[3:] if action[0] == "forged hall" else action[2:]
                    served = desk.served(shown, service, *rest)
                sold = tuple([self._sale(sale) for sale in served.made])
                known = self._hall_now(), self._image(served.image), sold
            except Exception as fault:  # a bug of the hall's is found like any other
                known = _fault(fault)
            self._hall_steps[key] = known
        if isinstance(known, Violation):
            raise Violation(known.rule, known.text)
        result: tuple[int, int, tuple[int, ...]] = known
        return result

    def _new_card(self, desk: Desk, name: str, place: int, *rest: Any) -> Served:
        sites = self.town.sites
        site = sites[place]
        if name == "open":
            return desk.open_account(site.number, site.index_at_start, *rest)
        if name == "exchange":
            # What the new meter's wheels read is nobody's business here: it is never reconciled.
            return desk.exchange(site.number, sites[rest[0]].number, sites[rest[0]].index_at_start)
        return desk.clear(site.number) if name == "clear" else desk.close_account(site.number)

    def _on_paper(self, desk: Desk, name: str, place: int, *rest: int) -> Served:
        numbers = self.town.numbers
        if name == "dead":
            new, closing, index = rest
            return desk.declare_dead(numbers[place], closing, numbers[new], index)
        return desk.ask(numbers[place], *rest) if name == "ask" else desk.refuse(numbers[place])

    def _meter_step(self, place: int, number: int, action: Action, image: int) -> tuple[int, int]:
        # The meter's next state, and the image of the card (-1: there was none).
        key = place, number, action[0], action[3:] if image >= 0 else action[2:], image
        known = self._meter_steps.get(key)
        if known is None:
            site = self._at_meter(place, number)
            self._meter_at[place] = -1
            after = -1
            try:
                if action[0] == "show cut":
                    after = self._image(site.visit_cut(self.images.things[image], action[3]))
                elif image >= 0:
                    _, left = site.visit(_as_shown(action, self.images.things[image]), *_pull(action))
                    after = self._image(left)
                else:
                    getattr(site, action[0])(*action[2:])
                known = self._meter_now(place), after
            except Exception as fault:  # and one of the firmware's
                known = _fault(fault)
            self._meter_steps[key] = known
        if isinstance(known, Violation):
            raise Violation(known.rule, known.text)
        result: tuple[int, int] = known
        return result

    # --- the whole town

    def step(self, state: _State, action: Action) -> tuple[_State, int]:
        """The town after ``action``, and the image of the card in it (-1: none). Violation, of a part or of all."""
        hall, meters, images, sales, copies, restored = state
        name = action[0]
        image, after = -1, -1
        sold: tuple[int, ...] = ()
        if name in _AT_HALL or name in _NEW_CARD:
            if name in _AT_HALL:
                image = action[1]
            hall, after, sold = self._hall_step(hall, action, image)
        elif name in _PAPER:
            # The wheels are read as they stand.
            read = [self._standing(place, meters[place]).index for place in action[1:]] if name == "dead" else ()
            hall, _, sold = self._hall_step(hall, (*action, *read), image)
        elif name == "copy":
            copies = tuple(sorted({*copies, hall}))
        elif name in _RESTORES:
            desk = self._at_hall(action[1])
            desk.minutes = self._halls.things[hall].minutes + 1
            if name == "recover":
                self._hall_at = -1
                desk.mark_restored()
            hall = self._hall_now()
            restored = True
        elif name == "forget":
            self._at_hall(hall).forget(self.town.numbers[action[1]])
            hall = self._hall_now()
        else:
            place = action[1]
            if name in _SHOWN:
                image, place = action[1:3]
            number, after = self._meter_step(place, meters[place], action, image)
            meters = (*meters[:place], number, *meters[place + 1 :])
        if after >= 0:
            images |= 1 << after
        if sold:
            sales = tuple(sorted(sales + sold))
        return (hall, meters, images, sales, copies, restored), after

    def judge(self, state: _State) -> None:
        """What needs more than one witness, asked once for everything it depends on. Violation."""
        hall, meters, images, sales, _, restored = state
        company = self._of_company(images)
        town = meters, sales, company, restored
        if town not in self._judged:
            sold = [self.sales.things[sale] for sale in sales]
            stands = [self._standing(place, number) for place, number in enumerate(meters)]
            seen_there = [self.images.things[image] for image in _bits(company)]
            if is_shared(seen_there, sold):
                judge_town(stands, sold, seen_there, restored=restored)
            self._judged.add(town)
        for place, number in enumerate(meters):
            burned = place, number, sales, bool(company)
            seen = place, number, images, None
            credit = place, number, hall, sales, restored, self._on(images), company
            if burned not in self._judged:
                self._judge(place, number, state, judge_burned)
                self._judged.add(burned)
            if seen not in self._judged:
                for image in _bits(images):
                    pair = place, number, image
                    if pair not in self._judged:
                        judge_images(self._standing(place, number), (self.images.things[image],))
                        self._judged.add(pair)
                self._judged.add(seen)
            if credit not in self._judged:
                self._judge(place, number, state, judge_credit)
                self._judged.add(credit)

    def _standing(self, place: int, number: int) -> Standing:
        standing: Standing = self._meters[place].things[number][1]
        return standing

    def _judge(self, place: int, number: int, state: _State, rule: Callable[[Standing, Told], None]) -> None:
        hall, _, images, sales, _, restored = state
        own = self.town.numbers[place]
        sold: list[Sold] = [self.sales.things[sale] for sale in sales]
        told = Told(
            tuple([sale for sale in sold if sale.row.meter == own]),
            tuple([row for row in self._halls.things[hall].rows if row.meter == own]),
            tuple([self.images.things[image] for image in _bits(images)]),
            restored,
        )
        rule(self._standing(place, number), told)

    def _of_company(self, images: int) -> int:
        # Those of transfer and clear cards, final record and all.
        found = self._company.get(images)
        if found is None:
            found = sum([1 << image for image in _bits(images) if of_company((self.images.things[image],))])
            self._company[images] = found
        return found

    def _on(self, images: int) -> int:
        # Which orders, card and all, stand on those images: a bit each. The sum of gas asks for nothing else.
        orders = self._orders_on.get(images)
        if orders is None:
            orders = 0
            for image in _bits(images):
                dump: bytes = self.images.things[image]
                orders |= 1 << self._on_images.of(dump[: REPORT_AT[0]], lambda: None)
            self._orders_on[images] = orders
        return orders

    def actions(self, state: _State, moves: Story) -> Iterator[Action]:
        """Every action of these moves that can be made now."""
        hall, meters, images, _, copies, _ = state
        for move in moves:
            name = move[0]
            if name in _SHOWN:
                for image in _bits(images):
                    for place in range(len(meters)):
                        yield name, image, place, *move[1:]
            elif name in _AT_HALL:
                for image in _bits(images):
                    yield name, image, *move[1:]
            elif name == "copy":
                if hall not in copies:
                    yield move
            elif name in _RESTORES:
                for copy in copies:
                    yield name, copy
            elif name == "wipe":
                if not self._standing(move[1], meters[move[1]]).store.lost:
                    yield move
            else:
                yield move


@lru_cache(maxsize=4096)
def _bits(mask: int) -> list[int]:
    return [place for place in range(mask.bit_length()) if mask >> place & 1]


def _fault(fault: Exception) -> Violation:
    return fault if isinstance(fault, Violation) else Violation("fault", f"{type(fault).__name__}: {fault}")


# ---------------------------------------------------------------------- the search


def search(
    scope: str | Scope,
    depth: int | None = None,
    budget: int | None = None,
    progress: Callable[[str], None] | None = None,
    *,
    most: int = 1,
) -> Result:
    """Every story of a scope up to ``depth`` moves, shortest first, until ``most`` rules fell or ``budget`` states.

    ``scope`` is a name of SCOPES or one of your own; ``progress`` gets a line a depth. Runs in this process, on
    ``cpython``; ``replay`` plays what it found on any target.
    """
    name = scope if isinstance(scope, str) else scope.text
    plan = SCOPES[scope] if isinstance(scope, str) else scope
    depth = plan.depth if depth is None else depth
    begun = time.perf_counter()
    parts = _Parts(plan)
    try:
        return _search(parts, name, plan, depth, budget, progress, most, begun)
    finally:
        parts.close()


def _search(
    parts: _Parts,
    name: str,
    plan: Scope,
    depth: int,
    budget: int | None,
    progress: Callable[[str], None] | None,
    most: int,
    begun: float,
) -> Result:
    states: list[_State] = []
    # By which action from which state each was first reached.
    reached: list[tuple[int, Action]] = []
    known: dict[_State, int] = {}
    found: list[Found] = []
    transitions, whole, level = 0, True, 0

    def add(state: _State, parent: int, action: Action) -> int:
        known[state] = len(states)
        states.append(state)
        reached.append((parent, action))
        return len(states) - 1

    def result() -> Result:
        seconds = time.perf_counter() - begun
        return Result(name, level, len(states), parts.sessions, transitions, seconds, whole, tuple(found))

    def fell(fault: Violation, parent: int, action: Action) -> None:
        if fault.rule not in [other.rule for other in found]:
            path = [action]
            while parent > 0:
                parent, before = reached[parent]
                path.append(before)
            found.append(Found(name, fault.rule, fault.text, _story(parts, path[::-1])))

    last = add(parts.start, -1, ())
    for number, action in enumerate(plan.setup):
        within = _inward(action, states[: number + 1], reached, parts)
        try:
            state, _ = parts.step(states[last], within)
            parts.judge(state)
        except Violation as fault:
            fell(fault, last, within)
            return result()
        # The setup is a chain: every step a state of its own, though one like it may be known.
        last = add(state, last, within)
    frontier = [last]
    for level in range(1, depth + 1):
        following: list[int] = []
        for parent in frontier:
            for action in parts.actions(states[parent], plan.moves):
                transitions += 1
                try:
                    state, _ = parts.step(states[parent], action)
                    if state in known:
                        continue
                    parts.judge(state)
                except Violation as fault:
                    fell(fault, parent, action)
                    if len(found) >= most:
                        return result()
                    continue
                following.append(add(state, parent, action))
                if budget is not None and len(states) >= budget:
                    whole = False
                    return result()
        frontier = following
        if progress is not None:
            seconds = time.perf_counter() - begun
            progress(
                f"{name}, depth {level}: {len(states)} states, {transitions} transitions, {parts.sessions} sessions, "
                f"{seconds:.1f} s"
            )
    return result()


def _inward(action: Action, states: Sequence[_State], reached: Sequence[tuple[int, Action]], parts: _Parts) -> Action:
    # A step of the setup names images and copies by steps; in here they have numbers of their own.
    if action[0] in _SHOWN + _AT_HALL:
        _, image = parts.step(states[action[1]], reached[action[1] + 1][1])
        return action[0], image, *action[2:]
    if action[0] in _RESTORES:
        return action[0], states[action[1]][0]
    return action


def _story(parts: _Parts, path: Sequence[Action]) -> Story:
    # And the other way round: along this path, which step was the first to leave that image, or make that copy?
    state = parts.start
    images: dict[int, int] = {}
    copies: dict[int, int] = {}
    story: list[Action] = []
    for number, action in enumerate(path):
        outward = action
        if action[0] in _SHOWN + _AT_HALL:
            outward = action[0], images[action[1]], *action[2:]
        elif action[0] in _RESTORES:
            outward = action[0], copies[action[1]]
        elif action[0] == "copy":
            copies.setdefault(state[0], number)
        story.append(outward)
        try:
            state, image = parts.step(state, action)
        except Violation:
            break
        if image >= 0:
            images.setdefault(image, number)
    return tuple(story)


# ---------------------------------------------------------------------- the scopes

_SHOW: Story = (("show",), ("show hall", "read back"))

SCOPES: dict[str, Scope] = {
    "one meter": Scope(
        "One account, one meter, the customer's card and a blank one: every image anywhere, gas, key, power.",
        setup=(("open", 0, 3), ("show", 0, 0), ("open", 0, 3)),
        moves=(*_SHOW, ("show hall", "sell", 2), ("burn", 0, 2), ("key", 0), ("cut", 0, False)),
        depth=6,
        quick=4,
        alarm=1,
    ),
    "two meters": Scope(
        "Two meters, two accounts, all cards into all meters.",
        setup=(("open", 0, 2), ("open", 1, 3)),
        moves=(*_SHOW, ("show hall", "sell", 2), ("burn", 0, 3), ("burn", 1, 3)),
        depth=6,
        quick=5,
        meters=2,
    ),
    "overdraft": Scope(
        "An overdraft, an alarm and a ceiling: gas burned to the last pulse it allows, and bought again.",
        setup=(("open", 0, 3), ("show", 0, 0)),
        moves=(*_SHOW, ("show hall", "sell", 1), ("burn", 0, 1), ("burn", 0, 9), ("key", 0)),
        depth=6,
        quick=5,
        alarm=2,
        ceiling=2,
        overdraft=2,
    ),
    "forgeries": Scope(
        "Frames altered with their checksums mended, at meter and hall, and strangers' chips.",
        setup=(("open", 0, 3), ("open", 1, 4), ("show", 0, 0), ("burn", 0, 1), ("show hall", 2, "sell", 2)),
        moves=(
            ("show",),
            ("show foreign",),
            *[("show forged", what) for what in (*FORGERIES, "card")],
            ("forged hall", "report", "read back"),
            ("forged hall", "report", "sell", 3),
            ("forged hall", "total", "sell", 3),
            ("burn", 0, 9),
            ("cut", 0, False),
            ("wait", 0, HALF_HOUR_MS),
        ),
        depth=3,
        quick=2,
        meters=2,
    ),
    "pulls": Scope(
        "Cards pulled out of meter and hall: before, in the middle and at the end of what is written.",
        setup=(("open", 0, 3),),
        moves=(
            *_SHOW,
            ("show hall", "sell", 2),
            ("show hall", "sell", 2, 2),
            ("show hall", "sell", 2, 9),
            ("show hall", "sell", 4, 0),
            ("show pulled", 4, True),
            ("show pulled", 9, False),
            ("show pulled", 40, True),
            ("burn", 0, 9),
        ),
        depth=5,
        quick=4,
    ),
    "cuts": Scope(
        "The power goes within a visit, at a write of the adversary's choice, and every image is shown again.",
        setup=(("open", 0, 3),),
        moves=(
            *_SHOW,
            *[("show cut", write) for write in (1, 2, 5, 6, 7, 10, 30)],
            ("show hall", "sell", 2),
            ("burn", 0, 9),
        ),
        depth=4,
        quick=3,
    ),
    "ledger": Scope(
        "The hall's ledger restored from any copy of it, as often as one likes, and sold from again.",
        setup=(("copy",), ("open", 0, 2), ("show", 1, 0)),
        moves=(
            *_SHOW,
            ("copy",),
            ("restore",),
            ("open", 0, 1),
            ("show hall", "sell", 1),
            ("show hall", "sell", 3),
            ("burn", 0, 9),
        ),
        depth=5,
        quick=4,
    ),
    "two ledgers": Scope(
        "Two meters whose hall has lost its whole ledger and opens their accounts anew, the other way round.",
        setup=(("copy",), ("open", 0, 2), ("open", 1, 2), ("show", 1, 0), ("restore", 0)),
        moves=(*_SHOW, ("open", 1, 2), ("open", 0, 3), ("show hall", "sell", 2), ("burn", 0, 9), ("burn", 1, 9)),
        depth=6,
        quick=4,
        meters=2,
    ),
    "store": Scope(
        "A meter's store wiped at any moment: it shuts, takes nothing and stays so.",
        setup=(("open", 0, 3), ("show", 0, 0)),
        moves=(
            *_SHOW,
            ("show hall", "sell", 2),
            *[("wipe", 0, what) for what in WIPES],
            ("burn", 0, 2),
            ("key", 0),
            ("cut", 0, False),
        ),
        depth=5,
        quick=4,
    ),
    "grants": Scope(
        "Gas given, paid back and taken off again, on every image of the customer's card.",
        setup=(("open", 0, 4), ("show", 0, 0), ("show hall", 1, "read back")),
        moves=(
            *_SHOW,
            *[("show hall", what, 2) for what in ("sell", "gift", "refund")],
            ("show hall", "pay"),
            ("show hall", "cancel"),
            ("burn", 0, 3),
        ),
        depth=5,
        quick=4,
    ),
    "replaced": Scope(
        "Cards replaced by others, what is held made up, refunds lost with their card; every old card shown again.",
        setup=(("open", 0, 3), ("show", 0, 0), ("show hall", 1, "sell", 2)),
        moves=(
            *_SHOW,
            *[("show hall", what, 2) for what in ("sell", "held", "refund")],
            ("show hall", "replace"),
            ("show hall", "pay"),
            ("burn", 0, 9),
        ),
        depth=5,
        quick=4,
    ),
    "recovering": Scope(
        "The ledger restored from any copy of it as it must be: probes, adopted reports, gas made up and paid back.",
        setup=(("open", 0, 3), ("show", 0, 0), ("show hall", 1, "read back"), ("copy",), ("show hall", 1, "sell", 2)),
        moves=(
            *_SHOW,
            ("copy",),
            ("recover",),
            *[("show hall", what) for what in ("probe", "adopt", "pay", "replace")],
            *[("show hall", what, 2) for what in ("sell", "gift", "refund")],
            ("burn", 0, 9),
        ),
        depth=4,
        quick=3,
    ),
    "exchanged": Scope(
        "A customer's gas goes from one meter to another by transfer card, and every card there was is shown anywhere.",
        setup=(("open", 0, 4), ("show", 0, 0), ("show hall", 1, "read back"), ("exchange", 0, 1)),
        moves=(
            ("show",),
            ("show hall", "take in"),
            ("show hall", "exchange card"),
            ("show hall", "sell", 2),
            ("exchange", 0, 1),
            ("burn", 0, 3),
            ("burn", 1, 3),
        ),
        depth=6,
        quick=5,
        meters=2,
    ),
    "exchanged with gas on the card": Scope(
        "The same with a purchase the old meter has not loaded, and the old meter opened for somebody else.",
        setup=(
            *(("open", 0, 4), ("show", 0, 0), ("show hall", 1, "read back"), ("show hall", 1, "sell", 2)),
            *(("exchange", 0, 1), ("show", 4, 0), ("show", 5, 1), ("show hall", 5, "take in")),
        ),
        moves=(
            ("show",),
            ("show hall", "take in"),
            ("show hall", "exchange card"),
            ("show hall", "sell", 2),
            ("open", 0, 1),
            ("clear", 1),
            ("close", 1),
            ("burn", 0, 9),
            ("burn", 1, 9),
        ),
        depth=6,
        quick=5,
        meters=2,
    ),
    "cleared": Scope(
        "A clear card, used, unused or shown again; the account closed and paid back, the meter opened once more.",
        setup=(("open", 0, 4), ("show", 0, 0), ("show hall", 1, "read back"), ("clear", 0)),
        moves=(
            ("show",),
            ("show hall", "take in"),
            ("forged hall", "final", "take in"),
            ("show hall", "take back"),
            ("show hall", "sell", 2),
            ("clear", 0),
            ("close", 0),
            ("open", 0, 1),
            ("burn", 0, 3),
        ),
        depth=6,
        quick=4,
    ),
    "exchanged, restored": Scope(
        "The ledger restored as it must be from before an exchange or a clear, which then happen again or otherwise.",
        setup=(
            *(("open", 0, 4), ("show", 0, 0), ("show hall", 1, "read back"), ("copy",)),
            *(("exchange", 0, 1), ("show", 4, 0)),
        ),
        moves=(
            ("show",),
            ("recover",),
            ("show hall", "take in"),
            ("show hall", "exchange card"),
            ("show hall", "probe"),
            ("show hall", "adopt"),
            ("show hall", "sell", 2),
            ("exchange", 0, 1),
            ("clear", 0),
            ("close", 0),
            ("burn", 1, 9),
        ),
        depth=7,
        quick=5,
        meters=2,
    ),
    "dead meter": Scope(
        "A meter declared dead with gas left on it and on the card; a part is made up, the rest asked for, or more.",
        setup=(
            *(("open", 0, 4), ("show", 0, 0), ("show hall", 1, "read back"), ("burn", 0, 1)),
            *(("show hall", 1, "sell", 2), ("dead", 0, 1), ("show hall", 4, "exchange card"), ("show", 6, 1)),
            *(("ask", 1, 3), ("show hall", 7, "make up"), ("show", 9, 1)),
        ),
        moves=(
            ("show",),
            ("show hall", "read back"),
            ("show hall", "make up"),
            ("show hall", "make up", 9),
            ("show hall", "replace"),
            ("show hall", "sell", 2),
            ("ask", 1, 2),
            ("ask", 1, 3),
            ("refuse", 1),
            ("clear", 1),
            ("show hall", "take in"),
            ("close", 1),
            ("burn", 0, 9),
            ("burn", 1, 3),
        ),
        depth=6,
        quick=3,
        meters=2,
    ),
    "dead meter's heir": Scope(
        "A dead meter's heir is exchanged, dies or is cleared in its turn; the dead one speaks again and is cleared.",
        setup=(
            *(("open", 0, 4), ("show", 0, 0), ("show hall", 1, "read back"), ("dead", 0, 1)),
            *(("show hall", 1, "exchange card"), ("show", 4, 1), ("show hall", 5, "read back"), ("ask", 1, 4)),
            ("copy",),
        ),
        moves=(
            ("show",),
            ("show hall", "read back"),
            ("show hall", "exchange card"),
            ("show hall", "make up"),
            ("show hall", "take in"),
            ("recover",),
            ("ask", 1, 4),
            ("refuse", 1),
            ("exchange", 1, 2),
            ("dead", 1, 2),
            ("clear", 0),
            ("clear", 1),
            ("open", 0, 1),
            ("burn", 0, 1),
        ),
        depth=5,
        quick=4,
        meters=3,
    ),
    "dead meter, transfer card out": Scope(
        "A meter is declared dead while a card that moves its gas is out, and the card is shown anywhere all the same.",
        setup=(
            *(("open", 0, 4), ("show", 0, 0), ("show hall", 1, "read back"), ("exchange", 0, 1)),
            *(("dead", 0, 1), ("show hall", 1, "exchange card"), ("ask", 1, 4)),
        ),
        moves=(
            ("show",),
            ("show hall", "take in"),
            ("show hall", "replace"),
            ("show hall", "adopt"),
            ("show hall", "make up"),
            ("show hall", "sell", 2),
            ("ask", 1, 4),
            ("clear", 1),
            ("burn", 0, 3),
            ("burn", 1, 3),
        ),
        depth=6,
        quick=4,
        meters=2,
    ),
    "dead meter, cleared": Scope(
        "A meter is declared dead with its clear card out, and takes it; its heir is cleared, or it is the heir.",
        setup=(
            *(("open", 0, 4), ("show", 0, 0), ("show hall", 1, "read back"), ("clear", 0), ("dead", 0, 1)),
            *(("show", 3, 0), ("show hall", 5, "take in"), ("show hall", 1, "exchange anew"), ("show", 7, 1)),
            *(("show hall", 8, "read back"), ("ask", 1, 4), ("show hall", 8, "make up"), ("show", 11, 1)),
            ("show hall", 12, "read back"),
        ),
        moves=(
            ("show",),
            ("show hall", "take in"),
            ("show hall", "exchange card"),
            ("show hall", "sell", 2),
            ("clear", 1),
            ("close", 0),
            ("close", 1),
            ("open", 0, 1),
            ("exchange", 1, 0),
            ("dead", 1, 0),
            ("burn", 1, 3),
        ),
        depth=5,
        quick=4,
        meters=2,
    ),
    "dead meter, restored": Scope(
        "The ledger restored as it must be from before or after a meter died, who is then declared dead again, or not.",
        setup=(
            *(("open", 0, 4), ("show", 0, 0), ("show hall", 1, "read back"), ("copy",), ("dead", 0, 1)),
            *(("show hall", 1, "exchange card"), ("show", 5, 1), ("show hall", 6, "read back"), ("ask", 1, 4)),
            ("copy",),
        ),
        moves=(
            ("show",),
            ("recover",),
            ("dead", 0, 1),
            ("show hall", "take in"),
            ("show hall", "exchange card"),
            ("show hall", "exchange anew"),
            ("show hall", "probe"),
            ("show hall", "adopt"),
            ("show hall", "make up"),
            ("ask", 1, 4),
            ("exchange", 0, 1),
            ("clear", 1),
            ("clear", 0),
            ("close", 0),
            ("burn", 1, 9),
        ),
        depth=6,
        quick=4,
        meters=2,
    ),
    "dead meter, declared anew": Scope(
        "A meter died and its gas was made up; the ledger is restored from before that, and it is declared dead again.",
        setup=(
            *(("open", 0, 4), ("show", 0, 0), ("show hall", 1, "read back"), ("copy",), ("dead", 0, 1)),
            *(("show hall", 1, "exchange card"), ("show", 5, 1), ("show hall", 6, "read back"), ("ask", 1, 4)),
            *(("show hall", 6, "make up"), ("show", 9, 1), ("recover", 3), ("dead", 0, 1)),
            *(("show hall", 1, "exchange anew"), ("show hall", 13, "probe"), ("show", 14, 1)),
        ),
        moves=(
            ("show",),
            ("show hall", "read back"),
            ("show hall", "adopt"),
            ("show hall", "make up"),
            ("show hall", "sell", 2),
            ("ask", 1, 4),
            ("refuse", 1),
            ("clear", 1),
            ("burn", 0, 9),
            ("burn", 1, 9),
        ),
        depth=6,
        quick=4,
        meters=2,
    ),
    "rebound": Scope(
        "The hall believes a meter cleared that was not, and opens another account on it under the next binding.",
        setup=(("open", 0, 3), ("show", 0, 0), ("show hall", 1, "read back"), ("forget", 0)),
        moves=(*_SHOW, ("open", 0, 1), ("show hall", "sell", 2), ("forget", 0), ("burn", 0, 2)),
        depth=6,
        quick=5,
    ),
}


def told(result: Result) -> str:
    """A result in one line."""
    verdict = f"{len(result.violations)} rules fell" if result.violations else "nothing found"
    part = "" if result.whole else ", cut short by its budget"
    return (
        f"{result.scope}: {verdict} in {result.states} states and {result.transitions} transitions, "
        f"depth {result.depth}, {result.sessions} sessions, {result.seconds:.1f} s{part}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 1 if any rule fell."""
    parser = argparse.ArgumentParser(prog="python -m gasrig.adversary", description=__doc__)
    parser.add_argument("--scope", default="all", choices=["all", *SCOPES])
    parser.add_argument("--depth", type=int, help="moves after the scope's beginning; the scope's own if not given")
    parser.add_argument("--budget", type=int, help="end a scope after so many states")
    parser.add_argument("--quick", action="store_true", help="the depth that every test run searches")
    parser.add_argument("--json", action="store_true", help="one object on standard output instead of text")
    parser.add_argument("--replay", metavar="STORY", help="play a story, as a search prints it, in the town of --scope")
    parser.add_argument("--target", default="cpython", choices=TARGETS, help="where the meters of a replay run")
    options = parser.parse_args(arguments)
    if options.replay is not None:
        if options.scope == "all":
            parser.error("--replay needs the --scope its story is of")
        try:
            story = tuple([tuple(action) for action in json.loads(options.replay)])
            return _replayed(options.scope, story, options.target)
        except (ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
            parser.error(f"--replay takes a story as a search prints it, a JSON list of moves: {error}")
    for name, value in (("--depth", options.depth), ("--budget", options.budget)):
        if value is not None and value < 1:
            parser.error(f"{name} is 1 or more, not {value}")
    names = list(SCOPES) if options.scope == "all" else [options.scope]
    results = []
    for name in names:
        depth = SCOPES[name].quick if options.quick and options.depth is None else options.depth
        progress = None if options.json else lambda line: print(line, file=sys.stderr)
        results.append(search(name, depth, options.budget, progress))
        if not options.json:
            print(told(results[-1]))
            for found in results[-1].violations:
                print("\n".join(found.lines()))
    if options.json:
        print(json.dumps([asdict(result) for result in results], indent=2))
    return 1 if any(result.violations for result in results) else 0


def _replayed(scope: str, story: Story, target: str) -> int:
    try:
        replay(story, SCOPES[scope], target, print)
    except Violation as fault:
        print(fault)
        return 1
    print("no rule fell")
    return 0


if __name__ == "__main__":
    sys.exit(main())
