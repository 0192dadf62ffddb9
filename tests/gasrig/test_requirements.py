"""What a meter must do (docs/DESIGN.md, 6), one row for each demand: usual, at the limit, just over it, and cut in two.

Cases are steps as in gasrig.flows, and these:

    ("expect", {...})            fields of the last snapshot; a set where one of several will do
    ("panel", {...})             what is shown: text, symbols, pattern of the last beep
    ("log", kind, [...])         details of all entries of that kind, oldest first
    ("newest", {...})            fields of the newest entry
    ("told", {...})              fields of COUNTERS as the service port tells them
    ("report", {...})            fields of a report, from there too
    ("first", ms)                the wheels come to the next whole pulse
    ("steady", gap, n)           n pulses, each exactly ``gap`` ms after the one before
    ("trips", reason, gap, at)   pulses go on like that; no trip a second before ``at`` ms, one at most a second after
    ("late", reason, at)         the same without gas
    ("clock", minutes)           the clock is set
    ("again", n, steps)          n times
    ("fails", calls, steps)      the supply fails with its warning after so many calls of the core
    ("cut", event, after)        the event is played; then the power goes in the middle of each of its writes in turn,
                                 comes back, and ``after`` is played. No pulse is lost or gained and no credit, and the
                                 valve is shut and stays so.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import pytest

from gascard import codes, service
from gascard.chip import Chip
from gascard.codec import unpack
from gascard.link import READ, Decoder, Frame
from gascard.records import (
    REPORT_DATA,
    SHUT_ALARM,
    SHUT_BATTERY,
    SHUT_COVER,
    SHUT_FAULT,
    SHUT_LARGE_FLOW,
    SHUT_LONG_FLOW,
    SHUT_MAGNET,
    SHUT_OVER_FLOW,
    SHUT_PAST_VALVE,
    SHUT_POWER,
    SHUT_REGISTER_END,
    SHUT_SENSOR,
    SHUT_SMALL_FLOW,
    SHUT_STORE_LOST,
    SHUT_ZERO,
    STATUS_BATTERY_LOW,
    STATUS_KEY_NEEDED,
    STATUS_VALVE_FAULT,
    STATUS_VALVE_OPEN,
    TIME_MAX,
    TOTAL_MAX,
    size_of,
)
from gascard.sle4442 import TRIES_FULL
from gascard.tools import SET_GUARDS
from gasrig import bench
from gasrig.flows import GUARD_LIMITS, HAPPENINGS, ORDER_DEFAULTS, Player, Step
from gasrig.handset import MeterUnderTest, RecordedMeter, SupplyFailed
from gasrig.recorder import KEYS, STORE
from gasrig.targets import Target, open_target
from meter import display, events, guards
from meter.layouts import ACCOUNT_AT, EVENT_PLACES, TALLY_AT
from meter.valve import OPEN, SHUT, SHUTTING, STUCK

Steps: TypeAlias = tuple[Step, ...]

CASES = ("normal", "at the limit", "just over", "cut in the middle")
SECOND = 1_000
MINUTE = 60_000
HOUR = 3_600_000
TIME = ORDER_DEFAULTS["time"]
RESTART = (("power_off", False), ("power_on",))
EVENT_SIZE = size_of(service.EVENT)
INDEX = 500  # what the wheels read when the meter is made


class Row(NamedTuple):
    """``limit`` says which value the second case has: the last that does nothing, or the first that does."""

    limit: str
    normal: Steps
    at_limit: Steps
    over: Steps
    cut: Steps


class Rig(Player):
    """A player that knows the steps above."""

    meter: Any

    def play(self, steps: Steps) -> None:
        """All of them; AssertionError names the one that is not as it says."""
        for number, step in enumerate(steps):
            try:
                self.step(step)
            except AssertionError as wrong:
                raise AssertionError(f"step {number} {str(step)[:100]}: {wrong}") from None

    def _expect(self, expected: Mapping[str, Any]) -> None:
        _compare(expected, {**self.meter.last, "code": self.code})

    def _panel(self, expected: Mapping[str, Any]) -> None:
        _compare(expected, self.meter.panel()._asdict())

    def _log(self, kind: int, details: list[int]) -> None:
        found = [entry["detail"] for entry in self.meter.events() if entry["kind"] == kind]
        assert found == details, found

    def _newest(self, expected: Mapping[str, Any]) -> None:
        _compare(expected, self.meter.events()[-1])

    def _oldest(self, number: int) -> None:
        assert self.meter.events()[0]["number"] == number

    def _ported(self) -> None:
        # The log as it is read at the service port, page after page, is the log.
        number, found = 0, []
        while True:
            body = self._read(service.READ_LOG, number.to_bytes(3, "big"))
            page = [unpack(service.EVENT, body[at : at + EVENT_SIZE]) for at in range(3, len(body), EVENT_SIZE)]
            found += page
            if not page or page[-1]["number"] == 1:
                break
            number = page[-1]["number"] - 1
        assert found[::-1] == self.meter.events()

    def _place(self, milliseconds: int) -> None:
        assert self.meter.world_now()["place"] == milliseconds

    def _whole(self) -> None:
        snapshot = self.meter.snapshot()
        assert snapshot["register"] == snapshot["index"] - INDEX

    def _lose(self) -> None:
        for address in ACCOUNT_AT:
            self.meter.poke(STORE, address, bytes(64))

    def _told(self, expected: Mapping[str, Any]) -> None:
        _compare(expected, unpack(service.COUNTERS, self._read(service.READ_COUNTERS)))

    def _report(self, expected: Mapping[str, Any]) -> None:
        _compare(expected, unpack(REPORT_DATA, self._read(service.READ_STATUS)))

    def _read(self, identifier: int, body: bytes = b"") -> bytes:
        (frame,) = Decoder().feed(self.meter.port(Frame(READ, identifier, 0, body).encode()))
        assert frame.is_answer() and not frame.is_error()
        return frame.body

    def _first(self, milliseconds: int) -> None:
        self.meter.run(milliseconds, 1000 - self.meter.snapshot()["index_milli"])

    def _steady(self, gap: int, count: int) -> None:
        # Quarters of a pulse fall on whole milliseconds, or each pulse is drawn alone.
        most = max(1, HOUR // gap) if gap % 4 == 0 else 1
        while count:
            part = min(most, count)
            snapshot = self.meter.run(part * gap, part * 1000)
            assert snapshot["drawn_milli"] == part * 1000, "the valve has shut"
            count -= part

    def _trips(self, reason: int, gap: int, at: int) -> None:
        before = at - SECOND
        self._steady(gap, before // gap)
        rest = before % gap
        milli = rest * 1000 // gap
        snapshot = self.meter.run(rest, milli)
        assert not snapshot["reasons"] & reason, "more than a second before its limit"
        left = 2 * SECOND
        while left >= gap - rest:
            # To the next pulse, at its very millisecond.
            self.meter.run(gap - rest, 1000 - milli)
            left -= gap - rest
            rest = milli = 0
        snapshot = self.meter.run(left, left * 1000 // gap)
        assert snapshot["reasons"] & reason, "more than a second after its limit"

    def _late(self, reason: int, at: int) -> None:
        assert not self.meter.wait(max(0, at - SECOND))["status"] & reason, "more than a second before its limit"
        assert self.meter.wait(2 * SECOND)["status"] & reason, "more than a second after its limit"

    def _clock(self, minutes: int) -> None:
        self.meter.clock(minutes)

    def _again(self, times: int, steps: Steps) -> None:
        for _ in range(times):
            self.play(steps)

    def _fails(self, calls: int, steps: Steps) -> None:
        self.meter.stop_at(calls)
        try:
            self.play(steps)
        except SupplyFailed:
            return
        raise AssertionError("the event was over before")

    def _cut(self, event: Steps, after: Steps) -> None:
        meter, card, fields = self.meter, self.card.dump(), dict(self.fields)
        before = meter.snapshot()
        meter.keep(0)
        meter.entries()
        self.play(event)
        done = meter.snapshot()
        written = [entry for entry in meter.entries() if entry.kind in (STORE, KEYS)]
        places = [i for i, entry in enumerate(written) if entry.kind == KEYS or entry.address < TALLY_AT]
        assert places, "nothing is stored in it"
        for place in places:
            at = written[place]
            meter.back(0)
            for entry in written[:place]:
                meter.poke(entry.kind, entry.address, entry.data)
            meter.poke(at.kind, at.address, at.data[: len(at.data) // 2])
            minutes = meter.world_now()["minutes"]
            meter.world(place=at.place, index=at.wheels, index_milli=at.wheels_milli, minutes=minutes)
            meter.jam(False)
            meter.target.ask(bench.BATTERY, (3600).to_bytes(2, "big"))
            self.card, self.fields = Chip(), dict(fields)
            self.card.restore(card)
            pulses = sum(len(entry.data) for entry in written[:place] if entry.address >= TALLY_AT)
            snapshot = meter.power_on()
            assert not snapshot["reasons"] & (SHUT_STORE_LOST | SHUT_FAULT)
            assert snapshot["register"] == before["register"] + pulses, "pulses"
            assert snapshot["bought_total"] in (before["bought_total"], done["bought_total"])
            if before["binding"]:
                spent = snapshot["register"] - before["register"]
                gained = snapshot["bought_total"] - before["bought_total"]
                assert snapshot["remaining"] == before["remaining"] + gained - spent
            snapshot = meter.wait(2 * MINUTE)
            assert (snapshot["valve"], snapshot["flows"]) == (SHUT, 0)
            self.play(after)


def _compare(expected: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    wrong = [
        f"{name} is {found[name]!r}, not {value!r}"
        for name, value in expected.items()
        if (found[name] not in value if isinstance(value, set) else found[name] != value)
    ]
    assert not wrong, "; ".join(wrong)


# ---------------------------------------------------------------------- the table

IS_OPEN = {"valve": OPEN, "flows": 1}
IS_SHUT = {"valve": SHUT, "flows": 0}
RUNS: Step = ("expect", {"reasons": 0, **IS_OPEN})
SETTLED: Step = ("wait", 10 * SECOND)
CARD: Steps = (("insert",), ("remove",))


def opened(config: Mapping[str, Any] | None = None, **order: int) -> Steps:
    """A meter that an opening card has bound, its valve open, without guards."""
    return (
        ("build", config or {}),
        ("card", "opening", {"bought_total": 3000, "amount": 3000, **order}),
        ("insert",),
        ("expect", {"code": codes.OK, "reasons": 0, **IS_OPEN}),
        ("remove",),
    )


def guarded(**limits: int) -> Steps:
    """The same with all guards on."""
    return (*opened(), ("guards", limits))


def holds(reason: int) -> Step:
    """It is this that keeps the valve shut."""
    return ("expect", {"reasons": reason, **IS_SHUT})


def shows(code: int, symbols: int, pattern: bytes = display.BEEP_SHUT) -> Step:
    """The code that a customer reads to the hotline, and what else is seen and heard."""
    return ("panel", {"text": f"E{-code:02d}", "symbols": symbols, "pattern": pattern})


def reopens(reason: int) -> Steps:
    """Shut for this or, where the cut came before it was stored, for nothing but the cut; the key opens."""
    return (("expect", {"reasons": {0, reason}, **IS_SHUT}), ("key",), RUNS)


def set_by_card(service_number: int, limits: Mapping[str, int], code: int = codes.OK) -> Steps:
    """A setting card with limits for the guards, and what the meter answers."""
    fields = {"service_number": service_number, "what": SET_GUARDS, **limits}
    return (("card", "setting", fields), ("insert",), ("expect", {"code": code}), ("remove",))


def flow_guard(
    guard: int,
    reason: int,
    code: int,
    gaps: tuple[int, int, int],
    at: int,
    limit: str,
    order: Mapping[str, int] | None = None,
    **limits: int,
) -> Row:
    """Gaps that are usual, the last that do nothing, the first that do; how long these may go on."""
    usual, last, first = gaps
    begin: Steps = (*opened(**(order or {})), ("guards", limits), ("first", 100 * SECOND))
    trip: Step = ("trips", reason, first, at)
    nothing: Steps = (RUNS, ("log", events.GUARD, []))
    return Row(
        limit,
        normal=(*begin, ("steady", usual, 2 * at // usual), *nothing),
        at_limit=(*begin, ("steady", last, min(2 * at // last + 1, 400)), *nothing),
        over=(
            *begin,
            trip,
            shows(code, display.SYMBOL_FLOW),
            SETTLED,
            holds(reason),
            ("log", events.GUARD, [guard]),
            ("wait", MINUTE),
            holds(reason),
            ("key",),
            RUNS,
        ),
        cut=(*begin, ("cut", (trip, SETTLED), (*reopens(reason), ("first", 100 * SECOND), trip))),
    )


def happening(what: str, guard: int, reason: int, code: int, count: dict[str, int]) -> Row:
    """A switch that a person can reach: the magnet's, the cover's."""
    begins: Step = ("happens", what, True)
    ends: Step = ("happens", what, False)
    return Row(
        "the first that does: over as soon as it begins",
        normal=(*guarded(), ("steady", 60 * SECOND, 60), RUNS, ("log", events.GUARD, [])),
        at_limit=(
            *guarded(),
            begins,
            ends,
            ("wait", HOUR),
            holds(reason),
            ("log", events.GUARD, [guard]),
            ("told", count),
            ("key",),
            RUNS,
        ),
        over=(
            *guarded(),
            begins,
            holds(reason),
            shows(code, display.SYMBOL_TAMPER),
            ("key",),
            holds(reason),
            *CARD,
            ("expect", {"code": codes.REPEAT, **IS_SHUT}),
            ends,
            ("wait", MINUTE),
            holds(reason),
            *CARD,
            RUNS,
            ("log", events.GUARD, [guard]),
        ),
        cut=(*guarded(), ("cut", (begins,), (*reopens(reason), begins, holds(reason), ends, *CARD, RUNS))),
    )


ALARM: Step = ("pulses", 2500)
TO_ZERO: Steps = (ALARM, SETTLED, ("key",), ("pulses", 500), SETTLED)
FORGED: Step = ("card", "user", {"sequence": 2, "bought_total": 90_000, "wrong_mac": 1})
SECOND_CARD: Step = ("card", "user", {"sequence": 2, "bought_total": 5000, "amount": 2000})
NINE: Steps = (("card", "opening", {"bought_total": 9, "alarm": 0}), *CARD, RUNS)
LOW = display.SYMBOL_LOW_GAS


def broken(what: str, begins: Steps, ends: int, stuck_at: int, over: Steps, limit: str) -> Row:
    """Part of the valve that lets it never arrive when shutting: in time again, a little too late."""
    event: Steps = (*begins, ALARM)
    over_it: Step = ("jam", False) if what == "jam" else ("happens", what, False)
    return Row(
        limit,
        normal=(*opened(), ALARM, SETTLED, holds(SHUT_ALARM), ("expect", {"failures": 0}), ("key",), RUNS),
        at_limit=(
            *opened(),
            *event,
            ("wait", ends - 100),
            over_it,
            ("wait", 200 + 4000),
            ("expect", {"reasons": SHUT_ALARM, "failures": 2, **IS_SHUT}),
            ("log", events.VALVE_FAULT, []),
        ),
        over=(
            *opened(),
            *event,
            ("wait", ends + 100),
            over_it,
            ("wait", 4000),
            *over,
            ("expect", {"valve": STUCK, "failures": 3, "reasons": SHUT_ALARM}),
            ("key",),
            RUNS,
            ("expect", {"failures": 3}),
        ),
        cut=(
            *opened(),
            (
                "cut",
                (*event, ("late", STATUS_VALVE_FAULT, stuck_at)),
                (("key",), RUNS, ("pulses", 2), ("expect", {"failures": {0, 3}})),
            ),
        ),
    )


# The valve opens for a new cell in the window of a key: the one way to see the motor at work from its first moment.
EMPTY_KEY: Steps = (*guarded(), ("battery", 3000), SETTLED, holds(SHUT_BATTERY), ("key",))

ROWS: dict[str, Row] = {
    "count": Row(
        "the last that does nothing: 999 thousandths of a turn",
        normal=(
            *opened(),
            ("steady", 9000, 20),
            ("pulses", 20),
            ("expect", {"register": 40, "index": INDEX + 40, "index_milli": 0}),
        ),
        at_limit=(*opened(), ("gas", 999, HOUR), ("expect", {"register": 0, "index": INDEX, "index_milli": 999})),
        over=(*opened(), ("gas", 1000, HOUR), ("expect", {"register": 1, "index": INDEX + 1, "index_milli": 0})),
        cut=(
            *opened({"lane_length": 64}),
            *(
                step
                for milli in (249, 250, 499, 500, 749, 750, 999, 1000)
                for step in (
                    ("gas", milli, MINUTE),
                    ("power_off", False),
                    ("power_on",),
                    ("wait", MINUTE),
                    ("key",),
                    ("gas", 2000 - milli, MINUTE),
                    ("expect", {"index_milli": 0}),
                )
            ),
            ("expect", {"register": 16, "index": INDEX + 16}),
            ("cut", (("pulses", 40), ("pulses", 40), ("wait", SECOND)), (("key",), ("pulses", 3))),
        ),
    ),
    "bounce": Row(
        "the last that does nothing: every edge but the last of a turn, each five times",
        normal=(*guarded(), ("steady", 9000, 20), ("expect", {"register": 20, "reasons": 0})),
        at_limit=(*guarded(), ("happens", "bounce", True), ("gas", 999, HOUR), ("expect", {"register": 0})),
        over=(
            *guarded(),
            ("happens", "bounce", True),
            ("gas", 1000, HOUR),
            ("expect", {"register": 1, "index": INDEX + 1}),
            ("steady", 9000, 40),
            ("expect", {"register": 41, "index": INDEX + 41, "reasons": 0}),
            ("log", events.GUARD, []),
        ),
        cut=(
            *guarded(),
            ("happens", "bounce", True),
            *(
                step
                for milli in (250, 500, 750)
                for step in (
                    ("gas", milli, MINUTE),
                    ("power_off", False),
                    ("power_on",),
                    ("wait", MINUTE),
                    ("key",),
                    ("gas", 1000 - milli, MINUTE),
                )
            ),
            ("expect", {"register": 3, "index": INDEX + 3, "reasons": 0}),
        ),
    ),
    "reversal": Row(
        "the last that does nothing: a whole turn back",
        normal=(*guarded(), ("steady", 9000, 20), ("expect", {"register": 20, "reasons": 0})),
        at_limit=(
            *guarded(),
            ("happens", "reeds swapped", True),
            ("gas", 1249, HOUR),
            SETTLED,
            ("expect", {"register": 0, "reasons": 0, **IS_OPEN}),
            ("log", events.GUARD, []),
        ),
        over=(
            *guarded(),
            ("happens", "reeds swapped", True),
            ("gas", 1250, HOUR),
            ("wait", SECOND),
            ("expect", {"register": 0, "reasons": SHUT_SENSOR}),
            shows(codes.SENSOR_FAULT, display.SYMBOL_TAMPER),
            ("log", events.GUARD, [guards.REVERSE]),
            SETTLED,
            holds(SHUT_SENSOR),
        ),
        cut=(
            *guarded(),
            # Half a turn back, a cut with its warning, half a turn forth: that was no pulse.
            ("happens", "reeds swapped", True),
            ("gas", 500, HOUR),
            ("happens", "reeds swapped", False),
            ("power_off", True),
            ("power_on",),
            ("key",),
            ("gas", 500, HOUR),
            ("expect", {"register": 0}),
            ("gas", 1000, HOUR),
            ("expect", {"register": 1, "reasons": 0}),
            ("happens", "reeds swapped", True),
            (
                "cut",
                (("gas", 1250, HOUR), SETTLED),
                (
                    *reopens(SHUT_SENSOR),
                    ("happens", "reeds swapped", True),
                    ("gas", 2000, HOUR),
                    ("wait", SECOND),
                    SETTLED,
                    ("expect", {"register": 1, "reasons": SHUT_SENSOR, **IS_SHUT}),
                ),
            ),
        ),
    ),
    **{
        f"reed {name} cut": Row(
            "the last that does nothing: sixteen changes of the other reed",
            normal=(*guarded(), ("steady", 9000, 20), ("expect", {"register": 20, "reasons": 0})),
            at_limit=(
                *guarded(),
                ("happens", f"reed {name} dead", True),
                ("gas", last, HOUR),
                SETTLED,
                ("expect", {"register": 0, "reasons": 0, **IS_OPEN}),
                ("log", events.GUARD, []),
            ),
            over=(
                *guarded(),
                ("happens", f"reed {name} dead", True),
                ("gas", last + 1, HOUR),
                ("wait", SECOND),
                ("expect", {"reasons": SHUT_SENSOR}),
                shows(codes.SENSOR_FAULT, display.SYMBOL_TAMPER),
                SETTLED,
                holds(SHUT_SENSOR),
                ("log", events.GUARD, [guards.SENSOR]),
            ),
            cut=(
                *guarded(),
                ("happens", f"reed {name} dead", True),
                (
                    "cut",
                    (("gas", last + 1, HOUR), SETTLED),
                    (
                        *reopens(SHUT_SENSOR),
                        ("happens", f"reed {name} dead", True),
                        ("gas", 10_000, HOUR),
                        ("wait", SECOND),
                        SETTLED,
                        holds(SHUT_SENSOR),
                    ),
                ),
            ),
        )
        for name, last in (("A", 8499), ("B", 8249))
    },
    "both reeds held": Row(
        "the last that does nothing: held where one is closed already",
        normal=(*guarded(), ("steady", 9000, 20), ("expect", {"register": 20, "reasons": 0})),
        at_limit=(
            *guarded(),
            ("gas", 250, MINUTE),
            ("happens", "reeds held", True),
            SETTLED,
            ("expect", {"register": 0, "reasons": 0, **IS_OPEN}),
            ("happens", "reeds held", False),
            ("gas", 750, MINUTE),
            ("expect", {"register": 1, "reasons": 0}),
        ),
        over=(
            *guarded(),
            ("gas", 249, MINUTE),
            ("happens", "reeds held", True),
            ("wait", SECOND),
            ("expect", {"reasons": SHUT_SENSOR}),
            shows(codes.SENSOR_FAULT, display.SYMBOL_TAMPER),
            ("log", events.GUARD, [guards.SENSOR]),
            SETTLED,
            holds(SHUT_SENSOR),
        ),
        cut=(
            *guarded(),
            (
                "cut",
                (("happens", "reeds held", True), SETTLED),
                (
                    *reopens(SHUT_SENSOR),
                    ("happens", "reeds held", True),
                    ("wait", SECOND),
                    SETTLED,
                    holds(SHUT_SENSOR),
                ),
            ),
        ),
    ),
    "debit": Row(
        "the last that does nothing: 999 thousandths of a pulse",
        normal=(
            *opened(),
            ("steady", 9000, 20),
            ("expect", {"remaining": 2980}),
            ("pulses", 20),
            ("expect", {"remaining": 2960}),
            ("report", {"register": 40, "used": 40, "index": INDEX + 40}),
        ),
        at_limit=(*opened(), ("gas", 999, HOUR), ("expect", {"remaining": 3000})),
        over=(*opened(), ("gas", 1000, HOUR), ("expect", {"remaining": 2999})),
        cut=(
            *opened({"lane_length": 64}),
            ("cut", (("pulses", 130), ("wait", SECOND)), (("key",), ("pulses", 64), ("wait", SECOND))),
        ),
    ),
    "low-gas alarm": Row(
        "the last that does nothing: one pulse more than the alarm",
        normal=(*opened(), ("pulses", 2000), SETTLED, RUNS, ("log", events.ALARM, [])),
        at_limit=(*opened(), ("pulses", 2499), SETTLED, ("expect", {"remaining": 501, "reasons": 0, **IS_OPEN})),
        over=(
            *opened(),
            ("pulses", 2500),
            ("panel", {"text": "5.00", "symbols": LOW, "pattern": display.BEEP_LOW}),
            SETTLED,
            holds(SHUT_ALARM),
            ("wait", HOUR),
            holds(SHUT_ALARM),
            ("key",),
            RUNS,
            ("pulses", 400),
            SETTLED,
            RUNS,
            ("power_off", False),
            ("power_on",),
            SETTLED,
            ("expect", {"reasons": 0}),
            *CARD,
            RUNS,
            ("log", events.ALARM, [0]),
        ),
        cut=(
            *opened(),
            (
                "cut",
                (ALARM, SETTLED, ("key",), ("pulses", 100), SETTLED),
                (("expect", {"reasons": {0, SHUT_ALARM}}), *CARD, RUNS, ("pulses", 200), SETTLED, RUNS),
            ),
        ),
    ),
    "zero": Row(
        "the last that does nothing: one pulse left",
        normal=(*opened(alarm=0), ("pulses", 2000), SETTLED, RUNS),
        at_limit=(*opened(alarm=0), ("pulses", 2999), SETTLED, ("expect", {"remaining": 1, "reasons": 0, **IS_OPEN})),
        over=(
            *opened(alarm=0),
            ("pulses", 3000),
            ("panel", {"text": "0.00", "symbols": LOW, "pattern": display.BEEP_LOW}),
            SETTLED,
            holds(SHUT_ZERO),
            ("key",),
            holds(SHUT_ZERO),
            *CARD,
            holds(SHUT_ZERO),
            SECOND_CARD,
            *CARD,
            ("expect", {"code": codes.OK, "remaining": 2000, "reasons": 0, **IS_OPEN}),
            ("log", events.ZERO, [0]),
        ),
        cut=(
            *opened(alarm=0),
            (
                "cut",
                (("pulses", 3000), SETTLED),
                (holds(SHUT_ZERO), ("key",), holds(SHUT_ZERO), SECOND_CARD, *CARD, RUNS),
            ),
        ),
    ),
    "overdraft": Row(
        "the last that does nothing: one pulse less than it",
        normal=(*opened(alarm=0, overdraft=100), ("pulses", 3050), SETTLED, ("expect", {"remaining": -50, **IS_OPEN})),
        at_limit=(
            *opened(alarm=0, overdraft=100),
            ("pulses", 3099),
            SETTLED,
            ("expect", {"remaining": -99, "reasons": 0, **IS_OPEN}),
        ),
        over=(
            *opened(alarm=0, overdraft=100),
            ("pulses", 3100),
            ("panel", {"text": "-1.00", "symbols": LOW}),
            SETTLED,
            holds(SHUT_ZERO),
            ("key",),
            holds(SHUT_ZERO),
            SECOND_CARD,
            *CARD,
            ("expect", {"remaining": 1900, "reasons": 0, **IS_OPEN}),
        ),
        cut=(
            *opened(alarm=0, overdraft=100),
            ("cut", (("pulses", 3100), SETTLED), (holds(SHUT_ZERO), ("key",), holds(SHUT_ZERO))),
        ),
    ),
    "ceiling": Row(
        "the last that does nothing: as much left as the ceiling",
        normal=(*opened(ceiling=1000), ("pulses", 2400), SECOND_CARD, *CARD, ("expect", {"remaining": 2600})),
        at_limit=(
            *opened(ceiling=1000),
            ("pulses", 2000),
            SECOND_CARD,
            *CARD,
            ("expect", {"code": codes.OK, "remaining": 3000}),
        ),
        over=(
            *opened(ceiling=1000),
            ("pulses", 1999),
            SECOND_CARD,
            ("insert",),
            shows(codes.CEILING, display.SYMBOL_VALVE_OPEN, display.BEEP_REFUSED),
            ("remove",),
            ("expect", {"code": codes.CEILING, "remaining": 1001, "counter": TRIES_FULL}),
            RUNS,
            ("pulses", 1),
            *CARD,
            ("expect", {"code": codes.OK, "remaining": 3000}),
        ),
        cut=(
            *opened(ceiling=1000),
            ("pulses", 2000),
            SECOND_CARD,
            (
                "cut",
                CARD,
                (*CARD, ("expect", {"code": {codes.OK, codes.REPEAT}, "remaining": 3000, "bought_total": 5000})),
            ),
        ),
    ),
    "over-flow": flow_guard(
        guards.OVER_FLOW,
        SHUT_OVER_FLOW,
        codes.OVER_FLOW,
        (20 * SECOND, 9000, 8999),
        60 * SECOND,
        "the last that does nothing: gaps as short as the size of meter allows",
    ),
    "over-flow by card": flow_guard(
        guards.OVER_FLOW,
        SHUT_OVER_FLOW,
        codes.OVER_FLOW,
        (8999, 5000, 4999),
        60 * SECOND,
        "the last that does nothing: gaps as short as the card allows, shorter than the setting",
        order={"over_flow_seconds": 5},
    ),
    "large flow": flow_guard(
        guards.LARGE_FLOW,
        SHUT_LARGE_FLOW,
        codes.LARGE_FLOW,
        (9000, 2000, 1999),
        10 * SECOND,
        "the last that does nothing: gaps as short as an appliance's",
        over_flow_for=0,
    ),
    "small leak": flow_guard(
        guards.SMALL_FLOW,
        SHUT_SMALL_FLOW,
        codes.SMALL_FLOW,
        (60 * SECOND, 599_999, 600_000),
        5 * HOUR,
        "the last that does nothing: gaps a millisecond shorter than a leak's",
        long_flow_minutes=0,
    ),
    "long flow": flow_guard(
        guards.LONG_FLOW,
        SHUT_LONG_FLOW,
        codes.LONG_FLOW,
        (40 * MINUTE, 30 * MINUTE + 1, 30 * MINUTE),
        4 * HOUR,
        "the last that does nothing: a pause that is just one between any two pulses",
        small_flow_hours=0,
    ),
    "long idle": Row(
        "the last that does nothing: a second less than the days",
        normal=(
            *guarded(),
            ("wait", 24 * HOUR),
            ("steady", 9000, 2),
            ("wait", 24 * HOUR),
            ("key",),
            ("expect", {"moves": 1}),
        ),
        at_limit=(
            *guarded(),
            ("first", 9000),
            ("wait", 48 * HOUR - SECOND),
            ("key",),
            ("wait", 20 * SECOND),
            ("expect", {"moves": 1, **IS_OPEN}),
            ("told", {"exercises": 0}),
        ),
        over=(
            *guarded(),
            ("first", 9000),
            ("wait", 48 * HOUR - SECOND),
            ("log", events.GUARD, []),
            ("wait", 2 * SECOND),
            ("log", events.GUARD, [guards.IDLE]),
            ("wait", HOUR),
            ("expect", {"moves": 1, "reasons": 0, **IS_OPEN}),
            ("key",),
            ("wait", 20 * SECOND),
            ("expect", {"moves": 3, "reasons": 0, **IS_OPEN}),
            ("told", {"exercises": 1}),
            ("log", events.EXERCISED, [1]),
            ("key",),
            ("wait", 20 * SECOND),
            ("expect", {"moves": 3}),
            ("first", 9000),
            ("wait", 48 * HOUR + SECOND),
            *CARD,
            ("wait", 20 * SECOND),
            ("expect", {"moves": 5, **IS_OPEN}),
            ("told", {"exercises": 2}),
        ),
        cut=(
            *guarded(),
            ("wait", 47 * HOUR),
            (
                "cut",
                (("wait", 2 * HOUR), ("key",), ("wait", 20 * SECOND)),
                (
                    ("key",),
                    RUNS,
                    ("first", 9000),
                    ("wait", 48 * HOUR + SECOND),
                    ("key",),
                    ("wait", 20 * SECOND),
                    RUNS,
                    ("told", {"exercises": {1, 2}}),
                ),
            ),
        ),
    ),
    "flow past the valve": Row(
        "the last that does nothing: as many pulses as may pass",
        normal=(*guarded(), ALARM, SETTLED, ("wait", HOUR), holds(SHUT_ALARM), ("log", events.GUARD, [])),
        at_limit=(
            *guarded(),
            ALARM,
            SETTLED,
            ("happens", "leak", True),
            ("gas", 2000, HOUR),
            SETTLED,
            ("expect", {"reasons": SHUT_ALARM, "valve": SHUT, "moves": 2, "remaining": 498}),
        ),
        over=(
            *guarded(),
            ALARM,
            SETTLED,
            ("happens", "leak", True),
            ("gas", 3000, HOUR),
            ("wait", SECOND),
            ("expect", {"reasons": SHUT_ALARM | SHUT_PAST_VALVE, "valve": SHUTTING, "remaining": 497}),
            shows(codes.PAST_VALVE, LOW | display.SYMBOL_FLOW),
            ("log", events.GUARD, [guards.PAST_VALVE]),
            SETTLED,
            ("gas", 20_000, HOUR),
            ("expect", {"valve": SHUT, "remaining": 477}),
            ("happens", "leak", False),
            ("key",),
            RUNS,
            ("log", events.GUARD, [guards.PAST_VALVE]),
            # The next time it shuts this begins anew.
            ("steady", 20 * SECOND, 10),
            ("pulses", 467),
            SETTLED,
            holds(SHUT_ZERO),
            ("pulses", 2),
            SETTLED,
            holds(SHUT_ZERO),
            ("pulses", 1),
            SETTLED,
            ("expect", {"reasons": SHUT_ZERO | SHUT_PAST_VALVE, "remaining": -3}),
            ("log", events.GUARD, [guards.PAST_VALVE]),  # once until a card is served
        ),
        cut=(
            *guarded(),
            ALARM,
            SETTLED,
            (
                "cut",
                (("happens", "leak", True), ("gas", 3000, HOUR), SETTLED),
                (
                    ("happens", "leak", True),
                    ("gas", 3000, HOUR),
                    SETTLED,
                    ("expect", {"reasons": SHUT_ALARM | SHUT_PAST_VALVE, "valve": SHUT}),
                    ("happens", "leak", False),
                    ("key",),
                    RUNS,
                ),
            ),
        ),
    ),
    "valve stuck": broken(
        "jam",
        (("jam", True),),
        26 * SECOND,
        30 * SECOND,
        (("log", events.VALVE_FAULT, [1]), ("expect", {"status": SHUT_ALARM | STATUS_VALVE_FAULT})),
        "the last that does nothing: free again with just the time left to shut at the third try",
    ),
    "valve half-way": broken(
        "half-way",
        (("happens", "half-way", True),),
        28 * SECOND,
        30 * SECOND,
        (("log", events.VALVE_FAULT, [1]), ("panel", {"text": "E31"})),
        "the last that does nothing: free again with just the time left for the other half at the third try",
    ),
    "shut switch dead": broken(
        "shut switch dead",
        (("happens", "shut switch dead", True),),
        30 * SECOND,
        30 * SECOND,
        (("expect", {"flows": 0}), ("log", events.VALVE_FAULT, [1])),
        "the last that does nothing: it closes at the end of the third try",
    ),
    "motor without current": broken(
        "motor dead",
        (("happens", "motor dead", True),),
        600,
        600,
        (("expect", {"flows": 1}), ("log", events.VALVE_FAULT, [2])),
        "the last that does nothing: there is current again at the end of the third start",
    ),
    "open switch dead": Row(
        "the last that does nothing: it closes at the end of the third try",
        normal=(*EMPTY_KEY, ("battery", 3600), ("wait", 4000), ("expect", {"failures": 0, "reasons": 0, **IS_OPEN})),
        at_limit=(
            *EMPTY_KEY,
            ("happens", "open switch dead", True),
            ("battery", 3600),
            ("wait", 38 * SECOND - 100),
            ("happens", "open switch dead", False),
            ("expect", {"failures": 2, "reasons": 0, **IS_OPEN}),
            ("log", events.VALVE_FAULT, []),
        ),
        over=(
            *EMPTY_KEY,
            ("happens", "open switch dead", True),
            ("battery", 3600),
            # Each try is driven shut again before the next: three of ten seconds, and three of four.
            ("late", STATUS_VALVE_FAULT, 42 * SECOND),
            ("expect", {"valve": STUCK, "flows": 0, "failures": 3}),
            ("log", events.VALVE_FAULT, [1]),
            ("happens", "open switch dead", False),
            ("wait", HOUR),
            ("expect", {"valve": STUCK, "flows": 0}),
            ("key",),
            RUNS,
        ),
        cut=(
            *EMPTY_KEY,
            ("happens", "open switch dead", True),
            (
                "cut",
                (("battery", 3600), ("wait", 45 * SECOND)),
                (("expect", {"status": STATUS_KEY_NEEDED}), ("key",), RUNS),
            ),
        ),
    ),
    "shut switch held": Row(
        "the last that does nothing: as many pulses as may pass a valve that says it is shut",
        normal=(*guarded(), ALARM, SETTLED, holds(SHUT_ALARM), ("log", events.GUARD, [])),
        at_limit=(
            *guarded(),
            ("happens", "shut switch held", True),
            ALARM,
            ("wait", SECOND),
            ("gas", 2000, HOUR),
            ("expect", {"reasons": SHUT_ALARM, "valve": SHUT, "flows": 1}),
        ),
        over=(
            *guarded(),
            ("happens", "shut switch held", True),
            ALARM,
            ("wait", SECOND),
            ("gas", 3000, HOUR),
            ("wait", SECOND),
            ("expect", {"reasons": SHUT_ALARM | SHUT_PAST_VALVE, "valve": SHUTTING}),
            shows(codes.PAST_VALVE, LOW | display.SYMBOL_FLOW),
            SETTLED,
            # Driven on whatever the switch says: no gas now.
            ("expect", {"reasons": SHUT_ALARM | SHUT_PAST_VALVE, "remaining": 497, **IS_SHUT}),
            ("happens", "shut switch held", False),
            ("key",),
            RUNS,
        ),
        cut=(
            *guarded(),
            (
                "cut",
                (("happens", "shut switch held", True), ALARM, ("wait", SECOND), ("gas", 3000, HOUR), SETTLED),
                (("expect", {"reasons": {0, SHUT_ALARM, SHUT_ALARM | SHUT_PAST_VALVE}}), ("key",), ("key",), RUNS),
            ),
        ),
    ),
    "valve slow": Row(
        "the last that does nothing: eight seconds from end to end",
        normal=(*opened(), ALARM, SETTLED, ("told", {"travel_ms": 4000}), ("log", events.VALVE_SLOW, [])),
        # The motor is looked at every 50 ms, the first time when the card's bus lets it.
        at_limit=(
            *opened({"travel_ms": 7960}),
            ALARM,
            SETTLED,
            ("told", {"travel_ms": 8000}),
            ("log", events.VALVE_SLOW, []),
        ),
        over=(
            *opened({"travel_ms": 8001}),
            ALARM,
            SETTLED,
            ("log", events.VALVE_SLOW, [8031, 8050]),
            ("expect", {"failures": 0}),
        ),
        cut=(
            *opened({"travel_ms": 9000}),
            ("cut", (ALARM, SETTLED), (("expect", {"reasons": {0, SHUT_ALARM}}), ("key",), RUNS)),
        ),
    ),
    "valve too slow": Row(
        "the last that does nothing: ten seconds from end to end",
        normal=(*opened(), ("expect", {"failures": 0})),
        at_limit=(*opened({"travel_ms": 10_000}), ALARM, SETTLED, ("expect", {"failures": 0, "moves": 2, **IS_SHUT})),
        over=(
            ("build", {"travel_ms": 10_050}),
            ("card", "opening", {"bought_total": 3000}),
            *CARD,
            ("expect", {"valve": STUCK, "flows": 0, "failures": 3, "status": STATUS_VALVE_FAULT}),
            ("key", 3000),
            ("wait", 3000),
            ("panel", {"text": "E31", "symbols": display.SYMBOL_FAULT}),
            ("log", events.VALVE_FAULT, [1]),
        ),
        cut=(
            ("build", {"travel_ms": 12_000}),
            ("card", "opening", {"bought_total": 3000}),
            (
                "cut",
                CARD,
                (*CARD, ("expect", {"code": {codes.OK, codes.REPEAT}, "valve": STUCK, "flows": 0, "remaining": 3000})),
            ),
        ),
    ),
    "magnet": happening("magnet", guards.MAGNET, SHUT_MAGNET, codes.MAGNET, {"magnet_events": 1}),
    "cover": happening("cover", guards.COVER, SHUT_COVER, codes.COVER_OPEN, {}),
    "battery low": Row(
        "the last that does nothing: just the level",
        normal=(*guarded(), ("battery", 3500), ("expect", {"status": STATUS_VALVE_OPEN}), ("log", events.BATTERY, [])),
        at_limit=(
            *guarded(),
            ("battery", 3400),
            ("expect", {"status": STATUS_VALVE_OPEN}),
            ("log", events.BATTERY, []),
        ),
        over=(
            *guarded(),
            ("battery", 3399),
            ("expect", {"status": STATUS_VALVE_OPEN | STATUS_BATTERY_LOW, "reasons": 0, **IS_OPEN}),
            ("key",),
            ("panel", {"symbols": display.SYMBOL_VALVE_OPEN | display.SYMBOL_BATTERY}),
            ("battery", 3380),
            ("log", events.BATTERY, [169]),
            ("report", {"battery": 169}),
            ("key", 3000),
            ("wait", 3000),
            ("panel", {"text": "E41"}),
            # Well again a tenth of a volt above the level, so that one at the level does not fill the log.
            ("battery", 3499),
            ("expect", {"status": STATUS_VALVE_OPEN | STATUS_BATTERY_LOW}),
            ("log", events.BATTERY, [169]),
            ("battery", 3500),
            ("expect", {"status": STATUS_VALVE_OPEN}),
        ),
        cut=(
            *guarded(),
            (
                "cut",
                (("battery", 3399),),
                (("key",), RUNS, ("battery", 3399), ("expect", {"status": STATUS_VALVE_OPEN | STATUS_BATTERY_LOW})),
            ),
        ),
    ),
    "battery empty": Row(
        "the last that does nothing but warn: just the level",
        normal=(*guarded(), ("battery", 3300), SETTLED, ("expect", {"reasons": 0, **IS_OPEN})),
        at_limit=(*guarded(), ("battery", 3100), SETTLED, ("expect", {"reasons": 0, **IS_OPEN})),
        over=(
            *guarded(),
            ("battery", 3099),
            shows(codes.BATTERY_EMPTY, display.SYMBOL_BATTERY),
            SETTLED,
            holds(SHUT_BATTERY),
            ("log", events.BATTERY, [154]),
            ("key",),
            holds(SHUT_BATTERY),
            ("battery", 3499),  # recovered, not new
            ("key",),
            holds(SHUT_BATTERY),
            ("wait", MINUTE),
            ("battery", 3500),
            ("wait", MINUTE),
            ("expect", {"reasons": 0, "status": STATUS_KEY_NEEDED, **IS_SHUT}),
            ("key",),
            RUNS,
        ),
        cut=(
            *guarded(),
            ("cut", (("battery", 3099), SETTLED), (("battery", 3099), ("key",), holds(SHUT_BATTERY))),
        ),
    ),
    "battery pulled": Row(
        "the last that does nothing: between two edges, a thousandth before the pulse",
        normal=(
            *opened(),
            ("steady", 9000, 20),
            ("power_off", False),
            ("power_on",),
            ("wait", 2 * MINUTE),
            ("expect", {"register": 20, "remaining": 2980, "status": STATUS_KEY_NEEDED, **IS_SHUT}),
            ("told", {"boots": 2, "power_failures": 1, "brown_outs": 0}),
            ("key",),
            RUNS,
        ),
        at_limit=(
            *opened(),
            ("gas", 999, HOUR),
            ("power_off", False),
            ("power_on",),
            ("expect", {"register": 0, "index_milli": 999}),
            SETTLED,
            ("key",),
            ("gas", 1, MINUTE),
            ("expect", {"register": 1, "index": INDEX + 1}),
        ),
        over=(
            *opened(),
            ("gas", 1000, HOUR),
            ("power_off", False),
            ("power_on",),
            ("expect", {"register": 1, "index": INDEX + 1}),
            SETTLED,
            ("key",),
            ("gas", 1000, MINUTE),
            ("expect", {"register": 2, "index": INDEX + 2, "remaining": 2998}),
        ),
        cut=(
            *opened(),
            ("gas", 1500, HOUR),
            # Pulled again while it starts and while the valve is on its way.
            (
                "cut",
                (("power_off", False), ("power_on",), SETTLED),
                (("key",), RUNS, ("gas", 500, HOUR), ("expect", {"register": 2, "index": INDEX + 2})),
            ),
        ),
    ),
    "battery pulled with a warning": Row(
        "the first that does: a warning that has no event to write for, the valve being shut already",
        normal=(
            *opened(),
            ("gas", 1500, HOUR),
            ("power_off", True),
            ("place", 0),
            ("power_on",),
            ("expect", {"register": 1, "reasons": 0, "status": STATUS_KEY_NEEDED, **IS_SHUT}),
            ("told", {"boots": 2, "power_failures": 0}),
            ("log", events.POWER_FAILING, [0]),
        ),
        at_limit=(
            *opened(),
            ALARM,
            SETTLED,
            ("power_off", True),
            ("power_on",),
            holds(SHUT_ALARM),
            ("log", events.POWER_FAILING, [0]),
            ("told", {"boots": 2, "power_failures": 0}),
        ),
        over=(
            *opened(),
            # In the middle of a flow, after any call: what has been counted is kept.
            ("fails", 30, (("gas", 100_000, HOUR),)),
            ("place", 0),
            ("power_on",),
            ("whole",),
            ("expect", IS_SHUT),
            ("log", events.POWER_FAILING, [0]),
            ("key",),
            RUNS,
        ),
        cut=(
            *opened(),
            ("gas", 1500, HOUR),
            (
                "cut",
                (("happens", "supply dips", True),),
                (("expect", {"register": 1, "reasons": 0}), ("key",), ("gas", 500, HOUR), ("expect", {"register": 2})),
            ),
        ),
    ),
    "brown-out": Row(
        "the first that does: back at once",
        normal=(*opened(), ("gas", 1500, HOUR), RUNS, ("told", {"brown_outs": 0})),
        at_limit=(
            *opened(),
            ("happens", "supply dips", True),
            ("happens", "supply dips", False),
            ("told", {"brown_outs": 1, "boots": 1}),
            ("log", events.BROWN_OUT, [1]),
            # Somebody was there less than a minute ago; who comes afterwards opens.
            ("wait", 2 * MINUTE),
            ("expect", {"status": STATUS_KEY_NEEDED, **IS_SHUT}),
            ("key",),
            RUNS,
        ),
        over=(
            *opened(),
            ("wait", MINUTE),
            ("gas", 1500, HOUR),
            ("happens", "supply dips", True),
            holds(SHUT_POWER),
            ("insert",),
            ("expect", {"code": codes.FAULT}),
            ("remove",),
            ("wait", MINUTE),
            ("happens", "supply dips", False),
            ("wait", MINUTE),
            ("expect", {"reasons": 0, "register": 1, "status": STATUS_KEY_NEEDED, **IS_SHUT}),
            ("key",),
            ("gas", 500, HOUR),
            ("expect", {"register": 2, "index_milli": 0, "reasons": 0, **IS_OPEN}),
            ("told", {"brown_outs": 1, "boots": 1, "power_failures": 0}),
        ),
        cut=(
            *opened(),
            ("gas", 1500, HOUR),
            (
                "cut",
                (("happens", "supply dips", True), ("happens", "supply dips", False)),
                (
                    ("expect", {"register": 1, "reasons": 0}),
                    ("told", {"brown_outs": {0, 1}}),
                    ("key",),
                    RUNS,
                    ("gas", 500, HOUR),
                    ("expect", {"register": 2}),
                ),
            ),
        ),
    ),
    "clock": Row(
        "the last that does nothing: a millisecond less than a minute",
        normal=(
            *opened(),
            ("clock", TIME + 1440),
            ("again", 4, (("key",),)),
            ("panel", {"text": "02-40"}),  # eight hours ahead of UTC
            ("report", {"time": TIME + 1440}),
            ("key", 3000),
            ("newest", {"kind": events.SELF_TEST, "time": TIME + 1440}),
        ),
        at_limit=(*opened(), ("clock", TIME), ("wait", MINUTE - 1), ("report", {"time": TIME})),
        over=(
            *opened(),
            ("clock", TIME),
            ("wait", MINUTE),
            ("report", {"time": TIME + 1}),
            ("wait", 90 * MINUTE),
            ("again", 5, (("key",),)),  # the first one lights it
            ("panel", {"text": "04-11"}),
            ("report", {"time": TIME + 91}),
            ("clock", TIME_MAX),
            ("wait", 5 * MINUTE),
            ("report", {"time": TIME_MAX}),
            ("clock", TIME_MAX + 1),
            ("report", {"time": 0}),
        ),
        cut=(
            *opened(),
            ("power_off", False),
            ("clock", TIME + 777),
            ("power_on",),
            ("report", {"time": TIME + 777}),
            ("newest", {"time": TIME + 777}),
        ),
    ),
    "event log": Row(
        "the last that does nothing: the ring is full, the first entry still there",
        normal=(
            *opened(),
            ("oldest", 1),
            ("pulses", 700),
            ("wait", 7 * MINUTE),
            ("key", 3000),
            ("newest", {"kind": events.SELF_TEST, "detail": 0, "register": 700, "time": TIME + 7}),
            ("ported",),
        ),
        at_limit=(("build", {}), ("again", EVENT_PLACES - 1, RESTART), ("oldest", 1), ("ported",)),
        over=(
            ("build", {}),
            ("again", EVENT_PLACES, RESTART),
            ("oldest", 2),
            ("newest", {"number": EVENT_PLACES + 1, "kind": events.BOOT, "detail": EVENT_PLACES + 1}),
            ("ported",),
        ),
        cut=(
            *opened(),
            (
                "cut",
                (("key", 3000), ("key", 3000)),
                (("log", events.BOOT, [1, 2]), ("ported",), ("key", 3000), ("newest", {"kind": events.SELF_TEST})),
            ),
        ),
    ),
    "end of the register": Row(
        "the last that does nothing: one number left",
        normal=(("build", {"register": TOTAL_MAX - 10}), *NINE, ("pulses", 5), SETTLED, RUNS),
        at_limit=(
            ("build", {"register": TOTAL_MAX - 9}),
            *NINE,
            ("pulses", 8),
            SETTLED,
            ("expect", {"register": TOTAL_MAX - 1, "remaining": 1, "reasons": 0, **IS_OPEN}),
        ),
        over=(
            ("build", {"register": TOTAL_MAX - 9}),
            *NINE,
            ("pulses", 9),
            shows(codes.REGISTER_END, LOW, display.BEEP_LOW),
            SETTLED,
            ("expect", {"register": TOTAL_MAX, "reasons": SHUT_REGISTER_END | SHUT_ZERO, **IS_SHUT}),
            ("pulses", 3),
            ("expect", {"register": TOTAL_MAX, "remaining": 0}),
            ("told", {"uncounted": 3}),
            ("log", events.REGISTER_END, [0]),
        ),
        cut=(
            ("build", {"register": TOTAL_MAX - 9}),
            *NINE,
            (
                "cut",
                (("pulses", 9), SETTLED),
                (("key",), ("expect", {"register": TOTAL_MAX, "reasons": SHUT_REGISTER_END | SHUT_ZERO, **IS_SHUT})),
            ),
        ),
    ),
    "pages": Row(
        "the last that does nothing: a page stands for a millisecond less than ten seconds",
        normal=(
            *opened(),
            ("pulses", 1234),
            ("key",),
            ("panel", {"text": "17.34"}),
            *(
                step
                for text in ("30.00", "N    1", "02-40", "17.66", "17.34")
                for step in (("key",), ("panel", {"text": text}))
            ),
        ),
        at_limit=(*opened(), ("wait", MINUTE), ("key",), ("key",), ("wait", 9999), ("panel", {"text": "5.00"})),
        over=(*opened(), ("wait", MINUTE), ("key",), ("key",), ("wait", 10_000), ("panel", {"text": "30.00"})),
        cut=(
            *opened(),
            ("key",),
            ("key",),
            ("power_off", False),
            ("power_on",),
            SETTLED,
            ("key",),
            ("panel", {"text": "5.00"}),
        ),
    ),
    "display goes dark": Row(
        "the last that does nothing: a millisecond less than a minute",
        normal=(
            *opened(),
            ("wait", HOUR),
            ("panel", {"text": "", "symbols": display.SYMBOL_VALVE_OPEN}),
            ("steady", 9000, 20),
            ("panel", {"text": ""}),
            ("key",),
            ("panel", {"text": "29.80"}),
        ),
        at_limit=(*opened(), ALARM, SETTLED, ("wait", MINUTE - 1 - 10 * SECOND), ("panel", {"text": "5.00"})),
        over=(*opened(), ALARM, SETTLED, ("wait", MINUTE - 10 * SECOND), ("panel", {"text": "", "symbols": LOW})),
        cut=(
            *opened(),
            ("wait", HOUR),
            ("power_off", False),
            ("power_on",),
            ("wait", HOUR),
            ("key",),
            ("panel", {"text": "30.00"}),
            ("wait", 2 * MINUTE),
            ("panel", {"text": ""}),
        ),
    ),
    "self-test": Row(
        "the last that does nothing: the key held for a millisecond less than three seconds",
        normal=(
            *opened(),
            ("key", 3000),
            (
                "panel",
                {"text": "88888888", "symbols": display.ALL_SYMBOLS, "pattern": display.BEEP_TEST},
            ),
            ("wait", 2999),
            ("panel", {"text": "88888888"}),
            ("wait", 1),
            ("panel", {"text": "E00", "symbols": display.SYMBOL_VALVE_OPEN}),
            ("wait", 10_000),
            ("panel", {"text": "30.00"}),
            ("log", events.SELF_TEST, [0]),
        ),
        at_limit=(*opened(), ("key", 2999), ("panel", {"text": "5.00"}), ("log", events.SELF_TEST, [])),
        over=(
            *guarded(),
            ("happens", "cover", True),
            ("key", 3000),
            ("wait", 3000),
            ("panel", {"text": "E34"}),
            ("log", events.SELF_TEST, [-codes.COVER_OPEN]),
            ("expect", {"register": 0, "remaining": 3000}),
        ),
        cut=(
            *opened(),
            ("cut", (("key", 3000),), (("key", 3000), ("log", events.SELF_TEST, [0]), ("key",), RUNS)),
        ),
    ),
    "codes": Row(
        "the first that does: no cause but that no card has bound the meter",
        normal=(*opened(), ("key",), ("wait", 10_000), ("panel", {"text": "30.00", "symbols": 1})),
        at_limit=(
            ("build", {}),
            ("wait", MINUTE),
            ("key",),
            ("panel", {"text": "E11", "symbols": 0}),
            *CARD,
            ("expect", {"code": codes.SHAPE}),
            ("panel", {"text": "E04", "pattern": display.BEEP_REFUSED}),
            ("wait", 10_000),
            ("panel", {"text": "E11"}),
        ),
        over=(
            # The worse cause goes before the other; what is over gives way.
            *guarded(),
            ("happens", "cover", True),
            ("panel", {"text": "E34"}),
            ("happens", "magnet", True),
            ("panel", {"text": "E33"}),
            ("battery", 3000),
            ("panel", {"text": "E35"}),
            ("battery", 3600),
            ("happens", "magnet", False),
            ("key",),
            ("wait", 10_000),
            ("panel", {"text": "E34"}),
            ("happens", "cover", False),
            holds(SHUT_COVER),
            ("key",),
            ("wait", 10_000),
            ("panel", {"text": "30.00", "symbols": display.SYMBOL_VALVE_OPEN}),
        ),
        cut=(
            *guarded(),
            ("happens", "cover", True),
            ("power_off", False),
            ("power_on",),
            ("panel", {"text": "E34", "symbols": display.SYMBOL_TAMPER}),
            ("lose",),
            ("power_on",),
            ("panel", {"text": "E28", "symbols": display.SYMBOL_FAULT}),
        ),
    ),
    "window": Row(
        "the last that does nothing less: the cause is over a millisecond before the minute is",
        normal=(*EMPTY_KEY, ("wait", SECOND), ("battery", 3600), ("wait", 5 * SECOND), RUNS),
        at_limit=(
            *EMPTY_KEY,
            ("wait", MINUTE - 1),
            ("battery", 3600),
            ("wait", 5 * SECOND),
            RUNS,
            # The same after a card, whose visit is a part of the minute.
            ("battery", 3000),
            SETTLED,
            ("wait", MINUTE),
            *CARD,
            ("expect", {"code": codes.REPEAT, **IS_SHUT}),
            ("wait", MINUTE - SECOND),
            ("battery", 3600),
            ("wait", 5 * SECOND),
            RUNS,
        ),
        over=(
            *EMPTY_KEY,
            ("wait", MINUTE),
            ("battery", 3600),
            ("wait", HOUR),
            ("expect", {"status": STATUS_KEY_NEEDED, **IS_SHUT}),
            ("battery", 3000),
            *CARD,
            ("wait", MINUTE),
            ("battery", 3600),
            ("wait", HOUR),
            ("expect", {"status": STATUS_KEY_NEEDED, **IS_SHUT}),
            *CARD,
            RUNS,
        ),
        cut=(
            *EMPTY_KEY,
            (
                "cut",
                (("battery", 3600), ("wait", 5 * SECOND)),
                (("expect", {"status": STATUS_KEY_NEEDED}), ("key",), RUNS),
            ),
        ),
    ),
    "never by itself": Row(
        "the first that does: only the key, not the magnet's going within the minute of the one before",
        normal=(
            *opened(),
            ("power_off", True),
            ("power_on",),
            ("wait", 24 * HOUR),
            ("expect", {"status": STATUS_KEY_NEEDED, **IS_SHUT}),
        ),
        at_limit=(
            *guarded(),
            ("happens", "magnet", True),
            ("key",),
            ("wait", SECOND),
            ("happens", "magnet", False),
            ("wait", HOUR),
            holds(SHUT_MAGNET),
            ("key",),
            RUNS,
        ),
        over=(
            # Days without gas and a valve that is shut: nothing moves.
            *guarded(),
            ALARM,
            SETTLED,
            ("wait", 72 * HOUR),
            ("expect", {"reasons": SHUT_ALARM, "moves": 2, **IS_SHUT}),
            ("happens", "supply dips", True),
            ("happens", "supply dips", False),
            ("wait", HOUR),
            ("expect", {"reasons": SHUT_ALARM, "moves": 2, **IS_SHUT}),
        ),
        cut=(
            *guarded(),
            ("happens", "magnet", True),
            ("key",),
            (
                "cut",
                (("happens", "magnet", False), ("key",)),
                (("expect", {"reasons": {0, SHUT_MAGNET}}), ("key",), RUNS),
            ),
        ),
    ),
    "lockout": Row(
        "the first that does: the eighth wrong card is judged, and is the last",
        normal=(*opened(), SECOND_CARD, *CARD, ("expect", {"code": codes.OK, "tokens": 8})),
        at_limit=(
            *opened(),
            *(FORGED, *CARD) * 8,
            ("expect", {"code": codes.MAC, "tokens": 0, "counter": TRIES_FULL}),
        ),
        over=(
            *opened(),
            *(FORGED, *CARD) * 9,
            ("expect", {"code": codes.LOCKED_OUT, "tokens": 0}),
            ("panel", {"text": "L 30", "pattern": display.BEEP_REFUSED}),
            SECOND_CARD,
            *CARD,
            ("expect", {"code": codes.LOCKED_OUT, "remaining": 3000, **IS_OPEN}),
            ("wait", 30 * MINUTE - 1),
            ("expect", {"tokens": 0}),
            ("wait", 1),
            ("expect", {"tokens": 1}),
            *CARD,
            ("expect", {"code": codes.OK, "remaining": 5000, "tokens": 1}),
        ),
        cut=(
            *opened(),
            FORGED,
            *CARD,
            FORGED,
            (
                "cut",
                CARD,
                (
                    # Forged cards still left to judge: no more than before.
                    ("expect", {"tokens": {6, 7}}),
                    *(FORGED, *CARD) * 7,
                    FORGED,
                    *CARD,
                    ("expect", {"code": codes.LOCKED_OUT, "tokens": 0, "bought_total": 3000}),
                ),
            ),
        ),
    ),
    "setting card": Row(
        "the last that does nothing: a service number that is the stored one",
        normal=(
            ("build", {}),
            *set_by_card(1, GUARD_LIMITS),
            ("log", events.SET, [SET_GUARDS]),
            *opened()[1:],
            ("first", 100 * SECOND),
            ("steady", 10 * SECOND, 60),
            RUNS,
            ("log", events.GUARD, []),
            # Of a bound meter no card changes them.
            *set_by_card(2, {}, codes.NOT_UNBOUND),
            ("gas", 30_000, 30 * SECOND),
            holds(SHUT_LARGE_FLOW),
        ),
        at_limit=(
            ("build", {}),
            *set_by_card(5, {}),
            *set_by_card(5, GUARD_LIMITS, codes.REPEAT),
            *set_by_card(4, GUARD_LIMITS, codes.OLDER),
            ("log", events.SET, [SET_GUARDS]),
            *opened()[1:],
            ("gas", 30_000, 30 * SECOND),
            RUNS,
            ("log", events.GUARD, []),
        ),
        over=(
            ("build", {}),
            *set_by_card(5, {}),
            *set_by_card(6, GUARD_LIMITS),
            ("log", events.SET, [SET_GUARDS, SET_GUARDS]),
            *RESTART,
            *opened()[1:],
            ("gas", 30_000, 30 * SECOND),
            holds(SHUT_LARGE_FLOW),
            ("log", events.GUARD, [guards.LARGE_FLOW]),
        ),
        cut=(
            ("build", {}),
            ("card", "setting", {"service_number": 1, "what": SET_GUARDS, **GUARD_LIMITS}),
            (
                "cut",
                CARD,
                (
                    *CARD,
                    ("expect", {"code": {codes.OK, codes.REPEAT}}),
                    *opened()[1:],
                    ("gas", 30_000, 30 * SECOND),
                    holds(SHUT_LARGE_FLOW),
                ),
            ),
        ),
    ),
}


REQUIRED = {
    *("count", "bounce", "reversal", "reed A cut", "reed B cut", "both reeds held", "debit"),
    *("low-gas alarm", "zero", "overdraft", "ceiling", "end of the register"),
    *("over-flow", "over-flow by card", "large flow", "small leak", "long flow", "long idle", "flow past the valve"),
    *("valve stuck", "valve half-way", "valve slow", "valve too slow", "motor without current"),
    *("open switch dead", "shut switch dead", "shut switch held"),
    *(
        "magnet",
        "cover",
        "battery low",
        "battery empty",
        "battery pulled",
        "battery pulled with a warning",
        "brown-out",
    ),
    *("clock", "event log", "pages", "display goes dark", "self-test", "codes", "window", "never by itself", "lockout"),
    "setting card",
}


def _cases() -> list[Any]:
    found = []
    for name, row in ROWS.items():
        for case, steps in zip(CASES, row[1:], strict=True):
            found.append(pytest.param(steps, case == CASES[3], id=f"{name}-{case}"))
    return found


def _flat(steps: Steps) -> Iterator[Step]:
    for step in steps:
        yield step
        for part in step[1:]:
            if isinstance(part, tuple):
                yield from _flat(part)


@pytest.fixture(scope="module")
def opened_targets() -> Iterator[dict[str, Target]]:
    found: dict[str, Target] = {}
    yield found
    for target in found.values():
        target.close()


@pytest.fixture
def target(target_name: str, opened_targets: dict[str, Target]) -> Target:
    if target_name not in opened_targets:
        opened_targets[target_name] = open_target(target_name)
    return opened_targets[target_name]


@pytest.mark.parametrize(("steps", "recorded"), _cases())
def test_meter_does_what_is_demanded(steps: Steps, recorded: bool, target: Target) -> None:
    recorded |= any(step[0] in ("fails", "place") for step in steps)
    meter = RecordedMeter(target) if recorded else MeterUnderTest(target)
    Rig(meter).play(steps)
    fired = meter.fired()
    silent = {step[1] for step in _flat(steps) if step[0] == "happens" and not fired >> HAPPENINGS[step[1]] & 1}
    assert not silent, "without effect"


def test_no_demand_lacks_its_row() -> None:
    assert ROWS.keys() == REQUIRED
    assert all(steps for row in ROWS.values() for steps in row[1:])
    for name, row in ROWS.items():
        assert row.limit.startswith(("the last that does nothing", "the first that does")), name


def test_table_names_all_that_can_happen_and_all_that_can_be_told() -> None:
    every = [step for row in ROWS.values() for steps in row[1:] for step in _flat(steps)]
    assert {step[1] for step in every if step[0] == "happens"} == HAPPENINGS.keys()
    logged = [step for step in every if step[0] == "log" and step[2]]
    assert {detail for step in logged if step[1] == events.GUARD for detail in step[2]} == set(range(guards.COVER + 1))
    shown = {step[1]["text"] for step in every if step[0] == "panel" and "text" in step[1]}
    # No part of the bench makes a fault.
    assert {f"E{-code:02d}" for _, code in display.STANDING if code != codes.FAULT} <= shown


# ---------------------------------------------------------------------- batches, and what guards are told to do

# Limits, the order's fields, a gap that trips, how many of it, how many of these may come as one batch.
BATCHES: dict[str, tuple[dict[str, int], dict[str, int], int, int, int]] = {
    "over-flow": ({}, {}, 8000, 8, 6),
    "over-flow by card": ({}, {"over_flow_seconds": 5}, 4000, 15, 13),
    "large flow": ({"over_flow_for": 0}, {}, 1000, 10, 8),
    "small leak": ({"long_flow_minutes": 0}, {}, 900 * SECOND, 20, 18),
    "long flow": ({"small_flow_hours": 0}, {}, 400 * SECOND, 36, 31),
    "none": ({}, {}, 40 * MINUTE, 30, 30),
    "alarm": ({}, {"alarm": 2988}, 100 * SECOND, 12, 10),
    "zero": ({}, {"bought_total": 12, "alarm": 0}, 100 * SECOND, 12, 12),
}
TRIPPED = {
    "over-flow": SHUT_OVER_FLOW,
    "over-flow by card": SHUT_OVER_FLOW,
    "large flow": SHUT_LARGE_FLOW,
    "small leak": SHUT_SMALL_FLOW,
    "long flow": SHUT_LONG_FLOW,
    "none": 0,
    "alarm": SHUT_ALARM,
    "zero": SHUT_ZERO,
}


@pytest.mark.parametrize("name", BATCHES)
def test_batch_gives_the_same_as_pulse_by_pulse(name: str, target: Target) -> None:
    limits, order, gap, count, most = BATCHES[name]
    found = []
    for batch in (1, 2, 3, most):
        meter = MeterUnderTest(target)
        rig = Rig(meter)
        rig.play((*opened(**order), ("guards", limits), ("wait", 100 * SECOND), ("pulses", 1), ("wait", 1)))
        left = count
        while left:
            # A board hears of a batch while it may sleep; the last pulses come one by one.
            part = batch if left - batch >= count - most else 1
            rig.play((("wait", gap * part - 1), ("pulses", part), ("wait", 1)))
            left -= part
        meter.wait(gap)
        snapshot = meter.wait(10 * SECOND)
        same = ("register", "remaining", "reasons", "valve", "flows", "moves", "index")
        told = [(entry["kind"], entry["detail"]) for entry in meter.events()]
        found.append(({field: snapshot[field] for field in same}, told))
        assert snapshot["reasons"] == TRIPPED[name]
    assert found[1:] == found[:1] * 3


def test_batch_past_the_valve_is_told_as_its_pulses(target: Target) -> None:
    found = []
    for batches in ((1,) * 6, (2, 2, 2), (3, 3), (6,), (2, 4)):
        meter = MeterUnderTest(target)
        rig = Rig(meter)
        rig.play((*guarded(), ALARM, SETTLED, ("wait", HOUR)))
        for batch in batches:
            rig.play((("wait", 100 * SECOND * batch), ("pulses", batch), ("wait", 1)))
        snapshot = meter.wait(HOUR)
        assert snapshot["reasons"] == SHUT_ALARM | SHUT_PAST_VALVE
        found.append((snapshot["remaining"], snapshot["moves"], meter.events()[-1]["kind"]))
    assert found[1:] == found[:1] * 4


BITS: dict[str, tuple[int, int, Steps]] = {
    "over-flow": (guards.OVER_FLOW, SHUT_OVER_FLOW, (("gas", 10_000, 80 * SECOND),)),
    "large flow": (guards.LARGE_FLOW, SHUT_LARGE_FLOW, (("gas", 13_000, 13 * SECOND),)),
    "small leak": (guards.SMALL_FLOW, SHUT_SMALL_FLOW, (("gas", 4000, HOUR),) * 6),
    "long flow": (guards.LONG_FLOW, SHUT_LONG_FLOW, (("gas", 36_000, HOUR),) * 5),
    "past the valve": (guards.PAST_VALVE, SHUT_PAST_VALVE, (ALARM, SETTLED, ("pulses", 3))),
    "sensor": (guards.SENSOR, SHUT_SENSOR, (("happens", "reeds held", True), ("wait", SECOND))),
    "reversal": (guards.REVERSE, SHUT_SENSOR, (("happens", "reeds swapped", True), ("gas", 1500, MINUTE))),
    "magnet": (guards.MAGNET, SHUT_MAGNET, (("happens", "magnet", True),)),
    "cover": (guards.COVER, SHUT_COVER, (("happens", "cover", True),)),
}


@pytest.mark.parametrize("name", BITS)
def test_guard_does_what_its_two_bits_say(name: str, target: Target) -> None:
    guard, reason, event = BITS[name]
    others = {"over_flow_for": 0, "large_flow_for": 0, "small_flow_hours": 0, "long_flow_minutes": 0}
    own = {0: "over_flow_for", 1: "large_flow_for", 2: "small_flow_hours", 3: "long_flow_minutes"}.get(guard)
    if own:
        del others[own]
    for report in (0, 1 << guard):
        for shut in (0, 1 << guard):
            rig = Rig(MeterUnderTest(target))
            rig.play((*guarded(report=report, shut=shut, **others), ("first", 100 * SECOND), *event, SETTLED))
            snapshot = rig.meter.snapshot()
            assert snapshot["reasons"] & ~SHUT_ALARM == (reason if shut else 0)
            assert snapshot["flows"] == (not snapshot["reasons"])
            rig.play((("log", events.GUARD, [guard] if report else []),))


def test_guard_with_a_limit_of_nought_is_off(target: Target) -> None:
    off = dict.fromkeys(
        ("over_flow_for", "large_flow_for", "small_flow_hours", "long_flow_minutes", "idle_days", "battery_empty"), 0
    )
    rig = Rig(MeterUnderTest(target))
    rig.play((*guarded(**off), ("first", SECOND), ("steady", 1000, 100), ("steady", 900 * SECOND, 40)))
    rig.play(
        (("wait", 100 * HOUR), ("battery", 1), ("key",), RUNS, ("log", events.GUARD, []), ("told", {"exercises": 0}))
    )


def test_valve_driven_on_is_not_called_slow(target: Target) -> None:
    rig = Rig(MeterUnderTest(target))
    rig.play((*guarded(), ALARM, SETTLED, ("pulses", 3), ("wait", 20 * SECOND), holds(SHUT_ALARM | SHUT_PAST_VALVE)))
    rig.play((("log", events.VALVE_SLOW, []), ("told", {"travel_ms": 4000})))


def test_flow_past_the_valve_is_told_again_after_somebody_came(target: Target) -> None:
    rig = Rig(MeterUnderTest(target))
    shut = SHUT_ZERO | SHUT_PAST_VALVE | SHUT_LARGE_FLOW  # a batch comes as fast as can be
    rig.play((*guarded(), *TO_ZERO, ("pulses", 3), SETTLED, ("expect", {"reasons": shut})))
    rig.play((("key",), holds(SHUT_ZERO), ("pulses", 30), SETTLED))
    rig.play((("expect", {"reasons": shut}), ("log", events.GUARD, [guards.LARGE_FLOW, guards.PAST_VALVE])))
