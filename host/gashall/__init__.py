"""The hall: encode and decode cards, work card readers, keep the ledger, sell gas.

Import from here or from the module that bears the noun. Names are fetched when first used, so that encoding a
card needs neither the ledger's database library nor the viewer's.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gashall.audit import Audit, Finding
    from gashall.encode import (
        Card,
        Part,
        decode_card,
        decode_identity,
        decode_order,
        decode_report,
        encode_card,
        encode_identity,
        encode_order,
        encode_report,
    )
    from gashall.errors import CardError, GasError, LedgerError, ReaderError, RequestError
    from gashall.grants import Grant
    from gashall.history import History
    from gashall.ledger import Ledger, Upgraded
    from gashall.limits import Limits
    from gashall.prices import Price
    from gashall.readers import ChipReader, FileReader, Reader
    from gashall.replacement import Replaced, TakenBack
    from gashall.services import Hall, ReadBack, Reconciliation, Sale
    from gashall.shifts import Shift
    from gashall.signer import KeyFileSigner, Signer
    from gashall.stock import Stock

__all__ = [
    "Audit",
    "Card",
    "CardError",
    "ChipReader",
    "FileReader",
    "Finding",
    "GasError",
    "Grant",
    "Hall",
    "History",
    "KeyFileSigner",
    "Ledger",
    "LedgerError",
    "Limits",
    "Part",
    "Price",
    "ReadBack",
    "Reader",
    "ReaderError",
    "Reconciliation",
    "Replaced",
    "RequestError",
    "Sale",
    "Shift",
    "Signer",
    "Stock",
    "TakenBack",
    "Upgraded",
    "decode_card",
    "decode_identity",
    "decode_order",
    "decode_report",
    "encode_card",
    "encode_identity",
    "encode_order",
    "encode_report",
]

_HOME = {
    "gashall.audit": "Audit Finding",
    "gashall.encode": (
        "Card Part decode_card decode_identity decode_order decode_report"
        " encode_card encode_identity encode_order encode_report"
    ),
    "gashall.errors": "CardError GasError LedgerError ReaderError RequestError",
    "gashall.grants": "Grant",
    "gashall.history": "History",
    "gashall.ledger": "Ledger Upgraded",
    "gashall.limits": "Limits",
    "gashall.prices": "Price",
    "gashall.readers": "ChipReader FileReader Reader",
    "gashall.replacement": "Replaced TakenBack",
    "gashall.services": "Hall ReadBack Reconciliation Sale",
    "gashall.shifts": "Shift",
    "gashall.signer": "KeyFileSigner Signer",
    "gashall.stock": "Stock",
}
_MODULES = {name: module for module, names in _HOME.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(import_module(_MODULES[name]), name)
    except ModuleNotFoundError as error:
        from gashall.cli import EXTRAS

        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        text = f"gashall.{name} needs the package {error.name}; install it with: pip install 'icgas[{extra}]'"
        raise ModuleNotFoundError(text, name=error.name) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
