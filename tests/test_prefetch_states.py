"""What a prefetch key may hold, and what a call may be wrong in (CDS Hooks 2.0, "Prefetch Template" and "Calling").

A key that is absent was not looked up; null or an empty Bundle means that nothing is there; an OperationOutcome means
that the look failed; a page of more, a larger total, an OperationOutcome among the entries mean that some are lacking.
"""

import copy
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from support import (
    INSTANCE,
    SERVICE_ID,
    URL,
    Resource,
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
    templates,
    type_of,
)

from cds_service.errors import BadRequest
from cds_service.hooks.catalogue import HOOKS
from cds_service.hooks.request import parse
from cds_service.knowledge.load import home, load
from cds_service.patient.queries import queries

OUTCOME = {
    "resourceType": "OperationOutcome",
    "issue": [{"severity": "error", "code": "exception", "diagnostics": "the server did not answer"}],
}
REQUIRED = ("patient", "conditions")
#: a patient with stage IV breast cancer, all answers on record and neither medicine, procedure nor allergy
PATIENT, RECORD = example("VA-01", "mcode")
EMPTY = {"resourceType": "Bundle", "type": "searchset", "total": 0}
MINE = {"reference": f"Patient/{PATIENT}"}

State = Callable[[dict[str, Any], str], None]


# STATES OF A KEY


def absent(prefetch: dict[str, Any], key: str) -> None:
    del prefetch[key]


def null(prefetch: dict[str, Any], key: str) -> None:
    prefetch[key] = None


def empty_bundle(prefetch: dict[str, Any], key: str) -> None:
    prefetch[key] = dict(EMPTY)


def empty_entry(prefetch: dict[str, Any], key: str) -> None:
    prefetch[key] = {**EMPTY, "entry": []}


def bundle_without_total(prefetch: dict[str, Any], key: str) -> None:
    prefetch[key] = {"resourceType": "Bundle", "type": "searchset"}


def outcome(prefetch: dict[str, Any], key: str) -> None:
    prefetch[key] = copy.deepcopy(OUTCOME)


def bare_string(prefetch: dict[str, Any], key: str) -> None:
    prefetch[key] = "nothing found"


def bare_list(prefetch: dict[str, Any], key: str) -> None:
    prefetch[key] = []


def bare_object(prefetch: dict[str, Any], key: str) -> None:
    prefetch[key] = {}


def broken_entries(prefetch: dict[str, Any], key: str) -> None:
    prefetch[key] = {"resourceType": "Bundle", "type": "searchset", "entry": "nothing found"}


def broken_entry(prefetch: dict[str, Any], key: str) -> None:
    wrap(prefetch, key)["entry"].append({"search": {"mode": "match"}, "resource": "nothing found"})


def entry_without_type(prefetch: dict[str, Any], key: str) -> None:
    wrap(prefetch, key)["entry"].append({"search": {"mode": "match"}, "resource": {"id": "without-a-type"}})


def next_link(prefetch: dict[str, Any], key: str) -> None:
    wrap(prefetch, key)["link"] = [
        {"relation": "self", "url": "https://ehr.example.org/1"},
        {"relation": "next", "url": "https://ehr.example.org/2"},
    ]


def larger_total(prefetch: dict[str, Any], key: str) -> None:
    bundle = wrap(prefetch, key)
    bundle["total"] = len(bundle["entry"]) + 1


def outcome_entry(prefetch: dict[str, Any], key: str) -> None:
    wrap(prefetch, key)["entry"].append({"search": {"mode": "outcome"}, "resource": copy.deepcopy(OUTCOME)})


def wrap(prefetch: dict[str, Any], key: str) -> dict[str, Any]:
    """The Bundle of a key; a single resource is put in one."""
    value = prefetch[key]
    if value.get("resourceType") != "Bundle":
        value = prefetch[key] = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": value}]}
    value["entry"] = list(value.get("entry", ()))
    return value


def warning_that_hides(prefetch: dict[str, Any], key: str) -> None:
    issue = {"severity": "warning", "code": "suppressed"}
    add(prefetch, key, {"resourceType": "OperationOutcome", "issue": [issue]})


def outcome_without_issue(prefetch: dict[str, Any], key: str) -> None:
    add(prefetch, key, {"resourceType": "OperationOutcome"})


def next_link_though_the_total_is_there(prefetch: dict[str, Any], key: str) -> None:
    """A server may estimate its totals; a page that it announces may hold more."""
    next_link(prefetch, key)
    prefetch[key]["total"] = len(prefetch[key]["entry"])


def list_of_resources(prefetch: dict[str, Any], key: str) -> None:
    """Not a Bundle: whether it is all there is, nobody says."""
    prefetch[key] = [entry["resource"] for entry in wrap(prefetch, key)["entry"]] or [copy.deepcopy(RECORD[1])]


def nested_too_deep(prefetch: dict[str, Any], key: str) -> None:
    for _ in range(9):
        prefetch[key] = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": wrap(prefetch, key)}]}


def nested_in_part(prefetch: dict[str, Any], key: str) -> None:
    next_link(prefetch, key)
    prefetch[key] = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": prefetch[key]}]}


def patient_without_id(prefetch: dict[str, Any], key: str) -> None:
    add(prefetch, key, {"resourceType": "Patient", "gender": "female"})


def another_search(prefetch: dict[str, Any], key: str) -> None:
    """The client mixed its keys up: this is the answer to some other query."""
    kind = "Procedure" if key != "procedures" else "AllergyIntolerance"
    owner = "patient" if kind == "AllergyIntolerance" else "subject"
    resource = {"resourceType": kind, "id": "1", owner: MINE, "status": "completed", "code": {"text": "other"}}
    prefetch[key] = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": resource}]}


def add(prefetch: dict[str, Any], key: str, resource: Resource, **more: Any) -> None:
    wrap(prefetch, key)["entry"].append({"resource": resource, **more})


NOTHING_THERE: list[State] = [null, empty_bundle, empty_entry, bundle_without_total]
NOT_DELIVERED: list[State] = [absent, outcome, bare_string, bare_list, bare_object]
IN_PART: list[State] = [
    next_link, larger_total, outcome_entry, broken_entries, broken_entry, entry_without_type, warning_that_hides,
    outcome_without_issue, next_link_though_the_total_is_there, list_of_resources, nested_too_deep, nested_in_part,
    patient_without_id, another_search,
]  # fmt: skip
#: facts for which nothing on record means 'none', and the queries that would hold it
NONE_BY_SILENCE = {
    "conditions": ("symptoms",),
    "procedures": ("refusals",),
    "allergies": ("contraindications",),
    "medications": ("prior-medications", "progressed-on"),
    "medication-statements": ("prior-medications", "progressed-on"),
    "medication-administrations": ("prior-medications", "progressed-on"),
}
KEYS = [need.key for need in queries(load())]
OPTIONAL = [key for key in KEYS if key not in REQUIRED]
#: lists of medicines that complete the orders
ADDITIONS = ("medication-statements", "medication-administrations")
every_key = pytest.mark.parametrize("key", KEYS)
every_required_key = pytest.mark.parametrize("key", REQUIRED)


def states(*groups: list[State]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("state", [one for group in groups for one in group], ids=lambda one: one.__name__)


@pytest.fixture
def prefetch(services: list[dict[str, Any]]) -> dict[str, Any]:
    return put_in_prefetch(copy.deepcopy(RECORD), PATIENT, services)


def post(client: FlaskClient, prefetch: dict[str, Any], status: int = 200) -> dict[str, Any]:
    response = client.post(URL, json=patient_view(PATIENT, prefetch))
    assert response.status_code == status, response.get_data(as_text=True)
    return response.get_json()


def test_the_keys_of_these_tests_are_those_of_discovery(services: list[dict[str, Any]]) -> None:
    assert set(templates(services)) == set(KEYS)
    assert set(REQUIRED) | set(NONE_BY_SILENCE) <= set(KEYS)


def test_the_record_of_these_tests_has_options_and_every_silent_fact_is_none(
    client: FlaskClient, prefetch: dict[str, Any]
) -> None:
    answer = post(client, prefetch)
    assert options(answer)
    silent = {name for names in NONE_BY_SILENCE.values() for name in names}
    assert {name: facts(answer)[name]["value"] for name in silent} == dict.fromkeys(silent, "none")


@every_required_key
@states(NOT_DELIVERED)
def test_what_is_required_and_not_delivered_is_refused_by_name(
    client: FlaskClient, prefetch: dict[str, Any], key: str, state: State
) -> None:
    state(prefetch, key)
    body = post(client, prefetch, 412)
    assert is_outcome(body)
    assert [issue["expression"] for issue in body["issue"]] == [[f"$.prefetch.{key}"]]
    assert key in body["issue"][0]["diagnostics"]


def test_everything_that_is_required_and_lacking_is_named_at_once(client: FlaskClient) -> None:
    for body in (patient_view(PATIENT, {}), patient_view(PATIENT, None)):
        response = client.post(URL, json=body)
        assert response.status_code == 412
        assert is_outcome(response.get_json())
        for key in REQUIRED:
            assert key in response.get_data(as_text=True)


@every_key
@states(NOTHING_THERE)
def test_nothing_there_is_an_answer(client: FlaskClient, prefetch: dict[str, Any], key: str, state: State) -> None:
    state(prefetch, key)
    answer = post(client, prefetch)
    for name in NONE_BY_SILENCE.get(key, ()) if key != "conditions" else ():
        assert facts(answer)[name]["value"] == "none"


@every_key
def test_every_way_to_say_nothing_there_is_answered_alike(
    client: FlaskClient, prefetch: dict[str, Any], key: str
) -> None:
    answers = []
    for state in NOTHING_THERE:
        changed = copy.deepcopy(prefetch)
        state(changed, key)
        answers.append(post(client, changed))
    assert all(answer == answers[0] for answer in answers)


def test_a_patient_without_conditions_gets_no_card(client: FlaskClient, prefetch: dict[str, Any]) -> None:
    for state in NOTHING_THERE:
        state(prefetch, "conditions")
        assert post(client, prefetch)["cards"] == []


@pytest.mark.parametrize(
    ("key", "state"),
    [
        pytest.param(key, state, id=f"{key}-{state.__name__}")
        for key in OPTIONAL
        for state in [*NOT_DELIVERED, *IN_PART]
        if not (state is absent and key in ADDITIONS)  # has its own test, below
    ],
)
def test_what_was_not_delivered_whole_is_unknown_and_never_none(
    client: FlaskClient, prefetch: dict[str, Any], key: str, state: State
) -> None:
    state(prefetch, key)
    answer = post(client, prefetch)
    assert options(answer)
    silent = NONE_BY_SILENCE.get(key, ())
    assert {name: facts(answer)[name]["value"] for name in silent} == dict.fromkeys(silent, "unknown")


@pytest.mark.parametrize("key", ADDITIONS)
def test_statements_and_administrations_only_add_to_the_orders(
    client: FlaskClient, prefetch: dict[str, Any], key: str
) -> None:
    """Many records keep orders alone: where nobody looked for the others, the orders are the list."""
    absent(prefetch, key)
    assert facts(post(client, prefetch))["prior-medications"]["value"] == "none"


def test_without_the_orders_there_is_no_list_of_medicines(client: FlaskClient, prefetch: dict[str, Any]) -> None:
    absent(prefetch, "medications")
    assert facts(post(client, prefetch))["prior-medications"]["value"] == "unknown"


@states(NOT_DELIVERED, IN_PART)
def test_when_no_medication_query_was_delivered_whole_earlier_medicines_are_unknown(
    client: FlaskClient, prefetch: dict[str, Any], state: State
) -> None:
    for key in ("medications", *ADDITIONS):
        state(prefetch, key)
    answer = post(client, prefetch)
    for name in ("prior-medications", "progressed-on", "lines"):
        assert facts(answer)[name]["value"] == "unknown"
    assert statuses(answer)["fulvestrant"] == "needs-data"


@states(NOT_DELIVERED, IN_PART)
def test_allergies_that_were_not_delivered_whole_leave_no_drug_supported(
    client: FlaskClient, prefetch: dict[str, Any], state: State
) -> None:
    state(prefetch, "allergies")
    listed = statuses(post(client, prefetch))
    assert {listed[drug] for drug in ("tamoxifen", "letrozole", "denosumab")} == {"needs-data"}


@states([one for one in IN_PART if one not in (broken_entries, nested_too_deep, another_search)])
def test_conditions_in_part_still_open_the_gate_and_leave_symptoms_unknown(
    client: FlaskClient, prefetch: dict[str, Any], state: State
) -> None:
    state(prefetch, "conditions")
    answer = post(client, prefetch)
    assert options(answer)
    assert facts(answer)["symptoms"]["value"] == "unknown"


@pytest.mark.parametrize("state", IN_PART, ids=lambda one: one.__name__)
def test_the_patient_in_part_is_answered(client: FlaskClient, prefetch: dict[str, Any], state: State) -> None:
    state(prefetch, "patient")
    post(client, prefetch)


@pytest.mark.parametrize("state", NOT_DELIVERED, ids=lambda one: one.__name__)
def test_no_observation_query_delivered_leaves_every_result_unknown(
    client: FlaskClient, services: list[dict[str, Any]], prefetch: dict[str, Any], state: State
) -> None:
    for key, template in templates(services).items():
        if type_of(template) == "Observation":
            state(prefetch, key)
    answer = post(client, prefetch)
    for name in ("er", "pr", "hr", "her2", "menopause", "brca", "fitness", "calcium"):
        assert facts(answer)[name]["value"] == "unknown"


# PREFETCH IN THE WILD


def remark(prefetch: dict[str, Any], key: str) -> None:
    """What servers say of a search that is whole (http://hl7.org/fhir/R4/bundle-search-warning.html)."""
    for severity, code in (("information", "informational"), ("warning", "not-found"), ("warning", "processing")):
        issue = {"severity": severity, "code": code, "details": {"text": "of no consequence"}}
        add(prefetch, key, {"resourceType": "OperationOutcome", "issue": [issue]}, search={"mode": "outcome"})


def smaller_total(prefetch: dict[str, Any], key: str) -> None:
    """Included resources do not count, and some servers count wrongly: there is nothing that would be lacking."""
    wrap(prefetch, key)["total"] = 0


def collection(prefetch: dict[str, Any], key: str) -> None:
    wrap(prefetch, key)["type"] = "collection"


def nested(prefetch: dict[str, Any], key: str) -> None:
    prefetch[key] = {"resourceType": "Bundle", "type": "transaction", "entry": [{"resource": wrap(prefetch, key)}]}


def twice(prefetch: dict[str, Any], key: str) -> None:
    wrap(prefetch, key)["entry"] += copy.deepcopy(prefetch[key]["entry"])
    prefetch[key].pop("total", None)


def with_full_urls(prefetch: dict[str, Any], key: str) -> None:
    for entry in wrap(prefetch, key)["entry"]:
        named = entry["resource"]
        entry["fullUrl"] = f"https://ehr.example.org/fhir/{named['resourceType']}/{named['id']}"


def older_versions(prefetch: dict[str, Any], key: str) -> None:
    """A history: the same resources before they were what they are now."""
    for entry in list(wrap(prefetch, key)["entry"]):
        entry["resource"] = {**entry["resource"], "meta": {"versionId": "10"}}
        old = {"resourceType": entry["resource"]["resourceType"], "id": entry["resource"]["id"]}
        owner = {name: entry["resource"][name] for name in ("subject", "patient") if name in entry["resource"]}
        add(prefetch, key, {**old, **owner, "meta": {"versionId": "9"}, "code": {"text": "breast cancer"}})
    prefetch[key] |= {"type": "history", "total": None}


def remarks_in_a_list_of_links(prefetch: dict[str, Any], key: str) -> None:
    wrap(prefetch, key)["link"] = [{"relation": "self", "url": "https://ehr.example.org/fhir"}, "next", {"url": 5}]


@every_key
@states([remark, smaller_total, collection, nested, twice, with_full_urls, older_versions, remarks_in_a_list_of_links])
def test_what_is_unusual_and_whole_is_read_like_the_usual(
    client: FlaskClient, prefetch: dict[str, Any], key: str, state: State
) -> None:
    before = post(client, prefetch)
    state(prefetch, key)
    assert post(client, prefetch) == before


def test_everything_in_one_bundle_under_every_key_is_read_like_the_usual(
    client: FlaskClient, prefetch: dict[str, Any]
) -> None:
    whole = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": one} for one in RECORD]}
    assert post(client, dict.fromkeys(prefetch, whole)) == post(client, prefetch)


def test_everything_in_one_bundle_under_one_key_is_evidence_and_silence_is_not_none(client: FlaskClient) -> None:
    whole = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": one} for one in RECORD]}
    answer = post(client, {"conditions": whole})
    assert options(answer)
    assert facts(answer)["er"]["value"] != "unknown"
    assert {facts(answer)[name]["value"] for name in ("contraindications", "prior-medications")} == {"unknown"}


def test_what_a_bundle_says_was_deleted_is_not_used(client: FlaskClient, prefetch: dict[str, Any]) -> None:
    """Whatever order the entries come in: the deletion may be older than the version that is there."""
    conditions = wrap(prefetch, "conditions")["entry"]
    gone = [{"request": {"method": "DELETE", "url": f"Condition/{one['resource']['id']}"}} for one in conditions]
    for listed in ([*gone, *conditions], [*conditions, *gone]):
        prefetch["conditions"] = {"resourceType": "Bundle", "type": "history", "entry": listed}
        answer = post(client, prefetch)
        assert answer["cards"] == []
        (extension,) = extensions(answer)
        assert {one["fact"]: one["value"] for one in extension["noCard"]["gate"]}["breast-cancer"] == "unknown"


NAMED_BY_TYPE = {
    "patient": "Patient", "conditions": "Condition", "laboratory": "Observation", "observations": "Observation",
    "medications": "MedicationRequest", "procedures": "Procedure", "allergies": "AllergyIntolerance",
    "medication-statements": "MedicationStatement", "medication-administrations": "MedicationAdministration",
}  # fmt: skip


def under_other_names(prefetch: dict[str, Any]) -> dict[str, Any]:
    """Every value that is not empty under a name of the client's own."""
    return {f"my{kind}": prefetch[key] for key, kind in NAMED_BY_TYPE.items() if prefetch[key].get("entry") != []}


def test_a_record_under_other_keys_is_evidence_and_silence_is_not_none(
    client: FlaskClient, prefetch: dict[str, Any]
) -> None:
    """What the client looked for is not known: what is there counts, and what is not there does not count as none."""
    usual, answer = post(client, prefetch), post(client, under_other_names(prefetch))
    assert options(answer)
    read = {name: fact["value"] for name, fact in facts(answer).items()}
    silent = {name for names in NONE_BY_SILENCE.values() for name in names} | {"ovarian-suppression", "lines"}
    assert {name: fact["value"] for name, fact in facts(usual).items() if name not in silent} == {
        name: value for name, value in read.items() if name not in silent
    }
    assert {read[name] for name in silent} == {"unknown"}


@pytest.mark.parametrize("key", REQUIRED)
def test_what_is_required_may_come_under_another_name(client: FlaskClient, prefetch: dict[str, Any], key: str) -> None:
    prefetch["renamed"] = prefetch.pop(key)
    assert options(post(client, prefetch))


@pytest.mark.parametrize("key", REQUIRED)
def test_what_is_required_and_failed_may_come_under_another_name(
    client: FlaskClient, prefetch: dict[str, Any], key: str
) -> None:
    prefetch["renamed"] = prefetch[key]
    outcome(prefetch, key)
    assert options(post(client, prefetch))


@pytest.mark.parametrize("key", ["medications", "procedures", "allergies"])
@pytest.mark.parametrize(
    ("more", "whole"),
    [
        ("", True),
        ("&_count=50&_sort=-date", True),
        ("&_lastUpdated=ge2026-01-01", False),
        ("&status=active", False),
        ("&patient=another", False),
    ],
)
def test_a_search_that_says_what_it_answers_is_whole_under_another_name(
    client: FlaskClient,
    services: list[dict[str, Any]],
    prefetch: dict[str, Any],
    key: str,
    more: str,
    whole: bool,
) -> None:
    query = templates(services)[key].replace("{{context.patientId}}", PATIENT)
    expected = post(client, prefetch)
    prefetch["renamed"] = {
        **wrap(prefetch, key),
        "link": [{"relation": "self", "url": f"https://ehr.example.org/fhir/{query}{more}"}],
    }
    del prefetch[key]
    answer = post(client, prefetch)
    assert (answer == expected) is whole
    for name in NONE_BY_SILENCE[key]:
        assert facts(answer)[name]["value"] == ("none" if whole else "unknown")


def test_a_search_for_another_patient_is_no_answer_under_any_name(
    client: FlaskClient, services: list[dict[str, Any]], prefetch: dict[str, Any]
) -> None:
    query = templates(services)["allergies"].replace("{{context.patientId}}", "another")
    prefetch["renamed"] = {**prefetch.pop("allergies"), "link": [{"relation": "self", "url": f"https://x.org/{query}"}]}
    assert facts(post(client, prefetch))["contraindications"]["value"] == "unknown"


@pytest.mark.parametrize("ident", ["with_underscore", "4711", "a.b-c", "9" * 64])
def test_an_unusual_id_of_the_patient_is_an_id(client: FlaskClient, services: list[dict[str, Any]], ident: str) -> None:
    text = json.dumps(put_in_prefetch(RECORD, PATIENT, services)).replace(PATIENT, ident)
    response = client.post(URL, json=patient_view(ident, json.loads(text)))
    assert options(response.get_json())


def test_ids_that_are_numbers_are_read_by_their_digits(client: FlaskClient, services: list[dict[str, Any]]) -> None:
    """FHIR ids are strings; some clients send what stands in their database."""
    prefetch = json.loads(json.dumps(put_in_prefetch(RECORD, PATIENT, services)).replace(PATIENT, "4711"))
    prefetch["patient"]["id"] = 4711
    answer = client.post(URL, json=patient_view("4711", prefetch)).get_json()
    assert facts(answer)["sex"] == {**facts(answer)["sex"], "value": "female", "references": ["Patient/4711"]}


def test_resources_without_an_id_or_a_url_are_told_apart_by_what_they_say(
    client: FlaskClient, services: list[dict[str, Any]]
) -> None:
    resources = [{name: value for name, value in one.items() if name != "id"} for one in RECORD[1:]]
    usual = post(client, put_in_prefetch(RECORD, PATIENT, services))
    for order in (resources, resources[::-1]):
        answer = post(client, put_in_prefetch([RECORD[0], *order], PATIENT, services))
        assert statuses(answer) == statuses(usual)
        assert len(set(references(answer))) > 3


def test_resources_without_an_id_are_evidence_of_their_own(client: FlaskClient, services: list[dict[str, Any]]) -> None:
    """They are told apart by the URLs of their entries."""
    resources = [{name: value for name, value in one.items() if name != "id"} for one in RECORD[1:]]
    prefetch = put_in_prefetch([RECORD[0], *resources], PATIENT, services)
    number = 0
    for bundle in prefetch.values():
        for entry in bundle.get("entry", ()):
            number += 1
            entry["fullUrl"] = f"urn:uuid:0c3151bd-1cbf-4d64-b04d-{number:012}"
    usual = post(client, put_in_prefetch(RECORD, PATIENT, services))
    assert statuses(post(client, prefetch)) == statuses(usual)


def test_a_key_that_nobody_asked_for_changes_nothing(client: FlaskClient, prefetch: dict[str, Any]) -> None:
    before = post(client, prefetch)
    prefetch["encounters"] = {"resourceType": "Encounter", "id": "e"}
    prefetch["Condition"] = of_somebody_else(RECORD[1])
    assert post(client, prefetch) == before


# WHOSE RESOURCES


@every_key
def test_resources_of_another_patient_are_never_used(
    client: FlaskClient, services: list[dict[str, Any]], prefetch: dict[str, Any], key: str
) -> None:
    """Somebody else's record under a key reads as if the key held nothing."""
    somebody, strangers = example("B-V22", "mcode")
    foreign = put_in_prefetch(strangers, somebody, services)
    held = copy.deepcopy(prefetch)
    held[key] = foreign[key]
    null(prefetch, key)
    answer = post(client, held)
    assert answer == post(client, prefetch)
    named = {f"{one['resourceType']}/{one['id']}" for one in strangers}
    assert not named & set(references(answer))


@every_key
def test_resources_of_another_patient_beside_ones_own_are_never_used(
    client: FlaskClient, prefetch: dict[str, Any], services: list[dict[str, Any]], key: str
) -> None:
    before = post(client, prefetch)
    _, strangers = example("B-V22", "mcode")
    for stranger in strangers:
        if stranger["resourceType"] == type_of(templates(services)[key]):
            wrap(prefetch, key)["entry"].append({"resource": stranger})
    assert post(client, {**prefetch, key: {**prefetch[key], "total": None}}) == before


def test_a_call_for_one_patient_with_the_record_of_another_gets_no_card(
    client: FlaskClient, services: list[dict[str, Any]]
) -> None:
    body = patient_view("another", put_in_prefetch(RECORD, PATIENT, services))
    response = client.post(URL, json=body)
    assert response.status_code == 200
    assert response.get_json()["cards"] == []


SUBJECTS = {
    "relative": f"Patient/{PATIENT}",
    "of a version": f"Patient/{PATIENT}/_history/3",
    "absolute": f"https://ehr.example.org/fhir/Patient/{PATIENT}",
    "urn of the id": f"urn:uuid:{PATIENT}",
}


@pytest.mark.parametrize("reference", SUBJECTS.values(), ids=SUBJECTS)
def test_every_usual_way_to_name_the_patient_is_understood(
    client: FlaskClient, services: list[dict[str, Any]], reference: str
) -> None:
    resources = copy.deepcopy(RECORD)
    for resource in resources:
        if "subject" in resource:
            resource["subject"] = {"reference": reference}
    before = post(client, put_in_prefetch(RECORD, PATIENT, services))
    assert post(client, put_in_prefetch(resources, PATIENT, services)) == before


STRANGE = {
    "nobody": {},
    "a name only": {"display": "Alva Ash"},
    "an identifier only": {"identifier": {"system": "urn:oid:1", "value": "1"}},
    "a longer id": {"reference": f"Patient/{PATIENT}-2"},
    "a part of the id": {"reference": f"Patient/{PATIENT[:-1]}"},
    "another type": {"reference": f"Group/{PATIENT}"},
    "another capital": {"reference": f"Patient/{PATIENT.upper()}"},
    "a query": {"reference": f"Patient?identifier={PATIENT}"},
    "a number": {"reference": 5},
}


@pytest.mark.parametrize("subject", STRANGE.values(), ids=STRANGE)
def test_a_resource_that_does_not_name_the_patient_is_never_used(
    client: FlaskClient, services: list[dict[str, Any]], subject: Any
) -> None:
    resources = copy.deepcopy(RECORD)
    for resource in resources:
        if "subject" in resource:
            resource["subject"] = subject
    assert post(client, put_in_prefetch(resources, PATIENT, services))["cards"] == []


THEIRS = {"reference": "Patient/somebody-else"}
FOREIGN: dict[str, Resource] = {
    "by another subject": {"subject": THEIRS},
    "by another patient": {"patient": THEIRS},
    "mine as subject, theirs as patient": {"subject": MINE, "patient": THEIRS},
    "theirs as subject, mine as patient": {"subject": THEIRS, "patient": MINE},
    "by an absolute URL": {"subject": {"reference": "https://ehr.example.org/fhir/Patient/somebody-else"}},
    "by a version": {"subject": {"reference": "Patient/somebody-else/_history/2"}},
    "by the URL of an entry": {"subject": {"reference": "urn:uuid:11111111-1111-4111-8111-111111111111"}},
    "by the URL of nothing": {"subject": {"reference": "urn:uuid:22222222-2222-4222-8222-222222222222"}},
    "by a URL that two claim": {"subject": {"reference": "urn:uuid:33333333-3333-4333-8333-333333333333"}},
    "by a contained patient": {"subject": {"reference": "#p"}, "contained": [{"resourceType": "Patient", "id": "p"}]},
    "by a contained patient of my id": {
        "subject": {"reference": f"#{PATIENT}"}, "contained": [{"resourceType": "Patient", "id": PATIENT}],
    },
    "by nothing": {},
}  # fmt: skip


@pytest.mark.parametrize("owner", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("kind", ["Condition", "Observation", "MedicationRequest", "MedicationOrder"])
def test_nothing_of_another_patient_is_used_however_it_is_referred_to(
    client: FlaskClient, prefetch: dict[str, Any], owner: Resource, kind: str
) -> None:
    """A metastasis, a receptor, a medicine of somebody else beside one's own: no fact may cite them."""
    key = {"Condition": "conditions", "Observation": "laboratory"}.get(kind, "medications")
    for number, whose in ((1, "somebody-else"), (3, "somebody-else"), (3, PATIENT)):
        url = f"urn:uuid:{str(number) * 8}-{str(number) * 4}-4{str(number) * 3}-8{str(number) * 3}-{str(number) * 12}"
        add(prefetch, key, {"resourceType": "Patient", "id": whose}, fullUrl=url, search={"mode": "include"})
    before = facts(post(client, prefetch))
    drug = {"coding": [{"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "72965"}]}
    said = {
        "Condition": {"code": {"text": "brain metastasis"}},
        "Observation": {"status": "final", "code": {"text": "HER2"}, "valueString": "equivocal", "issued": "2031"},
    }.get(kind, {"status": "stopped", "intent": "order", "medicationCodeableConcept": drug})
    add(prefetch, key, {"resourceType": kind, "id": "foreign", **said, **owner})
    answer = post(client, {**prefetch, key: {**prefetch[key], "total": None}})
    assert f"{kind}/foreign" not in set(references(answer))
    for name, fact in facts(answer).items():
        assert fact["value"] in (before[name]["value"], "unknown")


def test_an_allergy_that_names_nobody_leaves_contraindications_unknown(
    client: FlaskClient, services: list[dict[str, Any]]
) -> None:
    """It was delivered under this patient's key and cannot be counted: that is not the same as no allergy."""
    allergy: Resource = {
        "resourceType": "AllergyIntolerance",
        "id": "whose",
        "patient": {"display": "Alva Ash"},
        "code": {"text": "letrozole"},
    }
    answer = post(client, put_in_prefetch([*RECORD, allergy], PATIENT, services))
    assert facts(answer)["contraindications"]["value"] == "unknown"


# CALLS


def refused(response: Any, status: int) -> str:
    """The text of a refusal of a status; it has to be an OperationOutcome."""
    assert response.status_code == status, response.get_data(as_text=True)
    assert response.mimetype == "application/json"
    assert is_outcome(response.get_json())
    return response.get_data(as_text=True)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"hello",
        b'{"hook": "patient-view"',
        b'{"hook": "patient-view",}',
        b"{'hook': 'patient-view'}",
        b'{"hook": NaN}',
        b'{"hook": Infinity}',
        b'{"hook": "\xff\xfe"}',
        b'{"hook": "\\ud800"}',
        b"\x00",
        b"[" * 5000,
        "null",
        b"[]",
        b"[{}]",
        b'"patient-view"',
        b"5",
        b"true",
        b"{}",
    ],
    ids=lambda body: str(body)[:30],
)
def test_a_body_that_is_no_call_is_refused(client: FlaskClient, body: bytes) -> None:
    refused(client.post(URL, data=body, content_type="application/json"), 400)


@pytest.mark.parametrize(
    ("member", "where"),
    [
        ('"hook": "patient-view"', "$.hook"),
        ('"prefetch": {}', "$.prefetch"),
        ('"context": {"patientId": "somebody-else", "userId": "Practitioner/1"}', "$.context"),
        ('"fhirServer": "https://a.org", "fhirServer": "https://b.org"', "$.fhirServer"),
    ],
)
def test_a_member_of_a_call_that_stands_twice_is_refused(client: FlaskClient, member: str, where: str) -> None:
    """A parser keeps one of the two; whose record is meant must not depend on which one."""
    body = json.dumps(call())[:-1] + f", {member}}}"
    text = refused(client.post(URL, data=body, content_type="application/json"), 400)
    assert f"{where}: found a member that stands twice" in text


def test_a_patient_who_is_named_twice_is_refused(client: FlaskClient) -> None:
    body = json.dumps(call()).replace('"patientId":', '"patientId": "somebody-else", "patientId":')
    assert "$.context.patientId" in refused(client.post(URL, data=body, content_type="application/json"), 400)


def test_a_member_of_that_name_elsewhere_is_no_repetition(client: FlaskClient) -> None:
    inside = {"hook": [{"prefetch": {"hook": 1, "patientId": 2}}, {"patientId": 3}]}
    assert client.post(URL, json=call(extension={"org.example": inside}, more=inside)).status_code == 200


#: the prefetch of a call in JSON, and what could be taken for it
PREFETCH = '{"patient": {"resourceType": "Patient", "id": "p", "name": "a \\"prefetch\\": {}} b"}, "conditions": null}'
ENVELOPE = '"hook": "patient-view", "hookInstance": "1f1b0f4e-0b5e-4b0e-8a51-5f0e3d0b8a11"'
CONTEXT = '"context": {"patientId": "p", "userId": "Practitioner/1"}'


@pytest.mark.parametrize(
    "body",
    [
        f'{{{ENVELOPE}, {CONTEXT}, "prefetch": {PREFETCH}}}',
        f'{{{ENVELOPE},{CONTEXT},"prefetch"\t:\n {PREFETCH} \n}}',
        f'{{{ENVELOPE}, {CONTEXT}, "prefetch": {PREFETCH}}}\n',
        f'{{"prefetch": {PREFETCH}, {ENVELOPE}, {CONTEXT}}}',
        f'{{{ENVELOPE}, "prefetch": {PREFETCH}, {CONTEXT}}}',
        f'{{{ENVELOPE}, {CONTEXT}, "pre\\u0066etch": {PREFETCH}}}',
        f'{{{ENVELOPE}, {CONTEXT}, "a\\"prefetch": {{"patient": null}}, "prefetch": {PREFETCH}}}',
        f'{{{ENVELOPE}, {CONTEXT}, "prefetch": null, "a\\"prefetch": {PREFETCH}}}',
        f'{{{ENVELOPE}, {CONTEXT}, "a\\"prefetch": {PREFETCH}}}',
        f'{{{ENVELOPE}, {CONTEXT}, "extension": {{"prefetch": {PREFETCH}}}}}',
        f'{{{ENVELOPE}, "context": {{"patientId": "p", "userId": "Practitioner/1", "prefetch": {PREFETCH}}}}}',
        f'{{{ENVELOPE}, {CONTEXT}, "prefetch": null}}',
        f"{{{ENVELOPE}, {CONTEXT}}}",
    ],
)
def test_a_call_says_the_same_wherever_its_prefetch_stands(body: str) -> None:
    """Where a body ends with its prefetch the two are parsed apart; nothing else may be taken for it."""
    found, whole = parse(body.encode(), HOOKS[0], home()[1]), json.loads(body)
    assert found.prefetch == (whole.get("prefetch") or {})
    assert found.context == whole["context"]
    assert not found.written or json.loads(found.written) == whole["prefetch"]


@pytest.mark.parametrize("end", ['{"patient": nul}', '{"patient": null}}', '{"patient": null', "", '{} "x": {}'])
def test_a_prefetch_that_is_no_json_is_refused(end: str) -> None:
    with pytest.raises(BadRequest):
        parse(f'{{{ENVELOPE}, {CONTEXT}, "prefetch": {end}}}'.encode(), HOOKS[0], home()[1])


def call(**changes: Any) -> dict[str, Any]:
    """A sound call with some members changed; `...` takes one away."""
    body = {**patient_view(PATIENT, {"patient": None, "conditions": None}), **changes}
    return {name: value for name, value in body.items() if value is not ...}


FAULTS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no hook": (call(hook=...), ["hook"]),
    "no hookInstance": (call(hookInstance=...), ["hookInstance"]),
    "no context": (call(context=...), ["context"]),
    "no patientId": (call(context={"userId": "Practitioner/1"}), ["$.context", "patientId"]),
    "no userId": (call(context={"patientId": "1"}), ["$.context", "userId"]),
    "empty context": (call(context={}), ["patientId", "userId"]),
    "empty patientId": (call(context={"userId": "Practitioner/1", "patientId": ""}), ["$.context.patientId"]),
    "number as patientId": (call(context={"userId": "Practitioner/1", "patientId": 5}), ["$.context.patientId"]),
    "null as patientId": (call(context={"userId": "Practitioner/1", "patientId": None}), ["$.context.patientId"]),
    "long patientId": (call(context={"userId": "P/1", "patientId": "9" * 1000}), ["$.context.patientId"]),
    "another hook": (call(hook="order-sign"), ["$.hook", "patient-view"]),
    "hook in capitals": (call(hook="Patient-View"), ["$.hook", "patient-view"]),
    "empty hook": (call(hook=""), ["$.hook"]),
    "number as hook": (call(hook=5), ["$.hook"]),
    "null as hookInstance": (call(hookInstance=None), ["$.hookInstance"]),
    "list as context": (call(context=[]), ["$.context"]),
    "list as prefetch": (call(prefetch=[]), ["$.prefetch"]),
    "text as prefetch": (call(prefetch="none"), ["$.prefetch"]),
    "authorization without server": (call(fhirAuthorization={"access_token": "t"}), ["fhirServer"]),
    "text as authorization": (call(fhirServer="https://x.org", fhirAuthorization="t"), ["$.fhirAuthorization"]),
    "server that is no web address": (call(fhirServer="file:///etc/passwd"), ["$.fhirServer"]),
    "number as server": (call(fhirServer=5), ["$.fhirServer"]),
}


@pytest.mark.parametrize(("body", "named"), FAULTS.values(), ids=FAULTS)
def test_a_faulty_call_is_refused_and_the_fault_is_named(
    client: FlaskClient, body: dict[str, Any], named: list[str]
) -> None:
    text = refused(client.post(URL, json=body), 400)
    for name in named:
        assert name in text


def test_a_sound_call_with_what_this_service_does_not_know_is_answered(client: FlaskClient) -> None:
    extra = call(
        fhirServer="https://ehr.example.org/fhir",
        fhirAuthorization={"access_token": "t", "token_type": "Bearer", "expires_in": 300, "scope": "", "subject": "x"},
        extension={"org.example": {"a": 1}},
        context={"userId": "Practitioner/1", "patientId": PATIENT, "encounterId": "1", "unheard": [None, {}]},
        unheard=None,
    )
    assert client.post(URL, json=extra).get_json()["cards"] == []
    assert client.post(URL, json=call(), content_type="application/json; charset=utf-8").status_code == 200


def test_all_faults_of_a_call_are_listed_at_once(client: FlaskClient) -> None:
    body = call(
        hook="order-sign", hookInstance=..., context={"patientId": 5}, prefetch=[], fhirAuthorization={}, extension=5
    )
    text = refused(client.post(URL, json=body), 400)
    named = ("$.hook", "hookInstance", "userId", "$.context.patientId", "$.prefetch", "fhirServer", "$.extension")
    assert [name for name in named if name not in text] == []


def test_faults_of_the_envelope_do_not_hide_those_of_the_context(client: FlaskClient) -> None:
    text = refused(client.post(URL, json=call(hookInstance=..., context={})), 400)
    assert [name for name in ("hookInstance", "userId", "patientId") if name not in text] == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", URL, 405),
        ("PUT", URL, 405),
        ("DELETE", URL, 405),
        ("POST", "/cds-services", 405),
        ("POST", "/cds-services/unheard", 404),
        ("POST", f"{URL}/unheard", 404),
        ("POST", "/cds-services/../etc/passwd", 404),
        ("POST", "/cds-services/%00", 404),
        ("GET", "/unheard", 404),
        ("GET", "/", 404),
    ],
)
def test_another_path_or_method_is_refused(client: FlaskClient, method: str, path: str, status: int) -> None:
    refused(client.open(path, method=method, json=call()), status)


def test_a_refused_method_says_which_is_allowed(client: FlaskClient) -> None:
    assert "POST" in client.get(URL).headers["Allow"]


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "application/x-www-form-urlencoded", "", "json"])
def test_another_content_type_is_refused(client: FlaskClient, kind: str) -> None:
    refused(client.post(URL, data=json.dumps(call()), content_type=kind), 415)


def test_an_encoded_body_is_refused(client: FlaskClient) -> None:
    refused(client.post(URL, json=call(), headers={"Content-Encoding": "gzip"}), 415)


def test_a_body_of_more_than_the_limit_is_refused(client: FlaskClient) -> None:
    refused(client.post(URL, data=b" " * (16 * 1024 * 1024 + 1), content_type="application/json"), 413)


# NOTHING OF THE CALL IN A REFUSAL OR A LOG

CANARY = "Zyxwv-Canary-4711"


def sung(value: Any) -> Any:
    """The same JSON with the canary in every text; names of members stay."""
    if isinstance(value, dict):
        return {name: sung(one) for name, one in value.items()}
    if isinstance(value, list):
        return [sung(one) for one in value]
    return f"{value} {CANARY}" if isinstance(value, str) else value


def canary_calls() -> dict[str, tuple[str, dict[str, Any]]]:
    """Calls that are refused for one reason each, with the canary in everything that is text."""
    full = call(
        fhirServer="https://ehr.example.org",
        fhirAuthorization={"access_token": "t", "subject": "s", "patient": "p"},
        extension={"org.example": "x"},
        prefetch={"patient": RECORD[0], "conditions": OUTCOME, "other": "x"},
    )
    everywhere = sung(full)
    everywhere["prefetch"]["conditions"] = OUTCOME
    cases = {f"sung, {name}": (URL, {**sung(body), "hook": CANARY}) for name, (body, _) in FAULTS.items()}
    for name, (body, _) in FAULTS.items():
        if "hook" in body and not name.startswith("empty"):
            cases[name] = (URL, {**sung(body), "hook": body["hook"]})
    cases["everything"] = (URL, everywhere)
    cases["everything but the hook"] = (URL, {**everywhere, "hook": "patient-view", "fhirServer": CANARY})
    cases["nothing wrong but the prefetch"] = (
        URL,
        {**everywhere, "hook": "patient-view", "fhirServer": f"https://{CANARY}"},
    )
    cases["a long instance"] = (URL, call(hookInstance=CANARY * 50))
    cases["a service of that name"] = (f"/cds-services/{CANARY}", call())
    cases["a page of that name"] = (f"/{CANARY}?{CANARY}", call())
    cases["members of that name"] = (URL, {CANARY: CANARY, "context": {CANARY: CANARY}, "prefetch": {CANARY: CANARY}})
    return cases


@pytest.mark.parametrize(("path", "body"), canary_calls().values(), ids=canary_calls())
def test_a_refusal_and_the_log_repeat_nothing_of_the_call(
    client: FlaskClient, caplog: pytest.LogCaptureFixture, path: str, body: dict[str, Any]
) -> None:
    caplog.set_level(logging.DEBUG)
    response = client.post(path, json=body, headers={"X-Request-Id": CANARY, "Authorization": f"Bearer {CANARY}"})
    assert 400 <= response.status_code < 500
    assert is_outcome(response.get_json())
    assert CANARY not in response.get_data(as_text=True)
    assert CANARY not in str(response.headers)
    assert CANARY not in caplog.text


@pytest.mark.parametrize(
    "body", [f'{{"hook": "{CANARY}', f"{CANARY}", f'{{"{CANARY}": NaN}}'], ids=["cut", "bare", "nan"]
)
def test_a_refusal_of_broken_json_repeats_nothing_of_it(
    client: FlaskClient, caplog: pytest.LogCaptureFixture, body: str
) -> None:
    caplog.set_level(logging.DEBUG)
    text = refused(client.post(URL, data=body, content_type="application/json"), 400)
    assert CANARY not in text
    assert CANARY not in caplog.text


def test_the_content_type_is_not_repeated(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    assert CANARY not in refused(client.post(URL, data=b"{}", content_type=f"text/{CANARY}"), 415)
    assert CANARY not in caplog.text


def test_an_answered_call_leaves_nothing_of_the_patient_in_the_log(
    client: FlaskClient, services: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    text = json.dumps(put_in_prefetch(RECORD, PATIENT, services)).replace(PATIENT, CANARY)
    body = {**patient_view(CANARY, json.loads(text)), "hookInstance": f"{INSTANCE}-{CANARY}"}
    response = client.post(URL, json=body)
    assert options(response.get_json())
    for card in response.get_json()["cards"]:
        assert CANARY not in card["summary"] + card["detail"]
    assert CANARY not in caplog.text


def test_a_fault_of_the_service_repeats_nothing_of_the_call(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def breaks(*_: Any) -> None:
        raise ValueError(CANARY)

    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr("cds_service.hooks.respond.Responder.respond", breaks)
    response = client.post(URL, json=call())
    assert response.status_code == 500
    assert is_outcome(response.get_json())
    assert CANARY not in response.get_data(as_text=True)
    assert "ValueError" in caplog.text
    assert CANARY not in caplog.text


def test_the_service_is_advertised_under_the_id_it_answers(services: list[dict[str, Any]]) -> None:
    assert [service["id"] for service in services if service["hook"] == "patient-view"] == [SERVICE_ID]
