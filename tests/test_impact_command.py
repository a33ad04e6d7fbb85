"""`cds-service replay --against`: what a change touches, on the command line."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cds_service.edge.cli import main
from cds_service.knowledge.load import home

DAY = "2026-03-10"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export, the knowledge without a sentence of one statement, and a run with that knowledge."""
    folder = tmp_path_factory.mktemp("against")
    shutil.copytree(home()[0], folder / "cards")
    path = folder / "cards" / "systemic-treatment" / "hormone-therapy.yaml"
    text = path.read_text(encoding="utf-8")
    assert text.count("hr-positive") > 1
    path.write_text(text.replace("when: hr-positive", "when: er-positive"), encoding="utf-8")
    synthesized = invoke("synthesize", "--stories", "--out", folder / "export")
    assert synthesized.exit_code == 0, synthesized.output
    replayed = replay(folder, "old", "--cards", folder / "cards")
    assert replayed.exit_code == 0, replayed.output
    return folder


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments])


def replay(folder: Path, run: str, *more: object) -> Result:
    return invoke("replay", folder / "export", "--out", folder / run, "--processes", 1, "--today", DAY, *more)


def test_a_change_of_knowledge_is_told_with_whom_it_touches_and_may_fail(folders):
    told = replay(
        folders, "new", "--against", folders / "old", "--against-cards", folders / "cards", "--fail-on-change"
    )
    rows = [json.loads(one) for one in (folders / "new" / "changes.ndjson").read_text(encoding="utf-8").splitlines()]

    assert told.exit_code == 3, told.output
    assert rows
    assert f"{len(rows)} (" in told.output
    assert {cause["because"] for row in rows for cause in row["options"].values()} == {"knowledge"}
    assert "er-positive" not in (page := (folders / "new" / "report.html").read_text(encoding="utf-8"))
    assert "What the knowledge says differently" in page


def test_a_run_that_is_finished_is_only_compared(folders):
    first = replay(folders, "again")
    lines = (folders / "again" / "patients.ndjson").stat()
    told = replay(folders, "again", "--against", folders / "again", "--fail-on-change")

    assert (first.exit_code, told.exit_code) == (0, 0), told.output
    assert "nobody is touched" in told.output
    assert (folders / "again" / "patients.ndjson").stat().st_mtime_ns == lines.st_mtime_ns


def test_small_numbers_are_hidden_on_request(folders):
    told = replay(folders, "hidden", "--suppress-below", 30)

    assert told.exit_code == 0, told.output
    assert "fewer than 30" in told.output
    assert "fewer than 30" in (folders / "hidden" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("more", "status", "said"),
    [
        (["--fail-on-change"], 2, "need --against"),
        (["--against-cards", "cards"], 2, "need --against"),
        (["--against", "export"], 1, "no run.json"),
        (["--against", "old", "--against-cards", "sound"], 1, "the old knowledge"),
    ],
)
def test_what_cannot_be_compared_is_told_before_any_work(folders, more, status, said):
    named = {"cards": folders / "cards", "export": folders / "export", "old": folders / "old", "sound": home()[0]}
    told = replay(folders, "never", *(named.get(one, one) for one in more))

    assert told.exit_code == status, told.output
    assert said in told.output
    assert not (folders / "never").exists()
