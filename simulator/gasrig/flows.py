"""What can happen to a meter, as data: each flow is a tuple of steps and what stands at its end.

Tests play a flow as it is; whoever cuts power or pulls cards plays it again and again with a fault at another
place, and so needs the steps, not a function. A step is a plain tuple:

    ("build", {...})            a new meter; fields of bench.CONFIG that differ from the usual
    ("card", kind, {...})       an order of ``kind`` ("opening", "user") on the card in hand; fields that
                                differ from the last order's, and of PRANKS
    ("card", tool, {...})       a card of the company's, TOOLS, comes into the hand instead: fields of its frame that
                                differ from the usual, of PRANKS, and "final" of a transfer (write_tool)
    ("chip", {...})             the card in hand itself: {"counter": tries' bits, "psc": 3 bytes}
    ("insert",) ("remove",)     the card goes in; comes out
    ("insert", milli, ms)       the card goes in, and meanwhile gas is drawn
    ("visit", ms)               the card goes in and is pulled out again after so long
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
from gascard.frames import HEAD, build, build_identity
from gascard.keys import ORDER_KEY, REPORT_KEY, WRAP_KEY, derive, mask_psc
from gascard.records import (
    CARD_CLEAR,
    CARD_CUSTOMER,
    CARD_KEY,
    CARD_MANAGEMENT,
    CARD_SETTING,
    CARD_TEST,
    CARD_TRANSFER,
    FLAG_PARAMETERS,
    FLAG_REFUND,
    FORMAT_VERSION,
    IDENTITY_AT,
    MARK,
    ORDER,
    ORDER_AT,
    ORDER_OPENING,
    ORDER_USER,
    REPORT_DATA,
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
    Layout,
    size_of,
)
from gascard.sle4442 import TRIES_FULL
from gascard.tools import (
    ANY,
    FINAL,
    FINAL_AT,
    KEY,
    KEY_BLOCK,
    KEY_WRAP,
    MANAGE,
    MANAGEMENT,
    ORDER_CLEAR,
    ORDER_TEST,
    SET,
    SET_CLOCK,
    SET_GUARDS,
    SET_INDEX,
    SETTING,
    TOOL_AT,
    TRANSFER,
    TRANSFER_IN,
    TRANSFER_IN_AT,
    TRANSFER_KEY,
    TRANSFER_OUT,
    key_context,
    masked,
    transfer_context,
    wrap_context,
)
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
    "TOOLS",
    "Flow",
    "FlowError",
    "Step",
    "key_above",
    "new_card",
    "new_tool",
    "play",
    "write_order",
    "write_tool",
]

Step: TypeAlias = tuple[Any, ...]

ROOT = bytes(range(32))
METER = "00202500000017"
OTHER_METER = "00202500000018"
HEIR = "00202500000019"  # the other side of a transfer
THIRD_METER = "00202500000020"  # no meter of this number hangs anywhere
FACTORY_KEY = bytes(range(100, 116))
CARD = 77
TOOL_CARD = 90
KEY_VERSION = 1

# What an order's fields may hold beside ORDER's own: a changed MAC, another card number it is signed for, a changed MAC
# of a transfer's final record.
PRANKS = ("wrong_mac", "signed_for", "wrong_final")

_KINDS = {"opening": ORDER_OPENING, "user": ORDER_USER}
# The company's cards: kind of card, of frame, its layout.
TOOLS: dict[str, tuple[int, int, Layout]] = {
    "clear": (CARD_CLEAR, ORDER_CLEAR, ORDER),
    "test gas": (CARD_TEST, ORDER_TEST, ORDER),
    "transfer out": (CARD_TRANSFER, TRANSFER_OUT, TRANSFER),
    "transfer in": (CARD_TRANSFER, TRANSFER_OUT, TRANSFER),
    "management": (CARD_MANAGEMENT, MANAGE, MANAGEMENT),
    "setting": (CARD_SETTING, SET, SETTING),
    "key": (CARD_KEY, KEY, KEY_BLOCK),
}
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


def new_card(card: int = CARD, kind: int = CARD_CUSTOMER) -> Chip:
    """An issued card without an order: identity written and protected, its own password."""
    chip = Chip()
    identity = {"mark": MARK, "format": FORMAT_VERSION, "region": TEST_REGION, "kind": kind}
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


def key_above(meter: str, version: int, factory_key: bytes = b"") -> bytes:
    """The key that a meter has while its key version is this; 0: its factory's."""
    return KeyFileSigner(ROOT, TEST_REGION).meter_keys(meter, version)[0] if version else factory_key or FACTORY_KEY


def new_tool(kind: str, fields: Mapping[str, Any], card: int = TOOL_CARD) -> Chip:
    """A card of the company's with its frames: ``kind`` of TOOLS, ``fields`` as ``write_tool``."""
    chip = new_card(card, TOOLS[kind][0])
    write_tool(chip, kind, fields)
    return chip


def write_tool(chip: Chip, kind: str, fields: Mapping[str, Any]) -> None:
    """Put the frames of a company's card on ``chip``: ``kind`` of TOOLS.

    ``fields`` are of its layout and of PRANKS, those of ORDER_DEFAULTS where the layout has them and they are not
    given. Besides: ``key_from``, the version a key card finds (0: the factory's key); of a transfer ``heir``, the
    fields of its order for the new meter, and ``final``, those of the final record that is on it already.
    """
    signer = KeyFileSigner(ROOT, TEST_REGION)
    _, frame_kind, layout = TOOLS[kind]
    card = int.from_bytes(chip.main[IDENTITY_AT + 5 : IDENTITY_AT + 9], "big")
    values: dict[str, Any] = {**dict.fromkeys(layout.names, 0), **ORDER_DEFAULTS, **fields}
    key = key_above(values["meter"], values["key_version"])
    if layout in (MANAGEMENT, SETTING):
        key = signer.meter_keys(values["meter"], values["key_version"])[1]
    if kind == "setting" and fields.get("meter") is None and not values["what"] & SET_INDEX:
        values["meter"] = ANY
    if layout is KEY_BLOCK:
        key = key_above(values["meter"], fields.get("key_from", 0))
        _mask_keys(values, key)
    elif layout is TRANSFER:
        _write_heir(chip, card, values, fields)
    values["psc_mask"] = mask_psc(derive(key, WRAP_KEY), card, bytes(chip.security[1:4]))
    _put_frame(chip, TOOL_AT, layout, values, frame_kind, fields.get("signed_for", card), derive(key, ORDER_KEY))
    for prank, at, size in (("wrong_mac", TOOL_AT, size_of(layout)), ("wrong_final", FINAL_AT, size_of(REPORT_DATA))):
        if fields.get(prank):
            end = at + HEAD + size + 8
            chip.main[end - 1] ^= fields[prank]
            chip.main[end : end + 2] = crc16(chip.main, at + 1, end).to_bytes(2, "big")


def _put_frame(
    chip: Chip, at: int, layout: Layout, values: Mapping[str, Any], kind: int, card: int, key: bytes
) -> None:
    frame = build(layout, {name: values[name] for name in layout.names}, kind, card, TEST_REGION, key)
    chip.main[at : at + len(frame)] = frame


def _mask_keys(values: dict[str, Any], above: bytes) -> None:
    # The keys of the new version, each under a mask of its own below the key that the meter has.
    wrap, version = derive(above, WRAP_KEY), values["key_version"]
    for number, plain in enumerate(KeyFileSigner(ROOT, TEST_REGION).meter_keys(values["meter"], version)):
        mask = derive(wrap, KEY_WRAP, key_context(TEST_REGION, version, number))
        values["key" if not number else "tool_key"] = masked(plain, mask)


def _write_heir(chip: Chip, card: int, values: dict[str, Any], fields: Mapping[str, Any]) -> None:
    # The transfer's key for the old meter, the order for the new one, and what the old one has said.
    heir = {**ORDER_DEFAULTS, "meter": HEIR, "bought_total": 100_000, **fields.get("heir", {})}
    values["new_meter"], values["new_binding"] = heir["meter"], heir["binding"]
    new, old = key_above(heir["meter"], heir["key_version"]), key_above(values["meter"], values["key_version"])
    plain = derive(new, TRANSFER_KEY, transfer_context(values["meter"], values["binding"], heir["binding"]))
    context = wrap_context(values["binding"], heir["meter"], heir["binding"])
    values["transfer_key"] = masked(plain, derive(derive(old, WRAP_KEY), TRANSFER_KEY, context))
    heir["psc_mask"] = mask_psc(derive(new, WRAP_KEY), card, bytes(chip.security[1:4]))
    _put_frame(chip, TRANSFER_IN_AT, ORDER, heir, TRANSFER_IN, card, derive(new, ORDER_KEY))
    said = fields.get("final")
    if said is not None:
        usual = {"meter": values["meter"], "binding": values["binding"], "report_number": 9, "sequence": 4}
        told = {**dict.fromkeys(REPORT_DATA.names, 0), **usual, **said}
        _put_frame(chip, FINAL_AT, REPORT_DATA, told, FINAL, card, derive(plain, REPORT_KEY))


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

    def _tool(self, kind: str, fields: Mapping[str, Any]) -> None:
        # What the account's orders say last is what the hall knows: binding, key version, pulse weight.
        known = {name: self.fields[name] for name in ("binding", "key_version", "pulse_weight")}
        self.card = new_tool(kind, {**known, **fields}, fields.get("card", TOOL_CARD))
        if kind == "key":
            self.fields["key_version"] = max(self.fields["key_version"], fields["key_version"])

    def _card(self, kind: str, fields: Mapping[str, Any]) -> None:
        if kind in TOOLS:
            self._tool(kind, fields)
            return
        if self.card.main[IDENTITY_AT + 4] != CARD_CUSTOMER:
            self.card = new_card()
        # A prank is played once; everything else holds for the orders after it.
        lasting = {name: value for name, value in fields.items() if name not in PRANKS}
        self.fields |= lasting
        write_order(self.card, kind, {**self.fields, **fields})

    def _chip(self, state: Mapping[str, Any]) -> None:
        if "counter" in state:
            self.card.security[0] = state["counter"]
        if "psc" in state:
            self.card.security[1:4] = state["psc"]

    def _insert(self, milli_pulses: int = 0, milliseconds: int = 0) -> Snapshot:
        self.code = self.meter.insert(self.card, milliseconds=milliseconds, milli_pulses=milli_pulses)
        return self.meter.last

    def _visit(self, milliseconds: int) -> Snapshot:
        self.card = self.meter.visit(self.card, milliseconds)
        self.code = self.meter.last["code"]
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
_BURNED: Step = ("gas", 1_000_000, _HOUR)
_CLOCK = {"clock": 13_000_500}
# A transfer card whose gas is for the meter under test, from another.
_TO_ME: dict[str, Any] = {"meter": HEIR, "heir": {"meter": METER}}
_MOST = {"bought_total": 1500}

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
    # --- the company's cards
    "clear": Flow(
        (
            *_OPENED,
            _BURNED,
            ("card", "clear", {}),
            *_says(codes.OK, **_SHUT),
            ("gas", 10_000, _HOUR),
            ("expect", {"drawn_milli": 0}),
        ),
        {"code": codes.OK, "binding": 1, "remaining": 0, "register": 1000, "reasons": SHUT_UNBOUND, **_SHUT},
    ),
    # A pulse a second while the valve shuts: all of them are in the final record.
    "clear while gas flows": Flow(
        (
            *_OPENED,
            _BURNED,
            ("card", "clear", {}),
            ("insert", 20_000, 20_000),
            ("expect", {"code": codes.OK}),
            ("remove",),
        ),
        {"register": 1003, "index": 1503, "reasons": SHUT_UNBOUND, "remaining": 0, **_SHUT},
    ),
    # Pulled as soon as the valve moves, half-way, and just before it has shut: nothing has ended.
    "clear card pulled early, then again": Flow(
        (
            *_OPENED,
            _BURNED,
            ("card", "clear", {}),
            *(
                step
                for stays in (1, 2_000, 3_999)
                for step in (
                    ("visit", stays),
                    ("expect", {"code": codes.CARD_OUT, "remaining": 2000, "reasons": 0, **_SHUT}),
                    ("key",),
                    ("expect", _OPEN),
                    ("wait", 70_000),
                )
            ),
            ("gas", 10_000, _HOUR),
            *_says(codes.OK),
        ),
        {"code": codes.OK, "register": 1010, "remaining": 0, "reasons": SHUT_UNBOUND, **_SHUT},
    ),
    "clear, then the next binding": Flow(
        (
            *_OPENED,
            _BURNED,
            ("card", "clear", {}),
            *_says(codes.OK),
            ("power_off", True),
            ("power_on",),
            *_says(codes.REPEAT),
            ("card", "clear", {}),
            *_says(codes.REPEAT),
            _SECOND,
            *_says(codes.NOT_BOUND),
            ("card", "opening", {"sequence": 1, "bought_total": 3000}),
            *_says(codes.BINDING),
            ("card", "opening", {"binding": 2, "sequence": 1, "bought_total": 700}),
            *_says(codes.OK, remaining=700, **_OPEN),
            ("card", "clear", {"binding": 1}),
            *_says(codes.BINDING),
            ("card", "clear", {}),
            *_says(codes.OK),
        ),
        {"code": codes.OK, "binding": 2, "remaining": 0, "reasons": SHUT_UNBOUND, **_SHUT},
    ),
    "clear of a valve that is stuck": Flow(
        (*_OPENED, ("jam", True), ("card", "clear", {}), *_says(codes.OK), ("jam", False), ("key",), ("wait", 60_000)),
        {"reasons": SHUT_UNBOUND, "remaining": 0, **_SHUT},
    ),
    "clear below zero": Flow(
        (
            *_BUILD,
            ("card", "opening", {"bought_total": 100, "alarm": 0, "overdraft": 50}),
            *_says(codes.OK),
            ("gas", 130_000, _HOUR),
            ("card", "clear", {}),
            *_says(codes.OK),
        ),
        {"code": codes.OK, "register": 130, "remaining": 0, "reasons": SHUT_UNBOUND, **_SHUT},
    ),
    "transfer out": Flow(
        (*_OPENED, _BURNED, ("card", "transfer out", {}), *_says(codes.OK), *_says(codes.REPEAT)),
        {"code": codes.REPEAT, "binding": 1, "remaining": 0, "reasons": SHUT_UNBOUND, **_SHUT},
    ),
    "transfer out, another heir": Flow(
        (
            *_OPENED,
            _BURNED,
            ("card", "transfer out", {}),
            *_says(codes.OK),
            ("card", "transfer out", {"card": 91}),
            *_says(codes.REPEAT),
            ("card", "transfer out", {"heir": {"binding": 2}}),
            *_says(codes.SEQUENCE_CONFLICT),
            ("card", "clear", {}),
            *_says(codes.NOT_BOUND),
        ),
        {"code": codes.NOT_BOUND, "binding": 1, "remaining": 0, "reasons": SHUT_UNBOUND, **_SHUT},
    ),
    "transfer in": Flow(
        (
            *_BUILD,
            ("card", "transfer in", {**_TO_ME, "final": {"bought_total": 3000, "used": 1000, "register": 1000}}),
            *_says(codes.OK, remaining=2000, **_OPEN),
            *_says(codes.REPEAT),
            ("card", "user", {"sequence": 2, "bought_total": 2500, "amount": 500}),
            *_says(codes.OK),
        ),
        {"code": codes.OK, "binding": 1, "sequence": 2, "bought_total": 2500, "remaining": 2500, **_OPEN},
    ),
    "transfer in, no more than may be": Flow(
        (
            *_BUILD,
            ("card", "transfer in", {**_TO_ME, "final": {"bought_total": 99_000}, "heir": {"meter": METER, **_MOST}}),
            *_says(codes.OK),
        ),
        {"code": codes.OK, "binding": 1, "bought_total": 1500, "remaining": 1500, **_OPEN},
    ),
    "transfer in of what is owed": Flow(
        (
            *_BUILD,
            ("card", "transfer in", {**_TO_ME, "final": {"bought_total": 1000, "used": 1030, "register": 1030}}),
            *_says(codes.OK, remaining=-30, **_SHUT),
            ("card", "user", {"sequence": 2, "bought_total": 500, "amount": 500, "correction_total": 30}),
            *_says(codes.OK),
        ),
        {"code": codes.OK, "binding": 1, "bought_total": 500, "remaining": 470},
    ),
    "transfer in, final record forged": Flow(
        (
            *_BUILD,
            ("card", "transfer in", {**_TO_ME, "final": {"bought_total": 3000}, "wrong_final": 1}),
            *_says(codes.MAC),
        ),
        {"code": codes.MAC, "binding": 0, "tokens": 7, "counter": TRIES_FULL, "reasons": SHUT_UNBOUND},
    ),
    "transfer in before out": Flow(
        (*_BUILD, ("card", "transfer in", _TO_ME), *_says(codes.NO_FINAL_RECORD)),
        {"code": codes.NO_FINAL_RECORD, "binding": 0, "tokens": 8, "counter": TRIES_FULL, "reasons": SHUT_UNBOUND},
    ),
    "management": Flow(
        (*_OPENED, _BURNED, ("card", "management", {}), *_says(codes.OK), *_says(codes.OK), *_says(codes.CARD_FULL)),
        {"code": codes.CARD_FULL, "remaining": 2000, "tokens": 8, "counter": TRIES_FULL, **_OPEN},
    ),
    "setting": Flow(
        (
            *_BUILD,
            ("card", "setting", {"service_number": 3, "what": SET_CLOCK | SET_GUARDS, **GUARD_LIMITS, **_CLOCK}),
            *_says(codes.OK),
            *_says(codes.REPEAT),
            ("card", "setting", {"service_number": 4, "what": SET_INDEX, "index": 123_456}),
            *_says(codes.OK),
            ("card", "setting", {"service_number": 2, "what": SET_GUARDS}),
            *_says(codes.OLDER),
            *_FIRST,
            ("gas", 30_000, 30_000),
        ),
        {"reasons": SHUT_LARGE_FLOW, "binding": 1, **_SHUT},
    ),
    "setting all at once": Flow(
        (
            *_BUILD,
            ("card", "setting", {"service_number": 1, "what": SET_GUARDS, "shut": 1, "report": 1}),
            *_says(codes.OK),
            ("card", "setting", {"service_number": 2, "what": 7, "index": 77, **GUARD_LIMITS, **_CLOCK}),
            *_says(codes.OK),
        ),
        {"code": codes.OK, "reasons": SHUT_UNBOUND, "counter": TRIES_FULL, **_SHUT},
    ),
    "clock of a bound meter": Flow(
        (
            *_OPENED,
            ("card", "setting", {"service_number": 1, "what": SET_CLOCK, **_CLOCK}),
            *_says(codes.OK),
            ("card", "setting", {"service_number": 2, "what": SET_GUARDS}),
            *_says(codes.NOT_UNBOUND),
        ),
        {"code": codes.NOT_UNBOUND, "remaining": 3000, "tokens": 8, **_OPEN},
    ),
    "keys from the factory": Flow(
        (
            ("build", {"factory_key": FACTORY_KEY}),
            ("card", "opening", {"bought_total": 3000}),
            *_says(codes.REGION),
            ("card", "key", {"key_version": 1}),
            *_says(codes.OK),
            *_says(codes.KEY_VERSION),
            *_FIRST,
        ),
        {"code": codes.OK, "binding": 1, "remaining": 3000, **_OPEN},
    ),
    "keys of a bound meter": Flow(
        (
            *_OPENED,
            _BURNED,
            ("card", "key", {"key_version": 2, "key_from": 1}),
            *_says(codes.OK),
            ("card", "key", {"key_version": 2, "key_from": 1}),
            *_says(codes.KEY_VERSION),
            ("card", "key", {"key_version": 1, "key_from": 2}),
            *_says(codes.KEY_VERSION),
            _SECOND,
            *_says(codes.OK),
        ),
        {"code": codes.OK, "sequence": 2, "bought_total": 5000, "remaining": 4000, **_OPEN},
    ),
    "test gas": Flow(
        (
            *_BUILD,
            ("card", "test gas", {"bought_total": 30}),
            *_says(codes.OK, remaining=0, **_OPEN),
            # A pulse a second: three pass while the valve shuts, and are owed.
            ("gas", 60_000, 60_000),
            ("expect", {"register": 33, "reasons": SHUT_UNBOUND, **_SHUT}),
            *_says(codes.REPEAT, **_SHUT),
            ("card", "test gas", {"bought_total": 29}),
            *_says(codes.OLDER),
            ("card", "test gas", {"bought_total": 1001}),
            *_says(codes.TEST_GAS),
            ("card", "test gas", {"bought_total": 40}),
            *_says(codes.OK, **_OPEN),
            ("gas", 7_000, _HOUR),
        ),
        {"register": 40, "remaining": 0, "reasons": SHUT_UNBOUND, **_SHUT},
    ),
    "test gas, then a customer": Flow(
        (
            *_BUILD,
            ("card", "test gas", {"bought_total": 1000}),
            *_says(codes.OK, **_OPEN),
            ("gas", 20_000, _HOUR),
            *_FIRST,
            ("gas", 10_000, _HOUR),
            ("expect", {"remaining": 2990}),
            ("card", "clear", {}),
            *_says(codes.OK, **_SHUT),
            ("key",),
            ("expect", {"reasons": SHUT_UNBOUND, **_SHUT}),
            ("card", "test gas", {"bought_total": 1000, "binding": 2}),
            *_says(codes.NOT_UNBOUND),
        ),
        {"code": codes.NOT_UNBOUND, "register": 30, "reasons": SHUT_UNBOUND, **_SHUT},
    ),
    "company card with one try left": Flow(
        (
            *_OPENED,
            ("card", "clear", {}),
            ("chip", {"counter": 0x01}),
            *_says(codes.ONE_TRY_LEFT, remaining=3000),
            ("card", "management", {}),
            ("chip", {"counter": 0x01}),
            *_says(codes.ONE_TRY_LEFT),
        ),
        {"code": codes.ONE_TRY_LEFT, "remaining": 3000, "counter": 0x01, "tokens": 8, **_OPEN},
    ),
    "company card on another chip": Flow(
        (*_OPENED, ("card", "clear", {}), ("chip", {"psc": b"\x00\x01\x02"}), *_says(codes.PASSWORD_REFUSED)),
        {"code": codes.PASSWORD_REFUSED, "remaining": 3000, "counter": 0x06, **_OPEN},
    ),
    "company card of another meter": Flow(
        (
            *_OPENED,
            *(
                step
                for kind in ("clear", "test gas", "transfer out", "key")
                for step in (("card", kind, {"meter": THIRD_METER, "key_version": 1}), *_says(codes.METER))
            ),
        ),
        {"code": codes.METER, "remaining": 3000, "tokens": 8, "counter": TRIES_FULL, **_OPEN},
    ),
    "company card that is forged": Flow(
        (
            *_OPENED,
            ("card", "clear", {"wrong_mac": 1}),
            *_says(codes.MAC, tokens=7),
            ("card", "management", {"wrong_mac": 1}),
            *_says(codes.MAC, tokens=6),
        ),
        {"code": codes.MAC, "remaining": 3000, "tokens": 6, "counter": TRIES_FULL, **_OPEN},
    ),
}
