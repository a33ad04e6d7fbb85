"""Ledger F: what a call is answered with."""

import copy
import re
import uuid
from urllib.parse import urlsplit

import pytest
from calls import request, walk
from support import INSTANCE, URL

LINES = re.compile(r"(  )?- .+|\*\*[^*]+\*\*|_[^_]+_|[^-*_#>|`<\s].*|")
HOSTILE = "<img src=x onerror=alert(1)> [click](http://evil.example) `code` **bold**\n# heading"


@pytest.fixture(scope="module")
def answers(everything):
    """The answers to calls that succeeded."""
    return [one for one in everything if one.status == 200 and "cards" in one.body]


def members(body):
    """The names of all members anywhere in a body."""
    return {path.rpartition(".")[2] for path, _ in walk(body)}


def hostile(prefetch):
    """The same record with text that would like to be markup."""
    changed = copy.deepcopy(prefetch)
    for held in changed.values():
        for entry in held.get("entry", ()):
            resource = entry["resource"]
            resource["note"] = [{"text": HOSTILE}]
            for coding in resource.get("code", {}).get("coding", ()):
                coding["display"] = HOSTILE
            resource.get("code", {})["text"] = f"{resource.get('code', {}).get('text', '')} {HOSTILE}"
    changed["patient"]["name"] = [{"text": HOSTILE}]
    return changed


def test_ch_100_cards_is_an_array(answers):
    assert len(answers) > 30
    assert all(isinstance(answer.body["cards"], list) for answer in answers)


def test_ch_101_nothing_to_say_is_an_empty_array(answers):
    said = {answer.asked: answer.body["cards"] for answer in answers}

    assert said["no drug"] == []
    assert said["no cancer"] == []
    assert said["patient-view"] != []


def test_ch_102_134_140_141_142_143_144_no_action_is_ever_sent(answers):
    for answer in answers:
        assert not {"systemActions", "actions", "resource", "resourceId"} & members(answer.body)


def test_ch_109_110_111_130_131_132_133_no_suggestion_is_ever_sent(answers):
    for answer in answers:
        assert not {"suggestions", "selectionBehavior", "isRecommended"} & members(answer.body)


def test_ch_103_a_card_has_a_uuid_of_its_own_for_each_call(client, prefetch, cards):
    for card in cards:
        assert str(uuid.UUID(card["uuid"])) == card["uuid"]
    seen = []
    for instance in (INSTANCE, f"{INSTANCE[:-1]}f"):
        body = {**request(prefetch=prefetch), "hookInstance": instance}
        seen += [card["uuid"] for card in client.post(URL, json=body).get_json()["cards"]]
    assert len(seen) == len(set(seen)) == 6


def test_ch_104_a_summary_is_shorter_than_140_characters(cards):
    assert all(0 < len(card["summary"]) < 140 and "\n" not in card["summary"] for card in cards)


def test_ch_105_a_detail_is_markdown_of_paragraphs_lists_and_links(cards):
    for card in cards:
        for line in card["detail"].split("\n"):
            assert LINES.fullmatch(line), line
        for target in re.findall(r"\]\(([^)]*)\)", card["detail"]):
            assert target.startswith("https://")


def test_ch_105_106_text_of_the_record_shapes_no_card(client, prefetch):
    usual = client.post(URL, json=request(prefetch=prefetch)).get_json()["cards"]
    told = client.post(URL, json=request(prefetch=hostile(prefetch))).get_json()["cards"]

    assert told
    assert usual
    for card in told:
        assert not re.search("evil|click|onerror|heading|<", card["summary"] + card["detail"])


def test_ch_106_no_detail_holds_html(cards):
    assert not [card["detail"] for card in cards if re.search(r"<|&[a-z]+;|&#", card["detail"])]


def test_ch_107_the_indicator_is_info(cards):
    assert {card["indicator"] for card in cards} == {"info"}


def test_ch_108_120_every_card_names_its_source(cards):
    for card in cards:
        assert isinstance(card["source"]["label"], str)
        assert card["source"]["label"].strip()


@pytest.mark.parametrize("field", ["url", "icon", "topic"])
def test_ch_121_122_123_a_source_is_its_label_alone(cards, field):
    assert not any(field in card["source"] for card in cards)


def test_ch_112_override_reasons_are_codings_with_a_display(cards):
    for card in cards:
        assert card["overrideReasons"]
        for reason in card["overrideReasons"]:
            assert set(reason) == {"code", "system", "display"}
            assert all(isinstance(value, str) and value for value in reason.values())


def test_ch_113_150_151_links_are_absolute_and_lead_to_sources(cards):
    links = [link for card in cards for link in card.get("links", ())]

    assert links
    for link in links:
        assert set(link) == {"label", "url", "type"}
        assert link["type"] == "absolute"
        assert urlsplit(link["url"]).scheme == "https"
        assert urlsplit(link["url"]).hostname
        assert link["label"].strip()


def test_ch_152_153_no_app_is_linked(answers):
    for answer in answers:
        assert not {"appContext", "autolaunchable"} & members(answer.body)


def test_ch_154_an_extension_is_an_object(answers, cards):
    held = [card["extension"] for card in cards]
    held += [answer.body["extension"] for answer in answers if "extension" in answer.body]

    assert len(held) > len(cards)
    assert all(isinstance(one, dict) for one in held)
