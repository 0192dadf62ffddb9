"""Clear and close of an account whose meter was exchanged, with real meters."""

import pytest
from paper import METER, NEIGHBOUR
from test_exchange import ACCOUNT, PEOPLE, House, declare
from tests.conftest import require_part

from gascard import codes
from gashall import errors
from gashall.errors import GasError

require_part("sqlalchemy")
from gashall.readers import FileReader  # noqa: E402


@pytest.fixture
def house(tmp_path, signer):
    house = House(tmp_path / "house", signer)
    yield house
    house.desk.close()


def test_gas_bought_for_the_meter_before_is_paid_back_for_the_new_one(house):
    house.through()
    house.load()
    house.burn(300, house.new)
    house.hall.issue_clear(house.blank("clear.bin"), account=ACCOUNT, **PEOPLE)
    assert house.show(house.new, "clear.bin") == codes.OK
    assert house.hall.read_tool(FileReader(house.folder / "clear.bin")).ended.remaining == 20
    closure = house.hall.close_account(ACCOUNT, **PEOPLE)
    assert (closure.meter, closure.paid_back, closure.fen) == (NEIGHBOUR, 20, 20 * 250)
    assert house.hall.audit().clean


def test_dead_meter_that_speaks_again_is_cleared_and_opened_for_another(house):
    declare(house)
    house.hall.exchange_card(house.customer)
    with pytest.raises(GasError) as refusal:
        house.hall.open_account(house.blank("other.bin"), meter=METER, volume=5)
    assert refusal.value.code == errors.METER_DEAD
    house.hall.issue_clear(house.blank("clear.bin"), account=ACCOUNT, meter=METER, **PEOPLE)
    assert house.show(house.new) == codes.OK
    house.hall.read_back(house.customer)
    house.hall.sell(house.customer, 1, fen=250)  # the account's own binding is not the one that is cleared
    assert house.show(house.old, "clear.bin") == codes.OK
    assert house.hall.read_tool(FileReader(house.folder / "clear.bin")).ended.meter == METER
    sale = house.hall.open_account(FileReader(house.folder / "other.bin"), meter=METER, volume=5)
    assert house.show(house.old, "other.bin") == codes.OK
    assert (sale.account, house.old.meter.remaining) == ("0000000002", 500)
    assert house.hall.audit().clean


def test_batch_that_names_a_meter_got_in_exchange_is_told_whose_it_is(house):
    house.through()
    path = house.folder / "estate.csv"
    path.write_text(f"meter,name,volume,initial_reading\n{NEIGHBOUR},Li Wei,5,0\n", encoding="utf-8")
    (problem,) = house.hall.judge_batch(path, resume=True).problems
    assert problem.error.code == codes.ALREADY_BOUND
    assert f"belongs to account {ACCOUNT}" in str(problem.error)
