"""A report's page shows what the report says, and takes nothing in it for markup."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs import JsonValue, ReceiptInvalid, ReportInvalid, report_page
from tests.unit.proofs.examples import (
    ANSWER,
    JOB_ID,
    JSON_VALUES,
    SALT,
    UNHURRIED,
    receipt,
    report,
)

TAGS = {
    *("html", "head", "meta", "title", "style", "body"),
    *("h1", "h2", "p", "pre", "table", "tr", "th", "td", "footer"),
}


class _Reader(HTMLParser):
    """Gathers a page's text, its tags and their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def _read(page: bytes) -> _Reader:
    reader = _Reader()
    reader.feed(page.decode("utf-8"))
    reader.close()
    return reader


def test_a_page_shows_request_answer_samples_and_receipt() -> None:
    """Everything of the report, and the receipt's twelve fields with its id."""
    issued = receipt()
    shown = _read(report_page(report(), receipt=issued.to_bytes())).text

    for told in (JOB_ID, ANSWER, "anterolisthesis", "not even JSON", "60% (raw agreement)"):
        assert told in shown
    assert all(str(value) in shown for value in json.loads(issued.to_bytes()).values())
    assert issued.digest in shown


def test_a_page_of_a_report_alone_needs_no_receipt() -> None:
    """It says no word of one."""
    assert "Receipt" not in _read(report_page(report())).text


def test_a_page_does_not_show_the_salt() -> None:
    """A page is passed on sooner than a file; with it a hash could be guessed again."""
    assert SALT.hex() not in report_page(report(salt=SALT)).decode("utf-8")


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "</pre><img src=x onerror=alert(1)>",
        "\"><svg onload='alert(1)'>",
        "</style></title><iframe>",
        "<!-- --><![CDATA[<b>]]>",
        "&lt;b&gt; &amp; &#60;",
    ],
)
def test_markup_in_texts_is_shown_and_never_obeyed(text: str) -> None:
    """In every place where a request or a model can write."""
    document = json.loads(report())
    document["job_id"] = document["answer"] = text
    document["request"] = {text: text, "messages": [{"role": text, "content": text}]}
    document["samples"][0]["text"] = text
    document["companion"].update({"engine": text, "policy": text, text: {text: [text]}})
    document["companion"]["samples"][0]["class"] = text
    page = _read(report_page(json.dumps(document).encode("utf-8")))

    assert page.tags == TAGS
    assert not {name for name in page.attributes if name.startswith(("on", "src", "href"))}
    assert page.text.count(text) >= 9


def test_text_that_hides_or_turns_itself_is_shown_by_its_number() -> None:
    """What a person sees is in the order in which it is stored."""
    shown = _read(
        report_page(report(answer="mild\u202e\u2066evil\x00\x1b[2J\ufeff", samples=[]))
    ).text

    assert "mild<U+202E><U+2066>evil<U+0000><U+001B>[2J<U+FEFF>" in shown


def test_a_page_forbids_itself_scripts_and_loads() -> None:
    """Whatever is wrong with the escaping, nothing is run or fetched."""
    page = report_page(report()).decode("utf-8")

    assert "default-src 'none'; style-src 'unsafe-inline'" in page
    assert "http" not in page.replace("http-equiv", "")


@UNHURRIED
@given(parts=st.dictionaries(st.text(max_size=6), JSON_VALUES, max_size=4))
def test_any_report_has_a_page(parts: dict[str, JsonValue]) -> None:
    """Also one from elsewhere, whose companion has other shapes than ours."""
    document = {**json.loads(report()), "answer": parts, "companion": parts, "request": parts}
    document["samples"] = [parts, *parts.values()]

    assert _read(report_page(json.dumps(document).encode("utf-8"))).tags <= TAGS


def test_what_is_no_report_or_no_receipt_has_no_page() -> None:
    """The reason is the parser's own."""
    with pytest.raises(ReportInvalid, match="lacks job_id"):
        report_page(b'{"v":1}')
    with pytest.raises(ReceiptInvalid, match="lacks job_id"):
        report_page(report(), receipt=b"{}")
