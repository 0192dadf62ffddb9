"""A customer's file that changes hands (过户), and one that is stopped (停用) and resumed."""

from gashall import errors, stock, units
from gashall.books import Books
from gashall.counter import Counter, check_not_closed
from gashall.errors import LedgerError, RequestError
from gashall.rows import Account
from gashall.terms import STOPPED


def transfer_account(counter: Counter, account: str, name: str, *, reason: str, approver: str) -> Account:
    """See ``Hall.transfer_account``."""
    stock.check_text(name, "name")
    with counter.ledger.begin() as books:
        known = _open(books, account, reason, approver)
        if name == known.name:
            raise RequestError(errors.FIELD, f"Account {account} has that holder already.", "Type the new one's name.")
        books.change_account(known, "holder", name, at=counter.now(), reason=reason, approver=approver)
        return _known(books, account)


def set_stopped(counter: Counter, account: str, stopped: bool, *, reason: str, approver: str) -> Account:
    """See ``Hall.stop_account`` and ``Hall.resume_account``."""
    with counter.ledger.begin() as books:
        known = _open(books, account, reason, approver)
        state = STOPPED if stopped else None
        if known.state == state:
            what = "stopped already" if stopped else "not stopped"
            raise RequestError(errors.FIELD, f"Account {account} is {what}.", "Look at the account's history.")
        books.change_account(known, "state", state or "", at=counter.now(), reason=reason, approver=approver)
        return _known(books, account)


def _open(books: Books, account: str, reason: str, approver: str) -> Account:
    units.account_number(account)
    stock.check_text(reason, "reason")
    stock.check_text(approver, "approver")
    known = _known(books, account)
    check_not_closed(known)
    return known


def _known(books: Books, account: str) -> Account:
    known = books.account(account)
    if known is None:
        raise LedgerError(errors.ACCOUNT_UNKNOWN, f"There is no account {account}.")
    return known
