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

from cds_service.knowledge.load import load
from cds_service.patient.queries import queries

OUTCOME = {
    "resourceType": "OperationOutcome",
    "issue": [{"severity": "error", "code": "exception", "diagnostics": "the server did not answer"}],
}
REQUIRED = ("patient", "conditions")
#: a patient with stage IV breast cancer, all answers on record and neither medicine, procedure nor allergy
PATIENT, RECORD = example("VA-01", "mcode")
EMPTY = {"resourceType": "Bundle", "type": "searchset", "total": 0}

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


NOTHING_THERE: list[State] = [null, empty_bundle, empty_entry, bundle_without_total]
NOT_DELIVERED: list[State] = [absent, outcome, bare_string, bare_list, bare_object]
IN_PART: list[State] = [next_link, larger_total, outcome_entry, broken_entries, broken_entry, entry_without_type]
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


@states([one for one in IN_PART if one is not broken_entries])
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
