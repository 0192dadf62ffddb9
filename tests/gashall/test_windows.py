"""Two windows serve at the same moment, as two processes on one ledger: one wins, the other is told why not.

The same in PostgreSQL stands in test_ledger_postgresql.py.
"""

import multiprocessing

import pytest
from tests.conftest import require_part

require_part("sqlalchemy")
from windows import check_one_customer, check_one_meter, check_two_customers  # noqa: E402

pytestmark = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="windows are processes where there is fork"
)


@pytest.mark.parametrize("volumes", [(20, 30), (20, 20)], ids=["two volumes", "one volume"])
def test_one_customer_at_two_windows_buys_once(tmp_path, signer, volumes):
    check_one_customer(tmp_path / "ledger.db", tmp_path, signer, volumes)


def test_two_customers_at_two_windows_buy_both(tmp_path, signer):
    check_two_customers(tmp_path / "ledger.db", tmp_path, signer)


def test_one_meter_opened_at_two_windows_gets_one_account_and_one_card(tmp_path, signer):
    check_one_meter(tmp_path / "ledger.db", tmp_path, signer)
