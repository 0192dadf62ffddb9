"""The explorer: the same story from the same seed, clean stories, planted bugs found and shrunk, the command."""

import json
import random
import re
from pathlib import Path

import pytest
from tests.conftest import require_part

require_part("sqlalchemy")

import meter.account  # noqa: E402
import meter.judging  # noqa: E402
import meter.lockout  # noqa: E402
import meter.meter  # noqa: E402
import meter.session  # noqa: E402
import meter.store  # noqa: E402
from gascard import codes  # noqa: E402
from gashall import errors, exchange  # noqa: E402
from gashall.counter import Counter  # noqa: E402
from gasrig import explore  # noqa: E402
from gasrig.checkers import RULES, Violation  # noqa: E402
from gasrig.explore import STEPS, Player, command, draw, play, read_story, shrink, written_out  # noqa: E402

SEEDS_FILE = Path(__file__).with_name("found_seeds.txt")

# A household's first days, by hand.
STORY = [
    ("town", 1, 1, 0, 5, 0, 0),
    ("open", 0, 30, 0, 0),
    ("visit", 0),
    ("burn", 0, 10),
    ("sell", 0, 20, 10, 2),
    ("sell", 0, 99, 0, 0),
    ("pull", 0, 12, 1),
    ("visit", 0),
]


# ---------------------------------------------------------------------- stories


def test_draw_same_seed_gives_same_story():
    assert draw(7) == draw(7) != draw(8)
    assert len(draw(7)) == STEPS + 1
    assert draw(7, 40) == draw(7)[:41]


def test_draw_leaves_no_kind_of_step_out():
    drawn = {step[0] for seed in range(40) for step in draw(seed)}
    assert drawn == set(explore.SIZES) | {"town"}
    assert {draw(seed)[0][3] for seed in range(4)} == {0, 1}, "FRAM and EEPROM"


def test_written_out_story_is_read_again():
    for seed in range(5):
        assert read_story("# a note\n\n" + written_out(draw(seed))) == draw(seed)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        "nonsense",
        '["visit", 0]',
        '["town", 1, 1, 0, 5, 0]',
        '["town", 1, 1, 0, 5, 0, 0]\n["visit"]',
        '["town", 1, 1, 0, 5, 0, 0]\n["fly", 0]',
        '["town", 1, 1, 0, 5, 0, 0]\n["burn", 0, -1]',
        '["town", 1, 1, 0, 5, 0, 0]\n["burn", 0, true]',
        '["town", 1, 1, 0, 5, 0, 0]\n[["burn"], 0, 1]',
        '["town", 1, 99, 0, 5, 0, 0]',
        '["town", 1, 1, 0, 70000, 0, 0]',
    ],
)
def test_text_that_is_no_story_is_refused(text):
    with pytest.raises(ValueError, match=r"line|step"):
        read_story(text)


def test_story_by_hand_balances():
    with Player(STORY[0]) as player:
        told = [player.step(step) for step in STORY[1:]]
        player.settle()
        # The hall died in the purchase of 20; the next at the window finishes that one and sells nothing else.
        assert told == [0, codes.OK, 10, codes.CARD_OUT, 0, codes.CARD_OUT, codes.REPEAT]
        assert player.plain.left(0) == 40 == player.street.walls[0].store.remaining
        assert player.street.sold(0) == 50


# A customer with gas on his card gets another meter; then the ledger is restored from before that.
EXCHANGED = [
    ("town", 1, 1, 0, 5, 0, 0),
    ("open", 0, 30, 0, 0),
    ("visit", 0),
    ("burn", 0, 10),
    ("read", 0),
    ("sell", 0, 20, 0, 0),
    ("exchange", 0, 20, 2),
    ("exchange", 0, 0, 0),
    ("sell", 0, 5, 0, 0),
    ("carry", 0, 60, 0),
    ("through", 0, 0, 0),
    ("visit", 0),
    ("show", 0, 0, 999, 0),
]


def test_exchange_by_hand_balances():
    with Player(EXCHANGED[0]) as player:
        told = [player.step(step) for step in EXCHANGED[1:]]
        assert told[5:11] == [codes.CARD_OUT, 0, errors.EXCHANGE, codes.OK, 0, codes.OK]
        old, new = player.street.others[0], player.street.walls[0]
        assert (old.store.over, old.store.remaining, new.store.remaining) == (True, 0, 40)
        player.settle()
        assert (player.plain.before[0], player.plain.left(0), player.street.sold(0)) == (10, 40, 50)


def test_restored_ledger_comes_to_rest():
    story = [*EXCHANGED[:6], ("copy", 0), ("visit", 0), ("sell", 0, 7, 0, 0), ("restore", 0), ("sell", 0, 9, 0, 0)]
    with Player(story[0]) as player:
        assert [player.step(step) for step in story[1:]][-1] in (errors.RECOVERING, errors.LEDGER_BEHIND)
        player.settle()
        assert not player.street.counter.recovering(player.customers[0].chip)


def test_every_part_of_a_story_is_a_story():
    chance = random.Random(1)
    whole = draw(3)
    for _ in range(6):
        part = [whole[0], *[step for step in whole[1:] if chance.random() < 0.3]]
        assert play(part).rule is None


# ---------------------------------------------------------------------- many seeds


def test_forty_seeds_are_clean():
    found = explore.explore(range(1, 41), steps=100)
    assert found.violations == []
    assert (found.seeds, found.unplayed) == (40, 0)
    assert found.sessions > 40 * 40


def test_three_seeds_are_clean_on_vm_and_the_same(vm_name):
    for seed in (1, 2, 3):
        there, here = play(draw(seed, 25), vm_name), play(draw(seed, 25))
        assert there == here
        assert there.rule is None, there.text


def _found_seeds():
    lines = [line.split(maxsplit=2) for line in SEEDS_FILE.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line and not line[0].startswith("#")]


def test_found_seeds_stay_clean():
    for seed, version, what in _found_seeds():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version), version
        outcome = play(draw(int(seed)))
        assert outcome.rule is None, f"seed {seed}, {what}: {outcome.rule}: {outcome.text}"


def test_explore_ends_when_time_is_over():
    found = explore.explore(range(10**9), minutes=0.002)
    assert 0 < found.seeds < 100
    assert found.unplayed == 10**9 - found.seeds
    assert found.seconds < 5


def test_explore_in_two_processes_finds_the_same():
    one, two = explore.explore(range(4), steps=20), explore.explore(range(4), steps=20, jobs=2)
    assert (one.seeds, one.sessions, one.steps) == (two.seeds, two.sessions, two.steps)


# ---------------------------------------------------------------------- planted bugs


def adds(monkeypatch):
    """The meter adds what an order says was bought with it, instead of taking the greater total."""
    plan = meter.account.Account.plan

    def planted(self, order, card, mac, register):
        code, new, lowers = plan(self, order, card, mac, register)
        if new is not None and self.bound:
            new["bought_total"] = self.values["bought_total"] + order["amount"]
        return code, new, lowers

    monkeypatch.setattr(meter.account.Account, "plan", planted)


def overwrites_the_newest(monkeypatch):
    """A record is saved over its newest copy."""
    save = meter.store.Pair.save

    def planted(self, both=False):
        if not both:
            self._newest = 1 - self._newest
        save(self, both)

    monkeypatch.setattr(meter.store.Pair, "save", planted)


def believes_torn_records(monkeypatch):
    """A record is read without its checksum."""

    def planted(self, copy):
        raw = bytearray(64)
        self._memory.read_into(self._places[copy], raw)
        return raw

    monkeypatch.setattr(meter.store.Pair, "_read", planted)


def loads_older(monkeypatch):
    """An order older than what is loaded is loaded."""
    newer = meter.judging._newer

    def planted(order, mac, account):
        code = newer(order, mac, account)
        return codes.OK if code == codes.OLDER else code

    monkeypatch.setattr(meter.judging, "_newer", planted)


def believes_forged_orders(monkeypatch):
    """The MAC is not compared."""
    monkeypatch.setattr(meter.judging, "mac_right", lambda *_: True)


def forgives_forged_orders(monkeypatch):
    """A wrong MAC costs no token."""
    monkeypatch.setattr(meter.lockout.Lockout, "failed", lambda self, bucket: None)


def credits_strangers_chips(monkeypatch):
    """A refused password stops the report and not the credit."""
    verify = meter.session.Session.verify

    def planted(self, card, psc):
        code = verify(self, card, psc)
        return codes.REPORT_NOT_WRITTEN if code == codes.PASSWORD_REFUSED else code

    monkeypatch.setattr(meter.session.Session, "verify", planted)


def opens_by_itself(monkeypatch):
    """The window of a minute is not asked for."""
    settle = meter.meter.Meter._settle_valve

    def planted(self):
        runs, self.deadlines.runs = self.deadlines.runs, lambda _: True
        try:
            settle(self)
        finally:
            self.deadlines.runs = runs

    monkeypatch.setattr(meter.meter.Meter, "_settle_valve", planted)


def account_before_key_record(monkeypatch):
    """The account is bound before the key record's binding is raised."""
    journal = meter.meter.Meter.journal

    def planted(self, values, lowers):
        self.account.commit(dict(values), True)
        journal(self, values, lowers)

    monkeypatch.setattr(meter.meter.Meter, "journal", planted)


def forgets_what_was_begun(monkeypatch):
    """The hall books a begun order as written and does not write it."""

    def planted(self, reader, standing, order, rescue):
        with self.ledger.begin() as books:
            books.mark_written(order.id)

    monkeypatch.setattr(Counter, "finish", planted)


def releases_more_in_an_exchange(monkeypatch):
    """The customer's card for his new meter releases two pulses nobody paid for."""
    entitled = exchange._entitled
    monkeypatch.setattr(exchange, "_entitled", lambda here: entitled(here) + 2)


def forgets_what_waits_in_an_exchange(monkeypatch):
    """It releases nothing that the old meter had not loaded."""
    settled = exchange._begin_binding

    def planted(*arguments):
        settled(*arguments[:-2], 0, arguments[-1])

    monkeypatch.setattr(exchange, "_begin_binding", planted)


# Bug: rules that may be broken by it, and how many steps the shrunk story has at most, the town's not counted.
BUGS = {
    adds: ({"credited_once", "plain", "adds_up"}, 7),
    overwrites_the_newest: ({"never_back", "store_kept", "account_steady", "reports_true"}, 7),
    believes_torn_records: (set(RULES) | set(explore.PLAYER_RULES), 6),  # what is believed then may be anything
    loads_older: ({"never_back"}, 7),
    believes_forged_orders: ({"credited_once", "account_steady", "plain", "reports_true"}, 4),
    forgives_forged_orders: ({"lockout_held"}, 3),
    credits_strangers_chips: ({"plain"}, 4),
    opens_by_itself: ({"opened_by_person"}, 5),
    account_before_key_record: ({"binding_first"}, 3),
    forgets_what_was_begun: ({"card_written"}, 4),
    releases_more_in_an_exchange: ({"bound_holds", "settles"}, 8),
    forgets_what_waits_in_an_exchange: ({"settles"}, 8),
}
SEEDS_FOR_A_BUG = range(1, 60)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_planted_bug_is_found_and_shrunk(bug, monkeypatch):
    rules, most = BUGS[bug]
    with monkeypatch.context() as planted:
        bug(planted)
        outcome = next(outcome for seed in SEEDS_FOR_A_BUG if (outcome := play(draw(seed, 100))).rule is not None)
        assert outcome.rule in rules, f"{outcome.rule}: {outcome.text}"
        at_rest = outcome.at == len(outcome.story)
        short = shrink(outcome, lambda story: play(story, settle=at_rest), plays=100)
        assert len(short.story) - 1 <= most, written_out(short.story)
        again = play(read_story(written_out(short.story)))
        assert (again.rule, again.text) == (short.rule, short.text)
    assert play(short.story).rule is None


def test_shrink_keeps_to_the_rule_it_was_given():
    # Two bugs in one story: the shorter way to the other one is no answer.
    def again(story):
        names = [step[0] for step in story]
        rule = "second" if "key" in names and "cut" in names else "first" if "key" in names else None
        return explore.Outcome(story, rule, "", len(story), 0, 0)

    story = [("town", 0), ("key", 9), ("visit", 3), ("cut", 700, 1), ("visit", 3)]
    short = shrink(again(story), again)
    assert (short.rule, short.story) == ("second", [("town", 0), ("key", 0), ("cut", 0, 0)])


def test_crash_is_an_outcome(monkeypatch):
    def planted(self, order, card, mac, register):
        raise KeyError("planted")

    monkeypatch.setattr(meter.account.Account, "plan", planted)
    outcome = play(STORY)
    assert (outcome.rule, outcome.at) == ("crash: KeyError", 2)
    assert "planted" in outcome.text


def test_plain_model_differs_from_a_meter_that_lost_gas():
    with Player(STORY[0]) as player:
        for step in STORY[1:3]:
            player.step(step)
        player.plain.load(0, 31, 1)
        with pytest.raises(Violation, match="plain: customer 0: the meter says"):
            player.step(("key", 0))


# ---------------------------------------------------------------------- the command


def test_command_says_how_many_sessions(capsys):
    assert command(["--seeds", "1..2", "--steps", "20"]) == 0
    out = capsys.readouterr().out
    assert re.match(r"target cpython: 2 seeds, \d+ card sessions, \d+ steps in [\d.]+ s \(\d+ sessions/s\)\n", out)
    assert out.endswith("no violation\n")


def test_command_json_has_the_promised_fields(capsys):
    assert command(["--seeds", "5", "--steps", "10", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"seeds", "sessions", "steps", "violations", "seconds"} <= found.keys()
    assert (found["seeds"], found["violations"]) == (1, [])


def test_command_violation_prints_a_story_that_it_plays_again(capsys, monkeypatch, tmp_path):
    opens_by_itself(monkeypatch)
    assert command(["--seeds", "1..2", "--steps", "60", "--json"]) == 3
    told = capsys.readouterr()
    violations = json.loads(told.out)["violations"]
    assert 1 <= len(violations) <= explore.MOST_VIOLATIONS
    first = violations[0]
    assert f"icgas explore --seeds {first['seed']}..{first['seed']} --steps 60" in told.err
    told_story = told.err.split("with these lines in the file:\n")[1].split("\n\n")[0]
    assert read_story(told_story) == [tuple(step) for step in first["story"]]
    file = tmp_path / "story.txt"
    file.write_text(told_story)
    assert command(["--story", str(file)]) == 3
    assert capsys.readouterr().err.startswith("opened_by_person: ")
    monkeypatch.undo()
    assert command(["--story", str(file)]) == 0


@pytest.mark.parametrize(
    "arguments",
    [["--seeds", "9..1"], ["--seeds", "x"], ["--seeds", "1.."], ["--minutes", "0"], ["--minutes", "nan"]]
    + [["--jobs", "0"], ["--steps", "0"], ["--target", "abacus"], ["--story", "x", "--seeds", "1..2"], ["left"]],
)
def test_command_wrong_usage_is_two(arguments, capsys):
    with pytest.raises(SystemExit) as left:
        command(arguments)
    assert left.value.code == 2


def test_command_story_that_is_none_is_two(tmp_path, capsys):
    file = tmp_path / "story.txt"
    file.write_text("nonsense")
    assert command(["--story", str(file)]) == 2
    assert command(["--story", str(tmp_path / "missing")]) == 2
    assert capsys.readouterr().err.startswith("icgas explore: ")
