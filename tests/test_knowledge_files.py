"""The knowledge files: what strict reading refuses, and what follows from a change of a file alone."""

import shutil
from pathlib import Path

import pytest

from cds_service.errors import KnowledgeError
from cds_service.hooks.discovery import discovery
from cds_service.knowledge.coverage import coverage
from cds_service.knowledge.load import home, load
from cds_service.knowledge.strict_yaml import read_yaml


@pytest.fixture
def cards(tmp_path):
    return Path(shutil.copytree(home()[0], tmp_path / "cards"))


def replace(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def problems(cards):
    with pytest.raises(KnowledgeError) as caught:
        load(cards)
    return "\n".join(str(problem) for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("code: 72965", "'72965', a number"),
        ("code: 0123", "a number"),
        ("code: 1.50", "a number"),
        ("on: 2024-05-01", "a date"),
        ("code: 12:30", "a number"),
        ("code: ~", "an empty value"),
        ("code:", "an empty value"),
        ("a: 1\na: 2", "the key 'a' twice"),
        ("a: &x 1\nb: *x", "an alias"),
        ("a: !!python/object:os.system x", "tag"),
        ("a: [1", "expected"),
        ("", "an empty file"),
        ("? [a]\n: b", "as key"),
    ],
)
def test_strict_yaml_refuses_what_would_surprise_a_reviewer(text, found):
    _, faults = read_yaml(text, "x.yaml")

    assert faults
    assert any(found in str(fault) or found in fault.found for fault in faults)


def test_strict_yaml_keeps_words_as_they_are_read():
    value, faults = read_yaml("a: no\non: yes\nb: true\nc: 12\nd: '72965'", "x.yaml")

    assert not faults
    assert value == {"a": "no", "on": "yes", "b": True, "c": 12, "d": "72965"}


@pytest.mark.parametrize(
    ("file", "old", "new", "found"),
    [
        ("systemic-treatment/immunotherapy.yaml", "passage: L122", "passage: L123", "'L123'"),
        ("systemic-treatment/immunotherapy.yaml", "source: healthline", "source: wikipedia", "'wikipedia'"),
        ("systemic-treatment/immunotherapy.yaml", "triple-negative", "triple-negativ", "'triple-negativ'"),
        ("systemic-treatment/immunotherapy.yaml", "position: supports", "position: recommends", "'recommends'"),
        ("systemic-treatment/immunotherapy.yaml", "position: supports", "position: background", "no statement that"),
        ("systemic-treatment/immunotherapy.yaml", "parts: [atezolizumab", "parts: [atezolizumob", "'atezolizumob'"),
        ("systemic-treatment/fulv.yaml", "", "", ""),
        ("drugs/letrozole.yaml", "drug: letrozole", "drug: letrozol", "'letrozol'"),
        ("drugs/letrozole.yaml", "aromatase-inhibitor", "aromatase-inhibitors", "'aromatase-inhibitors'"),
        ("drugs/letrozole.yaml", "system: rxnorm", "system: rxnrm", "'rxnrm'"),
        ("facts/er.yaml", 'answer: "positive"', 'answr: "positive"', "answr"),
        ("conditions.yaml", "when: {all: [hr-negative", "when: {al: [hr-negative", "expected a condition named"),
        ("sources/ccs-stage-4.yaml", "passage: L17,", "passage: L13,", "L13 2 times"),
    ],
)
def test_a_mistake_in_a_file_is_reported_with_file_found_and_expected(cards, file, old, new, found):
    if not old:
        shutil.copy(cards / "systemic-treatment/immunotherapy.yaml", cards / "systemic-treatment/twice.yaml")
        replace(cards / "systemic-treatment/twice.yaml", "section: immunotherapy", "section: twice")
        assert "2 times; expected each option once" in problems(cards)
        return
    replace(cards / file, old, new)

    told = problems(cards)

    assert found in told
    assert file.rpartition("/")[2].removesuffix(".yaml") in told or "cards" in told


def test_deleting_a_section_changes_discovery_with_no_other_edit(cards):
    before = discovery(load(cards))["services"][0]
    (cards / "sites-and-symptoms" / "bone-medicines.yaml").unlink()

    after = discovery(load(cards))["services"][0]

    assert "bone medicines" in before["description"]
    assert "bone medicines" not in after["description"]


def test_prefetch_asks_only_for_what_the_remaining_sections_read(cards):
    before = discovery(load(cards))["services"][0]["prefetch"]
    (cards / "sites-and-symptoms" / "bone-medicines.yaml").unlink()

    after = discovery(load(cards))["services"][0]["prefetch"]

    calcium = "17861-6"
    assert calcium in before["observations"]
    assert calcium not in after["observations"]


def test_deleting_a_folder_of_sections_leaves_a_service_with_fewer_cards(cards):
    shutil.rmtree(cards / "care-and-trials")

    assert [card.id for card in load(cards).cards] == ["systemic-treatment", "sites-and-symptoms"]


def test_the_digest_of_the_knowledge_changes_with_any_file(cards):
    before = load(cards).digest
    replace(cards / "drugs" / "letrozole.yaml", "label: Letrozole", "label: Letrozol")

    assert load(cards).digest != before


def test_every_statement_says_at_most_what_its_passage_says_in_at_most_25_words(cards):
    for source in load(cards).sources.values():
        for passage in source.passages.values():
            assert len(passage.says.split()) <= 25


def test_what_a_fact_builds_on_is_asked_for_too(cards):
    """HR follows from ER and PR: no statement asks for PR, and its results are needed all the same."""
    knowledge = load(cards)

    assert {"er", "pr", "hr"} <= set(knowledge.facts_asked)
    assert "85339-0" in discovery(knowledge)["services"][0]["prefetch"]["observations"]


@pytest.mark.parametrize(
    ("file", "old", "new", "found"),
    [
        ("effects.yaml", "of: denosumab", "of: denosumap", "a drug or a class"),
        ("effects.yaml", "passage: L58", "passage: L59", "a passage of cards/sources/webmd-2017-11.yaml"),
        ("effects.yaml", "kind: monitoring", "kind: dose", "enum"),
        ("override-reasons.yaml", "display: ", "shows: ", "the keys of its schema"),
        ("override-reasons.yaml", "https://", "http://", "pattern"),
    ],
)
def test_effects_and_override_reasons_are_checked_like_everything_else(cards, file, old, new, found):
    replace(cards / file, old, new)

    assert found in problems(cards)


def test_a_reason_to_override_is_one_line_of_a_file(cards):
    replace(
        cards / "override-reasons.yaml", "reasons:\n", 'reasons:\n  - {code: other, display: "Other", means: "-"}\n'
    )

    assert load(cards).override_reasons[0].code == "other"


def test_a_passage_cited_only_for_a_side_effect_is_accounted_for(cards):
    replace(cards / "effects.yaml", "passage: L35", "passage: L36")

    left = {row.source: row.left_over for row in coverage(load(cards))}
    assert left == {**dict.fromkeys(left, ()), "healthline": ("L35",)}
