"""What the hall's tests share: a desk (a hall and its card files in a folder) and a meter on paper."""

import os
import pty
import shutil
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gascard import records, tools
from gascard.keys import derive
from gascard.records import REPORT_AT, STATUS_VALVE_OPEN
from gashall import encode
from gashall.encode import decode_card
from gashall.readers import FileReader
from gashall.signer import KeyFileSigner

ROOT = bytes(range(32))
REGION = 0x0021
METER = "32060012345678"
NEIGHBOUR = "32060012345679"

REPORT = {
    "report_number": 1,
    "meter": METER,
    "binding": 1,
    "replacement": 0,
    "versions": 0x11,
    "sequence": 1,
    "bought_total": 3000,
    "correction_total": 0,
    "register": 0,
    "used": 0,
    "index": 0,
    "status": STATUS_VALVE_OPEN,
    "last_code": 0,
    "battery": 178,
    "time": 13_762_695,
    "valve_moves": 1,
    "valve_failures": 0,
    "boots": 1,
    "power_failures": 0,
    "magnet_events": 0,
    "over_flow_count": 0,
    "alarm": 500,
    "ceiling": 100_000,
    "overdraft": 0,
    "over_flow_seconds": 0,
}
ORDER = {
    "meter": METER,
    "account": "0000000001",
    "binding": 1,
    "replacement": 0,
    "key_version": 1,
    "sequence": 7,
    "bought_total": 21000,
    "amount": 3000,
    "correction_total": 0,
    "pulse_weight": 2,
    "alarm": 500,
    "ceiling": 100_000,
    "overdraft": 0,
    "over_flow_seconds": 0,
    "time": 13_762_695,
    "flags": 0,
}


class PaperMeter:
    """What a meter does to a card file, without a meter: take a newer order, report into the older slot."""

    def __init__(self, signer: KeyFileSigner, number: str = METER) -> None:
        self.number = number
        self.key = encode.report_key(signer.meter_keys(number, 1)[0])
        self.bought = self.sequence = self.used = self.report_number = 0
        self.binding = 1
        self.initial = 0
        self.correction = 0

    def insert(self, path: Path) -> None:
        """Load the card in the file ``path`` and write a report on it."""
        card = decode_card(path.read_bytes())
        assert card.order.values is not None
        assert card.number is not None
        if card.order.values["sequence"] > self.sequence:
            self.sequence = card.order.values["sequence"]
            self.bought = max(self.bought, card.order.values["bought_total"])
        slot = 1 if card.newest_report is card.reports[0] else 0
        self.report_number += 1
        put(path, REPORT_AT[slot], self.report(card.number))

    def end(self, path: Path, signer: KeyFileSigner) -> None:
        """Write the final record on the transfer card in the file ``path``."""
        card = decode_card(path.read_bytes())
        assert card.order.values is not None
        assert card.number is not None
        out = card.order.values
        context = tools.transfer_context(self.number, self.binding, out["new_binding"])
        own, self.key = (
            self.key,
            encode.report_key(derive(signer.meter_keys(out["new_meter"], 1)[0], tools.TRANSFER_KEY, context)),
        )
        self.report_number += 1
        put(path, tools.FINAL_AT, self.report(card.number, kind=tools.FINAL))
        self.key = own

    def report(self, card: int = 1, **changes: Any) -> bytes:
        """A report frame of this meter for that card number, some fields changed."""
        values = REPORT | {
            "report_number": self.report_number,
            "meter": self.number,
            "binding": self.binding,
            "sequence": self.sequence,
            "bought_total": self.bought,
            "correction_total": self.correction,
            "register": self.used,
            "used": self.used,
            "index": self.initial + self.used,
        }
        kind = changes.pop("kind", records.REPORT)
        return encode.encode_report(self.key, REGION, card, values | changes, kind)


def put(path: Path, at: int, data: bytes) -> None:
    """Overwrite bytes of a card file, as an attacker or an accident does."""
    image = bytearray(path.read_bytes())
    image[at : at + len(data)] = data
    path.write_bytes(image)


class Desk:
    """A folder with a ledger, a key file and card files. Each ``hall()`` is one run of the hall's program."""

    def __init__(self, folder: Path, signer: KeyFileSigner) -> None:
        self.folder = folder
        self.signer = signer
        self.card_path = folder / "card.bin"
        self.meter = PaperMeter(signer)
        self.halls: list[Any] = []

    @property
    def card(self) -> FileReader:
        """A reader with the customer's card in it, new each time as after a restart."""
        return FileReader(self.card_path)

    def blank(self, name: str = "card.bin") -> FileReader:
        """A reader with a new blank card in it."""
        return FileReader.blank(self.folder / name)

    def hall(self, ledger: Any = None) -> Any:
        from gashall.ledger import Ledger
        from gashall.services import Hall

        ledger = ledger or Ledger(self.folder / "ledger.db", REGION)
        hall = Hall(ledger, self.signer, clock=lambda: datetime(2026, 3, 1, 12, 0, tzinfo=UTC))
        self.halls.append(hall)
        return hall

    def opened(self) -> Any:
        """A hall whose customer has opened an account with 30 m³ and put the card into the meter."""
        hall = self.hall()
        hall.open_account(self.blank(), meter=METER, volume=30, name="Li Wei")
        self.meter.insert(self.card_path)
        return hall

    def copy(self, folder: Path) -> "Desk":
        """The same desk once more, ledger, cards and meter, to try something else from here."""
        self.close()
        shutil.copytree(self.folder, folder)
        desk = Desk(folder, self.signer)
        desk.meter.__dict__.update(self.meter.__dict__)
        return desk

    def close(self) -> None:
        for hall in self.halls:
            hall.close()
        self.halls.clear()


def at_terminal(words: list[str], answers: list[str]) -> tuple[int, str]:
    """The command in a terminal of its own, its questions answered: exit code and all that stood on the screen."""
    from gashall import hall_command

    child, terminal = pty.fork()
    if not child:
        try:
            sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
            os._exit(hall_command.command(words))
        except BaseException:
            traceback.print_exc()
        os._exit(99)
    screen = b""
    answers = list(answers)
    while True:
        try:
            data = os.read(terminal, 4096)
        except OSError:
            break
        if not data:
            break
        screen += data
        if answers and screen.rstrip().endswith(b":") and data.strip():
            os.write(terminal, (answers.pop(0) + "\n").encode())
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), screen.decode()
