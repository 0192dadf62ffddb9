"""Every record of gascard: the portable tests, and that none is left out of them."""

import portable_records
from portable_records import *  # noqa: F403

from gascard import meanings, records, tools


def test_every_record_is_under_test():
    assert {name: layout for name, layout, _, _ in portable_records.RECORDS} == meanings.RECORDS


def test_every_card_record_of_the_module_is_published():
    modules = (records, tools)
    tables = [value for module in modules for value in vars(module).values() if isinstance(value, records.Layout)]
    assert len(tables) == len(meanings.RECORDS)
    assert all(table in meanings.RECORDS.values() for table in tables)
