"""How many sales a counter makes in a second, against what its disk can do at all.

What a disk commits in a second changes by the minute, so the two are measured by turns and the ratio is the figure:
a sale is two commits (the row before the card, the row after it), and a bare loop makes two commits and nothing else.
"""

import itertools
import sqlite3
import statistics
import time
from datetime import UTC, datetime

import pytest

from gascard.chip import Chip
from gascard.records import REPORT_AT
from gashall import encode
from gashall.ledger import Ledger
from gashall.readers import ChipReader
from gashall.services import Hall
from gashall.signer import KeyFileSigner

REGION = 0xFFFF
ROOT = bytes(range(32))
METER = "32060012345678"
SALES = 150
ROUNDS = 9
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class _Counter:
    """One customer who buys again and again; between two sales the meter's report is put on the card by hand."""

    def __init__(self, folder) -> None:
        signer = KeyFileSigner(ROOT, REGION)
        self.key = encode.report_key(signer.meter_keys(METER, 1)[0])
        self.hall = Hall(Ledger(folder / "ledger.db", REGION), signer, lambda: NOON)
        self.reader = ChipReader(Chip())
        self.last = self.hall.open_account(self.reader, meter=METER, volume=1)
        self.reports = 0

    def load(self) -> None:
        """What the meter does; it is not the hall's time."""
        self.reports += 1
        values = {name: 0 for name, _ in encode.REPORT_DATA} | {
            "meter": METER,
            "binding": 1,
            "report_number": self.reports,
            "versions": 0x11,
            "sequence": self.last.sequence,
            "bought_total": self.last.bought_total,
        }
        frame = encode.encode_report(self.key, REGION, 1, values)
        place = REPORT_AT[self.reports & 1]
        self.reader.chip.main[place : place + len(frame)] = frame

    def sell(self) -> float:
        """Seconds of one sale: judged, booked, written, read back, booked."""
        self.load()
        began = time.perf_counter()
        self.last = self.hall.sell(self.reader, "0.01", fen=3)
        return time.perf_counter() - began


class _Bare:
    """The same disk, as durable, in a file as SQLite makes it: two commits of one small row each."""

    def __init__(self, folder) -> None:
        self.db = sqlite3.connect(folder / "bare.db", isolation_level=None)
        for pragma in ("journal_mode=WAL", "foreign_keys=ON", "synchronous=FULL"):
            self.db.execute(f"PRAGMA {pragma}")
        self.db.execute("CREATE TABLE sales (id INTEGER PRIMARY KEY, state VARCHAR, frame BLOB)")
        self.numbers = itertools.count(1)

    def sell(self) -> float:
        began = time.perf_counter()
        number = next(self.numbers)
        self.db.execute("BEGIN IMMEDIATE")
        self.db.execute("INSERT INTO sales VALUES (?, 'pending', ?)", (number, bytes(59)))
        self.db.execute("COMMIT")
        self.db.execute("BEGIN IMMEDIATE")
        self.db.execute("UPDATE sales SET state = 'written' WHERE id = ?", (number,))
        self.db.execute("COMMIT")
        return time.perf_counter() - began


@pytest.mark.rows(
    sales=("sales, row and card and row, one window", "1/s", None),
    bare=("two bare commits on the same disk", "1/s", None),
    ratio=("sales against two bare commits", "", "≥ 0.3"),
)
def test_sales(tmp_path, record) -> None:
    counter, bare = _Counter(tmp_path), _Bare(tmp_path)
    counter.sell(), bare.sell()
    sales, bares = [], []
    for _ in range(ROUNDS):
        sales.append(sum(counter.sell() for _ in range(SALES)))
        bares.append(sum(bare.sell() for _ in range(SALES)))
    counter.hall.close()
    bare.db.close()
    record(
        sales=SALES / statistics.median(sales),
        bare=SALES / statistics.median(bares),
        ratio=statistics.median([own / sale for sale, own in zip(sales, bares, strict=True)]),
    )
