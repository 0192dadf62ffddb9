"""Probe, adoption and restore stopped everywhere: repeated, each is done once, and never half."""

import json
from datetime import UTC, datetime

import pytest
from paper import REGION, ROOT, Desk
from test_services_cuts import DeadError, DyingLedger, stop
from tests.conftest import require_part

from gascard import codes
from gashall import errors
from gashall.encode import decode_card
from gashall.errors import GasError
from gashall.keyfile import PLAIN

require_part("sqlalchemy")
from gashall import restoring  # noqa: E402
from gashall.ledger import Ledger  # noqa: E402
from gashall.services import Hall  # noqa: E402

ACCOUNT = "0000000001"
APPROVED = {"requester": "Li Ming", "approver": "王芳", "reason": "the disk broke"}


def recovering(folder, signer):
    """A desk whose ledger was just restored, closed so that it can be copied."""
    folder.mkdir()
    desk = Desk(folder, signer)
    hall = desk.opened()
    hall.read_back(desk.card)
    hall.mark_restored()
    desk.close()
    return desk


def attempt(desk, service, ledger=None):
    """One run of the program; whether it went to its end."""
    try:
        service(desk.hall(ledger))
    except DeadError:
        return False
    except GasError as error:
        if error.code not in (codes.CARD_OUT, codes.NO_CARD):
            raise
        return False
    finally:
        desk.close()
    return True


def check_probed_once(desk):
    """One row more, its frame on the card; the meter loads it, its report is adopted, and gas is sold on."""
    assert attempt(desk, lambda hall: hall.probe(desk.card, rescue=True))
    hall = desk.hall()
    with hall.ledger.look() as books:
        rows = books.orders(ACCOUNT)
    assert [(row.sequence, row.state, row.kind) for row in rows] == [(1, "done", None), (101, "written", "probe")]
    assert decode_card(desk.card_path.read_bytes(), desk.signer).order.raw == rows[-1].frame
    desk.meter.insert(desk.card_path)
    assert not hall.adopt(desk.card, **APPROVED).recovering
    assert hall.sell(desk.card, 10).bought_total == 4000
    assert hall.audit().clean
    desk.close()


@pytest.mark.parametrize("mode", ["killed", "pulled", "torn"])
def test_probe_stopped_at_every_stored_byte_is_made_once(tmp_path, signer, mode):
    before = recovering(tmp_path / "start", signer)
    count = 0
    while True:
        desk = before.copy(tmp_path / f"{count}")
        reader = desk.card
        state = stop(reader, mode, count)
        ended = attempt(desk, lambda hall, reader=reader: hall.probe(reader))
        check_probed_once(desk)
        if ended:
            break
        assert state["fired"] is not None
        count += 1
    assert count > 10


@pytest.mark.parametrize("before_commit", [True, False])
def test_probe_whose_host_dies_at_every_commit_is_made_once(tmp_path, signer, before_commit):
    before = recovering(tmp_path / "start", signer)
    for count in range(9):
        desk = before.copy(tmp_path / f"{count}")
        ledger = DyingLedger(desk.folder / "ledger.db", REGION).die_at(count, before_commit)
        ended = attempt(desk, lambda hall, desk=desk: hall.probe(desk.card), ledger)
        check_probed_once(desk)
        if ended:
            break
    assert count == 3


@pytest.mark.parametrize("before_commit", [True, False])
def test_adoption_is_made_whole_or_not_at_all(tmp_path, signer, before_commit):
    before = recovering(tmp_path / "start", signer)
    assert attempt(before, lambda hall: hall.probe(before.card))
    before.meter.insert(before.card_path)
    desk = before.copy(tmp_path / "0")
    ledger = DyingLedger(desk.folder / "ledger.db", REGION).die_at(0, before_commit)
    assert not attempt(desk, lambda hall: hall.adopt(desk.card, **APPROVED), ledger)
    hall = desk.hall()
    assert bool(hall.recovering()) == before_commit
    if before_commit:
        hall.adopt(desk.card, **APPROVED)
    else:
        with pytest.raises(GasError) as refusal:
            hall.adopt(desk.card, **APPROVED)
        assert refusal.value.code == errors.NOTHING_TO_ADOPT
    with hall.ledger.look() as books:
        assert len(books.adoptions(1)) == 1
    assert hall.sell(desk.card, 10).bought_total == 4000


@pytest.mark.parametrize("place", ["_copy", "audit", "mark", "_put"])
def test_restore_that_dies_leaves_no_ledger_to_sell_from(desk, monkeypatch, place):
    desk.opened().backup(desk.folder / "copy.db")
    key = desk.folder / "key.json"
    key.write_text(json.dumps({"format": PLAIN, "region": REGION, "root": ROOT.hex()}))
    key.chmod(0o600)
    words = desk.folder / "copy.db", desk.folder / "new.db", key, lambda: datetime(2026, 3, 1, tzinfo=UTC)
    files = sorted(path.name for path in desk.folder.iterdir())

    def dead(*words, **more):
        raise DeadError

    with monkeypatch.context() as patched:
        patched.setattr(restoring, place, dead)
        with pytest.raises(DeadError):
            Hall.restore(*words)
    assert sorted(path.name for path in desk.folder.iterdir()) == files
    assert Hall.restore(*words).recovering == 1
    assert desk.hall(Ledger(desk.folder / "new.db", REGION)).recovering()
