"""Known-bug builds: every patch fits today's sources, and a slice of them is really built, run and caught."""

import json
from collections import Counter

import pytest
from tests.conftest import require_part

for part in ("sqlalchemy",):
    require_part(part)
from gasrig import mutants  # noqa: E402
from gasrig.mutants import CHECKS, EQUIVALENT, MUTANTS, PLAIN, Check, Mutant, Patch, PatchError  # noqa: E402

BY_NAME = {mutant.name: mutant for mutant in MUTANTS}
# One for every check, and the check that catches it. ``icgas mutants`` runs them all.
SLICE = {
    "equal sequence credited": PLAIN,
    "newest copy overwritten": "cut",
    "two lanes": "count",
    "report not read back": "pull",
    "swapped card not noticed": "hall cut",
    "opening in one copy": "damage",
    "no read-back": "silence",
    "binding not checked": "flows",
    "token after judging": "verdict",
    "tokens by the clock": "lockout",
    "ledger behind not noticed": "collage",
    "factory inferred": "adversary",
    "transfer credited twice": "heirs",
    "credit and sequence apart": "explore",
    "refund paid without the report": "day",
}
LISTED = """
    credit before journal, no read-back, single copy, newest copy overwritten, CRC ignored, MAC ignored,
    one bit per pulse, two lanes, no scrub, lockout in RAM, token after judging, equal sequence credited,
    binding not checked, factory inferred, report over the newest slot, report before journal,
    report number not stored first, pending row forgotten, pending row cancelled, valve opened at power-up,
    tries without end, pulses kept until the valve rests, exercise by itself, magnet that is gone opens,
    guard's word lost at power-up, flow past the valve not noticed, limits in one copy, event numbers from one,
    empty cell only warns, supply back opens, bounce counts, backwards counts,
    final record on the card first, over before the valve stops, final record after the account,
    final record in one copy, second heir served, transfer credited twice, transfer not limited,
    what is owed is forgotten, final record's MAC ignored, unread report overwritten, bound meter set,
    older setting taken, setting's number first, key version falls, old key left, test gas without end,
    test gas comes back, old binding opens again,
    own request approved, unapproved written, grant written twice, nothing held, held not computed,
    replacement not numbered, refund paid without the report, sold while a refund is unpaid, cancelled refund paid,
    correction dropped by a sale, probe carries the total, adopting lowers, recovering accounts buy,
    sequences do not jump, requests outlive a restore, holding not journalled, journal without a chain,
    limits count gifts, drawer without pay-outs, replacement uses no stock, batch writes before it books,
    batch announces nothing, check tries strangers, grant judged once, one salt for all,
    waiting gas released twice, transfer card booked twice, sold in an exchange, closed without the final record,
    forged final record booked, sold beside a clear card, used clear card taken back, begun company's card forgotten,
    company's card judged once, card number given twice, service number given twice,
    dead meter's gas forgotten at a clear, dead meter's gas forgotten in an exchange,
    dead meter's gas forgotten when its heir dies, dead meter's gas refused by a restore, dead meter's gas judged once,
    left comes along across a restore, left counts as bought, present card cleared, card cleared of anything,
    last try for a card taken back, cancelled test goes on, void test corrected, test corrected by one person,
    meter in test declared dead, refund of another day's worth, report of earlier keys proves,
    exchange proven gives it all again, replaced twice
"""


# ---------------------------------------------------------------------- the catalogue


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_patches_fit_the_sources_once_and_compile(mutant):
    files = mutants.patched(mutant, mutants.source)
    assert files
    for file, text in files.items():
        assert text != mutants.source(file), file
        compile(text, file, "exec")


def test_catalogue_is_as_large_as_promised():
    assert len(BY_NAME) == len(MUTANTS) >= 80
    assert sum(mutant.beyond for mutant in MUTANTS) >= 40
    assert not EQUIVALENT.keys() & BY_NAME.keys()
    assert {name.strip() for name in LISTED.split(",")} <= BY_NAME.keys()


def test_catalogue_uses_every_check_and_no_other():
    used = {check.kind for mutant in MUTANTS for check in mutant.checks}
    assert used | {PLAIN} == CHECKS.keys() == set(SLICE.values())


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_mutant_says_what_is_wrong_and_leaves_the_checkers_alone(mutant):
    assert mutant.what.endswith(".") and mutant.what[0].isupper()
    assert PLAIN not in [check.kind for check in mutant.checks]
    assert {patch.file.partition("/")[0] for patch in mutant.patches} <= {"gascard", "meter", "gashall"}


# ---------------------------------------------------------------------- building and running


@pytest.mark.parametrize("old, count", [("nowhere to be found", 0), ("codes.", None)])
def test_patch_that_fits_not_exactly_once_is_refused(old, count):
    wrong = Mutant("wrong", "Wrong.", (Patch("meter/judging.py", old, ""),))
    with pytest.raises(PatchError, match="wrong: in meter/judging.py there are " + ("0" if count == 0 else r"\d+")):
        mutants.patched(wrong, mutants.source)


def test_build_leaves_the_sources_alone_and_changes_only_what_is_patched(tmp_path):
    mutant = BY_NAME["MAC ignored"]
    before = {patch.file: mutants.source(patch.file) for patch in mutant.patches}
    mutants.build(tmp_path, mutant)
    assert (tmp_path / "meter" / "judging.py").read_text(encoding="utf-8") != before["meter/judging.py"]
    assert (tmp_path / "meter" / "store.py").read_text(encoding="utf-8") == mutants.source("meter/store.py")
    assert (tmp_path / "gasrig" / "checkers.py").is_file()
    assert {file: mutants.source(file) for file in before} == before


def test_unpatched_copy_passes_what_the_slice_is_caught_by():
    assert mutants.baseline([BY_NAME[name] for name in SLICE]) is None


@pytest.mark.parametrize("name, kind", SLICE.items(), ids=SLICE)
def test_known_bug_is_caught(name, kind):
    result = mutants.run(BY_NAME[name])
    assert (result.caught_by, result.rule != "", result.text != "") == (kind, True, True), result
    assert result.rule != "fault", result


def test_check_that_breaks_the_unpatched_copy_is_told():
    # No flow of that name: the check itself fails, and a mutant that it "caught" would mean nothing.
    broken = Mutant("broken", "Broken.", (), (Check("cut", "no such flow"),))
    told = mutants.baseline([broken])
    assert told is not None and told.startswith("cut: no such flow: fault: KeyError")


# ---------------------------------------------------------------------- the command


def results(*caught_by):
    return [mutants.Result(f"m{i}", "What.", by, "", "rule", "text", 1.0) for i, by in enumerate(caught_by)]


@pytest.mark.parametrize(
    "caught_by, code",
    [((PLAIN, "cut"), 0), ((PLAIN, None), mutants.SURVIVED), (("damage", "explore"), 0)],
)
def test_command_json_counts_and_exit_code(monkeypatch, capsys, caught_by, code):
    made = results(*caught_by)
    monkeypatch.setattr(mutants, "baseline", lambda wanted: None)
    monkeypatch.setattr(mutants, "_results", lambda wanted: iter(made))
    assert mutants.command(["--json"]) == code
    said = json.loads(capsys.readouterr().out)
    assert said["total"] == len(made)
    assert said["survived"] == caught_by.count(None)
    assert said["caught_by"] == Counter(filter(None, caught_by))
    assert said["beyond_flows"] == sum(by not in (None, PLAIN) for by in caught_by)
    assert [row["name"] for row in said["mutants"]] == ["m0", "m1"]
    assert {row["name"] for row in said["equivalent"]} == EQUIVALENT.keys()


def test_command_table_names_survivors(monkeypatch, capsys):
    monkeypatch.setattr(mutants, "baseline", lambda wanted: None)
    monkeypatch.setattr(mutants, "_results", lambda wanted: iter(results("cut", None)))
    assert mutants.command([]) == mutants.SURVIVED
    said = capsys.readouterr().out
    assert "survived: 1" in said and "m1" in said


def test_command_list_names_every_mutant(capsys):
    assert mutants.command(["--list"]) == 0
    assert [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()] == list(BY_NAME)


def test_command_only_runs_that_one(capsys):
    assert mutants.command(["--only", "MAC ignored", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["total"], said["caught_by"]) == (1, {PLAIN: 1})


def test_command_unknown_mutant_is_wrong_usage(capsys):
    assert mutants.command(["--only", "none such"]) == 2
    assert "none such" in capsys.readouterr().err


def test_command_stops_where_the_unpatched_copy_fails(monkeypatch, capsys):
    monkeypatch.setattr(mutants, "baseline", lambda wanted: "cut: purchase: adds_up: 1")
    assert mutants.command(["--json"]) == 1
    assert "without any defect" in capsys.readouterr().err
