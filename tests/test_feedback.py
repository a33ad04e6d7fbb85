"""Feedback: what clients tell about cards is checked, kept once, and counted; nothing of a patient is kept."""

import copy
import csv
import io
import json
import logging
import re
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from click.testing import CliRunner
from databases import KINDS, database
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sqlalchemy import create_engine, event, inspect, text
from support import SERVICE_ID, URL, example, expected_patients, is_outcome, patient_view, put_in_prefetch

from cds_service.edge import migrate
from cds_service.edge.cli import main
from cds_service.edge.report import report
from cds_service.edge.settings import Settings
from cds_service.edge.store import Count, Origin, Store
from cds_service.edge.tables import METADATA, REVISION
from cds_service.edge.web import create_app
from cds_service.errors import Unavailable
from cds_service.hooks.feedback import Entry, parse_feedback
from cds_service.hooks.listing import Listing, card_id, imprint, imprint_of, listing, places
from cds_service.knowledge.load import home

FEEDBACK = f"{URL}/feedback"
EXAMPLE = json.loads((Path(__file__).parent / "data" / "example-request.json").read_text(encoding="utf-8"))
SUGGESTION = "e56e1945-20b3-4393-8503-a1a20fd73152"


@contextmanager
def opened(url):
    """A connection to a database, past the store."""
    engine = create_engine(url)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


class Site:
    """A service with a database of its own."""

    def __init__(self, url, **more):
        self.url = url
        app = create_app(site=Settings(database=url, **more))
        self.store = app.extensions["store"]
        self.client = app.test_client()

    def cards(self, call=EXAMPLE):
        return self.client.post(URL, json=call).get_json()["cards"]

    def send(self, *entries):
        return self.client.post(FEEDBACK, json={"feedback": list(entries)})

    def rows(self, table="feedback"):
        with opened(self.url) as connection:
            return [dict(row._mapping) for row in connection.execute(text(f"SELECT * FROM {table}"))]

    def report(self, *arguments):
        result = CliRunner().invoke(main, ["feedback", "report", *arguments], env={"CDS_DATABASE": self.url})
        assert result.exit_code == 0, result.output
        return result.output

    def counted(self, *arguments):
        return list(csv.DictReader(io.StringIO(self.report("--csv", *arguments))))


@pytest.fixture(scope="module", params=KINDS)
def shared(request, tmp_path_factory):
    with database(request.param, tmp_path_factory.mktemp(request.param)) as url:
        site = Site(url)
        yield site
        site.store.close()


@pytest.fixture
def site(shared):
    """A service whose store holds no feedback yet."""
    shared.store.upgrade()
    with opened(shared.url) as connection:
        connection.execute(text("DELETE FROM feedback"))
    return shared


def overridden(card=None, time="2026-03-04T05:06:07.891Z", **more):
    reason = {"reason": {"system": "https://example.org/reasons", "code": "not-this-patient"}}
    entry = {"card": card or str(uuid.uuid4()), "outcome": "overridden", "overrideReason": reason}
    return {**entry, "outcomeTimestamp": time, **more}


def accepted(card=None, time="2026-03-04T05:06:07.891Z"):
    entry = {"card": card or str(uuid.uuid4()), "outcome": "accepted", "acceptedSuggestions": [{"id": SUGGESTION}]}
    return {**entry, "outcomeTimestamp": time}


def when(condition, seconds=5.0):
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to hold"
        time.sleep(0.02)


# WHAT IS TAKEN


SHAPES = {
    "accepted with a suggestion": accepted(),
    "overridden with a coded reason": overridden(),
    "overridden, the code without a system": overridden(overrideReason={"reason": {"code": "x"}}),
    "overridden with a display": overridden(overrideReason={"reason": {"code": "x", "system": "y", "display": "z"}}),
    "overridden with a comment only": overridden(overrideReason={"userComment": "no"}),
    "overridden with an empty reason": overridden(overrideReason={}),
    "overridden without a reason": {k: v for k, v in overridden().items() if k != "overrideReason"},
    "a time without fraction": overridden(time="2021-12-11T10:05:31Z"),
    "a time with a fraction of nanoseconds": overridden(time="2021-12-11T10:05:31.123456789Z"),
    "a time of offset zero": overridden(time="2021-12-11t10:05:31+00:00"),
    "a leap second": overridden(time="2016-12-31T23:59:60Z"),
    "the first year": overridden(time="0001-01-01T00:00:00Z"),
    "the last year": overridden(time="9999-12-31T23:59:59Z"),
    "an id in capitals": overridden(card=str(uuid.uuid4()).upper()),
    "an extension": overridden(extension={"x": 1}),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_that_the_specification_allows_is_kept(site, shape):
    answer = site.send(SHAPES[shape])

    assert (answer.status_code, answer.get_json()) == (200, {})
    assert [row["card"] for row in site.rows()] == [SHAPES[shape]["card"].lower()]


FAULTS = {
    "no feedback": ({}, "$: found no `feedback`"),
    "an array": ([], "$: found an array"),
    "feedback that is an object": ({"feedback": {}}, "$.feedback: found an object"),
    "an entry that is null": ({"feedback": [None]}, "$.feedback.0: found null"),
    "no card": ({"feedback": [{**overridden(), "card": None}]}, "$.feedback.0.card: found null"),
    "a card that is no uuid": ({"feedback": [overridden("Patient/17")]}, "$.feedback.0.card: found a string of"),
    "a card with a line break": ({"feedback": [overridden(f"{uuid.uuid4()}\n")]}, "$.feedback.0.card"),
    "an outcome of its own": ({"feedback": [overridden(outcome="ignored")]}, "one of accepted, overridden"),
    "accepted without suggestions": (
        {"feedback": [{k: v for k, v in accepted().items() if k != "acceptedSuggestions"}]},
        "found no `acceptedSuggestions`",
    ),
    "accepted with no suggestion": ({"feedback": [{**accepted(), "acceptedSuggestions": []}]}, "an empty array"),
    "a suggestion without id": ({"feedback": [{**accepted(), "acceptedSuggestions": [{}]}]}, "found no `id`"),
    "a reason without code": ({"feedback": [overridden(overrideReason={"reason": {}})]}, "found no `code`"),
    "a code with a NUL": ({"feedback": [overridden(overrideReason={"reason": {"code": "a\0b"}})]}, "reason.code"),
    "a code with a line break": ({"feedback": [overridden(overrideReason={"reason": {"code": "a\n"}})]}, "reason.code"),
    "a long code": ({"feedback": [overridden(overrideReason={"reason": {"code": "a" * 101}})]}, "at most 100"),
    "a comment that is a number": ({"feedback": [overridden(overrideReason={"userComment": 7})]}, "userComment"),
    "no time": ({"feedback": [{k: v for k, v in overridden().items() if k != "outcomeTimestamp"}]}, "outcomeTimestamp"),
    "a time without zone": ({"feedback": [overridden(time="2026-03-04T05:06:07")]}, "outcomeTimestamp"),
    "a time of another zone": ({"feedback": [overridden(time="2026-03-04T05:06:07+01:00")]}, "outcomeTimestamp"),
    "a day that never was": ({"feedback": [overridden(time="2026-02-30T05:06:07Z")]}, "in no calendar"),
    "an hour that never was": ({"feedback": [overridden(time="2026-02-20T24:06:07Z")]}, "in no calendar"),
    "the year nought": ({"feedback": [overridden(time="0000-01-01T00:00:00Z")]}, "in no calendar"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_not_feedback_is_refused_with_its_place_and_nothing_is_kept(site, fault):
    body, expected = FAULTS[fault]
    if isinstance(body, dict) and isinstance(body.get("feedback"), list):
        body = {"feedback": [overridden(), *body["feedback"]]}
        expected = expected.replace("$.feedback.0", "$.feedback.1")

    answer = site.client.post(FEEDBACK, json=body)

    assert answer.status_code == 400
    assert is_outcome(answer.get_json())
    assert expected in answer.get_data(as_text=True)
    assert site.rows() == []


def test_all_faults_of_all_entries_are_told_at_once_and_no_value_is_repeated(site):
    secret = "Erika Mustermann"
    answer = site.send(
        {"card": secret, "outcome": secret, "outcomeTimestamp": secret, "overrideReason": {"reason": {"code": 1}}},
        overridden(time="2026-13-01T00:00:00Z"),
        {**accepted(), "acceptedSuggestions": [{"id": secret}]},
    )

    places = [issue["expression"][0] for issue in answer.get_json()["issue"]]
    assert places == [
        "$.feedback.0.card",
        "$.feedback.0.outcome",
        "$.feedback.0.outcomeTimestamp",
        "$.feedback.0.overrideReason.reason.code",
        "$.feedback.2.acceptedSuggestions.0.id",
        "$.feedback.1.outcomeTimestamp",
    ]
    assert secret not in answer.get_data(as_text=True)


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ({"data": b"{", "content_type": "application/json"}, 400),
        ({"data": b'{"feedback": [NaN]}', "content_type": "application/json"}, 400),
        ({"data": b"feedback", "content_type": "text/plain"}, 415),
        ({"json": {"feedback": [overridden() for _ in range(101)]}}, 413),
        ({"json": {"feedback": [overridden(overrideReason={"userComment": "x" * 300_000})]}}, 413),
    ],
    ids=["not JSON", "NaN", "another media type", "too many entries", "too many bytes"],
)
def test_calls_that_are_refused_get_an_operation_outcome(site, how, status):
    answer = site.client.post(FEEDBACK, **how)

    assert answer.status_code == status
    assert is_outcome(answer.get_json())
    assert site.rows() == []


def test_feedback_is_for_services_that_are_offered_and_is_posted(site):
    unknown = site.client.post("/cds-services/another/feedback", json={"feedback": [overridden()]})
    got = site.client.get(FEEDBACK)

    assert (unknown.status_code, got.status_code) == (404, 405)
    assert is_outcome(unknown.get_json())
    assert "POST" in got.headers["Allow"]
    assert site.rows() == []


# WHAT IS KEPT


def test_the_same_batch_twice_is_stored_once_and_answered_the_same(site):
    batch = [accepted(), overridden(), overridden()]

    answers = [site.send(*batch), site.send(*reversed(batch)), site.send(*batch, *batch)]

    assert {(answer.status_code, answer.data) for answer in answers} == {(200, b"{}")}
    assert len(site.rows()) == 3


def test_accepted_and_then_overridden_are_two_entries(site):
    card = str(uuid.uuid4())

    site.send(accepted(card), overridden(card, "2026-03-04T05:06:09Z"))

    assert sorted(row["outcome"] for row in site.rows()) == ["accepted", "overridden"]


def test_equal_times_written_differently_are_the_same_entry(site):
    card = str(uuid.uuid4())

    site.send(*(overridden(card, f"2026-03-04T05:06:07{tail}") for tail in (".5Z", ".500Z", ".500000+00:00")))

    assert len(site.rows()) == 1


def test_many_clients_at_once_store_each_entry_once(site):
    entries = [overridden() for _ in range(20)]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda turn: site.send(*entries[turn % 5 :], *entries[: turn % 5]), range(24)))

    assert {answer.status_code for answer in answers} == {200}
    assert len(site.rows()) == 20


def test_a_comment_is_not_kept_unless_the_site_says_so_and_never_logged(site, caplog):
    caplog.set_level(logging.DEBUG)
    entry = overridden(overrideReason={"userComment": "Erika Mustermann's \0 wish"})

    site.send(entry)
    unasked = site.rows()[0]
    keeping = Site(site.url, feedback_comments=True)
    keeping.send({**entry, "outcomeTimestamp": "2026-03-05T00:00:00Z"})
    keeping.store.close()
    kept = next(row for row in site.rows() if row["timestamp"].startswith("2026-03-05"))

    assert (bool(unasked["commented"]), unasked["comment"]) == (True, None)
    assert kept["comment"] == "Erika Mustermann's \ufffd wish"
    assert "Mustermann" not in caplog.text
    assert "Mustermann" not in repr(parse_feedback(json.dumps({"feedback": [entry]}).encode(), home()[1]))


def test_nothing_of_the_patient_or_the_user_is_stored(tmp_path, services):
    """Every example patient is shown cards and every card gets feedback; then the whole file is searched."""
    site = Site(f"sqlite:///{tmp_path}/store.db")
    words = set()
    for patient in list(expected_patients())[:12]:
        ident, resources = example(patient, "mcode")
        call = patient_view(ident, put_in_prefetch(resources, ident, services))
        call["context"]["userId"] = "Practitioner/secret-user"
        cards = site.cards(call)
        words |= {ident, *(one["id"] for one in resources if len(one["id"]) > 5)}
        site.send(*(overridden(card["uuid"]) for card in cards))
    when(lambda: len(site.rows("listing")) >= 12)
    words |= {"secret-user", call["hookInstance"], "127.0.0.1"}

    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())

    assert b"not-this-patient" in stored
    assert not [word for word in words if word.encode() in stored]


# THE ID OF A CARD


def test_the_id_of_a_card_is_of_version_8_and_carries_the_imprint_of_what_is_listed(client, services, responder):
    stands = places(responder.knowledge)
    seen = {}
    for patient in expected_patients():
        ident, resources = example(patient, "mcode")
        call = patient_view(ident, put_in_prefetch(resources, ident, services))
        for card in client.post(URL, json=call).get_json()["cards"]:
            made = listing(card, stands)
            ident8 = uuid.UUID(card["uuid"])
            assert (ident8.version, ident8.variant) == (8, uuid.RFC_4122)
            assert made.imprint == imprint(made.digest, [(option, status) for option, _, status in made.options])
            assert seen.setdefault(made.imprint, made) == made
    assert len({made.options for made in seen.values()}) == len(seen) > 20


def test_the_id_tells_calls_apart_and_says_nothing_of_the_patient(client):
    other_instance, other_patient = copy.deepcopy(EXAMPLE), json.loads(json.dumps(EXAMPLE).replace("p1", "q9"))
    other_instance["hookInstance"] = str(uuid.uuid4())

    ids = [client.post(URL, json=call).get_json()["cards"][0]["uuid"] for call in (EXAMPLE, other_instance)]

    assert ids[0] != ids[1]
    assert imprint_of(ids[0]) == imprint_of(ids[1])
    assert client.post(URL, json=other_patient).get_json()["cards"][0]["uuid"] == ids[0]


@given(st.text(alphabet="0123456789abcdef", min_size=15, max_size=15), st.text(), st.text())
def test_every_imprint_comes_back_out_of_the_id_it_went_into(mark, one, other):
    made = card_id(mark, one)

    assert imprint_of(made) == imprint_of(str(uuid.UUID(made))) == mark
    assert (made == card_id(mark, other)) == (one == other)


@pytest.mark.parametrize("ident", ["", "x", SUGGESTION, "f3d00574-855b-8657-c436-7be760a78dac", f"{SUGGESTION}\n"])
def test_an_id_of_another_making_has_no_imprint(ident):
    assert imprint_of(ident) == ""


# THE REPORT


def test_feedback_is_counted_by_what_the_card_listed(site):
    cards = site.cards()
    when(lambda: {imprint_of(card["uuid"]) for card in cards} <= {row["imprint"] for row in site.rows("listing")})
    site.send(accepted(cards[0]["uuid"]), overridden(cards[0]["uuid"]), overridden(cards[2]["uuid"]))
    site.send(overridden(overrideReason={}))

    rows = site.counted()
    sections = {row["section"]: row for row in site.counted("--by", "section")}
    statuses = {row["status"]: row for row in site.counted("--by", "status")}
    listed = [one["option"] for one in cards[0]["extension"]["org.cds-service"]["options"]]

    assert {row["option"] for row in rows if row["section"] in ("hormone-therapy", "chemotherapy")} <= set(listed)
    of_tamoxifen = [row for row in rows if row["option"] == "tamoxifen"]
    assert [(row["reason"], row["accepted"], row["overridden"]) for row in of_tamoxifen] == [
        ("-", "1", "0"),
        ("not-this-patient (https://example.org/reasons)", "0", "1"),
    ]
    assert all(re.fullmatch(r"2026\.\d+ [0-9a-f]{8}", row["knowledge"]) for row in of_tamoxifen)
    assert (sections["hormone-therapy"]["accepted"], sections["hormone-therapy"]["overridden"]) == ("1", "1")
    assert sections["clinical-trials"]["overridden"] == "1"
    assert statuses["supported"]["overridden"] == "2"
    assert [row for row in rows if row["knowledge"] == "card not known"] == [
        {"knowledge": "card not known", "section": "-", "option": "-", "reason": "no reason given", "accepted": "0",
         "overridden": "1"}
    ]  # fmt: skip
    table = site.report()
    assert "4 entries: 1 accepted, 3 overridden" in table
    assert "1 of them about cards that are not known" in table


def test_a_listing_that_is_written_after_the_feedback_joins_too(site):
    made = Listing(imprint("sha256:late", [("x", "supported")]), "a", "9.9", "sha256:late", (("x", "y", "supported"),))
    site.send(overridden(card_id(made.imprint, "any")))
    before = site.counted("--by", "option")

    site.store.remember([made, made])
    site.store.remember([made])

    assert [row["option"] for row in before] == ["-"]
    assert [row["option"] for row in site.counted("--by", "option")] == ["x"]


def test_since_leaves_out_what_was_received_earlier(site):
    site.send(overridden())
    with opened(site.url) as connection:
        connection.execute(text("UPDATE feedback SET received = '2026-01-31'"))
    site.send(overridden())

    assert "2 entries" in site.report("--since", "2026-01-31")
    assert "1 entries" in site.report("--since", "2026-02-01")


def test_a_reason_that_a_card_offers_is_told_in_its_words_and_another_by_its_code(site):
    card = site.cards()[0]
    offered = card["overrideReasons"][0]
    reason = {"system": offered["system"], "code": offered["code"]}  # the official sandbox sends no display
    site.send(overridden(card["uuid"], overrideReason={"reason": reason}), overridden())

    reasons = {row["reason"] for row in site.counted("--by", "reason")}

    assert reasons == {offered["display"], "not-this-patient (https://example.org/reasons)"}


def test_a_reason_is_no_formula_for_a_spreadsheet_and_no_command_for_a_terminal(site):
    site.send(overridden(overrideReason={"reason": {"code": "=HYPERLINK(1)"}}))
    site.send(overridden(overrideReason={"reason": {"code": "a\u202eb"}}))

    assert "'=HYPERLINK(1)" in {row["reason"] for row in site.counted("--by", "reason")}
    assert "\u202e" not in site.report("--by", "reason")


def test_a_report_on_a_store_that_is_down_says_so():
    result = CliRunner().invoke(main, ["feedback", "report"], env={"CDS_DATABASE": "postgresql://x@127.0.0.1:1/x"})

    assert result.exit_code == 1
    assert "the store: found it cannot be used now" in result.output


ENTRIES = st.builds(
    Entry,
    card=st.sampled_from([card_id(mark * 15, "x") for mark in "0123"]),
    outcome=st.sampled_from(["accepted", "overridden"]),
    timestamp=st.sampled_from(["2026-03-04T05:06:07.000000Z", "2026-03-04T05:06:08.000000Z"]),
    code=st.sampled_from(["", "a", "b"]),
)


@st.composite
def twice(draw):
    """Some entries, and the same in another order with repetitions."""
    entries = draw(st.lists(ENTRIES, min_size=1, max_size=12, unique=True))
    return entries, draw(st.permutations(entries + draw(st.lists(st.sampled_from(entries)))))


@settings(max_examples=25, deadline=None)
@given(twice(), st.integers(1, 5))
def test_any_order_and_any_repetition_give_the_same_report(both, size):
    entries, repeated = both
    with tempfile.TemporaryDirectory() as folder, closing(Store(f"sqlite:///{folder}/store.db")) as store:
        store.keep(Origin("x"), entries)
        once = report(store.counts(), {})
        for start in range(0, len(repeated), size):
            store.keep(Origin("x"), repeated[start : start + size])
            store.keep(Origin("y"), repeated[start : start + size])
        twofold = report(store.counts(), {})

    assert once.accepted + once.overridden == len(entries)
    assert [(row.key, row.accepted * 2, row.overridden * 2) for row in once.rows] == [
        (row.key, row.accepted, row.overridden) for row in twofold.rows
    ]


def test_a_card_without_options_is_counted_as_such():
    over = Listing(imprint("d", ()), "", "1", "sha256:0123456789", ())
    made = report([Count(over.imprint, "overridden", "", "", 3)], {over.imprint: over})

    assert [(row.key, row.overridden) for row in made.rows] == [
        (("1 01234567", "no options listed", "-", "no reason given"), 3)
    ]


# A STORE THAT IS DOWN


@pytest.mark.parametrize("url", ["postgresql://x@127.0.0.1:1/x", "sqlite:////dev/null/x/store.db"])
def test_a_store_that_is_down_costs_feedback_a_503_and_no_card(url):
    site = Site(url)
    start = time.monotonic()

    answers = [site.send(overridden()) for _ in range(5)]
    cards = [site.cards() for _ in range(5)]

    assert {answer.status_code for answer in answers} == {503}
    assert all(is_outcome(answer.get_json()) for answer in answers)
    assert all(len(shown) == 3 for shown in cards)
    assert time.monotonic() - start < 3


def test_a_listing_that_could_not_be_written_is_written_when_the_card_is_next_shown(tmp_path):
    blocker = tmp_path / "state"
    blocker.write_text("in the way", encoding="utf-8")
    site = Site(f"sqlite:///{blocker}/store.db")
    shown = {imprint_of(card["uuid"]) for card in site.cards()}
    site.send(overridden())
    blocker.unlink()

    def written():
        site.cards()
        return not site.store.problem() and shown <= {row["imprint"] for row in site.rows("listing")}

    when(written)


def test_a_locked_sqlite_is_waited_for_and_then_refused(tmp_path):
    path = tmp_path / "store.db"
    store = Store(f"sqlite:///{path}", patience=0.2)
    entry = Entry(str(uuid.uuid4()), "overridden", "2026-03-04T05:06:07.000000Z")
    store.upgrade()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Unavailable):
            store.keep(Origin(SERVICE_ID), [entry])
        assert "down" in store.problem()  # not tried again at once
        other.execute("ROLLBACK")
    when(lambda: not store.problem())
    store.keep(Origin(SERVICE_ID), [entry])

    assert [count.number for count in store.counts()] == [1]


def test_a_full_disk_is_a_503_and_not_a_loss(tmp_path):
    site = Site(f"sqlite:///{tmp_path}/store.db")
    kept = []
    site.store.upgrade()
    with closing(sqlite3.connect(tmp_path / "store.db")) as raw:
        pages = raw.execute("PRAGMA page_count").fetchone()[0]
    site.store.close()
    # the limit belongs to a connection: set it on those of the store
    event.listen(site.store._engine, "connect", lambda raw, _: raw.execute(f"PRAGMA max_page_count = {pages + 4}"))
    for number in range(400):
        entry = Entry(str(uuid.uuid4()), "overridden", f"2026-03-04T05:06:07.{number:06}Z")
        try:
            site.store.keep(Origin(SERVICE_ID), [entry])
        except Unavailable:
            break
        kept.append(entry.card)

    assert 0 < len(kept) < 400
    assert {row["card"] for row in site.rows()} == set(kept)


def test_the_file_and_its_folder_are_for_their_owner_only(tmp_path):
    Store(f"sqlite:///{tmp_path}/state/store.db").upgrade()

    assert [oct(path.stat().st_mode)[-3:] for path in (tmp_path / "state", tmp_path / "state" / "store.db")] == [
        "700",
        "600",
    ]


def test_a_sqlite_store_syncs_every_commit_to_a_write_ahead_log(tmp_path):
    store = Store(f"sqlite:///{tmp_path}/store.db")
    store.upgrade()

    with store._engine.connect() as connection:
        found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]

    assert found == ["wal", 2]


# THE SCHEMA


@pytest.fixture(params=KINDS)
def url(request, tmp_path):
    with database(request.param, tmp_path) as made:
        yield made


def revisions():
    return [script.revision for script in ScriptDirectory.from_config(migrate.config()).walk_revisions()]


def at(url, revision):
    """Bring a database to a revision."""
    with closing(Store(url)) as store:
        store.upgrade()
    if revision != REVISION:
        with opened(url) as connection:
            command.downgrade(migrate.config(connection), revision)


@pytest.mark.parametrize("revision", ["base", *revisions()])
def test_every_older_schema_is_upgraded_to_the_tables_of_this_version(url, revision):
    at(url, revision)

    result = CliRunner().invoke(main, ["database", "upgrade"], env={"CDS_DATABASE": url})
    with opened(url) as connection:
        command.check(migrate.config(connection))  # raises where tables and migrations differ
        tables = set(inspect(connection).get_table_names())

    assert result.exit_code == 0
    assert tables == {*METADATA.tables, "alembic_version"}


def test_the_newest_migration_is_the_schema_of_this_version():
    assert revisions()[0] == REVISION


def test_whoever_comes_first_to_a_new_sqlite_file_makes_nobody_fail(tmp_path):
    """Two may want to switch the same new file to its write-ahead log at one moment; rare, so it is tried often."""
    failed = []

    def use(store):
        try:
            store.upgrade()
        except Unavailable as error:
            failed.append(error)
        finally:
            store.close()

    for turn in range(30):
        threads = [
            threading.Thread(target=use, args=(Store(f"sqlite:///{tmp_path}/{turn}/store.db"),)) for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert failed == []


def test_many_processes_upgrade_at_once_and_one_does_it(url):
    stores = [Store(url) for _ in range(6)]
    failed = []

    def upgrade(store):
        try:
            store.upgrade()
        except Unavailable as error:
            failed.append(error)

    threads = [threading.Thread(target=upgrade, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failed == []
    assert {store.problem() for store in stores} == {""}
    for store in stores:
        store.close()


def test_sqlite_is_upgraded_when_first_used_and_postgresql_by_its_administrator(url):
    store = Store(url)
    entry = Entry(str(uuid.uuid4()), "overridden", "2026-03-04T05:06:07.000000Z")
    if url.startswith("postgresql"):
        with pytest.raises(Unavailable, match="cds-service database upgrade"):
            store.keep(Origin(SERVICE_ID), [entry])
        at(url, REVISION)

    store.keep(Origin(SERVICE_ID), [entry])

    assert [count.number for count in store.counts()] == [1]
    store.close()


def test_a_schema_of_a_newer_version_is_refused_and_left_alone(url):
    at(url, REVISION)
    with opened(url) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    store = Store(url)

    with pytest.raises(Unavailable, match="newer version"):
        store.counts()
    with pytest.raises(Unavailable, match="newer version"):
        store.upgrade()
    with opened(url) as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "9999"
    store.close()


# TOKENS


def test_a_token_passes_once_for_its_issuer(url):
    store = Store(url)
    store.upgrade()
    soon = int(time.time()) + 300

    uses = [store.first_use(issuer, jti, soon) for issuer, jti in (("a", "1"), ("a", "1"), ("a", "2"), ("b", "1"))]

    assert uses == [True, False, True, True]
    with closing(Store(url)) as after_a_restart:
        assert after_a_restart.first_use("a", "1", soon) is False
    assert store.first_use('a", "1', "x", soon)
    store.close()


def test_of_fifty_uses_at_once_one_passes(url):
    stores = [Store(url), Store(url)]
    stores[0].upgrade()
    soon = int(time.time()) + 300

    with ThreadPoolExecutor(6) as pool:
        passed = list(pool.map(lambda turn: stores[turn % 2].first_use("issuer", "token", soon), range(50)))

    assert sum(passed) == 1
    for store in stores:
        store.close()


def test_connections_that_a_restart_has_cut_are_replaced(tmp_path):
    with database("postgresql", tmp_path) as url, closing(Store(url)) as store:
        store.upgrade()

        def cut():
            with opened(url) as connection:
                others = "pid <> pg_backend_pid() AND datname = current_database()"
                connection.execute(text(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {others}"))

        def used(jti):
            return store.first_use("issuer", jti, int(time.time()) + 300)

        assert used("1")
        cut()
        assert (used("1"), used("2"), store.problem()) == (False, True, "")


def test_tokens_that_ended_long_ago_are_forgotten(url):
    store = Store(url)
    store.upgrade()
    for number in range(60):
        store.first_use("issuer", f"old {number}", 1_000_000)
    for number in range(60):
        store.first_use("issuer", f"new {number}", int(time.time()) + 300)

    with opened(url) as connection:
        assert connection.execute(text("SELECT count(*) FROM token_use")).scalar() == 60
    store.close()


# WHAT A SITE SETS


@pytest.mark.parametrize("value", ["nonsense", "mysql://x/y", "sqlite://", "sqlite:///:memory:"])
def test_a_database_that_cannot_be_one_is_refused_at_start_without_its_value(value, monkeypatch):
    monkeypatch.setenv("CDS_DATABASE", value)

    with pytest.raises(ValidationError, match="database") as refused:
        Settings()
    assert f"'{value}'" not in str(refused.value)


def test_the_store_is_in_the_state_folder_unless_set(monkeypatch):
    monkeypatch.delenv("CDS_DATABASE")
    monkeypatch.setenv("XDG_STATE_HOME", "/somewhere/state")
    of_the_user = Settings().database
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/cds:/other")

    assert of_the_user == "sqlite:////somewhere/state/cds-service/cds-service.db"
    assert Settings().database == "sqlite:////var/lib/cds/cds-service.db"


FORKING = """
import os, sys
from cds_service.edge.store import Origin, Store
from cds_service.hooks.feedback import Entry

store = Store(sys.argv[1])
store.upgrade()

def keep(second):
    store.keep(Origin("x"), [Entry("0" * 36, "overridden", f"2026-03-04T05:06:{second:02}.000000Z")])
    assert store.first_use("x", str(second), 4_000_000_000)

keep(1)
child = os.fork()
keep(2 + bool(child))
if child:
    assert os.waitpid(child, 0)[1] == 0
    keep(4)
    assert [count.number for count in store.counts()] == [4]
store.close()
"""


def test_a_store_opened_before_a_fork_serves_the_child_with_connections_of_its_own(url):
    subprocess.run([sys.executable, "-c", FORKING, url], check=True, timeout=30)
