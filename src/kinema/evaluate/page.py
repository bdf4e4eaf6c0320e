"""The page of an evaluation: its tables, the clips with what was not seen in them, and all numbers."""

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kinema.evaluate.suite import Answer
from kinema.evaluate.tables import NumberTable, tables_of
from kinema.media import write_video

SHOWN = 60
"""Clips on the page, at most."""


def write_page(report: Mapping[str, Any], answers: Sequence[Answer], folder: Path) -> Path:
    """Write the shown clips and `index.html` into `folder`; returns the page."""
    (folder / "clips").mkdir(parents=True, exist_ok=True)
    figures = []
    for index, answer in enumerate(answers[:SHOWN]):
        name = f"clips/{index:03d}.webp"
        write_video(folder / name, [answer.frames], answer.fps)
        figures.append(_figure(name, answer))
    page = folder / "index.html"
    page.write_text(
        _PAGE.format(
            command=html.escape(str(report["provenance"].get("command", ""))),
            tables="\n".join(map(_table, tables_of(report))),
            shown=f"{len(figures)} of {len(answers)} clips",
            figures="\n".join(figures),
            numbers=html.escape(json.dumps(dict(report), indent=2)),
        ),
        encoding="utf-8",
    )
    return page


def _table(table: NumberTable) -> str:
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in table.columns)
    rows = (
        f'<tr><th scope="row">{html.escape(name)}</th>{"".join(f"<td>{html.escape(cell)}</td>" for cell in cells)}</tr>'
        for name, *cells in table.rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _figure(name: str, answer: Answer) -> str:
    missed = [axis for axis, values in answer.verdicts.items() if axis != "all" and not all(values)]
    verdict = f"not seen: {', '.join(missed)}" if missed else "all seen"
    return (
        f'<figure><img src="{name}" alt="" loading="lazy"><figcaption>{html.escape(answer.case.caption.text)}<br>'
        f'<small class="{"missed" if missed else "right"}">{verdict}</small> '
        f"<small>({answer.case.source.replace('_', ' ')}, seed {answer.seed})</small></figcaption></figure>"
    )


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Kinema: evaluation</title>
<meta name="viewport" content="width=device-width">
<style>
:root {{ color-scheme: light dark }}
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem;
  color: light-dark(#222, #ddd); background: light-dark(#fff, #181818) }}
.wide {{ overflow-x: auto; margin: 1.5rem 0 }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums }}
th, td {{ padding: .25rem .8rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid light-dark(#ddd, #333) }}
th:first-child {{ text-align: left }} tbody th {{ font-weight: normal }}
main {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); gap: 1.2rem }}
figure {{ margin: 0 }} img {{ width: 100%; image-rendering: pixelated; border-radius: 4px }}
figcaption {{ font-size: 13px }}
.missed {{ color: light-dark(#a3341a, #ff9b80) }} .right {{ color: light-dark(#1c6b36, #7fd699) }}
pre {{ background: light-dark(#f4f4f4, #222); padding: 1rem; overflow: auto }}
</style></head><body><h1>Evaluation</h1>
<p><code>{command}</code>. Intervals are 95 %, over prompts.</p>
{tables}
<h2>{shown}</h2>
<main>
{figures}
</main>
<details><summary>All numbers</summary><pre>{numbers}</pre></details></body></html>
"""
