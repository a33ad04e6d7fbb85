"""What the README shows is what the service does."""

import json
import re
from pathlib import Path

import pytest

from cds_service.hooks.catalogue import HOOKS
from cds_service.hooks.request import parse
from cds_service.hooks.respond import Responder
from cds_service.knowledge.load import home, load

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
REQUEST = (ROOT / "tests" / "data" / "example-request.json").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def card():
    responder = Responder(load())
    return responder.respond(parse(REQUEST.encode(), HOOKS[0], home()[1]))["cards"][0]


def test_the_request_shown_is_the_file_that_curl_posts():
    assert f"```json\n{REQUEST}```" in README
    assert "tests/data/example-request.json" in README


def test_the_card_shown_is_the_card_that_comes_back(card):
    shown = re.search(r"<!-- card -->\n(.*)\n<!-- /card -->", README, re.DOTALL)

    assert shown is not None
    assert shown.group(1) == card["detail"]
    assert f"> {card['summary']}" in README


def test_the_option_shown_is_one_of_the_extension(card):
    blocks = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", README, re.DOTALL)]

    assert blocks[1] in card["extension"]["org.cds-service"]["options"]


def test_the_list_of_cards_and_sources_comes_from_the_knowledge():
    knowledge = load()
    rows = re.findall(r"^\| ([^|]+?) \| ([^|]+?) \| (\d+) \|$", README, re.MULTILINE)

    assert [(card, section) for card, section, _ in rows] == [
        (card.title, section.title) for card in knowledge.cards for section in card.sections
    ]
    assert sum(int(count) for _, _, count in rows) == len(knowledge.options)
    for source in knowledge.sources.values():
        assert f"| `{source.id}` | {source.title} | {source.publisher} | {source.dated} |" in README


def test_every_service_and_command_named_exists():
    assert f"/cds-services/{HOOKS[0].service}" in README
    commands = set(re.findall(r"cds-service\s(serve|check|explain|sources verify|sources coverage)", README))
    assert commands == {"serve", "check", "explain", "sources verify", "sources coverage"}


def test_the_terminologies_are_attributed():
    for name in ("SNOMED", "LOINC", "RxNorm", "ICD-10", "ATC"):
        assert name in README


def test_the_card_tells_what_was_read_from_what_silence_was_taken_for(card):
    first = card["detail"].split("\n", 1)[0]
    on_record, silent, absent = re.split(r" Looked for and not recorded, read as none: | Not on record: ", first)

    assert "HER2 negative" in on_record
    assert "suppression" not in on_record
    assert {"ovarian suppression", "medicines so far", "contraindications"} <= set(silent.rstrip(".").split(", "))
    assert "menopause" in absent


def test_a_result_that_settles_nothing_is_not_called_absent(client):
    call = json.loads(REQUEST)
    for entry in call["prefetch"]["laboratory"]["entry"]:
        if entry["resource"]["id"] == "o3":
            entry["resource"]["valueCodeableConcept"] = {"text": "equivocal"}
    detail = client.post("/cds-services/stage-4-breast-cancer-options", json=call).get_json()["cards"][0]["detail"]

    assert "On record but not clear: HER2." in detail
    assert "HER2 not on record" not in detail
    assert "HER2 on record, leaving it open (equivocal on record)" in detail
