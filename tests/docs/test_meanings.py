"""Every field a meter keeps, every event and every request of the bench has its words, and no words are left over."""

import importlib.util
import re
from pathlib import Path

import pytest

from gascard.records import Layout
from gasrig import bench
from meter import events, layouts

DOCS = Path(__file__).parents[2] / "docs"


def load(name):
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


store_meanings = load("store_meanings")
bench_meanings = load("bench_meanings")


def is_layout(value):
    return isinstance(value, Layout)


def test_store_records_are_all_of_the_meters_layouts():
    found = {name.lower(): layout for name, layout in vars(layouts).items() if is_layout(layout)}
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
    numbers = {
        name.lower(): value
        for name, value in vars(events).items()
        if name[0].isupper() and name.isupper() and isinstance(value, int) and name not in others
    }
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
