# What the company's own cards do to a meter (gascard.tools): clear it, move its gas to another meter, read it out, set
# it, give it keys, let it burn a little for a test. Loaded when such a card comes; a build may leave it out.
#
# Theory of operation. Every card is judged as a customer's is: what needs no key first, then a token, then the MAC, and
# only a genuine card has its password presented, never with one try left. What ends a binding (clear, transfer out)
# shuts the valve and waits until it has stopped; pulses of its travel are counted. Then the final record is stored,
# the account says that it is over, in both copies, and only then the record goes on the card. A card pulled before that
# has changed nothing; the same card gets the same record afterwards, as often as it comes. So at any instant exactly
# one meter can deliver the gas.

try:
    from micropython import const
except ImportError:
    const = lambda x: x  # noqa: E731

from gascard import codes
from gascard.codec import unpack
from gascard.frames import build, check, check_identity, mac_at, mac_right, read, unfilled
from gascard.keys import ORDER_KEY, REPORT_KEY, WRAP_KEY, derive, equal, mask_psc
from gascard.records import (
    BCD7,
    BINDING_MAX,
    CARD_CLEAR,
    CARD_KEY,
    CARD_MANAGEMENT,
    CARD_SETTING,
    CARD_TEST,
    CARD_TRANSFER,
    IDENTITY,
    IDENTITY_AT,
    ORDER,
    REPORT_AT,
    REPORT_DATA,
    REPORT_NUMBER_MAX,
    S24_MAX,
    SHUT_UNBOUND,
    TOTAL_MAX,
    U8,
    U16,
    Layout,
    size_of,
)
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
    SET_ALL,
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
from meter import events
from meter.layouts import BOUND, CLOSED, FACTORY, FINAL_RECORD_AT, KEYED, TRANSFERRED
from meter.lockout import CARDS
from meter.store import FAULTS, read_small, write_small

TYPE_CHECKING = False
if TYPE_CHECKING:
    from meter.meter import Meter
    from meter.session import Session

# What the meter said last of a binding that is over, and for a transfer whom the gas goes to. It counts only while the
# account says so: a cut before that leaves a record of a binding that still runs.
FINAL_RECORD = Layout(
    *REPORT_DATA,
    ("new_meter", BCD7),
    ("new_binding", U8),
    ("crc", U16),
)
_NOBODY = "00000000000000"


def visit(session: "Session", meter: "Meter", image: bytearray) -> int:
    """A card of the company's is in the slot, ``image`` its 256 bytes: serve it. The code of the judging.

    The session is active afterwards if something is to be written to the card.
    """
    code = check_identity(image)
    if code:
        return code
    identity = unpack(IDENTITY, image, IDENTITY_AT)
    layout, kind, serve = _CARDS[identity["kind"]]
    code = check(image, TOOL_AT, size_of(layout))
    if code:
        return code
    values = read(layout, image, TOOL_AT)
    if not values or (layout is ORDER and unfilled(values)):
        return codes.SHAPE
    keys = meter.keys.values
    if identity["region"] != keys["region"] if keys["state"] == KEYED else kind != KEY:
        return codes.REGION
    if image[TOOL_AT + 1] != kind:
        return codes.KIND
    return serve(session, meter, image, identity, values)


def _judge(meter: "Meter", image: bytearray, at: int, size: int, identity: dict, parent: bytes) -> int:
    # A token, then the MAC of the frame at ``at``, made with the order key below ``parent``.
    if not meter.lockout.take(CARDS):
        return codes.LOCKED_OUT
    if mac_right(image, at, size, identity["card"], identity["region"], derive(parent, ORDER_KEY)):
        return codes.OK
    meter.lockout.failed(CARDS)
    return codes.MAC


def _unlock(session: "Session", identity: dict, values: dict, parent: bytes) -> int:
    psc = mask_psc(derive(parent, WRAP_KEY), identity["card"], values["psc_mask"])
    code = session.verify(identity["card"], psc)
    return codes.ONE_TRY_LEFT if code == codes.REPORT_NOT_WRITTEN else code


# --- what ends a binding


def _clear(session: "Session", meter: "Meter", image: bytearray, identity: dict, order: dict) -> int:
    return _end(session, meter, image, identity, order, ORDER, CLOSED)


def _end(
    session: "Session", meter: "Meter", image: bytearray, identity: dict, order: dict, layout: Layout, state: int
) -> int:
    # End the binding that ``order`` names, or write once more what was said when it ended.
    keys, own = meter.keys.values, meter.account.values
    if order["meter"] != keys["meter"]:
        return codes.METER
    if own["state"] not in (BOUND, state):
        return codes.NOT_BOUND
    if order["binding"] != own["binding"]:
        return codes.BINDING
    if order["key_version"] != keys["key_version"]:
        return codes.KEY_VERSION
    code = _judge(meter, image, TOOL_AT, size_of(layout), identity, keys["key"])
    if code:
        return code
    heir = order.get("new_meter", _NOBODY), order.get("new_binding", 0)
    final = None
    if own["state"] != BOUND:
        final = _final(meter)
        if not final or final["binding"] != own["binding"]:
            return codes.STORE_LOST
        if (final["new_meter"], final["new_binding"]) != heir:
            return codes.SEQUENCE_CONFLICT
    elif meter.state.values["report_number"] >= REPORT_NUMBER_MAX:
        return codes.NUMBER_USED_UP
    code = _unlock(session, identity, order, keys["key"])
    if code:
        return code
    key = keys["key"]
    if state == TRANSFERRED:
        context = wrap_context(own["binding"], *heir)
        key = masked(order["transfer_key"], derive(derive(key, WRAP_KEY), TRANSFER_KEY, context))
    closing = Closing(session, meter, identity, derive(key, REPORT_KEY))
    if final:
        meter.account.confirm()  # a cut may have missed its second copy, and the card is believed elsewhere
        closing.put(final)
        return codes.REPEAT
    closing.begin(state, mac_at(image, TOOL_AT, size_of(layout)), heir)
    return codes.OK


def _final(meter: "Meter") -> "dict | None":
    for at in FINAL_RECORD_AT:
        values = read_small(meter.memory, at, FINAL_RECORD)
        if values:
            return values
    return None


class Closing:
    """Stands in the session's place while the valve of a binding that ends is on its way."""

    def __init__(self, session: "Session", meter: "Meter", identity: dict, key: bytes) -> None:
        self._session = session
        self._meter = meter
        self._identity = identity
        self._key = key
        self._state = BOUND
        self._mac = b""
        self._heir = (_NOBODY, 0)
        self.active = True

    def begin(self, state: int, mac: bytes, heir: "tuple[str, int]") -> None:
        """Shut the valve; what is written afterwards is of an account in ``state``, ended by the order of ``mac``."""
        self._state = state
        self._mac = mac
        self._heir = heir
        meter = self._meter
        self._session.active = True  # the slot stays powered
        # Not a Session by its type, but all that the core asks of one: active, insert, step, end.
        meter.session = self  # type: ignore[assignment]
        meter.ending = SHUT_UNBOUND
        meter.review()

    def insert(self) -> int:
        """A card, while this one should be in: the switch bounced, or the card was changed. Nothing has ended."""
        self.end()
        return self._session.insert()

    def end(self) -> None:
        """The card is gone, or the power: the binding goes on."""
        self._give_back()
        self._session.end()
        self._meter.review()

    def _give_back(self) -> None:
        self._meter.session = self._session
        self._meter.ending = 0

    def step(self) -> int:
        """Wait for the valve, then end the binding: OK, or FAULT."""
        if self._meter.valve.moving:
            return codes.OK
        try:
            self._close()
        except FAULTS as cause:
            self._give_back()
            self._meter.fail(cause)
            return codes.FAULT
        return codes.OK

    def _close(self) -> None:
        meter = self._meter
        state = meter.state.values
        state["report_number"] += 1
        meter.save_state()
        values = meter.report()
        values["new_meter"], values["new_binding"] = self._heir
        for at in FINAL_RECORD_AT:
            write_small(meter.memory, at, FINAL_RECORD, values)
        account = dict(meter.account.values)
        account["state"] = self._state
        account["order_mac"] = self._mac
        meter.account.commit(account, True)
        self._give_back()
        meter.note(events.ENDED, account["binding"])
        meter.review()
        self.put(values)

    def put(self, values: dict) -> None:
        """Have the final record written to the card."""
        card, region = self._identity["card"], self._identity["region"]
        self._session.put(build(REPORT_DATA, values, FINAL, card, region, self._key), FINAL_AT)


# --- the gas of another meter


def _transfer(session: "Session", meter: "Meter", image: bytearray, identity: dict, out: dict) -> int:
    own = meter.keys.values["meter"]
    if out["meter"] == out["new_meter"]:
        return codes.SHAPE  # whose gas no meter could take
    if out["meter"] == own:
        return _end(session, meter, image, identity, out, TRANSFER, TRANSFERRED)
    return _take_in(session, meter, image, identity, out) if out["new_meter"] == own else codes.METER


def _take_in(session: "Session", meter: "Meter", image: bytearray, identity: dict, out: dict) -> int:
    keys, account = meter.keys.values, meter.account
    size = size_of(ORDER)
    code = check(image, TRANSFER_IN_AT, size)
    if code:
        return code
    order = read(ORDER, image, TRANSFER_IN_AT)
    if not order or unfilled(order):
        return codes.SHAPE
    if image[TRANSFER_IN_AT + 1] != TRANSFER_IN:
        return codes.KIND
    code = _addressed(order, meter)
    mac = mac_at(image, TRANSFER_IN_AT, size)
    if code:
        same = order["binding"] == account.values["binding"] and equal(mac, account.values["order_mac"])
        if code != codes.BINDING or not same:
            return code
        account.confirm()
        return codes.REPEAT
    final = None
    if not check(image, FINAL_AT, size_of(REPORT_DATA)) and image[FINAL_AT + 1] == FINAL:
        final = read(REPORT_DATA, image, FINAL_AT)
    if not final or (final["meter"], final["binding"]) != (out["meter"], out["binding"]):
        return codes.NO_FINAL_RECORD
    code = _judge(meter, image, TRANSFER_IN_AT, size, identity, keys["key"])
    if code:
        return code
    key = derive(keys["key"], TRANSFER_KEY, transfer_context(final["meter"], final["binding"], order["binding"]))
    key = derive(key, REPORT_KEY)
    if not mac_right(image, FINAL_AT, size_of(REPORT_DATA), identity["card"], identity["region"], key):
        meter.lockout.failed(CARDS)
        return codes.MAC
    # The order's total is the most that may be moved; what was burned below zero comes along as a correction.
    left = final["bought_total"] - final["used"] - final["correction_total"]
    if left < -S24_MAX:
        return codes.RANGE
    order["bought_total"] = max(0, min(left, order["bought_total"]))
    order["correction_total"] = max(0, -left)
    code, values, lowers = account.plan(order, identity["card"], mac, meter.register.value)
    if not values:
        return code
    code = _unlock(session, identity, order, keys["key"])
    if code:
        return code
    meter.journal(values, lowers)
    meter.asked()
    session.put(b"", REPORT_AT[0])  # nothing: its order stays, so that the card can be shown again
    return codes.OK


def _addressed(order: dict, meter: "Meter") -> int:
    # What binds a meter: for this one, free, and for its next binding?
    keys, own = meter.keys.values, meter.account.values
    if order["meter"] != keys["meter"]:
        return codes.METER
    if own["state"] == BOUND:
        return codes.ALREADY_BOUND if order["binding"] == own["binding"] + 1 else codes.BINDING
    if own["binding"] >= BINDING_MAX:
        return codes.NUMBER_USED_UP
    if order["binding"] != own["binding"] + 1 or order["binding"] < keys["binding"]:
        return codes.BINDING
    if order["pulse_weight"] != meter.settings.pulse_weight:
        return codes.WEIGHT
    return codes.OK if order["key_version"] == keys["key_version"] else codes.KEY_VERSION


# --- what changes no account


def _test(session: "Session", meter: "Meter", image: bytearray, identity: dict, order: dict) -> int:
    # The order tells all the test gas this meter was ever given, as an account's tells all that was bought.
    key, state = meter.keys.values["key"], meter.state.values
    if order["meter"] != meter.keys.values["meter"]:
        return codes.METER
    if meter.account.bound or meter.account.values["binding"]:
        return codes.NOT_UNBOUND
    code = _addressed(order, meter)
    if not code:
        code = _judge(meter, image, TOOL_AT, size_of(ORDER), identity, key)
    if code:
        return code
    total, more = order["bought_total"], order["bought_total"] - state["test_gas"]
    # What passed beyond the last end, while the valve shut, is owed.
    end = (state["test_gas_end"] or meter.register.value) + more
    if more < 0:
        return codes.OLDER
    if total > meter.settings.test_gas:
        return codes.TEST_GAS
    if end > TOTAL_MAX:
        return codes.RANGE
    code = _unlock(session, identity, order, key)
    if code:
        return code
    if more:
        state["test_gas"] = total
        state["test_gas_end"] = end
        meter.save_state()
        meter.note(events.TEST_GAS, min(0xFFFF, more))
    meter.asked()
    return session.prepare(identity) or (codes.OK if more else codes.REPEAT)


def _expired(meter: "Meter", values: dict) -> bool:
    now = max(meter.minutes, meter.account.values["latest_time"])
    return 0 < values["expires"] < now


def _manage(session: "Session", meter: "Meter", image: bytearray, identity: dict, values: dict) -> int:
    keys = meter.keys.values
    if values["key_version"] != keys["key_version"]:
        return codes.KEY_VERSION
    if _expired(meter, values):
        return codes.EXPIRED
    code = _judge(meter, image, TOOL_AT, size_of(MANAGEMENT), identity, keys["tool_key"])
    if code:
        return code
    for at in REPORT_AT:
        # A report that was cut short is none; one that is whole has not been read, whatever its version.
        if check(image, at, size_of(REPORT_DATA)) in (codes.SHAPE, codes.CRC):
            break
    else:
        return codes.CARD_FULL
    return _unlock(session, identity, values, keys["tool_key"]) or session.prepare(identity, at)


def _set(session: "Session", meter: "Meter", image: bytearray, identity: dict, values: dict) -> int:
    keys, state, what = meter.keys.values, meter.state.values, values["what"]
    named = values["meter"] == keys["meter"]
    if not what or what & ~SET_ALL or (what & SET_INDEX and values["meter"] == ANY):
        return codes.SHAPE
    if not named and values["meter"] != ANY:
        return codes.METER
    if values["key_version"] != keys["key_version"]:
        return codes.KEY_VERSION
    if what & (SET_INDEX | SET_GUARDS) and meter.account.bound:
        return codes.NOT_UNBOUND
    if _expired(meter, values):
        return codes.EXPIRED
    code = _judge(meter, image, TOOL_AT, size_of(SETTING), identity, keys["tool_key"])
    if code:
        return code
    if values["service_number"] < state["service_number"]:
        return codes.OLDER
    if what & SET_INDEX and values["index"] >= meter.settings.wheels:
        return codes.RANGE
    code = _unlock(session, identity, values, keys["tool_key"])
    if code:
        return code
    repeat = values["service_number"] == state["service_number"]
    if not repeat:
        # The number last: a card that was cut short is taken again from the beginning.
        if what & SET_GUARDS:
            meter.set_limits(values)
        if what & SET_INDEX:
            state["index_offset"] = (values["index"] - meter.register.value) % meter.settings.wheels
        if what & SET_CLOCK:
            meter.clock(values["clock"])
            meter.clock_set = values["clock"]
        state["service_number"] = values["service_number"]
        meter.save_state()
        meter.note(events.SET, what)
    return session.prepare(identity, REPORT_AT[1]) or (codes.REPEAT if repeat else codes.OK)


def _give_keys(session: "Session", meter: "Meter", image: bytearray, identity: dict, values: dict) -> int:
    keys = meter.keys.values
    parent, version = keys["key"], values["key_version"]
    if values["meter"] != keys["meter"]:
        return codes.METER
    if not any(parent):
        return codes.REGION  # left the factory without a key: nobody can give it others
    if version <= keys["key_version"]:
        meter.keys.confirm()  # a cut may have left the key before it in the other copy
        return codes.KEY_VERSION
    code = _judge(meter, image, TOOL_AT, size_of(KEY_BLOCK), identity, parent)
    if not code:
        code = _unlock(session, identity, values, parent)
    if code:
        return code
    account = meter.account
    if account.values["state"] == FACTORY:
        account.commit(dict(account.values, state=KEYED), True)
    wrap = derive(parent, WRAP_KEY)
    new = dict(keys)
    new["state"] = KEYED
    new["region"] = identity["region"]
    new["key_version"] = version
    for i, name in enumerate(("key", "tool_key")):
        new[name] = masked(values[name], derive(wrap, KEY_WRAP, key_context(identity["region"], version, i)))
    # Both copies: no key that is over stays readable.
    meter.keys.commit(new, True)
    meter.note(events.KEYED, version)
    return session.prepare(identity, REPORT_AT[1])


_CARDS = {
    CARD_CLEAR: (ORDER, ORDER_CLEAR, _clear),
    CARD_TRANSFER: (TRANSFER, TRANSFER_OUT, _transfer),
    CARD_MANAGEMENT: (MANAGEMENT, MANAGE, _manage),
    CARD_SETTING: (SETTING, SET, _set),
    CARD_KEY: (KEY_BLOCK, KEY, _give_keys),
    CARD_TEST: (ORDER, ORDER_TEST, _test),
}
