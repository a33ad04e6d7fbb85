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
