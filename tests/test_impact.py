"""What a replay shows: counts of patients, whose advice a change of knowledge or of a record touches, and the page."""

import json
import re
import shutil
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import html5lib
import pytest
import yaml
from lines import Line, line, raw, records, write

from cds_service.edge.invented import Invented, invented
from cds_service.edge.replay.aggregate import Aggregate
from cds_service.edge.replay.causes import Grounds
from cds_service.edge.replay.changes import Changes
from cds_service.edge.replay.compare import compare
from cds_service.edge.replay.finished import NotFinished
from cds_service.edge.replay.impact import Impact, against, impact
from cds_service.hooks.difference import edits, rewritten
from cds_service.hooks.respond import Responder
from cds_service.knowledge.knowledge import Knowledge
from cds_service.knowledge.load import home, load
from cds_service.synthetic.record import record

XHTML = "{http://www.w3.org/1999/xhtml}"
SVG = "{http://www.w3.org/2000/svg}"
#: the statement of the documents that the tests take away, change, and look for on cards
SECTION, OPTION, CITATION = "systemic-treatment/hormone-therapy", "tamoxifen", "webmd-2017-05 L19 supports"
ROW = ["webmd-2017-05", "L19", "supports"]
NOTHING: Line = {"facts": {}, "unknown": [], "options": {}, "set_aside": 0, "resources": 1}


@pytest.fixture(scope="module")
def told(responder: Responder) -> Invented:
    """Who is invented."""
    return invented(responder.knowledge)


@pytest.fixture(scope="module")
def lines(responder: Responder, told: Invented) -> list[Line]:
    """The lines of the stories and of patients by chance."""
    return [line(patient, resources, responder) for patient, resources in records(told, 60)]


def answered(told: Invented, knowledge: Knowledge) -> list[Line]:
    """The lines of the same patients under another knowledge."""
    other = Responder(knowledge)
    return [line(patient, resources, other) for patient, resources in records(told, 60)]


def edited(folder: Path, change: Callable[[dict[str, Any]], None]) -> Knowledge:
    """The knowledge with one section of its files edited."""
    cards = folder / "edited-cards"
    shutil.copytree(home()[0], cards)
    path = cards / f"{SECTION}.yaml"
    section = yaml.safe_load(path.read_text(encoding="utf-8"))
    change(section)
    path.write_text(yaml.safe_dump(section), encoding="utf-8")
    return load(cards)


def statements(section: dict[str, Any]) -> list[dict[str, Any]]:
    """The statements of the option that the tests edit."""
    return next(one["statements"] for one in section["options"] if one["option"] == OPTION)


def place(section: dict[str, Any]) -> dict[str, Any]:
    """The statement that the tests edit."""
    return next(one for one in statements(section) if [one["source"], one["passage"], one["position"]] == ROW)


def without(section: dict[str, Any]) -> None:
    """Take the statement away."""
    statements(section).remove(place(section))


def run(folder: Path, lines: list[Line], knowledge: Knowledge, **about: Any) -> Path:
    """A finished run of lines."""
    return write(lines, folder, knowledge={"version": knowledge.version, "digest": knowledge.digest}, **about)


def changed(folder: Path) -> dict[str, dict[str, Any]]:
    """The rows of changes.ndjson by patient."""
    rows = [json.loads(one) for one in (folder / "changes.ndjson").read_text(encoding="utf-8").splitlines()]
    assert [one["patient"].encode() for one in rows] == sorted(one["patient"].encode() for one in rows)
    return {one["patient"]: one for one in rows}


def counted(folder: Path, name: str = "aggregate.json") -> Any:
    return json.loads((folder / name).read_text(encoding="utf-8"))


# THE AGGREGATE


def test_the_aggregate_counts_what_the_lines_say(lines):
    found = Aggregate(lines).as_json()
    listing = [one for one in lines if one["options"]]
    statuses = Counter((name, one["status"]) for each in listing for name, one in each["options"].items())
    waiting = [
        {fact for one in each["options"].values() if one["status"] == "needs-data" for fact in one["missing"]}
        for each in listing
    ]

    assert found["patients"] == len(lines)
    assert found["answers"] == Counter(one["answer"] for one in lines)
    assert found["listing"] == len(listing) > 0
    assert sum(sum(one.values()) for one in found["reasons"].values()) == len(lines) - len(listing) > 0
    assert {
        (name, status): one[status]
        for name, one in found["options"].items()
        for status in ("supported", "differs", "needs-data")
        if one[status]
    } == statuses
    assert found["unknown"]["menopause"]["patients"] == sum("menopause" in one["unknown"] for one in listing)
    assert found["unknown"]["menopause"]["waiting"]["patients"] == sum("menopause" in one for one in waiting)
    assert found["facts"]["sites"]["bone"] == sum("bone" in one["facts"]["sites"].split(", ") for one in listing)
    pairs = Counter((one["facts"]["hr"], one["facts"]["her2"]) for one in listing)
    assert {(hr, her2): n for hr, row in found["receptors"].items() for her2, n in row.items()} == pairs
    assert sum(one["patients"] for one in found["options_per_patient"]) == len(listing)
    assert sum(one["patients"] for one in found["resources_per_patient"]) == len(lines)
    assert found["set_aside"]["resources"] == sum(one["set_aside"] for one in lines) > 0


def test_the_order_of_lines_and_merges_makes_no_difference(lines):
    whole = Aggregate(lines).as_json()
    thirds = [Aggregate(lines[start::3]) for start in range(3)]
    merged = Aggregate()
    for part in reversed(thirds):
        merged.merge(part)

    assert raw(merged.as_json()) == raw(Aggregate(reversed(lines)).as_json()) == raw(whole)


def test_no_id_of_a_patient_or_of_a_resource_gets_into_what_is_counted(lines):
    hidden = {
        **NOTHING,
        "patient": "secret-patient",
        "answer": "no-card",
        "reason": "breast cancer on record, but whether it is stage IV is not clear (stage 4 (Condition/secret-one))",
    }
    text = raw(Aggregate([*lines, hidden]).as_json()).decode()

    assert "breast cancer on record, but whether it is stage IV is not clear" in text
    assert "secret" not in text
    assert not [one["patient"] for one in lines if f'"{one["patient"]}"' in text]


def test_a_patient_for_whom_the_program_failed_is_counted_by_the_class_of_the_error(lines):
    failed = {**NOTHING, "patient": "p", "answer": "error", "reason": "KeyError"}

    assert Aggregate([*lines, failed]).as_json()["errors"] == {"KeyError": 1}


def test_small_counts_are_hidden_wherever_they_stand_and_nothing_is_drawn_of_them(lines, responder, tmp_path):
    folder = run(tmp_path / "run", lines, responder.knowledge)
    clear = counted_after(folder, responder.knowledge, below=0)
    hidden = counted_after(folder, responder.knowledge, below=8)
    page = (folder / "report.html").read_text(encoding="utf-8")

    assert set(_numbers(clear)) & set(range(1, 8))
    assert not set(_numbers(hidden)) & set(range(1, 8))
    assert "fewer than 8" in page
    assert "fewer than 8" in impact(folder, responder.knowledge, below=8).text
    rows = [one for one in hidden["options"].values() if None in one.values()]
    assert rows
    # the sums that stand beside so few patients are hidden with them
    assert all(
        one["waiting"]["options"] is None for one in hidden["unknown"].values() if one["waiting"]["patients"] is None
    )


def counted_after(folder: Path, knowledge: Knowledge, below: int) -> Any:
    impact(folder, knowledge, below=below)
    return counted(folder)


def _numbers(tree: Any) -> Iterator[int]:
    if isinstance(tree, dict):
        for name, value in tree.items():
            if name != "suppressed_below":
                yield from _numbers(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _numbers(value)
    elif isinstance(tree, int):
        yield tree


def many(lines: list[Line], count: int) -> Iterator[Line]:
    """So many short lines, each with an id and a reason of its own."""
    for number in range(count):
        one = lines[number % len(lines)]
        yield {**one, "patient": f"{number:09}", "reason": one["reason"] and f"{one['reason']} (Condition/{number})"}


def test_counting_and_comparing_hold_no_lines(lines):
    short = [{**one, "facts": {"hr": "positive"}, "unknown": [], "options": {}} for one in lines]
    for one, whole in zip(short, lines, strict=True):
        one["options"] = {name: whole["options"][name] for name in [*whole["options"]][:1]}
    other = [{**one, "facts": {"hr": "negative"}} for one in short]
    nothing = Grounds(same_knowledge=True, differing=(), rests_on={}, rewritten=None, gate=None)
    count, pairs = 200_000, 20_000
    tracemalloc.start()
    try:
        found = Aggregate(many(short, count)).as_json()
        touched = Changes(compare(map(raw, many(short, pairs)), map(raw, many(other, pairs)), nothing)).as_json()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert found["patients"] == count
    assert touched["compared"] == touched["changed"] == pairs
    assert peak < 1_000_000  # five bytes a patient counted, fifty a patient compared


# WHAT A CHANGE OF KNOWLEDGE TOUCHES


def test_the_same_run_again_touches_nobody(lines, responder, tmp_path):
    old, new = (run(tmp_path / name, lines, responder.knowledge) for name in ("old", "new"))
    found = impact(new, responder.knowledge, against(old))

    assert found.touched == 0
    assert "nobody is touched" in found.text
    assert (new / "changes.ndjson").read_bytes() == b""
    assert counted(new, "changes.json")["compared"] == len(lines)


@pytest.mark.parametrize("at_hand", [True, False])
def test_a_statement_taken_away_touches_exactly_the_patients_on_whose_cards_it_stood(
    lines, responder, tmp_path, at_hand, told
):
    after = edited(tmp_path, without)
    old = run(tmp_path / "old", lines, responder.knowledge)
    new = run(tmp_path / "new", answered(told, after), after)
    found = impact(new, after, against(old, responder.knowledge if at_hand else None))
    rows = changed(new)
    cited = {one["patient"] for one in lines if CITATION in one["options"].get(OPTION, {}).get("citations", ())}

    assert rows.keys() == cited
    assert found.touched == len(cited) > 10
    for row in rows.values():
        assert row["options"].keys() == {OPTION}
        assert row["options"][OPTION]["because"] == "knowledge"
        assert row["options"][OPTION]["citations"] == {"added": [], "removed": [CITATION]}
        assert row["facts"] == {}
    counts = counted(new, "changes.json")
    assert counts["causes"] == {"knowledge": len(cited)}
    assert counts["options"][OPTION]["citations"]["removed"][CITATION] == len(cited)
    assert counts["sections"] == {"hormone-therapy": len(cited)}
    page = words((new / "report.html").read_text(encoding="utf-8"))
    assert ("removed WebMD 5/2017 L19 supports" in page) is at_hand
    assert ("--against-cards" in page) is not at_hand


def test_a_changed_condition_moves_statuses_and_is_told_in_words(lines, responder, tmp_path, told):
    def narrowed(section: dict[str, Any]) -> None:
        for one in statements(section):
            if one["position"] == "supports":
                one["when"] = {"all": [one["when"], "premenopausal"]}

    after = edited(tmp_path, narrowed)
    then = answered(told, after)
    old, new = run(tmp_path / "old", lines, responder.knowledge), run(tmp_path / "new", then, after)
    impact(new, after, against(old, responder.knowledge))
    expected = {
        before["patient"]: [_status(before), _status(now)]
        for before, now in zip(lines, then, strict=True)
        if _status(before) != _status(now)
    }
    rows = changed(new)
    moved = {
        patient: row["options"][OPTION]["status"]
        for patient, row in rows.items()
        if row["options"][OPTION]["status"][0] != row["options"][OPTION]["status"][1]
    }

    assert moved == expected
    assert ["supported", "not-listed"] in moved.values()
    assert {row["options"][OPTION]["because"] for row in rows.values()} == {"knowledge"}
    counts = counted(new, "changes.json")
    assert counts["kinds"]["status"] == len(expected)
    pairs = Counter(tuple(pair) for pair in expected.values())
    assert {(was, now): n for was, row in counts["transitions"].items() for now, n in row.items()} == pairs
    (edit, *_) = [one for one in edits(responder.knowledge, after) if one.of == CITATION]
    assert (edit.option, edit.kind, edit.was) == (OPTION, "changed", "hormone receptor-positive")
    assert "premenopausal" in edit.now
    assert f"Old: {edit.was} New: {edit.now}" in words((new / "report.html").read_text(encoding="utf-8"))


def _status(one: Line) -> str:
    return one["options"].get(OPTION, {"status": "not-listed"})["status"]


def test_a_note_or_a_strength_changes_no_verdict_and_is_called_reworded(responder, tmp_path):
    after = edited(tmp_path, lambda section: place(section).update(strength="perhaps"))
    found = edits(responder.knowledge, after)

    assert [(one.option, one.kind, one.of) for one in found] == [(OPTION, "reworded", CITATION)]
    assert rewritten(found) == frozenset()


def test_an_option_that_is_new_or_gone_is_told_with_its_statements(responder, tmp_path):
    def gone(section: dict[str, Any]) -> None:
        section["options"] = [one for one in section["options"] if one["option"] != "toremifene"]

    after = edited(tmp_path, gone)
    there = {(one.option, one.kind) for one in edits(after, responder.knowledge)}

    assert {(one.option, one.kind) for one in edits(responder.knowledge, after)} == {("toremifene", "removed")}
    assert there == {("toremifene", "added")}


# WHAT A CHANGE OF A RECORD TOUCHES


def retold(told: Invented, responder: Responder, story: str, **facts: Any) -> list[Line]:
    """One story, with other facts."""
    (one,) = [one for one in told.stories if one.id == story]
    other = replace(one, facts={**one.facts, **facts})
    return [line(one.id, record(other, told.vocabulary), responder)]


STORY = "bone-after-menopause"


def swapped(lines: list[Line], other: list[Line]) -> list[Line]:
    """The lines with those of some patients in place of theirs."""
    ids = {one["patient"] for one in other}
    return [*(one for one in lines if one["patient"] not in ids), *other]


def test_another_fact_of_a_patient_touches_this_patient_only_because_of_the_fact(lines, told, responder, tmp_path):
    old = run(tmp_path / "old", lines, responder.knowledge)
    new = run(
        tmp_path / "new", swapped(lines, retold(told, responder, STORY, menopause="premenopausal")), responder.knowledge
    )
    found = impact(new, responder.knowledge, against(old))
    rows = changed(new)

    assert rows.keys() == {STORY}
    assert found.touched == 1
    assert rows[STORY]["facts"] == {"menopause": ["postmenopausal", "premenopausal"]}
    assert {one["because"] for one in rows[STORY]["options"].values()} == {"facts"}
    assert rows[STORY]["options"]["anastrozole"]["status"] == ["supported", "not-listed"]
    assert counted(new, "changes.json")["facts"] == {"menopause": {"postmenopausal": {"premenopausal": 1}}}


def test_a_finer_answer_than_the_value_of_a_fact_is_a_fact_too(lines, told, responder, tmp_path):
    old = run(tmp_path / "old", lines, responder.knowledge)
    new = run(
        tmp_path / "new", swapped(lines, retold(told, responder, STORY, menopause="induced")), responder.knowledge
    )
    impact(new, responder.knowledge, against(old))
    row = changed(new)[STORY]

    assert row["facts"] == {}
    assert row["options"]
    assert {one["because"] for one in row["options"].values()} == {"facts"}


def test_facts_and_knowledge_are_told_apart_option_by_option(lines, told, responder, tmp_path):
    after = edited(tmp_path, without)
    other = swapped(answered(told, after), retold(told, Responder(after), STORY, menopause="premenopausal"))
    old, new = run(tmp_path / "old", lines, responder.knowledge), run(tmp_path / "new", other, after)
    impact(new, after, against(old, responder.knowledge))
    causes = {name: one["because"] for name, one in changed(new)[STORY]["options"].items()}

    assert causes.pop(OPTION) == "both"
    assert set(causes.values()) == {"facts"}
    # with one knowledge only at hand the two cannot be told apart where the fact matters
    impact(new, after, against(old))
    assert changed(new)[STORY]["options"]["anastrozole"]["because"] == "both"


def test_a_patient_who_died_has_options_no_more_and_the_reason_says_why(lines, told, responder, tmp_path):
    old = run(tmp_path / "old", lines, responder.knowledge)
    new = run(tmp_path / "new", swapped(lines, retold(told, responder, STORY, deceased="yes")), responder.knowledge)
    impact(new, responder.knowledge, against(old))
    row = changed(new)[STORY]

    assert row["answer"] == ["cards", "no-card"]
    assert row["reason"] == ["", "the record says that the patient has died"]
    assert row["because"] == "facts"
    assert row["facts"] == {}
    assert {(one["status"][1], one["because"]) for one in row["options"].values()} == {("not-listed", "facts")}
    assert counted(new, "changes.json")["listing"] == {
        "options listed": {"the record says that the patient has died": {"facts": 1}}
    }


def test_patients_of_one_run_only_are_listed_as_such(lines, responder, tmp_path):
    old = run(tmp_path / "old", lines[1:], responder.knowledge)
    new = run(tmp_path / "new", lines[:-1], responder.knowledge)
    found = impact(new, responder.knowledge, against(old))
    first, last = lines[0]["patient"], lines[-1]["patient"]

    assert changed(new) == {first: {"patient": first, "only": "new"}, last: {"patient": last, "only": "old"}}
    assert found.touched == 2
    assert counted(new, "changes.json")["only"] == {"old": 1, "new": 1}


def test_what_another_program_says_of_the_same_is_no_effect_of_facts_or_knowledge(lines, responder, tmp_path):
    (there,) = [one for one in lines if one["patient"] == STORY]
    entry = {**there["options"][OPTION], "status": "supported"}
    other = {**there, "options": {**there["options"], OPTION: entry}}
    old = run(tmp_path / "old", lines, responder.knowledge)
    new = run(tmp_path / "new", swapped(lines, [other]), responder.knowledge, version="0.2.0")
    impact(new, responder.knowledge, against(old))

    assert changed(new)[STORY]["options"][OPTION]["because"] == "program"
    assert "different versions of the program" in words((new / "report.html").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"today": "2027-01-01"}, "The runs were made for different days"),
        ({"version": "0.2.0"}, "different versions of the program"),
        ({"complete": True}, "The input was taken otherwise"),
        (
            {"input": {"given": "x", "files": [{"name": "Patient.ndjson", "bytes": 2, "modified": 1}]}},
            "input files differ",
        ),
        ({"input": {"given": "-", "files": []}}, "Whether the input is the same cannot be told"),
        ({"input": {"given": "elsewhere", "files": [{"name": "Patient.ndjson", "bytes": 1, "modified": 9}]}}, ""),
    ],
)
def test_the_page_says_what_else_than_the_knowledge_differs(lines, responder, tmp_path, about, said):
    old = run(tmp_path / "old", lines, responder.knowledge)
    new = run(tmp_path / "new", lines, responder.knowledge, **about)
    impact(new, responder.knowledge, against(old))
    page = words((new / "report.html").read_text(encoding="utf-8"))

    assert ("Not everything here is an effect of the knowledge" in page) is bool(said)
    assert said in page


def test_a_run_without_comparison_keeps_no_changes_of_an_earlier_one(lines, responder, tmp_path):
    old, new = run(tmp_path / "old", lines[1:], responder.knowledge), run(tmp_path / "new", lines, responder.knowledge)
    impact(new, responder.knowledge, against(old))
    impact(new, responder.knowledge)

    assert sorted(one.name for one in new.iterdir()) == ["aggregate.json", "patients.ndjson", "report.html", "run.json"]


# WHAT CANNOT BE COMPARED


def test_another_knowledge_than_that_of_the_old_run_is_refused(lines, responder, tmp_path):
    old, other = run(tmp_path / "old", lines, responder.knowledge), edited(tmp_path, without)

    with pytest.raises(NotFinished, match="the old knowledge"):
        against(old, other)


@pytest.mark.parametrize("processes", [1, 2])
def test_how_many_processes_count_the_lines_does_not_matter(lines, responder, tmp_path, monkeypatch, processes):
    folder = run(tmp_path / "run", lines, responder.knowledge)
    monkeypatch.setattr("cds_service.edge.replay.impact._PIECE", 7)

    impact(folder, responder.knowledge, processes=processes)
    assert json.loads((folder / "aggregate.json").read_bytes()) == Aggregate(lines).as_json()

    with (folder / "patients.ndjson").open("ab") as file:
        file.write(b'["secret"]\n')
    with pytest.raises(NotFinished, match=f"line {len(lines) + 1}: found no line of a replay"):
        impact(folder, responder.knowledge, processes=processes)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("run.json", None, "no run.json"),
        ("run.json", b"{", "no description"),
        ("run.json", b"[]", "no description"),
        ("run.json", b'{"knowledge": {"version": "1", "digest": "2"}, "input": {"files": []}}', "not finished"),
        ("patients.ndjson", None, "not finished"),
        ("patients.ndjson", b'{"patient": "secret"\n', "line 1"),
        ("patients.ndjson", b'["secret"]\n', "line 1"),
    ],
)
def test_a_folder_that_is_no_finished_run_is_refused_without_a_word_of_its_lines(
    lines, responder, tmp_path, name, content, said
):
    old, new = (run(tmp_path / one, lines, responder.knowledge) for one in ("old", "new"))
    (old / name).unlink()
    if content is not None:
        (old / name).write_bytes(content)

    with pytest.raises(NotFinished, match=said) as refused:
        impact(new, responder.knowledge, against(old))
    assert "secret" not in str(refused.value)
    assert not (new / "report.html").exists()
    assert not list(new.glob(".*"))


def test_lines_that_are_not_sorted_are_not_compared(lines, responder, tmp_path):
    old, new = (run(tmp_path / one, lines, responder.knowledge) for one in ("old", "new"))
    rows = (old / "patients.ndjson").read_bytes().splitlines(keepends=True)
    (old / "patients.ndjson").write_bytes(b"".join(reversed(rows)))

    with pytest.raises(NotFinished, match="not sorted"):
        impact(new, responder.knowledge, against(old))


# THE PAGE


@pytest.fixture(scope="module")
def compared(lines, responder, told, tmp_path_factory) -> tuple[Path, Impact]:
    """A run against another: a statement less, a patient's fact changed, one refused, one failed."""
    folder = tmp_path_factory.mktemp("compared")
    after = edited(folder, without)
    other = swapped(answered(told, after), retold(told, Responder(after), STORY, menopause="premenopausal"))
    refused = {**NOTHING, "patient": "z1", "answer": "refused", "reason": "$.prefetch.conditions: found not delivered"}
    failed = {**NOTHING, "patient": "z2", "answer": "error", "reason": "<script>alert(1)</script>"}
    files = {"given": "x", "files": [{"name": "<b>&.ndjson", "bytes": 1, "modified": 1}]}
    old = run(folder / "old", lines, responder.knowledge, input=files)
    new = run(folder / "new", [*other, refused, failed], after, input=files)
    return new, impact(new, after, against(old, responder.knowledge))


def document(page: str) -> Any:
    """The DOM of a page, which has to be HTML without a single error."""
    return html5lib.HTMLParser(strict=True).parse(page)


def words(page: str) -> str:
    """What a reader reads, white space as he sees it."""
    (main,) = document(page).findall(f".//{XHTML}main")
    return " ".join(" ".join(main.itertext()).split())


def test_the_page_is_sound_html_that_asks_nobody_for_anything(compared):
    page = (compared[0] / "report.html").read_text(encoding="utf-8")
    tree = document(page)
    loading = [
        (one.tag, name)
        for one in tree.iter()
        for name in ("src", "href", "action", "data", "srcset", "style", "{http://www.w3.org/1999/xlink}href")
        if one.get(name, "#")[0] != "#" and one.get(name) != "data:,"
    ]

    assert loading == []
    assert not tree.findall(f".//{XHTML}script")
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    (policy,) = [one.get("content") for one in tree.iter(f"{XHTML}meta") if one.get("http-equiv")]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert len(tree.findall(f".//{XHTML}main")) == len(tree.findall(f".//{XHTML}h1")) == 1
    assert "&lt;script&gt;" in page


def test_every_plot_has_words_or_stands_in_a_row_of_a_table(compared):
    tree = document((compared[0] / "report.html").read_text(encoding="utf-8"))
    in_rows = {id(plot) for row in tree.iter(f"{XHTML}tr") for plot in row.iter(f"{SVG}svg")}
    plots = [one for one in tree.iter(f"{SVG}svg") if one.get("role") or one.get("aria-hidden")]

    assert any(one.get("role") == "img" for one in plots)
    for one in plots:
        keys = ("bar", "columns")
        if one.get("role") == "img":
            assert re.search("[0-9]", one.get("aria-label"))
        elif set(one.get("class", "").split()) & set(keys):
            assert id(one) in in_rows
    for table in tree.iter(f"{XHTML}table"):
        for cell in table.iter(f"{XHTML}th"):
            assert cell.get("scope") in ("col", "row")


def test_the_page_shows_every_option_of_the_knowledge_in_its_order_with_its_counts(compared, responder):
    folder = compared[0]
    text = words((folder / "report.html").read_text(encoding="utf-8"))
    part = text[text.index("Options, by section and status") :]
    found = counted(folder)
    at = 0
    for section in responder.knowledge.sections:
        at = part.index(f"{section.title} ", at)
        for option in section.options:
            supported = found["options"].get(option.id, {"supported": 0})["supported"]
            at = part.index(f"{option.label} {supported} ", at)


def test_the_page_says_whose_knowledge_it_is_and_that_nobody_reviewed_it(compared, responder):
    folder = compared[0]
    page = (folder / "report.html").read_text(encoding="utf-8")
    text = words(page)

    assert counted(folder, "run.json")["knowledge"]["digest"] in text
    assert "Not reviewed by a clinician" in text
    assert "nothing here ranks" in text
    assert responder.knowledge.notice in " ".join(page.split())
    assert not [one for one in changed(folder) if re.search(rf"\b{re.escape(one)}\b", text)]


def test_the_terminal_is_told_the_numbers_of_the_page(compared):
    folder, found = compared
    counts, changes = counted(folder), counted(folder, "changes.json")

    assert f"of {counts['patients']} patients" in found.text
    assert f"Options listed for {counts['listing']} (" in found.text
    assert f"{changes['changed']} (" in found.text
    assert re.search(rf"{counts['unknown']['brca']['patients']}  brca", found.text)
    assert "the record says that the patient has died" in found.text
    assert len(found.text.splitlines()) < 30
    assert found.touched == changes["changed"] + changes["only"]["new"] == len(changed(folder))


def test_the_same_runs_give_the_same_bytes(compared, responder):
    folder = compared[0]
    names = ("aggregate.json", "changes.json", "changes.ndjson", "report.html")
    first = {name: (folder / name).read_bytes() for name in names}
    after = load(folder.parent / "edited-cards")
    impact(folder, after, against(folder.parent / "old", responder.knowledge))

    assert {name: (folder / name).read_bytes() for name in names} == first


@pytest.mark.parametrize("below", [0, 1_000])
def test_a_run_without_patients_and_one_of_hidden_numbers_have_a_page_too(lines, responder, tmp_path, below):
    empty = run(tmp_path / "empty", [], responder.knowledge)
    full = run(tmp_path / "full", lines, responder.knowledge)
    impact(empty, responder.knowledge, against(full), below)
    impact(full, responder.knowledge, against(empty), below)

    assert "What the cards would say of 0 patients" in words((empty / "report.html").read_text(encoding="utf-8"))
    page = words((full / "report.html").read_text(encoding="utf-8"))
    whole = f"fewer than {below:,}" if below else len(lines)
    assert f"What the cards would say of {whole} patients" in page
    assert f"In the new run only: {whole}" in page


def test_a_report_under_another_knowledge_than_that_of_the_run_says_so(lines, responder, tmp_path):
    folder = run(tmp_path / "run", lines, responder.knowledge)
    impact(folder, edited(tmp_path, without))

    assert "those of another knowledge" in words((folder / "report.html").read_text(encoding="utf-8"))
