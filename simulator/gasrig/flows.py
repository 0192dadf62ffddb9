"""What can happen to a meter, as data: each flow is a tuple of steps and what stands at its end.

Tests play a flow as it is; whoever cuts power or pulls cards plays it again and again with a fault at another
place, and so needs the steps, not a function. A step is a plain tuple:

    ("build", {...})            a new meter; fields of bench.CONFIG that differ from the usual
    ("card", kind, {...})       an order of ``kind`` ("opening", "user") on the card in hand; fields that
                                differ from the last order's, and of PRANKS
    ("chip", {...})             the card in hand itself: {"counter": tries' bits, "psc": 3 bytes}
    ("insert",) ("remove",)     the card goes in; comes out
    ("gas", milli, ms)          so much gas, in thousandths of a pulse, through the wheels, in so much time
    ("pulses", n)               a batch of n pulses
    ("key",) ("wait", ms)       the key, ("key", ms) held for so long; powered time without gas
    ("power_off", warned)       ("power_on",)
    ("jam", yes)                the valve's motor is blocked, or free again
    ("guards", {...})           limits of the guards that differ from GUARD_LIMITS
    ("happens", what, begins)   one of HAPPENINGS begins, or is over
    ("battery", millivolts)     the cell gives so much from now on
    ("expect", {...})           not a step of its own: so stands the snapshot of the step before

Cards and orders are made as a hall makes them, with keys below one fixed root of the test region.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from gascard import codes
from gascard.chip import Chip
from gascard.crc import crc16
from gascard.frames import HEAD, build_identity
from gascard.records import (
    CARD_CUSTOMER,
    FLAG_PARAMETERS,
    FLAG_REFUND,
    FORMAT_VERSION,
    IDENTITY_AT,
    MARK,
    ORDER,
    ORDER_AT,
    ORDER_OPENING,
    ORDER_USER,
    SHUT_ALARM,
    SHUT_BATTERY,
    SHUT_COVER,
    SHUT_LARGE_FLOW,
    SHUT_LONG_FLOW,
    SHUT_MAGNET,
    SHUT_OVER_FLOW,
    SHUT_PAST_VALVE,
    SHUT_POWER,
    SHUT_SENSOR,
    SHUT_SMALL_FLOW,
    SHUT_UNBOUND,
    SHUT_ZERO,
    STATUS_BATTERY_LOW,
    STATUS_KEY_NEEDED,
    STATUS_LOCKED_OUT,
    STATUS_SENSOR,
    STATUS_VALVE_FAULT,
    STATUS_VALVE_OPEN,
    size_of,
)
from gascard.sle4442 import TRIES_FULL
from gashall.encode import encode_order
from gashall.signer import KeyFileSigner
from gasrig.bench import MEMORY_EEPROM, TEST_REGION
from gasrig.handset import MeterUnderTest, Snapshot
from gasrig.parts import (
    BOUNCE,
    COVER_SWITCH,
    HALF_WAY,
    LEAK,
    MAGNET_SWITCH,
    MOTOR_DEAD,
    OPEN_SWITCH_DEAD,
    REED_A_DEAD,
    REED_B_DEAD,
    REEDS_HELD,
    REEDS_SWAPPED,
    SHUT_SWITCH_DEAD,
    SHUT_SWITCH_HELD,
    SUPPLY_DIP,
)
from meter.valve import OPEN, SHUT, STUCK

__all__ = [
    "FLOWS",
    "METER",
    "ORDER_DEFAULTS",
    "PRANKS",
    "Player",
    "ROOT",
    "Flow",
    "FlowError",
    "Step",
    "new_card",
    "play",
    "write_order",
]

Step: TypeAlias = tuple[Any, ...]

ROOT = bytes(range(32))
METER = "00202500000017"
OTHER_METER = "00202500000018"
CARD = 77
KEY_VERSION = 1

# What an order's fields may hold beside ORDER's own: a changed MAC, another card number it is signed for.
PRANKS = ("wrong_mac", "signed_for")

_KINDS = {"opening": ORDER_OPENING, "user": ORDER_USER}
ORDER_DEFAULTS: dict[str, Any] = {
    "meter": METER,
    "account": "0000000001",
    "binding": 1,
    "replacement": 0,
    "key_version": KEY_VERSION,
    "sequence": 1,
    "bought_total": 0,
    "amount": 0,
    "correction_total": 0,
    "pulse_weight": 2,
    "alarm": 500,
    "ceiling": 0,
    "overdraft": 0,
    "over_flow_seconds": 0,
    "time": 13_000_000,
    "flags": FLAG_PARAMETERS,
}


# All guards on, for a G2.5 with pulses of 0.01 m³.
GUARD_LIMITS: dict[str, int] = {
    "report": 0x3FF,
    "shut": 0x3FF,
    "pause_seconds": 1800,
    "over_flow_seconds": 9,
    "over_flow_for": 60,
    "large_flow_gap": 2000,
    "large_flow_for": 10,
    "small_flow_gap": 600,
    "small_flow_hours": 5,
    "long_flow_minutes": 240,
    "idle_days": 2,
    "past_valve_pulses": 2,
    "battery_low": 170,
    "battery_empty": 155,
}
HAPPENINGS = {
    "magnet": MAGNET_SWITCH,
    "reed A dead": REED_A_DEAD,
    "reed B dead": REED_B_DEAD,
    "cover": COVER_SWITCH,
    "leak": LEAK,
    "reeds held": REEDS_HELD,
    "open switch dead": OPEN_SWITCH_DEAD,
    "shut switch dead": SHUT_SWITCH_DEAD,
    "shut switch held": SHUT_SWITCH_HELD,
    "motor dead": MOTOR_DEAD,
    "half-way": HALF_WAY,
    "bounce": BOUNCE,
    "supply dips": SUPPLY_DIP,
    "reeds swapped": REEDS_SWAPPED,
}


class Flow(NamedTuple):
    """``steps`` as in the module's text; ``ends``: fields of the last snapshot, ``code`` of the last card."""

    steps: tuple[Step, ...]
    ends: Mapping[str, int]


class FlowError(AssertionError):
    """A snapshot is not what the flow says."""


def new_card(card: int = CARD) -> Chip:
    """An issued card without an order: identity written and protected, its own password."""
    chip = Chip()
    identity = {"mark": MARK, "format": FORMAT_VERSION, "region": TEST_REGION, "kind": CARD_CUSTOMER}
    raw = build_identity({**identity, "card": card, "issue_batch": 1})
    chip.main[IDENTITY_AT : IDENTITY_AT + len(raw)] = raw
    for place in range(IDENTITY_AT, IDENTITY_AT + len(raw)):
        chip.protection[place >> 3] &= ~(1 << (place & 7)) & 0xFF
    chip.security[1:4] = KeyFileSigner(ROOT, TEST_REGION).card_psc(card)
    return chip


def write_order(chip: Chip, kind: str, fields: Mapping[str, Any]) -> None:
    """Put an order on ``chip``, whose identity names the card: ``fields`` of ORDER, and perhaps PRANKS."""
    card = int.from_bytes(chip.main[IDENTITY_AT + 5 : IDENTITY_AT + 9], "big")
    values = {name: value for name, value in fields.items() if name not in PRANKS}
    signer = KeyFileSigner(ROOT, TEST_REGION)
    frame = bytearray(encode_order(signer, fields.get("signed_for", card), values, _KINDS[kind]))
    if fields.get("wrong_mac"):
        end = HEAD + size_of(ORDER) + 8
        frame[end - 1] ^= fields["wrong_mac"]
        frame[end : end + 2] = crc16(frame, 1, end).to_bytes(2, "big")
    chip.main[ORDER_AT : ORDER_AT + len(frame)] = frame


def play(flow: Flow, under_test: MeterUnderTest, *, judge: bool = True) -> list[Snapshot]:
    """Play a flow on a meter under test; the snapshot of every step that gave one.

    ``remove`` adds the card's error counter to its snapshot as ``counter``. With ``judge`` a snapshot that is
    not as the flow says raises FlowError; without, it is only played.
    """
    player = Player(under_test)
    for number, step in enumerate(flow.steps):
        if step[0] != "expect":
            player.step(step)
        elif judge:
            _compare(step[1], player.snapshots[-1], f"step {number}")
    if judge:
        _compare(flow.ends, {**player.snapshots[-1], "code": player.code}, "end")
        _all_fired(flow, under_test)
    return player.snapshots


def _all_fired(flow: Flow, under_test: MeterUnderTest) -> None:
    # Something that happens and makes no difference proves nothing.
    fired = under_test.fired()
    silent = {step[1] for step in flow.steps if step[0] == "happens" and not fired >> HAPPENINGS[step[1]] & 1}
    if silent:
        raise FlowError(f"end: without effect: {', '.join(sorted(silent))}")


def _compare(expected: Mapping[str, int], snapshot: Snapshot, where: str) -> None:
    wrong = [
        f"{name} is {snapshot.get(name)}, not {value}"
        for name, value in expected.items()
        if snapshot.get(name) != value
    ]
    if wrong:
        raise FlowError(f"{where}: {'; '.join(wrong)}")


class Player:
    """Carries out steps on a meter under test. ``card`` is the card in hand, ``code`` the last card's."""

    def __init__(self, under_test: MeterUnderTest) -> None:
        self.meter = under_test
        self.snapshots: list[Snapshot] = []
        self.card = new_card()
        self.fields = dict(ORDER_DEFAULTS)
        self.code = codes.OK

    def step(self, step: Step) -> None:
        """Carry out one step; what it tells is added to ``snapshots``."""
        name, *arguments = step
        action: Callable[..., Snapshot | None] = getattr(self, f"_{name}")
        snapshot = action(*arguments)
        if snapshot is not None:
            self.snapshots.append(snapshot)

    def _build(self, config: Mapping[str, Any]) -> Snapshot:
        key, tool_key = KeyFileSigner(ROOT, TEST_REGION).meter_keys(METER, KEY_VERSION)
        usual = {"meter": METER, "key": key, "tool_key": tool_key, "index": 500, "minutes": ORDER_DEFAULTS["time"]}
        self.fields["pulse_weight"] = config.get("pulse_weight", 2)
        return self.meter.build(**{**usual, **config})

    def _card(self, kind: str, fields: Mapping[str, Any]) -> None:
        # A prank is played once; everything else holds for the orders after it.
        lasting = {name: value for name, value in fields.items() if name not in PRANKS}
        self.fields |= lasting
        write_order(self.card, kind, {**self.fields, **fields})

    def _chip(self, state: Mapping[str, Any]) -> None:
        if "counter" in state:
            self.card.security[0] = state["counter"]
        if "psc" in state:
            self.card.security[1:4] = state["psc"]

    def _insert(self) -> Snapshot:
        self.code = self.meter.insert(self.card)
        return self.meter.last

    def _remove(self) -> Snapshot:
        self.card = self.meter.remove()
        self.meter.last["counter"] = self.card.security[0]
        return self.meter.last

    def _gas(self, milli_pulses: int, milliseconds: int) -> Snapshot:
        return self.meter.run(milliseconds, milli_pulses)

    def _pulses(self, count: int) -> Snapshot:
        return self.meter.pulses(count)

    def _key(self, held_ms: int = 0) -> Snapshot:
        return self.meter.key(held_ms)

    def _wait(self, milliseconds: int) -> Snapshot:
        return self.meter.wait(milliseconds)

    def _power_off(self, warned: bool) -> None:
        self.meter.power_off(warned=warned)

    def _power_on(self) -> Snapshot:
        return self.meter.power_on()

    def _jam(self, jammed: bool) -> None:
        self.meter.jam(jammed)

    def _guards(self, limits: Mapping[str, int]) -> None:
        self.meter.guards(**{**GUARD_LIMITS, **limits})

    def _happens(self, what: str, begins: bool) -> Snapshot:
        return self.meter.happens(HAPPENINGS[what], begins)

    def _battery(self, millivolts: int) -> Snapshot:
        return self.meter.battery(millivolts)


# ---------------------------------------------------------------------- the flows

_HOUR = 3_600_000
_HALF_HOUR = 1_800_000

_CODE = "code"
_OPEN = {"valve": OPEN, "flows": 1}
_SHUT = {"valve": SHUT, "flows": 0}


def _says(code: int, **more: int) -> tuple[Step, ...]:
    # The card goes in, the meter answers so, and it comes out.
    return (("insert",), ("expect", {_CODE: code, **more}), ("remove",))


_BUILD: tuple[Step, ...] = (("build", {}), ("expect", {"reasons": SHUT_UNBOUND, "binding": 0, **_SHUT}))
_FIRST: tuple[Step, ...] = (
    ("card", "opening", {"bought_total": 3000, "amount": 3000}),
    *_says(codes.OK, **_OPEN),
)
_OPENED = _BUILD + _FIRST
_GUARDED = (*_OPENED, ("guards", {}))
_SECOND: Step = ("card", "user", {"sequence": 2, "bought_total": 5000, "amount": 2000})
_FORGED: Step = ("card", "user", {"sequence": 2, "bought_total": 90000, "amount": 2000, "wrong_mac": 1})

FLOWS: dict[str, Flow] = {
    "binding": Flow(
        (*_BUILD, ("card", "opening", {}), *_says(codes.OK)),
        {"code": codes.OK, "binding": 1, "sequence": 1, "remaining": 0, "reasons": SHUT_ZERO, **_SHUT},
    ),
    "first load": Flow(
        _OPENED,
        {"code": codes.OK, "binding": 1, "bought_total": 3000, "remaining": 3000, "reasons": 0, **_OPEN},
    ),
    "purchase": Flow(
        (*_OPENED, ("gas", 1_000_000, _HOUR), _SECOND, *_says(codes.OK)),
        {"code": codes.OK, "sequence": 2, "bought_total": 5000, "remaining": 4000, "register": 1000, **_OPEN},
    ),
    "repeat": Flow(
        (*_OPENED, ("gas", 1_000_000, _HOUR), _SECOND, *_says(codes.OK), *_says(codes.REPEAT)),
        {
            "code": codes.REPEAT,
            "sequence": 2,
            "remaining": 4000,
            "register": 1000,
            "counter": TRIES_FULL,
            **_OPEN,
        },
    ),
    "older": Flow(
        (
            *_OPENED,
            ("card", "user", {"sequence": 3, "bought_total": 6000, "amount": 3000}),
            *_says(codes.OK),
            ("card", "user", {"sequence": 2, "bought_total": 9000, "amount": 6000}),
            *_says(codes.OLDER),
        ),
        {"code": codes.OLDER, "sequence": 3, "bought_total": 6000, "counter": TRIES_FULL, "tokens": 8},
    ),
    "conflict": Flow(
        (
            *_OPENED,
            _SECOND,
            *_says(codes.OK),
            ("card", "user", {"bought_total": 8000}),
            *_says(codes.SEQUENCE_CONFLICT),
        ),
        {
            "code": codes.SEQUENCE_CONFLICT,
            "sequence": 2,
            "bought_total": 5000,
            "remaining": 5000,
            "tokens": 8,
        },
    ),
    "ceiling": Flow(
        (
            *_BUILD,
            ("card", "opening", {"bought_total": 3000, "ceiling": 1000}),
            *_says(codes.OK),
            _SECOND,
            *_says(codes.CEILING, remaining=3000),
            ("gas", 1_999_000, _HOUR),
            *_says(codes.CEILING, remaining=1001),
            ("gas", 1_000, _HOUR),
            *_says(codes.OK),
        ),
        {"code": codes.OK, "sequence": 2, "bought_total": 5000, "remaining": 3000, **_OPEN},
    ),
    "alarm and key": Flow(
        (
            *_OPENED,
            # A pulse a second: the valve takes four to shut, and what passes meanwhile is debited too.
            ("gas", 3_600_000, _HOUR),
            ("expect", {"drawn_milli": 2_503_950, "remaining": 497, "reasons": SHUT_ALARM, **_SHUT}),
            ("wait", _HOUR),
            ("expect", {"reasons": SHUT_ALARM, **_SHUT}),
            ("key",),
            ("expect", {"reasons": 0, **_OPEN}),
            ("gas", 196_050, _HOUR),
            ("expect", {"reasons": 0, "remaining": 300, **_OPEN}),
        ),
        {"remaining": 300, "register": 2700, "index": 3200, "reasons": 0, **_OPEN},
    ),
    "alarm and card": Flow(
        (*_OPENED, ("gas", 2_500_000, _HOUR), ("wait", 60_000), ("expect", _SHUT), *_says(codes.REPEAT)),
        {"code": codes.REPEAT, "remaining": 500, "reasons": 0, **_OPEN},
    ),
    "zero and reopening": Flow(
        (
            *_OPENED,
            ("gas", 2_500_000, _HOUR),
            ("key",),
            ("gas", 500_000, _HOUR),
            ("wait", 60_000),
            ("expect", {"remaining": 0, "reasons": SHUT_ZERO, **_SHUT}),
            ("key",),
            ("expect", {"reasons": SHUT_ZERO, **_SHUT}),
            *_says(codes.REPEAT, reasons=SHUT_ZERO),
            ("gas", 1_000, _HOUR),
            ("expect", {"drawn_milli": 0, "elapsed_ms": 0}),
            _SECOND,
            *_says(codes.OK),
        ),
        {"code": codes.OK, "remaining": 2000, "register": 3000, "index": 3500, "reasons": 0, **_OPEN},
    ),
    "pulse": Flow(
        (
            *_OPENED,
            ("gas", 999, _HOUR),
            ("expect", {"register": 0, "index": 500, "index_milli": 999}),
            ("gas", 1, _HOUR),
            ("expect", {"register": 1, "index": 501, "index_milli": 0}),
            ("gas", 1_500, _HOUR),
        ),
        {"register": 2, "index": 502, "index_milli": 500, "remaining": 2998},
    ),
    "batch": Flow(
        (*_OPENED, ("pulses", 64), ("pulses", 1), ("pulses", 1000)),
        {"register": 1065, "index": 1565, "remaining": 1935},
    ),
    "batch over the alarm": Flow(
        (*_OPENED, ("pulses", 2600), ("wait", 60_000)),
        {"register": 2600, "index": 3100, "remaining": 400, "reasons": SHUT_ALARM, **_SHUT},
    ),
    "checkpoint": Flow(
        (
            ("build", {"lane_length": 64}),
            *_FIRST,
            ("gas", 63_000, _HOUR),
            ("gas", 1_000, _HOUR),
            ("gas", 70_000, _HOUR),
            ("pulses", 200),
            ("power_off", False),
            ("power_on",),
            ("wait", 60_000),
        ),
        {"register": 334, "index": 834, "remaining": 2666, **_SHUT},
    ),
    "checkpoint in four lanes": Flow(
        (
            ("build", {"memory": MEMORY_EEPROM, "lanes": 4, "lane_length": 64}),
            *_FIRST,
            ("gas", 255_000, _HOUR),
            ("gas", 1_000, _HOUR),
            ("gas", 70_000, _HOUR),
            ("pulses", 600),
            ("power_off", False),
            ("power_on",),
            ("wait", 60_000),
        ),
        {"register": 926, "index": 1426, "remaining": 2074, **_SHUT},
    ),
    "lockout take": Flow(
        (*_OPENED, _FORGED, *_says(codes.MAC, tokens=7), _SECOND, *_says(codes.OK, tokens=7)),
        {"code": codes.OK, "bought_total": 5000, "tokens": 7, "counter": TRIES_FULL},
    ),
    "lockout refill": Flow(
        (
            *_OPENED,
            _FORGED,
            *_says(codes.MAC, tokens=7),
            ("wait", _HALF_HOUR - 5_000),
            ("expect", {"tokens": 7}),
            ("power_off", True),
            ("power_on",),
            ("expect", {"tokens": 7}),
            ("wait", _HALF_HOUR - 5_000),
            ("expect", {"tokens": 7}),
            ("wait", 5_000),
        ),
        {"tokens": 8},
    ),
    "lockout empty": Flow(
        (
            *_OPENED,
            _FORGED,
            *(step for left in range(7, -1, -1) for step in _says(codes.MAC, tokens=left)),
            *_says(codes.LOCKED_OUT, tokens=0, status=STATUS_VALVE_OPEN | STATUS_LOCKED_OUT),
            _SECOND,
            *_says(codes.LOCKED_OUT),
            ("power_off", False),
            ("power_on",),
            ("expect", {"tokens": 0}),
            *_says(codes.LOCKED_OUT),
            ("wait", _HALF_HOUR),
            *_says(codes.OK, tokens=1),
        ),
        {"code": codes.OK, "bought_total": 5000, "tokens": 1, "counter": TRIES_FULL},
    ),
    "valve stuck": Flow(
        (
            *_OPENED,
            ("jam", True),
            ("gas", 2_500_000, _HOUR),
            ("wait", 60_000),
            ("expect", {"valve": STUCK, "flows": 1, "status": SHUT_ALARM | STATUS_VALVE_FAULT}),
            ("gas", 10_000, _HOUR),
            ("expect", {"drawn_milli": 10_000, "remaining": 490}),
            ("jam", False),
            ("key",),
        ),
        {"reasons": 0, "remaining": 490, "status": STATUS_VALVE_OPEN, "failures": 3, **_OPEN},
    ),
    "valve stuck shut": Flow(
        (
            *_BUILD,
            ("jam", True),
            ("card", "opening", {"bought_total": 3000}),
            *_says(codes.OK, valve=STUCK, failures=3, status=STATUS_VALVE_FAULT),
            ("wait", 60_000),
            ("expect", {"valve": STUCK, "failures": 3, "flows": 0}),
            ("jam", False),
            ("key",),
        ),
        {"reasons": 0, "remaining": 3000, "status": STATUS_VALVE_OPEN, **_OPEN},
    ),
    "valve too slow to open": Flow(
        (
            ("build", {"travel_ms": 15_000}),
            ("card", "opening", {"bought_total": 3000}),
            *_says(codes.OK, valve=STUCK, flows=0, status=STATUS_VALVE_FAULT),
            ("gas", 1_000, _HOUR),
        ),
        {"drawn_milli": 0, "remaining": 3000, "failures": 3, "valve": STUCK, "flows": 0},
    ),
    "power cut": Flow(
        (
            *_OPENED,
            ("gas", 1_500, _HOUR),
            ("power_off", False),
            ("power_on",),
            ("expect", {"register": 1, "index": 501}),
            ("wait", 60_000),
            ("expect", {"status": STATUS_KEY_NEEDED, **_SHUT}),
            ("key",),
            ("gas", 500, _HOUR),
            ("expect", {"register": 2, "index": 502, "index_milli": 0}),
        ),
        {"register": 2, "index": 502, "remaining": 2998, "reasons": 0, **_OPEN},
    ),
    "power cut with a warning": Flow(
        (
            *_OPENED,
            ("gas", 1_500, _HOUR),
            ("power_off", True),
            ("power_on",),
            ("expect", {"register": 1, "index": 501, "reasons": 0, "status": STATUS_KEY_NEEDED, **_SHUT}),
            ("gas", 500, _HOUR),
            ("expect", {"drawn_milli": 0}),
            *_says(codes.REPEAT),
        ),
        {"code": codes.REPEAT, "register": 1, "index": 501, "remaining": 2999, "reasons": 0, **_OPEN},
    ),
    "last try": Flow(
        (*_OPENED, _SECOND, ("chip", {"counter": 0x01}), *_says(codes.REPORT_NOT_WRITTEN)),
        {"code": codes.REPORT_NOT_WRITTEN, "bought_total": 5000, "counter": 0x01, **_OPEN},
    ),
    "password refused": Flow(
        (
            *_OPENED,
            _SECOND,
            ("chip", {"psc": b"\x00\x01\x02"}),
            ("insert",),
            ("expect", {"code": codes.PASSWORD_REFUSED, "bought_total": 3000}),
            ("remove",),
            ("expect", {"counter": 0x06}),
            *_says(codes.CARD_BARRED),
            ("expect", {"counter": 0x06}),
        ),
        {"code": codes.CARD_BARRED, "sequence": 1, "bought_total": 3000, "counter": 0x06},
    ),
    "password mended": Flow(
        (
            *_OPENED,
            _SECOND,
            ("chip", {"counter": 0x03, "psc": b"\x00\x01\x02"}),
            *_says(codes.PASSWORD_REFUSED),
            ("chip", {"counter": TRIES_FULL, "psc": bytes(new_card().security[1:4])}),
            *_says(codes.OK),
        ),
        {"code": codes.OK, "bought_total": 5000, "counter": TRIES_FULL},
    ),
    "refund": Flow(
        (
            *_OPENED,
            ("gas", 500_000, _HOUR),
            ("card", "user", {"sequence": 2, "bought_total": 2000, "amount": -1000, "flags": FLAG_REFUND}),
            *_says(codes.OK, remaining=1500),
            *_says(codes.REPEAT),
        ),
        {"code": codes.REPEAT, "sequence": 2, "bought_total": 2000, "remaining": 1500, "register": 500, **_OPEN},
    ),
    "refund too large": Flow(
        (
            *_OPENED,
            ("gas", 500_000, _HOUR),
            ("card", "user", {"sequence": 2, "bought_total": 499, "amount": -2501, "flags": FLAG_REFUND}),
            *_says(codes.REFUND_TOO_LARGE),
        ),
        {"code": codes.REFUND_TOO_LARGE, "sequence": 1, "bought_total": 3000, "remaining": 2500, "counter": TRIES_FULL},
    ),
    "correction": Flow(
        (
            *_OPENED,
            ("card", "user", {"sequence": 2, "bought_total": 3000, "correction_total": 700}),
            *_says(codes.OK, remaining=2300),
            ("card", "user", {"sequence": 3, "bought_total": 3000, "correction_total": -200}),
            *_says(codes.OK, remaining=3200),
        ),
        {"code": codes.OK, "sequence": 3, "bought_total": 3000, "remaining": 3200, **_OPEN},
    ),
    "lower total": Flow(
        (*_OPENED, ("card", "user", {"sequence": 2, "bought_total": 0}), *_says(codes.OK)),
        {"code": codes.OK, "sequence": 2, "bought_total": 3000, "remaining": 3000, **_OPEN},
    ),
    "other binding": Flow(
        (
            *_OPENED,
            ("card", "opening", {"binding": 2, "bought_total": 9000}),
            *_says(codes.ALREADY_BOUND),
            ("card", "user", {"binding": 2, "sequence": 2}),
            *_says(codes.BINDING),
        ),
        {"code": codes.BINDING, "binding": 1, "bought_total": 3000, "tokens": 8, "counter": TRIES_FULL},
    ),
    "replaced card": Flow(
        (
            *_OPENED,
            ("card", "user", {"sequence": 2, "bought_total": 5000, "replacement": 1}),
            *_says(codes.OK, remaining=5000),
            ("card", "user", {"sequence": 3, "bought_total": 9000, "replacement": 0}),
            *_says(codes.REPLACED),
        ),
        {"code": codes.REPLACED, "sequence": 2, "bought_total": 5000, "tokens": 8, "counter": TRIES_FULL},
    ),
    "over-flow": Flow(
        (
            *_GUARDED,
            ("gas", 100_000, _HOUR),
            ("expect", {"reasons": 0, **_OPEN}),
            ("gas", 20_000, 160_000),  # a pulse every 8 s where 9 are the least
            ("expect", {"reasons": SHUT_OVER_FLOW, **_SHUT}),
            ("wait", 60_000),
            ("key",),
        ),
        {"reasons": 0, "remaining": 2893, **_OPEN},
    ),
    "large flow": Flow(
        (*_GUARDED, ("gas", 30_000, 30_000), ("expect", {"reasons": SHUT_LARGE_FLOW, **_SHUT}), *_says(codes.REPEAT)),
        {"code": codes.REPEAT, "reasons": 0, **_OPEN},
    ),
    "small flow": Flow(
        (
            *_GUARDED,
            ("guards", {"long_flow_minutes": 0}),
            *(("gas", 4_000, _HOUR),) * 7,  # a pulse every 900 s
            ("expect", {"reasons": SHUT_SMALL_FLOW, **_SHUT}),
            ("key",),
        ),
        {"reasons": 0, **_OPEN},
    ),
    "long flow": Flow(
        (
            *_GUARDED,
            *(("gas", 60_000, _HOUR),) * 5,
            ("expect", {"reasons": SHUT_LONG_FLOW, **_SHUT}),
            ("power_off", False),
            ("power_on",),
            ("wait", 60_000),
            ("expect", {"reasons": SHUT_LONG_FLOW, **_SHUT}),
            ("key",),
        ),
        {"reasons": 0, **_OPEN},
    ),
    "idle and exercise": Flow(
        (
            *_GUARDED,
            *(("wait", _HOUR),) * 49,
            ("expect", {"reasons": 0, "moves": 1, **_OPEN}),
            ("key",),
            ("wait", 20_000),
        ),
        {"reasons": 0, "moves": 3, **_OPEN},
    ),
    "flow past the valve": Flow(
        (
            *_GUARDED,
            ("gas", 2_500_000, _HOUR),
            ("wait", 60_000),
            ("happens", "leak", True),
            ("gas", 10_000, _HOUR),
            ("happens", "leak", False),
        ),
        {"reasons": SHUT_PAST_VALVE | SHUT_LARGE_FLOW, "moves": 3, "valve": SHUT, "flows": 0},
    ),
    "magnet": Flow(
        (
            *_GUARDED,
            ("happens", "magnet", True),
            ("expect", {"reasons": SHUT_MAGNET, **_SHUT}),
            ("key",),
            ("expect", {"reasons": SHUT_MAGNET, **_SHUT}),
            ("power_off", False),
            ("power_on",),
            ("happens", "magnet", False),
            ("wait", 60_000),
            ("expect", {"reasons": SHUT_MAGNET, **_SHUT}),
            ("key",),
        ),
        {"reasons": 0, **_OPEN},
    ),
    "cover": Flow(
        (
            *_GUARDED,
            ("happens", "cover", True),
            ("expect", {"reasons": SHUT_COVER, **_SHUT}),
            ("happens", "cover", False),
            *_says(codes.REPEAT),
        ),
        {"code": codes.REPEAT, "reasons": 0, **_OPEN},
    ),
    "reed dead": Flow(
        (
            *_GUARDED,
            ("happens", "reed B dead", True),
            ("gas", 20_000, _HOUR),
            ("expect", {"reasons": SHUT_SENSOR, "register": 0, **_SHUT}),
        ),
        {"reasons": SHUT_SENSOR},
    ),
    "reeds held": Flow(
        (
            *_GUARDED,
            ("happens", "reeds held", True),
            ("wait", 10_000),
            ("expect", {"reasons": SHUT_SENSOR, **_SHUT}),
            ("key",),
        ),
        {"reasons": SHUT_SENSOR, "status": SHUT_SENSOR | STATUS_SENSOR, **_SHUT},
    ),
    "exercise and a flame": Flow(
        (*_GUARDED, *(("wait", _HOUR),) * 49, ("gas", 2_000, _HOUR), ("key",), ("wait", 20_000)),
        {"reasons": 0, "moves": 1, "register": 2, **_OPEN},
    ),
    "reverse flow": Flow(
        (
            *_GUARDED,
            ("happens", "reeds swapped", True),
            ("gas", 3_000, _HOUR),
            ("expect", {"reasons": SHUT_SENSOR, "register": 0, **_SHUT}),
        ),
        {"reasons": SHUT_SENSOR, "status": SHUT_SENSOR | STATUS_SENSOR},
    ),
    "bounce": Flow(
        (*_GUARDED, ("happens", "bounce", True), ("gas", 20_000, _HOUR)),
        {"reasons": 0, "register": 20, "index": 520, "status": STATUS_VALVE_OPEN},
    ),
    "valve half-way": Flow(
        (
            *_OPENED,
            ("happens", "half-way", True),
            ("gas", 2_500_000, _HOUR),
            ("wait", 60_000),
            ("expect", {"valve": STUCK, "flows": 1, "failures": 3, "status": SHUT_ALARM | STATUS_VALVE_FAULT}),
            ("happens", "half-way", False),
            ("key",),
        ),
        {"reasons": 0, "remaining": 500, "failures": 3, **_OPEN},
    ),
    "open switch dead": Flow(
        (
            *_BUILD,
            ("happens", "open switch dead", True),
            ("card", "opening", {"bought_total": 3000}),
            *_says(codes.OK, valve=STUCK, failures=3, flows=0, status=STATUS_VALVE_FAULT),
            ("happens", "open switch dead", False),
            ("key",),
        ),
        {"reasons": 0, "remaining": 3000, **_OPEN},
    ),
    "shut switch dead": Flow(
        (
            *_OPENED,
            ("happens", "shut switch dead", True),
            ("gas", 2_500_000, _HOUR),
            ("wait", 60_000),
            ("expect", {"valve": STUCK, "flows": 0, "failures": 3}),
            ("happens", "shut switch dead", False),
            ("key",),
        ),
        {"reasons": 0, "remaining": 500, **_OPEN},
    ),
    # The meter believes that it is shut, sees gas go by, and drives on without asking the switch.
    "shut switch held": Flow(
        (
            *_GUARDED,
            ("happens", "shut switch held", True),
            ("gas", 60_000, 60_000),  # a pulse a second
            ("expect", {"reasons": SHUT_LARGE_FLOW | SHUT_PAST_VALVE, "flows": 0}),
            ("wait", 20_000),
        ),
        {"reasons": SHUT_LARGE_FLOW | SHUT_PAST_VALVE, "failures": 0, **_SHUT},
    ),
    "motor dead": Flow(
        (
            *_OPENED,
            ("happens", "motor dead", True),
            ("gas", 2_500_000, _HOUR),
            ("wait", 2_000),
            ("expect", {"valve": STUCK, "flows": 1, "failures": 3, "status": SHUT_ALARM | STATUS_VALVE_FAULT}),
            ("happens", "motor dead", False),
            ("key",),
        ),
        {"reasons": 0, "remaining": 500, **_OPEN},
    ),
    "valve slow": Flow(
        (("build", {"travel_ms": 9_000}), *_FIRST, ("gas", 1_000, _HOUR)),
        {"remaining": 2999, "failures": 0, "moves": 1, **_OPEN},
    ),
    "supply dips": Flow(
        (
            *_OPENED,
            ("gas", 1_500, _HOUR),
            ("happens", "supply dips", True),
            ("expect", {"reasons": SHUT_POWER, **_SHUT}),
            ("happens", "supply dips", False),
            ("wait", 60_000),
            ("expect", {"reasons": 0, "status": STATUS_KEY_NEEDED, **_SHUT}),
            ("key",),
            ("gas", 500, _HOUR),
            ("power_off", False),
            ("power_on",),
        ),
        {"register": 2, "index": 502, "remaining": 2998, "reasons": 0},
    ),
    "self-test": Flow((*_OPENED, ("key", 3_000), ("wait", 20_000)), {"reasons": 0, "remaining": 3000, **_OPEN}),
    "battery": Flow(
        (
            *_GUARDED,
            ("battery", 3380),
            ("expect", {"reasons": 0, "status": STATUS_VALVE_OPEN | STATUS_BATTERY_LOW, **_OPEN}),
            ("battery", 3080),
            ("wait", 10_000),
            ("expect", {"reasons": SHUT_BATTERY, **_SHUT}),
            ("key",),
            ("expect", {"reasons": SHUT_BATTERY, **_SHUT}),
            ("battery", 3300),
            ("key",),
            ("expect", {"reasons": SHUT_BATTERY, **_SHUT}),
            ("battery", 3600),
            ("key",),
        ),
        {"reasons": 0, "status": STATUS_VALVE_OPEN, **_OPEN},
    ),
    "cell changed": Flow(
        (
            *_GUARDED,
            ("battery", 3080),
            ("wait", 10_000),
            ("key",),
            ("wait", 61_000),
            ("battery", 3600),
            ("wait", 20_000),
            ("expect", {"reasons": 0, "status": STATUS_KEY_NEEDED, **_SHUT}),
            ("key",),
        ),
        {"reasons": 0, **_OPEN},
    ),
    "supply dips within the minute": Flow(
        (*_OPENED, ("key",), ("happens", "supply dips", True), ("happens", "supply dips", False), ("wait", 20_000)),
        {"reasons": 0, "status": STATUS_KEY_NEEDED, **_SHUT},
    ),
    "magnet taken away": Flow(
        (*_GUARDED, ("happens", "magnet", True), ("key",), ("happens", "magnet", False), ("wait", 20_000)),
        {"reasons": SHUT_MAGNET, **_SHUT},
    ),
    "pause": Flow(
        (*_GUARDED, *(("gas", 60_000, _HOUR),) * 3, ("wait", _HOUR), *(("gas", 60_000, _HOUR),) * 3),
        {"reasons": 0, **_OPEN},
    ),
    "over-flow of the account": Flow(
        (
            *_OPENED,
            ("card", "user", {"sequence": 2, "bought_total": 3000, "over_flow_seconds": 40}),
            *_says(codes.OK, **_OPEN),
            ("guards", {}),
            ("gas", 100_000, _HOUR),  # a pulse every 36 s
        ),
        {"reasons": SHUT_OVER_FLOW, **_SHUT},
    ),
    "batch too fast": Flow(
        (*_GUARDED, ("wait", 30_000), ("pulses", 30), ("wait", 20_000)),
        {"reasons": SHUT_LARGE_FLOW, "register": 30, **_SHUT},
    ),
    "guards that only report": Flow(
        (*_GUARDED, ("guards", {"shut": 0}), ("happens", "magnet", True), ("gas", 30_000, 30_000)),
        {"reasons": 0, "register": 30, **_OPEN},
    ),
    "limits and power": Flow(
        (*_GUARDED, ("power_off", True), ("power_on",), ("key",), ("gas", 30_000, 30_000)),
        {"reasons": SHUT_LARGE_FLOW, **_SHUT},
    ),
    "heating": Flow(
        (*_GUARDED, ("guards", {"long_flow_minutes": 0}), *(("gas", 60_000, _HOUR),) * 7),
        {"reasons": 0, "register": 420, **_OPEN},
    ),
    "wheel behind, supply dips": Flow(
        (
            *_OPENED,
            ("happens", "reeds swapped", True),
            ("gas", 500, _HOUR),
            ("happens", "supply dips", True),
            ("happens", "supply dips", False),
            ("key",),
            ("happens", "reeds swapped", False),
            ("gas", 1_000, _HOUR),
            ("power_off", False),
            ("power_on",),
            ("key",),
            ("gas", 500, _HOUR),
        ),
        {"register": 1, "index": 502, "reasons": 0},
    ),
    "wrong meter": Flow(
        (*_BUILD, ("card", "opening", {"meter": OTHER_METER, "bought_total": 3000}), *_says(codes.METER)),
        {"code": codes.METER, "binding": 0, "tokens": 8, "counter": TRIES_FULL, "reasons": SHUT_UNBOUND},
    ),
    "unbound, user card": Flow(
        (*_BUILD, ("card", "user", {"sequence": 2, "bought_total": 3000}), *_says(codes.NOT_BOUND)),
        {"code": codes.NOT_BOUND, "binding": 0, "tokens": 8, "counter": TRIES_FULL, "reasons": SHUT_UNBOUND},
    ),
    "copy of a card": Flow(
        (
            *_OPENED,
            ("card", "user", {"sequence": 2, "bought_total": 5000, "signed_for": 78}),
            *_says(codes.MAC),
        ),
        {"code": codes.MAC, "bought_total": 3000, "tokens": 7, "counter": TRIES_FULL},
    ),
}
