"""Invented patients: what a story tells is what the service reads from its record, in every shape of a record."""

import json
import os
import subprocess
import sys
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fhir.resources.R4B import get_fhir_model_class
from support import Resource, put_in_prefetch, to_the_letter

from cds_service.edge.bulk import write_ndjson
from cds_service.edge.cli import main
from cds_service.edge.invented import Invented, invented
from cds_service.errors import KnowledgeError
from cds_service.hooks.catalogue import HOOKS
from cds_service.hooks.request import HookCall
from cds_service.hooks.respond import OVER, Responder, Trace
from cds_service.kleene import TRUE
from cds_service.knowledge.load import load
from cds_service.model import Fact
from cds_service.synthetic.population import population
from cds_service.synthetic.record import record
from cds_service.synthetic.story import SHAPES, Story, told
from cds_service.synthetic.vocabulary import nameable

KNOWLEDGE = load()
STORIES = {story.id: story for story in invented(KNOWLEDGE).stories}
EVERY = [(name, shape) for name in STORIES for shape in SHAPES]


@pytest.fixture(scope="module")
def writer(responder: Responder) -> Invented:
    """The stories, and what writes them down."""
    return invented(responder.knowledge)


# READING BACK

SINGLE = ("er", "pr", "her2", "brca", "menopause", "fitness", "calcium", "extent")
UNLESS_TOLD = {"sex": "female", "stage": "stage-4", "breast-cancer": "active", "deceased": "no"}
LISTS = {"sites": "sites", "symptoms": "symptoms", "contraindicated": "contraindications", "refused": "refusals"}
#: what the service makes of an answer by the reading principles, where that is not the answer itself
READ_AS = {
    ("her2", "equivocal"): "unknown",
    ("her2", "low"): "unknown",
    ("menopause", "perimenopausal"): "unknown",
    ("menopause", "induced"): "postmenopausal",
}


def trace(resources: list[Resource], responder: Responder, services: list[dict[str, Any]]) -> Trace:
    """What the service makes of a record that a server delivered by the letter of every search."""
    patient = resources[0]["id"]
    prefetch = to_the_letter(put_in_prefetch(resources, patient, services), services)
    return responder.trace(HookCall(HOOKS[0], "7d9c1a44-5b1f-4f0e-9f5e-3a1f0c2b4d6e", patient, {}, prefetch))


def expected(name: str, facts: dict[str, Any]) -> str:
    """The value of a fact that a story tells, or leaves unsaid."""
    said = facts.get(name, UNLESS_TOLD.get(name, "unknown"))
    return "unknown" if said == "conflict" else READ_AS.get((name, said), said)


def listed(fact: Fact) -> list[str]:
    """What a fact that is a list names."""
    return [] if fact.value in ("none", "unknown") else fact.value.split(", ")


def misread(facts: dict[str, Any], read: Trace) -> list[str]:
    """Where the facts that were read are not those that were told."""
    found = [
        f"{name}: told {expected(name, facts)}, read {read.facts[name].value} ({read.facts[name].note})"
        for name in (*SINGLE, *UNLESS_TOLD)
        if read.facts[name].value != expected(name, facts)
    ]
    for name, fact in LISTS.items():
        if sorted(facts.get(name, ())) != listed(read.facts[fact]):
            found.append(f"{name}: told {facts.get(name)}, read {read.facts[fact].value}")
    if "organ-symptoms" in facts and read.facts["visceral-symptoms"].value != facts["organ-symptoms"]:
        found.append(f"organ-symptoms: read {read.facts['visceral-symptoms'].value}")
    return found + mistreated(facts, read)


def mistreated(facts: dict[str, Any], read: Trace) -> list[str]:
    """The same for what was given: each drug, in its setting, with the way it ended; and nothing else."""
    given = facts.get("given", ())
    prior, failed = read.facts["prior-medications"], read.facts["progressed-on"]
    drugs = sorted({drug for regimen in given for drug in regimen["drugs"]})
    found = [] if drugs == listed(prior) else [f"given: told {drugs}, read {prior.value}"]
    for regimen in given:
        for drug in regimen["drugs"]:
            phrase = {
                "metastatic": f"{drug} in metastatic disease",
                "adjuvant": f"{drug} only before metastatic disease",
                "neoadjuvant": f"{drug} only before metastatic disease",
            }.get(regimen.get("setting", ""), drug)
            alone = sum(drug in other["drugs"] for other in given) == 1
            if alone and prior.answer(phrase).truth is not TRUE:
                found.append(f"{phrase}: {prior.answer(phrase).truth}")
            if regimen.get("ended") == "progression" and failed.answer(drug).truth is not TRUE:
                found.append(f"{drug} failed: {failed.answer(drug).truth}")
            if "ended" not in regimen and prior.answer(f"{drug} now").truth is not TRUE:
                found.append(f"{drug} now: {prior.answer(f'{drug} now').truth}")
    return found


@pytest.mark.parametrize(("name", "shape"), EVERY)
def test_the_service_reads_from_a_record_exactly_the_facts_that_its_story_tells(
    name: str, shape: str, writer: Invented, responder: Responder, services: list[dict[str, Any]]
) -> None:
    resources = record(STORIES[name], writer.vocabulary, shape=shape)

    assert misread(dict(STORIES[name].facts), trace(resources, responder, services)) == []


def told_one_by_one() -> list[dict[str, Any]]:
    """Every word that a story may use, each in a story of its own."""
    facts = KNOWLEDGE.facts
    sites = {one.meaning for senses in KNOWLEDGE.lexicon.words["site"].values() for one in senses}
    answers = {name: facts[name].answers for name in ("er", "pr", "her2", "brca", "fitness", "calcium", "extent")}
    answers["menopause"] = ("premenopausal", "postmenopausal", "perimenopausal", "induced")
    answers["her2"] = ("positive", "negative", "equivocal", "low")
    answers["organ-symptoms"] = ("yes", "no")
    every: list[dict[str, Any]] = [{name: answer} for name, listed_ in answers.items() for answer in listed_]
    every += [{"sites": [site]} for site in sorted(sites)]
    every += [{"symptoms": [symptom]} for symptom in facts["symptoms"].answers]
    drugs = sorted(nameable(KNOWLEDGE) & set(KNOWLEDGE.drugs))
    assert len(drugs) > 50
    every += [{name: [drug]} for name in ("contraindicated", "refused") for drug in (*drugs, "chemotherapy")]
    every += [
        {"given": [{"drugs": [drug], "setting": setting, "ended": ended}]}
        for drug in drugs
        for setting, ended in (("metastatic", "progression"), ("adjuvant", "as-planned"))
    ]
    return every


@pytest.mark.parametrize("shape", SHAPES)
def test_every_word_of_a_story_is_read_back_in_every_shape(
    shape: str, writer: Invented, responder: Responder, services: list[dict[str, Any]]
) -> None:
    wrong = []
    for facts in told_one_by_one():
        whole = {"sites": ["liver"], **facts}
        resources = record(Story("p", "", shape, whole), writer.vocabulary, times=0)
        found = misread(whole, trace(resources, responder, services))
        # the knowledge knows one product of this drug, a tablet that holds another drug as well
        both = shape == "us-core" and facts.get("given", [{}])[0].get("drugs") == ["ibuprofen"]
        wrong += [] if both else [f"{facts}: {found}"] if found else []

    assert wrong == []


def test_a_record_that_does_not_tell_its_story_is_noticed(
    writer: Invented, responder: Responder, services: list[dict[str, Any]]
) -> None:
    story = STORIES["third-line"]
    read = trace(record(story, writer.vocabulary), responder, services)

    for change in (
        {"er": "negative"},
        {"menopause": "premenopausal"},
        {"sites": ["bone"]},
        {"symptoms": []},
        {"refused": ["chemotherapy"]},
        {"given": story.facts["given"][:2]},
        {"given": [{**one, "setting": "adjuvant"} for one in story.facts["given"]]},
        {"given": [{"drugs": one["drugs"], "setting": "metastatic"} for one in story.facts["given"]]},
        {"deceased": "yes"},
    ):
        assert misread({**story.facts, **change}, read), change


def test_a_population_is_read_back_too(writer: Invented, responder: Responder, services: list[dict[str, Any]]) -> None:
    wrong = {}
    for story, visits in writer.population.stories(150, seed=11):
        found = misread(dict(story.facts), trace(record(story, writer.vocabulary, visits), responder, services))
        if found:
            wrong[story.id] = found

    assert wrong == {}


# WHAT THE DOCUMENTS SAY OF THEM

SUPPORTED, DIFFERS, NEEDS_DATA, NOT_SUPPORTED = "supported", "differs", "needs-data", "not-supported"
ADVICE: dict[str, dict[str, str]] = {
    "bone-after-menopause": {
        "letrozole": SUPPORTED, "palbociclib+aromatase-inhibitor": SUPPORTED, "tamoxifen": DIFFERS,
        "zoledronic-acid": SUPPORTED, "ovarian-removal": NOT_SUPPORTED, "chemotherapy": DIFFERS,
    },
    "before-menopause": {"letrozole": NOT_SUPPORTED, "ovarian-suppression:goserelin": SUPPORTED},
    "menopause-not-written-down": {"letrozole": NEEDS_DATA, "tamoxifen": SUPPORTED, "ovarian-removal": NEEDS_DATA},
    "around-menopause": {"tamoxifen": NOT_SUPPORTED, "letrozole": NEEDS_DATA, "fulvestrant": NEEDS_DATA},
    "ovaries-suppressed": {"ovarian-suppression+aromatase-inhibitor": SUPPORTED, "anastrozole": NOT_SUPPORTED},
    "menopause-by-treatment": {"letrozole": DIFFERS, "fulvestrant": NOT_SUPPORTED},
    "letrozole-failed": {"letrozole": NOT_SUPPORTED, "palbociclib+aromatase-inhibitor": NOT_SUPPORTED,
                         "everolimus+exemestane": SUPPORTED, "abemaciclib+fulvestrant": SUPPORTED},
    "letrozole-stopped-nobody-says-why": {"letrozole": SUPPORTED, "abemaciclib+fulvestrant": NEEDS_DATA},
    "third-line": {"capecitabine": NOT_SUPPORTED, "paclitaxel": SUPPORTED, "fulvestrant": NOT_SUPPORTED,
                   "pain:morphine": SUPPORTED, "hormone-therapy": DIFFERS},
    "only-progesterone": {"hormone-therapy": SUPPORTED, "letrozole": SUPPORTED},
    "her2-positive-untreated": {"pertuzumab+trastuzumab+taxane": SUPPORTED, "trastuzumab-emtansine": NOT_SUPPORTED,
                                "letrozole": NOT_SUPPORTED},
    "her2-positive-second-line": {"trastuzumab-emtansine": SUPPORTED, "pertuzumab+trastuzumab+taxane": NOT_SUPPORTED},
    "triple-positive": {"hormone-therapy+her2-targeted": SUPPORTED, "palbociclib+aromatase-inhibitor": NOT_SUPPORTED},
    "her2-in-the-brain": {"trastuzumab-emtansine": NOT_SUPPORTED, "trastuzumab-deruxtecan": SUPPORTED,
                          "radiation": DIFFERS, "surgery:metastasis-resection": NEEDS_DATA},
    "triple-negative": {"atezolizumab+nab-paclitaxel": SUPPORTED, "doxorubicin": SUPPORTED,
                        "hormone-therapy": NOT_SUPPORTED, "trastuzumab+chemotherapy": NOT_SUPPORTED},
    "triple-negative-after-taxane": {"paclitaxel": NOT_SUPPORTED, "capecitabine": SUPPORTED, "olaparib": NEEDS_DATA},
    "brca-mutation": {"olaparib": SUPPORTED, "talazoparib": SUPPORTED},
    "brca-tested-clear": {"olaparib": NOT_SUPPORTED, "talazoparib": NOT_SUPPORTED, "letrozole": SUPPORTED},
    "her2-equivocal": {"palbociclib+aromatase-inhibitor": NEEDS_DATA, "trastuzumab+chemotherapy": NEEDS_DATA},
    "receptors-not-on-record": {"letrozole": NEEDS_DATA, "trastuzumab+chemotherapy": NEEDS_DATA,
                                "zoledronic-acid": SUPPORTED, "doxorubicin": NEEDS_DATA},
    "her2-results-disagree": {"palbociclib+aromatase-inhibitor": NEEDS_DATA, "letrozole": SUPPORTED},
    "result-withdrawn": {"letrozole": SUPPORTED, "palbociclib+aromatase-inhibitor": SUPPORTED},
    "a-man": {"tamoxifen": SUPPORTED, "letrozole": NOT_SUPPORTED, "ovarian-removal": NOT_SUPPORTED},
    "bone-in-pain": {"tamoxifen": NOT_SUPPORTED, "pamidronate": SUPPORTED, "radiation": DIFFERS,
                     "pain:morphine": SUPPORTED},
    "too-weak-for-chemotherapy": {"chemotherapy": NOT_SUPPORTED, "doxorubicin": NOT_SUPPORTED,
                                  "palliative-care": SUPPORTED},
    "refuses-chemotherapy": {"chemotherapy": NOT_SUPPORTED, "pertuzumab+trastuzumab+taxane": NOT_SUPPORTED,
                             "trastuzumab:monotherapy": NEEDS_DATA},
    "one-liver-metastasis": {"surgery:metastasis-resection": SUPPORTED},
    "many-places": {"letrozole": SUPPORTED, "zoledronic-acid": NOT_SUPPORTED, "radiation:stereotactic": NOT_SUPPORTED,
                    "surgery:metastasis-resection": NOT_SUPPORTED},
    "around-the-brain": {"radiation": DIFFERS, "surgery:symptom-relief": SUPPORTED, "doxorubicin": SUPPORTED,
                         "zoledronic-acid": NOT_SUPPORTED},
    "skin-and-nodes": {"pertuzumab+trastuzumab+taxane": SUPPORTED, "trastuzumab-emtansine": DIFFERS,
                       "radiation": NOT_SUPPORTED},
    "her2-low": {"palbociclib+aromatase-inhibitor": NEEDS_DATA, "trastuzumab+chemotherapy": NEEDS_DATA,
                 "capecitabine": NEEDS_DATA, "hormone-therapy": DIFFERS},
    "low-calcium-on-denosumab": {"denosumab": SUPPORTED, "letrozole": SUPPORTED},
    "er-results-disagree": {"hormone-therapy": NEEDS_DATA, "letrozole": NEEDS_DATA, "doxorubicin": NEEDS_DATA},
    "all-in-words": {"letrozole": SUPPORTED, "fulvestrant": SUPPORTED},
    "in-words-and-little-known": {"palbociclib+aromatase-inhibitor": NEEDS_DATA, "letrozole": SUPPORTED},
}  # fmt: skip
CLOSED = {
    "not-stage-four": "lower stage",
    "stage-not-on-record": "no evidence of stage IV",
    "marked-as-over": OVER,
    "in-situ-only": "no confirmed breast cancer",
    "has-died": "has died",
}


def test_the_stories_leave_no_answer_shape_site_setting_ending_or_line_untold() -> None:
    every = [story.facts for story in STORIES.values()]
    for name in (*SINGLE, "sex", "stage", "breast-cancer", "organ-symptoms"):
        definition = KNOWLEDGE.facts[{"organ-symptoms": "visceral-symptoms"}.get(name, name)]
        said = {facts.get(name, UNLESS_TOLD.get(name)) for facts in every}
        assert set(definition.answers) <= said, name
    assert {"perimenopausal", "induced"} <= {facts.get("menopause") for facts in every}
    assert {"equivocal", "low", "conflict"} <= {facts.get("her2") for facts in every}
    sites = {one.meaning for senses in KNOWLEDGE.lexicon.words["site"].values() for one in senses}
    assert sites - {"other"} <= {site for facts in every for site in facts.get("sites", ())}
    given = [regimen for facts in every for regimen in facts.get("given", ())]
    assert {None, "adjuvant", "neoadjuvant", "metastatic"} == {one.get("setting") for one in given}
    endings = {None, "progression", "not-tolerated", "as-planned", "reason-not-on-record"}
    assert endings == {one.get("ended") for one in given}
    lines = {sum(one.get("setting") == "metastatic" for one in facts.get("given", ())) for facts in every}
    assert {0, 1, 2, 3} <= lines
    assert {story.shape for story in STORIES.values()} == set(SHAPES)


def test_every_story_has_its_line_among_the_expected() -> None:
    assert len(STORIES) >= 24
    assert set(ADVICE) | set(CLOSED) == set(STORIES)


@pytest.mark.parametrize("name", ADVICE)
def test_an_invented_patient_is_told_what_the_documents_say(
    name: str, writer: Invented, responder: Responder, services: list[dict[str, Any]]
) -> None:
    read = trace(record(STORIES[name], writer.vocabulary), responder, services)

    assert read.gate == ""
    statuses = {verdict.option: verdict.status.value for verdict in read.verdicts}
    assert {option: statuses[option] for option in ADVICE[name]} == ADVICE[name]


@pytest.mark.parametrize("name", CLOSED)
def test_an_invented_patient_for_whom_nothing_may_be_listed_gets_no_options(
    name: str, writer: Invented, responder: Responder, services: list[dict[str, Any]]
) -> None:
    assert CLOSED[name] in trace(record(STORIES[name], writer.vocabulary), responder, services).gate


# WHAT A RECORD IS

#: elements that a profile demands beyond FHIR itself (mCODE 4.0.0 and the US Core profiles it stands on)
DEMANDED = {
    "us-core-patient": ("identifier", "name", "gender"),
    "mcode-cancer-patient": ("identifier", "name", "gender"),
    "mcode-primary-cancer-condition": ("clinicalStatus", "verificationStatus", "category", "code", "subject"),
    "mcode-secondary-cancer-condition": ("clinicalStatus", "verificationStatus", "category", "code", "extension"),
    "mcode-tumor-marker-test": ("status", "category", "code", "subject", "effectiveDateTime", "value"),
    "mcode-genomic-variant": ("status", "category", "code", "subject", "valueCodeableConcept", "component"),
    "mcode-tnm-stage-group": ("status", "category", "code", "focus", "method", "valueCodeableConcept"),
    "mcode-ecog-performance-status": ("status", "category", "code", "valueInteger", "interpretation"),
    "mcode-cancer-related-medication-request": ("status", "intent", "authoredOn", "requester", "reasonReference"),
}


def references(part: Any) -> list[str]:
    """Every literal reference anywhere in a resource."""
    if isinstance(part, dict):
        own = [part["reference"]] if isinstance(part.get("reference"), str) else []
        return own + [one for value in part.values() for one in references(value)]
    return [one for value in part for one in references(value)] if isinstance(part, list) else []


@pytest.mark.parametrize(("name", "shape"), EVERY)
def test_a_record_is_whole_and_valid_fhir(name: str, shape: str, writer: Invented) -> None:
    resources = record(STORIES[name], writer.vocabulary, shape=shape)

    for resource in resources:
        get_fhir_model_class(resource["resourceType"]).model_validate(resource)
    known = [f"{one['resourceType']}/{one['id']}" for one in resources]
    assert len(set(known)) == len(known)
    assert {one for resource in resources for one in references(resource)} <= set(known)
    assert all(one["meta"]["security"][0]["code"] == "HTEST" for one in resources)


@pytest.mark.parametrize("name", STORIES)
def test_a_record_of_a_profile_has_what_the_profile_demands(name: str, writer: Invented) -> None:
    profiled = Counter()
    for resource in record(STORIES[name], writer.vocabulary, shape="mcode"):
        for profile in resource["meta"].get("profile", ()):
            demanded = DEMANDED[profile.rpartition("/")[2]]
            lacking = [one for one in demanded if not any(element.startswith(one) for element in resource)]
            # a story that does not say when a drug was given has no date to write
            assert lacking in ([], ["authoredOn"]), f"{resource['id']}: {lacking}"
            profiled[resource["resourceType"]] += 1

    assert {"Patient", "Condition"} <= set(profiled)


def test_a_record_in_words_has_no_code_of_a_terminology(writer: Invented) -> None:
    for name in STORIES:
        text = json.dumps(record(STORIES[name], writer.vocabulary, shape="words"))
        systems = {uri for uri in KNOWLEDGE.lexicon.systems if f'"{uri}"' in text}
        assert systems <= {"http://unitsofmeasure.org"}


def test_a_story_may_only_use_words_of_the_knowledge() -> None:
    facts = {"sites": ["moon"], "symptoms": ["joy"], "refused": ["walking"], "given": [{"drugs": ["water"]}]}
    row = {"story": "p", "says": "p", "shape": "mcode", "facts": facts}

    with pytest.raises(KnowledgeError) as caught:
        told({"stories": [row, row]}, KNOWLEDGE)

    found = {problem.found for problem in caught.value.problems}
    assert found == {"'moon'", "'joy'", "'walking'", "'water'", "a story told twice"}


def test_a_population_may_only_use_words_of_the_knowledge(writer: Invented) -> None:
    shares = {**writer.population.shares, "sites": {"moon": 5}}

    with pytest.raises(KnowledgeError, match=r"population.yaml:/sites: found 'moon'"):
        population(shares, KNOWLEDGE)


# A POPULATION


def test_patient_k_is_the_same_however_many_are_asked_for(writer: Invented) -> None:
    few, many = list(writer.population.stories(7, seed=5)), writer.population.stories(10**9, seed=5)

    assert few == list(islice(many, 7))
    assert few != list(writer.population.stories(7, seed=6))


def test_a_population_is_as_its_file_says(writer: Invented) -> None:
    stories = [story for story, _ in writer.population.stories(3000, seed=2)]

    def share(of: Any) -> float:
        return 100 * sum(1 for story in stories if of(story.facts)) / len(stories)

    shares = writer.population.shares
    assert share(lambda facts: facts.get("sex") == "male") == pytest.approx(shares["men"], abs=0.8)
    # three in ten draw no other site and get bone; one in nine has no metastasis at all
    assert share(lambda facts: "bone" in facts.get("sites", ())) == pytest.approx((65 + 35 * 0.3) * 0.89, abs=3)
    assert share(lambda facts: facts.get("menopause") == "premenopausal") == pytest.approx(15, abs=3)
    assert share(lambda facts: [facts.get(one) for one in ("er", "pr", "her2")] == ["negative"] * 3) == pytest.approx(
        12, abs=3
    )
    assert share(lambda facts: "conflict" in (facts.get(one) for one in ("er", "pr", "her2"))) == pytest.approx(
        2, abs=1.5
    )
    assert share(lambda facts: facts.get("stage") == "other") == pytest.approx(shares["mess"]["lower-stage"], abs=2)
    shapes = Counter(story.shape for story in stories)
    for shape, expected_share in shares["shapes"].items():
        assert 100 * shapes[shape] / len(stories) == pytest.approx(expected_share, abs=4)


def test_a_patient_of_a_population_has_some_sixty_resources_that_are_valid_fhir(writer: Invented) -> None:
    records = [record(story, writer.vocabulary, visits) for story, visits in writer.population.stories(20, seed=3)]

    for resource in (resource for one in records for resource in one):
        get_fhir_model_class(resource["resourceType"]).model_validate(resource)
    assert 45 <= sum(len(one) for one in records) / len(records) <= 75


# FILES


def synthesize(*words: str, seed: str = "random") -> subprocess.CompletedProcess[str]:
    """The command, as its users run it."""
    return subprocess.run(
        [sys.executable, "-m", "cds_service.edge.cli", "synthesize", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONHASHSEED": seed},
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_command_writes_ndjson_by_type_and_the_same_bytes_again(tmp_path: Path) -> None:
    words = ("--patients", "12", "--seed", "4", "--stories", "--out")

    first = synthesize(*words, str(tmp_path / "a" / "b"), seed="1")
    again = synthesize(*words, str(tmp_path / "again"), seed="2")

    assert (first.returncode, again.returncode) == (0, 0), first.stderr + again.stderr
    written = contents(tmp_path / "a" / "b")
    assert written == contents(tmp_path / "again")
    rows = {name: [json.loads(line) for line in content.splitlines()] for name, content in written.items()}
    assert all(row["resourceType"] == name.removesuffix(".ndjson") for name, listed_ in rows.items() for row in listed_)
    assert {"Patient.ndjson", "Condition.ndjson", "Observation.ndjson", "MedicationRequest.ndjson"} <= set(rows)
    assert len(rows["Patient.ndjson"]) == 12 + len(STORIES)
    assert f"{12 + len(STORIES)} invented patients" in first.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "again"]


def test_more_patients_leave_those_before_them_as_they_were(tmp_path: Path) -> None:
    for count in ("3", "6"):
        assert (
            CliRunner().invoke(main, ["synthesize", "--patients", count, "--out", str(tmp_path / count)]).exit_code == 0
        )

    few, many = contents(tmp_path / "3"), contents(tmp_path / "6")
    assert all(many[name].startswith(content) for name, content in few.items())


def test_bundles_hold_one_patient_each_and_are_valid(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["synthesize", "--stories", "--bundles", "--out", str(tmp_path / "out")])

    assert done.exit_code == 0, done.output
    written = contents(tmp_path / "out")
    assert set(written) == {f"{name}.json" for name in STORIES}
    for content in written.values():
        bundle = json.loads(content)
        get_fhir_model_class("Bundle").model_validate(bundle)
        assert [one["resource"]["resourceType"] for one in bundle["entry"]].count("Patient") == 1


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")

    done = CliRunner().invoke(main, ["synthesize", "--patients", "1", "--out", str(tmp_path)])

    assert done.exit_code == 1
    assert "new or empty" in done.output
    assert contents(tmp_path) == {"mine.txt": b"mine"}


def test_what_cannot_be_finished_leaves_nothing_behind(tmp_path: Path, writer: Invented) -> None:
    def broken() -> Any:
        yield record(STORIES["a-man"], writer.vocabulary)
        raise RuntimeError("the disk, the user, the power")

    with pytest.raises(RuntimeError):
        write_ndjson(broken(), tmp_path / "out")

    assert list(tmp_path.iterdir()) == []


def test_nothing_to_write_is_said_to_be_so(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["synthesize", "--out", str(tmp_path / "out")])

    assert done.exit_code == 2
    assert "--patients, --stories or both" in done.output
