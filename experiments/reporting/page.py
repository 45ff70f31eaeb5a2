"""The page of a report: one HTML file with everything in it, to be read without a network."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path

from experiments.description import description
from experiments.reporting.comparison import best, shown, written
from experiments.reporting.figures import bars
from experiments.reporting.report import Measured, Report
from experiments.reporting.timeline import timeline

__all__ = ["document", "facts", "page", "picture", "save", "write_page"]

_LISTED = 40
"""Decisions shown of one run before the rest is folded away."""

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; color: #24292f; background: #fff;
  max-width: 1240px; margin: 0 auto; padding: 24px 28px 64px; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 19px; margin: 40px 0 10px; padding-top: 14px; border-top: 1px solid #d8dee4; }
h3 { font-size: 15px; margin: 18px 0 6px; } .about, .faint { color: #57606a; } img { width: 100%; height: auto; display: block;
  margin: 14px 0; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; } .wide { overflow-x: auto; }
th, td { padding: 5px 7px; border-bottom: 1px solid #eaeef2; text-align: right; vertical-align: top; white-space: nowrap; }
th { white-space: normal; font-weight: 600; border-bottom: 2px solid #d0d7de; vertical-align: bottom; }
td:first-child, th:first-child { text-align: left; }
th span, td span { display: block; font-weight: 400; color: #6e7781; font-size: 11.5px; }
td.best { font-weight: 700; background: #eaf5ea; }
.facts td { text-align: left; white-space: normal; padding: 3px 14px 3px 0; border: 0; }
.facts td:first-child { color: #57606a; white-space: nowrap; }
ol.decisions { font-size: 13px; padding-left: 0; list-style: none; margin: 6px 0; }
ol.decisions li { display: grid; grid-template-columns: 34px 74px 1fr; gap: 6px; padding: 1px 0; }
ol.decisions b { text-align: right; font-weight: 400; color: #6e7781; } ol.decisions .moved b { font-weight: 700; color: #24292f; }
ol.decisions time { text-align: right; color: #57606a; font-variant-numeric: tabular-nums; } ol.decisions .unmet { color: #a40e26; }
pre, code { font: 13px/1.5 ui-monospace, "DejaVu Sans Mono", monospace; } pre { background: #f6f8fa; padding: 10px 14px; overflow-x: auto; }
summary { cursor: pointer; color: #57606a; font-size: 13px; }
"""


def write_page(report: Report, folder: Path) -> Path:
    """Write report.html; returns its path."""
    return save(page(report), folder)


def save(text: str, folder: Path) -> Path:
    """Write a page as report.html; returns its path."""
    path = folder / "report.html"
    path.write_text(text, encoding="utf-8")
    return path


def page(report: Report) -> str:
    """The report as HTML: what was asked, how the policies compare, each over time, where it ran, how to run it again."""
    lab = report.lab
    first = {one.run.policy: one for one in reversed(report.measured)}
    body = [
        _setting(report), "<h2>Policies</h2>", _comparison(report),
        picture(bars(report.medians), "Policies against each other") if report.medians else "",
        *(_policy(first[policy], report) for policy in report.medians),
    ]  # fmt: skip
    note = "report.json, frames.csv, samples.csv and decisions.csv beside this page hold all it was made from"
    return document(lab.name, lab.about, body, report.command, environment=report.environment, data=note)


def document(
    title: str, about: str, body: Iterable[str], command: str, *, environment: Mapping[str, str] | None = None, data: str = ""
) -> str:
    """A whole page: what was asked, what came of it, where it ran, how to run it again, and the data beside it that it is made from."""
    again = f'<p class="faint">{escape(data)}; <code>python -m experiments report FOLDER</code> makes this page anew.</p>'
    parts = "\n".join(part for part in (
        f"<h1>{escape(title)}</h1>", f'<p class="about">{escape(about)}</p>' if about else "", *body,
        f"<h2>Where it ran</h2>{facts(environment)}" if environment else "",
        f"<h2>Again</h2><pre>{escape(command)}</pre>", again if data else "",
    ) if part)  # fmt: skip
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title><style>{_STYLE}</style>'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n{parts}\n</body></html>\n'


def picture(svg: str, name: str) -> str:
    """An SVG as an image inside the page, so that its names do not meet those of others."""
    return f'<img alt="{escape(name)}" src="data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}">'


def _setting(report: Report) -> str:
    bodies = dict.fromkeys(one.run.body for one in report.measured)
    return facts({**description(report.lab), "made": f"{report.made} ({', '.join(bodies) or 'nothing was run'})"})


def facts(those: Mapping[str, object]) -> str:
    """Names and what they are, as a table."""
    rows = "".join(f"<tr><td>{escape(name)}</td><td>{escape(str(value))}</td></tr>" for name, value in those.items())
    return f'<table class="facts">{rows}</table>'


def _comparison(report: Report) -> str:
    columns = shown(report.medians)
    winners = [best(column, report.medians) for column in columns]
    head = "".join(f"<th>{escape(column.title)}<span>{escape(column.unit) or '&nbsp;'}</span></th>" for column in columns)
    rows = []
    for policy, spreads in report.medians.items():
        cells = []
        for column, won in zip(columns, winners):
            middle, span = written(column, spreads.get(column.name))
            cells.append(f'<td{" class=best" if policy in won else ""}>{middle}{f"<span>{span}</span>" if span else ""}</td>')
        rows.append(f"<tr><td>{escape(policy)}</td>{''.join(cells)}</tr>")
    seeds = max((sum(one.run.policy == policy for one in report.measured) for policy in report.medians), default=0)
    notes = [f"Medians over {seeds} seeds, the range below them." if seeds > 1 else "", *least_note(report)]
    table = f'<div class="wide"><table><tr><th>policy</th>{head}</tr>{"".join(rows)}</table></div>'
    return table + "".join(f'<p class="faint">{escape(note)}</p>' for note in notes if note)


def least_note(report: Report) -> list[str]:
    """What is known of the least server time at the goal's rate, in words."""
    least = report.least
    if least is None:
        return []
    rate = f"at {report.lab.goal.fps:g} fps" if report.lab.goal.fps else "at the goal"
    figure = "cannot be had" if least.server_s is None else f"is {least.server_s * 1e3:.3f} ms per frame"
    return [f"The least server time {rate} {figure}, by {least.how}."]


def _policy(one: Measured, report: Report) -> str:
    run = one.run
    drawn = picture(timeline(run, report.lab), f"{run.policy} over time")
    parts = [f"<h2>{escape(run.policy)}</h2>", _summary(one), drawn]
    if run.decisions:
        parts.append(f"<h3>Decisions ({len(run.decisions)})</h3>{_decisions(one)}")
    if run.facts:
        listed = facts({name: f"{value:.6g}" for name, value in run.facts.items() if "_step_" not in name})
        parts.append(f"<details><summary>Calibration and facts</summary>{listed}</details>")
    parts += [f'<p class="faint">{escape(note)}</p>' for note in run.notes]
    return "\n".join(parts)


def _summary(one: Measured) -> str:
    counts = ", ".join(f"{count} {name}" for name, count in one.figures.outcomes.items() if count)
    devices = len({row.device for row in one.run.frames})
    shown_device = f" Of {devices} devices the first is drawn." if devices > 1 else ""
    return f'<p class="faint">Seed {one.run.seed}: {escape(counts) or "no frames"}.{shown_device}</p>'


def _decisions(one: Measured) -> str:
    rows = [
        f'<li class="{"moved" if row.moved else ""}"><b>{number}</b><time>{row.at:.2f} s</time>'
        f'<span class="{"" if row.met else "unmet"}">{escape(row.text)}</span></li>'
        for number, row in enumerate(one.run.decisions, 1)
    ]
    shown_rows, rest = rows[:_LISTED], rows[_LISTED:]
    text = f'<ol class="decisions">{"".join(shown_rows)}</ol>'
    if rest:
        text += f'<details><summary>{len(rest)} more</summary><ol class="decisions">{"".join(rest)}</ol></details>'
    return text
