"""One seed, one world; time that moves only by tick; gas that goes nowhere unseen."""

import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gascard import codes
from gascard.chip import Chip
from gasrig.handset import Snapshot
from meter import events

if TYPE_CHECKING:
    from gasrig.world import World

pytestmark = pytest.mark.needs("sqlalchemy")

HOUR = 3_600_000


def new_world(seed: int, target: str = "cpython", **more: Any) -> "World":
    from gasrig.world import World

    return World(seed, target, **more)


def opened(world: "World", volume: int = 50) -> Chip:
    card = world.blank_card()
    world.hall.open_account(
        world.reader(card), meter=world.number, volume=volume, initial_reading=f"{world.index_at_start / 100}"
    )
    assert world.visit(card) == codes.OK
    return card


def life(seed: int, target: str = "cpython") -> tuple[list[Snapshot], bytes, list[bytes], list[dict[str, int]]]:
    """A few days with everything in them: all snapshots, the card, the ledger's frames, the event log."""
    demand = [random.Random(9).randrange(70_000) for _ in range(24)]
    with new_world(seed, target, demand=demand) as world:
        card = opened(world)
        told = [dict(world.meter.last)]
        for hour in range(60):
            told.append(world.tick())
            draw = world.chance.randrange(8)
            if draw == 0:
                told.append(world.press_key())
            elif draw == 1:
                world.hall.read_back(world.reader(card))
                world.hall.sell(world.reader(card), world.chance.randrange(5, 30))
                told.append({"code": world.visit(card), **world.meter.last})
            elif draw == 2 and hour % 3 == 0:
                world.power_off(warned=hour % 2 == 0)
                world.tick(world.chance.randrange(HOUR))
                told.append(world.power_on())
        with world.hall.ledger.begin() as books:
            frames = [order.frame for order in books.orders("0000000001")]
        assert world.drawn_milli == (world.index_reading() - world.index_at_start) * 1000 + told[-1]["index_milli"]
        return told, card.dump(), frames, world.meter.events()


def test_world_of_one_seed_is_one_world_byte_for_byte() -> None:
    assert life(5) == life(5)


def test_world_of_one_seed_is_the_same_on_every_target(target_name: str) -> None:
    assert life(6, target_name) == life(6)


def test_world_of_another_seed_is_another() -> None:
    assert life(5)[1] != life(7)[1]


def test_world_leaves_the_global_random_numbers_alone() -> None:
    random.seed(3)
    state = random.getstate()
    life(5)
    assert random.getstate() == state


@pytest.mark.parametrize("pieces", [(HOUR,), (1, HOUR - 1), (HOUR // 7,) * 8, (5 * HOUR,)])
def test_tick_moves_time_by_just_so_much(pieces: tuple[int, ...]) -> None:
    demand = [1000, 2000, 4001, 0, 700_000]
    with new_world(1, demand=demand) as world:
        opened(world, 500)
        for piece in pieces:
            world.tick(piece)
        assert world.milliseconds == sum(pieces)
        hours, rest = divmod(sum(pieces), HOUR)
        wanted = sum(demand[:hours]) + (demand[hours % 5] * rest // HOUR)
        assert world.drawn_milli == wanted
        assert world.refused_milli == 0


def test_tick_without_a_figure_goes_to_the_full_hour() -> None:
    with new_world(1) as world:
        world.tick(10 * 60_000)
        world.tick()
        assert world.milliseconds == HOUR
        world.tick()
        assert world.hours == 2


def test_meter_and_world_agree_on_the_time_after_visits() -> None:
    with new_world(1) as world:
        card = opened(world)
        for _ in range(7):
            world.press_key()
            world.tick()
            assert world.visit(card) == codes.REPEAT
        world.tick()
        world.power_off(warned=True)
        world.power_on()
        last = [entry for entry in world.meter.events() if entry["kind"] == events.POWER_FAILING]
        assert [entry["time"] for entry in last] == [world.minutes]


def test_gas_wanted_while_shut_or_without_power_is_refused() -> None:
    with new_world(1, demand=[10_000]) as world:
        world.tick()
        assert (world.drawn_milli, world.refused_milli) == (0, 10_000)
        opened(world)
        world.tick()
        assert (world.drawn_milli, world.refused_milli) == (10_000, 10_000)
        world.power_off(warned=False)
        world.tick()
        assert (world.drawn_milli, world.refused_milli) == (10_000, 20_000)
        world.power_on()
        world.tick()
        # The valve stood open when the power went, and shuts now that it is back: hardly anything passes.
        assert 10_000 <= world.drawn_milli < 10_100


def test_world_cleans_up_its_folder_and_keeps_a_given_one(tmp_path: Path) -> None:
    with new_world(1) as world:
        folder = world.folder
        assert {file.name for file in folder.iterdir()} >= {"region.key", "ledger.db"}
    assert not folder.exists()
    with new_world(1, folder=tmp_path / "kept") as world:
        opened(world)
    assert (tmp_path / "kept" / "ledger.db").stat().st_size > 0
    assert (tmp_path / "kept" / "region.key").stat().st_mode & 0o077 == 0
