"""The main job, whole: sold, burned, balanced, the same on every target."""

import dataclasses
import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from gasrig import demo
from gasrig.demo import Result, command, live
from gasrig.household import hourly_use
from gasrig.targets import TARGETS, unavailable

pytestmark = pytest.mark.needs("demandlib", "sqlalchemy")

SPEED = {"target", "seconds", "meter_years_per_second"}
PROMISED = {
    "target",
    "days",
    "seed",
    "index_pulses",
    "bought_pulses",
    "remaining_pulses",
    "on_card_pulses",
    "granted_pulses",
    "held_pulses",
    "paid_back_pulses",
    "correction_pulses",
    "audit_findings",
    "head",
    "purchases",
    "valve",
    "difference_pulses",
    "meter_years_per_second",
    "alarms",
    "zero_shuts",
    "late",
    "register_pulses",
}


# How what happens once in every story begins, in the order of a whole year.
TOLD = (
    "hall: 10 blank cards delivered; 1 m³ costs 2.63 yuan, from ",
    "power cut",
    "power back after 3 hours; ",
    "card lost in use; card 2 replaces it, ",
    "hall: by the new card's report the meter has what the lost one brought; nothing is held",
    "the lost card turns up and goes into the meter: REPLACED",
    "hall: transfer card from meter ",
    "transfer card in the old meter, which is ended: ",
    "transfer card in the new meter, then at the hall: ",
    "card in the meter: for the new meter",
    "hall: 50 m³ sold for ",
    "card 4 replaces it, 50.00 m³ are held",
    "hall: 50.00 m³ never came; make-up 1 asked for by Wang Fang",
    "hall: approved by Li Na; slip to be signed: makeup-1.html",
    "card in the meter: make-up loaded",
    "wheels against the report: agrees, drift 0 pulses",
    "month end ",
    "ledger copied and the copy audited: ledger-copy.db",
)
KEPT = {"card.bin", "card.bin.chip", "ledger.db", "region.key", "ledger-copy.db", "makeup-1.html"}


def balanced(result: Result) -> bool:
    whole = result.index_pulses + result.remaining_pulses + result.on_card_pulses + result.held_pulses
    whole += result.paid_back_pulses + result.correction_pulses
    return (
        result.difference_pulses == result.hall_difference_pulses == result.audit_findings == 0
        and result.bought_pulses + result.granted_pulses == whole
        and result.index_pulses == result.register_pulses
    )


def told(result: Result) -> dict[str, Any]:
    return {name: value for name, value in dataclasses.asdict(result).items() if name not in SPEED}


@pytest.mark.parametrize("days", [3, 30])
def test_demo_is_the_same_on_every_target(days: int, target_name: str) -> None:
    result = live(target_name, days, 2)
    assert balanced(result)
    assert told(result) == told(live("cpython", days, 2))


@pytest.mark.parametrize("seed", range(1, 7))
def test_demo_year_has_one_late_day_and_balances(seed: int) -> None:
    story: list[str] = []
    result = live("cpython", 365, seed, say=lambda moment, sentence: story.append(sentence))
    assert balanced(result)
    assert (result.zero_shuts, result.late) == (1, True)
    assert 8 <= result.purchases <= 16
    assert result.alarms >= result.purchases - 2  # one before the card that breaks, one for the drawer
    # All that the household wanted, but for the hours behind a shut valve; each meter keeps a part of a pulse.
    wanted = sum(hourly_use())
    drawn = result.index_pulses * 1000
    assert 0 <= wanted - drawn - result.refused_milli_pulses < 2000
    assert result.refused_milli_pulses < wanted // 20
    assert [line for line in story if line.startswith(tuple(TOLD))] == sorted(
        [line for line in story if line.startswith(tuple(TOLD))],
        key=lambda line: next(i for i, begin in enumerate(TOLD) if line.startswith(begin)),
    )
    for begin in TOLD:
        assert sum(line.startswith(begin) for line in story) == 1, begin
    shut = next(i for i, line in enumerate(story) if line.startswith("nothing left"))
    assert "buying is put off" in story[shut - 1]
    assert story[shut + 2].startswith("card in the meter: purchase loaded")
    assert story[shut + 2].endswith("valve open")


def test_demo_year_on_the_vm_is_the_same(vm_name: str) -> None:
    result = live(vm_name, 365, 1)
    assert balanced(result)
    assert told(result) == told(live("cpython", 365, 1))


def test_demo_leaves_gas_on_the_card_in_some_seeds_only() -> None:
    results = [live("cpython", 1, seed) for seed in range(12)]
    assert all(balanced(result) for result in results)
    left = [result.on_card_pulses for result in results]
    assert 0 in left
    assert max(left) >= 10_000


def test_demo_report_comes_back_at_every_purchase(tmp_path: Path) -> None:
    from gashall import Ledger
    from gashall.terms import DONE, EXCHANGE, MAKEUP, REPLACEMENT, TRANSFER

    result = live("cpython", 60, 1, folder=tmp_path)
    assert result.purchases >= 3
    ledger = Ledger(tmp_path / "ledger.db", 0xFFFF)
    with ledger.begin() as books:
        orders = books.orders(result.account)
        bindings = books.bindings(result.account)
    ledger.close()
    assert sum(order.kind is None for order in orders) == result.purchases + 1
    assert [order.kind for order in orders if order.kind is not None] == [
        *(REPLACEMENT, TRANSFER, EXCHANGE, REPLACEMENT, MAKEUP)
    ]
    assert [(binding.open, binding.meter == result.meter) for binding in bindings] == [(False, False), (True, True)]
    # Of the card that broke nothing was ever loaded: its order is written, and the one after it done.
    broken = next(i for i, order in enumerate(orders) if order.paid_pulses == 5000)
    assert [i for i, order in enumerate(orders[:-1]) if order.state != DONE] in ([], [broken])


def test_demo_money_by_the_price_of_the_day_is_what_the_shifts_counted(tmp_path: Path) -> None:
    from gashall import Hall

    live("cpython", 60, 1, folder=tmp_path)
    hall = Hall.open(tmp_path, tmp_path / "region.key")
    with hall.ledger.look() as books:
        orders = books.orders("0000000001")
    sold = [order for order in orders if order.kind is None]
    assert {order.price for order in sold} == {26300, 28900}
    assert all(order.fen == order.paid_pulses * (order.price or 0) // 10_000 for order in sold)
    shifts = [hall.shift(number) for number in range(1, max(order.shift or 0 for order in orders) + 1)]
    assert sum(shift.cash or 0 for shift in shifts) == sum(order.fen or 0 for order in sold)
    assert all(shift.closed_at is not None and shift.reason is None for shift in shifts)
    stock = hall.stock()
    hall.close()
    assert (stock.delivered, stock.store) == (10, 6)


def test_demo_history_tells_which_meter_each_order_and_report_is_of(tmp_path: Path) -> None:
    from gashall import Hall

    result = live("cpython", 1, 1, folder=tmp_path)
    hall = Hall.open(tmp_path, tmp_path / "region.key")
    history = hall.history(result.account)
    hall.close()
    old, new = (binding.meter for binding, _ in history.bindings)
    assert new == result.meter != old
    lines = history.lines()
    opening, transfer = (next(i for i, line in enumerate(lines) if word in line) for word in ("80.00 m³,", "transfer "))
    assert f"meter {old}" in lines[opening] and f"meter {new}" in lines[transfer]
    reports = lines[lines.index("reports") + 1 :]
    assert [sum(f", meter {meter}" in line for line in reports) > 0 for meter in (old, new)] == [True, True]


def test_demo_chapters_come_in_the_shortest_story_too(tmp_path: Path) -> None:
    story: list[str] = []
    assert balanced(live("cpython", 1, 1, folder=tmp_path, say=lambda moment, sentence: story.append(sentence)))
    assert [begin for begin in TOLD if not any(line.startswith(begin) for line in story)] == []
    slip = (tmp_path / "makeup-1.html").read_text("utf-8")
    assert all(words in slip for words in ("Make-up slip 补气单 1", "Li Na", "Wang Fang", "50.00 m³"))
    assert (tmp_path / "report-2025-01.csv").read_bytes().startswith(b"\xef\xbb\xbfday,")
    assert "journal 流水校验值" in (tmp_path / "report-2025-01.html").read_text("utf-8")


def test_command_json_is_one_object_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["--target", "cpython", "--days", "30", "--seed", "2", "--json"]) == 0
    said = capsys.readouterr()
    result = json.loads(said.out)
    assert said.out.count("\n") == 1
    assert result.keys() >= PROMISED
    assert (result["target"], result["days"], result["seed"]) == ("cpython", 30, 2)
    assert result["difference_pulses"] == 0
    assert result["meter_years_per_second"] > 0
    assert "alarm" in said.err


def test_command_summary_says_that_it_balances_and_how_to_audit(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from gashall import hall_command

    monkeypatch.setattr("sys.argv", [".venv/bin/icgas", "demo"])
    folder = tmp_path / "kept here"
    assert command(["--target", "cpython", "--days", "5", "--keep", str(folder)]) == 0
    said = capsys.readouterr()
    assert "difference 0 pulses" in said.out
    assert "sold" in said.out
    assert "CPython" in said.err
    assert "+ held 0 + paid back 0 + corrections 0, difference 0 pulses\naudit clean\n" in said.out
    kept = KEPT | {"report-2025-01.csv", "report-2025-01.html"}
    assert {file.name for file in folder.iterdir()} == kept
    assert all(name in said.out for name in kept)
    # The line it prints, run as it stands.
    line = next(line for line in said.out.splitlines() if "icgas hall audit" in line)
    program, hall, *words = shlex.split(line.split(": ", 1)[1])
    assert (program, hall) == (".venv/bin/icgas", "hall")
    assert hall_command.command(words) == 0
    assert ": 0 findings" in capsys.readouterr().out
    assert len((folder / "card.bin").read_bytes()) == 256
    assert command(["--target", "cpython", "--days", "5", "--keep", str(folder)]) == 2
    assert str(folder) in capsys.readouterr().err


def test_command_chooses_the_real_vm_where_there_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["--days", "1", "--json"]) == 0
    chosen = json.loads(capsys.readouterr().out)["target"]
    assert chosen == ("cpython" if unavailable("micropython") else "micropython")


def test_command_without_a_vm_says_so_and_runs_here(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ICGAS_MICROPYTHON", "no-such-file")
    assert command(["--days", "1", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["target"] == "cpython"
    assert "ICGAS_MICROPYTHON" in said.err
    assert command(["--days", "1", "--target", "micropython"]) == 2


@pytest.mark.parametrize("field", ["difference_pulses", "hall_difference_pulses", "audit_findings"])
@pytest.mark.parametrize("shape", [["--json"], []])
def test_command_exits_3_if_the_books_do_not_balance(
    field: str, shape: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    short = dataclasses.replace(live("cpython", 1, 1), **{field: -1})
    monkeypatch.setattr(demo, "live", lambda *arguments, **options: short)
    assert command(["--target", "cpython", "--days", "1", *shape]) == 3
    assert "-1" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [["--days", "0"], ["--days", "-3"], ["--days", "x"], ["--days", "99999"], ["--target", "z80"], ["--what"]],
)
def test_command_used_wrongly_exits_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        command(arguments)
    assert leaving.value.code == 2


def test_command_offers_every_target(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command(["--help"])
    said = capsys.readouterr().out
    assert all(name in said for name in TARGETS)
