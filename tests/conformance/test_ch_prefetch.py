"""Ledger D: prefetch."""

import re
from urllib.parse import parse_qsl

import pytest
from calls import EMPTY, OUTCOME, PATIENT, RECORD, fetching, request, without
from fhir_server import FhirServer
from support import EXTENSION, URL, extensions, facts, of_somebody_else, searchset

#: the primitive fields of a context that each hook marks as prefetch tokens (CDS Hooks Library 1.0.1)
TOKENS = {
    "patient-view": {"userId", "patientId", "encounterId"},
    "encounter-start": {"userId", "patientId", "encounterId"},
    "encounter-discharge": {"userId", "patientId", "encounterId"},
    "appointment-book": {"userId", "patientId", "encounterId"},
    "problem-list-item-create": {"userId", "patientId", "encounterId"},
    "order-select": {"userId", "patientId", "encounterId"},
    "order-sign": {"userId", "patientId", "encounterId"},
    "order-dispatch": {"patientId", "performer"},
    "medication-refill": {"userId", "patientId", "encounterId"},
}
REQUIRED = {"patient", "conditions"}
#: parameters of the easy subset: a reference, and token equality
EASY = {"patient", "code", "category", "intent"}


@pytest.fixture(scope="module")
def offered(services):
    """Every template with the hook that it is offered for."""
    return [(entry["hook"], template) for entry in services for template in entry["prefetch"].values()]


def post(client, prefetch, status=200):
    answer = client.post(URL, json=request(prefetch=prefetch))
    assert answer.status_code == status
    return answer.get_json()


def value(answer, fact):
    return facts(answer)[fact]["value"]


# TEMPLATES


def test_ch_050_every_service_declares_what_it_wants(services, client, prefetch):
    for entry in services:
        assert set(entry["prefetch"]) == set(prefetch)
    assert post(client, prefetch)["cards"]


def test_ch_051_a_template_is_a_relative_read_or_search(offered):
    for _, template in offered:
        assert re.fullmatch(
            r"[A-Z][A-Za-z]+(/{{[^{}]+}}|\?[a-z_-]+=[^&{}]*({{[^{}]+}})?(&[a-z_-]+=[^&{}]+)*)", template
        )


def test_ch_052_tokens_stand_in_double_braces(offered):
    for _, template in offered:
        assert re.sub(r"{{[a-zA-Z.]+}}", "", template).count("{") == 0
        assert "{{" in template


def test_ch_053_054_055_a_token_is_a_primitive_field_that_its_hook_offers(offered):
    assert {hook for hook, _ in offered} == set(TOKENS)
    for hook, template in offered:
        for token in re.findall(r"{{(.*?)}}", template):
            field = re.fullmatch(r"context\.([A-Za-z]+)", token)
            assert field is not None
            assert field[1] in TOKENS[hook]


def test_ch_056_no_template_hangs_on_the_kind_of_user(offered, client, prefetch):
    assert not [template for _, template in offered if "user" in template.lower()]
    before = post(client, prefetch)
    for user in (None, EMPTY, {"resourceType": "Practitioner", "id": "1"}):
        assert post(client, {**prefetch, "user": user}) == before


def test_ch_057_058_templates_keep_to_the_easy_subset(offered):
    for _, template in offered:
        names = [name for name, _ in parse_qsl(template.partition("?")[2])]
        assert set(names) <= EASY
        assert len(set(names)) == len(names)


# WHAT CLIENTS SEND


def test_ch_059_none_some_or_all_keys_may_come(client, prefetch):
    whole = value(post(client, prefetch), "er")
    post(client, {}, 412)
    for key in prefetch:
        answer = post(client, without(prefetch, key), 412 if key in REQUIRED else 200)
        if key == "laboratory":
            assert value(answer, "er") in (whole, "unknown")
    post(client, {key: prefetch[key] for key in REQUIRED})


def test_ch_060_a_result_of_another_query_is_not_taken_for_the_one_asked_for(client, prefetch):
    assert value(post(client, prefetch), "contraindications") == "none"
    instead = {**prefetch, "allergies": prefetch["observations"]}

    assert value(post(client, instead), "contraindications") == "unknown"


def test_ch_061_keys_that_nobody_asked_for_change_nothing(client, prefetch):
    before = post(client, prefetch)

    more = {"encounters": {"resourceType": "Encounter", "id": "e"}, "x": "y", "theirs": of_somebody_else(RECORD[1])}
    assert post(client, {**prefetch, **more}) == before


def test_ch_062_067_an_absent_key_is_fetched_and_no_other(asking, server, prefetch, services):
    for key, template in services[0]["prefetch"].items():
        server.asked.clear()
        answer = asking.post(URL, json=fetching(server.base, without(prefetch, key)))
        assert answer.status_code == 200
        assert server.queries() == [template.replace("{{context.patientId}}", PATIENT)]


def test_ch_062_an_absent_key_that_cannot_be_fetched_is_412_or_unknown(client, prefetch):
    post(client, without(prefetch, "conditions"), 412)
    assert value(post(client, without(prefetch, "allergies")), "contraindications") == "unknown"


@pytest.mark.parametrize("nothing", [None, EMPTY, {**EMPTY, "entry": []}], ids=["null", "no entry", "empty entry"])
def test_ch_063_nothing_there_is_an_answer_and_nothing_is_fetched(asking, server, prefetch, nothing):
    held = {**prefetch, "allergies": nothing}
    answer = asking.post(URL, json=fetching(server.base, held))

    assert value(answer.get_json(), "contraindications") == "none"
    assert asking.post(URL, json=fetching(server.base, {**held, "conditions": nothing})).status_code == 200
    assert server.asked == []


@pytest.mark.parametrize("whole", [True, False], ids=["instead of a Bundle", "as an entry"])
def test_ch_064_an_outcome_in_prefetch_is_a_look_that_failed(asking, server, prefetch, whole):
    failed = OUTCOME if whole else {**EMPTY, "entry": [{"resource": OUTCOME, "search": {"mode": "outcome"}}]}
    answer = asking.post(URL, json=fetching(server.base, {**prefetch, "allergies": failed}))

    assert answer.status_code == 200
    assert value(answer.get_json(), "contraindications") == "unknown"
    assert server.asked == []


def test_ch_065_included_resources_and_other_kinds_of_bundle_are_read(client, prefetch):
    before = post(client, prefetch)
    patient = prefetch["patient"]

    included = {**prefetch, "conditions": {**prefetch["conditions"], "entry": [
        *prefetch["conditions"]["entry"], {"resource": patient, "search": {"mode": "include"}},
    ]}}  # fmt: skip
    assert post(client, included) == before
    for kind in ("collection", "batch-response", None):
        other = {key: {**held, "type": kind} if "entry" in held else held for key, held in prefetch.items()}
        assert post(client, other)["cards"][0]["summary"] == before["cards"][0]["summary"]


def page(server: FhirServer, prefetch):
    """A prefetch whose conditions end after the first, with the link of the server to the next page."""
    return {**prefetch, "conditions": server.bundle("Condition", {"patient": [PATIENT], "_count": ["1"]})}


def test_ch_066_further_pages_are_followed_or_known_to_be_lacking(asking, client, server, prefetch):
    whole, cut = post(client, prefetch), page(server, prefetch)
    followed = asking.post(URL, json=fetching(server.base, cut))

    assert followed.get_json() == whole
    assert server.asked
    lacking = post(client, cut)
    for name, fact in facts(lacking).items():
        assert fact["value"] in (value(whole, name), "unknown")
    assert lacking != whole


def test_ch_066_a_page_of_another_server_is_not_followed(asking, server, prefetch):
    cut = page(server, prefetch)
    cut["conditions"]["link"][-1]["url"] = f"http://localhost:{server.port}/fhir/Condition?patient={PATIENT}"

    assert asking.post(URL, json=fetching(server.base, cut)).status_code == 200
    assert server.asked == []


def test_ch_068_080_prefetched_and_fetched_data_give_the_same_cards(asking, client, server, prefetch):
    expected = post(client, prefetch)

    assert asking.post(URL, json=fetching(server.base)).get_json() == expected
    assert expected["cards"]


@pytest.mark.parametrize("odd", ["123", 7, True, [], ["a"], {}, {"resourceType": 5}])
def test_ch_069_what_is_no_resource_breaks_nothing(client, prefetch, odd):
    post(client, {**prefetch, "user": odd})
    assert value(post(client, {**prefetch, "allergies": odd}), "contraindications") == "unknown"
    post(client, {**prefetch, "conditions": odd}, 412)


def test_ch_070_resources_of_other_versions_break_nothing(client, prefetch):
    subject = {"reference": f"Patient/{PATIENT}"}
    dstu2 = {"resourceType": "MedicationOrder", "id": "m", "status": "active", "patient": subject,
             "medicationCodeableConcept": {"text": "Letrozole"}}  # fmt: skip
    r5 = {"resourceType": "MedicationRequest", "id": "n", "status": "active", "intent": "order", "subject": subject,
          "medication": {"concept": {"text": "Letrozole"}}}  # fmt: skip

    for medicine in (dstu2, r5):
        answer = post(client, {**prefetch, "medications": searchset([medicine])})
        assert value(answer, "prior-medications") in ("letrozole", "unknown")
        assert next(extensions(answer))["knowledge"]
        assert EXTENSION in answer["cards"][0]["extension"]
