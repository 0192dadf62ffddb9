"""Looking a card over (验卡): is it ours, whole and alive; nothing is written to it and no try is risked unasked.

An SLE4442 is read without its password, its error counter too. The password is presented only where it is asked for,
and only to a card that could be no stranger's: identity ours, order authentic, nothing forged, issued by this ledger
(RULES 1, last try; DOMAIN 3, "check must avoid burning password tries"). Of the company's own cards the ledger has the
exact bytes.
"""

from dataclasses import dataclass, replace
from typing import Any

from gascard import codes, tools
from gascard.records import IMAGE_SIZE
from gascard.sle4442 import tries_left
from gashall import encode, errors
from gashall.books import Books
from gashall.counter import Counter, card_words, check_ours, check_reader, found
from gashall.encode import Card, Part, decode_card
from gashall.errors import CardError, GasError, LedgerError, ReaderError, RequestError
from gashall.history import printable
from gashall.readers.base import Reader
from gashall.rows import Order, Place, ToolRow
from gashall.terms import TOOL_CARDS
from gashall.toolcards import Tool, behind, check_tool, told

NOT_ASKED = "not asked"
NOT_PRESENTED = "not presented"
RIGHT = "right"
REFUSED = "refused"
"""What became of the password. Not presented: it was asked for, and the card was not fit to be given it."""

_NO_KEY = "not checked"


@dataclass(frozen=True, slots=True)
class Verification:
    """What is known of a card; it is good if there are no ``findings``."""

    card: int | None
    """Its number, None if the identity is not readable."""
    region: int | None
    blank: bool
    parts: tuple[Part, ...]
    """Identity, order and two reports, each with its verdicts; no MAC is judged on a card of another region."""
    tries_before: int | None
    """Password tries the error counter held when the card came; None if it cannot be read."""
    tries_left: int | None
    """What it holds now; a password that was right has given all three back."""
    password: str
    """``not asked``, ``not presented``, ``right`` or ``refused``."""
    account: str | None
    """Whose card the ledger knows it to be; None for a stranger's."""
    name: str | None
    meter: str | None
    replacement: int | None
    replaced: bool | None
    """Whether the account has a newer card."""
    sequence: int | None
    """The account's last order, and its state."""
    state: str | None
    findings: tuple[GasError, ...]
    """All that is wrong, each with its code and what to do next."""
    tool: Tool | None = None
    """What the ledger knows of a card of the company's own; None for a customer's or a stranger's."""

    @property
    def good(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def record(self) -> dict[str, Any]:
        """The same as JSON holds it: verdicts by name, null where one was not reached."""
        plain = [name for name in self.__slots__ if name not in ("parts", "findings", "tool")]
        return {name: getattr(self, name) for name in (*plain, "good")} | {
            "tool": None if self.tool is None else self.tool.record(),
            "parts": [
                {"name": part.name, "written": part.written}
                | {
                    name: None if verdict is None else errors.words(verdict)[0]
                    for name, verdict in zip(
                        ("shape", "crc", "version", "mac"),
                        (part.shape, part.crc, part.version, part.mac),
                        strict=True,
                    )
                }
                for part in self.parts
            ],
            "findings": [
                {name: getattr(error, name) for name in ("code", "name", "message", "message_zh", "remedy")}
                for error in self.findings
            ],
        }

    def lines(self) -> list[str]:
        """The same for people, a line each."""
        rows = [("chip", "answers as an SLE4442")]
        tries = "not readable" if self.tries_left is None else f"{self.tries_left} of 3"
        if self.tries_before not in (None, self.tries_left):
            tries += f", {self.tries_before} before"
        rows.append(("tries left", tries))
        number = "not readable" if self.card is None else str(self.card)
        region = "" if self.region is None else f" of region {self.region:#06x}"
        rows.append(("card", "blank" if self.blank else number + region))
        rows += [(part.name, _told(part)) for part in self.parts]
        if self.tool is not None:
            rows.append(("ledger", self.tool.line().strip()))
        elif self.account is None:
            rows.append(("ledger", "does not know it"))
        else:
            whose = f"account {self.account}, {printable(self.name or 'no name')}"
            meter = "no meter" if self.meter is None else f"meter {self.meter}"
            rows.append(("ledger", f"{whose}, {meter}, replacement {self.replacement}"))
        if self.sequence is not None:
            rows.append(("last order", f"{self.sequence}: {self.state}"))
        rows.append(("password", self.password))
        lines = [f"{word:<14}{text}" for word, text in rows]
        lines += [f"found: {printable(str(error))}" for error in self.findings]
        return [*lines, "The card is good." if self.good else f"{len(self.findings)} found."]


def verify(counter: Counter, reader: Reader, *, password: bool = False, rescue: bool = False) -> Verification:
    """See ``Hall.verify``."""
    check_reader(reader)
    if rescue and not password:
        raise RequestError(errors.FIELD, "A last try is spent on a password only.", "Ask for the password too.")
    with reader:
        card = decode_card(reader.read(0, IMAGE_SIZE), counter.signer)
        before = _tries(reader)
        with counter.ledger.look() as books:
            place = None if card.number is None or card.region_code else books.place(card.number)
            if place is not None and place.meter is not None:
                card = decode_card(card.image, counter.signer, key_version=place.meter.key_version)
            row = None if card.number is None or card.region_code else books.tool(card.number)
            tool = None if row is None else told(books, row)
            findings = _findings(counter, books, card, place) if row is None else _tool_findings(counter, card, row)
            if row is None and card.kind in TOOL_CARDS.values() and not card.region_code:
                findings = [CardError(errors.TOOL_UNKNOWN, f"The ledger has no tool card {card.number}.")]
            last = None if place is None or place.binding is None else books.last_order(place.binding.id)
        asked = NOT_PRESENTED if password else NOT_ASKED
        genuine = _genuine(card, place) if row is None else _genuine_tool(card, row)
        if password and genuine and before is not None and before >= (1 if rescue else 2):
            try:
                counter.unlock(reader, card, rescue)
                asked = RIGHT
            except CardError as error:
                if error.code != codes.PASSWORD_REFUSED:
                    raise
                asked = REFUSED
                findings.append(error)
        left = _tries(reader)
        if left is None:
            findings.append(ReaderError(errors.READER, "The card's error counter cannot be read."))
        elif left < 2:
            findings.append(CardError(errors.LAST_TRY if left else errors.CARD_DEAD))
    return _verification(card, place, last, before, left, asked, findings, tool)


def _tries(reader: Reader) -> int | None:
    try:
        left: int = tries_left(reader.error_counter())
    except ReaderError as error:
        # A reader without this command, or a card file without its other half, reads all the same.
        if error.code != errors.READER:
            raise
        return None
    return left


def _genuine(card: Card, place: Place | None) -> bool:
    """Whether the card may be given its password: everything on it ours, and its number issued."""
    try:
        check_ours(card)
    except CardError:
        return False
    forged = any(part.code == codes.MAC for part in card.parts)
    return card.order.authentic and not forged and place is not None and place.card.issued


def _genuine_tool(card: Card, row: ToolRow) -> bool:
    """The same of a card of the company's own: what it orders is what the ledger made, byte by byte, or taken off."""
    try:
        check_tool(card, row)
    except CardError:
        return False
    forged = any(part.code == codes.MAC for part in card.parts)
    own = _own_bytes(card, row)
    # One that was taken back at its last try bears its order still: its tries would make it work again.
    return row.issued and not forged and own is not None and not (own and row.ended is not None)


def _own_bytes(card: Card, row: ToolRow) -> bool | None:
    """Whether the card bears what the ledger made it with; False if that was taken off it, None if it is else."""
    there = card.image[tools.TOOL_AT : tools.TOOL_AT + len(row.frames)]
    # Behind the frames a meter writes; between them nothing is written.
    if there == row.frames:
        return True
    return False if there == encode.BLANK_IMAGE[tools.TOOL_AT : tools.TOOL_AT + len(row.frames)] else None


def _tool_findings(counter: Counter, card: Card, row: ToolRow) -> list[GasError]:
    """What is wrong with a card of the company's own."""
    try:
        check_tool(card, row)
    except CardError as error:
        return [error]
    if not row.issued:
        return [CardError(errors.CARD_HALF_MADE)]
    findings: list[GasError] = []
    if row.ended is not None:
        findings.append(LedgerError(errors.TOOL_ENDED, f"Tool card {row.number} was taken back."))
    own = _own_bytes(card, row)
    if own is None or (not own and row.ended is None):
        findings.append(
            CardError(
                errors.READ_BACK_DIFFERS,
                f"Tool card {row.number} does not bear what it was made with.",
                "Take it back (icgas hall tool end) and make another.",
            )
        )
    for part in behind(card):
        if part.written and part.code:
            _, english, _, remedy = errors.words(part.code)
            findings.append(CardError(part.code, f"The {part.name} is not genuine and whole: {english}", remedy))
    if row.expires is not None and row.expires < counter.now():
        findings.append(CardError(codes.EXPIRED))
    return findings


def _findings(counter: Counter, books: Books, card: Card, place: Place | None) -> list[GasError]:
    """What is wrong, in the order of the card, then what the ledger says against it."""
    try:
        check_ours(card)
    except CardError as error:
        return [error]
    findings: list[GasError] = []
    for part in card.parts:
        # A report from before a key card is no fault of the card: the meter's next one replaces it.
        if part.written and not part.whole and part.code != codes.KEY_VERSION:
            _, english, _, remedy = errors.words(part.code)
            findings.append(CardError(part.code, f"The {part.name} is not genuine and whole: {english}", remedy))
    if place is not None and not place.card.issued:
        # What an unfinished card says is of no weight: its opening is repeated and writes all of it again.
        return [*findings, CardError(errors.CARD_HALF_MADE)]
    told: GasError | None = None
    try:
        code = counter.judge(books, card).report_code
        told = CardError(code) if code not in (codes.OK, codes.KEY_VERSION) else None
    except GasError as error:
        told = error
    if told is not None and told.code not in [known.code for known in findings]:
        findings.append(told)
    return findings


def _verification(
    card: Card,
    place: Place | None,
    last: Order | None,
    before: int | None,
    left: int | None,
    password: str,
    findings: list[GasError],
    tool: Tool | None,
) -> Verification:
    values = card.identity.values
    foreign = values is not None and bool(card.region_code)
    # A key of ours says nothing about another region's MACs.
    parts = tuple(replace(part, mac=None) for part in card.parts) if foreign else card.parts
    return Verification(
        card=card.number,
        region=None if values is None else int(values["region"]),
        blank=card.blank,
        parts=parts,
        tries_before=before,
        tries_left=left,
        password=password,
        account=tool.account if tool is not None else None if place is None else place.account.number,
        name=None if place is None else place.account.name,
        meter=tool.meter if tool is not None else _meter(place),
        replacement=None if place is None else place.card.replacement,
        replaced=None if place is None else place.replaced,
        sequence=None if last is None else last.sequence,
        state=None if last is None else last.state,
        findings=tuple(findings),
        tool=tool,
    )


def _meter(place: Place | None) -> str | None:
    return None if place is None or place.binding is None else place.binding.meter


def _told(part: Part) -> str:
    if not part.written:
        return "blank"
    if part.mac == codes.KEY_VERSION:
        return "whole, of earlier keys"
    if part.code:
        return errors.words(part.code)[0]
    if part.record == "identity":
        return f"whole, batch {found(part.values)['issue_batch']}, {card_words(part.kind)}"
    return "whole, " + (f"MAC {_NO_KEY}" if part.mac is None else "MAC right")
