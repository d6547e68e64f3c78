"""A report as a page that a person can open: one HTML file, no scripts, nothing from elsewhere.

The page shows what the report says and vouches for nothing; its bytes are hashed nowhere. Whatever
a request or a model wrote is text on it: every character that HTML could take for markup is
escaped, controls that turn or hide text are shown by their number, and the page forbids itself
scripts and every load.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from proofs.canonical import JsonValue
from proofs.receipt import Receipt
from proofs.report import parse_report

# Controls, and the marks by which text is shown in another order than it is stored in.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]"
)

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --mark: #b26b00; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin: 0; } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
p.about { color: #777; margin: .25rem 0 1.5rem; overflow-wrap: anywhere; }
pre { background: var(--soft); border: 1px solid var(--line); border-radius: 6px; margin: 0;
  overflow-wrap: anywhere; padding: .75rem 1rem; white-space: pre-wrap; }
pre.answer { border-left: 4px solid var(--mark); font-size: 1.05rem; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: .35rem .6rem .35rem 0; text-align: left;
  vertical-align: top; }
th { font-weight: 600; white-space: nowrap; width: 1%; }
td { overflow-wrap: anywhere; } td pre { padding: .4rem .6rem; }
.samples th:nth-child(3) { width: 22%; } .samples th:nth-child(4) { width: auto; }
tr.other td, tr.other th { opacity: .75; }
footer { border-top: 1px solid var(--line); color: #777; margin: 2.5rem 0 1rem;
  padding-top: .5rem; }
@media print { body { margin: 0; max-width: none; } }
"""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def report_page(report: bytes, *, receipt: bytes | None = None) -> bytes:
    """Return the HTML page of a report, and of its receipt where that is given.

    Raises:
        ReportInvalid: The report cannot be read.
        ReceiptInvalid: The receipt cannot be read.
    """
    document = parse_report(report)
    companion = _mapping(document["companion"])
    issued = None if receipt is None else Receipt.from_bytes(receipt)
    title = f"Report of job {_shown(document['job_id'])}"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="referrer" content="no-referrer">',
        f"<title>{title}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{title}</h1>",
        f'<p class="about">{_about(companion, issued)}</p>',
        "<h2>Answer</h2>",
        f'<pre class="answer" dir="auto">{_shown(document["answer"])}</pre>',
        "<h2>How sure it is</h2>",
        _table(_verdict(companion)),
        "<h2>Request</h2>",
        _table(_mapping(document["request"]).items()),
        f"<h2>Samples ({len(_list(document['samples']))})</h2>",
        _samples(document, companion),
        "<h2>How it was drawn</h2>",
        _table(_drawing(companion)),
    ]
    if issued is not None:
        told = json.loads(issued.to_bytes())
        parts += ["<h2>Receipt</h2>", _table([("receipt id", issued.digest), *told.items()])]
    parts.append(
        "<footer>This page shows a report. What counts is the report's own file, whose digest the"
        " receipt holds.</footer></body></html>"
    )
    return ("\n".join(parts) + "\n").encode("utf-8")


def _about(companion: Mapping[str, JsonValue], issued: Receipt | None) -> str:
    told = [f"{companion.get('engine')} {companion.get('engine_version')}"]
    told.append(f"on {companion.get('device')}")
    if issued is not None:
        told.insert(0, f"{issued.model},")
        told.append(f"by {issued.worker_ens}, {issued.timestamp}")
    return _shown(" ".join(told))


def _verdict(companion: Mapping[str, JsonValue]) -> Iterable[tuple[str, JsonValue]]:
    confidence = companion.get("confidence")
    if isinstance(confidence, int | float) and not isinstance(confidence, bool):
        measure = "calibrated" if companion.get("confidence_calibrated") else "raw agreement"
        yield "confidence", f"{confidence:.0%} ({measure})"
    for name in ("decision", "review_reasons", "stop_reason", "policy", "rounds"):
        yield name, companion.get(name)


def _drawing(companion: Mapping[str, JsonValue]) -> Iterable[tuple[str, JsonValue]]:
    shown = {"confidence", "decision", "review_reasons", "stop_reason", "policy", "rounds"}
    for name, value in companion.items():
        if name not in shown and name != "samples":
            yield name, value


def _samples(document: Mapping[str, JsonValue], companion: Mapping[str, JsonValue]) -> str:
    recorded = {
        _shown(one.get("index")): one for one in map(_mapping, _list(companion.get("samples")))
    }
    rows = ['<table class="samples"><tr><th>#</th><th>seed</th><th>class</th><th>text</th></tr>']
    for sample in map(_mapping, _list(document["samples"])):
        index = _shown(sample.get("index"))
        own = recorded.get(index, {})
        chosen = sample.get("text") == document["answer"]
        rows.append(
            f'<tr class="{"chosen" if chosen else "other"}"><th>{index}</th>'
            f"<td>{_shown(own.get('seed'))}</td>"
            f"<td>{_shown(own.get('class') if own.get('valid') else 'invalid')}</td>"
            f'<td><pre dir="auto">{_shown(sample.get("text"))}</pre></td></tr>'
        )
    return "\n".join([*rows, "</table>"])


def _table(rows: Iterable[tuple[str, JsonValue]]) -> str:
    cells = (
        f"<tr><th>{_shown(name)}</th><td>{_cell(value)}</td></tr>"
        for name, value in rows
        if value is not None and value != []
    )
    return "\n".join(["<table>", *cells, "</table>"])


def _cell(value: JsonValue) -> str:
    if isinstance(value, str) and "\n" not in value and len(value) <= 100:
        return _shown(value)
    if isinstance(value, list) and all(isinstance(one, str | int | float) for one in value):
        return _shown(", ".join(map(str, value)))
    if isinstance(value, list) and all(_is_turn(one) for one in value):
        return "".join(map(_turn, map(_mapping, value)))
    if isinstance(value, str | list | dict):
        return f'<pre dir="auto">{_shown(value)}</pre>'
    return _shown(value)


def _is_turn(value: JsonValue) -> bool:
    texts = _mapping(value)
    return set(texts) == {"role", "content"} and all(isinstance(one, str) for one in texts.values())


def _turn(turn: Mapping[str, JsonValue]) -> str:
    return f'{_shown(turn["role"])}<pre dir="auto">{_shown(turn["content"])}</pre>'


def _shown(value: JsonValue | Any) -> str:
    """A value as text that HTML takes for nothing but text."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
    numbered = _UNSEEN.sub(lambda found: f"<U+{ord(found[0]):04X}>", text.replace("\r\n", "\n"))
    return html.escape(numbered, quote=True)


def _mapping(value: JsonValue) -> Mapping[str, JsonValue]:
    return value if isinstance(value, dict) else {}


def _list(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []
