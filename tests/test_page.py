"""The pages for people: every one is there, is sound HTML, says what the knowledge says, and obeys nobody's record."""

import re
from collections.abc import Iterator
from typing import Any

import html5lib
import pytest
from flask.testing import FlaskClient

from cds_service.edge.settings import Settings
from cds_service.edge.web import create_app
from cds_service.knowledge.load import load
from cds_service.model import Position

KNOWLEDGE = load()
XHTML = "{http://www.w3.org/1999/xhtml}"
PATHS = [
    "/knowledge",
    "/knowledge/matrix",
    "/knowledge/facts",
    *(f"/knowledge/section/{section.id}" for section in KNOWLEDGE.sections),
    *(f"/knowledge/review/{section.id}" for section in KNOWLEDGE.sections),
    *(f"/knowledge/option/{option}" for option in KNOWLEDGE.options),
    *(f"/knowledge/source/{source}" for source in KNOWLEDGE.sources),
]


@pytest.fixture(scope="module")
def pages() -> Iterator[FlaskClient]:
    """A client of a service with its pages."""
    app = create_app(site=Settings(sandbox=True))
    yield app.test_client()
    app.extensions["store"].close()


def document(answer: Any) -> Any:
    """The DOM of a page, which has to be HTML without a single error."""
    return html5lib.HTMLParser(strict=True).parse(answer.get_data(as_text=True))


def elements(tree: Any, tag: str) -> list[Any]:
    return tree.findall(f".//{XHTML}{tag}")


def words(element: Any) -> str:
    """The text of an element, white space as a reader sees it."""
    return " ".join("".join(element.itertext()).split())


# THE KNOWLEDGE


@pytest.mark.parametrize("path", PATHS)
def test_every_page_of_the_knowledge_is_sound_html_with_landmarks(pages, path):
    answer = pages.get(path)
    tree = document(answer)

    assert answer.status_code == 200
    assert len(elements(tree, "main")) == len(elements(tree, "h1")) == 1
    assert elements(tree, "nav")
    assert elements(tree, "footer")
    assert words(elements(tree, "title")[0])


def test_no_link_of_the_knowledge_leads_nowhere(pages):
    found = {link for path in PATHS for link in _links(document(pages.get(path)))}

    lost = [link for link in found if link.startswith("/") and pages.get(link).status_code != 200]
    assert not lost


def _links(tree: Any) -> Iterator[str]:
    for link in elements(tree, "a"):
        yield link.get("href").partition("#")[0]


def test_the_matrix_says_of_every_option_who_speaks_for_it_who_against_and_who_is_silent(pages):
    tree = document(pages.get("/knowledge/matrix"))
    rows = {
        elements(row, "a")[0].get("href"): elements(row, "td") for row in elements(tree, "tr") if elements(row, "td")
    }

    assert len(rows) == len(KNOWLEDGE.options)
    for option in KNOWLEDGE.options.values():
        cells = rows[f"/knowledge/option/{option.id}"]
        for source, cell in zip(KNOWLEDGE.sources, cells, strict=False):
            own = {one.position.value for one in option.statements if one.source == source}
            assert {word for word in ("supports", "against", "background") if word in words(cell)} == own
            assert ("silent" in words(cell)) is (not own)
        opposed = {one.position for one in option.statements} >= {Position.SUPPORTS, Position.AGAINST}
        assert ("for and against" in words(cells[-1])) is opposed


@pytest.mark.parametrize("section", list(KNOWLEDGE.sections), ids=lambda one: one.id)
def test_a_review_packet_holds_every_statement_with_its_passage_and_place_to_sign(pages, section):
    text = words(elements(document(pages.get(f"/knowledge/review/{section.id}")), "main")[0])

    assert KNOWLEDGE.digest in text
    assert "Signature" in text
    for option in section.options:
        for one in option.statements:
            source = KNOWLEDGE.sources[one.source]
            assert f"{source.short} {one.passage}" in text
            assert " ".join(source.passages[one.passage].says.split()) in text
    for left in section.not_formalised:
        assert " ".join(left.why.split()) in text


def test_a_source_page_accounts_for_each_of_its_passages(pages):
    for source in KNOWLEDGE.sources.values():
        for item in elements(document(pages.get(f"/knowledge/source/{source.id}")), "li"):
            if item.get("id") in source.passages:
                assert re.search("Cited for|Not formalised", words(item)), (source.id, item.get("id"))


# WHERE THERE ARE PAGES


def test_without_the_setting_there_are_no_pages(client):
    assert client.get("/knowledge").status_code == 404


def test_what_is_not_known_is_a_page_that_says_so(pages):
    answer = pages.get("/knowledge/option/nothing-of-the-kind")

    assert answer.status_code == 404
    assert "Not Found" in words(elements(document(answer), "main")[0])


@pytest.mark.parametrize("path", ["/knowledge", "/knowledge/option/nothing-of-the-kind", "/sandbox/static/page.css"])
def test_a_page_runs_nothing_inline_and_asks_nobody_else(pages, path):
    answer = pages.get(path)
    policy = answer.headers["Content-Security-Policy"]

    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert not re.search(rb"<script(?! src=\"/sandbox/static/)|style=|\son[a-z]+=|src=\"(?!/sandbox)", answer.data)
    answer.close()
