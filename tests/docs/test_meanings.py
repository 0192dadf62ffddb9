"""Whatever a meter keeps, logs, shows, sounds and answers has its words, and no words are left over."""

import importlib.util
import re
from pathlib import Path

import pytest

from gascard import codes, meanings, records, service
from gascard.records import Layout
from gasrig import bench, parts
from meter import display, events, guards, layouts, tools

DOCS = Path(__file__).parents[2] / "docs"


def load(name):
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


store_meanings = load("store_meanings")
bench_meanings = load("bench_meanings")
behaviour = load("behaviour_meanings")


def constants(module, prefix=""):
    """Integer constants of a module: name -> number."""
    return {
        name: value
        for name, value in vars(module).items()
        if name.startswith(prefix) and name[0].isupper() and name.isupper() and isinstance(value, int)
    }


def check_words(words):
    assert words == words.strip() and "|" not in words and "\n" not in words


def is_layout(value):
    return isinstance(value, Layout)


def test_store_records_are_all_of_the_meters_layouts():
    found = {name.lower(): layout for name, layout in vars(layouts).items() if is_layout(layout)}
    found["final_record"] = tools.FINAL_RECORD
    assert found == store_meanings.RECORDS
    assert list(store_meanings.RECORDS) == list(store_meanings.FIELD_MEANINGS)


@pytest.mark.parametrize("record", store_meanings.RECORDS)
def test_store_fields_have_words_both_ways(record):
    names = [name for name, _ in store_meanings.RECORDS[record]]
    assert list(store_meanings.FIELD_MEANINGS[record]) == names, "same fields, same order"
    for unit, meaning in store_meanings.FIELD_MEANINGS[record].values():
        assert unit == unit.strip()
        assert meaning.endswith(".") and "|" not in meaning and "\n" not in meaning


def test_events_have_words_both_ways():
    others = ("EVENT_PLACES", "EVENTS_AT", "TYPE_CHECKING")
    numbers = {name.lower(): value for name, value in constants(events).items() if name not in others}
    assert {words[0]: kind for kind, words in store_meanings.EVENT_MEANINGS.items()} == numbers
    assert len(set(numbers.values())) == len(numbers)


def test_states_have_words_both_ways():
    text = (Path(layouts.__file__)).read_text(encoding="utf-8")
    block = text[text.index("# Written states") : text.index("# Addresses")]
    named = dict(re.findall(r"^([A-Z]+) = const\((\d+)\)", block, re.MULTILINE))
    words = {name: str(state) for state, (name, _) in store_meanings.STATE_MEANINGS.items()}
    assert words == {name.lower(): number for name, number in named.items()}


def test_bench_requests_have_words_both_ways():
    numbers = {
        name: value for name, value in vars(bench).items() if isinstance(value, int) and 0xF000 <= value <= 0xF0FF
    }
    assert set(numbers) == set(bench_meanings.REQUESTS)
    assert len(set(numbers.values())) == len(numbers)


def test_bench_happenings_have_words_both_ways():
    numbers = {*bench.OF_WHEELS, *bench.OF_MOTOR, parts.MAGNET_SWITCH, parts.COVER_SWITCH, parts.SUPPLY_DIP}
    assert set(bench_meanings.HAPPENINGS) == numbers
    assert max(numbers) < 16, "FIRED has two bytes"


def test_guards_have_words_both_ways():
    numbers = {name: value for name, value in constants(guards).items() if name != "TYPE_CHECKING"}
    assert sorted(numbers.values()) == list(range(len(numbers)))
    assert set(behaviour.GUARD_MEANINGS) == set(numbers.values())
    fields = set(layouts.GUARDS.names)
    told = []
    for name, chinese, when, limits, reason in behaviour.GUARD_MEANINGS.values():
        check_words(name)
        check_words(when)
        assert any("\u4e00" <= letter <= "\u9fff" for letter in chinese)
        assert not reason or reason in dict(display.STANDING)
        told += re.findall(r"`(\w+)`", limits)
    others = {"entry", "layout", "report", "shut", "battery_low", "battery_empty", "crc"}
    spare = {name for name in fields if name.startswith("spare")}
    assert set(told) == fields - others - spare, "every limit is some guard's"


def test_flow_guards_shut_with_the_bits_that_the_meter_gives_them():
    for guard in range(guards.IDLE):
        assert behaviour.GUARD_MEANINGS[guard][4] == records.SHUT_OVER_FLOW << guard


def test_pages_have_words_both_ways():
    others = ("SYMBOL_", "BEEP_", "SHUT_", "STATUS_", "ALL_SYMBOLS", "TYPE_CHECKING")
    numbers = {
        name: value
        for name, value in constants(display).items()
        if not name.startswith(others) and not name.endswith("_MS")
    }
    assert {name: getattr(display, name) for name in behaviour.PAGE_NAMES} == numbers
    assert sorted(behaviour.PAGE_MEANINGS) == sorted(numbers.values()) == list(range(len(numbers)))
    for digits, when in behaviour.PAGE_MEANINGS.values():
        check_words(digits)
        check_words(when)


def test_symbols_and_sounds_have_words_both_ways():
    symbols = constants(display, "SYMBOL_").values()
    assert set(behaviour.SYMBOL_MEANINGS) == set(symbols)
    assert sum(symbols) == display.ALL_SYMBOLS
    assert set(behaviour.BEEP_MEANINGS) == {name for name in vars(display) if name.startswith("BEEP_")}


def test_standing_names_each_reason_once_and_leaves_out_what_the_gas_tells():
    reasons = [reason for reason, _ in display.STANDING]
    silent = {records.SHUT_ZERO, records.SHUT_ALARM, records.SHUT_POWER}
    assert len(set(reasons)) == len(reasons)
    assert set(reasons) == set(constants(records, "SHUT_").values()) - silent
    shown = [code for _, code in display.STANDING] + [codes.VALVE_STUCK, codes.BATTERY_LOW]
    assert set(range(codes.BATTERY_LOW, codes.FAULT)) <= set(shown), "a code of the display alone is shown by something"


def test_service_port_has_words_both_ways():
    reads = {value: name for name, value in constants(service, "READ_").items()}
    assert {number: words[0] for number, words in meanings.SERVICE_READS.items()} == reads
    errors = {value: name for name, value in constants(service, "ERROR_").items()}
    assert {number: name for number, (name, _) in meanings.SERVICE_ERRORS.items()} == errors
    assert list(meanings.COUNTER_MEANINGS) == list(service.COUNTERS.names)
    for _, text in (*meanings.COUNTER_MEANINGS.values(), *meanings.SERVICE_ERRORS.values()):
        check_words(text)
        assert text.endswith(".")
