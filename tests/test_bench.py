"""The benchmark measures servers that are right about the patient, and refuses to speak of others."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
SHORT = ("--rounds", "1", "--seconds", "1", "--connections", "1", "--sizes", "42")

if shutil.which("wrk") is None and os.environ.get("CI") != "true":
    pytest.skip("no wrk, which makes the load (apt-get install wrk)", allow_module_level=True)


def bench(script, *arguments):
    command = [sys.executable, str(HERE / "bench" / script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def application(folder, text):
    """A WSGI application in a module of its own; the import path by which gunicorn finds it."""
    (folder / "wrong_service.py").write_text(text, encoding="utf-8")
    return "wrong_service:app"


def test_it_reports_what_a_call_costs_beside_the_floor(tmp_path):
    result = bench("run.py", *SHORT, "--kinds", "es384", "--json", str(tmp_path / "found.json"))

    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    lines = {line["case"]: line for line in found["medians"]}
    assert set(lines) == {"floor 42", "es384 42"}
    assert all(line["calls"] > 0 and line["cpu"] > 0 for line in lines.values())
    assert lines["es384 42"]["ratio"] > lines["floor 42"]["ratio"] == 1
    assert len(found["rows"]) == 2
    assert re.search(r"^(kept|MISSED) +es384 42, CPU to the floor", result.stdout, re.MULTILINE)


def test_it_does_not_speak_of_a_server_that_answers_without_reading():
    result = bench("run.py", *SHORT, "--kinds", "warm", "--service", "floor:app")

    assert result.returncode == 1
    assert "service is wrong about the patient" in result.stderr
    assert result.stdout == ""


REMEMBERS = """
from cds_service.edge.wsgi import app as real


class FirstAnswer:
    '''Gives every call the answer to the first.'''

    def __init__(self):
        self.kept = None

    def __call__(self, environ, start_response):
        if environ["REQUEST_METHOD"] == "POST" and self.kept is None:
            self.kept = b"".join(real(environ, lambda *_: None))
        if environ["REQUEST_METHOD"] == "POST":
            start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(self.kept)))])
            return [self.kept]
        return real(environ, start_response)


app = FirstAnswer()
"""


def test_nor_does_the_soak_of_one_that_gives_a_patient_the_answer_of_another(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    result = bench("soak.py", "--calls", "100", "--service", application(tmp_path, REMEMBERS))

    assert result.returncode == 1
    assert "got not three cards on its patient alone" in result.stderr
    assert result.stdout == ""


def test_nor_does_it_of_a_server_that_does_not_start(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    result = bench("run.py", *SHORT, "--kinds", "warm", "--service", application(tmp_path, "app = 1 / 0"))

    assert result.returncode == 1
    assert "service did not start" in result.stderr


def test_it_says_that_there_is_no_wrk(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    result = bench("run.py", *SHORT)

    assert result.returncode == 1
    assert "apt-get install wrk" in result.stderr


def test_the_soak_tells_memory_and_slope(tmp_path):
    result = bench("soak.py", "--calls", "100", "--json", str(tmp_path / "found.json"))

    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert found["memory"][-1][0] == 100
    assert found["memory"][-1][1] > 0
    assert "less than 120 MB" in result.stdout


def test_the_time_to_start_is_told():
    result = bench("start_up.py", "--rounds", "1")

    assert result.returncode == 0, result.stderr
    assert re.search(r"^floor .*\n(kept|MISSED)", result.stdout, re.MULTILINE)
