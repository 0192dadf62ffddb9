"""The adversary finds nothing in the real code, and everything that is planted in it."""

import json
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from gascard import codes, records
from gascard.codec import unpack
from gascard.frames import check, check_identity
from gascard.sle4442 import READ_SECURITY
from gasrig.checkers import RULES, Violation, read_card
from meter import account, judging, layouts, lockout, session, store
from meter.meter import Meter

if TYPE_CHECKING:
    from gasrig.adversary import Story

pytestmark = pytest.mark.needs("sqlalchemy")

SCOPES = (
    "one meter",
    "two meters",
    "overdraft",
    "forgeries",
    "pulls",
    "cuts",
    "ledger",
    "two ledgers",
    "store",
    "grants",
    "replaced",
    "recovering",
    "exchanged",
    "exchanged with gas on the card",
    "cleared",
    "exchanged, restored",
    "dead meter",
    "dead meter's heir",
    "dead meter, transfer card out",
    "dead meter, cleared",
    "dead meter, restored",
    "dead meter, declared anew",
    "rebound",
)


@pytest.mark.parametrize("name", SCOPES)
def test_scope_on_the_real_code_is_clean(name: str) -> None:
    from gasrig.adversary import SCOPES, search

    result = search(name, SCOPES[name].quick)
    assert not result.violations, "\n".join(result.violations[0].lines())
    assert result.whole and result.depth == SCOPES[name].quick
    assert result.states < result.transitions and result.sessions < result.transitions


def test_scopes_are_all_searched_here() -> None:
    from gasrig import adversary

    assert set(SCOPES) == set(adversary.SCOPES)


# ---------------------------------------------------------------------- planted bugs

_plan = account.Account.plan
_newer = judging._newer
_addressed = judging._addressed
_left = account._left
_boot = Meter.boot
_prepare = session.Session.prepare
_load = store.Pair.load


def _credit_added(self: Any, order: Any, card: int, mac: bytes, register: int) -> Any:
    code, values, lowers = _plan(self, order, card, mac, register)
    if values is not None:
        values["bought_total"] = self.values["bought_total"] + order["bought_total"]
    return code, values, lowers


def _purse(self: Any, order: Any, card: int, mac: bytes, register: int) -> Any:
    code, values, lowers = _plan(self, order, card, mac, register)
    if values is not None:
        values["bought_total"] = self.values["bought_total"] + order["amount"]
    return code, values, lowers


def _taken_for_new(*wrong: int) -> Callable[..., int]:
    def newer(order: Any, mac: bytes, values: Any) -> int:
        code = _newer(order, mac, values)
        return codes.OK if code in wrong else code

    return newer


def _let_through(*wrong: int) -> Callable[..., int]:
    def addressed(*arguments: Any) -> int:
        code = _addressed(*arguments)
        return codes.OK if code in wrong else code

    return addressed


def _newer_of_another_binding(order: Any, mac: bytes, values: Any) -> int:
    return codes.OK if order["binding"] != values["binding"] else _newer(order, mac, values)


def _plan_of_another_binding(self: Any, order: Any, card: int, mac: bytes, register: int) -> Any:
    old = self.values
    if order["binding"] != old["binding"]:
        self.values = {**old, "state": layouts.KEYED}
    try:
        return _plan(self, order, card, mac, register)
    finally:
        self.values = old


def _token_kept_in_memory_only(self: Any, bucket: int) -> bool:
    return bool(self.tokens[bucket])


def _opens_by_itself(self: Any, minutes: int, levels: int) -> Any:
    code = _boot(self, minutes, levels)
    self.asked()
    return code


def _number_used_and_not_stored(self: Any, identity: Any) -> Any:
    code = _prepare(self, identity)
    self._meter.state.values["report_number"] -= 1
    self._meter.save_state()
    return code


def _mends_what_it_cannot_read(self: Any) -> bool:
    if not _load(self):
        self.values = unpack(self._layout, bytearray(layouts.COPY_SIZE))
        self.values["layout"] = layouts.LAYOUT_VERSION
    return True


def _spends_the_last_try(self: Any, card: int, psc: bytes) -> int:
    security = bytearray(4)
    self._slot.read(READ_SECURITY, 0, security)
    for _ in range(3):
        security[0] &= security[0] - 1 & 0xFF
        self._slot.write(0x39, 0, security[0])
    return codes.REPORT_NOT_WRITTEN


def _no_report_is_remembered(self: Any, meter: str) -> None:
    return None


def _sold_while_gas_waits(self: Any, books: Any, standing: Any, volume: Any, fen: Any) -> int:
    from gashall import units

    return units.pulses(volume, standing.meter.pulse_weight)


def _done_without_proof(self: Any, books: Any, standing: Any) -> None:
    books.mark_done(standing.binding.id, standing.last.sequence, standing.last.released_pulses)


def _card_cancels_the_row(judge: Callable[..., Any]) -> Callable[..., Any]:
    import sqlalchemy

    def judged(self: Any, books: Any, card: Any, **more: Any) -> Any:
        standing = judge(self, books, card, **more)
        if standing.last.state == "pending" and standing.last.sequence > 1 and card.order.raw != standing.last.frame:
            books._connection.execute(sqlalchemy.text(f"DELETE FROM orders WHERE id = {standing.last.id}"))
            return judge(self, books, card, **more)
        return standing

    return judged


class Plant(NamedTuple):
    """A bug: where the adversary shall find it, the rule that falls, and what is replaced: (owner, name, by)."""

    scope: str
    rule: str
    replaced: Callable[[], list[tuple[Any, str, Any]]]


def _hall(name: str, bug: Any) -> list[tuple[Any, str, Any]]:
    from gashall.counter import Counter

    return [(Counter, name, bug)]


def _hall_judges(bug: Callable[[Any], Any]) -> list[tuple[Any, str, Any]]:
    from gashall.counter import Counter

    return [(Counter, "judge", bug(Counter.judge))]


def _books(name: str, bug: Any) -> list[tuple[Any, str, Any]]:
    from gashall.books import Books

    return [(Books, name, bug)]


def _paid_unproven() -> list[tuple[Any, str, Any]]:
    from gashall import refunds

    return [(refunds, "proven", lambda books, row, order: True)]


def _made_up_without_end() -> list[tuple[Any, str, Any]]:
    from gashall import grants

    return [(grants, "_check_held", lambda kind, pulses, held, weight: None)]


def _left_twice() -> list[tuple[Any, str, Any]]:
    from gashall import grants

    return [(grants, "_check_dead", lambda books, binding, pulses, weight, own=0: None)]


def _left_forgotten() -> list[tuple[Any, str, Any]]:
    from gashall import closing

    return [(closing, "check_made_up", lambda books, binding, weight: None)]


def _more_released() -> list[tuple[Any, str, Any]]:
    from gashall import exchange

    entitled = exchange._entitled
    return [(exchange, "_entitled", lambda here: entitled(here) + 2)]


def _all_paid_back() -> list[tuple[Any, str, Any]]:
    from gashall import closing

    return [(closing, "reckoned", lambda books, binding: (sum(books.paid(binding.id).values()), 0))]


PLANTS = {
    "credit is added, not the greater taken": Plant(
        "one meter", "credited_once", lambda: [(account.Account, "plan", _credit_added)]
    ),
    "a card is a purse": Plant(
        "two meters",
        "account_steady",
        lambda: [(account.Account, "plan", _purse), (judging, "_newer", _taken_for_new(codes.REPEAT))],
    ),
    "an older order is taken": Plant(
        "one meter", "never_back", lambda: [(judging, "_newer", _taken_for_new(codes.OLDER))]
    ),
    "another order of the same number is taken": Plant(
        "ledger", "account_steady", lambda: [(judging, "_newer", _taken_for_new(codes.SEQUENCE_CONFLICT))]
    ),
    "any MAC is right": Plant("forgeries", "credited_once", lambda: [(judging, "mac_right", lambda *arguments: True)]),
    "any meter's order will do": Plant(
        "two meters",
        "credited_once",
        lambda: [
            (judging, "_addressed", _let_through(codes.METER)),
            (judging, "mac_right", lambda *arguments: True),
            (session.Session, "verify", lambda self, card, psc: codes.REPORT_NOT_WRITTEN),
        ],
    ),
    "the binding is not checked": Plant(
        "rebound",
        "never_back",
        lambda: [
            (judging, "_addressed", _let_through(codes.BINDING, codes.ALREADY_BOUND)),
            (judging, "_newer", _newer_of_another_binding),
            (account.Account, "plan", _plan_of_another_binding),
        ],
    ),
    "one pulse too many is given": Plant(
        "two meters", "bound_holds", lambda: [(account, "_left", lambda values, register: _left(values, register) + 1)]
    ),
    "a cut gives the token back": Plant(
        "forgeries", "lockout_held", lambda: [(lockout.Lockout, "take", _token_kept_in_memory_only)]
    ),
    "the valve opens by itself": Plant("one meter", "opened_by_person", lambda: [(Meter, "boot", _opens_by_itself)]),
    "a report's number is used and not stored": Plant(
        "one meter", "reports_true", lambda: [(session.Session, "prepare", _number_used_and_not_stored)]
    ),
    "a report goes over the newest one": Plant(
        "pulls", "report_kept", lambda: [(session.Session, "_newest", lambda self: 1)]
    ),
    "the meter kills the card": Plant(
        "two ledgers", "tries_kept", lambda: [(session.Session, "verify", _spends_the_last_try)]
    ),
    "a lost store is mended": Plant("store", "lost_stays", lambda: [(store.Pair, "load", _mends_what_it_cannot_read)]),
    "the hall takes an old report": Plant(
        "one meter", "report_newest", lambda: _books("last_report", _no_report_is_remembered)
    ),
    "the hall sells while gas waits": Plant("overdraft", "waits", lambda: _hall("next_order", _sold_while_gas_waits)),
    "the hall takes an order for loaded": Plant("two meters", "done_true", lambda: _hall("keep", _done_without_proof)),
    "a refund is paid on no report": Plant("grants", "paid_true", _paid_unproven),
    "an exchange releases more than was paid": Plant("exchanged with gas on the card", "bound_holds", _more_released),
    "an account is paid back what it burned": Plant("cleared", "closed_true", _all_paid_back),
    "a dead meter's gas is made up again and again": Plant("dead meter", "bound_holds", _left_twice),
    "a dead meter's gas is forgotten": Plant("dead meter's heir", "dead_decided", _left_forgotten),
    "held gas is made up again and again": Plant("replaced", "totals_add", _made_up_without_end),
    "a card cancels a paid order": Plant("pulls", "adds_up", lambda: _hall_judges(_card_cancels_the_row)),
}


@pytest.mark.parametrize("name", PLANTS)
def test_planted_bug_is_found_and_its_story_shows_it_again(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from gasrig.adversary import SCOPES, replay, search
    from gasrig.town import HALL_RULES

    plant = PLANTS[name]
    scope = SCOPES[plant.scope]
    with monkeypatch.context() as patch:
        for owner, attribute, bug in plant.replaced():
            patch.setattr(owner, attribute, bug)
        result = search(plant.scope, scope.quick)
        assert [found.rule for found in result.violations] == [plant.rule]
        found = result.violations[0]
        assert found.rule in RULES or found.rule in HALL_RULES
        assert len(found.story) <= len(scope.setup) + scope.quick
        with pytest.raises(Violation) as fault:
            replay(found.story, scope)
        assert (fault.value.rule, fault.value.text) == (found.rule, found.text)
    # The real code goes the same way unharmed: a story is a test.
    replay(found.story, scope)


def test_rules_of_the_hall_are_all_shown_to_bite() -> None:
    from gasrig.town import HALL_RULES

    # The other two guard what the services check themselves; test_town and the hall's own tests come to them.
    assert set(HALL_RULES) - {plant.rule for plant in PLANTS.values()} == {"card_written"}


def test_fault_of_the_firmware_is_found_like_a_broken_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    from gasrig.adversary import search

    monkeypatch.setattr(session.Session, "_newest", lambda self: self.nothing)
    found = search("one meter", 1).violations[0]
    assert found.rule == "fault" and "nothing" in found.text


# ---------------------------------------------------------------------- the machinery

STORY: "Story" = (
    ("open", 0, 3),
    ("show", 0, 0),
    ("show hall", 1, "sell", 2),
    ("show pulled", 2, 0, 20, True),
    ("show foreign", 2, 0),
    ("show forged", 2, 0, "total"),
    ("show", 2, 0),
    ("show", 0, 0),
    ("burn", 0, 9),
    ("key", 0),
    ("burn", 0, 9),
    ("show hall", 6, "read back"),
    ("forged hall", 6, "report", "read back"),
    ("copy",),
    ("show hall", 6, "sell", 1),
    ("restore", 13),
    ("show hall", 14, "read back"),
    ("cut", 0, True),
    ("wipe", 0, "state"),
    ("show", 14, 0),
)


def test_story_goes_the_same_way_on_every_target(target_name: str) -> None:
    from gashall import errors
    from gasrig.adversary import SCOPES, replay

    lines: list[str] = []
    # fmt: off
    assert replay(STORY, SCOPES["one meter"], target_name, lines.append) == [
        0, 0, 0,
        codes.CARD_OUT, codes.PASSWORD_REFUSED, codes.MAC, codes.REPEAT, codes.OLDER,
        4, 0, 1,
        0, errors.REPORT_OLDER,
        0, 0, 0, errors.LEDGER_BEHIND,
        0, 0, codes.STORE_LOST,
    ]
    # fmt: on
    assert len(lines) == len(STORY)


@pytest.mark.parametrize("name", SCOPES)
def test_parts_put_together_are_what_a_whole_town_is(name: str) -> None:
    from gasrig import adversary

    scope = adversary.SCOPES[name]
    # One set of parts for all walks, so that a later one meets states an earlier one has been in by another way.
    parts = adversary._Parts(scope)
    try:
        for seed in range(8):
            walk(adversary, parts, scope, random.Random(seed))
    finally:
        parts.close()


def walk(adversary: Any, parts: Any, scope: Any, chance: random.Random) -> None:
    """Some moves at random, at once in the parts and in a town of their own; they must not tell different stories."""
    state = parts.start
    images: dict[int, int] = {}  # by which step
    copies: dict[int, int] = {}
    made: list[bytes] = []
    files: dict[int, bytes] = {}
    with adversary._town(scope, "cpython") as town:
        for number in range(len(scope.setup) + 12):
            if number < len(scope.setup):
                outward = scope.setup[number]
                inward = outward
                if outward[0] in adversary._SHOWN + adversary._AT_HALL:
                    inward = outward[0], next(i for i, step in images.items() if step == outward[1]), *outward[2:]
                elif outward[0] in adversary._RESTORES:
                    inward = outward[0], next(hall for hall, step in copies.items() if step == outward[1])
            else:
                inward = chance.choice(list(parts.actions(state, scope.moves)))
                outward = inward
                if inward[0] in adversary._SHOWN + adversary._AT_HALL:
                    outward = inward[0], images[inward[1]], *inward[2:]
                elif inward[0] in adversary._RESTORES:
                    outward = inward[0], copies[inward[1]]
            if inward[0] == "copy":
                copies.setdefault(state[0], number)
            state, image = parts.step(state, inward)
            parts.judge(state)
            adversary._play(town, outward, made, files, number)
            made.append(town.last_image)
            if image >= 0:
                images.setdefault(image, number)
            town.check()
            for place, meter in enumerate(state[1]):
                standing = parts._standing(place, meter)
                site = town.sites[place].standing
                assert (standing.store, standing.burned) == (site.store, site.burned), outward
            assert list(parts._halls.things[state[0]].rows) == town.orders(), outward


def test_search_is_the_same_every_time() -> None:
    from dataclasses import replace

    from gasrig.adversary import search

    first, second = (replace(search("ledger", 3), seconds=0) for _ in range(2))
    assert first == second and first.states > 300


def test_search_ends_at_its_budget_and_says_so() -> None:
    from gasrig.adversary import search, told

    lines: list[str] = []
    result = search("one meter", 5, budget=100, progress=lines.append)
    assert not result.whole and result.states == 100 and lines
    assert "budget" in told(result)


def test_search_of_own_scope_finds_what_its_beginning_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    from gasrig.adversary import Scope, search

    monkeypatch.setattr(judging, "_newer", _taken_for_new(codes.OLDER))
    setup = (("open", 0, 1), ("show", 0, 0), ("show hall", 1, "sell", 1), ("show", 2, 0), ("show", 0, 0))
    found = search(Scope("a beginning", setup, (), 0, 0)).violations[0]
    assert found.rule == "never_back" and found.story == setup


@pytest.mark.parametrize("what", ["total", "sequence", "binding", "account", "mask", "card", "report"])
def test_forgery_is_whole_and_not_authentic(what: str) -> None:
    from gasrig.adversary import forged
    from gasrig.town import Town

    with Town(1) as town:
        town.open_account(0, 5)
        blank = town.images[0]
        town.visit(0, 0)
        image = town.last_image
        keys = town.keys[0]
    changed = forged(image, what)
    before, after = read_card(image, keys), read_card(changed, keys)
    order, report = records.size_of(records.ORDER), records.size_of(records.REPORT_DATA)
    assert not check_identity(changed)
    assert not check(changed, records.ORDER_AT, order) and not check(changed, records.REPORT_AT[0], report)
    assert before.order is not None and len(before.reports) == 1
    if what == "report":
        assert after.order == before.order and after.reports == ()
        assert forged(blank, what) == blank
    else:
        assert after.order is None and (after.reports == before.reports) == (what != "card")


def test_command_line_searches_and_replays(capsys: pytest.CaptureFixture[str]) -> None:
    from gasrig.adversary import main

    assert main(["--scope", "rebound", "--depth", "2", "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert [(result["scope"], result["depth"], result["violations"]) for result in results] == [("rebound", 2, [])]
    assert main(["--scope", "one meter", "--replay", json.dumps(STORY[:4])]) == 0
    out = capsys.readouterr().out
    assert "CARD_OUT" in out and "no rule fell" in out
    with pytest.raises(SystemExit):
        main(["--replay", "[]"])


def test_command_line_says_what_fell_and_how_to_see_it_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from gasrig.adversary import main

    monkeypatch.setattr(judging, "_newer", _taken_for_new(codes.OLDER))
    assert main(["--scope", "one meter", "--quick"]) == 1
    command = capsys.readouterr().out.splitlines()[-1]
    story = command.split("--replay ")[1].strip("'")
    assert main(["--scope", "one meter", "--replay", story]) == 1
    assert "never_back" in capsys.readouterr().out
