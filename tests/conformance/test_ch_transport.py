"""Ledger A: JSON and transport. Over TLS: test_ch_security.py."""

import json

import pytest
from calls import CLIENTS, FEEDBACK, accepted, overridden, request, walk
from support import URL, is_outcome

#: lists of this service's own extension, which says of each that it may be empty (the contract of a card)
AGREED = ("because", "missing", "references", "options")
ALLOWED = ("$.services", "$.cards")


def test_ch_001_every_answer_is_json_and_says_so(everything):
    assert {answer.kind for answer in everything} == {"application/json"}
    assert all(isinstance(answer.body, dict) for answer in everything)


def test_ch_002_003_no_element_of_an_answer_is_null_or_empty(everything):
    faults = [
        (answer.asked, path)
        for answer in everything
        for path, value in walk(answer.body)
        if (value is None or value in ("", [], {})) and path not in ALLOWED
        if not (".extension." in path and value == [] and path.rpartition(".")[2] in AGREED)
    ]

    assert faults == []
    assert len(everything) > 40


def test_ch_004_an_optional_attribute_without_a_value_is_left_out(everything, cards):
    drugs, others = [], []
    for card in cards:
        for option in card["extension"]["org.cds-service"]["options"]:
            (drugs if "coding" in option else others).append(option)

    assert drugs
    assert others
    assert {"extension" in answer.body for answer in everything if answer.status == 200} == {True, False}


@pytest.mark.parametrize("name", ["sandbox-order-select", "sandbox-order-sign"])
def test_ch_005_empty_values_of_real_clients_are_tolerated(client, name):
    sent = json.loads((CLIENTS / f"{name}.json").read_text(encoding="utf-8"))

    assert client.post(sent["path"], json=sent["body"]).status_code == 200


def test_ch_005_nulls_in_a_call_are_tolerated(client, prefetch):
    before = client.post(URL, json=request(prefetch=prefetch)).get_json()
    condition = prefetch["conditions"]["entry"][0]["resource"]
    condition.update(note=[], evidence=None, stage=[{}], encounter={}, recorder={"reference": ""})

    after = client.post(URL, json=request(prefetch=prefetch)).get_json()

    assert [card["summary"] for card in after["cards"]] == [card["summary"] for card in before["cards"]]
    assert after["cards"]


@pytest.mark.parametrize("member", ["fhirServer", "fhirAuthorization", "extension", "encounterId", "prefetch"])
def test_ch_005_null_for_what_may_be_left_out_is_read_as_left_out(client, prefetch, member):
    brought = {} if member == "prefetch" else {"prefetch": prefetch}
    expected = client.post(URL, json={**request(), **brought})
    context = request()["context"]
    body = {**request(), **brought, "context": context}
    (context if member == "encounterId" else body)[member] = None

    assert client.post(URL, json=body).data == expected.data
    assert expected.status_code == (412 if member == "prefetch" else 200)


def test_ch_005_null_in_feedback_is_read_as_left_out(client):
    reasons = [None, {"reason": None, "userComment": None}, {"reason": {"code": "x", "system": None, "display": None}}]
    entries = [overridden(overrideReason=reason, acceptedSuggestions=None) for reason in reasons]

    assert client.post(FEEDBACK, json={"feedback": [*entries, accepted(overrideReason=None)]}).status_code == 200
    assert client.post(FEEDBACK, json={"feedback": [accepted(acceptedSuggestions=None)]}).status_code == 400


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("Application/JSON;charset=UTF-8", 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("", 415),
    ],
)
def test_ch_006_json_with_parameters_is_taken_and_nothing_else(client, prefetch, kind, status):
    answer = client.post(URL, data=json.dumps(request(prefetch=prefetch)), headers={"Content-Type": kind})

    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/json"
    assert status == 200 or is_outcome(answer.get_json())
