"""The hall: encode and decode cards, work card readers, keep the ledger, sell gas.

Import from here or from the module that bears the noun. Names are fetched when first used, so that encoding a
card needs neither the ledger's database library nor the viewer's.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gashall.adoption import Adopted
    from gashall.audit import Audit, Finding
    from gashall.batch import Batch, CardFolder, Judged
    from gashall.closing import Closure
    from gashall.drift import Drift, Verdict
    from gashall.encode import (
        Card,
        Part,
        decode_card,
        decode_frame,
        decode_identity,
        decode_order,
        decode_report,
        encode_card,
        encode_identity,
        encode_key_block,
        encode_management,
        encode_order,
        encode_report,
        encode_setting,
        encode_transfer_out,
    )
    from gashall.errors import CardError, GasError, LedgerError, ReaderError, RequestError
    from gashall.grants import Grant
    from gashall.history import History
    from gashall.ledger import Ledger, Upgraded
    from gashall.limits import Limits
    from gashall.overview import Category, Line
    from gashall.prices import Price
    from gashall.readers import ChipReader, FileReader, Reader
    from gashall.replacement import Replaced, TakenBack
    from gashall.reporting import Report
    from gashall.restoring import Recovery, Restored
    from gashall.services import Hall, ReadBack, Reconciliation, Sale
    from gashall.shifts import Shift
    from gashall.signer import KeyFileSigner, Signer
    from gashall.stock import Stock
    from gashall.suspension import Suspension
    from gashall.toolcards import Tool
    from gashall.toolreading import ToolRead
    from gashall.verification import Verification

__all__ = [
    "Adopted",
    "Audit",
    "Batch",
    "Card",
    "CardError",
    "CardFolder",
    "Category",
    "ChipReader",
    "Closure",
    "Drift",
    "FileReader",
    "Finding",
    "GasError",
    "Grant",
    "Hall",
    "History",
    "Judged",
    "KeyFileSigner",
    "Ledger",
    "LedgerError",
    "Limits",
    "Line",
    "Part",
    "Price",
    "ReadBack",
    "Reader",
    "ReaderError",
    "Reconciliation",
    "Recovery",
    "Replaced",
    "Report",
    "RequestError",
    "Restored",
    "Sale",
    "Shift",
    "Signer",
    "Stock",
    "Suspension",
    "TakenBack",
    "Tool",
    "ToolRead",
    "Upgraded",
    "Verdict",
    "Verification",
    "decode_card",
    "decode_frame",
    "decode_identity",
    "decode_order",
    "decode_report",
    "encode_card",
    "encode_identity",
    "encode_key_block",
    "encode_management",
    "encode_order",
    "encode_report",
    "encode_setting",
    "encode_transfer_out",
]

_HOME = {
    "gashall.adoption": "Adopted",
    "gashall.audit": "Audit Finding",
    "gashall.drift": "Drift Verdict",
    "gashall.batch": "Batch CardFolder Judged",
    "gashall.encode": (
        "Card Part decode_card decode_frame decode_identity decode_order decode_report encode_card encode_identity"
        " encode_key_block encode_management encode_order encode_report encode_setting encode_transfer_out"
    ),
    "gashall.errors": "CardError GasError LedgerError ReaderError RequestError",
    "gashall.grants": "Grant",
    "gashall.history": "History",
    "gashall.ledger": "Ledger Upgraded",
    "gashall.limits": "Limits",
    "gashall.overview": "Category Line",
    "gashall.prices": "Price",
    "gashall.readers": "ChipReader FileReader Reader",
    "gashall.restoring": "Recovery Restored",
    "gashall.reporting": "Report",
    "gashall.replacement": "Replaced TakenBack",
    "gashall.services": "Hall ReadBack Reconciliation Sale",
    "gashall.shifts": "Shift",
    "gashall.signer": "KeyFileSigner Signer",
    "gashall.stock": "Stock",
    "gashall.closing": "Closure",
    "gashall.suspension": "Suspension",
    "gashall.toolcards": "Tool",
    "gashall.toolreading": "ToolRead",
    "gashall.verification": "Verification",
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
