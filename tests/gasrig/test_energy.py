"""Charge and life by hand, what a simulated meter counts, and the page that shows it."""

from pathlib import Path

import pytest

from gascard import codes
from gasrig import energy
from gasrig.energy import CARD_BYTES, MICROAMPERES, MICROCOULOMBS, TABLE, USUAL, Row, charge, life, per_year

DOCS = Path(__file__).parents[2] / "docs"

SMALL = (Row("rest", 10, MICROAMPERES, "assumed", ""), Row("push", 3_600_000, MICROCOULOMBS, "assumed", ""))

# 10 µA for an hour are 36 000 µC, 0.01 mAh; a push is 1 mAh.
CHARGES = [
    ({}, {"rest": 0, "push": 0}, 0),
    ({"rest": 1}, {"rest": 36_000, "push": 0}, 0.01),
    ({"push": 2}, {"rest": 0, "push": 7_200_000}, 2),
    ({"rest": 100, "push": 0.5}, {"rest": 3_600_000, "push": 1_800_000}, 1.5),
]

# Counts a year, cell, usable, lost by itself -> years.
LIVES = [
    ({"push": 100}, 1000, 1, 0, 10),
    ({"push": 100}, 1000, 0.8, 0, 8),
    ({"push": 60}, 1000, 0.8, 0.02, 10),  # 800 / (60 + 20)
    ({"rest": 9000, "push": 10}, 500, 1, 0, 5),  # 500 / (90 + 10)
    ({}, 1000, 1, 0.05, 20),
]


@pytest.mark.parametrize(("counts", "each", "together"), CHARGES)
def test_charge_is_count_times_amount(counts, each, together):
    assert charge(counts, SMALL) == each
    assert energy.milliampere_hours(counts, SMALL) == pytest.approx(together)


@pytest.mark.parametrize(("counts", "cell", "usable", "lost", "years"), LIVES)
def test_life_is_the_usable_cell_by_the_year(counts, cell, usable, lost, years):
    assert life(counts, SMALL, cell_mah=cell, usable=usable, self_discharge=lost) == pytest.approx(years)


def test_count_of_no_event_is_refused():
    with pytest.raises(KeyError, match="no such event: dance"):
        charge({"sleep": 1, "dance": 2})


def test_every_row_says_how_certain_it_is():
    assert {row.certainty for row in TABLE} == {"maker", "datasheet", "assumed"}
    assert all(row.amount > 0 and row.meaning and row.unit in (MICROAMPERES, MICROCOULOMBS) for row in TABLE)
    assert set(USUAL) == {row.event for row in TABLE}


def test_usual_household_by_hand():
    """mAh: 87.66 asleep, 0.083 + 0.120 pulses and calls, 1.333 valve, 0.049 cards and boot; 40 lost by itself."""
    assert energy.milliampere_hours(USUAL) == pytest.approx(89.25, abs=0.02)
    assert life(USUAL) == pytest.approx(3200 / 129.25, abs=0.01)


def test_year_is_made_of_a_part_of_it():
    before, after = {"sleep": 100, "pulse": 50}, {"sleep": 100 + 8766 / 4, "pulse": 75}
    assert per_year(after, before) == {"sleep": pytest.approx(8766), "pulse": pytest.approx(100)}
    assert per_year({"sleep": 8766, "pulse": 7}) == {"sleep": 8766, "pulse": 7}
    with pytest.raises(ValueError, match="no time"):
        per_year(before, before)


@pytest.mark.needs("sqlalchemy")
@pytest.mark.parametrize("eeprom", [False, True])
def test_counters_of_a_simulated_meter_are_those_of_the_usual_household(eeprom):
    """Three cards of 10 m³; each time the alarm shuts at 5 m³ and the next card opens: the pulses, a card's bytes."""
    from gasrig.bench import MEMORY_EEPROM, MEMORY_FRAM
    from gasrig.world import HOUR_MS, World

    parts = {"memory": MEMORY_EEPROM, "lanes": 4, "lane_length": 1024} if eeprom else {"memory": MEMORY_FRAM}
    with World(3, demand=[250_000] * 24, **parts) as world:
        card = world.blank_card()
        reading = f"{world.index_at_start / 100}"
        world.hall.open_account(world.reader(card), meter=world.number, volume=10, alarm=5, initial_reading=reading)
        assert world.visit(card) == codes.OK
        world.tick()
        before = energy.counted(world, eeprom=eeprom)
        for hours in (3, 5):
            for _ in range(hours):
                world.tick()
            assert world.meter.last["remaining"] == 500
            world.hall.read_back(world.reader(card))
            world.hall.sell(world.reader(card), 10)
            assert world.visit(card) == codes.OK
        world.tick(HOUR_MS // 2)
        after = energy.counted(world, eeprom=eeprom)
    cards = 2
    done = {event: after[event] - before[event] for event in after}
    assert done["sleep"] == pytest.approx(8.5)
    assert done["pulse"] == world.drawn_milli // 1000 - 250
    assert done["valve_second"] == 2 * cards * 4
    assert done["session_second"] == cards * energy.SESSION_SECONDS
    assert done["display_second"] == cards * 60
    assert (done["beep"], done["boot"], after["boot"]) == (cards, 0, 1)
    if eeprom:
        assert done["fram_byte"] == 0
        assert 0 < done["eeprom_write"] - done["pulse"] < 20 * cards
    else:
        assert done["eeprom_write"] == 0
        assert done["fram_byte"] - done["pulse"] == pytest.approx(cards * CARD_BYTES, rel=0.25)
    assert 1 < life(per_year(after, before)) < life(USUAL)


def test_page_shows_the_present_table():
    page = (DOCS / "energy.md").read_text(encoding="utf-8")
    assert energy.filled(page) == page, "python -m gasrig.energy --write"
    assert energy.report() in page


def test_page_without_a_place_is_not_written():
    with pytest.raises(ValueError, match="no place"):
        energy.filled("nothing here\n")


def test_command_prints_or_writes(capsys, tmp_path, monkeypatch):
    assert energy.main([]) == 0
    assert capsys.readouterr().out == energy.report()
    page = tmp_path / "energy.md"
    page.write_text(f"before\n{energy.BEGIN}stale\n{energy.END}after\n", encoding="utf-8")
    monkeypatch.setattr(energy, "PAGE", page)
    assert energy.main(["--write"]) == 0
    assert page.read_text(encoding="utf-8") == f"before\n{energy.BEGIN}{energy.report()}{energy.END}after\n"
