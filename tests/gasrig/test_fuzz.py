"""gasrig.fuzz: hundreds of thousands of hostile inputs, and the machinery that makes, follows and reports them."""

import json
import random
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gascard
import meter
from gascard import codes, frames
from gascard.records import CARD_MANAGEMENT, CARD_TEST, IDENTITY_AT, IMAGE_SIZE
from gashall import units
from gashall.errors import RequestError
from gasrig import fuzz, hostile
from meter import judging

CORPUS = Path(__file__).parents[1] / "fuzz"
CORPUS_MOST = 150_000  # bytes
INPUTS = 300_000
SEED = 20240901
TRACED = 60  # inputs a decoder under the line counter, which is slow

ALL = fuzz.decoders()


def pool(name: str) -> list[bytes]:
    return fuzz.corpus(CORPUS, name) + fuzz.seeds(name)


def needs(name: str) -> list[pytest.MarkDecorator]:
    return [pytest.mark.needs("construct", "crcmod")] if name == "engines" else []


EVERY = [pytest.param(name, marks=needs(name)) for name in fuzz.SHARES]


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder to work in, where findings may be left."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ---------------------------------------------------------------------- the fuzzing itself


@pytest.mark.parametrize("name", EVERY)
def test_decoder_has_documented_outcomes_only(name):
    outcome = fuzz.fuzz(name, fuzz.shares(list(fuzz.SHARES), INPUTS)[name], SEED, pool(name))
    assert outcome.finding is None, f"{outcome.finding.text}: {outcome.finding.data.hex()}"


@pytest.mark.parametrize("name", EVERY)
def test_decoder_runs_within_its_line_bound(name):
    rng = random.Random(SEED)
    inputs = pool(name)
    inputs += [fuzz.mutate(name, rng.choice(inputs), rng, inputs) for _ in range(TRACED)]
    trace = fuzz.Trace(fuzz.LINES_MOST[name])
    fuzz.feed(name, b"")
    for data in inputs:
        with trace:
            fuzz.feed(name, data)


@pytest.mark.needs("atheris")
@pytest.mark.parametrize("name", ["judge", "units"])
def test_guided_fuzzing_finds_more_than_it_was_given(name):
    outcome = fuzz.guided(name, 3000, SEED, fuzz.seeds(name)[:2])
    assert outcome.guided
    assert outcome.finding is None
    assert len(outcome.corpus) > 4


# ---------------------------------------------------------------------- the corpus


def test_corpus_has_a_pack_for_every_decoder_and_is_small():
    packs = {path.stem: path.stat().st_size for path in CORPUS.glob("*.pack")}
    assert packs.keys() == fuzz.SHARES.keys() == {**hostile.DECODERS, **fuzz.HALL}.keys()
    assert sum(packs.values()) < CORPUS_MOST
    assert all(len(data) <= fuzz.MOST[name] for name in packs for data in fuzz.corpus(CORPUS, name))


def test_corpus_reaches_every_line_a_card_can_reach(monkeypatch):
    trace = fuzz.Trace()
    reached: dict[str, set[int]] = {}

    def follow(name, data):
        with trace:
            said = fuzz.feed(name, data)
        for file, _, _, line in trace.arcs:
            reached.setdefault(file, set()).add(line)
        return said

    for name in hostile.DECODERS:
        for data in fuzz.corpus(CORPUS, name):
            follow(name, data)
    # A build that leaves the company's cards out.
    monkeypatch.delattr(meter, "tools")
    monkeypatch.setitem(sys.modules, "meter.tools", None)
    management = next(data for data in fuzz.seeds("card") if data[2 + IDENTITY_AT + 4] == CARD_MANAGEMENT)
    assert str((codes.SHAPE, codes.SHAPE)) in follow("card", management)
    test = next(data for data in fuzz.seeds("card") if data[2 + IDENTITY_AT + 4] == CARD_TEST)
    assert str((codes.KIND, codes.KIND)) in follow("card", test)
    for package, modules in ((meter, ("judging", "session", "lockout")), (gascard, ("frames",))):
        for module in modules:
            path = Path(package.__path__[0], f"{module}.py")
            assert not fuzz.function_lines(path) - reached[str(path)], path


@given(st.lists(st.binary(max_size=40)))
def test_pack_gives_back_what_was_packed(inputs):
    assert list(hostile.unpacked(hostile.packed(inputs))) == inputs


def test_written_pack_is_read_again(tmp_path):
    size = fuzz.write_pack(tmp_path / "new", "judge", [b"abc", b"", b"abc", b"z"])
    assert fuzz.corpus(tmp_path / "new", "judge") == [b"", b"z", b"abc"]
    assert (tmp_path / "new" / "judge.pack").stat().st_size == size
    assert fuzz.corpus(tmp_path, "judge") == fuzz.corpus(None, "judge") == []


def test_reduced_corpus_still_reaches_everything():
    rng = random.Random(SEED)
    many = fuzz.seeds("judge")
    many += [fuzz.mutate("judge", rng.choice(many), rng, many) for _ in range(150)]

    def arcs(inputs):
        trace, found = fuzz.Trace(), set()
        for data in inputs:
            with trace:
                fuzz.feed("judge", data)
            found |= trace.arcs
        return found

    few = fuzz.reduced("judge", many)
    assert len(few) < len(many) / 3
    assert arcs(few) == arcs(many)


# ---------------------------------------------------------------------- what is done to an input


@pytest.mark.parametrize("name", EVERY)
def test_changed_input_is_the_same_for_the_same_chance_and_never_too_long(name):
    inputs = pool(name)
    first, second = random.Random(5), random.Random(5)
    for data in inputs[:40]:
        changed = fuzz.mutate(name, data, first, inputs)
        assert changed == fuzz.mutate(name, data, second, inputs)
        assert len(changed) <= fuzz.MOST[name]


def test_changed_cards_get_past_crc_and_mac():
    rng = random.Random(SEED)
    data = fuzz.seeds("judge")[8]
    images = [fuzz.mutate("judge", data, rng)[2:] for _ in range(400)]
    whole = [image for image in images if len(image) == IMAGE_SIZE and not frames.check_identity(image)]
    assert len(whole) > 200
    assert sum(hostile.authentic(image) is not None for image in whole) > 100


def test_changed_streams_hold_whole_frames():
    rng = random.Random(SEED)
    data = fuzz.seeds("link")[1]
    changed = [fuzz.mutate("link", data, rng) for _ in range(100)]
    assert sum(not fuzz.feed("link", item).startswith("0 ") for item in changed) > 50


@given(st.decimals(), st.sampled_from((0, 1, 2)))
def test_volume_is_whole_pulses_or_refused(value, weight):
    try:
        count = units.pulses(value, weight)
    except RequestError:
        return
    assert units.volume(count, weight) == value


# ---------------------------------------------------------------------- findings


def forged_passes(patch):
    patch.setattr(judging, "mac_right", lambda *_: True)


def test_finding_is_shrunk_kept_and_can_be_replayed(workplace, monkeypatch, capsys):
    forged_passes(monkeypatch)
    arguments = ["--decoder", "judge", "--inputs", "3000", "--blind"]
    assert fuzz.command(arguments) == fuzz.FOUND
    said = capsys.readouterr()
    assert "FOUND Undocumented" in said.out
    assert "not genuine" in said.err
    (kept,) = Path("build", "fuzz").iterdir()
    assert f"icgas fuzz --decoder judge --replay {kept}" in " ".join(said.err.split())
    assert fuzz.command(["--decoder", "judge", "--replay", str(kept)]) == fuzz.FOUND
    monkeypatch.undo()
    monkeypatch.chdir(workplace)
    assert fuzz.command(["--decoder", "judge", "--replay", str(kept)]) == 0
    # Sound code says MAC to it: the shrinking has left nothing in it that was not needed.
    assert capsys.readouterr().out.startswith(f"{codes.MAC} ")
    assert len(kept.read_bytes()) < 2 + IMAGE_SIZE


def test_trace_ends_an_input_that_runs_on():
    with pytest.raises(fuzz.Hang, match="over 50 lines"), fuzz.Trace(50):
        fuzz.feed("judge", fuzz.seeds("judge")[0])


def test_input_that_never_ends_is_a_finding(monkeypatch):
    def endless(data):
        while True:
            pass

    monkeypatch.setattr(fuzz, "HANG_SECONDS", 0.05)
    monkeypatch.setitem(hostile.DECODERS, "judge", endless)
    outcome = fuzz.fuzz("judge", 10, SEED, [b"abc"])
    assert outcome.inputs == 1
    assert outcome.finding is not None
    assert outcome.finding.text.startswith("Hang")
    assert outcome.finding.data == b"abc"


# ---------------------------------------------------------------------- the command


def test_command_tells_every_decoder_as_json(workplace, capsys):
    assert fuzz.command(["--inputs", "300", "--blind", "--json", "--seed", "4"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["seed"] == 4
    assert [entry["decoder"] for entry in told["decoders"]] == ALL
    assert all(entry["finding"] is None and not entry["guided"] and entry["inputs"] for entry in told["decoders"])


def test_command_without_atheris_says_so_and_goes_on(workplace, monkeypatch, capsys):
    monkeypatch.setattr(fuzz, "guidance", lambda: False)
    assert fuzz.command(["--decoder", "units", "--inputs", "50"]) == 0
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert "not coverage-guided" in said.err
    assert "pip install 'icgas[fuzz]'" in said.err
    assert "blind" in said.out


def test_command_keeps_what_reaches_more(workplace, capsys):
    folder = workplace / "packs"
    folder.mkdir()
    arguments = ["--decoder", "units", "--inputs", "50", "--blind", "--keep", "--corpus", str(folder)]
    assert fuzz.command(arguments) == 0
    kept = fuzz.corpus(folder, "units")
    assert kept == fuzz.reduced("units", fuzz.seeds("units"))
    assert 0 < len(kept) < len(fuzz.seeds("units"))


@pytest.mark.parametrize(
    "arguments",
    [["--inputs", "0"], ["--inputs", "x"], ["--decoder", "none"], ["--replay", "x"], ["--keep"], ["--corpus", "none"]],
    ids=" ".join,
)
def test_command_refuses_what_cannot_be_done(workplace, arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        raise SystemExit(fuzz.command(arguments))
    assert capsys.readouterr().err


def test_shares_deal_out_all_inputs():
    dealt = fuzz.shares(list(fuzz.SHARES), 1_000_000)
    assert sum(dealt.values()) == pytest.approx(1_000_000, abs=len(dealt))
    assert min(fuzz.shares(list(fuzz.SHARES), 1).values()) == 1
    assert fuzz.MOST.keys() == fuzz.LINES_MOST.keys() == fuzz.SHARES.keys()
