"""The truth-keepers: each passes what is true, finds what is not, and reads what the firmware reads."""

import ast
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import portable_tools as company
import pytest
from portable_judging import CARD, KEY, METER, REGION, Stand, card
from portable_store import CLEAN, GARBAGE, CutEeprom, CutFram, Fuse, PowerCut, counting, tally

from gascard import codes, frames, keys
from gascard.codec import unpack
from gascard.records import (
    FLAG_PARAMETERS,
    FLAG_REFUND,
    ORDER,
    ORDER_AT,
    ORDER_OPENING,
    REPORT,
    REPORT_AT,
    REPORT_DATA,
)
from gashall.signer import KeyFileSigner
from gasrig import checkers
from gasrig.bench import Bench
from gasrig.checkers import (
    RULES,
    Card,
    GasBooks,
    KeySet,
    Store,
    Violation,
    Watch,
    account_steady,
    alarm_true,
    binding_first,
    credited_once,
    final_kept,
    final_told,
    final_true,
    granted_steady,
    granted_true,
    guard_kept,
    keys_whole,
    lockout_held,
    never_back,
    only_report_slots,
    opened_by_person,
    outside_unchanged,
    read_card,
    read_store,
    register_true,
    report_kept,
    reports_true,
    settings_kept,
    tries_kept,
    unread_kept,
    valve_true,
)
from gasrig.flows import FLOWS, ROOT, play
from gasrig.flows import METER as FLOW_METER
from gasrig.handset import MeterUnderTest
from gasrig.parts import REEDS_SWAPPED, Fram
from gasrig.targets import Target
from meter.layouts import ACCOUNT_AT, CHECKPOINT_AT, KEYS_AT, LOCKOUT_AT, STATE_AT, TALLY_AT
from meter.lockout import CARDS, Lockout
from meter.meter import Meter
from meter.store import Register
from meter.valve import OPEN, SHUT

KEYS = KeySet(KEY)
LENGTH = 64
SOURCE = Path(checkers.__file__)


def breaks(rule: str) -> Any:
    """The check raises a Violation of this rule."""
    return pytest.raises(Violation, match=rf"^{rule}: ")


def read(stand: Stand) -> Store:
    return read_store(stand.memory.cells, stand.key_memory.cells, 1, LENGTH)


@pytest.fixture
def stand() -> Stand:
    return Stand()


@pytest.fixture(scope="module")
def bound() -> Store:
    """Bound, sequence 3, 5000 pulses bought, 100 burned."""
    return read(Stand())


# --- standing alone


def test_checkers_import_nothing_they_judge_nor_any_other_of_ours() -> None:
    allowed = {"binascii", "collections.abc", "dataclasses", "functools", "hmac", "struct", "typing", "zlib"}
    found: set[str] = set()
    for node in ast.walk(ast.parse(SOURCE.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            found.add(node.module or "")
        elif isinstance(node, ast.Name):
            assert node.id not in {"__import__", "importlib", "exec", "eval"}
    assert found <= allowed
    assert found <= set(sys.stdlib_module_names) | {"collections.abc"}


def test_importing_checkers_loads_nothing_of_ours() -> None:
    program = (
        "import sys, gasrig.checkers\n"
        "ours = ('meter', 'gascard', 'gashall', 'gasrig')\n"
        "print(*sorted(name for name in sys.modules if name.split('.')[0] in ours))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["gasrig", "gasrig.checkers"]


def test_every_rule_is_named_and_every_name_is_a_rule() -> None:
    raised = set()
    for node in ast.walk(ast.parse(SOURCE.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Violation":
            assert isinstance(node.args[0], ast.Constant)
            raised.add(node.args[0].value)
    assert raised == RULES.keys()
    assert all(
        text.endswith(")") and any(word in text for word in ("RULES", "SPEC", "DESIGN")) for text in RULES.values()
    )


def test_violation_says_rule_and_text() -> None:
    fault = Violation("valve_true", "gas flows")
    assert (fault.rule, fault.text, str(fault)) == ("valve_true", "gas flows", "valve_true: gas flows")
    assert isinstance(fault, AssertionError)


# --- decoders


def test_crc_and_keys_are_those_of_the_documents() -> None:
    assert checkers.x25(b"123456789") == 0x906E
    assert (KEYS.order, KEYS.report, KEYS.wrap) == tuple(
        keys.derive(KEY, name) for name in (b"order", b"report", b"wrap")
    )
    # docs/SPEC.md, section 12.
    signer = KeyFileSigner(ROOT, 0x0021)
    assert KeySet(signer.meter_keys("32060012345678", 1)[0]).order.hex() == "ae3beb42b95e081d3b968eee5e1536b6"
    assert "key" not in repr(KEYS).lower().replace("keyset", "")


def agrees(store: Store, meter: Meter) -> None:
    """The store read by hand and the meter that has recovered from it say the same."""
    account, state, record = meter.account.values, meter.state.values, meter.keys.values
    assert not store.lost
    assert store.register == meter.register.value
    assert store.bound == meter.account.bound
    assert store.remaining == meter.remaining
    for name in ("state", "binding", "replacement", "sequence", "bought_total", "register_at_binding"):
        assert getattr(store, name) == account[name], name
    for name in ("correction_total", "overdraft", "alarm", "order_mac", "card", "account"):
        assert getattr(store, name) == account[name], name
    assert store.report_number == state["report_number"]
    assert store.alarm_seen == (state["alarm_binding"], state["alarm_sequence"])
    assert (store.key_binding, store.key_version) == (record["binding"], record["key_version"])
    assert (store.meter, store.region) == (record["meter"], record["region"])
    assert store.tokens == meter.lockout.stored[CARDS]
    for name in ("test_gas", "test_gas_end", "service_number", "index_offset"):
        assert getattr(store, name) == state[name], name
    assert store.key == record["key"] + record["tool_key"]
    assert store.limits[:6] == b"".join(
        meter.limits.values[name].to_bytes(2, "big") for name in ("report", "shut", "pause_seconds")
    )


class Beside(Target):
    """A bench in this process, judged after every request."""

    name = "cpython"

    def __init__(self) -> None:
        self.bench = Bench()
        self.watch: Watch | None = None
        self.inserted = b""
        self.looks = 0

    def ask(self, identifier: int, body: bytes = b"", *, timeout: float | None = None) -> bytes:
        bench = self.bench
        if identifier == 0xF005:
            self.inserted = bytes(bench._card)
        answer = bench.answer(identifier, body)
        cells, key_cells, index = bench.memory.cells, bench.key_memory.cells, bench.wheels.pulses
        if identifier == 0xF001:
            key, _ = KeyFileSigner(ROOT, 0xFFFF).meter_keys(FLOW_METER, 1)
            self.watch = Watch(FLOW_METER, key, bench.settings.lanes, bench.settings.lane_length)
            self.watch.made(cells, key_cells, index)
        assert self.watch is not None
        if identifier == 0xF009 and not body[0]:
            self.watch.cut(0)
        powered = bench._core is not None
        flows = None
        if powered and bench.meter.valve.state in (SHUT, OPEN) and not bench.motor.jammed:
            flows = bench.motor.flows
        # Reeds led backwards owe what they have turned, one pulse at most.
        unseen = bench.wheels.unseen + (bench.wheels.fired >> REEDS_SWAPPED & 1)
        store = self.watch.look(cells, key_cells, index, flows=flows, powered=powered, uncounted=unseen)
        if identifier == 0xF006:
            self.watch.visit(self.inserted, bytes(bench._card), cells, key_cells)
        if powered:
            agrees(store, bench.meter)
        self.looks += 1
        return answer


@pytest.mark.parametrize("name", FLOWS)
def test_every_flow_is_read_as_the_firmware_reads_it_and_breaks_no_rule(name: str) -> None:
    target = Beside()
    play(FLOWS[name], MeterUnderTest(target))
    assert target.looks >= 2
    # And what a core that starts over the same memory recovers.
    bench = target.bench
    before = read_store(bench.memory.cells, bench.key_memory.cells, bench.settings.lanes, bench.settings.lane_length)
    bench.power_on()
    assert before.register == bench.meter.register.value
    assert before.remaining == bench.meter.remaining
    assert before.tokens == bench.meter.lockout.tokens[CARDS]


@pytest.mark.parametrize("lanes, kind, batch", [(1, CutFram, 1), (1, CutFram, 16), (1, CutFram, 64), (4, CutEeprom, 1)])
def test_torn_registers_are_read_as_the_firmware_recovers_them(lanes: int, kind: Any, batch: int) -> None:
    fired = 0
    capacity = lanes * LENGTH
    for generation in (0, 1, 0xFFFF):
        for start in (0, 29, capacity - 3):
            made = kind(TALLY_AT + capacity)
            tally(made, lanes, LENGTH, generation, 1000, start)
            image = bytes(made.cells)
            for torn in (CLEAN, *GARBAGE):
                for at in range(2 * batch + 12):
                    memory = kind(TALLY_AT + capacity, Fuse())
                    memory.cells[:] = image
                    _, _, many = counting(memory, lanes, LENGTH)
                    memory.fuse = Fuse(at, torn)
                    try:
                        for _ in range(5):
                            many(batch)
                    except PowerCut:
                        fired += 1
                    memory.fuse = Fuse()
                    by_hand = checkers._register(bytes(memory.cells), lanes, LENGTH)
                    register = Register(memory, lanes, LENGTH)
                    assert register.recover()
                    assert by_hand == register.value, (generation, start, torn, at)
    assert fired > 450


@pytest.mark.parametrize("lanes, length", [(1, 64), (1, 192), (1, 256), (4, 64), (4, 128)])
def test_damaged_registers_are_read_as_the_firmware_recovers_them(lanes: int, length: int) -> None:
    chance = random.Random(lanes * 1000 + length)
    capacity = lanes * length
    lost = 0
    for _ in range(1500):
        memory = Fram(TALLY_AT + capacity)
        generation = chance.choice((0, 1, 7, 0xFFFF))
        base = chance.choice((1000, 99_999_999 - capacity, 99_999_999 - capacity // 2))
        tally(memory, lanes, length, generation, base, chance.choice((0, capacity, chance.randrange(capacity + 1))))
        for _ in range(chance.choice((0, 1, 2, 3, 8))):
            memory.cells[TALLY_AT + chance.randrange(capacity)] = chance.choice((0x00, 0xFF, 0xA5, 0x5A))
        if chance.random() < 0.2:
            page = TALLY_AT + chance.randrange(capacity // 64) * 64
            memory.cells[page : page + 64] = bytes((chance.choice((0x00, 0xA5, 0x5A)),)) * 64
        if chance.random() < 0.3:
            memory.cells[chance.choice(CHECKPOINT_AT) + chance.randrange(8)] ^= 1 << chance.randrange(8)
        by_hand = checkers._register(bytes(memory.cells), lanes, length)
        register = Register(memory, lanes, length)
        recovered = register.value if register.recover() else None
        lost += recovered is None
        assert by_hand == recovered
    assert lost < 750


def test_checkpoint_that_cannot_be_read_follows_from_the_other() -> None:
    for lanes in (1, 4):
        memory = Fram(TALLY_AT + lanes * 64)
        tally(memory, lanes, 64, 5, 1000, 20)
        memory.cells[CHECKPOINT_AT[1] + 4] ^= 1
        assert checkers._register(bytes(memory.cells), lanes, 64) == 1020
        memory.cells[CHECKPOINT_AT[0] + 4] ^= 1
        assert checkers._register(bytes(memory.cells), lanes, 64) is None


def test_damaged_copies_are_read_as_the_firmware_reads_them() -> None:
    chance = random.Random(5)
    places = (*ACCOUNT_AT, *STATE_AT, *(LOCKOUT_AT + 64 * place for place in range(8)))
    whole = 0
    for _ in range(300):
        stand = Stand()
        for sequence in range(chance.randrange(3)):
            stand.visit(card(sequence=4 + sequence, bought_total=6000 + sequence, ceiling=0))
        stand.visit(card(key=b"x" * 16, sequence=9))
        for place in chance.sample(places, 2):
            stand.memory.cells[place + chance.randrange(6)] ^= 1 << chance.randrange(8)
        if chance.random() < 0.5:
            stand.key_memory.cells[chance.choice(KEYS_AT) + chance.randrange(64)] ^= 0x10
        store = read(stand)
        code = stand.boot()
        assert store.lost == (code == codes.STORE_LOST)
        lockout = Lockout(stand.memory)
        lockout.recover()
        assert store.tokens == lockout.stored[CARDS]
        if not store.lost:
            agrees(store, stand.meter)
            whole += 1
    assert whole > 200


def test_store_that_cannot_be_read_says_so(stand: Stand) -> None:
    for at, name in ((CHECKPOINT_AT, "register"), (ACCOUNT_AT, "state"), (STATE_AT, "report_number")):
        cells = bytearray(stand.memory.cells)
        for place in at:
            cells[place + 4] ^= 0xFF
        store = read_store(cells, stand.key_memory.cells, 1, LENGTH)
        assert store.lost and getattr(store, name) is None and store.remaining == 0
    store = read_store(stand.memory.cells, bytes(0x80), 1, LENGTH)
    assert store.lost and store.keys_lost and not store.keyed
    with pytest.raises(ValueError, match="fit"):
        read_store(stand.memory.cells, stand.key_memory.cells, 4, LENGTH)


def test_card_gives_all_fields_of_authentic_frames(stand: Stand) -> None:
    stand.visit(stand.chip)
    found = read_card(stand.chip.dump(), KEYS)
    main = stand.chip.main
    assert found.number == CARD and found.order is not None and len(found.reports) == 2
    for name, value in unpack(ORDER, main, ORDER_AT + 4).items():
        assert getattr(found.order, name) == value, name
    assert found.order.kind == main[ORDER_AT + 1] and found.order.mac == frames.mac_at(main, ORDER_AT, 44)
    for report, at in zip(found.reports, REPORT_AT, strict=True):
        for name, value in unpack(REPORT_DATA, main, at + 4).items():
            assert getattr(report, name) == value, name
    assert found.newest == max(found.reports, key=lambda report: report.report_number)
    assert found.newest is not None and found.newest.rank == (1, 2)
    negative = card(correction_total=-12, amount=-5, flags=FLAG_REFUND)
    order = read_card(negative.dump(), KEYS).order
    assert order is not None and (order.correction_total, order.amount, order.refund) == (-12, -5, True)
    assert not order.opening


def test_card_gives_nothing_that_is_not_authentic(stand: Stand) -> None:
    good = stand.chip.dump()
    assert read_card(good[:256], KEYS) == read_card(good, KEYS)
    for at in (*range(0x08, 0x15), *range(ORDER_AT, ORDER_AT + 59)):
        spoilt = bytearray(good)
        spoilt[at] ^= 0x01
        assert read_card(bytes(spoilt), KEYS).order is None, at
    for at in range(REPORT_AT[0], REPORT_AT[0] + 74):
        spoilt = bytearray(good)
        spoilt[at] ^= 0x01
        assert read_card(bytes(spoilt), KEYS).reports == (), at
    assert read_card(good, KeySet(b"x" * 16)) == Card(CARD, None, ())
    assert read_card(bytes(264), KEYS) == Card(0, None, ())
    assert read_card(card(number=CARD, sequence=0).dump(), KEYS).order is None
    assert read_card(card(kind=0x03).dump(), KEYS).order is None
    copied = bytearray(card(number=78).dump())
    copied[0x20:0x5B] = good[0x20:0x5B]
    assert read_card(bytes(copied), KEYS) == Card(78, None, ())
    with pytest.raises(ValueError, match="256"):
        read_card(good[:200], KEYS)


# --- store


def test_never_back(stand: Stand, bound: Store) -> None:
    before = read(stand)
    stand.visit(card())
    stand.meter.pulses(7)
    after = read(stand)
    never_back(before, after)
    with breaks("never_back"):
        never_back(after, before)
    for name in ("binding", "key_binding", "key_version", "report_number", "sequence", "replacement"):
        with breaks("never_back"):
            never_back(bound, bound._replace(**{name: getattr(bound, name) - 1}))
    for name in ("service_number", "test_gas"):
        with breaks("never_back"):
            never_back(bound._replace(**{name: 7}), bound._replace(**{name: 6}))
    fallen = bound._replace(register=98)
    with breaks("never_back"):
        never_back(bound, fallen)
    with breaks("never_back"):
        never_back(bound, fallen, allow=1)
    never_back(bound, fallen, allow=2)
    # Another binding has sequences and replacements of its own; what cannot be read does not fall.
    never_back(bound, bound._replace(binding=2, key_binding=2, sequence=1, replacement=0))
    never_back(bound, bound._replace(register=None, state=None, binding=0, sequence=0, report_number=None))
    never_back(bound, bound._replace(keys_lost=True, key_binding=0, key_version=0))


def test_account_steady(stand: Stand, bound: Store) -> None:
    before = read(stand)
    assert stand.visit(stand.chip) == codes.REPEAT
    account_steady(before, read(stand))
    stand.visit(card())
    account_steady(before, read(stand))
    for changed in (
        {"bought_total": 5001},
        {"correction_total": 1},
        {"order_mac": bytes(8)},
        {"register_at_binding": 1},
    ):
        with breaks("account_steady"):
            account_steady(bound, bound._replace(**changed))
    with breaks("account_steady"):
        account_steady(bound, bound._replace(sequence=4, register_at_binding=9))
    with breaks("account_steady"):
        account_steady(bound, bound._replace(state=2, bound=False))
    over = bound._replace(state=5, bound=False)
    account_steady(bound, over)
    account_steady(over, over)
    account_steady(over, bound._replace(binding=2, sequence=1, bought_total=7))
    for begun in (bound, over._replace(state=4), over._replace(bought_total=5001)):
        with breaks("account_steady"):
            account_steady(over, begun)
    account_steady(bound, bound._replace(binding=2, register_at_binding=100, bought_total=7))


def test_binding_first(bound: Store) -> None:
    binding_first(bound)
    binding_first(bound._replace(key_binding=2))
    binding_first(bound._replace(key_binding=0, keys_lost=True, lost=True))
    with breaks("binding_first"):
        binding_first(bound._replace(key_binding=0))


def test_register_true(bound: Store) -> None:
    register_true(bound, 0, 100, 0)
    register_true(bound, 30, 70, 0)
    register_true(bound, 0, 102, 2)
    register_true(bound, 0, 99, 0, ahead=1)
    for wheels, behind, ahead in ((101, 0, 0), (103, 2, 5), (99, 5, 0), (98, 0, 1)):
        with breaks("register_true"):
            register_true(bound, 0, wheels, behind, ahead)
    with breaks("register_true"):
        register_true(bound._replace(register=None), 0, 100, 100)
    # At its end it counts no more.
    register_true(bound._replace(register=99_999_999), 0, 100_000_005, 0)


def test_lockout_held(stand: Stand) -> None:
    full = read(stand)
    assert stand.visit(card(key=b"x" * 16)) == codes.MAC
    spent = read(stand)
    assert spent.tokens == 7
    stand.boot()
    lockout_held(spent, read(stand))
    lockout_held(full, spent)
    with breaks("lockout_held"):
        lockout_held(spent, spent._replace(tokens=8))


def test_valve_true(bound: Store) -> None:
    valve_true(bound, True)
    shut = [
        bound._replace(bought_total=100),
        bound._replace(bound=False, state=2),
        bound._replace(lost=True),
        bound._replace(register=None, lost=True),
        bound._replace(register=99_999_999, register_at_binding=99_999_000),
        bound._replace(bought_total=90, overdraft=10),
    ]
    for store in shut:
        valve_true(store, False)
        with breaks("valve_true"):
            valve_true(store, True)
    valve_true(bound._replace(bought_total=90, overdraft=11), True)
    valve_true(bound, True, uncounted=4899)
    with breaks("valve_true"):
        valve_true(bound, True, uncounted=4900)
    # Test gas: of a meter that was never bound only.
    tested = bound._replace(bound=False, state=2, binding=0, test_gas=30, test_gas_end=101)
    valve_true(tested, True)
    for store in (
        tested._replace(test_gas_end=100),
        tested._replace(binding=1, state=5),
        tested._replace(register=99_999_999, test_gas_end=99_999_999),
    ):
        with breaks("valve_true"):
            valve_true(store, True)
    with breaks("valve_true"):
        valve_true(tested, True, uncounted=1)


def test_alarm_true(bound: Store) -> None:
    low = bound._replace(bought_total=200)
    assert (low.remaining, low.alarm) == (100, 100)
    with breaks("alarm_true"):
        alarm_true(low, True)
    with breaks("alarm_true"):
        alarm_true(low._replace(alarm_seen=(1, 2)), True)
    alarm_true(low, False)
    alarm_true(low._replace(alarm_seen=(1, 3)), True)
    alarm_true(low._replace(alarm=0), True)
    alarm_true(bound, True)


def test_guard_kept(bound: Store) -> None:
    shut = bound._replace(latched=0x80)
    guard_kept(bound, shut, shut, 0x84)
    guard_kept(bound, shut, bound, 0)
    guard_kept(shut, bound, bound, 0)
    with breaks("guard_kept"):
        guard_kept(shut, shut, bound, 0)
    with breaks("guard_kept"):
        guard_kept(bound, bound, shut, 0x80)
    with breaks("guard_kept"):
        guard_kept(shut, shut, shut, 0x04)


def test_opened_by_person() -> None:
    opened_by_person(0)
    opened_by_person(60_000)
    for asked in (None, 60_001):
        with breaks("opened_by_person"):
            opened_by_person(asked)


def test_credited_once(stand: Stand) -> None:
    written = [read_card(stand.chip.dump(), KEYS).order]
    credited_once(read(stand), [order for order in written if order])
    purchases = [
        {"sequence": 4, "bought_total": 6000},
        {"sequence": 5, "bought_total": 0},  # a probe: the total stays
        {"sequence": 6, "bought_total": 5500, "flags": FLAG_PARAMETERS | FLAG_REFUND},
        {"sequence": 7, "bought_total": 5600, "correction_total": -3},
    ]
    for changed, total in zip(purchases, (6000, 6000, 5500, 5600), strict=True):
        chip = card(**changed)
        before = [order for order in written if order]
        written.append(read_card(chip.dump(), KEYS).order)
        assert stand.visit(chip) == codes.OK
        store = read(stand)
        assert store.bought_total == total
        credited_once(store, [order for order in written if order])
        with breaks("credited_once"):
            credited_once(store, before)
    orders = [order for order in written if order]
    for changed in ({"bought_total": 5601}, {"bought_total": 5599}, {"correction_total": 0}, {"sequence": 6}):
        with breaks("credited_once"):
            credited_once(store._replace(**changed), orders)
    with breaks("credited_once"):
        credited_once(store, [replace(order, binding=2) for order in orders])
    with breaks("credited_once"):
        credited_once(store, [replace(order, meter="00000000000018") for order in orders])
    # A refund's total is its own and no earlier one.
    refunded = store._replace(sequence=6, order_mac=orders[3].mac, correction_total=0, bought_total=6000)
    with breaks("credited_once"):
        credited_once(refunded, orders)
    credited_once(store._replace(bound=False, state=2), [])


# --- card


def test_reports_true(stand: Stand) -> None:
    stand.visit(stand.chip)
    found = read_card(stand.chip.dump(), KEYS)
    store = read(stand)
    reports_true(found, store)
    # What the meter went on to makes older reports no lie, a refund included.
    refund = card(sequence=4, bought_total=4000, flags=FLAG_REFUND)
    refund.main[REPORT_AT[0] : REPORT_AT[1] + 74] = stand.chip.main[REPORT_AT[0] : REPORT_AT[1] + 74]
    assert stand.visit(refund) == codes.OK
    stand.meter.pulses(11)
    later = read(stand)
    assert later.bought_total == 4000
    reports_true(found, later)
    reports_true(read_card(refund.dump(), KEYS), later)
    claims = {
        "report_number": 1,
        "register": 99,
        "binding": 0,
        "key_binding": 0,
        "sequence": 2,
        "replacement": 1,
        "bought_total": 4999,
        "correction_total": 1,
        "register_at_binding": 1,
        "meter": "00000000000018",
    }
    for name, value in claims.items():
        with breaks("reports_true"):
            reports_true(found, store._replace(**{name: value}))
    reports_true(found, store._replace(register=99), allow=1)
    reports_true(found, store._replace(register=None, state=None, report_number=None, lost=True))
    reports_true(found, store._replace(binding=2, key_binding=2, sequence=1, bought_total=1, register_at_binding=50))
    twice = Card(CARD, None, (found.reports[0], replace(found.reports[0], register=1)))
    with breaks("reports_true"):
        reports_true(twice, store)


def test_report_kept(stand: Stand) -> None:
    before = stand.chip.dump()
    stand.visit(stand.chip)
    after = stand.chip.dump()
    report_kept(before, after, KEYS)
    # A pull in the middle of the second slot leaves the first.
    torn = bytearray(after)
    torn[REPORT_AT[1] + 40] ^= 0xFF
    report_kept(before, bytes(torn), KEYS)
    torn[REPORT_AT[0] + 40] ^= 0xFF
    with breaks("report_kept"):
        report_kept(before, bytes(torn), KEYS)
    # Among whole reports of others its place is not the meter's to know.
    strange = bytearray(before)
    values = unpack(REPORT_DATA, strange, REPORT_AT[0] + 4)
    forged = frames.build(REPORT_DATA, {**values, "binding": 200}, REPORT, CARD, REGION, b"x" * 16)
    strange[REPORT_AT[1] : REPORT_AT[1] + 74] = forged
    report_kept(bytes(strange), bytes(torn), KEYS)


def test_only_report_slots_and_tries(stand: Stand) -> None:
    before = stand.chip.dump()
    stand.visit(stand.chip)
    after = stand.chip.dump()
    assert before != after
    only_report_slots(before, after)
    tries_kept(before, after)
    only_report_slots(before, before)
    for at in (*range(0x5B), *range(0xEF, 260), *range(261, 264)):
        wrong = bytearray(after)
        wrong[at] ^= 0x40
        with breaks("only_report_slots"):
            only_report_slots(before, bytes(wrong))
    both = bytearray(after)
    for at in REPORT_AT:
        both[at + 9] ^= 1
    with breaks("only_report_slots"):
        only_report_slots(before, bytes(both))
    only_report_slots(before, bytes(both), slots=2)
    with pytest.raises(ValueError, match="264"):
        only_report_slots(before, after[:256])


def test_tries_kept() -> None:
    def dump(counter: int, mark: int = 0) -> bytes:
        return bytes((mark,)) * 260 + bytes((counter, 1, 2, 3))

    for before, after in ((7, 7), (7, 6), (6, 7), (3, 1), (1, 1), (0, 0)):
        tries_kept(dump(before), dump(after))
    tries_kept(dump(7), dump(1), visits=2)
    for before, after in ((7, 1), (3, 0), (1, 0), (7, 0)):
        with breaks("tries_kept"):
            tries_kept(dump(before), dump(after))
    with breaks("tries_kept"):
        tries_kept(dump(1), dump(1, 5))


def test_outside_unchanged() -> None:
    before = bytes(100)
    after = bytearray(before)
    after[10:20] = b"x" * 10
    after[50] = 1
    outside_unchanged(before, bytes(after), [(50, 51), (10, 20)])
    outside_unchanged(before, bytes(after), [(0, 30), (10, 40), (45, 100)])
    outside_unchanged(before, before, [])
    for spans in ([], [(10, 20)], [(11, 20), (50, 51)], [(10, 19), (50, 51)], [(10, 20), (51, 100)]):
        with breaks("outside_unchanged"):
            outside_unchanged(before, bytes(after), spans)
    with breaks("outside_unchanged"):
        outside_unchanged(before, before + b"x", [(0, 50)])


# --- the company's cards


OLD_KEYS, NEW_KEYS = (KeySet(company.KEY[number]) for number in (company.OLD, company.NEW))


def seen(stand: Any) -> Store:
    return read_store(stand.memory.cells, stand.key_memory.cells, 1, company.LENGTH)


def company_card(chip: Any) -> Card:
    return read_card(chip.dump(), OLD_KEYS, (NEW_KEYS,))


@pytest.fixture(scope="module")
def ended() -> dict[str, tuple[Store, Card]]:
    """A meter that a card has cleared, and one that has given its gas away; and that card."""
    found = {}
    for name, make in (("clear", company.clear), ("transfer", company.transfer)):
        stand, chip = company.Stand(bought=1000, burned=100), make()
        assert stand.visit(chip) == codes.OK
        found[name] = seen(stand), company_card(chip)
    return found


def test_final_record_is_read_as_the_firmware_wrote_it(ended: Any) -> None:
    for name, state, heir in (("clear", 5, ("00000000000000", 0)), ("transfer", 4, (company.NEW, 1))):
        store, card = ended[name]
        assert (store.state, store.over, store.bound) == (state, True, False)
        assert store.final.heir == card.final.heir == heir
        assert store.final.remaining == card.final.remaining == 900
        assert replace(card.final.said, mac=b"") == store.final.said
    chip = company.transfer(most=500)
    old = company.Stand(bought=1000, burned=100)
    assert old.visit(chip) == codes.OK
    coming = read_card(chip.dump(), NEW_KEYS).incoming
    assert coming is not None and (coming.bought_total, coming.correction_total, coming.meter) == (500, 0, company.NEW)
    # Not by another's key, not on another card, not changed, not another's record.
    assert read_card(chip.dump(), OLD_KEYS).final is None
    for at in (*range(0x20, 0x20 + 32), *range(0xA5, 0xA5 + 74)):
        spoilt = bytearray(chip.dump())
        spoilt[at] ^= 1
        found = read_card(bytes(spoilt), NEW_KEYS)
        assert found.incoming is None or (found.incoming == coming and at not in range(0xA5, 0xEF)), at


def test_final_true(ended: Any) -> None:
    for store, _ in ended.values():
        final_true(store, now=True)
        final_true(store._replace(register=store.register + 1))
        with breaks("final_true"):
            final_true(store._replace(register=store.register + 1), now=True)
        for changed in (
            {"final": None},
            {"finals_alike": False},
            {"bought_total": 1001},
            {"correction_total": 1},
            {"register_at_binding": 1},
            {"binding": 2},
            {"meter": company.NEW},
            {"register": store.register - 1},
        ):
            with breaks("final_true"):
                final_true(store._replace(**changed))
        final_true(store._replace(state=3, bound=True, final=None))


def test_final_kept(ended: Any) -> None:
    store, _ = ended["transfer"]
    final_kept(store, store)
    other = replace(store.final, heir=(company.NEW, 2))
    with breaks("final_kept"):
        final_kept(store, store._replace(final=other))
    with breaks("final_kept"):
        final_kept(store, store._replace(final=None))
    final_kept(store, store._replace(final=other, binding=2))
    final_kept(store._replace(state=3, bound=True), store._replace(final=other))


def test_final_told(ended: Any) -> None:
    for store, shown in ended.values():
        final_told(shown, store)
        final_told(replace(shown, final=None), store)
        # Of a former binding there is nothing left to compare with.
        final_told(shown, store._replace(binding=2, state=3, bound=True))
        for changed in (
            store._replace(state=3, bound=True),
            store._replace(final=None),
            store._replace(final=replace(store.final, heir=(company.NEW, 2))),
            store._replace(final=replace(store.final, said=replace(store.final.said, used=99))),
        ):
            with breaks("final_told"):
                final_told(shown, changed)


def test_granted_true() -> None:
    stand, chip = company.Stand(register=500), company.gas_card(total=30)
    order = company_card(chip).tool
    assert order is not None and order.bought_total == 30
    new = seen(stand)
    granted_true(new, [])
    assert stand.visit(chip) == codes.OK
    given = seen(stand)
    assert (given.test_gas, given.test_gas_end, given.test_gas_left) == (30, 530, 30)
    granted_true(given, [order], 30)
    granted_steady(new, given)
    for orders, most in (([order], 29), ([], 30), ([replace(order, bought_total=31)], 30)):
        with breaks("granted_true"):
            granted_true(given, orders, most)
    with breaks("granted_true"):
        granted_true(given._replace(test_gas_end=531), [order])
    more = given._replace(test_gas=40, test_gas_end=540)
    granted_steady(given, more)
    with breaks("granted_true"):
        granted_steady(given, more._replace(test_gas_end=543))


def test_settings_kept(bound: Store) -> None:
    after = bound._replace(service_number=1, index_offset=9, limits=bytes(57), key=bytes(32))
    for booted in (bound, after):
        settings_kept(bound, after, booted)
    # Each record is old or new by itself, its fields together.
    settings_kept(bound, after, bound._replace(limits=after.limits))
    for changed in ({"service_number": 1}, {"index_offset": 9}, {"limits": b"x" * 57}, {"test_gas": 5}):
        with breaks("settings_kept"):
            settings_kept(bound, after, bound._replace(**changed))
    with breaks("keys_whole"):
        settings_kept(bound, after, bound._replace(key=b"x" * 32))


def test_keys_whole() -> None:
    stand = company.Stand(bought=100)
    before = bytes(stand.key_memory.cells)
    keys_whole(before)
    assert stand.visit(company.key_card(above=company.KEY[company.OLD], version=2, key=b"k" * 16)) == codes.OK
    after = bytes(stand.key_memory.cells)
    keys_whole(after)
    for mixed in (before[:64] + after[64:], after[:64] + before[64:], after[:64] + bytes(64)):
        with breaks("keys_whole"):
            keys_whole(mixed)


def test_places_of_company_cards() -> None:
    stand = company.Stand(bought=100)
    for made, slots in ((company.clear(), (1,)), (company.setting(1), (1,)), (company.management(), (0, 1))):
        before = made.dump()
        for slot, at in enumerate(REPORT_AT):
            written = bytearray(before)
            written[at + 5] ^= 1
            if slot in slots:
                only_report_slots(before, bytes(written))
            else:
                with breaks("only_report_slots"):
                    only_report_slots(before, bytes(written))
    chip = company.management()
    empty = chip.dump()
    assert stand.visit(chip) == codes.OK
    one = chip.dump()
    unread_kept(empty, one)
    with breaks("unread_kept"):
        unread_kept(one, empty)
    torn = bytearray(one)
    torn[REPORT_AT[0] + 20] ^= 1
    unread_kept(bytes(torn), one)


def test_credited_once_of_a_transfer() -> None:
    old, new, chip = company.Stand(bought=1000, burned=1030), company.Stand(company.NEW), company.transfer()
    assert (old.visit(chip), new.visit(chip)) == (codes.OK, codes.OK)
    coming = read_card(chip.dump(), NEW_KEYS).incoming
    assert coming is not None and (coming.bought_total, coming.correction_total) == (0, 30)
    credited_once(seen(new), [coming])
    for changed in ({"bought_total": 1}, {"correction_total": 0}):
        with breaks("credited_once"):
            credited_once(seen(new)._replace(**changed), [coming])
    with breaks("credited_once"):
        credited_once(seen(new), [])


def test_watch_judges_what_is_over() -> None:
    stand = company.Stand(bought=1000, burned=100)
    watch = Watch(company.OLD, company.KEY[company.OLD], 1, company.LENGTH)
    watch.made(stand.memory.cells, stand.key_memory.cells, 500)
    assert stand.visit(company.clear()) == codes.OK

    def look() -> Store:
        return watch.look(stand.memory.cells, stand.key_memory.cells, 500, flows=False)

    assert look().over
    kept = bytes(stand.memory.cells)
    stand.memory.cells[0xF00 + 9] ^= 1
    with breaks("final_true"):
        look()
    stand.memory.cells[:] = kept
    assert look().over
    with breaks("valve_true"):
        watch.look(stand.memory.cells, stand.key_memory.cells, 500, flows=True)


# --- a life


def watched(stand: Stand) -> Watch:
    watch = Watch(METER, KEY, 1, LENGTH)
    watch.made(stand.memory.cells, stand.key_memory.cells, 500)
    return watch


def look(watch: Watch, stand: Stand, index: int, **more: Any) -> Store:
    return watch.look(stand.memory.cells, stand.key_memory.cells, index, **more)


def test_watch_follows_a_true_life() -> None:
    stand = Stand(bound=False)
    watch = watched(stand)
    chip = card(kind=ORDER_OPENING, sequence=1, bought_total=3000)
    before = chip.dump()
    assert stand.visit(chip) == codes.OK
    watch.visit(before, chip.dump(), stand.memory.cells, stand.key_memory.cells)
    assert look(watch, stand, 500, flows=True).remaining == 3000
    stand.meter.pulses(200)
    assert look(watch, stand, 700, flows=stand.motor.flows).register == 200
    watch.cut(3)
    assert look(watch, stand, 702, powered=False).register == 200
    stand.boot()
    stand.settle()
    look(watch, stand, 703, flows=stand.motor.flows)
    with breaks("register_true"):
        look(watch, stand, 704)


def test_watch_finds_each_rule_broken() -> None:
    stand = Stand()
    watch = watched(stand)
    look(watch, stand, 500, flows=True)
    with breaks("register_true"):
        look(watch, stand, 501)
    stand.memory.cells[TALLY_AT + 20] ^= 0xFF  # in the tally of generation 1, which has 36 marks
    with breaks("never_back"):
        look(watch, stand, 500)
    stand.memory.cells[TALLY_AT + 20] ^= 0xFF
    look(watch, stand, 500)
    key_cells = bytearray(stand.key_memory.cells)
    for place in KEYS_AT:
        key_cells[place] ^= 1
    with breaks("store_kept"):
        watch.look(stand.memory.cells, key_cells, 500)
    assert stand.visit(card(key=b"x" * 16)) == codes.MAC
    look(watch, stand, 500)
    Lockout(stand.memory).recover()
    ring = Lockout(stand.memory)
    ring.recover()
    ring.refill()
    with breaks("lockout_held"):
        look(watch, stand, 500, powered=False)
    look(watch, stand, 500)
    stand.meter.pulses(4900)
    stand.settle()
    with breaks("valve_true"):
        look(watch, stand, 5400, flows=True)
    with pytest.raises(ValueError, match="memory is that of"):
        Watch("00000000000018", KEY, 1, LENGTH).made(stand.memory.cells, stand.key_memory.cells, 0)


def test_watch_lets_a_register_fall_only_by_what_a_cut_had_in_flight() -> None:
    stand = Stand()
    watch = watched(stand)
    stand.meter.pulses(2)
    look(watch, stand, 502)
    watch.cut(1)
    look(watch, stand, 502, powered=False)
    stand.memory.cells[TALLY_AT + 37] ^= 0xFF  # the recovery is cut too, and decides otherwise
    look(watch, stand, 502)
    stand.memory.cells[TALLY_AT + 36] ^= 0xFF
    with breaks("never_back"):
        look(watch, stand, 502)


def test_watch_lets_a_register_run_ahead_only_where_it_was_told() -> None:
    stand = Stand()
    watch = watched(stand)
    stand.meter.pulses(1)
    with breaks("register_true"):
        look(watch, stand, 500)
    watch.cut(0, ahead=1)
    look(watch, stand, 500)
    look(watch, stand, 508, uncounted=7)
    with breaks("register_true"):
        look(watch, stand, 509, uncounted=7)


def test_watch_judges_visits() -> None:
    stand = Stand()
    watch = watched(stand)
    before = stand.chip.dump()
    stand.visit(stand.chip)
    after = stand.chip.dump()
    cells, key_cells = stand.memory.cells, stand.key_memory.cells
    assert watch.visit(before, after, cells, key_cells).newest is not None
    wrong = bytearray(after)
    wrong[ORDER_AT] ^= 1
    with breaks("only_report_slots"):
        watch.visit(before, bytes(wrong), cells, key_cells)
    claim = unpack(REPORT_DATA, after, REPORT_AT[1] + 4)
    lie = bytearray(after)
    frame = frames.build(REPORT_DATA, {**claim, "sequence": 4}, REPORT, CARD, REGION, KEYS.report)
    lie[REPORT_AT[1] : REPORT_AT[1] + 74] = frame
    with breaks("reports_true"):
        watch.visit(before, bytes(lie), cells, key_cells)
    # The number of a report that stands already, said again with another time.
    frame = frames.build(REPORT_DATA, {**claim, "time": 1}, REPORT, CARD, REGION, KEYS.report)
    lie[REPORT_AT[1] : REPORT_AT[1] + 74] = frame
    with breaks("reports_true"):
        watch.visit(before, bytes(lie), cells, key_cells)
    watch.lost()
    watch.visit(after, after, cells, key_cells)
    with breaks("lost_stays"):
        watch.visit(before, after, cells, key_cells)


def test_watch_of_a_wiped_meter_expects_it_shut() -> None:
    stand = Stand()
    watch = watched(stand)
    watch.lost()
    with breaks("lost_stays"):
        look(watch, stand, 500)
    for place in ACCOUNT_AT:
        stand.memory.cells[place + 9] ^= 0xFF
    assert stand.boot() == codes.STORE_LOST
    stand.settle()
    look(watch, stand, 900, flows=stand.motor.flows)
    with breaks("lost_stays"):
        look(watch, stand, 900, flows=True)
    with breaks("store_kept"):
        Watch(METER, KEY, 1, LENGTH).made(stand.memory.cells, stand.key_memory.cells, 0)


# --- books


def test_books_add_up_through_sale_refund_and_correction() -> None:
    stand = Stand(bound=False)
    books = GasBooks()
    opening = card(kind=ORDER_OPENING, sequence=1, bought_total=3000)
    images = [read_card(opening.dump(), KEYS)]
    books.sold(METER, 1, 2900)
    books.granted(METER, 1, 100)
    books.adds_up(METER, read(stand), 500, 500, images)  # all of it on the card
    assert stand.visit(opening) == codes.OK
    stand.meter.pulses(200)
    books.adds_up(METER, read(stand), 500, 700, images)
    with breaks("adds_up"):
        books.adds_up(METER, read(stand), 500, 701, images)
    books.adds_up(METER, read(stand), 500, 701, images, drift=1)
    with breaks("adds_up"):
        books.adds_up(METER, read(stand), 500, 699, images, drift=1)

    books.sold(METER, 1, 1000)
    with breaks("adds_up"):
        books.adds_up(METER, read(stand), 500, 700, images)
    second = card(sequence=2, bought_total=4000, ceiling=0)
    images += [read_card(second.dump(), KEYS)] * 2  # a clone: the gas of an account counts once
    books.adds_up(METER, read(stand), 500, 700, images)
    lost = images.copy()
    books.held(METER, 1, 1000)
    books.adds_up(METER, read(stand), 500, 700, images[:1])
    books.held(METER, 1, -1000)
    assert stand.visit(second) == codes.OK
    books.adds_up(METER, read(stand), 500, 700, lost)

    third = card(sequence=3, bought_total=3500, flags=FLAG_REFUND)
    images.append(read_card(third.dump(), KEYS))
    books.adds_up(METER, read(stand), 500, 700, images)
    assert stand.visit(third) == codes.OK
    with breaks("adds_up"):
        books.adds_up(METER, read(stand), 500, 700, images)
    books.paid_back(METER, 1, 500)
    books.adds_up(METER, read(stand), 500, 700, images)

    books.corrected(METER, 1, -12)
    fourth = card(sequence=4, bought_total=3500, correction_total=-12)
    with breaks("adds_up"):
        books.adds_up(METER, read(stand), 500, 700, images)
    images.append(read_card(fourth.dump(), KEYS))
    books.adds_up(METER, read(stand), 500, 700, images)
    assert stand.visit(fourth) == codes.OK
    books.adds_up(METER, read(stand), 500, 700, images)
    assert read(stand).remaining == 3500 - 200 + 12
    with breaks("adds_up"):
        books.adds_up(METER, read(stand)._replace(lost=True), 500, 700, images)
    other = [replace(image, order=replace(image.order, meter="00000000000018")) for image in images if image.order]
    books.adds_up(METER, read(stand), 500, 700, other)


def test_books_take_no_gas_from_a_replaced_card() -> None:
    stand = Stand(replacement=2)
    books = GasBooks()
    books.sold(METER, 1, 6000)
    old = read_card(card(sequence=4, bought_total=6000, replacement=1).dump(), KEYS)
    with breaks("adds_up"):
        books.adds_up(METER, read(stand), 0, 100, [old])
    books.held(METER, 1, 1000)
    books.adds_up(METER, read(stand), 0, 100, [old])


def test_bound_holds() -> None:
    books = GasBooks()
    books.bound_holds(METER, 0)
    with breaks("bound_holds"):
        books.bound_holds(METER, 1)
    books.sold(METER, 1, 3000)
    books.sold(METER, 2, 500)
    books.granted(METER, 2, 100)
    books.paid_back(METER, 1, 200)
    books.overdraft(METER, 50)
    books.overdraft(METER, 20)
    books.sold("00000000000018", 1, 9000)
    books.bound_holds(METER, 3450)
    with breaks("bound_holds"):
        books.bound_holds(METER, 3451)
    books.bound_holds(METER, 3452, 2)
    books.burned(METER, 3450)
    books.bound_holds(METER)
    books.burned(METER, 3451)
    with breaks("bound_holds"):
        books.bound_holds(METER)
    with pytest.raises(ValueError, match="turned back"):
        books.burned(METER, 3450)


def test_log_keeps_every_whole_entry_but_the_oldest():
    stand = Stand()
    for number in range(200):
        stand.meter.note(6, number)
    before = bytes(stand.memory.cells)
    newest = max(checkers.read_log(before))
    assert len(checkers.read_log(before)) == 176
    stand.meter.note(6, 0)
    checkers.log_kept(before, bytes(stand.memory.cells), 1)
    for spoilt, most in ((0x400 + newest % 176 * 16, 2), (None, 0)):
        cells = bytearray(stand.memory.cells)
        if spoilt is not None:
            cells[spoilt : spoilt + 16] = bytes(16)
        with pytest.raises(Violation, match="log_kept"):
            checkers.log_kept(before, bytes(cells), most)


def test_log_entry_whose_checksum_agrees_by_chance_is_none():
    # Found by "over-flow of the account" at depth 2: ten new bytes of a page, FF from there on, and a right CRC.
    from gascard.crc import crc16

    def log(minutes):
        entry = bytearray((7).to_bytes(3, "big") + b"\x10" + bytes(6) + minutes.to_bytes(4, "big"))
        cells = bytearray(0x1000)
        cells[0x0470:0x0480] = bytes(entry) + crc16(entry, 0, 14).to_bytes(2, "big")
        return checkers.read_log(bytes(cells))

    assert list(log(0x3FFFFFFF)) == [7]
    assert log(0xFFFFFFFF) == {}
