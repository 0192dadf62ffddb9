"""How fast an estate's cards are made, encoded and booked, against what the same disk commits in that time.

Card files are not synced, the ledger is: a row's own commits by the counter are five. The bare loop makes as many
commits as a row opened by itself makes, one small row each, in the same run and by turns.
"""

import csv
import sqlite3
import statistics
import time
from datetime import UTC, datetime

import pytest

from gashall.batch import CardFolder
from gashall.ledger import Ledger
from gashall.services import Hall
from gashall.signer import KeyFileSigner

REGION = 0xFFFF
CARDS = 1000
ROUNDS = 3
COMMITS = 5  # of a row by itself: booked, three password bytes announced, issued
BARE_ROWS = 100
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def _batch(folder) -> float:
    """Seconds of 1 000 cards: the file read and judged, all cards encoded, written and booked."""
    folder.mkdir()
    path = folder / "estate.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("meter", "name", "volume", "initial_reading"))
        writer.writerows((f"{32060000000000 + i}", f"Flat {i}", "30", "0") for i in range(CARDS))
    hall = Hall(Ledger(folder / "ledger.db", REGION), KeyFileSigner(bytes(range(32)), REGION), lambda: NOON)
    began = time.perf_counter()
    made = hall.batch(path, CardFolder(folder / "cards"))
    seconds = time.perf_counter() - began
    hall.close()
    assert len(made.made) == CARDS
    return seconds


def _bare(folder) -> float:
    """Seconds of ``BARE_ROWS`` times the commits of a row."""
    db = sqlite3.connect(folder / "bare.db", isolation_level=None)
    for pragma in ("journal_mode=WAL", "foreign_keys=ON", "synchronous=FULL"):
        db.execute(f"PRAGMA {pragma}")
    db.execute("CREATE TABLE IF NOT EXISTS steps (id INTEGER PRIMARY KEY, frame BLOB)")
    began = time.perf_counter()
    for _ in range(BARE_ROWS * COMMITS):
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO steps VALUES (NULL, ?)", (bytes(59),))
        db.execute("COMMIT")
    seconds = time.perf_counter() - began
    db.close()
    return seconds


@pytest.mark.rows(
    seconds=("1 000 cards of an estate, encoded and booked", "s", "≤ 10"),
    cards=("cards of an estate, encoded and booked", "1/s", None),
    bare=("rows of five bare commits on the same disk", "1/s", None),
    ratio=("cards of an estate against five bare commits", "", None),
)
def test_batch(tmp_path, record) -> None:
    batches, bares = [], []
    for number in range(ROUNDS):
        batches.append(_batch(tmp_path / f"{number}"))
        bares.append(_bare(tmp_path))
    record(
        seconds=statistics.median(batches),
        cards=CARDS / statistics.median(batches),
        bare=BARE_ROWS / statistics.median(bares),
        ratio=statistics.median(
            [(CARDS / batch) / (BARE_ROWS / bare) for batch, bare in zip(batches, bares, strict=True)]
        ),
    )
