"""A page to be printed and filed: one HTML file that needs nothing beside it and breaks well on A4."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_STYLE = """
@page { size: A4; margin: 18mm }
body { font: 11pt/1.4 "Noto Sans CJK SC", "Microsoft YaHei", sans-serif; color: #000; background: #fff; margin: 0 auto;
  max-width: 175mm }
h1 { font-size: 15pt; margin: 0 0 2mm }
p { margin: 1mm 0 }
table { border-collapse: collapse; width: 100%; margin: 4mm 0 }
th, td { border: 0.3pt solid #000; padding: 1mm 2mm; text-align: left; vertical-align: top; overflow-wrap: anywhere }
th { background: #eee; print-color-adjust: exact }
td.figure { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
thead { display: table-header-group }
tr { break-inside: avoid }
.sign { display: flex; gap: 8mm; margin-top: 14mm; break-inside: avoid }
.sign span { flex: 1; border-top: 0.5pt solid #000; padding-top: 1mm }
.foot { margin-top: 6mm; font-size: 8pt; overflow-wrap: anywhere }
"""
_WIDE = """@page { size: A4 landscape }
body { font-size: 9pt; max-width: 261mm }
"""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under a head; columns in ``figures`` (from 0) are set to the right."""

    head: Sequence[str]
    rows: Sequence[Sequence[object]]
    figures: frozenset[int] = frozenset()


def page(
    title: str, parts: Sequence[Table | str], *, sign: Sequence[str] = (), foot: str = "", wide: bool = False
) -> str:
    """An HTML page: ``title``, then tables and paragraphs in their order, lines to sign on, and a foot in small print.

    ``wide`` lays the paper on its side, for tables of many columns. A table whose head is empty has none.
    What is given is text, whatever characters it has; nothing of it is taken for HTML.
    """
    body = [f"<h1>{escape(title)}</h1>"]
    body += [_table(part) if isinstance(part, Table) else f"<p>{escape(part)}</p>" for part in parts]
    if sign:
        body.append('<div class="sign">' + "".join(f"<span>{escape(who)}</span>" for who in sign) + "</div>")
    if foot:
        body.append(f'<p class="foot">{escape(foot)}</p>')
    style = _STYLE + (_WIDE if wide else "")
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{style}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(body) + "\n</body></html>\n"


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in table.head)
    head = f"<thead><tr>{head}</tr></thead>\n" if any(table.head) else ""
    rows = "\n".join(f"<tr>{''.join(_cell(table, i, cell) for i, cell in enumerate(row))}</tr>" for row in table.rows)
    return f"<table>{head}<tbody>\n{rows}\n</tbody></table>"


def _cell(table: Table, column: int, cell: object) -> str:
    kind = ' class="figure"' if column in table.figures else ""
    return f"<td{kind}>{escape('' if cell is None else str(cell))}</td>"
