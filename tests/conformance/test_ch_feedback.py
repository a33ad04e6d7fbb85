"""Ledger G: feedback."""

import logging
import uuid
from pathlib import Path

import pytest
import tokens
from calls import CARD, FEEDBACK, accepted, overridden, request, without
from support import URL, is_outcome


class Site:
    """A service that keeps feedback in a store of its own."""

    def __init__(self, client, folder):
        self.client, self.folder = client, folder
        self._store = client.application.extensions["store"]

    def send(self, *entries, url=FEEDBACK):
        return self.client.post(url, json={"feedback": list(entries)})

    def count(self):
        return sum(one.number for one in self._store.counts())


@pytest.fixture(scope="module")
def site(served, tmp_path_factory):
    folder = tmp_path_factory.mktemp("feedback")
    return Site(served(database=f"sqlite:///{folder}/store.db"), folder)


def new(entry):
    """The entry about a card of its own."""
    return {**entry, "card": str(uuid.uuid4())}


def test_ch_170_171_every_service_takes_feedback_on_many_cards(site, services):
    for entry in services:
        before = site.count()
        answer = site.send(*(new(overridden()) for _ in range(3)), url=f"/cds-services/{entry['id']}/feedback")
        assert answer.status_code == 200
        assert site.count() == before + 3
    assert site.send(new(overridden()), url="/cds-services/nobody/feedback").status_code == 404


@pytest.mark.parametrize("body", [[], {}, {"feedback": {}}, {"feedback": None}, {"feedback": [7]}, "x"])
def test_ch_171_feedback_is_an_array_in_an_object(site, body):
    answer = site.client.post(FEEDBACK, json=body)

    assert answer.status_code == 400
    assert is_outcome(answer.get_json())


@pytest.mark.parametrize("entry", [
    without(overridden(), "card"), overridden(card=None), overridden(card=""), overridden(card=7),
])  # fmt: skip
def test_ch_172_an_entry_names_its_card(site, entry):
    before = site.count()

    assert site.send(new(overridden()), entry).status_code == 400
    assert site.count() == before


def test_ch_172_the_card_is_the_uuid_that_was_sent(site, prefetch):
    shown = site.client.post(URL, json=request(prefetch=prefetch)).get_json()["cards"]

    assert site.send(*(overridden(card=card["uuid"]) for card in shown)).status_code == 200


@pytest.mark.parametrize("outcome", ["ignored", "Accepted", "", None, 1])
def test_ch_173_an_outcome_is_accepted_or_overridden(site, outcome):
    assert site.send(new(accepted()), new(overridden())).status_code == 200
    assert site.send(new(overridden(outcome=outcome))).status_code == 400
    assert site.send(without(new(overridden()), "outcome")).status_code == 400


@pytest.mark.parametrize("named", [[], [{}], {}, None, "x"])
def test_ch_174_acceptance_names_what_was_accepted(site, named):
    assert site.send(new(accepted(acceptedSuggestions=named))).status_code == 400
    assert site.send(without(new(accepted()), "acceptedSuggestions")).status_code == 400
    assert site.send(new(accepted(acceptedSuggestions=[{"id": CARD}, {"id": str(uuid.uuid4())}]))).status_code == 200


REASONS = {
    "coded": {"reason": {"code": "x", "system": "https://example.org"}},
    "with a display": {"reason": {"code": "x", "system": "https://example.org", "display": "X"}},
    "without a system": {"reason": {"code": "x"}},
    "a comment": {"userComment": "no"},
    "both": {"reason": {"code": "x", "system": "https://example.org"}, "userComment": "no"},
    "nothing": {},
}


@pytest.mark.parametrize("reason", REASONS.values(), ids=REASONS)
def test_ch_175_a_reason_comes_in_every_shape(site, reason):
    before = site.count()

    assert site.send(new(overridden(overrideReason=reason)), new(overridden())).status_code == 200
    assert site.count() == before + 2


@pytest.mark.parametrize(
    ("time", "status"),
    [
        ("2021-12-11T10:05:31Z", 200),
        ("2021-12-11T10:05:31.575Z", 200),
        ("2021-12-11T10:05:31+02:00", 400),
        ("2021-12-11 10:05:31Z", 400),
        ("2021-12-11T10:05:31", 400),
        ("2021-13-11T10:05:31Z", 400),
        (1639217131, 400),
    ],
)
def test_ch_176_a_time_is_of_rfc_3339_in_utc(site, time, status):
    assert site.send(new(overridden(outcomeTimestamp=time))).status_code == status


def test_ch_177_a_card_may_be_accepted_and_then_overridden(site):
    before, card = site.count(), str(uuid.uuid4())
    for entry in (accepted(card=card), overridden(card=card), overridden(card=card)):
        assert site.send(entry).status_code == 200

    assert site.count() == before + 2  # what came twice is kept once


def test_ch_178_what_has_no_uuid_is_refused_and_nothing_of_it_kept(site):
    before = site.count()

    for entry in (new(overridden(outcome="ignored")), overridden(card="card-1"), accepted(acceptedSuggestions=[{}])):
        assert site.send(new(overridden()), entry).status_code == 400
    assert site.count() == before


@pytest.mark.parametrize(
    ("aud", "status"),
    [(f"{URL}/feedback", 200), (URL, 200), ("/cds-services", 401), (f"{URL}-order-sign/feedback", 401)],
)
def test_ch_179_a_token_for_feedback_is_made_out_to_it_or_to_its_service(ehr, aud, status):
    token = tokens.token(aud=tokens.PUBLIC_URL + aud)
    answer = ehr.post(FEEDBACK, json={"feedback": [new(overridden())]}, headers={"Authorization": f"Bearer {token}"})

    assert answer.status_code == status


def test_ch_180_feedback_on_a_card_that_nobody_remembers_is_200(site):
    before = site.count()

    assert site.send(new(overridden())).status_code == 200
    assert site.count() == before + 1


def test_ch_181_a_comment_is_neither_logged_nor_kept(site, caplog):
    caplog.set_level(logging.DEBUG)
    before = site.count()
    assert site.send(new(overridden(overrideReason={"userComment": "Canary-4711"}))).status_code == 200
    assert site.send(overridden(overrideReason={"userComment": ["Canary-4711"]})).status_code == 400

    assert site.count() == before + 1
    assert caplog.records
    assert "Canary-4711" not in caplog.text
    kept = [path.read_bytes() for path in Path(site.folder).rglob("*") if path.is_file()]
    assert kept
    assert not any(b"Canary-4711" in content for content in kept)
