"""Two meters and the cards between them: every story up to a depth, and the gas of both together.

Two real meters hang side by side, the old one's gas to go to the new one. Written are their opening cards, a purchase,
transfer cards (two of one transfer, and one for another heir) and clear cards. Whoever holds them may show any image
that any card ever had to either meter, at any time, or pull it while the valve is on its way; he burns gas, presses
keys, takes the power away. At any instant

    burned + what both meters would let through + what clear cards prove for paying back + what is on its way
    <= what has been loaded from orders that were sold, and the overdraft of each such account

where on its way is a final record whose heir has not begun the binding it is for. ``gasrig.checkers`` judge each meter
besides. Meters are the real firmware, put back exactly to a state (gasrig.town); a visit is made once for each state
of a meter and each image. Equal are states that differ in numbers of reports and in what is only counted.

    python -m gasrig.heirs [--scope NAME|all] [--depth N] [--json]
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, TypeAlias

from gascard.chip import Chip
from gascard.records import CARD_CUSTOMER, IDENTITY_AT, REPORT, REPORT_AT, REPORT_DATA, size_of
from gashall.signer import KeyFileSigner
from gasrig import checkers
from gasrig.bench import TEST_REGION
from gasrig.checkers import Card, Store, Violation, Watch, read_card
from gasrig.flows import HEIR, METER, ORDER_DEFAULTS, ROOT, new_card, new_tool, write_order
from gasrig.handset import MeterUnderTest
from gasrig.targets import CPythonTarget
from gasrig.town import Frozen
from meter.deadlines import WINDOW
from meter.meter import Settings

__all__ = ["SCOPES", "Found", "Result", "Scope", "main", "search"]

LANE_LENGTH = 64
TRAVEL_MS = 100
STAYS_MS = 50  # of a card that is pulled while the valve is on its way
PULSE_MS = 1000
REST_MS = 1000
OLD, NEW = 0, 1
NUMBERS = (METER, HEIR)
_FRAME = size_of(REPORT_DATA) + 15

Action: TypeAlias = tuple[Any, ...]
Make: TypeAlias = tuple[str, dict[str, Any]]
_State: TypeAlias = tuple[int, int, int]  # old meter, new meter, images (a bit each)


@dataclass(frozen=True, slots=True)
class Scope:
    """The cards that are written, what was done with them first (shows of a card to a meter), and the moves.

    ``cards`` are kinds of gasrig.flows and their fields; ``burn`` is how many pulses are drawn at a time.
    """

    text: str
    cards: tuple[Make, ...]
    setup: tuple[Action, ...]
    depth: int
    quick: int
    burn: int = 3


@dataclass(frozen=True, slots=True)
class Found:
    """A rule that fell, and the shortest story to it."""

    scope: str
    rule: str
    text: str
    story: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """What a search came to. ``moved`` says how many states have a transfer taken in: 0 would prove nothing."""

    scope: str
    depth: int
    states: int
    transitions: int
    visits: int
    moved: int
    seconds: float
    violations: tuple[Found, ...]


class _Standing(NamedTuple):
    """How a meter stands: its store, what it has loaded from orders of its own and their overdrafts, what it burned."""

    store: Store
    loaded: int
    overdrafts: int
    burned: int
    moved: bool

    @property
    def deliverable(self) -> int:
        """Pulses it would let through if somebody pressed the key."""
        store = self.store
        return max(0, store.remaining + store.overdraft) if store.bound else 0


class _Meter:
    """A real meter that can be put into any state it has been in."""

    def __init__(self, number: str) -> None:
        key, tool_key = KeyFileSigner(ROOT, TEST_REGION).meter_keys(number, 1)
        self.target = CPythonTarget()
        self.meter = MeterUnderTest(self.target)
        self.meter.build(
            meter=number,
            key=key,
            tool_key=tool_key,
            lane_length=LANE_LENGTH,
            travel_ms=TRAVEL_MS,
            minutes=ORDER_DEFAULTS["time"],
        )
        self.watch = Watch(number, key, lane_length=LANE_LENGTH)
        self.loaded = self.overdrafts = 0
        self.moved = False
        self.store = self.watch.made(self.cells, self.keys, 0)
        self._states: list[tuple[Frozen, _Standing]] = []
        self._places: dict[Any, int] = {}
        self._at = -1
        self.start = self.now()

    @property
    def cells(self) -> bytes:
        """Its memory."""
        return bytes(self.target.bench.memory.cells[: 0x1000 + LANE_LENGTH])

    @property
    def keys(self) -> bytes:
        """Its key memory."""
        return bytes(self.target.bench.key_memory.cells)

    @property
    def key_set(self) -> checkers.KeySet:
        """Its keys, for those who judge."""
        return self.watch.keys

    def now(self) -> int:
        """The number of the state it is in."""
        core = self.target.bench.meter
        burned = self.target.bench.wheels.pulses
        standing = _Standing(self.store, self.loaded, self.overdrafts, burned, self.moved)
        final = self.store.final
        key = (
            self.store._replace(report_number=0, final=None),
            None if final is None else (final.heir, final.said.register, final.remaining),
            core.valve.state,
            core.reasons,
            core.deadlines.runs(WINDOW),
            standing[1:],
        )
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = len(self._states)
            frozen = Frozen(self.target.bench, self.watch, leave=(Settings,), skip=("wear", "page_wear"))
            self._states.append((frozen, standing))
        self._at = place
        return place

    def standing(self, place: int) -> _Standing:
        """How it stood in that state."""
        return self._states[place][1]

    def put_back(self, place: int) -> None:
        """Be in that state again."""
        if self._at != place:
            frozen, standing = self._states[place]
            frozen.put_back()
            self.store, self.loaded, self.overdrafts, _, self.moved = standing
        self._at = -1

    def visit(self, image: bytes, stays_ms: int = 0) -> bytes:
        """The card of ``image`` goes in and comes out, when it is served or after so long: what it is then."""
        chip = Chip()
        chip.restore(image)
        if stays_ms:
            after = self.meter.visit(chip, stays_ms).dump()
            self.meter.wait(REST_MS)
        else:
            self.meter.insert(chip)
            after = self.meter.remove().dump()
        before, store = self.store, self.look()
        self.watch.visit(image, after, self.cells, self.keys)
        checkers.final_true(store, now=not before.over)
        if store.bound:
            had = before.bought_total if before.bound else 0
            if image[IDENTITY_AT + 4] == CARD_CUSTOMER:
                self.loaded += store.bought_total - had
                self.overdrafts += store.overdraft if not before.bound else 0
            elif not before.bound:
                self.moved = True
        return after

    def burn(self, pulses: int) -> None:
        """Draw so much, or as much as the valve lets through."""
        start = self.meter.snapshot()["index"]
        while self.meter.last["index"] < start + pulses and self.meter.last["flows"]:
            self.meter.run(PULSE_MS, 1000)
            self.meter.wait(REST_MS)
        self.look()

    def key(self) -> None:
        """Press the key."""
        self.meter.key()
        self.look()

    def cut(self) -> None:
        """Power off at rest, and on."""
        self.meter.power_off(warned=False)
        self.meter.power_on()
        self.meter.wait(REST_MS)
        self.look()

    def look(self) -> Store:
        """Judge what is at rest. Violation."""
        snapshot = self.meter.snapshot()
        self.store = self.watch.look(self.cells, self.keys, snapshot["index"], flows=bool(snapshot["flows"]))
        return self.store


class _Pair:
    """Both meters and all images, one step at a time."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.meters = [_Meter(number) for number in NUMBERS]
        self.visits = 0
        self.images: list[bytes] = []
        self.cards: list[tuple[Card, ...]] = []
        self._places: dict[bytes, int] = {}
        self._steps: dict[Any, Any] = {}
        self.judged: set[_State] = set()
        for kind, fields in scope.cards:
            self._image(_written(kind, fields))
        self.start: _State = (self.meters[OLD].start, self.meters[NEW].start, (1 << len(self.images)) - 1)

    def _image(self, image: bytes) -> int:
        # Reports are no meter's business: without them it is judged as with them.
        main = bytearray(image[:256])
        for at in REPORT_AT:
            if main[at] == 0x68 and main[at + 1] == REPORT:
                main[at : at + _FRAME] = b"\xff" * _FRAME
        key = bytes(main) + image[256:]
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = len(self.images)
            self.images.append(key)
            keys = [meter.key_set for meter in self.meters]
            self.cards.append(tuple([read_card(key, own, tuple(keys)) for own in keys]))
        return place

    def actions(self, state: _State) -> list[Action]:
        """All that can be done now."""
        cards = [(image, place) for image in _bits(state[2]) for place in (OLD, NEW)]
        shows = [(name, *card) for name in ("show", "pull") for card in cards]
        return [*shows, *[(name, place) for name in ("burn", "key", "cut") for place in (OLD, NEW)]]

    def step(self, state: _State, action: Action) -> _State:
        """The next state. Violation."""
        name, *rest = action
        place = rest[-1]
        key = place, state[place], name, rest[0]
        known = self._steps.get(key)
        if known is None:
            meter = self.meters[place]
            meter.put_back(state[place])
            image = -1
            self.visits += 1
            try:
                if name in ("show", "pull"):
                    image = self._image(meter.visit(self.images[rest[0]], STAYS_MS if name == "pull" else 0))
                elif name == "burn":
                    meter.burn(self.scope.burn)
                else:
                    getattr(meter, name)()
                known = meter.now(), image
            except Violation as fault:
                known = fault
            self._steps[key] = known
        if isinstance(known, Violation):
            raise Violation(known.rule, known.text)
        number, image = known
        old, new, images = state
        if image >= 0:
            images |= 1 << image
        return (number, new, images) if place == OLD else (old, number, images)

    def judge(self, state: _State) -> None:
        """The gas of both meters and all cards together. Violation."""
        stands = [meter.standing(place) for meter, place in zip(self.meters, state[:2], strict=True)]
        proven, moving = self._elsewhere(state[2], stands)
        loaded = sum([stand.loaded + stand.overdrafts for stand in stands])
        burned = sum([stand.burned for stand in stands])
        there = [stand.deliverable for stand in stands]
        if burned + sum(there) + proven + moving > loaded:
            found = f"{burned} burned, {there} to be had, {proven} to be paid back, {moving} on the way"
            raise Violation("bound_holds", f"{loaded} loaded; {found}")

    def _elsewhere(self, images: int, stands: Sequence[_Standing]) -> tuple[int, int]:
        # What final records prove: of each binding once, whatever the number of cards.
        proven: dict[tuple[str, int], int] = {}
        moving: dict[tuple[str, int], int] = {}
        for image in _bits(images):
            for place, card in enumerate(self.cards[image]):
                final = card.final
                if final is None:
                    continue
                which = final.said.meter, final.said.binding
                if final.heir[1] == 0:
                    proven[which] = max(proven.get(which, 0), final.remaining)
                elif card.incoming is not None and stands[place].store.binding < card.incoming.binding:
                    for_heir = which + final.heir
                    moving[for_heir[:2]] = max(moving.get(for_heir[:2], 0), card.incoming.bought_total)
        return sum(proven.values()), sum(moving.values())

    def told(self, action: Action) -> str:
        """An action for people."""
        name, *rest = action
        if name in ("show", "pull"):
            made = self.scope.cards[rest[0]] if rest[0] < len(self.scope.cards) else f"image {rest[0]}"
            return f"{name} {made} to {NUMBERS[rest[1]]}"
        return f"{name} at {NUMBERS[rest[0]]}"


def _written(kind: str, fields: dict[str, Any]) -> bytes:
    if kind in ("opening", "user"):
        chip = new_card(fields["card"])
        order = {name: value for name, value in fields.items() if name != "card"}
        write_order(chip, kind, {**ORDER_DEFAULTS, "alarm": 0, **order})
    else:
        chip = new_tool(kind, {name: value for name, value in fields.items() if name != "card"}, fields["card"])
    return chip.dump()


def _bits(mask: int) -> list[int]:
    return [place for place in range(mask.bit_length()) if mask >> place & 1]


def search(
    scope: str | Scope,
    depth: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> Result:
    """Every story of a scope up to ``depth`` moves, shortest first, until a rule falls."""
    name = scope if isinstance(scope, str) else scope.text
    plan = SCOPES[scope] if isinstance(scope, str) else scope
    depth = plan.depth if depth is None else depth
    begun = time.perf_counter()
    pair = _Pair(plan)
    state = pair.start
    for action in plan.setup:
        state = pair.step(state, action)
        pair.judge(state)
    reached: dict[_State, tuple[_State, Action] | None] = {state: None}
    frontier, transitions, moved = [state], 0, 0

    def result(level: int, violations: tuple[Found, ...] = ()) -> Result:
        seconds = time.perf_counter() - begun
        return Result(name, level, len(reached), transitions, pair.visits, moved, seconds, violations)

    for level in range(1, depth + 1):
        following = []
        for parent in frontier:
            for action in pair.actions(parent):
                transitions += 1
                try:
                    state = pair.step(parent, action)
                    if state in reached:
                        continue
                    pair.judge(state)
                except Violation as fault:
                    story = [pair.told(action)]
                    at: _State = parent
                    while (before := reached[at]) is not None:
                        at, then = before
                        story.append(pair.told(then))
                    return result(level, (Found(name, fault.rule, fault.text, tuple(story[::-1])),))
                reached[state] = parent, action
                moved += pair.meters[NEW].standing(state[NEW]).moved
                following.append(state)
        frontier = following
        if progress is not None:
            progress(f"{name}, depth {level}: {len(reached)} states, {transitions} transitions, {pair.visits} visits")
    return result(depth)


# ---------------------------------------------------------------------- the scopes

_TO_OLD: dict[str, Any] = {"meter": METER}
_TO_NEW: dict[str, Any] = {"meter": HEIR}
_TRANSFERS: tuple[Make, ...] = (
    ("transfer out", {"card": 91}),
    ("transfer out", {"card": 92}),  # the same transfer, the first card was lost
    ("transfer out", {"card": 93, "heir": {"binding": 2}}),  # another heir
)
_SHOWN_OLD = (("show", 0, OLD),)

SCOPES: dict[str, Scope] = {
    "transfer": Scope(
        "A customer's gas goes to the new meter: two cards of one transfer, one for another heir.",
        cards=(
            ("opening", {"card": 77, **_TO_OLD, "bought_total": 9}),
            ("user", {"card": 77, **_TO_OLD, "sequence": 2, "bought_total": 12}),
            *_TRANSFERS,
        ),
        setup=_SHOWN_OLD,
        depth=9,
        quick=5,
    ),
    "overdraft": Scope(
        "The same below zero: what is owed goes along.",
        cards=(
            ("opening", {"card": 77, **_TO_OLD, "bought_total": 2, "overdraft": 2}),
            ("transfer out", {"card": 91, "heir": {"overdraft": 2}}),
            ("transfer out", {"card": 92, "heir": {"overdraft": 2}}),
            ("user", {"card": 78, **_TO_NEW, "sequence": 2, "bought_total": 4, "correction_total": 1}),
        ),
        setup=_SHOWN_OLD,
        depth=9,
        quick=5,
    ),
    "no more than may be": Scope(
        "The hall has released less than the meter says is left, and the new meter has an account already.",
        cards=(
            ("opening", {"card": 77, **_TO_OLD, "bought_total": 9}),
            ("opening", {"card": 78, **_TO_NEW, "bought_total": 3}),
            ("clear", {"card": 95, **_TO_NEW}),
            ("transfer out", {"card": 91, "heir": {"binding": 2, "bought_total": 5}}),
            ("transfer out", {"card": 92, "heir": {"binding": 1, "bought_total": 5}}),
        ),
        setup=_SHOWN_OLD,
        depth=9,
        quick=5,
    ),
    "cleared": Scope(
        "Clear and transfer cards of one binding at once, and the next binding of either meter.",
        cards=(
            ("opening", {"card": 77, **_TO_OLD, "bought_total": 6}),
            ("opening", {"card": 79, **_TO_OLD, "binding": 2, "bought_total": 4}),
            ("clear", {"card": 95, **_TO_OLD}),
            ("clear", {"card": 96, **_TO_NEW}),
            ("transfer out", {"card": 91}),
            ("transfer out", {"card": 93, "heir": {"binding": 2}}),
        ),
        setup=_SHOWN_OLD,
        depth=8,
        quick=4,
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 1 if any rule fell."""
    parser = argparse.ArgumentParser(prog="python -m gasrig.heirs", description=__doc__)
    parser.add_argument("--scope", default="all", choices=["all", *SCOPES])
    parser.add_argument("--depth", type=int, help="moves after the scope's beginning; the scope's own if not given")
    parser.add_argument("--json", action="store_true", help="one list on standard output instead of text")
    options = parser.parse_args(arguments)
    results = []
    for name in SCOPES if options.scope == "all" else [options.scope]:
        progress = None if options.json else lambda line: print(line, file=sys.stderr)
        result = search(name, options.depth, progress)
        results.append(result)
        if not options.json:
            verdict = "a rule fell" if result.violations else "nothing found"
            print(f"{name}: {verdict} in {result.states} states, depth {result.depth}, {result.seconds:.1f} s")
            for found in result.violations:
                print("\n".join([f"{found.rule}: {found.text}", *found.story]))
    if options.json:
        print(json.dumps([asdict(result) for result in results], indent=2))
    return 1 if any(result.violations for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
