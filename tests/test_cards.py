"""What goes over the wire: the contract of a card, and that its text holds for every combination of facts."""

import itertools
import json
import re
from collections import Counter
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from cds_service.hooks.catalogue import HOOKS
from cds_service.hooks.markdown import SUMMARY_LIMIT, summary
from cds_service.hooks.request import read
from cds_service.hooks.respond import Responder
from cds_service.knowledge.load import home, load
from cds_service.model import Status

ROOT = Path(__file__).resolve().parent.parent
BUNDLES = sorted((ROOT / "tests" / "patients").glob("*.*.json"))
FACTS = {
    "er", "pr", "hr", "her2", "menopause", "ovarian-suppression", "brca", "sex", "sites", "visceral-symptoms",
    "prior-medications", "progressed-on", "lines", "contraindications", "refusals", "fitness", "calcium", "symptoms",
    "extent",
}  # fmt: skip
RESPONSE = Draft202012Validator(json.loads((home()[1] / "hooks" / "response.schema.json").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def made():
    return Responder(load())


def answer(made, bundle, instance="6f0f4c0e-7a40-4b53-8f0a-0a3f9c2c6a10", withheld=""):
    patient = next(e["resource"]["id"] for e in bundle["entry"] if e["resource"]["resourceType"] == "Patient")
    prefetch = {}
    for need in (one for one in made.needs if one.type != withheld):
        fitting = [e for e in bundle["entry"] if e["resource"]["resourceType"] in (need.type, "Medication")]
        prefetch[need.key] = {"resourceType": "Bundle", "type": "searchset", "entry": fitting}
    call = {
        "hook": "patient-view",
        "hookInstance": instance,
        "context": {"userId": "Practitioner/1", "patientId": patient},
        "prefetch": prefetch,
    }
    return made.respond(read(call, HOOKS[0], home()[1]))


@pytest.mark.parametrize("path", BUNDLES, ids=lambda path: path.stem)
def test_every_answer_keeps_the_contract(made, path):
    given = answer(made, json.loads(path.read_text(encoding="utf-8")))

    assert not list(RESPONSE.iter_errors(given))
    assert len(given["cards"]) <= 3
    extensions = [card["extension"]["org.cds-service"] for card in given["cards"]]
    listed = [entry for extension in extensions for entry in extension["options"]]
    assert max(Counter(entry["option"] for entry in listed).values(), default=1) == 1
    assert sum("facts" in extension for extension in extensions) == (1 if extensions else 0)
    for extension in extensions:
        for entry in extension["options"]:
            assert {one["fact"] for one in entry["because"]} | set(entry["missing"]) <= FACTS
            assert entry["citations"]
        assert {one["fact"] for one in extension.get("facts", [])} <= FACTS


@pytest.mark.parametrize("path", BUNDLES, ids=lambda path: path.stem)
def test_text_and_extension_of_a_card_never_disagree(made, path):
    options = made.knowledge.options
    for card in answer(made, json.loads(path.read_text(encoding="utf-8")))["cards"]:
        entries = card["extension"]["org.cds-service"]["options"]
        headings = {"**Supported**": "supported", "**Sources differ**": "differs"}
        headings["**Depends on a missing fact**"] = "needs-data"
        blocks = {block.splitlines()[0]: block for block in card["detail"].split("\n\n")}
        for heading, status in headings.items():
            wanted = [options[entry["option"]].label for entry in entries if entry["status"] == status]
            assert (heading in blocks) == bool(wanted)
            for label in wanted:
                assert label in blocks[heading]
        counted = re.search(r"(\d+) supported", card["summary"])
        assert counted is not None
        assert int(counted.group(1)) == sum(entry["status"] == "supported" for entry in entries)


def test_the_same_call_gives_the_same_bytes_and_another_instance_other_card_ids(made):
    bundle = json.loads(BUNDLES[0].read_text(encoding="utf-8"))

    assert json.dumps(answer(made, bundle)) == json.dumps(answer(Responder(load()), bundle))
    ids = {card["uuid"] for instance in ("a", "b") for card in answer(made, bundle, instance)["cards"]}
    assert len(ids) == 2 * len(answer(made, bundle)["cards"])


def test_a_summary_fits_for_every_combination_of_facts_the_knowledge_can_produce(made):
    """Every value of the facts it names, every split of a card's options over the statuses."""
    for plan in made.knowledge.cards:
        size = sum(len(section.options) for section in plan.sections)
        values = [possible(made.knowledge, fact) for fact in plan.summary_facts]
        splits = [
            {Status.SUPPORTED: a, Status.DIFFERS: b, Status.NEEDS_DATA: c}
            for a in range(size + 1)
            for b in range(size + 1 - a)
            for c in range(size + 1 - a - b)
        ]
        longest = max(splits, key=lambda split: len(summary(plan, dict.fromkeys(plan.summary_facts, "x"), split)))
        for combination in itertools.product(*values):
            facts = dict(zip(plan.summary_facts, combination, strict=True))
            assert len(summary(plan, facts, longest)) <= SUMMARY_LIMIT
        widest = {
            fact: max(words, key=lambda word, fact=fact: len(summary_of(plan, fact, word)))
            for fact, words in zip(plan.summary_facts, values, strict=True)
        }
        for split in splits:
            assert len(summary(plan, widest, split)) <= SUMMARY_LIMIT


def summary_of(plan, fact, word):
    return summary(plan, {**dict.fromkeys(plan.summary_facts, "x"), fact: word}, Counter())


def possible(knowledge, fact):
    """Every value that a fact can have on a card."""
    if fact != "sites":
        return [*knowledge.facts[fact].answers, "unknown"]
    sites = sorted(set(knowledge.facts["sites"].more["site_words"]) | {"other"})
    several = [", ".join(pair) for pair in itertools.permutations(sites, 2)]
    return ["unknown", *sites, *several, *[f"{pair}, {', '.join(sites)}" for pair in several]]


def test_no_text_of_the_chart_reaches_the_markdown(made):
    """A hostile record shows in no summary and no detail; references stay in the extension, which is not rendered."""
    bundle = json.loads((ROOT / "tests" / "patients" / "VA-01.text.json").read_text(encoding="utf-8"))
    hostile = "<img src=x onerror=alert(1)> [click](http://evil.example) ‮ `code` **bold**"
    for entry in bundle["entry"]:
        resource = entry["resource"]
        if isinstance(resource.get("code"), dict) and resource["resourceType"] in ("Condition", "Observation"):
            resource["code"]["text"] = f"{resource['code'].get('text', '')} {hostile}"
        if resource["resourceType"] != "Patient":
            resource["id"] = f"{resource['id']}-evil.example"
            resource["note"] = [{"text": hostile}]

    for card in answer(made, bundle)["cards"]:
        text = card["summary"] + card["detail"]
        assert "evil" not in text
        assert "<" not in text
        assert "‮" not in text


def patient_of(name):
    return json.loads((ROOT / "tests" / "patients" / f"{name}.json").read_text(encoding="utf-8"))


def test_what_depends_on_contraindications_only_says_so_and_nothing_that_is_known(made):
    """Not 'if aromatase inhibitors contraindicated and not contraindicated', which was printed of tamoxifen."""
    detail = answer(made, patient_of("VA-01.mcode"), withheld="AllergyIntolerance")["cards"][0]["detail"]
    block = detail.partition("- Contraindications not on record")[2].partition("\n- ")[0]

    (line,) = [one for one in block.splitlines() if "Tamoxifen" in one]
    assert line.startswith(
        "  - if not contraindicated: Hormone (endocrine) therapy, Tamoxifen, Toremifene, Anastrozole"
    )
    assert "contraindicated and not contraindicated" not in detail


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({Status.SUPPORTED: 0, Status.DIFFERS: 1, Status.NEEDS_DATA: 1}, "0 supported, 1 differs, 1 needs a fact"),
        ({Status.SUPPORTED: 1, Status.DIFFERS: 2, Status.NEEDS_DATA: 2}, "1 supported, 2 differ, 2 need a fact"),
    ],
)
def test_a_summary_counts_one_and_several(made, counts, said):
    plan = made.knowledge.cards[-1]
    assert summary(plan, dict.fromkeys(plan.summary_facts, "x"), counts).endswith(f": {said}")


def test_the_first_line_says_in_words_what_the_record_holds_as_slugs(made):
    bundle = patient_of("VA-01.text")
    subject = next(one["resource"]["subject"] for one in bundle["entry"] if "subject" in one["resource"])
    told = [
        {"resourceType": "Condition", "code": {"text": "Hot flashes"}},
        {"resourceType": "Condition", "code": {"text": "Secondary malignant neoplasm of soft tissue"}},
        {"resourceType": "MedicationStatement", "status": "active", "medicationCodeableConcept": {"text": "Zometa"}},
    ]
    bundle["entry"] += [{"resource": {**one, "id": f"new-{i}", "subject": subject}} for i, one in enumerate(told)]

    line = answer(made, bundle)["cards"][0]["detail"].splitlines()[0]

    assert "hot flashes" in line
    assert "soft tissue" in line
    assert "zoledronic acid" in line


def test_no_id_of_a_resource_reaches_the_markdown_where_a_note_names_it(made):
    """An older result, results of two breasts, a result against itself: the extension names the resources."""
    bundle = json.loads((ROOT / "tests" / "patients" / "VA-01.text.json").read_text(encoding="utf-8"))
    subject = next(one["resource"]["subject"] for one in bundle["entry"] if "subject" in one["resource"])
    told = [
        ("PR", "Negative (40%)", {}),
        ("HER2", "positive", {"effectiveDateTime": "2099-01-01"}),
        ("HER2", "equivocal", {"effectiveDateTime": "2099-02-01"}),
        ("ER", "positive", {"bodySite": {"text": "Left breast"}, "effectiveDateTime": "2099-01-01"}),
        ("ER", "negative", {"bodySite": {"text": "Right breast"}, "effectiveDateTime": "2099-01-01"}),
    ]
    bundle["entry"] += [
        {
            "resource": {
                "resourceType": "Observation",
                "id": f"{i}) [evil](http://evil.example",
                "status": "final",
                "subject": subject,
                "code": {"text": question},
                "valueString": value,
                **more,
            }
        }
        for i, (question, value, more) in enumerate(told)
    ]

    cards = answer(made, bundle)["cards"]

    assert "an older result differs: positive" in cards[0]["detail"]
    notes = [fact.get("note", "") for fact in cards[0]["extension"]["org.cds-service"]["facts"]]
    assert sum("evil" in note for note in notes) == 3
    for card in cards:
        assert "evil" not in card["summary"] + card["detail"]


def test_links_of_a_card_go_to_its_sources_only(made):
    allowed = {source.url for source in made.knowledge.sources.values()} - {""}
    allowed |= {change.url for option in made.knowledge.options.values() for change in option.currency}
    for path in BUNDLES:
        for card in answer(made, json.loads(path.read_text(encoding="utf-8")))["cards"]:
            assert set(re.findall(r"\]\((.*?)\)", card["detail"])) <= allowed
            assert {link["url"] for link in card.get("links", [])} <= allowed


def test_nothing_is_said_of_menopause_on_the_card_of_a_man(made):
    """The question does not apply: it is neither missing nor unclear."""
    bundle = json.loads((ROOT / "tests" / "patients" / "VA-01.mcode.json").read_text(encoding="utf-8"))
    entries = [one for one in bundle["entry"] if "menopause" not in one["resource"].get("id", "")]
    for entry in entries:
        if entry["resource"]["resourceType"] == "Patient":
            entry["resource"]["gender"] = "male"

    first = answer(made, {**bundle, "entry": entries})["cards"][0]

    assert "menopause" not in first["summary"]
    assert "menopause" not in first["detail"].split("**Supported**")[0]
