"""A replay over a population says of each patient what the web says, whatever the files, the processes, the engine."""

import fcntl
import gzip
import importlib.util
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from support import facts, options, patient_view, put_in_prefetch, statuses

from cds_service.edge.cli import main
from cds_service.edge.replay import spill, stream
from cds_service.edge.replay.answering import answering
from cds_service.hooks.respond import Responder
from cds_service.patient.whose import whose

TODAY = "2026-06-01"
SCT = "http://snomed.info/sct"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
CONFIRMED = {"coding": [{"code": "confirmed"}]}
ACTIVE = {"coding": [{"code": "active"}]}

#: what a finished run leaves
FILES = {"aggregate.json", "patients.ndjson", "problems.ndjson", "report.html", "run.json"}


def run(*arguments, stdin=None):
    return CliRunner().invoke(main, [str(one) for one in arguments], catch_exceptions=False, input=stdin)


def replay(source, out, *more, stdin=None):
    """Replay in this process, and the bytes that came of it."""
    result = run("replay", source, "--out", out, "--today", TODAY, "--processes", 1, *more, stdin=stdin)
    assert result.exit_code == 0, result.output
    return (out / "patients.ndjson").read_bytes()


def lines(content):
    """The lines of a run by patient."""
    return {line["patient"]: line for line in map(json.loads, content.splitlines())}


@pytest.fixture(scope="module")
def population(tmp_path_factory):
    """The stories and fifty patients by chance, as files by type."""
    folder = tmp_path_factory.mktemp("population") / "export"
    result = run("synthesize", "--stories", "--patients", 50, "--out", folder)
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="module")
def expected(population, tmp_path_factory):
    """What a replay of it gives."""
    return replay(population, tmp_path_factory.mktemp("expected") / "run")


def records(folder):
    """The resources by patient, and the Medications."""
    found, shared = defaultdict(list), []
    for path in sorted(folder.glob("*.ndjson")):
        for resource in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
            if resource["resourceType"] == "Medication":
                shared.append(resource)
            else:
                found[whose(resource)].append(resource)
    return found, shared


# WHAT IT SAYS


def test_a_line_says_what_the_web_says_of_the_patient(population, expected, client, services, monkeypatch):
    monkeypatch.setattr("cds_service.edge.web.today", lambda: TODAY)
    sections = {one.id: section.id for section in answering(None).knowledge.sections for one in section.options}
    found, shared = records(population)
    answered = lines(expected)

    assert answered.keys() == found.keys()
    for patient, resources in found.items():
        prefetch = put_in_prefetch([*resources, *shared], patient, services)
        url = f"/cds-services/{next(one['id'] for one in services if one['hook'] == 'patient-view')}"
        answer = client.post(url, json=patient_view(patient, prefetch)).get_json()
        line = answered[patient]

        assert {name: one["status"] for name, one in line["options"].items()} == statuses(answer)
        assert all(one["section"] == sections[name] for name, one in line["options"].items())
        assert line["answer"] == ("cards" if answer["cards"] else "no-card")
        assert bool(line["reason"]) == (line["answer"] == "no-card")
        for name, one in options(answer).items():
            told = line["options"][name]
            assert told["missing"] == sorted(one["missing"])
            assert told["because"] == sorted(f"{row['fact']}={row['value']}" for row in one["because"])
            assert told["citations"] == sorted(
                f"{row['source']} {row['passage']} {row['position']}" for row in one["citations"]
            )
        if facts(answer):
            assert line["facts"] == {name: fact["value"] for name, fact in facts(answer).items()}
            assert line["unknown"] == sorted(name for name, value in line["facts"].items() if value == "unknown")


def test_patients_stand_in_bytewise_order_and_members_too(expected):
    read_back = [json.loads(line) for line in expected.splitlines()]

    ids = [line["patient"].encode() for line in read_back]
    assert ids == sorted(set(ids))
    assert all(list(line) == sorted(line) and list(line["options"]) == sorted(line["options"]) for line in read_back)


# THE SAME BYTES


def everything(folder):
    """Every line of an export."""
    return [line for path in sorted(folder.glob("*.ndjson")) for line in path.read_bytes().splitlines(keepends=True)]


def test_neither_order_nor_names_nor_compression_of_the_files_matter(population, expected, tmp_path):
    mixed = everything(population)
    random.Random(7).shuffle(mixed)
    export = tmp_path / "export"
    (export / "deeper").mkdir(parents=True)
    third = len(mixed) // 3
    (export / "Observation.000.ndjson").write_bytes(b"\xef\xbb\xbf" + b"".join(mixed[:third]))
    (export / "all-of-it.ndjson.gz").write_bytes(gzip.compress(b"".join(mixed[third : 2 * third])))
    (export / "deeper" / "2.ndjson").write_bytes(b"\r\n".join(line.rstrip() for line in mixed[2 * third :]))

    assert replay(export, tmp_path / "run") == expected


@pytest.mark.parametrize(("partition", "held"), [(20_000, 1 << 25), (1 << 40, 30_000), (100_000, 10_000)])
def test_neither_partitions_nor_batches_matter(population, expected, tmp_path, monkeypatch, partition, held):
    monkeypatch.setattr(spill, "_PARTITION", partition)
    monkeypatch.setattr(spill, "_HELD", held)
    monkeypatch.setattr("cds_service.edge.replay.sources._SLICE", 50_000)
    monkeypatch.setattr("cds_service.edge.replay.reading._BLOCK", 10_000)
    monkeypatch.setattr("cds_service.edge.replay.parts._AT_ONCE", 3)

    assert replay(population, tmp_path / "run") == expected


def test_the_number_of_processes_does_not_matter(population, expected, tmp_path):
    out = tmp_path / "run"
    told = _finished("replay", population, "--out", out, "--today", TODAY, "--processes", "2")

    assert (out / "patients.ndjson").read_bytes() == expected
    assert f"{expected.count(bytes([10]))} patients" in told.stdout


@pytest.mark.parametrize("processes", [1, 2])
def test_a_stream_gives_the_same_as_files(population, expected, tmp_path, monkeypatch, processes):
    monkeypatch.setattr(stream, "_PIECE", 100_000)
    monkeypatch.setattr(stream, "_SORTED", 100_000)
    streamed = _finished("synthesize", "--stories", "--patients", "50", "--out", "-", text=False).stdout

    assert sorted(streamed.splitlines(keepends=True)) == sorted(everything(population))
    if processes == 1:
        assert replay("-", tmp_path / "run", stdin=streamed) == expected
        return
    _finished("replay", "-", "--out", tmp_path / "run", "--today", TODAY, "--processes", 2, input=streamed, text=False)
    assert (tmp_path / "run" / "patients.ndjson").read_bytes() == expected


@given(order=st.randoms(use_true_random=False), split=st.integers(1, 4))
@settings(max_examples=8, deadline=None)
def test_patients_never_mix(population, expected, order, split):
    mixed = everything(population)
    order.shuffle(mixed)
    chosen = order.sample(sorted(lines(expected)), 12)
    kept = [one for one in mixed if (owner := whose(json.loads(one))) in chosen or not owner]
    with tempfile.TemporaryDirectory() as folder:
        export = Path(folder) / "export"
        export.mkdir()
        for number in range(split):
            (export / f"{number}.ndjson").write_bytes(b"".join(kept[number::split]))

        answered = lines(replay(export, Path(folder) / "run", "--complete"))

    alone = lines(expected)
    assert answered == {patient: alone[patient] for patient in chosen}


# INTERRUPTED

SMALL = """
import signal, time
import cds_service.edge.replay.answering as answering, cds_service.edge.replay.spill as spill
from cds_service.edge.cli import main
spill._PARTITION, line = 100_000, answering.Answering.line
def slow(*given):
    time.sleep(0.02)
    return line(*given)
answering.Answering.line = slow
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the tests run in the background
main()
"""


def _finished(*arguments, text=True, **more):
    """A command in a process of its own that ends well."""
    command = [sys.executable, "-m", "cds_service.edge.cli", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=text, **more)


def _begun(population, out, processes):
    """A replay in small partitions, in a process of its own, that has made its first part. It takes its time over each
    patient, so that what happens next happens in the middle of the run.
    """
    arguments = ["replay", population, "--out", out, "--today", TODAY, "--processes", processes]
    begun = subprocess.Popen(
        [sys.executable, "-c", SMALL, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not list(out.glob("parts/*.rows")):
        assert begun.poll() is None, begun.communicate()
        time.sleep(0.005)
    return begun


@pytest.mark.parametrize(("how", "processes"), [(signal.SIGKILL, 2), (signal.SIGINT, 2), (signal.SIGINT, 1)])
def test_an_interrupted_run_goes_on_and_makes_no_part_again(population, expected, tmp_path, how, processes):
    out = tmp_path / "run"
    begun = _begun(population, out, processes)
    os.killpg(begun.pid, how) if how == signal.SIGINT else begun.send_signal(how)
    _, said = begun.communicate(timeout=30)
    done = [path.stem for path in out.glob("parts/*.rows")]
    for number in done:  # a partition that is answered is not needed any more
        for path in out.glob(f"spill/{number[2:]}.*"):
            path.unlink()

    assert begun.returncode in (-signal.SIGKILL, 130)
    assert how == signal.SIGKILL or said == "Stopped. The same command goes on where it was.\n"
    assert not (out / "patients.ndjson").exists()
    assert replay(population, out) == expected
    assert {path.name for path in out.iterdir()} == FILES


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the children of a process are found in /proc")
def test_a_process_that_dies_is_told_of_and_the_run_goes_on(population, expected, tmp_path):
    out = tmp_path / "run"
    begun = _begun(population, out, 2)
    children = Path(f"/proc/{begun.pid}/task/{begun.pid}/children").read_text(encoding="ascii").split()
    os.kill(int(children[-1]), signal.SIGKILL)
    _, said = begun.communicate(timeout=30)

    assert begun.returncode == 1
    assert "a process that ended in the middle of its work" in said
    assert replay(population, out) == expected


def test_the_processes_of_a_killed_run_end_with_it(population, tmp_path):
    begun = _begun(population, tmp_path / "run", 2)
    begun.kill()
    begun.communicate(timeout=30)  # raises as long as anybody holds the pipes

    assert begun.returncode == -signal.SIGKILL


def test_a_run_of_something_else_is_not_gone_on_with(population, tmp_path):
    export, out = tmp_path / "export", tmp_path / "run"
    shutil.copytree(population, export)
    before = replay(export, out)
    with (export / "Procedure.ndjson").open("a", encoding="utf-8") as file:
        file.write("\n")

    again = run("replay", export, "--out", out)
    other_day = run("replay", export, "--out", out, "--today", "2020-01-01")

    assert (again.exit_code, other_day.exit_code) == (1, 1)
    assert "a run of other input; expected another folder, or --restart" in again.output
    assert "a run of other input, today" in other_day.output
    assert replay(export, out, "--restart") == before


def test_a_finished_run_is_left_as_it_is_and_needs_no_day(population, tmp_path):
    out = tmp_path / "run"
    before = replay(population, out)
    (out / "note.txt").write_text("mine", encoding="utf-8")

    result = run("replay", population, "--out", out)

    assert result.exit_code == 0
    assert "finished before" in result.output
    assert (out / "patients.ndjson").read_bytes() == before


def test_a_folder_with_other_files_is_left_alone(population, tmp_path):
    (tmp_path / "mine").write_text("keep", encoding="utf-8")

    result = run("replay", population, "--out", tmp_path, "--restart")

    assert result.exit_code == 1
    assert "a folder that is new or empty" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_two_at_once_do_not_work_on_one_run(population, tmp_path, monkeypatch):
    monkeypatch.setattr("cds_service.edge.replay.run._PATIENCE", 0.2)
    replay(population, tmp_path / "run")
    handle = os.open(tmp_path / "run", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)

    result = run("replay", population, "--out", tmp_path / "run")
    os.close(handle)

    assert result.exit_code == 1
    assert "a replay at work on it" in result.output


# WHAT A RUN LEAVES


def test_the_folder_is_the_owners_and_holds_no_records(population, expected, tmp_path):
    out = tmp_path / "run"
    replay(population, out)
    told = json.loads((out / "run.json").read_text(encoding="utf-8"))
    found, _ = records(population)

    assert out.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in out.iterdir()} == FILES
    assert told["finished"]
    assert told["today"] == TODAY
    assert told["knowledge"]["digest"].startswith("sha256:")
    assert {one["name"] for one in told["input"]["files"]} == {path.name for path in population.iterdir()}
    answers = [line["answer"] for line in lines(expected).values()]
    assert told["counts"]["answers"] == {one: answers.count(one) for one in set(answers)}
    assert told["counts"]["patients"] == len(found)


def test_nothing_a_record_says_gets_into_a_run(tmp_path):
    secret = {"text": "Jane Doe, secret"}
    note = {"note": [secret], "code": {"text": "Jane Doe, secret", **coded(SCT, "254837009")}}
    export = written(tmp_path, *patient("p1"), condition("c1", "p1", **note), '{"resourceType": "Jane Doe, secret"}')

    replay(export, tmp_path / "run")

    for path in (tmp_path / "run").iterdir():
        assert "Jane" not in path.read_text(encoding="utf-8")


# WHAT IS NOT USED


def coded(system, code):
    return {"coding": [{"system": system, "code": code}]}


def condition(ident, owner, code="254837009", **more):
    """Breast cancer, unless told otherwise."""
    subject = {"reference": f"Patient/{owner}"}
    return {
        "resourceType": "Condition",
        "id": ident,
        "subject": subject,
        "clinicalStatus": ACTIVE,
        "verificationStatus": CONFIRMED,
        "code": coded(SCT, code),
        **more,
    }


def patient(ident):
    """A patient with breast cancer and bone metastases."""
    return (
        {"resourceType": "Patient", "id": ident, "gender": "female"},
        condition(f"{ident}-cancer", ident),
        condition(f"{ident}-bone", ident, "94222008"),
    )


def written(folder, *resources, name="all.ndjson"):
    """An export of these resources, or lines, in one file."""
    export = folder / "export"
    export.mkdir(exist_ok=True)
    texts = [one if isinstance(one, str) else json.dumps(one) for one in resources]
    (export / name).write_text("\n".join(texts), encoding="utf-8")
    return export


def problems(out):
    """What was not used: reason, how many, the numbers of the lines."""
    rows = map(json.loads, (out / "problems.ndjson").read_text(encoding="utf-8").splitlines())
    return {(row["file"], row["reason"]): (row["count"], row["lines"]) for row in rows}


def test_lines_that_are_not_used_are_counted_with_their_places(tmp_path, monkeypatch):
    monkeypatch.setattr("cds_service.edge.replay.sources._SLICE", 300)
    group = {"resourceType": "Observation", "subject": {"reference": "Group/1"}}
    nobody = {"resourceType": "Observation", "subject": {"identifier": {"value": "1"}}}
    export = written(
        tmp_path, *patient("p1"), "", '{"resourceType": "Obs', group, "[]", nobody, {"resourceType": "Encounter"},
        {"resourceType": "Medication"}, {"resourceType": "Patient", "id": "white space"}, '{"a": NaN}', *patient("p2"),
    )  # fmt: skip
    result = run("replay", export, "--out", tmp_path / "run", "--processes", 1)

    assert "9 of 14 lines were not used" not in result.output
    assert "8 of 14 lines were not used" in result.output
    assert problems(tmp_path / "run") == {
        ("all.ndjson", "no JSON in UTF-8"): (2, [5, 12]),
        ("all.ndjson", "no FHIR resource"): (1, [7]),
        ("all.ndjson", "names no patient"): (3, [6, 8, 11]),
        ("all.ndjson", "of a type that is not read"): (1, [9]),
        ("all.ndjson", "shared, and without an id"): (1, [10]),
    }
    assert list(lines((tmp_path / "run" / "patients.ndjson").read_bytes())) == ["p1", "p2"]


def test_a_patient_or_a_line_that_is_too_large_is_not_read_and_told_of(tmp_path):
    padded = [condition(f"c{number}", "large", note=[{"text": "x" * 3_000_000}]) for number in range(6)]
    too_long = condition("long", "p1", note=[{"text": "x" * 17_000_000}])
    export = written(tmp_path, *patient("p1"), *padded, too_long, *patient("p2"))
    answered = lines(replay(export, tmp_path / "run"))
    streamed = replay("-", tmp_path / "stream", stdin=(export / "all.ndjson").read_bytes())

    assert answered["large"]["answer"] == "refused"
    assert answered["large"]["reason"].startswith("the record: found more than 16777216 bytes")
    assert answered["large"]["resources"] == 6
    assert problems(tmp_path / "run") == {("all.ndjson", "longer than 16777216 bytes"): (1, [10])}
    assert (answered["p1"]["answer"], answered["p2"]["answer"]) == ("cards", "cards")
    assert lines(streamed)["large"] == answered["large"]


def test_a_broken_file_stops_the_run_with_its_name(tmp_path):
    export = written(tmp_path, *patient("p1"))
    whole = gzip.compress((export / "all.ndjson").read_bytes())
    (export / "Observation.ndjson.gz").write_bytes(whole[:-20])

    for processes in (1, 2):
        result = run("replay", export, "--out", tmp_path / f"run-{processes}", "--processes", processes)

        assert result.exit_code == 1
        assert result.output == "Error: Observation.ndjson.gz: found a broken file (EOFError); expected NDJSON\n"


@pytest.mark.parametrize("options", [["--lacking", "Cat"], ["--out", "s3a://here"], ["--today", "June"]])
def test_what_cannot_be_asked_for_is_a_usage_error(population, tmp_path, options):
    result = run("replay", population, "--out", tmp_path / "run", *options)

    assert result.exit_code == 2
    assert not (tmp_path / "run").exists()


def test_a_run_does_not_lie_in_its_own_input(population):
    assert run("replay", population, "--out", population / "run").exit_code == 2
    assert not (population / "run").exists()


def test_a_folder_without_files_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    for source in (tmp_path / "empty", tmp_path / "nowhere"):
        result = run("replay", source, "--out", tmp_path / "run")

        assert result.exit_code == 1
        assert "no file *.ndjson or *.ndjson.gz" in result.output


# WHAT SILENCE MEANS


def test_a_type_without_a_file_is_unknown_unless_the_export_is_complete(tmp_path):
    export = written(tmp_path, *patient("p1"))

    partly = lines(replay(export, tmp_path / "partly"))["p1"]["facts"]
    complete = lines(replay(export, tmp_path / "complete", "--complete"))["p1"]["facts"]
    (export / "Procedure.ndjson").touch()
    (export / "AllergyIntolerance.1.ndjson").touch()
    named = lines(replay(export, tmp_path / "named"))["p1"]["facts"]

    assert partly["prior-medications"] == partly["contraindications"] == "unknown"
    assert complete["prior-medications"] == complete["contraindications"] == "none"
    assert named["prior-medications"] == "unknown"


def test_a_type_that_is_said_to_be_lacking_counts_as_far_as_it_goes(tmp_path):
    taken = {**order("o1", "p1", "Medication/m1"), "medicationCodeableConcept": {"text": "letrozole"}}
    del taken["medicationReference"]
    export = written(tmp_path, *patient("p1"), *patient("p2"), taken)
    lacking = ("--complete", "--lacking", "MedicationRequest")

    whole = lines(replay(export, tmp_path / "whole", "--complete"))
    partly = lines(replay(export, tmp_path / "partly", *lacking))

    assert whole["p1"]["facts"]["prior-medications"] == partly["p1"]["facts"]["prior-medications"] == "letrozole"
    assert whole["p2"]["facts"]["prior-medications"] == "none"
    assert partly["p2"]["facts"]["prior-medications"] == "unknown"


def test_who_has_no_patient_resource_or_whose_conditions_are_lacking_is_refused(tmp_path):
    _, cancer, bone = patient("p1")
    nobody = lines(replay(written(tmp_path, cancer, bone), tmp_path / "run"))["p1"]
    written(tmp_path, patient("p1")[0], name="all.ndjson")
    undiagnosed = lines(replay(tmp_path / "export", tmp_path / "other"))["p1"]

    assert (nobody["answer"], nobody["resources"], nobody["options"]) == ("refused", 2, {})
    assert nobody["reason"] == (
        "$.prefetch.patient: found not delivered; expected the result of Patient/{patient}, or null where there is none"
    )
    assert undiagnosed["reason"].startswith("$.prefetch.conditions: found not delivered")


def test_what_is_set_aside_is_counted(tmp_path):
    doubtful = condition("c9", "p1", patient={"reference": "Patient/p2"})
    answered = lines(replay(written(tmp_path, *patient("p1"), *patient("p2"), doubtful), tmp_path / "run"))

    assert answered["p1"]["set_aside"] == answered["p2"]["set_aside"] + 1
    assert answered["p1"]["resources"] == 4


def test_a_fault_of_the_program_is_one_line_and_a_failing_exit(tmp_path, monkeypatch):
    respond = Responder.respond

    def fails(self, call, *more):
        if call.patient == "p1":
            raise ValueError("Jane Doe, secret")
        return respond(self, call, *more)

    monkeypatch.setattr(Responder, "respond", fails)
    export = written(tmp_path, *patient("p1"), *patient("p2"))
    result = run("replay", export, "--out", tmp_path / "run", "--processes", 1)
    answered = lines((tmp_path / "run" / "patients.ndjson").read_bytes())

    assert result.exit_code == 1
    assert "cards 1, error 1" in result.output
    assert (answered["p1"]["answer"], answered["p1"]["reason"]) == ("error", "ValueError")
    assert answered["p2"]["answer"] == "cards"


# WHOSE A RESOURCE IS


@pytest.mark.parametrize(
    ("resource", "owner"),
    [
        ({"resourceType": "Patient", "id": "p1"}, "p1"),
        ({"resourceType": "Patient", "id": 7}, "7"),
        ({"resourceType": "Observation", "subject": {"reference": "Patient/p1"}}, "p1"),
        ({"resourceType": "Observation", "subject": {"reference": "Patient/p1/_history/3"}}, "p1"),
        ({"resourceType": "Observation", "subject": {"reference": "https://ehr.example/fhir/Patient/p1"}}, "p1"),
        ({"resourceType": "Observation", "subject": {"reference": "urn:uuid:p1"}}, "p1"),
        ({"resourceType": "AllergyIntolerance", "patient": {"reference": "Patient/p1"}}, "p1"),
        ({"resourceType": "MedicationOrder", "patient": {"reference": "Patient/p1"}}, "p1"),
        ({"subject": {"reference": "Group/g"}, "patient": {"reference": "Patient/p1"}}, "p1"),
        ({"resourceType": "Observation", "subject": {"reference": "#p1"}}, ""),
        ({"resourceType": "Observation", "subject": {"reference": "Patient/p 1"}}, ""),
        ({"resourceType": "Observation", "subject": {"reference": "Patient/p\t1"}}, ""),
        ({"resourceType": "Observation", "subject": [{"reference": "Patient/p1"}]}, ""),
        ({"resourceType": "Observation", "subject": "Patient/p1"}, ""),
        ({"resourceType": "Medication", "id": "m1"}, ""),
    ],
)  # fmt: skip
def test_whose_a_resource_is(resource, owner):
    assert whose(resource) == owner


def test_records_whose_references_are_urns_or_urls_read_as_others_do(population, tmp_path):
    found, shared = records(population)
    chosen = ["bone-after-menopause", *sorted(found)[:8]]
    plain, urls, urns = [], [], []
    for resource in [*shared, *(one for patient in chosen for one in found[patient])]:
        text = json.dumps(resource)
        plain.append(text)
        urls.append(text.replace('"reference": "', '"reference": "https://ehr.example/fhir/'))
        urns.append(_with_urns(text))
    answers = []
    for name, texts in (("plain", plain), ("urls", urls), ("urns", urns)):
        (tmp_path / name).mkdir()
        answers.append(replay(written(tmp_path / name, *texts), tmp_path / name / "run"))

    assert answers[0] == answers[1] == answers[2]


def test_resources_without_an_id_are_not_taken_for_each_other_among_urns(tmp_path):
    person, *conditions = patient("p1")
    nameless = [{name: value for name, value in one.items() if name != "id"} for one in conditions]
    told = [_with_urns(json.dumps(one)) for one in (person, *nameless)]

    answered = lines(replay(written(tmp_path, *told), tmp_path / "run", "--complete"))

    assert answered["p1"]["facts"]["sites"] == "bone"
    assert answered["p1"]["set_aside"] == 0


def _with_urns(text):
    resource = json.loads(text)

    def changed(value):
        if isinstance(value, dict):
            return {name: _urn(one) if name == "reference" else changed(one) for name, one in value.items()}
        return [changed(one) for one in value] if isinstance(value, list) else value

    return json.dumps(changed(resource))


def _urn(reference):
    return f"urn:uuid:{reference.rpartition('/')[2]}"


def order(ident, owner, medication):
    return {
        "resourceType": "MedicationRequest",
        "id": ident,
        "status": "active",
        "intent": "order",
        "subject": {"reference": f"Patient/{owner}"},
        "medicationReference": {"reference": medication},
        "authoredOn": "2026-01-01",
    }


@pytest.mark.parametrize("reference", ["Medication/m1", "https://ehr.example/fhir/Medication/m1", "urn:uuid:m1"])
def test_medications_are_found_by_whoever_refers_to_them(tmp_path, reference):
    within = {
        "resourceType": "Medication",
        "id": "m1",
        "ingredient": [{"itemReference": {"reference": "Medication/m2"}}],
    }
    ingredient = {"resourceType": "Medication", "id": "m2", "code": coded(RXNORM, "72965")}
    orders = [order("o1", "p1", reference), order("o2", "p2", "Medication/m2"), order("o3", "p3", "Medication/none")]
    resources = [*patient("p1"), *patient("p2"), *patient("p3"), *orders, within, ingredient]
    answered = lines(replay(written(tmp_path, *resources), tmp_path / "run", "--complete"))
    streamed = [within, ingredient]
    for number in range(3):
        streamed += [*patient(f"p{number + 1}"), orders[number]]
    text = "\n".join(map(json.dumps, streamed)).encode()

    assert answered["p1"]["facts"]["prior-medications"] == "letrozole"
    assert answered["p2"]["facts"]["prior-medications"] == "letrozole"
    assert answered["p3"]["facts"]["prior-medications"] == "unknown"
    assert answered["p1"]["resources"] == 4
    assert lines(replay("-", tmp_path / "stream", stdin=text)) == answered


# STREAMS


@pytest.mark.parametrize("known_again", [10_000, 0])
def test_a_patient_who_comes_back_in_a_stream_is_an_error(tmp_path, monkeypatch, known_again):
    monkeypatch.setattr(stream, "_FIRST", known_again)
    first, *rest = patient("p1")
    text = "\n".join(map(json.dumps, [first, *patient("p2"), *rest])).encode()
    result = run("replay", "-", "--out", tmp_path / "run", "--processes", 1, stdin=text)

    assert result.exit_code == 1
    assert "resources of a patient after those of another" in result.output
    assert "p1" not in result.output


def test_an_empty_stream_is_a_run_without_patients(tmp_path):
    assert replay("-", tmp_path / "run", stdin=b"\n") == b""


def test_a_stream_that_was_interrupted_needs_to_begin_anew(tmp_path):
    first, *rest = patient("p1")
    broken = "\n".join(map(json.dumps, [first, *patient("p2"), *rest])).encode()
    run("replay", "-", "--out", tmp_path / "run", "--today", TODAY, "--processes", 1, stdin=broken)
    again = run("replay", "-", "--out", tmp_path / "run", "--processes", 1, stdin=broken)
    whole = "\n".join(map(json.dumps, patient("p1"))).encode()

    assert again.exit_code == 1
    assert "--restart" in again.output
    assert list(lines(replay("-", tmp_path / "run", "--restart", stdin=whole))) == ["p1"]


def test_whoever_stops_reading_invented_patients_ends_their_stream(tmp_path):
    command = [sys.executable, "-m", "cds_service.edge.cli", "synthesize", "--patients", "2000", "--out", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as writing:
        assert json.loads(writing.stdout.readline())["resourceType"] == "Patient"
        writing.stdout.close()
        assert "Traceback" not in writing.stderr.read()
    assert writing.returncode == 1


# SPARK

NO_SPARK = not (importlib.util.find_spec("pyspark") and shutil.which("java")) and "CI" not in os.environ


@pytest.fixture
def spark(monkeypatch):
    """Spark on this machine alone."""
    alone = "--conf spark.driver.host=127.0.0.1 --conf spark.driver.bindAddress=127.0.0.1 --conf spark.ui.enabled=false"
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    monkeypatch.setenv("PYSPARK_SUBMIT_ARGS", f"--master local[2] {alone} pyspark-shell")


@pytest.mark.skipif(NO_SPARK, reason="needs the extra `spark`, and Java")
@pytest.mark.usefixtures("spark")
def test_spark_gives_the_same_bytes_in_a_folder_and_where_a_url_leads(population, expected, tmp_path):
    export = tmp_path / "export"
    shutil.copytree(population, export)
    mixed = (export / "Observation.ndjson").read_bytes().splitlines(keepends=True)
    (export / "Observation.ndjson").write_bytes(b"".join(mixed[::2]) + b'{"broken\n')
    (export / "more.ndjson.gz").write_bytes(gzip.compress(b"".join(mixed[1::2])))
    common = ("--engine", "spark", "--today", TODAY)

    _finished("replay", export, "--out", tmp_path / "run", *common)
    _finished("replay", export.as_uri(), "--out", (tmp_path / "url").as_uri(), *common)

    assert (tmp_path / "run" / "patients.ndjson").read_bytes() == expected
    parts = sorted((tmp_path / "url" / "patients").glob("part-*"))
    assert len(parts) > 1
    assert b"".join(part.read_bytes() for part in parts) == expected
    counts = [
        json.loads((tmp_path / path).read_text(encoding="utf-8"))["counts"]
        for path in ("run/run.json", "url/run/part-00000")
    ]
    assert counts[0] == counts[1]
    assert counts[0]["unused"]["no JSON in UTF-8"] == 1


@pytest.mark.skipif(NO_SPARK, reason="needs the extra `spark`, and Java")
@pytest.mark.usefixtures("spark")
def test_what_spark_cannot_read_is_told_in_one_line(tmp_path):
    command = [sys.executable, "-m", "cds_service.edge.cli", "replay", str(tmp_path / "nowhere"), "--engine", "spark"]
    done = subprocess.run([*command, "--out", str(tmp_path / "run")], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "Error: Spark: found PATH_NOT_FOUND; expected a run without a fault; its own log has more"
    )


def test_without_spark_its_engine_says_what_to_install(population, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyspark.errors", None)
    result = run("replay", population, "--out", tmp_path / "run", "--engine", "spark")

    assert result.exit_code == 1
    assert "pip install 'cds-service[spark]'" in result.output
