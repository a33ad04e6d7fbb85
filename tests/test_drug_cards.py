"""The drug in hand: what the documents say of it for this patient, and why there is nothing where there is nothing."""

import copy
import itertools
import json
import re
from typing import Any

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from support import EXTENSION, INSTANCE, example, expected_patients, facts, options, patient_view, put_in_prefetch

from cds_service.decision.by_drug import share_out, taking_part
from cds_service.edge.cli import main
from cds_service.hooks.catalogue import HOOKS
from cds_service.hooks.drug_cards import LIMIT
from cds_service.hooks.drug_text import DrugAdvice, drug_summary
from cds_service.hooks.listing import listing, places
from cds_service.hooks.markdown import SUMMARY_LIMIT, Item
from cds_service.hooks.request import read
from cds_service.knowledge.load import home, load
from cds_service.model import Status, Verdict

RESPONSE = Draft202012Validator(json.loads((home()[1] / "hooks" / "response.schema.json").read_text(encoding="utf-8")))
KNOWLEDGE = load()
NAMED = [drug.id for drug in KNOWLEDGE.drugs.values() if drug.named_in]
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
ATC = "http://www.whocc.no/atc"
PATIENT, RECORD = example("VA-01", "mcode")


def draft(drug: str, patient: str = PATIENT, ident: str = "", **changes: Any) -> dict[str, Any]:
    """A draft order by words; `changes` with None leave an element out."""
    label = KNOWLEDGE.drugs[drug].label if drug in KNOWLEDGE.drugs and "-" in drug else drug
    resource = {
        "resourceType": "MedicationRequest",
        "id": ident or f"draft-{re.sub('[^a-z]', '', drug)}",
        "status": "draft",
        "intent": "order",
        "subject": {"reference": f"Patient/{patient}"},
        "medicationCodeableConcept": {"text": label},
        **changes,
    }
    return {name: value for name, value in resource.items() if value is not None}


def bundle(*resources: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "entry": [{"resource": one} for one in resources]}


def call(hook: str, patient: str, **context: Any) -> dict[str, Any]:
    who = {"userId": "Practitioner/1", "patientId": patient}
    return {"hook": hook, "hookInstance": INSTANCE, "context": {**who, **context}}


def post(client: FlaskClient, body: dict[str, Any], prefetch: Any = None) -> dict[str, Any]:
    service = next(hook.service for hook in HOOKS if hook.name == body["hook"])
    whole = body if prefetch is None else {**body, "prefetch": prefetch}
    answer = client.post(f"/cds-services/{service}", json=whole)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    assert not list(RESPONSE.iter_errors(answer.get_json()))
    return answer.get_json()


@pytest.fixture(scope="module")
def prefetch(services):
    return put_in_prefetch(RECORD, PATIENT, services)


@pytest.fixture
def sign(client, prefetch):
    def _sign(*drafts: dict[str, Any], record: Any = prefetch) -> dict[str, Any]:
        return post(client, call("order-sign", PATIENT, draftOrders=bundle(*drafts)), record)

    return _sign


def rows(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What became of each order, by its reference."""
    return {row["reference"]: row for row in answer["extension"][EXTENSION].get("context", [])}


def drugs(answer: dict[str, Any]) -> list[str]:
    """The drugs that have a card, in the order of the cards."""
    found = (card["extension"][EXTENSION].get("drug") for card in answer["cards"])
    return [one["drug"] for one in found if one]


def without_ids(answer: dict[str, Any]) -> str:
    return re.sub(r'"uuid": "[^"]*"', "", json.dumps(answer))


# THE SAME VERDICTS AS THE OPTIONS


def chunks(listed: list[str], size: int) -> list[list[str]]:
    return [listed[i : i + size] for i in range(0, len(listed), size)]


@pytest.mark.parametrize("name", sorted(expected_patients()))
def test_a_drug_card_says_of_each_option_what_the_list_of_options_says(client, services, responder, name):
    patient, resources = example(name, "mcode")
    prefetch = put_in_prefetch(resources, patient, services)
    verdicts = {
        verdict.option: verdict.status.value
        for verdict in responder.trace(read(patient_view(patient, prefetch), HOOKS[0], home()[1])).verdicts
    }
    listed = post(client, patient_view(patient, prefetch))
    for some in chunks(NAMED, LIMIT):
        drafts = bundle(*(draft(drug, patient) for drug in some))
        answer = post(client, call("order-sign", patient, draftOrders=drafts), prefetch)

        assert drugs(answer) == (some if options(listed) else [])
        assert facts(answer) == facts(listed)
        for option, entry in options(answer).items():
            assert entry["status"] == verdicts[option], option
            if option in options(listed):
                assert entry == options(listed)[option]
        for card in answer["cards"]:
            assert len(card["summary"]) <= SUMMARY_LIMIT
            for entry in card["extension"][EXTENSION]["options"]:
                assert KNOWLEDGE.options[entry["option"]].label in card["detail"]


def test_every_option_with_a_drug_is_reached_by_that_drug(sign):
    for option in KNOWLEDGE.options.values():
        for drug in option.drugs:
            assert option.id in options(sign(draft(drug))), (option.id, drug)


def test_several_drugs_share_their_options_without_repeating_one():
    for pair in itertools.permutations(NAMED, 2):
        shared = share_out(pair, KNOWLEDGE)
        listed = [option.id for held in shared.values() for option in held]

        assert len(listed) == len(set(listed))
        assert set(listed) == {option.id for drug in pair for option in taking_part(drug, KNOWLEDGE)}
        assert shared == share_out(pair[::-1], KNOWLEDGE)


# WHAT THE CARD SAYS


def test_an_option_whose_conditions_are_not_met_is_shown_with_the_fact_that_fails_it(sign):
    (card,) = sign(draft("trastuzumab"))["cards"]
    entry = options({"cards": [card]})["trastuzumab+chemotherapy"]

    assert entry["status"] == "not-supported"
    assert [one["fact"] for one in entry["because"]] == ["her2"]
    assert entry["because"][0]["references"] == ["Observation/va-01-her2"]
    assert {one["position"] for one in entry["citations"]} == {"supports"}
    assert "conditions not met (HER2-negative" in card["summary"]
    assert "not met, because: HER2-negative" in card["detail"]


def test_a_fact_that_is_missing_is_named_and_never_read_as_negative(client, services):
    kept = [one for one in RECORD if one["id"] != "va-01-menopause"]
    drafts = bundle(draft("letrozole"))
    answer = post(client, call("order-sign", PATIENT, draftOrders=drafts), put_in_prefetch(kept, PATIENT, services))
    entry = options(answer)["letrozole"]

    assert (entry["status"], entry["missing"]) == ("needs-data", ["menopause"])
    assert "depends on a missing fact (menopause)" in answer["cards"][0]["summary"]
    assert "unknown: postmenopausal; met: hormone receptor-positive" in answer["cards"][0]["detail"]


def test_a_record_whose_allergies_were_not_delivered_leaves_contraindications_unknown(sign, prefetch):
    answer = sign(draft("letrozole"), record={key: value for key, value in prefetch.items() if key != "allergies"})

    assert options(answer)["letrozole"]["missing"] == ["contraindications"]
    assert "- unknown: not contraindicated\n" in answer["cards"][0]["detail"]


def test_a_drug_that_the_record_removes_is_not_made_good_by_what_is_said_of_its_class(sign, prefetch):
    record = copy.deepcopy(prefetch)
    allergy = {
        "resourceType": "AllergyIntolerance",
        "id": "a",
        "patient": {"reference": f"Patient/{PATIENT}"},
        "code": {"text": "letrozole"},
    }
    record["allergies"] = bundle(allergy)
    (card,) = sign(draft("letrozole"), record=record)["cards"]

    assert "removed by the record (letrozole contraindicated)" in card["summary"]
    assert "**Letrozole: removed by the record: letrozole contraindicated**" in card["detail"]
    assert "**Of its classes, not by name; this drug is removed by the record**" in card["detail"]
    assert "supported" not in card["summary"]
    assert card["extension"][EXTENSION]["drug"]["removed"] == ["letrozole contraindicated"]


def test_what_is_said_of_a_class_is_told_apart_from_what_is_said_of_the_drug(sign):
    (card,) = sign(draft("doxorubicin"))["cards"]
    by_class = set(card["extension"][EXTENSION]["drug"]["byClass"])

    assert by_class == {"chemotherapy", "trastuzumab+chemotherapy"}
    named, _, general = card["detail"].partition("**Of its classes, not by name**")
    assert "Chemotherapy:" not in named
    assert "Chemotherapy:" in general
    assert "1 differ" not in card["summary"]


def test_every_statement_on_monitoring_and_side_effects_stands_on_the_cards_of_its_drugs(sign):
    reached = set()
    for drug in NAMED:
        (card,) = sign(draft(drug))["cards"]
        shown = card["extension"][EXTENSION]["drug"].get("effects", [])
        for effect in shown:
            assert effect["says"] in card["detail"]
            assert f"{KNOWLEDGE.sources[effect['source']].short} " in card["detail"]
        reached |= {(effect["of"], effect["passage"]) for effect in shown}
        assert ("**Monitoring and side effects**" in card["detail"]) == bool(shown)

    assert reached == {(effect.of, effect.passage) for effect in KNOWLEDGE.effects}


@pytest.mark.parametrize(
    ("drug", "said"),
    [
        ("trastuzumab", "Monitoring: heart function is watched"),
        ("phesgo", "Monitoring of trastuzumab: heart function is watched"),
        ("denosumab", "calcium in the blood is monitored"),
        ("tamoxifen", "Side effects: hot flashes"),
        ("anastrozole", "Side effects of aromatase inhibitors: muscle pain, stiff joints (Healthline L71-L72)"),
        ("tucatinib", "Side effects of targeted therapy: fatigue, diarrhoea, allergic reaction"),
        ("vinorelbine", "low blood counts"),
        ("morphine", "Side effects of opioids: constipation"),
    ],
)
def test_monitoring_and_side_effects_are_those_of_the_drug_or_of_its_class(sign, drug, said):
    assert said in sign(draft(drug))["cards"][0]["detail"]


def test_an_antibody_drug_conjugate_does_not_borrow_the_monitoring_of_its_antibody(sign):
    assert "heart" not in sign(draft("trastuzumab-emtansine"))["cards"][0]["detail"]


def test_a_drug_that_is_taken_already_is_marked_so(sign, prefetch):
    record = copy.deepcopy(prefetch)
    record["medications"] = bundle(draft("letrozole", ident="running", status="active", authoredOn="2026-01-05"))
    (card,) = sign(draft("letrozole"), record=record)["cards"]

    assert card["detail"].startswith("For this patient: letrozole is current.")
    assert card["extension"][EXTENSION]["drug"]["marks"] == ["letrozole is current"]


def test_errata_of_a_source_stand_with_the_drug(sign):
    assert "Erratum: Prints Nolvadex" in sign(draft("ribociclib"))["cards"][0]["detail"]


def test_every_summary_fits_whatever_the_statuses():
    empty = dict.fromkeys(KNOWLEDGE.questions)
    for drug in NAMED:
        named = [one for one in taking_part(drug, KNOWLEDGE) if drug in one.parts]
        advice = DrugAdvice(KNOWLEDGE.drugs[drug], (), (), (), (), ())
        for split in itertools.combinations_with_replacement(Status, max(len(named) - 1, 0)):
            items = [
                Item(option.label, Verdict(option.id, status, (), (), tuple(KNOWLEDGE.facts), {}), option)
                for option, status in zip(named, (Status.NEEDS_DATA, *split), strict=True)
            ]
            assert len(drug_summary(advice, items, empty, KNOWLEDGE)) <= SUMMARY_LIMIT


def test_no_text_of_an_order_or_of_the_chart_reaches_the_markdown(sign):
    hostile = "<img src=x onerror=alert(1)> [click](http://evil.example) **bold**"
    order = draft("letrozole", medicationCodeableConcept={"text": f"letrozole {hostile}"}, note=[{"text": hostile}])
    (card,) = sign(order, draft(hostile, ident="evil"))["cards"]
    text = card["summary"] + card["detail"]

    assert "evil" not in text
    assert "<" not in text


def test_an_option_that_two_drugs_in_hand_share_stands_once_and_the_other_card_points_there(sign):
    goserelin, letrozole, palbociclib = sign(draft("palbociclib"), draft("letrozole"), draft("goserelin"))["cards"]

    assert "palbociclib+aromatase-inhibitor" in options({"cards": [palbociclib]})
    _, _, classes = letrozole["detail"].partition("**Of its classes, not by name**")
    assert "- On the card of Palbociclib: Palbociclib with an aromatase inhibitor" in classes
    assert "**Combinations that name it**" not in goserelin["detail"] + letrozole["detail"]


def test_feedback_on_a_drug_card_is_told_apart_from_feedback_on_a_list_of_options(client, sign, prefetch):
    stands = places(KNOWLEDGE)
    cards = [
        *sign(draft("letrozole"), draft("olaparib"))["cards"],
        *post(client, patient_view(PATIENT, prefetch))["cards"],
    ]
    seen = [listing(card, stands) for card in cards]

    assert [one.card for one in seen[:3]] == ["drug:letrozole", "drug:olaparib", "systemic-treatment"]
    assert len({one.imprint for one in seen}) == len(seen)


# NOTHING, AND WHY


def test_a_drug_that_the_documents_do_not_name_gets_no_card_and_needs_no_record(client):
    for other in ("Amoxicillin 500 mg", "megestrol", "eribulin", "ibuprofen"):
        answer = post(client, call("order-sign", PATIENT, draftOrders=bundle(draft(other, ident="x"))))

        assert answer["cards"] == []
        assert answer["extension"][EXTENSION]["noCard"]["reason"] == "no order in hand names a drug of the documents"
        assert rows(answer)["MedicationRequest/x"]["reason"] == "it names no drug that the documents name"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"subject": {"reference": "Patient/somebody-else"}}, "it is for another patient"),
        ({"medicationCodeableConcept": None}, "it names no medicine yet"),
        ({"medicationCodeableConcept": {"coding": [{}]}}, "it names no medicine yet"),
        ({"medicationCodeableConcept": {}}, "it names no medicine yet"),
        ({"medicationCodeableConcept": {"text": "chemotherapy"}}, "it names a class (chemotherapy), not a drug"),
        ({"status": "entered-in-error"}, "its status is entered-in-error"),
        ({"status": "stopped"}, "its status is stopped"),
        ({"doNotPerform": True}, "an instruction not to give"),
        ({"resourceType": "ServiceRequest"}, "no order of a medicine"),
        ({"resourceType": 7}, "no order of a medicine"),
    ],
)
def test_an_order_without_a_card_says_why_and_does_not_hide_the_others(sign, change, reason):
    answer = sign(draft("letrozole", ident="x", **change), draft("tamoxifen"))

    assert drugs(answer) == ["tamoxifen"]
    row = next(row for reference, row in rows(answer).items() if reference.endswith(("/x", "[0]")))
    assert (row["outcome"], row["reason"]) == ("no-card", reason)


def test_beyond_the_limit_the_drugs_left_out_are_named(sign):
    answer = sign(*(draft(drug) for drug in NAMED[: LIMIT + 2]))

    assert drugs(answer) == NAMED[:LIMIT]
    left = [row for row in rows(answer).values() if row["outcome"] == "no-card"]
    assert [row["drugs"] for row in left] == [[drug] for drug in NAMED[LIMIT : LIMIT + 2]]
    assert {row["reason"] for row in left} == {"no room: more cards would be needed than one answer holds"}


def test_the_card_on_what_is_left_open_keeps_its_room(sign):
    unsure = draft("x", medicationCodeableConcept={"coding": [{"system": ATC, "code": "L01CD01"}]})
    answer = sign(unsure, *(draft(drug) for drug in NAMED[:LIMIT]))

    assert len(answer["cards"]) == LIMIT
    assert drugs(answer) == NAMED[: LIMIT - 1]
    assert rows(answer)["MedicationRequest/draft-x"]["outcome"] == "card"
    assert sum("facts" in card["extension"][EXTENSION] for card in answer["cards"]) == 1
    assert "facts" in sign(unsure)["cards"][0]["extension"][EXTENSION]


def test_without_evidence_of_stage_iv_there_is_no_drug_card_and_the_answer_says_so(client, services):
    evidence = ("va-01-stage-group", "va-01-m-category", "va-01-met-bone")
    kept = [copy.deepcopy(one) for one in RECORD if one["id"] not in evidence]
    for one in kept:
        one.pop("stage", None)
    record = put_in_prefetch(kept, PATIENT, services)
    answer = post(client, call("order-sign", PATIENT, draftOrders=bundle(draft("letrozole"))), record)

    assert answer["cards"] == []
    reason = answer["extension"][EXTENSION]["noCard"]["reason"]
    assert "no evidence of stage IV" in reason
    assert rows(answer)["MedicationRequest/draft-letrozole"]["reason"] == reason


def test_disease_marked_as_over_gets_no_drug_card(sign, prefetch):
    record = copy.deepcopy(prefetch)
    for entry in record["conditions"]["entry"]:
        entry["resource"]["clinicalStatus"] = {"coding": [{"code": "remission"}]}
    answer = sign(draft("letrozole"), record=record)

    assert answer["cards"] == []
    assert "in remission" in answer["extension"][EXTENSION]["noCard"]["reason"]


# DRAFTS AS CLIENTS SEND THEM


def test_the_order_of_drafts_never_matters(sign):
    drafts = [draft(drug) for drug in ("palbociclib", "letrozole", "everolimus", "exemestane")] + [draft("aspirin")]
    answers = {without_ids(sign(*some)) for some in itertools.permutations(drafts)}

    assert len(answers) == 1


@pytest.mark.parametrize("drug", NAMED)
def test_a_draft_is_no_evidence_of_treatment(client, sign, prefetch, drug):
    listed = post(client, patient_view(PATIENT, prefetch))
    for status in ("draft", "active", "on-hold"):
        assert facts(sign(draft(drug, status=status))) == facts(listed)


def test_one_drug_ordered_twice_gets_one_card_that_names_both_orders(sign):
    answer = sign(draft("letrozole", ident="b"), draft("letrozole", ident="a"))

    assert drugs(answer) == ["letrozole"]
    orders = answer["cards"][0]["extension"][EXTENSION]["drug"]["orders"]
    assert orders == ["MedicationRequest/a", "MedicationRequest/b"]


def test_orders_without_ids_are_all_read(sign):
    answer = sign(draft("letrozole", id=None), draft("tamoxifen", id=None))

    assert drugs(answer) == ["letrozole", "tamoxifen"]
    assert set(rows(answer)) == {"draftOrders.entry[0]", "draftOrders.entry[1]"}


CODED = {
    "text": "Letrozole 2.5 MG Oral Tablet",
    "coding": [{"system": RXNORM, "code": "72965", "display": "letrozole"}],
}
SHAPES = {
    "sandbox with a drug chosen": draft("x", medicationCodeableConcept=CODED, category={"text": "x"}, intent=None),
    "no status": draft("letrozole", status=None),
    "no subject": draft("letrozole", subject=None),
    "revised order": draft("letrozole", status="active"),
    "DSTU2": draft(
        "letrozole", resourceType="MedicationOrder", subject=None, patient={"reference": f"Patient/{PATIENT}"}
    ),
    "STU3": draft("letrozole", context={"reference": "Encounter/1"}, intent="plan", category={"coding": []}),
    "contained": draft(
        "x",
        medicationCodeableConcept=None,
        medicationReference={"reference": "#m"},
        contained=[{"resourceType": "Medication", "id": "m", "code": CODED}],
    ),
    "display only": draft("x", medicationCodeableConcept=None, medicationReference={"display": "Letrozole 2.5 mg"}),
    "absolute patient": draft("letrozole", subject={"reference": f"https://fhir.example/r4/Patient/{PATIENT}"}),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_an_order_is_read_in_whatever_shape_it_comes(sign, shape):
    assert drugs(sign(SHAPES[shape])) == ["letrozole"]


REFERRING = draft("x", medicationCodeableConcept=None, medicationReference={"reference": "Medication/m"})
MEDICATION = {"resourceType": "Medication", "id": "m", "code": CODED}


def test_a_medication_is_found_beside_the_order_or_in_the_record_but_is_no_order(client, sign, prefetch):
    record = {**prefetch, "medications": bundle(MEDICATION)}
    urn = {"reference": "urn:uuid:4f8b"}
    by_urn = {"entry": [{"resource": {**REFERRING, "medicationReference": urn}}]}
    by_urn["entry"].append({"fullUrl": "urn:uuid:4f8b", "resource": {**MEDICATION, "id": None}})

    assert drugs(sign(REFERRING, MEDICATION)) == ["letrozole"]
    assert drugs(sign(REFERRING, record=record)) == ["letrozole"]
    assert drugs(post(client, call("order-sign", PATIENT, draftOrders=by_urn), prefetch)) == ["letrozole"]
    assert list(rows(sign(REFERRING, MEDICATION))) == ["MedicationRequest/draft-x"]


def test_a_medication_that_is_nowhere_to_be_found_is_said(sign):
    answer = sign(REFERRING)

    assert answer["cards"] == []
    assert rows(answer)["MedicationRequest/draft-x"]["reason"] == "it names no medicine that can be found"


@pytest.mark.parametrize(
    ("concept", "may_be", "said"),
    [
        (
            {"coding": [{"system": ATC, "code": "L01CD01"}]},
            ["paclitaxel", "nab-paclitaxel"],
            "- Paclitaxel or Nab-paclitaxel",
        ),
        (
            {"coding": [{"system": RXNORM, "code": "72965"}], "text": "anastrozole"},
            ["anastrozole", "letrozole"],
            "- Anastrozole or Letrozole",
        ),
        ({"coding": [{"system": ATC, "code": "L04AH02"}]}, ["everolimus"], "- Everolimus or another product"),
    ],
)
def test_an_order_that_fits_several_drugs_is_shown_as_such_and_nothing_is_guessed(sign, concept, may_be, said):
    answer = sign(draft("x", medicationCodeableConcept=concept), draft("tamoxifen"))

    assert drugs(answer) == ["tamoxifen"]
    assert not set(may_be) & set(options(answer))
    last = answer["cards"][-1]
    assert last["summary"] == "An order leaves open which medicine it is, so nothing is listed for it"
    assert said in last["detail"]
    assert rows(answer)["MedicationRequest/draft-x"]["mayBe"] == may_be


WILD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["letrozole", "#m", RXNORM, "72965"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["resourceType", "id", "coding", "code", "system", "text", "reference", "entry", "resource"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
ELEMENTS = [
    "resourceType", "id", "status", "subject", "patient", "medicationCodeableConcept", "medicationReference",
    "contained", "doNotPerform", "intent", "category",
]  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(element=st.sampled_from(ELEMENTS), value=WILD)
def test_an_order_of_any_shape_is_accounted_for_and_never_breaks_the_others(client, prefetch, element, value):
    """Whatever stands in one element of one draft: an answer that keeps the contract, and the other draft's card."""
    wild = {**draft("letrozole"), element: value}
    answer = post(client, call("order-sign", PATIENT, draftOrders=bundle(wild, draft("tamoxifen"))), prefetch)

    assert "tamoxifen" in drugs(answer)
    assert len(answer["extension"][EXTENSION]["context"]) == (1 if value == "Medication" else 2)


@settings(max_examples=100, deadline=None)
@given(entries=WILD)
def test_a_bundle_of_any_shape_is_answered(client, prefetch, entries):
    for hook, field in (("order-sign", "draftOrders"), ("medication-refill", "medications")):
        post(client, call(hook, PATIENT, **{field: {"entry": entries}}), prefetch)
    post(client, call("problem-list-item-create", PATIENT, conditions={"entry": entries}), prefetch)


# THE OFFICIAL SANDBOX, AS CAPTURED

NO_DRUG_YET = {
    "resourceType": "MedicationRequest",
    "id": "request-123",
    "status": "draft",
    "subject": {"reference": "Patient/pt1"},
    "authoredOn": "2026-11-22",
}
IMAGING = {
    "resourceType": "ServiceRequest",
    "id": "example-request-id",
    "status": "draft",
    "intent": "plan",
    "code": {"coding": [{}]},
    "subject": {"reference": "Patient/pt1"},
    "reasonCode": [],
}


def test_the_sandbox_before_a_drug_is_chosen(client):
    body = call("order-sign", "pt1", draftOrders=bundle(NO_DRUG_YET)) | {"fhirServer": "http://127.0.0.1:18081/fhir"}

    assert rows(post(client, body)) == {
        "MedicationRequest/request-123": {
            "reference": "MedicationRequest/request-123",
            "outcome": "no-card",
            "reason": "it names no medicine yet",
        }
    }


def test_the_sandbox_ordering_a_procedure(client):
    selected = {"selections": ["ServiceRequest/example-request-id"], "draftOrders": bundle(IMAGING)}
    answer = post(client, call("order-select", "pt1", **selected))

    assert answer["cards"] == []
    assert rows(answer)["ServiceRequest/example-request-id"]["reason"] == "no order of a medicine"


def test_explain_tells_what_became_of_each_order(prefetch, tmp_path):
    body = call("order-sign", PATIENT, draftOrders=bundle(draft("letrozole"), draft("aspirin")))
    path = tmp_path / "call.json"
    path.write_text(json.dumps({**body, "prefetch": prefetch}), encoding="utf-8")
    output = CliRunner().invoke(main, ["explain", str(path)]).output

    assert "MedicationRequest/draft-letrozole: card: letrozole" in output
    assert "MedicationRequest/draft-aspirin: no-card: it names no drug that the documents name" in output


# THE OTHER HOOKS ABOUT ORDERS


@pytest.mark.parametrize(
    "selection", ["MedicationRequest/draft-letrozole", "https://fhir.example/MedicationRequest/draft-letrozole"]
)
def test_only_what_is_selected_is_spoken_of(client, prefetch, selection):
    drafts = bundle(draft("letrozole"), draft("tamoxifen"))
    answer = post(client, call("order-select", PATIENT, selections=[selection], draftOrders=drafts), prefetch)

    assert drugs(answer) == ["letrozole"]
    assert list(rows(answer)) == ["MedicationRequest/draft-letrozole"]


@pytest.mark.parametrize("selections", [[], ["MedicationRequest/gone"]])
def test_a_selection_that_chooses_nothing_gives_no_card(client, prefetch, selections):
    context = {"selections": selections, "draftOrders": bundle(draft("letrozole"))}
    answer = post(client, call("order-select", PATIENT, **context), prefetch)

    assert answer["cards"] == []
    assert [row["reason"] for row in rows(answer).values()] == ["not among the draft orders"] * len(selections)


def test_a_refill_is_answered_without_a_user(client, prefetch):
    body = call("medication-refill", PATIENT, medications=bundle(draft("letrozole")))
    del body["context"]["userId"]

    assert drugs(post(client, body, prefetch)) == ["letrozole"]


ORDER = "MedicationRequest/draft-pertuzumab"
DISPATCHES = [
    {"dispatchedOrders": [ORDER]},
    {"dispatched-orders": [ORDER]},
    {"order": ORDER, "task": {"resourceType": "Task"}},
    {"order": f"https://fhir.example/{ORDER}"},
    {"dispatchedOrders": [f"{ORDER}/_history/2"], "order": ORDER},
]


@pytest.mark.parametrize("context", DISPATCHES)
def test_a_dispatched_order_is_found_on_record_and_is_no_earlier_treatment(client, services, context):
    patient, resources = example("VA-12", "mcode")
    order = draft("pertuzumab", patient, status="active", authoredOn="2026-11-20")
    record = put_in_prefetch([*resources, order], patient, services)
    before = put_in_prefetch(resources, patient, services)
    answer = post(client, call("order-dispatch", patient, performer="Practitioner/2", **context), record)

    assert drugs(answer) == ["pertuzumab"]
    assert facts(answer) == facts(post(client, patient_view(patient, before)))
    assert facts(answer) != facts(post(client, patient_view(patient, record)))


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("MedicationRequest/gone", "not among the orders of medicines delivered"),
        ("ServiceRequest/scan", "no order of a medicine"),
    ],
)
def test_a_dispatched_order_that_cannot_be_had_is_said(client, prefetch, reference, reason):
    body = call("order-dispatch", PATIENT, performer="Practitioner/2", dispatchedOrders=[reference])
    answer = post(client, body, prefetch)

    assert answer["cards"] == []
    assert rows(answer)[reference]["reason"] == reason


def test_a_stopped_order_that_is_dispatched_stays_history(client, services):
    patient, resources = example("VA-12", "mcode")
    stopped = draft("pertuzumab", patient, status="stopped", statusReason={"text": "progression of disease"})
    record = put_in_prefetch([*resources, stopped], patient, services)
    body = call("order-dispatch", patient, performer="Practitioner/2", dispatchedOrders=[ORDER])
    answer = post(client, body, record)

    assert answer["cards"] == []
    assert rows(answer)[ORDER]["reason"] == "its status is stopped"
