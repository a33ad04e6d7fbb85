"""The pages for people: every one is there, is sound HTML, says what the knowledge says, and obeys nobody's record."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import html5lib
import pytest
from flask.testing import FlaskClient
from support import EXTENSION, INSTANCE, SERVICE_ID, URL, example, patient_view, put_in_prefetch
from test_production import callers
from tokens import PUBLIC_URL

from cds_service.edge.invented import invented
from cds_service.edge.settings import Settings
from cds_service.edge.web import create_app
from cds_service.hooks.catalogue import HOOKS
from cds_service.hooks.lacking import closed
from cds_service.hooks.request import read
from cds_service.hooks.respond import Responder, Trace
from cds_service.hooks.try_out import hook_request
from cds_service.knowledge.load import home, load
from cds_service.model import Position, Status
from cds_service.patient.draft import prefetch
from cds_service.synthetic.record import record
from cds_service.synthetic.story import Story

KNOWLEDGE = load()
PATIENT, RECORD = example("VA-01", "mcode")
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


# THE SANDBOX


def paste(resources: Any) -> str:
    """A record as somebody pastes it."""
    return json.dumps(
        {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": one} for one in resources]}
    )


def call(pages: FlaskClient, **form: str) -> Any:
    """The page of a trial: a chosen or pasted patient, a hook, a drug, assumptions."""
    answer = pages.post("/sandbox/call", data=form)
    assert answer.status_code == 200
    return document(answer)


def json_of(tree: Any, title: str) -> Any:
    """One of the three JSON texts of a trial."""
    return json.loads(
        next("".join(one.itertext()) for one in elements(tree, "pre") if one.get("aria-label") == f"{title} as JSON")
    )


def changed(tree: Any) -> dict[str, tuple[str, str]]:
    """The table of what an assumption changes."""
    part = next(one for one in elements(tree, "section") if one.get("id") == "what-if-part")
    rows = [row for row in elements(part, "tr") if elements(row, "td")]
    link = "/knowledge/option/"
    return {
        elements(row, "a")[0].get("href").removeprefix(link): tuple(words(cell) for cell in elements(row, "td"))
        for row in rows
    }


def test_the_first_page_offers_every_invented_patient_and_one_click_shows_the_cards(pages):
    tree = document(pages.get("/sandbox"))
    fields = {one.get("name"): one for one in elements(tree, "select")}
    patients = [one.get("value") for one in elements(fields["patient"], "option")]

    assert len(patients) >= 20
    for patient in patients[::5]:
        shown = call(pages, patient=patient, hook="patient-view")
        answer = json_of(shown, "Response")
        assert len(elements(shown, "article")) == len(answer["cards"])
        for card in answer["cards"]:
            assert card["summary"] in words(elements(shown, "main")[0])


@pytest.mark.parametrize("hook", [hook.name for hook in HOOKS])
def test_every_hook_of_the_catalogue_is_answered_as_its_service_answers(pages, hook):
    shown = call(pages, pasted=paste(RECORD), hook=hook, drug="letrozole")
    request = json_of(shown, "Request")
    service = next(one.service for one in HOOKS if one.name == hook)
    answer = pages.post(f"/cds-services/{service}", json=request).get_json()

    assert answer["cards"]
    assert answer == json_of(shown, "Response")


def test_a_pasted_request_is_called_as_it_stands(pages, services):
    request = patient_view(PATIENT, put_in_prefetch(RECORD, PATIENT, services))

    shown = call(pages, pasted=json.dumps(request), hook="order-select")

    assert json_of(shown, "Request") == request
    assert json_of(shown, "Response") == pages.post(URL, json=request).get_json()


def test_the_account_of_every_option_stands_on_the_page(pages):
    shown = call(pages, pasted=paste(RECORD))
    told = json_of(shown, "Account")
    boxes = {words(elements(one, "summary")[0]): words(one) for one in elements(shown, "details")}

    for option in told["options"]:
        text = next(text for head, text in boxes.items() if head.startswith(option["label"]))
        for one in option["statements"]:
            assert " ".join(one["why"].split()) in text
    for fact in told["facts"]:
        for reading in fact["readings"]:
            assert reading["reference"] in words(elements(shown, "main")[0])


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({}, "no patient"),
        ({"pasted": "{"}, "not JSON"),
        ({"pasted": "[1]"}, "no Patient"),
        ({"pasted": "1"}, "neither an object nor a list"),
        ({"pasted": '{"hook": "patient-view"}'}, "hookInstance"),
        ({"pasted": '{"hook": "no-such-hook"}'}, "a hook that no service answers"),
        ({"pasted": '{"resourceType": "Bundle"}'}, "no Patient"),
        ({"patient": "nobody"}, "no patient"),
        ({"pasted": "RECORD", "hook": "order-select"}, "no draft drug"),
    ],
)
def test_what_cannot_be_answered_is_said_on_the_page(pages, form, said):
    answer = pages.post(
        "/sandbox/call", data={key: paste(RECORD) if one == "RECORD" else one for key, one in form.items()}
    )

    assert answer.status_code == 400
    assert said in words(elements(document(answer), "main")[0])


@pytest.mark.parametrize(
    "form", [{"hook": "no-such-hook"}, {"drug": "no-such-drug"}, {"if-her2": "purple"}, {"if-no-such-fact": "yes"}]
)
def test_a_choice_that_the_page_does_not_offer_is_refused(pages, form):
    assert pages.post("/sandbox/call", data={"pasted": paste(RECORD), **form}).status_code == 400


# WHAT IF


def test_an_assumption_shows_what_comes_and_what_goes(pages):
    shown = call(pages, **{"pasted": paste(RECORD), "if-her2": "positive", "if-menopause": "premenopausal"})
    told = json_of(shown, "Account")
    before = {one["option"]: one["status"] for one in told["options"]}

    rows = changed(shown)
    assert rows["letrozole"] == ("supported", "not-supported")
    assert rows["ovarian-removal"] == ("not-supported", "supported")
    assert rows["trastuzumab+chemotherapy"][0] == "not-supported" != rows["trastuzumab+chemotherapy"][1]
    assert all(before[option] == then for option, (then, _) in rows.items())


def test_assuming_what_is_on_record_changes_nothing(pages):
    told = json_of(call(pages, pasted=paste(RECORD)), "Account")
    values = {one["fact"]: one["value"] for one in told["facts"]}
    same = {f"if-{name}": values[name] for name in ("er", "pr", "hr", "her2", "sex", "brca", "fitness", "calcium")}

    assert changed(call(pages, pasted=paste(RECORD), **same)) == {}


STORIES = invented(KNOWLEDGE)
#: an assumption that says the same as a word of a story
SAME = [
    *((fact, answer, answer) for fact in ("er", "pr", "her2") for answer in ("positive", "negative")),
    ("menopause", "premenopausal", "premenopausal"),
    ("menopause", "postmenopausal, naturally", "postmenopausal"),
    ("menopause", "postmenopausal, by treatment", "induced"),
    *(("fitness", answer, answer) for answer in ("fit", "unfit")),
    *(("calcium", answer, answer) for answer in ("high", "low")),
    ("sex", "male", "male"),
]


@pytest.mark.parametrize(("fact", "assumed", "told"), SAME)
def test_an_assumption_gives_the_statuses_of_a_record_that_says_so(responder, fact, assumed, told):
    for story in STORIES.stories:
        if fact == "sex" and "menopause" in story.facts:
            continue  # that story cannot be told of a man
        if "naturally" in assumed and _trace(responder, story, {}).facts["ovarian-suppression"].value == "yes":
            continue  # such a record leaves the cause of the menopause open; the assumption settles it
        other = replace(story, facts={**story.facts, fact: told})

        assert _statuses(responder, story, {fact: assumed}) == _statuses(responder, other, {}), story.id


def _statuses(responder: Responder, story: Story, assumed: dict[str, str]) -> dict[str, Status]:
    """The status of every option, by the record of a story and under assumptions."""
    return {one.option: one.status for one in _trace(responder, story, assumed).verdicts}


def _trace(responder: Responder, story: Story, assumed: dict[str, str]) -> Trace:
    resources = record(story, STORIES.vocabulary)
    delivered = prefetch(resources, story.id, responder.needs)
    request = hook_request(HOOKS[0], INSTANCE, story.id, delivered, None)
    return responder.trace(read(request, HOOKS[0], home()[1]), closed, assumed)


def test_an_assumption_that_closes_the_gate_takes_every_card_away(pages):
    rows = changed(call(pages, **{"pasted": paste(RECORD), "if-deceased": "yes"}))

    assert rows["letrozole"] == ("supported", "no card")
    assert {after for _, after in rows.values()} == {"no card"}


# FEEDBACK


def test_feedback_from_the_page_is_counted(pages):
    shown = call(pages, pasted=paste(RECORD))
    card = json_of(shown, "Response")["cards"][0]
    before = _overridden(pages)
    form = {"service": SERVICE_ID, "card": card["uuid"], "reason": "patient-preference"}

    answer = pages.post("/sandbox/feedback", data=form)

    assert (answer.status_code, answer.headers["Location"]) == (303, "/sandbox/feedback")
    assert _overridden(pages) == before + 1
    page = words(elements(document(pages.get("/sandbox/feedback")), "main")[0])
    assert "patient-preference" in page
    assert card["extension"][EXTENSION]["options"][0]["option"] in page


def _overridden(pages: FlaskClient) -> int:
    found = re.search(r"([0-9]+) overridden", words(document(pages.get("/sandbox/feedback"))))
    assert found
    return int(found[1])


@pytest.mark.parametrize("changed", [{"service": "none"}, {"reason": "none"}, {"card": "<b>"}])
def test_feedback_that_the_page_does_not_offer_is_refused(pages, changed):
    form = {"service": SERVICE_ID, "card": INSTANCE, "reason": "patient-preference", **changed}

    assert pages.post("/sandbox/feedback", data=form).status_code == 400


# SAFETY


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://elsewhere.example"},
        {"Origin": "http://localhost:9999"},
        {"Origin": "null"},
    ],
)
@pytest.mark.parametrize("path", ["/sandbox/call", "/sandbox/feedback"])
def test_what_another_site_posts_is_refused(pages, path, headers):
    assert pages.post(path, data={"pasted": paste(RECORD)}, headers=headers).status_code == 403


@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Site": "same-origin", "Origin": "null"}, {"Origin": "http://localhost"}]
)
def test_what_the_page_itself_posts_is_taken(pages, headers):
    assert pages.post("/sandbox/call", data={"pasted": paste(RECORD)}, headers=headers).status_code == 200


HOSTILE = (
    "</textarea></code></script><script>alert(1)</script><img src=http://evil.example/a onerror=alert(2)> "
    "[win](javascript:alert(3)) [go](http://evil.example/b) ![pic](http://evil.example/c) <b title='x'>bold</b> "
    "{{7*7}} ‮esrever‬ ⁦hidden⁩ ​&lt;i&gt;"
)
#: elements whose words are shown or read; what they say for the reading of the record stays in front
SPOKEN = {"text", "display", "family", "div", "valueString", "comment", "description", "title"}


def made_hostile(value: Any, name: str = "") -> Any:
    """A record with markup, Markdown and hidden characters after every word that it brings, names and notes added."""
    if isinstance(value, dict):
        spoilt = {key: made_hostile(one, key) for key, one in value.items()}
        if "resourceType" in value:
            spoilt |= {"note": [{"text": HOSTILE}], "text": {"status": "generated", "div": HOSTILE}}
        if value.get("resourceType") == "Patient":
            spoilt |= {"name": [{"family": HOSTILE, "given": [HOSTILE]}]}
        return spoilt
    if isinstance(value, list):
        return [made_hostile(one, name) for one in value]
    return f"{value} {HOSTILE}" if name in SPOKEN and isinstance(value, str) else value


@pytest.mark.parametrize("style", ["mcode", "uscore", "text"])
@pytest.mark.parametrize("hook", ["patient-view", "order-select"])
def test_a_hostile_record_shows_as_text_everywhere(pages, style, hook):
    _, record = example("VA-01", style)
    answer = pages.post(
        "/sandbox/call", data={"pasted": paste(made_hostile(record)), "hook": hook, "drug": "letrozole"}
    )
    harmless = pages.post("/sandbox/call", data={"pasted": paste(record), "hook": hook, "drug": "letrozole"})
    tree, text = document(answer), answer.get_data(as_text=True)

    assert "evil.example" in words(elements(tree, "body")[0])
    assert not re.search("[​-‏‪-‮⁦-⁩]", text)
    assert _kinds(tree) <= _kinds(document(harmless))
    assert len(elements(tree, "script")) == 1
    assert not [link for link in _links(tree) if "evil" in link or link.startswith("javascript")]


def _kinds(tree: Any) -> set[tuple[str, tuple[str, ...]]]:
    """Every kind of element with the names of its attributes."""
    return {(one.tag, tuple(sorted(one.keys()))) for one in tree.iter() if isinstance(one.tag, str)}


def test_nothing_pasted_is_logged(pages, caplog, capfd):
    with caplog.at_level("DEBUG"):
        pages.post("/sandbox/call", data={"pasted": paste(made_hostile(RECORD))})
        pages.post("/sandbox/call", data={"pasted": "{evil.example"})
    out = capfd.readouterr()

    assert "evil" not in caplog.text + out.out + out.err


# WHERE THERE ARE PAGES


def test_with_callers_there_are_no_pages(tmp_path):
    site = Settings(sandbox=True, callers=callers(tmp_path), public_url=PUBLIC_URL)
    app = create_app(site=site)

    assert not [rule for rule in app.url_map.iter_rules() if rule.rule in ("/sandbox", "/knowledge")]
    app.extensions["store"].close()


@pytest.mark.parametrize("path", ["/sandbox", "/knowledge", "/sandbox/static/page.css"])
def test_the_pages_are_for_this_machine_only(pages, path):
    elsewhere = pages.get(path, environ_overrides={"REMOTE_ADDR": "192.0.2.7"})

    assert elsewhere.status_code == 403
    assert pages.get(path, headers={"Host": "rebound.example"}).status_code == 403


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
