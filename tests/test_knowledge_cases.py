"""The knowledge, tried on invented patients: `tests/cards/` mirrors `cards/`, file by file.

A case tells a patient in a few words and what is expected of some options. Its words are made into a FHIR record and
read back by the same code that reads real ones. What a case does not say is not on record; every query was answered
unless `unknown` names its fact. The words of a case:

er pr hr her2 brca menopause fitness calcium extent sex organ-symptoms    one answer, in the words of the fact
sites symptoms contraindicated refused    a list of slugs
given      regimens by time: `drug` or `drugs`; `setting` (SETTINGS) where on record; `ended` (ENDINGS), or still given
unknown    facts that the record leaves open, also those whose silence would mean 'none'
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support import searchset

from cds_service.hooks.catalogue import HOOKS
from cds_service.hooks.request import HookCall
from cds_service.hooks.respond import Responder, Trace
from cds_service.kleene import TRUE, UNKNOWN
from cds_service.knowledge.knowledge import Knowledge
from cds_service.knowledge.strict_yaml import read_yaml
from cds_service.model import Fact, Position, Status

HERE = Path(__file__).parent
STATUSES = {status.value for status in Status}
#: the three things that may be true of an option; every option is tried on each
OUTCOMES = {
    "supported": "applies",
    "differs": "applies",
    "not-supported": "does not apply",
    "needs-data": "cannot tell",
}


class Case(NamedTuple):
    """One invented patient, and where the story stands."""

    section: str
    story: str
    facts: dict[str, Any]
    expect: dict[str, str]
    missing: dict[str, list[str]]


# READING THE CASES


@cache
def files() -> dict[str, dict[str, Any]]:
    """Every file of cases, by the section it mirrors."""
    found = {}
    for path in sorted((HERE / "cards").rglob("*.yaml")):
        raw, faults = read_yaml(path.read_text(encoding="utf-8"), str(path))
        assert not faults, faults
        assert set(raw) <= {"cases", "never"}, f"{path}: {set(raw)}"
        found[path.relative_to(HERE / "cards").with_suffix("").as_posix()] = raw
    return found


def cases_of(section: str) -> list[Case]:
    """The cases of one file; a word that no case may have is an error."""
    cases = []
    for row in files()[section]["cases"]:
        unheard = set(row) - {"case", "facts", "expect", "missing", "because"}
        assert not unheard, f"{section}: {row['case']}: {unheard}"
        assert set(row["expect"].values()) <= STATUSES, f"{section}: {row['case']}: {row['expect']}"
        cases.append(Case(section, row["case"], row["facts"], row["expect"], row.get("missing", {})))
    return cases


def all_cases() -> list[Case]:
    """The cases of all files."""
    return [case for section in files() for case in cases_of(section)]


def nevers(section: str) -> dict[tuple[str, str], str]:
    """What the file says can never be: option and outcome, with the reason."""
    return {(row["option"], OUTCOMES[row["status"]]): row["because"] for row in files()[section].get("never", [])}


# FROM WORDS TO A RECORD

PATIENT = "invented"
#: how an Observation asks for a fact that has one answer
QUESTIONS = {
    "er": "Estrogen receptor",
    "pr": "Progesterone receptor",
    "hr": "Hormone receptor status",
    "her2": "HER2 status",
    "brca": "BRCA",
    "menopause": "Menopausal status",
    "fitness": "Fitness for chemotherapy",
    "extent": "Extent of metastatic disease",
    "organ-symptoms": "Organ metastases causing symptoms",
}
IN_WORDS = {"induced": "treatment-induced menopause", "lymph-node": "distant lymph node"}
FLAGS = {"high": "H", "normal": "N", "low": "L"}
LISTS = {"sites", "symptoms", "contraindicated", "refused", "given", "unknown"}
#: the fact's own name where the word of a case is another
REPORTED_AS = {
    "organ-symptoms": "visceral-symptoms",
    "given": "prior-medications",
    "contraindicated": "contraindications",
    "refused": "refusals",
}
#: what withholds a fact whose silence would mean 'none': its query is left unanswered, or answered in part if required
WITHHELD = {"contraindications": "AllergyIntolerance", "refusals": "Procedure", "symptoms": "Condition"}
SETTINGS = {"adjuvant", "neoadjuvant", "metastatic"}
ENDINGS = {
    "progression": {"status": "stopped", "statusReason": [{"text": "Progression"}]},
    "not-tolerated": {"status": "stopped", "statusReason": [{"text": "Not tolerated"}]},
    "as-planned": {"status": "completed"},
    "reason-not-on-record": {"status": "stopped"},
}


def resources(facts: dict[str, Any], knowledge: Knowledge) -> Iterator[dict[str, Any]]:
    """The record of a patient whose breast cancer is current and of stage IV, and of whom the facts are told."""
    unheard = set(facts) - set(QUESTIONS) - LISTS - {"sex", "calcium"}
    assert not unheard, f"words that no record is made of: {unheard}"
    yield {"resourceType": "Patient", **({"gender": facts["sex"]} if "sex" in facts else {})}
    yield condition("Breast cancer", stage=[{"summary": {"text": "Stage IV"}}])
    for name, question in QUESTIONS.items():
        if name in facts:
            yield observation(question, valueCodeableConcept={"text": IN_WORDS.get(facts[name], facts[name])})
    if "calcium" in facts:
        flag = {
            "coding": [{"system": "http://hl7.org/fhir/v3/ObservationInterpretation", "code": FLAGS[facts["calcium"]]}]
        }
        yield observation("Serum calcium", interpretation=[flag])
    for site in facts.get("sites", ()):
        yield condition(f"Secondary malignant neoplasm of {IN_WORDS.get(site, site.replace('-', ' '))}")
    for symptom in facts.get("symptoms", ()):
        yield condition(symptom.replace("-", " "))
    for target in facts.get("contraindicated", ()):
        yield {"resourceType": "AllergyIntolerance", "patient": subject(), "code": {"text": spoken(target, knowledge)}}
    for target in facts.get("refused", ()):
        refused = {
            "status": "not-done",
            "statusReason": {"text": "Refused"},
            "code": {"text": spoken(target, knowledge)},
        }
        yield {"resourceType": "Procedure", "subject": subject(), **refused}
    for place, regimen in enumerate(facts.get("given", ())):
        yield from courses(regimen, 2010 + place, knowledge)
    if "prior-medications" in facts.get("unknown", ()):
        not_known = {"status": "unknown", "medicationCodeableConcept": {"text": "No information about medications"}}
        yield {"resourceType": "MedicationStatement", "subject": subject(), **not_known}


def courses(regimen: dict[str, Any], year: int, knowledge: Knowledge) -> Iterator[dict[str, Any]]:
    """The drugs of one regimen, started together."""
    unheard = set(regimen) - {"drug", "drugs", "setting", "ended"}
    assert not unheard, f"words that no regimen is made of: {unheard}"
    ending = ENDINGS[regimen["ended"]] if "ended" in regimen else {"status": "active"}
    period = {"start": f"{year}-01-15", **({"end": f"{year}-11-15"} if "ended" in regimen else {})}
    setting = regimen.get("setting")
    assert setting is None or setting in SETTINGS, setting
    for drug in drugs_of(regimen):
        yield {
            "resourceType": "MedicationStatement",
            "subject": subject(),
            "medicationCodeableConcept": {"text": spoken(drug, knowledge)},
            "effectivePeriod": period,
            **({"reasonCode": [{"text": setting}]} if setting else {}),
            **ending,
        }


def drugs_of(regimen: dict[str, Any]) -> list[str]:
    """The drugs of one regimen."""
    return regimen.get("drugs") or [regimen["drug"]]


def condition(text: str, **more: Any) -> dict[str, Any]:
    active = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]}
    return {"resourceType": "Condition", "subject": subject(), "clinicalStatus": active, "code": {"text": text}, **more}


def observation(text: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "status": "final", "subject": subject(), "code": {"text": text}, **more}


def subject() -> dict[str, str]:
    return {"reference": f"Patient/{PATIENT}"}


def spoken(target: str, knowledge: Knowledge) -> str:
    """A name of a drug or class that stands for it and for nothing else."""
    for word, senses in knowledge.lexicon.words["drug"].items():
        if {sense.subject for sense in senses} == {target}:
            return word
    raise AssertionError(f"no drug or class: {target}")


def prefetch(facts: dict[str, Any], responder: Responder) -> dict[str, Any]:
    """The record as a client sends it: a Bundle for each query, each resource in the first that brings its type."""
    by_type: dict[str, list[dict[str, Any]]] = {}
    for count, resource in enumerate(resources(facts, responder.knowledge)):
        kind = resource["resourceType"]
        by_type.setdefault(kind, []).append({**resource, "id": PATIENT if kind == "Patient" else f"r{count}"})
    withheld = {WITHHELD[name] for name in facts.get("unknown", ()) if name in WITHHELD}
    sent = {}
    for need in responder.needs:
        found = by_type.pop(need.type, [])
        bundle = searchset(found) if "?" in need.template else found[0]
        if need.type in withheld and need.required:
            bundle["link"] = [{"relation": "next", "url": "https://fhir.example.org/next"}]
        if need.type not in withheld or need.required:
            sent[need.key] = bundle
    assert not by_type, f"no query brings {set(by_type)}"
    return sent


# FROM A RECORD TO VERDICTS

#: answers that a record can give and that leave the fact unknown, or that are read as another answer
READ_AS = {
    ("her2", "equivocal"): "unknown",
    ("her2", "low"): "unknown",
    ("menopause", "perimenopausal"): "unknown",
    ("menopause", "induced"): "postmenopausal",
}


def read(told: dict[str, Any], responder: Responder) -> Trace:
    """What the service makes of a patient, step by step."""
    call = HookCall(HOOKS[0], "7d9c1a44-5b1f-4f0e-9f5e-3a1f0c2b4d6e", PATIENT, {}, prefetch(told, responder))
    trace = responder.trace(call)
    assert trace.gate == "", f"no options are listed: {trace.gate}"
    return trace


def misread(told: dict[str, Any], facts: Mapping[str, Fact]) -> list[str]:
    """Where the record does not say what the case tells: a case must not pass because its words were not understood."""
    wrong = []
    for name in (*QUESTIONS, "calcium", "sex"):
        value = facts[REPORTED_AS.get(name, name)].value
        derived = name in ("hr", "organ-symptoms") and name not in told
        said = told.get(name, "unknown")
        if not derived and value != READ_AS.get((name, said), said):
            wrong.append(f"{name}: told {said}, read {value}")
    lists = {name: told.get(name, ()) for name in ("sites", "symptoms", "contraindicated", "refused")}
    lists["given"] = [drug for regimen in told.get("given", ()) for drug in drugs_of(regimen)]
    for name, listed in lists.items():
        fact = facts[REPORTED_AS.get(name, name)]
        wrong += [f"{name}: told {one}" for one in listed if fact.answer(one).truth is not TRUE]
    wrong += [f"unknown: {one} was read" for one in told.get("unknown", ()) if facts[one].value != "unknown"]
    return wrong


def problems(case: Case, responder: Responder) -> list[str]:
    """Where the service and the case disagree; nothing where all is as expected."""
    trace = read(case.facts, responder)
    verdicts = {verdict.option: verdict for verdict in trace.verdicts}
    found = misread(case.facts, trace.facts)
    for option, status in case.expect.items():
        got = verdicts[option]
        if got.status.value != status:
            found.append(f"{option}: expected {status}, got {got.status.value}, missing {list(got.missing)}")
    for option, lacking in case.missing.items():
        if set(verdicts[option].missing) != set(lacking):
            found.append(f"{option}: expected {sorted(lacking)} missing, got {sorted(verdicts[option].missing)}")
    return found


# THE CASES


@pytest.mark.parametrize("case", all_cases(), ids=lambda case: f"{case.section}: {case.story}")
def test_the_service_says_of_a_patient_what_the_documents_say(case: Case, responder: Responder) -> None:
    assert problems(case, responder) == []


# THE MIRROR


def options_of(section: str, knowledge: Knowledge) -> set[str]:
    """The options of one section file."""
    return {option.id for one in knowledge.sections if f"{one.card}/{one.id}" == section for option in one.options}


def test_every_section_has_its_file_of_cases_and_every_file_its_section(responder: Responder) -> None:
    assert set(files()) == {f"{section.card}/{section.id}" for section in responder.knowledge.sections}


@pytest.mark.parametrize("section", files())
def test_every_option_is_tried_where_it_applies_and_where_not_and_where_it_cannot_be_told(
    section: str, responder: Responder
) -> None:
    tried = {(option, OUTCOMES[status]) for case in cases_of(section) for option, status in case.expect.items()}
    wanted = {(option, outcome) for option in options_of(section, responder.knowledge) for outcome in OUTCOMES.values()}
    assert wanted - tried == set(nevers(section))


@pytest.mark.parametrize("section", files())
def test_a_file_expects_something_of_the_options_of_its_own_section_only(section: str, responder: Responder) -> None:
    expected = {option for case in cases_of(section) for option in (*case.expect, *case.missing)}
    assert expected == options_of(section, responder.knowledge)


@pytest.mark.parametrize("section", files())
def test_no_story_is_told_twice_in_a_file(section: str) -> None:
    stories = Counter(case.story for case in cases_of(section))
    assert [story for story, count in stories.items() if count > 1] == []


def test_what_is_said_never_to_be_is_not_so_for_any_patient_of_any_file(responder: Responder) -> None:
    claims = {claim for section in files() for claim in nevers(section)}
    verdicts = [verdict for case in all_cases() for verdict in read(case.facts, responder).verdicts]
    assert claims & {(verdict.option, OUTCOMES[verdict.status.value]) for verdict in verdicts} == set()


# THE LAW, ON RECORDS

#: what a record may come to tell of a fact that it left open
NEWS = [
    *(("er", answer) for answer in ("positive", "negative")),
    *(("pr", answer) for answer in ("positive", "negative")),
    *(("her2", answer) for answer in ("positive", "negative")),
    *(("menopause", answer) for answer in ("premenopausal", "postmenopausal", "induced")),
    *(("brca", answer) for answer in ("mutated", "not-mutated")),
    *(("fitness", answer) for answer in ("fit", "unfit")),
    *(("organ-symptoms", answer) for answer in ("yes", "no")),
    *(("extent", answer) for answer in ("limited", "several")),
    *(("sites", answer) for answer in (["bone"], ["liver", "bone"])),
]


@pytest.mark.parametrize("section", files())
def test_news_of_an_unknown_fact_change_only_what_named_it_as_missing(section: str, responder: Responder) -> None:
    for place, case in enumerate(cases_of(section)):
        before = read(case.facts, responder)
        unknown = {name for name, fact in before.facts.items() if fact.value == "unknown" and fact.default is UNKNOWN}
        untold = [(name, answer) for name, answer in NEWS if REPORTED_AS.get(name, name) in unknown]
        name, answer = untold[place % len(untold)]
        after = read({**case.facts, name: answer}, responder)
        learned = {question.fact for question, value in after.truths.items() if before.truths[question] is not value}
        for old, new in zip(before.verdicts, after.verdicts, strict=True):
            if old.status is not new.status:
                assert old.status is not Status.NOT_SUPPORTED, f"{case.story}: {new.option}, told {name} {answer}"
                assert old.status is Status.NEEDS_DATA or learned & set(old.missing), f"{case.story}: {new.option}"


# THE RUNNER ITSELF


@pytest.mark.parametrize("section", files())
def test_a_case_made_wrong_on_purpose_fails(section: str, responder: Responder) -> None:
    for case in cases_of(section):
        for option, status in case.expect.items():
            (other, *_) = sorted(STATUSES - {status, read_status(case, option, responder)})
            assert problems(case._replace(expect={option: other}, missing={}), responder)


def read_status(case: Case, option: str, responder: Responder) -> str:
    return next(one.status.value for one in read(case.facts, responder).verdicts if one.option == option)


def test_a_case_that_names_a_wrong_missing_fact_fails(responder: Responder) -> None:
    case = Case("", "", {"er": "positive"}, {}, {"letrozole": ["menopause", "visceral-symptoms"]})
    assert problems(case, responder)
    assert problems(case._replace(missing={"letrozole": []}), responder)
    assert not problems(case._replace(missing={"letrozole": ["menopause"]}), responder)


def test_a_case_whose_words_are_not_understood_fails(responder: Responder) -> None:
    case = Case("", "", {}, {}, {})
    assert problems(case, responder) == []
    assert problems(case._replace(facts={"er": "blue"}), responder) == ["er: told blue, read unknown"]
    assert problems(case._replace(facts={"symptoms": ["joy"]}), responder) == ["symptoms: told joy"]
    assert problems(case._replace(facts={"sites": ["bone"], "unknown": ["sites"]}), responder) == [
        "unknown: sites was read"
    ]


@pytest.mark.parametrize(
    "facts",
    [
        {"mood": "good"},
        {"given": [{"drug": "letrozole", "dose": "high"}]},
        {"given": [{"drug": "water"}]},
        {"refused": ["walking"]},
        {"calcium": "blue"},
    ],
)
def test_a_word_that_no_record_is_made_of_is_an_error(facts: dict[str, Any], responder: Responder) -> None:
    with pytest.raises((AssertionError, KeyError)):
        read(facts, responder)


# THE LIST OF OPTIONS


def test_the_options_are_those_of_the_list_each_with_a_statement_that_supports_it(responder: Responder) -> None:
    listed = (HERE / "data" / "option-ids.txt").read_text(encoding="utf-8").split()
    options = responder.knowledge.options
    assert sorted(options) == sorted(listed)
    bare = [one.id for one in options.values() if not any(row.position is Position.SUPPORTS for row in one.statements)]
    assert bare == []
