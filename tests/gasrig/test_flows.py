"""Every flow on every target, with the same snapshots; and the player's own honesty."""

from collections.abc import Iterator

import pytest

from gasrig.flows import FLOWS, Flow, FlowError, play
from gasrig.handset import MeterUnderTest, Snapshot
from gasrig.targets import Target, open_target

ASKED_FOR = {
    "binding",
    "first load",
    "purchase",
    "repeat",
    "older",
    "conflict",
    "ceiling",
    "alarm and key",
    "zero and reopening",
    "pulse",
    "batch",
    "checkpoint",
    "lockout take",
    "lockout refill",
    "lockout empty",
    "valve stuck",
    "power cut",
    "power cut with a warning",
    "last try",
    "password refused",
    "wrong meter",
    "unbound, user card",
    # The company's cards.
    "clear",
    "clear while gas flows",
    "clear card pulled early, then again",
    "clear, then the next binding",
    "transfer out",
    "transfer out, another heir",
    "transfer in",
    "transfer in of what is owed",
    "management",
    "setting",
    "clock of a bound meter",
    "keys from the factory",
    "keys of a bound meter",
    "test gas",
    "test gas, then a customer",
}


@pytest.fixture(scope="module")
def targets() -> Iterator[dict[str, Target]]:
    opened: dict[str, Target] = {}
    yield opened
    for target in opened.values():
        target.close()


@pytest.fixture(scope="module")
def told() -> dict[str, list[Snapshot]]:
    """What each flow gave on the first target that played it."""
    return {}


@pytest.mark.parametrize("name", FLOWS)
def test_flow_ends_as_it_says_and_alike_on_every_target(
    name: str, target_name: str, targets: dict[str, Target], told: dict[str, list[Snapshot]]
) -> None:
    if target_name not in targets:
        targets[target_name] = open_target(target_name)
    snapshots = play(FLOWS[name], MeterUnderTest(targets[target_name]))
    if name not in told:
        told[name] = play(FLOWS[name], MeterUnderTest(open_target("cpython")))
    assert snapshots == told[name]


def test_flows_hold_all_that_a_meter_meets() -> None:
    assert FLOWS.keys() >= ASKED_FOR


@pytest.mark.parametrize("name", FLOWS)
def test_flow_is_data_and_begins_with_a_build(name: str) -> None:
    flow = FLOWS[name]
    assert flow.steps[0][0] == "build"
    assert flow.ends
    assert all(isinstance(step, tuple) and isinstance(step[0], str) for step in flow.steps)


@pytest.mark.parametrize(
    "flow",
    [
        FLOWS["pulse"]._replace(ends={"register": 3}),
        FLOWS["repeat"]._replace(ends={"code": 0}),
        Flow((*FLOWS["pulse"].steps, ("expect", {"index": 503})), {}),
    ],
    ids=["end", "code", "on the way"],
)
def test_flow_that_ends_otherwise_is_reported(flow: Flow) -> None:
    meter = MeterUnderTest(open_target("cpython"))
    with pytest.raises(FlowError, match="not"):
        play(flow, meter)
    assert play(flow, meter, judge=False)


def test_flow_played_twice_is_the_same(target_name: str) -> None:
    with open_target(target_name) as target:
        meter = MeterUnderTest(target)
        assert play(FLOWS["zero and reopening"], meter) == play(FLOWS["zero and reopening"], meter)
