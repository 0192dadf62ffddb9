"""A supply that fails in a copy of the bench: it leaves what it leaves where the flow is played again up to there."""

import pytest

from gasrig.cut import Cutter
from gasrig.targets import open_target
from gasrig.twin import UnknownKindError, twin
from meter import meter


def cut(flow, **options):
    with open_target("cpython") as target:
        cutter = Cutter(target, **options)
        return cutter.run(flow), cutter


@pytest.mark.parametrize("flow", ["first load", "clear while gas flows", "valve stuck", "wheel behind, supply dips"])
def test_failure_of_a_copy_is_that_of_the_flow_played_again(monkeypatch, flow):
    compared = []

    def both(self, edge, calls, steps, failure, *, may_be_over):
        if failure is not None and calls % 5 == 0:
            assert self._failed(edge, "", calls, steps, may_be_over=may_be_over) == failure
            compared.append(edge.name)

    monkeypatch.setattr(Cutter, "_warned", both)
    for other in ("_cut", "_pulls"):
        monkeypatch.setattr(Cutter, other, lambda *_: None)
    cut(flow)
    assert len(compared) > 3


def test_nothing_is_played_again_for_a_warning(monkeypatch):
    def never(self, *_, **__):
        raise AssertionError("the flow is played again")

    monkeypatch.setattr(Cutter, "_failed", never)
    counts, _ = cut("first load", shard=(2, 5))
    assert counts.fired > 1000


@pytest.mark.parametrize("unknown", [iter([1]), object(), {1}])
def test_flow_is_played_again_where_there_can_be_no_copy(monkeypatch, unknown):
    def boot(self, *arguments, real=meter.Meter.boot):
        self.unknown = unknown
        return real(self, *arguments)

    usual, _ = cut("first load", shard=(3, 60))
    monkeypatch.setattr(meter.Meter, "boot", boot)
    mine, _ = cut("first load", shard=(3, 60))
    assert mine == usual


def test_one_thing_is_one_thing_again():
    shared = bytearray(b"a")
    cells = [shared, shared]

    def adds():
        cells.append(shared)

    first, again, function = twin((cells, shared, adds), {})
    assert first == cells and first is not cells
    assert first[0] is first[1] is again and again is not shared
    function()
    assert len(first) == 3 and first[2] is again and len(cells) == 2


class Slotted:
    __slots__ = ("a",)


class Listed(list):
    pass


@pytest.mark.parametrize("value", [Slotted(), Listed(), (part for part in ()), {1}])
def test_what_nobody_knows_how_to_copy_is_refused(value):
    with pytest.raises(UnknownKindError):
        twin([value], {})
