"""A page to be printed and filed, in English and Chinese: one HTML file that needs nothing beside it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from gashall.labels import both

_STYLE = """
@page { size: A4; margin: 18mm }
body { font: 11pt/1.4 "Noto Sans CJK SC", "Microsoft YaHei", sans-serif; color: #000; background: #fff; margin: 0 auto;
  max-width: 175mm }
h1 { font-size: 15pt; margin: 0 0 2mm }
p { margin: 1mm 0 }
table { border-collapse: collapse; width: 100%; margin: 4mm 0 }
th, td { border: 0.3pt solid #000; padding: 1mm 2mm; text-align: left; vertical-align: top }
th, td:first-child, .sign span { word-break: keep-all }
td { overflow-wrap: anywhere }
td.whole { white-space: nowrap }
thead th { background: #eee; print-color-adjust: exact }
th[scope=row] { font-weight: normal }
td.figure { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
thead { display: table-header-group }
tr { break-inside: avoid }
.sign { display: flex; gap: 8mm; margin-top: 14mm; break-inside: avoid }
.sign span { flex: 1; border-top: 0.5pt solid #000; padding-top: 1mm }
.foot { margin-top: 6mm; font-size: 8pt; overflow-wrap: anywhere }
"""
_WHOLE = re.compile(r"[0-9][0-9.: +-]{0,21}")
"""Numbers and times, which are of no use in two lines: a long name beside them would squeeze them."""
A4 = ""
WIDE = """@page { size: A4 landscape }
body { font-size: 9pt; max-width: 261mm }
"""
"""For tables of many columns."""
SLIP = """@page { size: auto; margin: 3mm }
body { font-size: 9pt; max-width: 72mm }
h1 { font-size: 11pt }
.sign { display: block; margin-top: 0 }
.sign span { display: block; margin-top: 12mm }
"""
"""As wide as a receipt printer's roll of 80 mm; on a sheet it stands at the top."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under a head; columns in ``figures`` (from 0) are set to the right.

    The head is labels of ``gashall.labels``, in English. Without one (all of it empty) the first cell of a row names it
    and is such a label too; with one the cells are set as they are.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[object]]
    figures: frozenset[int] = frozenset()


def page(
    title: str,
    parts: Sequence[Table | str],
    *,
    which: str = "",
    sign: Sequence[str] = (),
    foot: str = "",
    paper: str = A4,
) -> str:
    """An HTML page: ``title`` and ``which`` one it is, then tables and paragraphs in their order, lines to sign on, and
    a foot in small print. ``paper`` is A4, WIDE or SLIP.

    Title, heads and lines to sign on are labels of ``gashall.labels``, in English, and are set in both languages;
    KeyError for one that is not there. All else is text, whatever characters it has; nothing is taken for HTML.
    """
    english = both(title)
    title = f"{english[0].upper()}{english[1:]} {which}".rstrip()
    body = [f"<h1>{escape(title)}</h1>"]
    body += [_table(part) if isinstance(part, Table) else f"<p>{escape(part)}</p>" for part in parts]
    if sign:
        body.append('<div class="sign">' + "".join(f"<span>{escape(both(who))}</span>" for who in sign) + "</div>")
    if foot:
        body.append(f'<p class="foot">{escape(foot)}</p>')
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}{paper}</style>'
    return f'<!doctype html>\n<html lang="zh-CN"><head>{head}</head>\n<body>\n' + "\n".join(body) + "\n</body></html>\n"


def _table(table: Table) -> str:
    head = ""
    if any(table.head):
        names = "".join(f"<th>{escape(both(name))}</th>" for name in table.head)
        head = f"<thead><tr>{names}</tr></thead>\n"
    rows = "\n".join(f"<tr>{''.join(_cell(table, i, cell) for i, cell in enumerate(row))}</tr>" for row in table.rows)
    return f"<table>{head}<tbody>\n{rows}\n</tbody></table>"


def _cell(table: Table, column: int, cell: object) -> str:
    if not column and not any(table.head):
        return f'<th scope="row">{escape(both(str(cell)))}</th>'
    text = "" if cell is None else str(cell)
    kind = ' class="figure"' if column in table.figures else ' class="whole"' if _WHOLE.fullmatch(text) else ""
    return f"<td{kind}>{escape(text)}</td>"
