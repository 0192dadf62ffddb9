"""The lockout and the card's password under attack: how many tries, at whose cost (RULES 1, 3; decisions 31, 62)."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from gascard import codes, frames
from gascard.chip import DEFAULT_PSC, Chip
from gascard.crc import crc16
from gascard.frames import HEAD, frame_size
from gascard.meanings import JUDGING_ORDER
from gascard.records import REPORT_AT, REPORT_DATA, TIME_MAX
from gascard.sle4442 import (
    COMPARE,
    READ_MAIN,
    READ_SECURITY,
    TRIES_FULL,
    UPDATE_MAIN,
    UPDATE_SECURITY,
    WRITE_PROTECTION,
    tries_left,
)
from gashall import errors
from gashall.errors import CardError
from gashall.readers.chip import ChipReader
from gasrig import attacks
from gasrig.attacks import (
    CARD_ATTACKS,
    STRANGERS,
    STRATEGIES,
    TOKENS,
    Siege,
    StoppingFram,
    attack_card,
    besiege,
    most_guesses,
    promised,
)
from gasrig.flows import new_card
from gasrig.targets import CPythonTarget, Target, TargetError, open_target

MINUTE = 60_000
HALF_HOUR = 30 * MINUTE
WRONG = b"\x00\x01\x02"


@pytest.fixture
def here() -> Iterator[CPythonTarget]:
    with open_target("cpython") as target:
        assert isinstance(target, CPythonTarget)
        yield target


@pytest.fixture(scope="module")
def opened() -> Iterator[dict[str, Target]]:
    """Targets that stay open: each siege builds a meter of its own."""
    targets: dict[str, Target] = {}
    yield targets
    for target in targets.values():
        target.close()


@pytest.fixture
def target(target_name: str, opened: dict[str, Target]) -> Target:
    if target_name not in opened:
        opened[target_name] = open_target(target_name)
    return opened[target_name]


# --- tries at the meter


def test_year_of_brute_force_gets_what_was_promised_and_nothing_comes_of_it(here: CPythonTarget) -> None:
    row = besiege(here, "steady", 365)
    assert (row.days, row.judged, row.bound, row.tokens_burned) == (365, 17_528, 17_528, 17_528)
    assert (row.succeeded, row.served, row.harmed, row.wait_after_minutes) == (0, 0, 0, 30)
    assert row.odds == 17_528 / 2**64 < 1e-15
    # 20 such years wear a cell of the ring less than a tenth of what an EEPROM of 10⁶ is rated for.
    assert row.most_cell_writes is not None and 20 * row.most_cell_writes < 100_000


# attack, days, the tries it gets: as many as promised, or fewer where power cuts burn tokens or keep refills away
TRIES = (
    ("steady", 0.5, 32),
    ("clock set", 0.5, 32),
    ("first at the slot", 0.5, 32),
    ("knocking", 0.25, 19),
    ("power cut between tries", 0.5, 31),
    ("power off between tries", 0.5, 31),
    ("good and forged in turn", 0.2, 17),
    ("power cut before the refill", 0.5, 8),
)


@pytest.mark.parametrize(("attack", "days", "tries"), TRIES)
def test_attack_gets_no_more_tries_than_powered_time_gives(
    target: Target, attack: str, days: float, tries: int
) -> None:
    row = besiege(target, attack, days)
    assert tries == row.judged <= row.bound == promised(round(row.days * 86_400_000))
    assert row.days >= days and row.target == target.name
    assert row.succeeded == row.harmed == 0
    assert row.wait_after_minutes is not None and row.wait_after_minutes <= 30


def test_power_cycles_before_the_refill_get_the_first_eight_tries_and_no_more(here: CPythonTarget) -> None:
    assert besiege(here, "power cut before the refill", 2).judged == TOKENS
    assert besiege(here, "power cut before the refill", 15).judged == TOKENS


@pytest.mark.parametrize("setting", [0, 12_474_400, 13_525_600, TIME_MAX, TIME_MAX + 1, 0xFFFFFFFF])
def test_clock_gives_no_token_and_takes_none(here: CPythonTarget, setting: int) -> None:
    siege = Siege(here, 1)
    assert siege.forge_all() == TOKENS
    siege.set_clock(setting)
    assert not siege.forge()
    siege.wait(HALF_HOUR - 1)
    siege.set_clock(siege.minutes)
    assert not siege.forge()
    siege.set_clock(setting)
    siege.wait(1)
    assert siege.forge() and not siege.forge()


def test_cut_between_token_and_verdict_gives_no_try_away(here: CPythonTarget) -> None:
    row = besiege(here, "power cut at the token", 4)
    assert TOKENS < row.judged < row.bound
    # Cuts before the verdict burned tokens too: what the attacker paid for and did not get.
    assert row.tokens_burned is not None and row.judged < row.tokens_burned <= row.bound
    assert (row.succeeded, row.wait_after_minutes) == (0, 30)


def test_cut_at_the_token_needs_a_memory_that_stops(opened: dict[str, Target], vm_name: str) -> None:
    if vm_name not in opened:
        opened[vm_name] = open_target(vm_name)
    with pytest.raises(TargetError, match="this process"):
        besiege(opened[vm_name], "power cut at the token", 1)


def test_stopping_memory_takes_so_many_bytes_and_goes_on_after_the_next_boot() -> None:
    memory = StoppingFram(bytes(64))
    memory.left = 5
    memory.write(0, b"abc")
    with pytest.raises(attacks.PowerCut):
        memory.write(8, b"defg")
    assert memory.cells[:12] == b"abc" + bytes(5) + b"de" + bytes(2) and memory.stopped_at == 8
    memory.write(8, b"defg")
    memory.left, memory.deaf = 1, True
    memory.read_into(0, bytearray(3))
    memory.write(20, b"x")
    with pytest.raises(attacks.PowerCut):
        memory.read_into(20, bytearray(1))
    assert memory.stopped_at == 20 and memory.cells[20:21] == b"x"


@pytest.mark.parametrize("attack", ["steady", "power cut at the token", "good and forged in turn", "strangers' cards"])
def test_tries_are_counted_as_the_interpreter_saw_them(here: CPythonTarget, attack: str) -> None:
    """Every MAC the firmware compares, seen by the profiler, is one that the rig counted, or a genuine card's."""
    compared = 0
    genuine = 0

    def watch(frame: Any, event: str, given: Any) -> None:
        nonlocal compared, genuine
        if event == "return" and frame.f_code is frames.mac_right.__code__:
            compared += 1
            genuine += given

    siege = Siege(here, 0.5)
    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        STRATEGIES[attack].play(siege)
    finally:
        sys.setprofile(before)
    assert compared - genuine == siege.judged
    assert (genuine > 0) == (attack != "steady")


# --- what it costs the customer


def test_strangers_cards_cost_nothing(target: Target) -> None:
    row = besiege(target, "strangers' cards", 0.25)
    assert row.served is not None and row.served >= 6 * len(STRANGERS)
    assert (row.judged, row.tokens_burned, row.longest_wait_minutes, row.harmed) == (0, 0, 0, 0)


@pytest.mark.parametrize("name", STRANGERS)
def test_stranger_is_answered_so_and_leaves_eight_tries(target: Target, name: str) -> None:
    make, code = STRANGERS[name]
    siege = Siege(target, 1)
    chip = make(siege)
    for _ in range(3):
        assert siege.visit(chip) == code
    assert siege.customer() and siege.harmed == 0
    # Not asked of the bucket: as many forged cards are judged as on a meter that has seen nobody.
    assert siege.forge_all() == TOKENS


def test_every_answer_before_the_token_has_a_stranger_who_gets_it() -> None:
    order = JUDGING_ORDER
    free = set(order[: order.index(codes.LOCKED_OUT)])
    seen = {code for _, code in STRANGERS.values()}
    # Of meters that are not bound, or tried beside their rules in tests/meter.
    elsewhere = {codes.NOT_BOUND, codes.NUMBER_USED_UP, codes.VERSION, codes.SHAPE, codes.KIND}
    assert free - seen == elsewhere
    assert not any(attacks.was_judged(code) for code in free | {codes.LOCKED_OUT, codes.NO_CARD, codes.FAULT})
    assert all(attacks.was_judged(code) for code in order[order.index(codes.MAC) :])


def test_older_card_costs_nothing(target: Target) -> None:
    siege = Siege(target, 1)
    older = siege.card(sequence=2)
    siege.good = siege.card(sequence=3)
    assert siege.customer()
    for _ in range(3):
        assert siege.visit(older) == codes.OLDER
    assert siege.harmed == 0 and siege.forge_all() == TOKENS


def test_good_cards_cost_no_token(target: Target) -> None:
    row = besiege(target, "good card alone", 0.25)
    assert (row.served, row.judged, row.tokens_burned, row.longest_wait_minutes) == (72, 0, 0, 0)
    siege = Siege(target, 0)
    assert all(siege.customer() for _ in range(2 * TOKENS))
    assert siege.forge_all() == TOKENS
    # One token is enough for any number of good cards.
    siege.wait(HALF_HOUR)
    assert all(siege.customer() for _ in range(2 * TOKENS))
    assert siege.forge_all() == 1


def test_good_card_is_served_within_half_an_hour_of_the_last_forged_one(here: CPythonTarget) -> None:
    row = besiege(here, "good and forged in turn", 0.2)
    assert row.judged > TOKENS and row.served is not None and row.served > 2 * row.judged - 2 * TOKENS
    assert row.longest_wait_minutes == 30


def test_customer_is_kept_out_only_while_the_forger_is_first_at_every_refill(here: CPythonTarget) -> None:
    row = besiege(here, "first at the slot", 2)
    assert (row.served, row.longest_wait_minutes) == (0, 2 * 24 * 60)
    assert row.wait_after_minutes == 30


def test_eight_good_cards_with_power_cuts_wait_half_an_hour(target: Target) -> None:
    siege = Siege(target, 1)
    # The opening card was the first.
    for _ in range(TOKENS - 1):
        siege.cycle(warned=False)
        assert siege.customer()
    siege.cycle(warned=False)
    assert not siege.customer()
    assert HALF_HOUR - MINUTE < siege.customer_waits() < HALF_HOUR + MINUTE
    # With half an hour of power between two cuts nobody waits.
    for _ in range(2 * TOKENS):
        siege.cycle(warned=False)
        siege.wait(HALF_HOUR)
        assert siege.customer()


@pytest.mark.parametrize("warned", [False, True])
def test_refill_wants_half_an_hour_of_power_in_one_piece(target: Target, warned: bool) -> None:
    siege = Siege(target, 1)
    siege.forge_all()
    for _ in range(6):
        siege.wait(HALF_HOUR - MINUTE)
        siege.cycle(warned=warned)
        assert not siege.customer()
    # She looks every minute, and the valve took seconds to shut.
    assert HALF_HOUR - MINUTE < siege.customer_waits() < HALF_HOUR + MINUTE


def test_locked_meter_gives_the_slot_no_power_and_shows_the_minutes(here: CPythonTarget) -> None:
    siege = Siege(here, 1)
    assert siege.forge_all() == TOKENS
    rig = here.bench
    for passed, shown in ((0, "L 30"), (MINUTE, "L 29"), (28 * MINUTE, "L  1"), (MINUTE - 1, "L  1")):
        siege.wait(passed)
        rig.slot.busy_ms = 0
        assert siege.meter.insert(siege.good) == codes.LOCKED_OUT
        assert (rig.slot.powered, rig.slot.busy_ms, rig.slot.compares) == (False, 0, 0)
        assert rig.panel.text == shown
        siege.meter.remove()
    siege.wait(1)
    rig.slot.busy_ms = 0
    assert siege.meter.insert(siege.forged()) == codes.MAC
    assert rig.slot.busy_ms > 0  # the same eyes see a slot that is used


def test_forged_orders_bring_no_gas_and_touch_no_card(target: Target) -> None:
    siege = Siege(target, 1)
    before = dict(siege.meter.snapshot())
    assert siege.forge_all() == TOKENS
    after = siege.meter.snapshot()
    for name in ("bought_total", "remaining", "sequence", "binding", "register", "reasons"):
        assert after[name] == before[name], name
    assert siege.succeeded == siege.harmed == 0
    siege.wait(HALF_HOUR)
    # The order that the forgers aped, signed: what they were after, and that the siege would have seen it.
    assert siege.visit(siege.card(sequence=2, bought_total=attacks.LOOT)) == codes.OK
    assert siege.meter.snapshot()["bought_total"] == attacks.LOOT and siege.succeeded == 1


# --- copied chips


def test_copied_chip_is_refused_then_barred_and_costs_nobody_anything(target: Target) -> None:
    siege = Siege(target, 1)
    copy = siege.card(sequence=2, bought_total=5000)
    copy.security[1:4] = WRONG
    assert siege.visit(copy) == codes.PASSWORD_REFUSED and tries_left(copy.security[0]) == 2
    for _ in range(3):
        siege.cycle(warned=False)
        siege.wait(HALF_HOUR)
        assert siege.visit(copy) == codes.CARD_BARRED and tries_left(copy.security[0]) == 2
    assert siege.meter.last["bought_total"] == attacks.GAS
    # The number is the customer's own: her card, its counter whole, is served as ever, and ends the bar.
    assert siege.customer()
    assert siege.visit(copy) == codes.PASSWORD_REFUSED and tries_left(copy.security[0]) == 1
    assert siege.forge_all() == TOKENS


def test_copies_in_turn_leave_each_its_last_try(target: Target) -> None:
    row = besiege(target, "copied chips", 0.1)
    assert (row.judged, row.tokens_burned, row.longest_wait_minutes, row.harmed) == (0, 0, 0, 0)
    assert attack_card(target, "copied chip in the meter").judged == 2


def test_bar_meets_the_customer_only_if_her_card_has_lost_a_try(target: Target) -> None:
    siege = Siege(target, 1)
    copy = siege.card(sequence=2)
    copy.security[1:4] = WRONG
    siege.good.security[0] = 0x06  # pulled in the fifteen milliseconds of a password
    assert siege.customer() and siege.good.security[0] == TRIES_FULL
    siege.good.security[0] = 0x06
    assert siege.visit(copy) == codes.PASSWORD_REFUSED
    assert siege.visit(siege.good) == codes.CARD_BARRED
    siege.good.security[0] = TRIES_FULL  # so the hall's password leaves it
    assert siege.customer()


# --- the card's own lock


@pytest.mark.parametrize("attack", CARD_ATTACKS)
def test_card_gives_no_more_tries_than_it_has(here: CPythonTarget, attack: str) -> None:
    row = attack_card(here, attack)
    assert (row.judged, row.succeeded) == (row.bound, 0)
    assert row.odds == row.judged / 2**24


def powered(chip: Chip) -> Chip:
    chip.power_on()
    return chip


def try_password(chip: Chip, psc: bytes) -> bool:
    counter = chip.read(READ_SECURITY, 0)[0]
    chip.command(UPDATE_SECURITY, 0, counter & (counter - 1))
    for i in range(3):
        chip.command(COMPARE, i + 1, psc[i])
    chip.command(UPDATE_SECURITY, 0, 0xFF)
    return chip.verified


def test_three_wrong_passwords_kill_the_card_and_leave_it_readable() -> None:
    chip = new_card()
    right = bytes(chip.security[1:4])
    image = bytes(chip.main)
    for left in (2, 1, 0):
        assert not try_password(powered(chip), WRONG) and tries_left(chip.security[0]) == left
    assert chip.dead
    before = chip.dump()
    for control in (UPDATE_MAIN, WRITE_PROTECTION, UPDATE_SECURITY, COMPARE):
        for place in (*range(5), 8, 0x20, 0xFF):
            for data in (0x00, 0x05, 0x07, 0xFF, image[place]):
                powered(chip).command(control, place, data)
                chip.command(UPDATE_MAIN, 0x80, 0)
    assert not try_password(powered(chip), right)
    assert chip.dump() == before
    assert powered(chip).read(READ_MAIN, 0) == image and chip.read(READ_SECURITY, 0) == bytes(4)


@pytest.mark.parametrize("wrong", range(3))
def test_right_password_mends_the_counter_after_two_wrong_ones(wrong: int) -> None:
    chip = new_card()
    right = bytes(chip.security[1:4])
    for _ in range(wrong):
        try_password(powered(chip), WRONG)
    assert try_password(powered(chip), right) == (wrong < 3)
    assert chip.read(READ_SECURITY, 0) == bytes((TRIES_FULL,)) + right


def test_chip_does_not_tell_which_byte_was_wrong() -> None:
    right = bytes(new_card().security[1:4])
    heard = set()
    for at in range(3):
        chip = powered(new_card())
        guess = bytearray(right)
        guess[at] ^= 0x01
        told: list[object] = [chip.command(UPDATE_SECURITY, 0, 0x06)]
        for i in range(3):
            told += [chip.command(COMPARE, i + 1, guess[i]), chip.read(READ_SECURITY, 0)]
        told += [chip.command(UPDATE_SECURITY, 0, 0xFF), chip.read(READ_SECURITY, 0), chip.verified]
        heard.add(tuple(told))
    assert len(heard) == 1


class Leaky(Chip):
    """A chip that compares without a try spent: what the walk over all orders of commands must find."""

    def plan(self, control: int, address: int, data: int) -> "tuple[int, int, int] | None":
        if control == COMPARE and address == 1 and not self.dead:
            self._step = 1
        return super().plan(control, address, data)


class Forgetful(Chip):
    """A chip that lets the counter be written upwards."""

    def plan(self, control: int, address: int, data: int) -> "tuple[int, int, int] | None":
        if control == UPDATE_SECURITY and address == 0 and data == 0xFF and not self.verified:
            return (2, 0, TRIES_FULL)
        return super().plan(control, address, data)


@pytest.mark.parametrize("counter", range(8))
def test_no_order_of_commands_gives_more_guesses_than_tries(counter: int) -> None:
    chip = new_card()
    chip.security[0] = counter
    assert most_guesses(chip) == tries_left(counter)


@pytest.mark.parametrize("kind", [Leaky, Forgetful])
def test_walk_over_all_orders_sees_a_leaky_chip(kind: type[Chip]) -> None:
    chip = kind()
    chip.restore(new_card().dump())
    with pytest.raises(RuntimeError, match="a way past"):
        most_guesses(chip)


def test_dead_card_is_alone_in_it_at_the_meter(target: Target) -> None:
    siege = Siege(target, 1)
    dead = siege.card(78, sequence=2)
    for _ in range(3):
        try_password(powered(dead), WRONG)
    image = dead.dump()
    # Its order is genuine and the gas was paid for; nothing is written on it, and no password is tried.
    for code in (codes.REPORT_NOT_WRITTEN, codes.REPORT_NOT_WRITTEN):
        assert siege.meter.insert(dead) == code
        assert siege.meter.remove().dump() == image
    siege.good = siege.card(sequence=3)
    assert siege.customer() and siege.good.security[0] == TRIES_FULL
    assert siege.forge_all() == TOKENS


# --- at the hall


@pytest.fixture
def world() -> Iterator[Any]:
    pytest.importorskip("sqlalchemy")
    from gasrig.world import World

    made: Any
    with World(1) as made:
        card = made.blank_card()
        made.hall.open_account(
            made.reader(card), meter=made.number, volume=50, initial_reading=f"{made.index_at_start / 100}"
        )
        assert made.visit(card) == codes.OK
        assert made.visit(card) == codes.REPEAT  # now it bears two reports
        made.card = card
        yield made


def refusal(world: Any, chip: Chip, **more: Any) -> int:
    with pytest.raises(CardError) as caught:
        world.hall.sell(world.reader(chip), 10, **more)
    return caught.value.code


@pytest.mark.needs("sqlalchemy")
def test_hall_never_spends_a_last_try_unasked(world: Any) -> None:
    copy = Chip()
    copy.restore(world.card.dump())
    copy.security[1:4] = WRONG
    told = [refusal(world, copy) for _ in range(5)]
    assert told == [codes.PASSWORD_REFUSED] * 2 + [errors.LAST_TRY] * 3
    assert tries_left(copy.security[0]) == 1
    # A forged report beside the genuine order: now the clerk's word is not enough either.
    spoilt = Chip()
    spoilt.restore(copy.dump())
    spoilt.main[REPORT_AT[0] + HEAD] ^= 1  # the report number of the older one
    end = REPORT_AT[0] + frame_size(REPORT_DATA) - 3
    spoilt.main[end : end + 2] = crc16(spoilt.main, REPORT_AT[0] + 1, end).to_bytes(2, "big")
    assert refusal(world, spoilt, rescue=True) == errors.LAST_TRY
    assert tries_left(spoilt.security[0]) == 1
    # On the word of a clerk the copy dies, and only it: the customer buys as ever.
    assert refusal(world, copy, rescue=True) == codes.PASSWORD_REFUSED and copy.dead
    assert refusal(world, copy, rescue=True) == errors.CARD_DEAD
    assert world.hall.sell(world.reader(world.card), 10).volume == 10
    assert world.visit(world.card) == codes.OK and world.card.security[0] == TRIES_FULL


@pytest.mark.needs("sqlalchemy")
def test_card_killed_by_brute_force_stays_readable_at_the_hall(world: Any) -> None:
    dead = Chip()
    dead.restore(world.card.dump())
    for _ in range(3):
        try_password(powered(dead), WRONG)
    assert world.hall.read_back(world.reader(dead)).remaining == 50
    assert refusal(world, dead) == errors.CARD_DEAD
    assert refusal(world, dead, rescue=True) == errors.CARD_DEAD
    with world.hall.ledger.begin() as books:
        assert len(books.orders("0000000001")) == 1


def test_reader_asks_before_the_last_try_and_a_pull_gives_none_back() -> None:
    chip = new_card()
    right = bytes(chip.security[1:4])
    reader = ChipReader(chip)
    with reader:
        assert not reader.present(WRONG) and not reader.present(DEFAULT_PSC)
        with pytest.raises(CardError) as caught:
            reader.present(right)
        assert caught.value.code == errors.LAST_TRY
        assert reader.present(right, rescue=True)
    assert chip.security[0] == TRIES_FULL


# --- the figures


def test_figures_hold_every_attack_and_every_promise(here: CPythonTarget) -> None:
    rows = attacks.figures("cpython", 0.1)
    assert [row["attack"] for row in rows] == [*STRATEGIES, *CARD_ATTACKS]
    assert all(attacks.kept(row) for row in rows)
    assert {row["lock"] for row in rows} == {"meter", "card"}
    json.dumps(rows)


@pytest.mark.parametrize(
    "broken",
    [{"judged": 13}, {"succeeded": 1}, {"wait_after_minutes": 31}, {"harmed": 1}],
)
def test_promise_that_is_broken_is_seen(broken: dict[str, int]) -> None:
    row = {"judged": 12, "bound": 12, "succeeded": 0, "wait_after_minutes": 30, "harmed": 0}
    assert attacks.kept(row) and not attacks.kept({**row, **broken})


def test_command_prints_rows_as_json_and_refuses_what_is_no_day(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"judged": 1, "bound": 1, "succeeded": 0, "wait_after_minutes": 0, "harmed": 0}]
    asked: list[tuple[str, float]] = []

    def figures(target: str, days: float, _: object) -> list[dict[str, int]]:
        asked.append((target, days))
        return rows

    monkeypatch.setattr(attacks, "figures", figures)
    assert attacks.main(["--days", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == rows and asked == [("cpython", 3)]
    rows[0]["succeeded"] = 1
    assert attacks.main(["--json"]) == attacks.BROKEN and asked[-1] == ("cpython", 365)
    for days in ("0", "-1", "x", "99999"):
        with pytest.raises(SystemExit):
            attacks.main(["--days", days])
