"""``icgas cut``: a slice of every flow here, and proof that the machinery finds what it is made to find."""

import json
from xml.etree import ElementTree

import pytest
from portable_judging import Stand, card
from portable_store import CLEAN, CutFram, Fuse, PowerCut
from tests.conftest import require_part

from gascard.records import ORDER_OPENING
from gasrig.cut import Counts, Cutter, Found, flow_names
from gasrig.recorder import KEYS, STORE, RecordedFram, Recorder
from gasrig.targets import open_target

require_part("sqlalchemy")
from gasrig import cut_command  # noqa: E402
from gasrig.counter_cut import HALL_FLOWS  # noqa: E402
from gasrig.cut_command import ALL_FLOWS, VIOLATED, command, cut_flows  # noqa: E402
from meter import account, events, meter, store, tools, valve  # noqa: E402
from meter.deadlines import WINDOW  # noqa: E402
from meter.layouts import CLOSED, FINAL_RECORD_AT, STATE, STATE_AT, TRANSFERRED  # noqa: E402

SLICE = 60  # every so manieth write, pull or state of each flow


def test_every_flow_is_cut_and_holds():
    total, results = cut_flows(ALL_FLOWS, shard=(1, SLICE))
    assert results.keys() == set(ALL_FLOWS)
    assert {name: counts.violations for name, counts in results.items() if counts.violations} == {}
    assert total.states > 10_000 and total.violations == []
    # What is too short for the slice is cut as a whole: some services of the hall, which are thinned already.
    short = [name for name, counts in results.items() if not counts.own]
    assert set(short) < set(HALL_FLOWS)
    assert all(counts.own and not counts.violations for counts in cut_flows(short)[1].values())


def test_second_cut_in_the_recovery_holds():
    names = ("binding", "batch", "checkpoint", "lockout take")
    once, _ = cut_flows(names, shard=(5, 200))
    twice, _ = cut_flows(names, depth=2, shard=(5, 200))
    assert twice.violations == []
    assert twice.states > 2 * once.states


@pytest.mark.parametrize("name", ["first load", "batch", "power cut with a warning"])
def test_flow_is_cut_on_the_vm(vm_name, name):
    there, _ = cut_flows([name], target=vm_name, shard=(3, 150))
    here, _ = cut_flows([name], shard=(3, 150))
    assert there.violations == [] and there.fired
    assert there == here


def test_shards_together_try_what_one_run_tries():
    name = "wrong meter"
    whole = cut_flows([name])[1][name]
    parts = [cut_flows([name], shard=(part, 3))[1][name] for part in (1, 2, 3)]
    assert sum(part.states for part in parts) >= whole.states > 1000
    assert all(part.states < whole.states for part in parts)


def test_record_of_a_load_agrees_with_a_power_cut_at_every_byte():
    # The states a cut leaves, built from the record, are those of a program really stopped there.
    recorder = Recorder()

    def stand():
        made = Stand(bound=False, memory=CutFram)
        made.memory.fuse = Fuse()
        made.key_memory.fuse = made.memory.fuse
        return made

    recorded = Stand(bound=False, memory=RecordedFram)
    recorded.key_memory.kind = KEYS
    recorded.memory.recorder = recorded.key_memory.recorder = recorder
    chip = card(kind=ORDER_OPENING, sequence=3, bought_total=5000)
    image = {STORE: bytearray(recorded.memory.cells), KEYS: bytearray(recorded.key_memory.cells)}
    recorded.visit(chip)
    at = 0
    for raw in recorder.entries:
        kind, size, address = raw[0], raw[1], raw[2] << 8 | raw[3]
        data = raw[-size:]
        for done in range(0, size, 5):
            cut = stand()
            cut.memory.fuse.left, cut.memory.fuse.torn = at + done, CLEAN
            fresh = card(kind=ORDER_OPENING, sequence=3, bought_total=5000)
            with pytest.raises(PowerCut):
                cut.visit(fresh)
            torn = {sort: bytearray(cells) for sort, cells in image.items()}
            torn[kind][address : address + done] = data[:done]
            assert bytes(cut.memory.cells) == bytes(torn[STORE]), (at, done)
            assert bytes(cut.key_memory.cells) == bytes(torn[KEYS]), (at, done)
        image[kind][address : address + size] = data
        at += size
    assert at > 400


# --- planted faults


def first(flow, only=None, **options):
    return Cutter(open_target("cpython"), case=only, **options).run(flow).violations


def over_the_newest(self, both=False, real=store.Pair.save):
    self._newest = 1 - self._newest  # the copy that is overwritten is the one that must stay
    real(self, both)


def open_at_power_up(self):
    self.state = valve.SHUT
    self.tell(valve.ASK_OPEN)


def in_memory_only(self, values, lowers):
    self.values = values


def parameters_later(self, values, lowers, real=account.Account.commit):
    first = {**values, **dict.fromkeys(("alarm", "ceiling", "overdraft", "over_flow_seconds"), 0)}
    real(self, first, lowers)
    self.values = {**values, "entry": self.values["entry"]}
    self.save(lowers)


def log_without_checksum(self):
    self.number = 0
    head = bytearray(3)
    for place in range(events.EVENT_PLACES):
        self._memory.read_into(self._address(place), head)
        self.number = max(self.number, int.from_bytes(head, "big"))


def deaf_after_a_torn_state(self, minutes, levels, real=meter.Meter.boot):
    before = store.Pair(self.memory, STATE_AT, STATE)
    torn = [copy for copy in (0, 1) if before._read(copy) is None]
    code = real(self, minutes, levels)
    if torn:
        self.pulse = self._pulse_lost
    return code


def warning_only_at_rest(self, real=meter.Meter.power_failing):
    if self.valve.moving and not self.deadlines.runs(WINDOW):
        raise ValueError("the motor is running")
    real(self)


def record_after_the_account(self, values, both, real=account.Account.commit):
    # The binding is over before what it had left is stored, and again as it should be.
    if values["state"] in (TRANSFERRED, CLOSED):
        for at in FINAL_RECORD_AT:
            self._memory.write(at, bytes(16))
    real(self, values, both)


def over_in_half_a_record(self, values, both, real=account.Account.commit):
    real(self, values, both)
    if values["state"] in (TRANSFERRED, CLOSED):
        self._memory.write(FINAL_RECORD_AT[1], bytes(16))


def record_of_last_time(memory, address, layout, values, real=tools.write_small):
    real(memory, address, layout, {**values, "used": 0} if layout is tools.FINAL_RECORD else values)


def told_before_it_is_over(self, real=tools.Closing.step):
    if not self._meter.valve.moving:
        values = self._meter.report()
        self.put(values)
        while self._session.active:
            self._session.step()
    return real(self)


def limits_in_two_entries(self, values, real=meter.Meter.set_limits):
    real(self, {"report": values["report"]})
    real(self, values)


def keys_in_one_copy(self, values, both, real=store.Pair.commit):
    real(self, values, both and "tool_key" not in values)


def granted_twice(self, real=meter.Meter.save_state):
    # Half of what a card brings is stored at first.
    end = self.state.values["test_gas_end"]
    self.state.values["test_gas_end"] = end // 2
    real(self)
    self.state.values["test_gas_end"] = end
    real(self)


# What is broken, the flow that shows it, the rules of which one must be found broken.
PLANTED = {
    "newest copy overwritten": (store.Pair, "save", over_the_newest, "first load", {"never_back", "store_kept"}),
    "no scrub": (store.Register, "_scrub", lambda self, count: None, "pulse", {"register_true", "store_kept"}),
    "valve opens at power-up": (valve.Valve, "start", open_at_power_up, "pulse", {"opened_by_person"}),
    "credit in memory only": (account.Account, "commit", in_memory_only, "first load", {"valve_true"}),
    "parameters in an entry of their own": (
        account.Account,
        "commit",
        parameters_later,
        "first load",
        {"account_steady"},
    ),
    "log without checksum": (events.Events, "recover", log_without_checksum, "first load", {"log_kept"}),
    "deaf after a torn state": (meter.Meter, "boot", deaf_after_a_torn_state, "first load", {"register_true"}),
    "warning only at rest": (meter.Meter, "power_failing", warning_only_at_rest, "power cut", {"raised"}),
    "final record gone before its end": (
        account.Account,
        "commit",
        record_after_the_account,
        "transfer out",
        {"final_true"},
    ),
    "final record in one copy": (account.Account, "commit", over_in_half_a_record, "clear below zero", {"final_true"}),
    "final record that lies": (tools, "write_small", record_of_last_time, "clear below zero", {"final_true"}),
    "final record told first": (tools.Closing, "step", told_before_it_is_over, "clear below zero", {"final_told"}),
    "limits in two entries": (
        meter.Meter,
        "set_limits",
        limits_in_two_entries,
        "setting all at once",
        {"settings_kept"},
    ),
    "keys in one copy": (store.Pair, "commit", keys_in_one_copy, "keys from the factory", {"keys_whole"}),
    "test gas in two entries": (meter.Meter, "save_state", granted_twice, "test gas", {"granted_true"}),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_fault_is_found_and_its_case_shows_it_again(monkeypatch, name):
    home, attribute, fault, flow, rules = PLANTED[name]
    monkeypatch.setattr(home, attribute, fault)
    # A company's card stores so much that a slice shows it.
    found = first(flow, shard=(1, 2 if name in list(PLANTED)[:8] else 20))
    assert {violation.text.partition(":")[0] for violation in found} & rules
    # One of each sort of case.
    sorts = {tuple(violation.case.split("/")[2].split()[:1]): violation for violation in found}
    for violation in list(sorts.values())[:4]:
        again = {found.text.partition(":")[0] for found in first(flow, violation.case)}
        assert violation.text.partition(":")[0] in again


# --- the command


def test_command_prints_one_json_object(capsys):
    assert command(["--flow", "pulse", "--shard", "1/40", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["target"], result["depth"], result["shard"], result["violations"]) == ("cpython", 1, "1/40", 0)
    assert result["states"] > 0 and result["found"] == []
    (flow,) = result["flows"]
    assert flow.keys() == {"name", "states", "fired", "violations"}
    assert flow["name"] == "pulse" and flow["fired"] >= flow["states"] > 0 and flow["violations"] == 0


def told(monkeypatch, counts):
    monkeypatch.setattr(cut_command, "cut_flows", lambda names, **_: (counts, dict.fromkeys(names, counts)))


def test_command_tells_a_violation_with_the_command_that_shows_it(monkeypatch, capsys, tmp_path):
    told(monkeypatch, Counts(5, 7, 7, [Found("pulse", "fram/4 gas/0/CLEAN 0", "register_true: 1 counted, 2 turned")]))
    report = tmp_path / "report.xml"
    assert command(["--flow", "pulse", "--junit", str(report)]) == VIOLATED
    printed = " ".join(capsys.readouterr().out.split())
    assert 'icgas cut --flow "pulse" --case "fram/4 gas/0/CLEAN 0"' in printed
    suite = ElementTree.parse(report).getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    assert "register_true" in suite.find("testcase/failure").text


def test_command_fails_where_a_flow_has_no_fault_that_fired(monkeypatch, capsys):
    told(monkeypatch, Counts(0, 9))
    assert command(["--flow", "pulse", "--json"]) == VIOLATED
    assert "no fault has fired in flow 'pulse'" in capsys.readouterr().err


@pytest.mark.parametrize("flow, case", [("pulse", "fram/1 gas/0/CLEAN 0"), ("hall sale", "swap/op 999/neighbour")])
def test_case_that_no_run_could_have_named_is_refused(capsys, flow, case):
    assert command(["--flow", flow, "--case", case]) == 2
    assert f"flow {flow!r} has no case {case!r}" in capsys.readouterr().err


def test_report_that_cannot_be_written_is_told_before_anything_is_cut(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(cut_command, "cut_flows", lambda *_, **__: pytest.fail("cut first"))
    assert command(["--flow", "pulse", "--junit", str(tmp_path)]) == 2
    assert f"--junit {tmp_path}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv", [["--flow", "nonsense"], ["--case", "fram/1 gas/0/CLEAN 0"], ["--flow", "all", "--case", "x"]]
)
def test_command_refuses_what_makes_no_sense(capsys, argv):
    assert command(argv) == 2
    assert capsys.readouterr().err.startswith("icgas cut: ")


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1", "a/b", "1/0"])
def test_shard_is_k_of_n(shard):
    with pytest.raises(SystemExit):
        command(["--shard", shard])


def test_flows_of_meter_and_hall_have_names_of_their_own():
    assert len(set(ALL_FLOWS)) == len(ALL_FLOWS) > len(flow_names())
