"""A town: what its actions do, that nobody gets more or less than he paid for, and that it can be put back."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from gascard import codes
from gashall import errors
from gasrig.checkers import Violation

if TYPE_CHECKING:
    from gasrig.town import Town

pytestmark = pytest.mark.needs("sqlalchemy")

HALF_HOUR = 1_800_000
ORDER_BYTES = 59


def new_town(meters: int = 1, target: str = "cpython", **more: int) -> "Town":
    from gasrig.town import Town

    return Town(meters, target, **more)


def bought_and_burned(town: "Town") -> list[int]:
    """Open, load, burn to the alarm and on, sell again, load, read back, and a neighbour's card; every answer."""
    answers = [
        town.open_account(0, 5),
        town.open_account(1, 2),
        town.burn(0, 1),
        town.visit(0, 1),
        town.visit(0, 0),
        town.visit(1, 1),
        town.burn(0, 9),
        town.sell(0, 4),
        town.key(0),
        town.burn(0, 9),
        town.sell(0, 4),
        town.visit(0, 0),
        town.visit(0, 0),
        town.read_back(0),
        town.cut(0, False),
        town.burn(0, 1),
        town.key(0),
        town.burn(0, 1),
    ]
    town.check()
    return answers


BOUGHT_AND_BURNED = [
    *(0, 1),
    0,
    codes.METER,
    *(0, 0),
    4,  # the alarm stands at one pulse
    0,
    *(0, 1),
    errors.GAS_ON_CARD,
    *(codes.OK, codes.REPEAT),
    0,
    *(0, 0),
    *(0, 1),
]


def test_town_story_is_the_same_on_every_target(target_name: str) -> None:
    with new_town(2, target_name) as town:
        assert bought_and_burned(town) == BOUGHT_AND_BURNED
        assert (town.sold(0), town.burned(0), town.store(0).remaining) == (9, 6, 3)
        assert (town.sold(1), town.burned(1), town.store(1).remaining) == (2, 0, 2)


def test_images_hold_every_state_of_every_card_once() -> None:
    with new_town() as town:
        town.open_account(0, 5)
        issued = town.last_image
        town.visit(0, 0)
        loaded = town.last_image
        assert town.images == [issued, loaded] and town.cards[0].dump() == loaded
        town.read_back(0)
        assert town.images == [issued, loaded] and town.last_image == loaded
        assert town.visit(0, 0, issued) == codes.REPEAT
        assert len(town.images) == 3 and town.cards[0].dump() == loaded


@pytest.mark.parametrize("action", [lambda town: town.visit(0, 0, bytes(256)), lambda town: town.sell(0, 1, b"")])
def test_image_without_password_and_tries_is_refused(action: Callable[["Town"], int]) -> None:
    with new_town() as town:
        town.open_account(0, 5)
        with pytest.raises(ValueError, match="264"):
            action(town)


def test_foreign_chip_gives_no_credit() -> None:
    from gasrig.town import foreign

    with new_town() as town:
        town.open_account(0, 5)
        assert town.visit(0, 0, foreign(town.images[0])) == codes.PASSWORD_REFUSED
        assert not town.store(0).bound and town.burn(0, 1) == 0
        town.check()


def test_sale_stopped_at_any_byte_is_paid_once_and_finished() -> None:
    with new_town() as town:
        town.open_account(0, 5)
        town.visit(0, 0)
        start = town.save()
        stopped = 0
        for byte in range(ORDER_BYTES + 4):
            town.restore(start)
            code = town.sell(0, 4, pull_at=byte)
            town.check()
            if code == 0:
                break
            stopped += 1
            rows = [row for row in town.orders() if row.sequence == 2]
            assert code == codes.CARD_OUT and town.sold(0) == 5 + 4 * len(rows)
            town.cards[0].power_off()
            assert town.sell(0, 4) == 0
            assert town.sold(0) == 9
            assert town.visit(0, 0) == codes.OK
            town.check()
        assert stopped > 12


def test_opening_stopped_at_any_byte_is_paid_once_and_finished() -> None:
    with new_town() as town:
        start = town.save()
        for byte in range(200):
            town.restore(start)
            code = town.open_account(0, 5, pull_at=byte)
            town.check()
            if code >= 0:
                break
            assert code == codes.CARD_OUT
            assert town.open_account(0, 5) == 0 and town.sold(0) == 5
            assert town.visit(0, 0) == codes.OK
            town.check()
        assert byte > 80


@pytest.mark.parametrize("early", [True, False])
def test_card_pulled_at_any_operation_converges(early: bool) -> None:
    with new_town() as town:
        town.open_account(0, 5)
        start = town.save()
        for operation in range(120):
            town.restore(start)
            code = town.visit(0, 0, pull_at=operation, early=early)
            town.check()
            pulled = code != codes.OK or town.cards[0].dump()[91] != 0x68
            assert town.visit(0, 0) in (codes.OK, codes.REPEAT)
            assert town.store(0).bought_total == 5 and town.read_back(0) == 0
            town.check()
            if not pulled:
                break
        assert operation > 60


def test_power_cut_at_any_write_of_a_load_converges(target_name: str) -> None:
    with new_town(1, target_name) as town:
        town.open_account(0, 5)
        start = town.save()
        for write in range(90) if target_name == "cpython" else (0, 2, 4, 5, 6, 7, 40, 99):
            town.restore(start)
            assert town.visit_cut(0, 0, write) == 0
            town.check()
            assert town.burn(0, 1) == 0
            assert town.visit(0, 0) == (codes.REPEAT if write > 5 else codes.OK)
            assert town.visit(0, 0, town.images[0]) == codes.REPEAT
            assert town.store(0).bought_total == 5 and town.read_back(0) == 0
            town.check()


@pytest.mark.parametrize("what", ["checkpoints", "account", "state", "keys"])
def test_wiped_store_stays_lost_and_shut(what: str) -> None:
    with new_town() as town:
        town.open_account(0, 5)
        town.visit(0, 0)
        town.wipe(0, what)
        assert town.wiped(0)
        for _ in range(2):
            assert town.visit(0, 0) == codes.STORE_LOST
            assert town.burn(0, 1) == 0
            town.key(0)
            town.cut(0, True)
            town.check()


def test_restored_ledger_is_the_older_one_and_nobody_burns_more() -> None:
    with new_town() as town:
        town.open_account(0, 5)
        town.visit(0, 0)
        town.read_back(0)
        copy, rows = town.copy_ledger(), town.orders()
        assert town.sell(0, 4) == 0 and town.visit(0, 0) == 0
        town.restore_ledger(copy)
        assert town.restored and town.orders() == rows
        assert town.sell(0, 3) == errors.LEDGER_BEHIND
        assert town.sell(0, 3, town.images[1]) == 0
        assert town.visit(0, 0, town.last_image) == codes.SEQUENCE_CONFLICT
        assert town.burn(0, 99) == 8
        assert (town.sold(0), town.key(0), town.burn(0, 99)) == (12, 0, 1)
        town.check()


def test_gas_past_a_shut_valve_breaks_the_bound() -> None:
    with new_town() as town:
        town.open_account(0, 5)
        town.sites[0].meter.pulses(6)
        with pytest.raises(Violation) as fault:
            town.check()
        assert fault.value.rule == "bound_holds"


def test_gas_nobody_paid_for_does_not_add_up() -> None:
    with new_town() as town:
        town.open_account(0, 5)
        town.sites[0].meter.pulses(2)
        with pytest.raises(Violation, match="adds_up"):
            town.visit(0, 0)
            town.sites[0].index_at_binding -= 2
            town.check()


def test_dead_meter_gives_what_it_had_once_more_and_no_pulse_beyond() -> None:
    from dataclasses import replace

    from gasrig.town import judge_town

    with new_town(2, alarm=0) as town:
        town.open_account(0, 4)
        town.visit(0, 0)
        town.read_back(0)
        assert town.dead(0, 1) == town.serve("exchange card", town.last_image) == 0
        assert town.visit(1, 0, town.last_image) == codes.OK
        assert (town.ask(1, 4), town.ask(1, 1)) == (0, errors.DEAD_METER_LIMIT)
        assert town.serve("make up", town.last_image) == 0
        assert town.visit(1, 0, town.last_image) == codes.OK
        town.key(0)
        assert (town.burn(1, 9), town.burn(0, 9)) == (4, 4)
        town.check()
        stands = [site.standing for site in town.sites]
        # Were it not known to be dead, the same gas would have burned twice.
        with pytest.raises(Violation, match="bound_holds: 4 paid for, 8 burned"):
            judge_town(stands, [sold for sold in town._sales if sold.row.kind != "dead"], town.images)
        stands[0] = replace(stands[0], index=stands[0].index + 1, burned=5)
        with pytest.raises(Violation, match="used 0 of 4 and gives 5 more"):
            judge_town(stands, town._sales, town.images)


def test_token_comes_back_after_half_an_hour_and_not_by_a_cut() -> None:
    from gasrig.adversary import forged

    with new_town() as town:
        town.open_account(0, 5)
        assert town.visit(0, 0, forged(town.images[0], "total")) == codes.MAC
        town.cut(0, False)
        assert town.sites[0].tokens == 7
        assert town.visit(0, 0) == codes.OK
        town.wait(0, HALF_HOUR)
        assert town.sites[0].tokens == 8
        town.check()


def told_of(town: "Town") -> tuple[object, ...]:
    stores = [town.store(place) for place in range(len(town.numbers))]
    cards = [card.dump() for card in town.cards]
    burned = [town.burned(place) for place in range(len(town.numbers))]
    sold = [town.sold(place) for place in range(len(town.numbers))]
    return stores, cards, list(town.images), town.desk.rows(), burned, sold, town.minutes, town.restored


def test_restore_makes_the_town_what_it_was(target_name: str) -> None:
    with new_town(2, target_name) as town:
        empty = town.save()
        first = told_of(town)
        assert bought_and_burned(town) == BOUGHT_AND_BURNED
        full, last = town.save(), told_of(town)
        copy = town.copy_ledger()
        town.restore(empty)
        assert told_of(town) == first
        town.check()
        assert bought_and_burned(town) == BOUGHT_AND_BURNED
        town.restore_ledger(copy)
        town.wipe(1, "account")
        town.restore(full)
        assert told_of(town) == last and not town.restored and not town.wiped(1)
        town.check()
        # Only what is stored comes back: the valve was open, and nobody stands there now.
        assert town.burn(0, 1) == 0
        town.key(0)
        assert town.burn(0, 9) == 2


def test_saved_towns_end_with_their_handles() -> None:
    with new_town() as town:
        saved = [town.save() for _ in range(255)]
        with pytest.raises(ValueError, match="255"):
            town.save()
        saved.clear()
        town.restore(town.save())


def test_frozen_meter_goes_on_as_if_nothing_had_been() -> None:
    with new_town() as town:
        town.open_account(0, 5)
        town.visit(0, 0)
        town.burn(0, 1)
        site = town.sites[0]
        frozen, before = site.freeze(), town.snapshot(0)
        for _ in range(3):
            assert town.burn(0, 9) == 3
            site.cut(False)
            site.wipe("keys")
            frozen.put_back()
            site.look()
            assert town.snapshot(0) == before and site.store.remaining == 4 and not site.watch.wiped


def test_meter_out_of_this_process_cannot_be_frozen(vm_name: str) -> None:
    with new_town(1, vm_name) as town, pytest.raises(ValueError, match="in this process"):
        town.sites[0].freeze()


def test_two_towns_do_not_share_a_ledger() -> None:
    with new_town() as town, new_town() as other:
        assert town.open_account(0, 5) == 0
        assert other.orders() == [] and other.numbers == town.numbers
        assert other.open_account(0, 3) == 0
        assert [row.paid for row in town.orders() + other.orders()] == [5, 3]
