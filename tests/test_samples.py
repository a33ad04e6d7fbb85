"""Records that nobody here wrote: ../shared/fhir-samples, where it stands beside the checkout.

Every file is posted in every form that makes sense, and what a person read in the breast cancer records
(data/sample-facts.yaml, data/expected-samples.yaml) is what the service has to read.
"""

import copy
import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from flask.testing import FlaskClient
from support import (
    LISTED,
    URL,
    Resource,
    data,
    example,
    extensions,
    facts,
    is_outcome,
    of_somebody_else,
    options,
    patient_view,
    put_in_prefetch,
    references,
    statuses,
)

from cds_service.edge.web import create_app
from cds_service.hooks.catalogue import HOOKS
from cds_service.hooks.request import read
from cds_service.hooks.respond import Responder, Trace
from cds_service.kleene import TRUE, UNKNOWN
from cds_service.knowledge.load import home

SHARED = Path(__file__).parents[2] / "shared"
SAMPLES = SHARED / "fhir-samples"
FILES = sorted(path for path in SAMPLES.glob("*/*") if path.suffix == ".json")
GATE_READ = {"": "yes", "over": "over"}
READ_BY_HAND = data("sample-facts.yaml")
EXPECTED = data("expected-samples.yaml")
#: the patients who may get cards, as a person read the records
MAY_GET_CARDS = {record["patient"] for record in READ_BY_HAND if record["gate"] != "no"}

here = pytest.mark.skipif(not FILES, reason="no ../shared/fhir-samples beside this checkout")


def test_the_samples_are_not_skipped_where_they_should_be() -> None:
    """A skip is no pass: where the build runs beside the shared folder, the samples must be there."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared beside this checkout")
    if os.environ.get("CI"):
        assert len(FILES) >= 338, f"CI is set and {SAMPLES} holds {len(FILES)} files"


# READING FILES


class Form(NamedTuple):
    """One way to post a file: for which patient, with which prefetch."""

    name: str
    patient: str
    prefetch: dict[str, Any]


@cache
def parsed(path: Path) -> Any:
    """The JSON of a file; None where it is none."""
    try:
        return json.loads(path.read_bytes())
    except ValueError:
        return None


def is_call(content: Any) -> bool:
    return isinstance(content, dict) and "hookInstance" in content


def inside(content: Any) -> list[tuple[str, Resource]]:
    """The resources of a file, each with its fullUrl ('' where it has none)."""
    if isinstance(content, list):
        return [pair for one in content for pair in inside(one)]
    if not isinstance(content, dict):
        return []
    if content.get("resourceType") != "Bundle":
        return [("", content)] if "resourceType" in content else []
    entries = [entry for entry in content.get("entry", ()) if isinstance(entry, dict)]
    return [(entry.get("fullUrl", ""), entry["resource"]) for entry in entries if "resource" in entry]


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every JSON object in a value."""
    if isinstance(value, dict):
        yield value
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(one)


def owners(resource: Resource) -> set[str]:
    """The ids of the patients that a resource names as its own, as it writes them."""
    found = {resource["id"]} if resource.get("resourceType") == "Patient" and "id" in resource else set()
    for name in ("subject", "patient", "for", "individual"):
        value = resource.get(name)
        reference = value.get("reference") if isinstance(value, dict) else None
        if isinstance(reference, str):
            found.add(reference.removeprefix("urn:uuid:").partition("/_history/")[0].split("/")[-1])
    return found


def stored(pairs: list[tuple[str, Resource]]) -> list[Resource]:
    """The resources as a server keeps them: references to a fullUrl of the Bundle become Type/id."""
    known = {url: f"{one['resourceType']}/{one['id']}" for url, one in pairs if url and "id" in one}
    resources = [copy.deepcopy(one) for _, one in pairs]
    for one in objects(resources):
        if isinstance(one.get("reference"), str):
            one["reference"] = known.get(one["reference"], one["reference"])
    return resources


def forms(content: Any, services: list[dict[str, Any]]) -> Iterator[Form]:
    """The ways to post a record as prefetch, for each patient whom it names (and for one whom it does not)."""
    pairs = inside(content)
    plain = [resource for _, resource in pairs]
    kept = stored(pairs)
    patients = sorted({owner for resource in plain + kept for owner in owners(resource)})
    for patient in patients or ["nobody"]:
        yield Form("sorted by type", patient, put_in_prefetch(plain, patient, services))
        if kept != plain:
            yield Form("as a server keeps it", patient, put_in_prefetch(kept, patient, services))
        yield Form("whole under every key", patient, dict.fromkeys(put_in_prefetch([], patient, services), content))


def check(client: FlaskClient, form: Form, owned: list[Resource]) -> None:
    """Post a form: no failure, no card without stage IV breast cancer, nothing of another patient."""
    response = client.post(URL, json=patient_view(form.patient, form.prefetch))
    answer = response.get_json()
    assert response.status_code in (200, 412), (form.name, form.patient, response.status_code)
    if response.status_code == 412:
        assert is_outcome(answer)
        return
    assert form.patient in MAY_GET_CARDS or answer["cards"] == [], (form.name, form.patient)
    for reference in references(answer):
        named = [one for one in owned if f"{one.get('resourceType')}/{one.get('id')}" == reference]
        assert any(form.patient in owners(one) for one in named), (form.name, form.patient, reference)


# EVERY FILE


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}"[:110])
def test_a_foreign_record_never_breaks_the_service_and_never_reaches_another_patient(
    client: FlaskClient, services: list[dict[str, Any]], path: Path
) -> None:
    content = parsed(path)
    if is_call(content):
        content = [value for value in content.get("prefetch", {}).values() if isinstance(value, dict)]
    pairs = inside(content)
    owned = [resource for _, resource in pairs] + stored(pairs)
    if isinstance(content, list):
        content = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": one} for _, one in pairs]}
    for form in forms(content, services):
        check(client, form, owned)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}"[:110])
def test_a_file_posted_as_it_is_gets_an_answer_or_an_operation_outcome(client: FlaskClient, path: Path) -> None:
    response = client.post(URL, data=path.read_bytes(), content_type="application/json")
    body = response.get_json()
    content = parsed(path)
    if is_call(content) and content["hook"] == "patient-view" and "patientId" in content["context"]:
        assert response.status_code == 412, "its prefetch keys are not ours, so what is required was not sent"
    else:
        assert response.status_code == 400
    assert is_outcome(body)


@pytest.mark.parametrize(
    "path", [path for path in FILES if is_call(parsed(path))], ids=lambda path: path.stem.partition("__")[2]
)
def test_a_foreign_call_is_answered_under_this_service_and_refused_under_its_own(
    client: FlaskClient, services: list[dict[str, Any]], path: Path
) -> None:
    foreign = parsed(path)
    assert client.post(f"/cds-services/{foreign['hook']}", json=foreign).status_code == 404
    prefetch = foreign.get("prefetch", {})
    resources = [one for value in prefetch.values() for _, one in inside(value)]
    patient = foreign["context"].get("patientId")
    context = {"userId": "Practitioner/1", **foreign["context"]}
    ours = {**foreign, "hook": "patient-view", "context": context}
    ours["prefetch"] = {**prefetch, **put_in_prefetch(resources, patient or "", services)}
    response = client.post(URL, json=ours)
    if patient:
        assert response.status_code == 200
        assert response.get_json()["cards"] == []
    else:
        assert response.status_code == 400
        assert is_outcome(response.get_json())


@pytest.mark.parametrize("path", [path for path in FILES if parsed(path) is None], ids=lambda path: path.stem)
def test_broken_json_inside_a_call_is_refused(client: FlaskClient, path: Path) -> None:
    call = json.dumps(patient_view("example", {"patient": "HERE", "conditions": None}))
    response = client.post(
        URL, data=call.encode().replace(b'"HERE"', path.read_bytes()), content_type="application/json"
    )
    assert response.status_code == 400
    assert is_outcome(response.get_json())


@here
def test_the_single_files_of_mcode_posted_together_stay_apart_by_patient(
    client: FlaskClient, services: list[dict[str, Any]]
) -> None:
    resources = loaded(["hl7.fhir.us.mcode-4.0.0/*.json"])
    patients = {owner for resource in resources for owner in owners(resource)}
    assert len(patients) >= 7
    for patient in sorted(patients):
        mine = [resource for resource in resources if patient in owners(resource) or not owners(resource)]
        alone = Form("by subject", patient, put_in_prefetch(mine, patient, services))
        together = Form("all together", patient, put_in_prefetch(resources, patient, services))
        check(client, alone, resources)
        check(client, together, resources)
        one, other = (client.post(URL, json=patient_view(patient, form.prefetch)) for form in (alone, together))
        assert one.data == other.data, patient


# WHAT A PERSON READ


def loaded(globs: list[str]) -> list[Resource]:
    """The resources of files, as a server keeps them."""
    paths = [path for pattern in globs for path in sorted(SAMPLES.glob(pattern))]
    assert paths, globs
    single = [path for path in paths if parsed(path) is not None and parsed(path).__class__ is dict]
    kinds = {path: parsed(path).get("resourceType") for path in single}
    if len(paths) > 1:  # a Bundle beside its own parts would say everything twice
        paths = [path for path in paths if kinds.get(path) != "Bundle"]
    return [resource for path in paths for resource in stored(inside(parsed(path)))]


def traced(responder: Responder, services: list[dict[str, Any]], patient: str, resources: list[Resource]) -> Trace:
    body = patient_view(patient, put_in_prefetch(resources, patient, services))
    return responder.trace(read(body, HOOKS[0], home()[1]))


def title(record: dict[str, Any]) -> str:
    return f"{record['patient']}-in-{record['files'][0].partition('/')[0]}"


@here
@pytest.mark.parametrize("record", READ_BY_HAND, ids=title)
def test_the_service_reads_what_a_person_read(
    responder: Responder, services: list[dict[str, Any]], record: dict[str, Any]
) -> None:
    trace = traced(responder, services, record["patient"], loaded(record["files"]))
    read_here = {name: trace.facts[name].value for name in record["facts"]}
    assert read_here == record["facts"]


@here
@pytest.mark.parametrize("record", [one for one in READ_BY_HAND if "had" in one], ids=title)
def test_the_service_knows_what_was_certainly_given_and_what_may_have_been(
    responder: Responder, services: list[dict[str, Any]], record: dict[str, Any]
) -> None:
    given = traced(responder, services, record["patient"], loaded(record["files"])).facts["prior-medications"]
    assert {one: given.answer(one).truth for one in record["had"]} == dict.fromkeys(record["had"], TRUE)
    open_ = record.get("may-have-had", ())
    assert {one: given.answer(one).truth for one in open_} == dict.fromkeys(open_, UNKNOWN)


@here
@pytest.mark.parametrize("record", READ_BY_HAND, ids=title)
def test_the_gate_opens_where_a_person_would_open_it(
    responder: Responder, services: list[dict[str, Any]], record: dict[str, Any]
) -> None:
    trace = traced(responder, services, record["patient"], loaded(record["files"]))
    assert GATE_READ.get(trace.gate, "no") == record["gate"], trace.gate


# TWO PATIENTS ANSWERED FROM THE DOCUMENTS


def changed(resources: list[Resource], expected: dict[str, Any]) -> list[Resource]:
    """The record with the one change of a variant: another clinical status, a bone metastasis."""
    change = expected.get("change", {})
    resources = copy.deepcopy(resources)
    primary = next(
        one
        for one in resources
        if one["resourceType"] == "Condition" and expected["patient"] in owners(one) and "stage" in one
    )
    if "status" in change:
        primary["clinicalStatus"]["coding"][0]["code"] = change["status"]
    if change.get("metastasis"):
        bone = {"coding": [{"system": "http://snomed.info/sct", "code": "94222008"}]}
        taken = ("resourceType", "verificationStatus", "subject")
        added = {name: primary[name] for name in taken} | {"id": "added", "code": bone, "onsetDateTime": "2020-01-01"}
        resources.append(added)
    return resources


@pytest.fixture(scope="module")
def answered(client: FlaskClient, services: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    found = {}
    for name, expected in EXPECTED.items():
        resources = changed(loaded(expected["files"]), expected)
        body = patient_view(expected["patient"], put_in_prefetch(resources, expected["patient"], services))
        response = client.post(URL, json=body)
        assert response.status_code == 200
        found[name] = response.get_json()
    return found


@here
@pytest.mark.parametrize("name", [name for name, one in EXPECTED.items() if one["cards"] == "options"])
def test_the_options_of_a_foreign_patient_are_those_of_the_documents(answered: dict, name: str) -> None:
    expected, found, listed = EXPECTED[name], statuses(answered[name]), options(answered[name])
    wrong = {option: found.get(option) for option in expected["listed"] if found.get(option) not in LISTED}
    wrong |= {option: found.get(option) for option in expected["differs"] if found.get(option) != "differs"}
    wrong |= {option: found.get(option) for option in expected["not-listed"] if found.get(option) in LISTED}
    for option, names in expected["needs-data"].items():
        if found.get(option) != "needs-data" or not set(names) <= set(listed[option]["missing"]):
            wrong[option] = (found.get(option), listed.get(option, {}).get("missing"))
    assert not wrong


@here
@pytest.mark.parametrize("name", [name for name, one in EXPECTED.items() if one["cards"] == "none"])
def test_a_foreign_patient_without_stage_iv_gets_no_card_and_the_reason(answered: dict, name: str) -> None:
    assert answered[name]["cards"] == []
    assert [extension["noCard"]["reason"] for extension in extensions(answered[name])]


@here
@pytest.mark.parametrize("name", [name for name, one in EXPECTED.items() if one["cards"] == "over"])
def test_stage_iv_marked_as_over_gets_one_card_without_options(answered: dict, name: str) -> None:
    assert len(answered[name]["cards"]) == 1
    assert options(answered[name]) == {}


@here
@pytest.mark.parametrize("name", EXPECTED)
def test_a_second_application_gives_a_foreign_patient_the_same_answer(
    answered: dict, services: list[dict[str, Any]], name: str
) -> None:
    expected = EXPECTED[name]
    resources = changed(loaded(expected["files"]), expected)
    body = patient_view(expected["patient"], put_in_prefetch(resources, expected["patient"], services))
    assert create_app().test_client().post(URL, json=body).get_json() == answered[name]


# WHAT THE SAMPLES TAUGHT, IN SMALL: holds wherever the project is, with or without the samples

MINE = {"reference": "Patient/va-01"}
SNOMED, LOINC, RXNORM = "http://snomed.info/sct", "http://loinc.org", "http://www.nlm.nih.gov/research/umls/rxnorm"


def coded(system: str, code: str, display: str = "") -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code, **({"display": display} if display else {})}]}


def ask(
    client: FlaskClient, services: list[dict[str, Any]], *more: Resource, without: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The answer for an example patient with more on record (`va-01`: oestrogen receptors positive, spread to bone)."""
    ident, resources = example("VA-01", "mcode")
    kept = [one for one in resources if one["resourceType"] not in without]
    response = client.post(URL, json=patient_view(ident, put_in_prefetch([*kept, *more], ident, services)))
    assert response.status_code == 200
    return response.get_json()


def observation(ident: str, code: dict[str, Any], **more: Any) -> Resource:
    return {"resourceType": "Observation", "id": ident, "status": "final", "subject": MINE, "code": code, **more}


def primary(**more: Any) -> Resource:
    """A cancer of stage IV that is coded as any cancer, its body site as the breast."""
    return {
        "resourceType": "Condition",
        "id": "primary",
        "subject": MINE,
        "clinicalStatus": {"coding": [{"code": "active"}]},
        "verificationStatus": {"coding": [{"code": "confirmed"}]},
        "code": coded(SNOMED, "363346000", "Malignant neoplastic disease (disorder)"),
        "bodySite": [coded(SNOMED, "80248007", "Left breast structure (body structure)")],
        "stage": [{"summary": coded("http://cancerstaging.org", "4", "IV")}],
        **more,
    }


def test_a_wish_for_the_case_of_pain_is_no_pain(client: FlaskClient, services: list[dict[str, Any]]) -> None:
    wish = observation("wish", coded(LOINC, "75773-2"), valueString="If in significant pain, consult palliative care")
    assert facts(ask(client, services, wish))["symptoms"]["value"] == "none"


def test_the_newest_pain_score_counts(client: FlaskClient, services: list[dict[str, Any]]) -> None:
    score = coded(LOINC, "72514-3")
    then = observation("then", score, effectiveDateTime="2018-04-09", valueQuantity={"value": 4, "unit": "{score}"})
    now = observation("now", score, effectiveDateTime="2019-04-15", valueQuantity={"value": 0, "unit": "{score}"})
    assert facts(ask(client, services, then, now))["symptoms"]["value"] == "none"
    assert facts(ask(client, services, then))["symptoms"]["value"] == "pain"


def stopped(medicine: str, **more: Any) -> Resource:
    return {
        "resourceType": "MedicationRequest",
        "id": "stopped",
        "status": "stopped",
        "intent": "order",
        "subject": MINE,
        "medicationCodeableConcept": {"text": medicine},
        **more,
    }


def test_a_painkiller_that_was_stopped_is_no_progression(client: FlaskClient, services: list[dict[str, Any]]) -> None:
    assert facts(ask(client, services, stopped("ibuprofen")))["progressed-on"]["value"] == "none"


def test_a_medicine_that_may_be_one_of_two_is_not_none(client: FlaskClient, services: list[dict[str, Any]]) -> None:
    """The code means nab-paclitaxel, its words say paclitaxel."""
    either = {
        "resourceType": "MedicationAdministration",
        "id": "either",
        "status": "completed",
        "subject": MINE,
        "effectiveDateTime": "2018-01-01",
        "medicationCodeableConcept": coded(RXNORM, "583214", "paclitaxel 100 MG Injection"),
    }
    fact = facts(ask(client, services, either))["prior-medications"]
    assert fact["value"] != "none"


def test_a_drug_stopped_as_not_tolerated_is_not_reported_as_no_contraindication(
    client: FlaskClient, services: list[dict[str, Any]]
) -> None:
    cisplatin = stopped("cisplatin", statusReason={"text": "not tolerated"})
    assert facts(ask(client, services, cisplatin))["contraindications"]["value"] != "none"


def test_any_cancer_with_the_breast_as_body_site_is_breast_cancer(
    client: FlaskClient, services: list[dict[str, Any]]
) -> None:
    assert options(ask(client, services, primary(), without=("Condition",)))
    elsewhere = primary(bodySite=[coded(SNOMED, "774007", "Structure of head and/or neck")])
    assert ask(client, services, elsewhere, without=("Condition", "Observation"))["cards"] == []


def test_the_stage_of_another_patient_is_not_borrowed(client: FlaskClient, services: list[dict[str, Any]]) -> None:
    """The Condition points at a stage group that belongs to somebody else."""
    cancer = primary(stage=[{"assessment": [{"reference": "Observation/group"}]}])
    group = observation(
        "group", coded(LOINC, "21908-9"), valueCodeableConcept=coded("http://cancerstaging.org", "4", "IV")
    )
    mine = ask(client, services, cancer, group, without=("Condition", "Observation"))
    assert options(mine)
    theirs = ask(client, services, cancer, of_somebody_else(group), without=("Condition", "Observation"))
    assert theirs["cards"] == []


def test_a_history_of_metastasis_with_the_value_false_is_no_metastasis(
    client: FlaskClient, services: list[dict[str, Any]]
) -> None:
    cancer = primary(stage=[])
    del cancer["stage"]
    no_history = observation("history", coded(SNOMED, "1287652008"), valueBoolean=False)
    assert ask(client, services, cancer, no_history, without=("Condition", "Observation"))["cards"] == []


def test_a_loose_medication_is_no_treatment(client: FlaskClient, services: list[dict[str, Any]]) -> None:
    loose = {"resourceType": "Medication", "id": "loose", "code": {"text": "capecitabine"}}
    assert ask(client, services, loose) == ask(client, services)


def test_a_diagnosis_in_an_older_version_of_fhir_is_read_like_its_twin_in_r4(
    client: FlaskClient, services: list[dict[str, Any]]
) -> None:
    old = primary(clinicalStatus="active", verificationStatus="confirmed")
    answers = [ask(client, services, one, without=("Condition",)) for one in (primary(), old)]
    assert options(answers[0])
    assert answers[1] == answers[0]


def test_a_diagnosis_that_cannot_be_read_is_named_as_the_reason_for_no_card(
    client: FlaskClient, services: list[dict[str, Any]]
) -> None:
    """Its conditions were delivered, and whole: to say that they were not would send the reader the wrong way."""
    unread = primary(clinicalStatus="active", verificationStatus="unknown")
    (extension,) = extensions(ask(client, services, unread, without=("Condition",)))
    assert {one["fact"]: one["value"] for one in extension["noCard"]["gate"]}["breast-cancer"] == "unknown"
    assert "read" in extension["noCard"]["reason"]
    assert "not delivered" not in extension["noCard"]["reason"]


def test_a_patient_named_by_the_full_url_of_the_same_bundle_is_found(
    client: FlaskClient, services: list[dict[str, Any]]
) -> None:
    ident, resources = example("VA-01", "mcode")
    url = "urn:uuid:d831ec91-c7a3-4a61-9312-7ff0c4a32134"
    prefetch = put_in_prefetch(resources, ident, services)
    patient = {"fullUrl": url, "resource": prefetch["patient"], "search": {"mode": "include"}}
    by_url = json.loads(json.dumps(prefetch).replace(f"Patient/{ident}", url))
    for value in by_url.values():
        if value["resourceType"] == "Bundle":
            value["entry"].append(patient)
    before, after = (client.post(URL, json=patient_view(ident, one)).get_json() for one in (prefetch, by_url))
    assert statuses(after) == statuses(before)
