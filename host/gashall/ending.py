"""What a binding that is over by its final record comes to: left on the meter, never loaded, owed."""

from gascard import tools
from gashall import encode, errors
from gashall.books import Books
from gashall.counter import check_exchange, check_free, correction_total, found
from gashall.encode import Values
from gashall.errors import LedgerError
from gashall.rows import Binding, Order
from gashall.terms import PENDING


def ended(books: Books, account: str) -> Binding:
    """The account's last binding, which is over by its final record. LedgerError FINAL_MISSING and what else stands
    open."""
    # First: the binding that is to begin is the account's last one already, and no clear card ends that.
    check_exchange(books.transfer_of(account), account)
    bindings = books.bindings(account)
    binding = bindings[-1] if bindings else None
    if binding is None or binding.open or books.final(binding.meter, binding.number) is None:
        if binding is not None and binding.open:
            check_free(books, binding)
        raise LedgerError(errors.FINAL_MISSING, f"No final record is known of the meter of account {account}.")
    last = found(books.last_order(binding.id))
    check_free(books, binding, ending=False)
    if last.state == PENDING:
        raise LedgerError(errors.PENDING_ELSEWHERE, f"Order {last.sequence} of account {account} is pending.")
    return binding


def reckoned(books: Books, binding: Binding) -> tuple[int, int]:
    """Pulses the customer has left, below zero where he owes them; and how many of them never came to the meter."""
    final = encode.decode_frame(found(books.final(binding.meter, binding.number)).frame, tools.FINAL)
    last = found(books.last_order(binding.id))
    waiting = not_loaded(books, binding, last, final)
    # A correction the meter never got is the customer's or the company's all the same.
    missing = correction_total(last, final) - final["correction_total"]
    return encode.remaining(final) - missing + waiting, waiting


def not_loaded(books: Books, binding: Binding, last: Order, final: Values) -> int:
    """Pulses of the binding that were paid or given and that its final record does not show loaded."""
    entitled = max(last.released_pulses, sum(books.paid(binding.id).values()))
    return max(0, entitled - int(final["bought_total"]))


__all__ = ["ended", "not_loaded", "reckoned"]
