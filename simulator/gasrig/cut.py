"""Every flow again and again, with the power cut and the card pulled at every place there is.

A flow is played once on recorded parts, which gives every write it makes, byte by byte. What a cut in a write
could leave is known from the record and the fault models (``gasrig.faults``); each such state is put into the
meter's memory, the power comes, and the independent checkers judge what the meter makes of it. Then the meter
goes on: the card in hand is put in again, the key pressed, gas drawn, the supply taken with a warning; it has to
come to where it would have come without the cut, either way round the write. A second cut falls into the writes
of that first power-up.

Where the firmware lives on (a supply that fails with a warning, a card that is pulled) the flow, or the visit, is
played again up to that place.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gascard import codes
from gascard.chip import SECURITY, Chip
from gascard.records import CARD_CLEAR, CARD_CUSTOMER, CARD_KEY, CARD_TEST, CARD_TRANSFER, IDENTITY_AT
from gascard.sle4442 import TRIES_FULL
from gashall.encode import decode_card
from gashall.signer import KeyFileSigner
from gasrig import checkers
from gasrig.bench import MEMORY_EEPROM, MEMORY_FRAM, NO_PULL, TEST_REGION, Bench
from gasrig.checkers import Store, Violation, read_card
from gasrig.faults import PAGE, FaultModel, torn_card_byte, torn_writes
from gasrig.flows import (
    FLOWS,
    HEIR,
    METER,
    ORDER_DEFAULTS,
    OTHER_METER,
    ROOT,
    Flow,
    Player,
    Step,
    new_card,
    write_order,
)
from gasrig.handset import BUILD_DEFAULTS, Entry, RecordedMeter, Snapshot, SupplyFailed
from gasrig.parts import MILLI
from gasrig.recorder import CARD, DRIVE, KEYS, STORE
from gasrig.sharing import Batch, PoweredUp, Shares, StateOutsideError, outside, remembered
from gasrig.states import Sameness, Stored, card_place
from gasrig.targets import BenchError, CPythonTarget, Target
from gasrig.twin import failing
from meter.valve import POLL_MS

__all__ = ["Counts", "Cutter", "Found", "flow_names"]

ACCOUNTS, ACCOUNTS_END = 0x0080, 0x0100  # where the account's copies lie (RULES 2)
LANE_LENGTH = 64  # of the tally, where the flow does not say: checkpoints come often
TALLY = 0x1000  # where it begins (RULES 2)
NEVER = (1 << 32) - 1
REFILL_MS = 1_800_000  # after so long powered a token is back (RULES 3)
SETTLE_MS = 60_000  # longer than a valve takes that must be driven three times
MOST_EVENTS = 4  # that power-up enters: boot, scrubbed, alarm, zero
ORDERED = (CARD_CUSTOMER, CARD_CLEAR, CARD_TEST)  # cards with an order for one meter, made with its own key
FOR_ONE_METER = (CARD_CLEAR, CARD_KEY, CARD_TEST, CARD_TRANSFER)
STRANGER = 78  # number of a card that is not the customer's

# Which faults each kind of memory has, and in how many lanes its tally runs (RULES 2).
MEMORIES = {
    "fram": (MEMORY_FRAM, 1, (FaultModel.CLEAN, FaultModel.FRAM)),
    "eeprom": (MEMORY_EEPROM, 4, (FaultModel.CLEAN, FaultModel.EEPROM)),
}
# Happenings in which wheels turn and no pulse is counted.
BLINDING = ("reed A dead", "reed B dead", "reeds held", "reeds swapped")
# What power-up may write: checkpoints, state, events, tally. Account and lockout only cards and time change.
BOOT_SPANS = ((0x0000, 0x0080), (0x0100, 0x0180), (0x0400, 0x0F00), (0x1000, 1 << 16))

Report = Callable[[str, int], None]
"""Called now and then with the flow's name and how many states have been tried."""


class Found(NamedTuple):
    """A violation: the flow, the case that shows it (``icgas cut --flow FLOW --case CASE``), and what was found."""

    flow: str
    case: str
    text: str


@dataclass
class Counts:
    """What was done: faults that fired, states really different, violations.

    ``own``: faults that fired in this flow and in none before it, or would have, had no equal write been cut before.
    """

    states: int = 0
    fired: int = 0
    own: int = 0
    violations: list[Found] = field(default_factory=list)

    def add(self, other: "Counts") -> None:
        """Add up."""
        self.states += other.states
        self.fired += other.fired
        self.violations += [found for found in other.violations if found not in self.violations]


@dataclass
class _Edge:
    """One step of a flow: what stood before it, what was written in it and what stood then, what stood after."""

    name: str
    step: Step
    before: Stored
    entries: list[tuple[Entry, Stored]]
    after: Stored
    orders: tuple[checkers.Order, ...]  # that a hall had made for this meter so far
    jammed: bool  # whether the valve's motor turned nothing
    blind: int = 0  # pulses that faulty reeds have let pass so far, at most
    outcomes: frozenset[tuple[Any, ...]] = frozenset()

    @property
    def in_flight(self) -> int:
        """Pulses that may be on their way at one moment of it."""
        if self.step[0] == "pulses":
            return int(self.step[1]) + self.blind
        return self.blind + 1 if self.step[0] == "gas" or self.cooks else self.blind

    @property
    def cooks(self) -> bool:
        """Whether gas is drawn while the card is in."""
        return self.step[0] == "insert" and len(self.step) > 1


class _Ends(NamedTuple):
    """What the store means before a write and after it, and the credit in each: between them a cut must leave it."""

    before: Store
    after: Store
    credit: tuple[Any, ...]
    credit_after: tuple[Any, ...]
    key: int  # of both credits

    @classmethod
    def of(cls, before: Store, after: Store) -> "_Ends":
        credits = credit_of(before), credit_of(after)
        return cls(before, after, *credits, hash(credits))


class _Visit(NamedTuple):
    """A card's visit: what was stored then (the card that was pulled or taken out among it), the meter's answer."""

    stored: Stored
    answer: int
    pulled: bool
    entries: list[Entry]
    operations: int  # on the card's bus


class _Failure(NamedTuple):
    """What was written down up to a failure of the supply with its warning, and in it, and the world then."""

    entries: list[Entry]
    world: dict[str, int]


def flow_names() -> list[str]:
    """The meter's flows that can be cut."""
    return list(FLOWS)


def credit_of(store: Store) -> tuple[Any, ...]:
    """All that cards have made of the account, the settings and the keys."""
    return (
        store.state,
        store.binding,
        store.sequence,
        store.bought_total,
        store.correction_total,
        store.replacement,
        store.register_at_binding,
        store.overdraft,
        store.alarm,
        store.ceiling,
        store.over_flow_seconds,
        store.order_mac,
        store.card,
        store.account,
        # What the company's cards change besides.
        store.limits,
        store.index_offset,
        store.service_number,
        store.test_gas,
        store.test_gas_end,
        store.key_version,
        store.key,
    )


class Cutter:
    """Cuts flows on one target. What it has seen it does not try again: ``states`` is what was really different."""

    def __init__(
        self,
        target: Target,
        stranger: Target | None = None,
        *,
        depth: int = 1,
        shard: tuple[int, int] = (1, 1),
        case: str | None = None,
        report: Report | None = None,
        whole: bool = False,
    ) -> None:
        """``stranger`` runs another meter, to which torn cards are shown too. ``shard`` (K, N): every Nth state, from
        the Kth on. ``case`` tries that one only, whatever has been seen. ``whole``: every power-up is played, also
        where another has been that is shown to be the same (gasrig.sharing).
        """
        self.meter = RecordedMeter(target)
        self.depth = depth
        self.shard = shard
        self.case = case
        self.states = 0
        self.fired = 0
        self._report = report
        self._stranger = None if stranger is None else _Stranger(stranger)
        self._seen: set[int] = set()
        self._number = 0
        self._answer = codes.OK  # of the last card that was put in again
        self._base: Stored | None = None  # what the bench keeps under number 1
        self._analysed: dict[tuple[str, tuple[str, ...]], Counts] = {}
        self._told_cards: set[bytes] = set()
        self.shares: Shares | None = None
        if isinstance(target, CPythonTarget) and not whole and case is None:
            self.shares = Shares(target.bench)
        self._batch: Batch | None = None  # of states that are tried now
        self._signer = KeyFileSigner(ROOT, TEST_REGION)
        # Of the meter, as key cards bring them, and of the one that its gas may go to or come from.
        self.keys = tuple([checkers.KeySet(self._signer.meter_keys(METER, version)[0]) for version in (1, 2)])
        self._heirs = (checkers.KeySet(self._signer.meter_keys(HEIR, 1)[0]),)

    # ------------------------------------------------------------------ flows

    def run(self, name: str) -> Counts:
        """Cut the flow ``name`` on every kind of memory it can have."""
        counts = Counts()
        for memory in MEMORIES:
            steps = self._steps(FLOWS[name], memory)
            if steps is not None and (self.case is None or self.case.startswith(memory + "/")):
                with remembered() if self.shares else nullcontext():
                    result = self._flow(name, memory, steps)
                counts.add(result)
                counts.own += result.own
        return counts

    def _steps(self, flow: Flow, memory: str) -> tuple[Step, ...] | None:
        # The flow on that kind of memory; None if it asks for another.
        sort, lanes, _ = MEMORIES[memory]
        first, *rest = (step for step in flow.steps if step[0] != "expect")
        config = first[1]
        if config.get("memory", sort) != sort:
            return None
        build = ("build", {"lane_length": LANE_LENGTH, **config, "memory": sort, "lanes": lanes})
        return (build, *rest)

    def _flow(self, name: str, memory: str, steps: tuple[Step, ...]) -> Counts:
        self._name, self._memory, self._models = name, memory, MEMORIES[memory][2]
        config = {**BUILD_DEFAULTS, **steps[0][1]}
        self._config = config
        self._same = Sameness(config["lanes"], config["lane_length"], config["travel_ms"])
        # What happens to a card is the same whatever memory the meter has.
        self._cards = memory == next(memory for memory in MEMORIES if self._steps(FLOWS[name], memory))
        self._carried: dict[tuple[Any, ...], None] = {}
        self._deepened: set[int] = set()
        total = Counts()
        edges = self._play(steps)
        self._base = None
        held = outside() if self.shares else []
        for number, edge in edges:
            if self.case is not None and not self.case.startswith(f"{memory}/{edge.name}/"):
                continue
            place = (memory, tuple(repr(step) for step in steps[: number + 1]))
            if place not in self._analysed:
                self._counts = Counts()
                self._rebase(edge.before)
                self._edge(edge, steps[: number + 1])
                self._analysed[place] = self._counts
                total.own += self._counts.own
            total.add(self._analysed[place])
        if self.shares and (more := set(outside()) ^ set(held)):
            raise StateOutsideError(f"flow {name!r}: {min(more)[0]} is another afterwards; try it with --whole")
        return total

    def _play(self, steps: tuple[Step, ...]) -> list[tuple[int, _Edge]]:
        meter = self.meter
        player = Player(meter)
        orders: list[checkers.Order] = []
        edges: list[tuple[int, _Edge]] = []
        stored = self._build(player, steps[0])
        jammed = reeds_wrong = False
        blind = 0
        for number, step in enumerate(steps[1:], 1):
            if step[0] == "insert":
                meter.pull_at(NO_PULL, early=False)
            player.step(step)
            jammed = step[1] if step[0] == "jam" else jammed
            if step[0] == "happens" and step[1] in BLINDING:
                reeds_wrong = step[2]
            if step[0] == "gas" and reeds_wrong:
                blind += 1 + meter.last["drawn_milli"] // MILLI
            if step[0] in ("card", "chip"):
                stored = stored._replace(card=player.card.dump())
                card = self._read(stored.card)
                orders += [order for order in (card.order, card.tool, card.incoming) if order is not None]
                continue
            before, found = stored, []
            for entry in meter.entries():
                stored = stored.at(entry)
                found.append((entry, stored))
                stored = stored.torn(entry.kind, entry.address, entry.data)
            stored = self._now(stored)
            if step[0] in ("remove", "visit"):
                stored = stored._replace(card=player.card.dump())
            edge = _Edge(f"{number} {step[0]}", step, before, found, stored, tuple(orders), jammed, blind)
            edges.append((number, edge))
        return edges

    def _build(self, player: Player, step: Step) -> Stored:
        meter = self.meter
        player.step(step)
        meter.stop_at(NEVER)
        meter.forget()
        size = 0x1000 + self._config["lanes"] * self._config["lane_length"]
        world = meter.world_now()
        fresh = Stored(
            meter.memory(size), meter.keys(), player.card.dump(), world["place"], world["index"], 0, world["minutes"]
        )
        self._made = self._same.store(fresh)
        self._made_index = fresh.wheels
        return fresh

    def _now(self, stored: Stored) -> Stored:
        return _in_world(stored, self.meter.world_now())

    def _read(self, card: bytes) -> checkers.Card:
        return read_card(card, self.keys, self._heirs)

    # ------------------------------------------------------------------ one step

    def _edge(self, edge: _Edge, steps: tuple[Step, ...]) -> None:
        edge.outcomes = frozenset([self._reference(edge, stored) for stored in self._clean(edge)])
        if edge.step[0] == "insert":
            rest = f"{self._memory}/{edge.name}/rest"
            # Nothing more has come than is in a final record, if this visit has ended the binding.
            ends_here = not self._same.store(edge.before).over
            self._judge(edge, rest, self._over, self._same.store(edge.after), ends_here)
        stops: set[int] = set()
        travels: set[int] = set()
        for number, (entry, stored) in enumerate(edge.entries):
            if entry.kind == STORE and ACCOUNTS <= entry.address < ACCOUNTS_END and not edge.jammed:
                self._judge(edge, f"{self._memory}/{edge.name}/{number}", self._ended_shut, entry, stored)
            if entry.kind == DRIVE:
                self._judge(edge, f"{self._memory}/{edge.name}/{number}", self._justified, entry, stored)
                if entry.data == b"\x01":
                    continue
            if entry.kind == CARD and not self._cards:
                continue
            same = self._same.counting if entry.kind == STORE and entry.address >= TALLY else self._same.state
            if self._is_new(same, entry, stored) and self._mine():
                self._rebase(stored)
                self._cut(edge, f"{self._memory}/{edge.name}/{number}", entry, stored, edge.in_flight)
                # ... and with a warning after this call of the core, and while the valve travels.
                stops.add(entry.calls + 1)
                if entry.kind == DRIVE:
                    polls = self._config["travel_ms"] // POLL_MS
                    travels |= {entry.calls + 2, entry.calls + polls // 2, entry.calls + polls - 1}
        if edge.step[0] != "power_off":
            failures, over = self._failures(stops | travels, steps)
            for calls in sorted(stops | travels):
                if calls in failures or not over or calls in stops:
                    self._warned(edge, calls, steps, failures.get(calls), may_be_over=calls not in stops)
        if edge.step[0] == "insert" and self._cards:
            self._pulls(edge)

    def _is_new(self, same: Callable[[Stored], int], entry: Entry, stored: Stored) -> bool:
        # A write is tried once for all flows: from one state to one other, by that notion of sameness.
        if self.case is not None:
            return True
        after = stored.torn(entry.kind, entry.address, entry.data)
        step = hash((same.__name__, self._memory, entry.kind, entry.data if entry.kind == DRIVE else 0))
        key = hash((step, same(stored), same(after)))
        if key in self._seen:
            self._counts.own += 1
            return False
        self._seen.add(key)
        return True

    def _fires(self) -> None:
        self._counts.fired += 1
        self._counts.own += 1
        self.fired += 1

    def _wanted(self, case: str) -> bool:
        # Whether this case is to be tried: all are, or the one that was asked for and what leads to it.
        return self.case is None or self.case == case or self.case.startswith(case + "/")

    def _cut(self, edge: _Edge, case: str, entry: Entry, stored: Stored, in_flight: int, depth: int = 1) -> None:
        """Cut the power in ``entry``, which was about to be written on ``stored``, in every way the models know."""
        after = stored.torn(entry.kind, entry.address, entry.data)
        between = _Ends.of(self._same.store(stored), self._same.store(after))
        self._batch = self._batch_of(edge, entry, stored)
        for name, torn in self._torn(entry, stored):
            self._try(edge, f"{case}/{name}", torn, between, in_flight, depth)
        self._batch = None

    def _batch_of(self, edge: _Edge, entry: Entry, stored: Stored) -> Batch | None:
        # The states that a cut in ``entry`` leaves, whose power-ups may be the same.
        if self.shares is None:
            return None
        start = end = 0
        if entry.kind in (STORE, KEYS):
            start, end = entry.address, entry.address + len(entry.data)
            if FaultModel.EEPROM in self._models:
                start -= start % PAGE
                end = max(end, start + PAGE)

        def power(state: Stored, around: AbstractContextManager[None]) -> PoweredUp:
            self._load(state, edge.jammed)
            with around:
                snapshot = self.meter.power_on()
            return PoweredUp(snapshot, self.meter.entries())

        return self.shares.batch(stored, entry.kind, start, end, power)

    def _torn(self, entry: Entry, stored: Stored) -> Iterator[tuple[str, Stored]]:
        if entry.kind in (STORE, KEYS):
            memory = stored.cells if entry.kind == STORE else stored.keys
            for model in self._models:
                model_name = model.name
                for torn in torn_writes(model, memory, entry.address, entry.data):
                    yield f"{model_name} {torn.name}", stored.torn(entry.kind, torn.address, torn.content)
        elif entry.kind == CARD:
            for value in _torn_card(entry, stored):
                yield f"CARD {value:02X}", stored.torn(CARD, entry.address, bytes((value,)))
        else:
            travel = self._config["travel_ms"]
            for place in (1, travel // 2, travel - 1):
                yield f"CLEAN travelling {place}", stored._replace(place=place)

    def _try(
        self,
        edge: _Edge,
        case: str,
        stored: Stored,
        between: _Ends,
        in_flight: int,
        depth: int,
    ) -> None:
        if not self._wanted(case):
            return
        self._fires()
        key = hash((self._memory, self._same.state(stored), between.key))
        if key in self._seen and self.case is None:
            return
        self._seen.add(key)
        self._count()
        if stored.card != edge.before.card and self._is_card_told(edge, case, stored, between):
            return
        self._judge(edge, case, self._booted, edge, stored, between, in_flight)
        if depth < self.depth and case != self.case:
            self._again(edge, case, stored, between, in_flight, depth)

    def _count(self) -> None:
        self._counts.states += 1
        self.states += 1
        if self._report is not None and self.states % 256 == 0:
            self._report(self._name, self.states)

    def _mine(self) -> bool:
        # Whether the next write, or pull, is this shard's.
        self._number += 1
        return self.case is not None or self._number % self.shard[1] == self.shard[0] % self.shard[1]

    def _is_card_told(self, edge: _Edge, case: str, stored: Stored, between: _Ends) -> bool:
        # What only the card's bytes make different is judged by reading them; power comes to a meter that can tell.
        told = (between.before.report_number, between.before.register, edge.before.card)
        read = hash((stored.card, between.credit, told))
        if read not in self._seen or self.case is not None:
            self._seen.add(read)
            self._judge(edge, case, self._half_a_report, edge, stored, between)
        key = hash((self._memory, self._same.behaviour(stored), between.credit, "card"))
        known = key in self._seen and self.case is None
        self._seen.add(key)
        return known

    def _half_a_report(self, edge: _Edge, stored: Stored, between: _Ends) -> None:
        card = self._read(stored.card)
        checkers.reports_true(card, between.before)
        checkers.final_told(card, between.before)
        self._left_on_card(edge.before.card, stored.card)
        self._shown(stored.card)

    def _left_on_card(self, before: bytes, after: bytes) -> None:
        # What a visit, or half of one, has left on the card.
        checkers.report_kept(before, after, self.keys)
        checkers.unread_kept(before, after)
        checkers.only_report_slots(before, after)
        checkers.tries_kept(before, after)

    def _again(
        self,
        edge: _Edge,
        case: str,
        stored: Stored,
        between: _Ends,
        in_flight: int,
        depth: int,
    ) -> None:
        # A second cut, in what power-up writes until the valve rests: from each state a meter can tell from the others.
        key = hash((self._same.behaviour(stored), edge.jammed))
        if key in self._deepened and self.case is None:
            return
        self._deepened.add(key)
        self._load(stored, edge.jammed)
        self.meter.power_on()
        self.meter.wait(SETTLE_MS)
        batch = self._batch
        for number, entry in enumerate(self.meter.entries()):
            stored = stored.at(entry)
            if entry.data != b"\x01" or entry.kind != DRIVE:
                self._batch = self._batch_of(edge, entry, stored)
                for name, torn in self._torn(entry, stored):
                    self._try(edge, f"{case}/again/{number}/{name}", torn, between, in_flight, depth + 1)
            stored = stored.torn(entry.kind, entry.address, entry.data)
        self._batch = batch

    # ------------------------------------------------------------------ putting states into the meter

    def _rebase(self, stored: Stored) -> None:
        # Kept in the meter's bench under number 1, so that a state that differs in a page costs a page.
        if self._base is None or len(self._base.cells) != len(stored.cells):
            self.meter.keep(1)
            self._base = stored._replace(cells=bytes(len(stored.cells)), keys=bytes(len(stored.keys)))
            for at in range(0, len(stored.cells), 64):
                self.meter.poke(STORE, at, bytes(64))
            for at in range(0, len(stored.keys), 64):
                self.meter.poke(KEYS, at, bytes(64))
            self.meter.keep(1)
        self._load(stored)
        self.meter.keep(1)
        self._base = stored

    def _load(self, stored: Stored, jammed: bool = False) -> None:
        base = self._base
        if base is None:
            self._rebase(stored)
            base = stored
        self.meter.back_in(
            1,
            jammed=jammed,
            place=stored.place,
            index=stored.wheels,
            index_milli=stored.wheels_milli,
            minutes=stored.minutes,
        )
        for kind, have, want in ((STORE, base.cells, stored.cells), (KEYS, base.keys, stored.keys)):
            if have == want:
                continue
            for at in _pages_changed(have, want):
                self.meter.poke(kind, at, want[at : at + 64])

    # ------------------------------------------------------------------ what is checked

    def _judge(self, edge: _Edge, case: str, check: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return check(*arguments)
        except Violation as violation:
            self._found(case, str(violation))
        except BenchError as error:
            self._found(case, f"raised: {error.text}")
        return None

    def _found(self, case: str, text: str) -> None:
        found = Found(self._name, case, text)
        if found not in self._counts.violations:
            self._counts.violations.append(found)

    def _justified(self, entry: Entry, stored: Stored) -> None:
        # The valve moves to open for what is stored already, not for what is about to be.
        self._driven(entry)
        if entry.data == b"\x02":
            store = self._same.store(stored)
            checkers.valve_true(store, True)
            checkers.alarm_true(store, True)

    def _ended_shut(self, entry: Entry, stored: Stored) -> None:
        # Between the writing of what a binding had left and the end of it nothing may flow.
        after = self._same.store(stored.torn(entry.kind, entry.address, entry.data))
        if after.over and not self._same.store(stored).over and entry.place:
            raise Violation("final_true", f"the account is over and the valve stands at {entry.place} ms of its travel")

    def _over(self, store: Store, now: bool) -> None:
        checkers.final_true(store, now=now)

    def _driven(self, entry: Entry) -> None:
        if entry.data == b"\x02":
            checkers.opened_by_person(None if entry.asked_ms < 0 else entry.asked_ms)

    def _drives(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            if entry.kind == DRIVE:
                self._driven(entry)

    def _booted(self, edge: _Edge, stored: Stored, between: _Ends, in_flight: int) -> list[Entry]:
        """Power comes to ``stored``: the meter stands between ``between``, before and after the write. Its writes."""
        up, played = self._power_up(edge, stored)
        entries = up.entries
        booted = stored.after(entries)
        store = self._same.store(booted)
        # Of states of one batch all but the memory's meaning and the card is the same.
        if (store, stored.card) not in up.judged:
            self._judged(edge, stored, between, in_flight, up, store)
            up.judged.append((store, stored.card))
        checkers.log_kept(stored.cells, booted.cells, MOST_EVENTS)
        self._carry_on_once(edge, stored, booted, store, None if played else up)
        return entries

    def _power_up(self, edge: _Edge, stored: Stored) -> tuple[PoweredUp, bool]:
        # The power-up of a state, and whether the meter has really come to it.
        if self._batch is not None:
            return self._batch.power_up(stored)
        self._load(stored, edge.jammed)
        return PoweredUp(self.meter.power_on(), self.meter.entries()), True

    def _judged(self, edge: _Edge, stored: Stored, between: _Ends, in_flight: int, up: PoweredUp, store: Store) -> None:
        # All that follows from what the memory means after power-up, the card, and what the meter has said and written.
        before, after = between.before, between.after
        snapshot, entries = up.snapshot, up.entries
        if snapshot["code"] or store.lost:
            raise Violation("store_kept", f"power-up answers {snapshot['code']}, store lost: {store.lost}")
        credit = credit_of(store)
        if credit not in (between.credit, between.credit_after):
            raise Violation("account_steady", f"credit {credit}; before {between.credit}, after {between.credit_after}")
        checkers.never_back(before, store)
        # Of what a card sets at once nothing may stand by itself, whatever number of writes it takes.
        checkers.settings_kept(self._same.store(edge.before), self._same.store(edge.after), store)
        checkers.binding_first(store)
        checkers.credited_once(store, edge.orders)
        checkers.granted_true(store, edge.orders)
        checkers.granted_steady(before, store)
        checkers.final_true(store)
        checkers.final_kept(before, store)
        checkers.final_told(self._read(stored.card), store)
        self._register(store, stored, between, in_flight)
        if store.tokens > max(before.tokens, after.tokens):
            checkers.lockout_held(before, store)
        checkers.reports_true(self._read(stored.card), store)
        checkers.guard_kept(before, after, store, snapshot["reasons"])
        self._told(snapshot, store)
        self._places(entries)
        self._drives(entries)

    def _places(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            if entry.kind == KEYS:
                raise Violation("outside_unchanged", "power-up writes the key record")
            if entry.kind == STORE:
                start, end = entry.address, entry.address + len(entry.data)
                for first, last in BOOT_SPANS:
                    if first <= start and end <= last:
                        break
                else:
                    raise Violation("outside_unchanged", f"power-up writes {start:04X} to {end - 1:04X}")

    def _register(self, store: Store, stored: Stored, between: _Ends, in_flight: int) -> None:
        least, most = between.before.register, between.after.register
        assert store.register is not None and least is not None and most is not None
        if not min(least, most) <= store.register <= max(least, most):
            raise Violation("register_true", f"register {store.register}, in flight were {least} to {most}")
        made = self._made.register
        assert made is not None
        checkers.register_true(store, made, stored.wheels - self._made_index, in_flight)

    def _told(self, snapshot: Snapshot, store: Store) -> None:
        # The meter's own word against the bytes it stored.
        for name, held in (("register", store.register), ("remaining", store.remaining), ("tokens", store.tokens)):
            if snapshot[name] != held:
                raise Violation("store_kept", f"the meter says {name} {snapshot[name]}, its store {held}")

    def _carry_on_once(
        self, edge: _Edge, stored: Stored, booted: Stored, store: Store, shared: PoweredUp | None
    ) -> None:
        # What power-up found may live on in the meter and not in its memory.
        found = (self._same.records(stored), booted.cells[TALLY:] != stored.cells[TALLY:], edge.jammed)
        key = (self._same.behaviour(booted), *found, credit_of(store), edge.outcomes)
        if self.case is None and key in self._carried:
            return
        self._carried[key] = None
        if shared is not None:
            # It has not come to that yet; and it has to come to what was shown.
            self._load(stored, edge.jammed)
            played = PoweredUp(self.meter.power_on(), self.meter.entries())
            if not played.same_as(shared):
                raise RuntimeError(f"{edge.name}: a shared power-up is another when it is played")
        self._comes_to(edge, self._carry_on(edge, booted, store))

    def _comes_to(self, edge: _Edge, outcome: tuple[Any, ...]) -> None:
        if outcome not in edge.outcomes:
            raise Violation("account_steady", f"comes to {outcome}, without the cut to {sorted(edge.outcomes)}")

    def _clean(self, edge: _Edge) -> Iterator[Stored]:
        """Where the meter stands without a cut: before the step and after it, also with a card that has one try left.

        Such a card is loaded and its password not asked for (RULES 1, last try), and pulls spend tries.
        """
        yield from (edge.before, edge.after)
        # A company's card with one try left does nothing; no single pull brings it there.
        if edge.before.card and edge.before.card[260] & TRIES_FULL and _is_customers(edge.before.card):
            last_try = edge.before.card[:260] + b"\x01" + edge.before.card[261:]
            yield edge.before._replace(card=last_try)

    def _reference(self, edge: _Edge, stored: Stored) -> tuple[Any, ...]:
        """Where a meter comes to that loses its power at rest."""
        return self._judge(edge, f"{self._memory}/{edge.name}/rest", self._at_rest, edge, stored) or ()

    def _at_rest(self, edge: _Edge, stored: Stored) -> tuple[Any, ...]:
        self._fires()
        self._load(stored, edge.jammed)
        snapshot = self.meter.power_on()
        booted = stored.after(self.meter.entries())
        store = self._same.store(booted)
        if snapshot["code"] or store.lost:
            raise Violation("store_kept", f"power-up answers {snapshot['code']}, store lost: {store.lost}")
        self._told(snapshot, store)
        self._register(store, stored, _Ends.of(store, store), edge.in_flight)
        return self._carry_on(edge, booted, store)

    def _carry_on(self, edge: _Edge, stored: Stored, store: Store) -> tuple[Any, ...]:
        """The meter lives on: it rests shut, takes the card, opens for the key, counts. The credit it comes to."""
        meter = self.meter
        if meter.wait(SETTLE_MS)["flows"] and not edge.jammed:
            raise Violation("opened_by_person", "gas flows after power-up, nobody has asked")
        meter.jam(False)
        if stored.card:
            stored, store = self._visit(edge, stored, store)
            if self._answer == codes.LOCKED_OUT and self._same.store(edge.before).tokens:
                # The cut fell between the last token and the verdict: it is spent, and back in half an hour (RULES 3).
                meter.wait(REFILL_MS)
                stored = stored.after(self._taken())
                stored, store = self._visit(edge, stored, self._same.store(stored))
        credit = credit_of(store)
        snapshot = meter.key()
        stored = stored.after(self._taken())
        store = self._same.store(stored)
        checkers.valve_true(store, bool(snapshot["flows"]))
        should = store.remaining + store.overdraft > 0 if store.bound else store.test_gas_left > 0
        if should != bool(snapshot["flows"]) and not snapshot["failures"]:
            raise Violation("valve_true", f"remaining {store.remaining} and gas flows: {snapshot['flows']}")
        counted = meter.run(3_600_000, 3000)
        drawn = counted["drawn_milli"] // 1000
        stored = self._now(stored.after(self._taken()))
        flows = bool(meter.wait(SETTLE_MS)["flows"])
        stored = stored.after(self._taken())
        checkers.valve_true(self._same.store(stored), flows)
        checkers.alarm_true(self._same.store(stored), flows)
        # Reeds led backwards owe a turn at most, and a warned cut hands the debt on.
        missing = drawn - (counted["register"] - snapshot["register"])
        if missing and not (missing == 1 and edge.blind):
            raise Violation("register_true", f"{drawn} drawn, {counted['register'] - snapshot['register']} counted")
        meter.power_off(warned=True)
        stored = self._now(stored.after(self._taken()))
        warned = self._same.store(stored)
        last = meter.power_on()
        stored = stored.after(self._taken())
        if last["register"] != counted["register"]:
            raise Violation("register_true", f"{counted['register']} before a warned cut, {last['register']} after")
        checkers.never_back(warned, self._same.store(stored))
        return credit

    def _taken(self) -> list[Entry]:
        entries = self.meter.entries()
        self._drives(entries)
        return entries

    def _visit(self, edge: _Edge, stored: Stored, store: Store) -> tuple[Stored, Store]:
        """The card in hand is put in once more. What is stored then."""
        meter = self.meter
        chip = Chip()
        chip.restore(stored.card)
        before = self._read(stored.card)
        code = meter.insert(chip)
        card = meter.remove().dump()
        stored = stored.after(self._taken())._replace(card=card)
        after, old = self._same.store(stored), store
        self._left_on_card(chip.dump(), card)
        checkers.final_kept(old, after)
        checkers.final_true(after, now=not old.over)
        checkers.granted_true(after, edge.orders)
        checkers.granted_steady(old, after)
        checkers.never_back(old, after)
        checkers.account_steady(old, after)
        checkers.binding_first(after)
        checkers.credited_once(after, edge.orders)
        shown = self._read(card)
        checkers.reports_true(shown, after)
        checkers.final_told(shown, after)
        order = before.order or before.incoming
        self._answer = code
        if code in (codes.OK, codes.REPEAT):
            self._reported(code, shown, after)
        if _is_customers(card) or shown.incoming:
            if code not in (codes.OK, codes.REPEAT, codes.REPORT_NOT_WRITTEN):
                pass
            elif order is None or (after.binding, after.sequence) != (order.binding, order.sequence):
                raise Violation("credited_once", f"answer {code}, and order {order} is not what is loaded")
        if code in (codes.OK, codes.KEY_VERSION) and shown.kind == CARD_KEY:
            checkers.keys_whole(stored.keys)
        if code not in (codes.OK, codes.REPEAT, codes.REPORT_NOT_WRITTEN) and credit_of(after) != credit_of(old):
            raise Violation("account_steady", f"answer {code}, and the credit is another")
        self._shown(card)
        return stored, after

    def _reported(self, code: int, shown: checkers.Card, store: Store) -> None:
        if shown.kind in (CARD_CLEAR, CARD_TRANSFER) and not shown.incoming:
            # Whoever ends a binding takes its final record along.
            if shown.final is None or not store.over or shown.final.said.binding != store.binding:
                raise Violation("final_told", f"answer {code}, state {store.state}, and the card bears {shown.final}")
            return
        if shown.incoming:
            return  # its order stays where a report would be
        newest = shown.newest
        held = (store.report_number, store.sequence, store.bought_total)
        if newest is None or (newest.report_number, newest.sequence, newest.bought_total) != held:
            raise Violation("reports_true", f"answer {code}, and the card's newest report is {newest}")

    def _shown(self, card: bytes) -> None:
        """A card as a meter left it, shown to the hall and to another meter: it tells the truth and changes nothing."""
        main = card[:256]
        if main not in self._told_cards:
            self._told_by_hall(card)
            self._told_cards.add(main)  # what the hall says depends on nothing else
        shown = self._read(card)
        if self._stranger is not None and (shown.order is not None or shown.kind in FOR_ONE_METER):
            self._stranger.shown(card)

    def _told_by_hall(self, card: bytes) -> None:
        shown = decode_card(card, self._signer)
        mine = self._read(card)
        values = shown.order.values if shown.order.authentic else None
        ours = values is not None and values.get("meter") == METER
        # What else stands there on a company's card carries no gas and ends nothing.
        if mine.kind in ORDERED and ours != (mine.order is not None or mine.tool is not None):
            raise Violation("reports_true", f"the hall finds the order authentic: {shown.order.authentic}")
        believed = shown.final is not None and shown.final.authentic
        if believed != (mine.final is not None):
            raise Violation("final_told", f"the hall finds the final record authentic: {believed}")
        numbers = [report.report_number for report in mine.reports]
        for part in shown.reports:
            values = part.values if part.authentic else None
            if values and values["meter"] == METER and values["report_number"] not in numbers:
                raise Violation("reports_true", f"the hall believes report {values['report_number']}")

    # ------------------------------------------------------------------ with a warning

    def _failures(self, stops: set[int], steps: tuple[Step, ...]) -> tuple[dict[int, _Failure], bool]:
        """What the supply's failing with a warning leaves after so many calls of the core, by copies of the bench that
        plays the flow once; and whether the flow was played to its end, so that what is missing comes after that.
        """
        found: dict[int, _Failure] = {}
        target, meter = self.meter.target, self.meter
        if self.shares is None or not stops or not isinstance(target, CPythonTarget):
            return found, False
        bench = target.bench

        def failed(calls: int, copy: Bench) -> None:
            target.bench = copy
            found[calls] = _Failure(meter.entries(), meter.world_now())
            target.bench = bench

        player = Player(meter)
        self._base = None
        try:
            player.step(steps[0])
            meter.stop_at(NEVER)
            for step in steps[1:-1]:
                player.step(step)
            meter.forget()
            with failing(bench, stops, failed):
                player.step(steps[-1])
                player.step(("wait", SETTLE_MS))
        except BenchError:
            return found, False  # it is found again where the flow is played up to there
        finally:
            target.bench = bench
        return found, True

    def _warned(
        self, edge: _Edge, calls: int, steps: tuple[Step, ...], failure: "_Failure | None", *, may_be_over: bool
    ) -> None:
        """The flow, or a copy of it; after so many calls of the core its supply fails, with a warning."""
        case = f"{self._memory}/{edge.name}/warned {calls}"
        if not self._wanted(case):
            return
        failure = failure or self._failed(edge, case, calls, steps, may_be_over=may_be_over)
        if failure is None:
            return
        entries = failure.entries
        ending = [entry for entry in entries if entry.calls >= calls]
        stored = edge.before.after(entry for entry in entries if entry.calls < calls)
        final = _in_world(stored.after(ending), failure.world)
        self._rebase(final)
        # Nothing may be missing: every pulse the wheels made was told before.
        truth = self._same.store(final)
        self._try(edge, case, final, _Ends.of(truth, truth), edge.blind, depth=1)
        for number, entry in enumerate(ending):
            # Cut off in the warning itself: its writes are records, so other records are what counts.
            if entry.kind in (STORE, KEYS) and self._is_new(self._same.records, entry, stored.at(entry)):
                self._cut(edge, f"{case}/{number}", entry, stored.at(entry), edge.blind)
            stored = stored.torn(entry.kind, entry.address, entry.data)

    def _failed(
        self, edge: _Edge, case: str, calls: int, steps: tuple[Step, ...], *, may_be_over: bool
    ) -> "_Failure | None":
        """The flow once more, up to there; None if it is over before, or if it raised."""
        meter, player = self.meter, Player(self.meter)
        player.step(steps[0])
        meter.stop_at(calls)
        for step in steps[1:-1]:
            player.step(step)
        meter.forget()
        try:
            player.step(steps[-1])
            player.step(("wait", SETTLE_MS))  # power-up itself makes no call; the next are in what follows
            meter.stop_at(NEVER)
            if not may_be_over:
                raise RuntimeError(f"{case}: the flow is over before")
            return None  # a travel that was shorter
        except SupplyFailed:
            pass
        except BenchError as error:
            self._fires()
            self._found(case, f"raised: {error.text}")
            return None
        finally:
            self._base = None
        return _Failure(meter.entries(), meter.world_now())

    # ------------------------------------------------------------------ cards

    def _pulls(self, edge: _Edge) -> None:
        """The card is pulled, or another put in its place, before each operation on its bus."""
        clean = self._visited(edge, NO_PULL, early=False)
        in_flight = {entry.operations - 1: entry for entry in clean.entries if entry.kind == CARD}
        ways: list[tuple[str, bool, Chip | None]] = [("pulled", True, None), ("pulled late", False, None)]
        ways += [(f"swapped {name}", False, chip) for name, chip in _strangers()]
        for way, early, other in ways:
            for operation in range(clean.operations):
                case = f"{self._memory}/{edge.name}/{way} {operation}"
                if not self._wanted(case) or not self._mine():
                    continue
                pulled = self._judge(edge, case, self._pulled, edge, operation, early, other)
                if pulled and way == "pulled":
                    self._half_written(edge, case, pulled[0], pulled[1], in_flight.get(operation))

    def _visited(self, edge: _Edge, operation: int, *, early: bool, other: Chip | None = None) -> "_Visit":
        meter = self.meter
        self._load(edge.before)
        meter.power_on()
        booted = edge.before.after(meter.entries())
        chip = Chip()
        chip.restore(edge.before.card)
        meter.pull_at(operation, early=early, other=other)
        answer = meter.insert(chip)
        world = meter.world_now()
        card = meter.remove().dump()
        meter.pull_at(NO_PULL, early=False)
        entries = meter.entries()
        stored = booted.after(entry for entry in entries if entry.kind != CARD)
        stored = self._now(stored._replace(card=card))
        return _Visit(stored, answer, bool(world["pulled"]), entries, world["operations"])

    def _pulled(self, edge: _Edge, operation: int, early: bool, other: Chip | None) -> tuple[Stored, _Ends]:
        visit = self._visited(edge, operation, early=early, other=other)
        stored, card = visit.stored, visit.stored.card
        if not visit.pulled:
            raise RuntimeError(f"{edge.name}: a visit played again has no operation {operation}")
        self._fires()
        before, store = self._same.store(edge.before), self._same.store(stored)
        self._drives(visit.entries)
        checkers.never_back(before, store)
        checkers.account_steady(before, store)
        checkers.final_true(store)
        checkers.final_kept(before, store)
        checkers.granted_true(store, edge.orders)
        checkers.binding_first(store)
        checkers.credited_once(store, edge.orders)
        shown = self._read(card)
        checkers.reports_true(shown, store)
        checkers.final_told(shown, store)
        if other is None and visit.answer in (codes.OK, codes.REPEAT):
            self._reported(visit.answer, shown, store)
        self._left_on_card(edge.before.card, card)
        if other is not None:
            # Nobody can know that a card is another before it has been asked: one try at most, its own data untouched.
            there = self.meter.other().dump()
            checkers.only_report_slots(other.dump(), there)
            checkers.tries_kept(other.dump(), there)
        self._shown(card)
        self._count()
        # The meter is still alive: the card goes straight in again.
        checkers.valve_true(store, bool(self.meter.wait(SETTLE_MS)["flows"]))
        _, after = self._visit(edge, self._now(stored.after(self._taken())), store)
        # A card whose password was refused goes to the hall before it is served again (RULES 1, last try).
        barred = self._answer in (codes.CARD_BARRED, codes.PASSWORD_REFUSED)
        if not barred or card[260] & TRIES_FULL == TRIES_FULL:
            self._comes_to(edge, credit_of(after))
        return stored, _Ends.of(store, store)

    def _half_written(self, edge: _Edge, case: str, stored: Stored, between: _Ends, entry: Entry | None) -> None:
        """The card was pulled in the middle of storing ``entry``: every value that byte may have."""
        if entry is None:
            self._try(edge, f"{case}/whole", stored, between, 0, self.depth)
            return
        for value in _torn_card(entry, stored):
            torn = stored.torn(CARD, entry.address, bytes((value,)))
            self._try(edge, f"{case}/CARD {value:02X}", torn, between, 0, self.depth)


def _in_world(stored: Stored, world: dict[str, int]) -> Stored:
    place, wheels, milli, minutes = world["place"], world["index"], world["index_milli"], world["minutes"]
    return stored._replace(place=place, wheels=wheels, wheels_milli=milli, minutes=minutes)


def _is_customers(card: bytes) -> bool:
    return bool(card[IDENTITY_AT + 4] == CARD_CUSTOMER)


def _pages_changed(have: bytes, want: bytes) -> Iterator[int]:
    # The first address of each page in which the two differ: few do, so whole kilobytes are compared first.
    for block in range(0, len(want), 1024):
        if have[block : block + 1024] != want[block : block + 1024]:
            for at in range(block, min(block + 1024, len(want)), 64):
                if have[at : at + 64] != want[at : at + 64]:
                    yield at


def _torn_card(entry: Entry, stored: Stored) -> list[int]:
    # The error counter is three bits of its byte; the others do not exist (DOMAIN 4).
    values = torn_card_byte(stored.card[card_place(entry.address)], entry.data[0])
    if entry.address == SECURITY << 8:
        values = sorted({value & TRIES_FULL for value in values})
    return values


def _strangers() -> list[tuple[str, Chip]]:
    """Cards to put in the place of one that is pulled: of another customer; the same with this card's password."""
    stranger = new_card(STRANGER)
    write_order(stranger, "user", {**ORDER_DEFAULTS, "meter": OTHER_METER, "sequence": 2})
    twin = Chip()
    twin.restore(stranger.dump())
    twin.security[1:4] = new_card().security[1:4]
    return [("stranger", stranger), ("same password", twin)]


class _Stranger:
    """Another customer's meter. A card that is not its own must cost it, and the card, nothing."""

    def __init__(self, target: Target) -> None:
        self._meter = RecordedMeter(target)
        key, tool_key = KeyFileSigner(ROOT, TEST_REGION).meter_keys(OTHER_METER, 1)
        self._meter.build(meter=OTHER_METER, key=key, tool_key=tool_key, lane_length=LANE_LENGTH)
        self._meter.forget()
        self._seen: set[bytes] = set()

    def shown(self, card: bytes) -> None:
        """Violation if the card changes, a token goes, or it is taken for this meter's."""
        if card[:0x5B] + card[260:] in self._seen:
            return  # what a meter judges by
        self._seen.add(card[:0x5B] + card[260:])
        chip = Chip()
        chip.restore(card)
        code = self._meter.insert(chip)
        out = self._meter.remove().dump()
        if out != card:
            raise Violation("only_report_slots", "another customer's meter writes on the card")
        if code in (codes.OK, codes.REPEAT, codes.REPORT_NOT_WRITTEN, codes.MAC):
            raise Violation("credited_once", f"another customer's meter answers {code}")
        if self._meter.last["tokens"] != 8:
            raise Violation("lockout_held", "a card for another meter has cost a token")
        self._meter.forget()
