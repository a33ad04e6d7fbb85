"""The report of a replay in a real browser: both widths, light and dark, with axe-core, and on paper."""

from pathlib import Path

import pytest
from lines import line, records, write
from selenium.webdriver.remote.webdriver import WebDriver
from test_browser import LOOKS, chromium, look, pytestmark, violations

from cds_service.edge.invented import invented
from cds_service.edge.replay.impact import against, impact
from cds_service.hooks.respond import Responder

__all__ = ["chromium", "pytestmark"]


@pytest.fixture(scope="module")
def page(responder: Responder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with every part in it: half of the patients have another record than in the old run."""
    known = responder.knowledge
    knowledge = {"version": known.version, "digest": known.digest}
    lines = [line(patient, resources, responder) for patient, resources in records(invented(known), 40)]
    moved = [
        {**one, "facts": {}, "options": {}, "unknown": []} if place % 2 else one for place, one in enumerate(lines)
    ]
    folder = tmp_path_factory.mktemp("report")
    old, new = (write(each, folder / name, knowledge=knowledge) for name, each in (("old", moved), ("new", lines)))
    impact(new, known, against(old))
    return new / "report.html"


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_the_report_is_sound_at_both_widths_in_light_and_dark(
    chromium: WebDriver, page: Path, width: int, scheme: str
) -> None:
    look(chromium, width, scheme)
    chromium.get(page.as_uri())
    wide = chromium.execute_script("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
    loaded = chromium.execute_script("return performance.getEntriesByType('resource').map((one) => one.name)")

    assert violations(chromium) == []
    assert wide <= 0
    assert [name for name in loaded if not name.startswith("data:")] == []
    assert [one for one in chromium.get_log("browser") if one["level"] == "SEVERE"] == []


def test_bars_are_drawn_as_wide_as_their_numbers_say(chromium: WebDriver, page: Path) -> None:
    look(chromium, 1280, "light")
    chromium.get(page.as_uri())
    rows = chromium.execute_script(
        """return [...document.querySelectorAll('#options ~ .scroll tbody tr')].map((row) => {
             const bar = row.querySelector('svg').getBoundingClientRect().width;
             const parts = [...row.querySelectorAll('rect')].map((one) => one.getBoundingClientRect().width / bar);
             const counts = [...row.querySelectorAll('td')].map((one) => parseInt(one.textContent.replace(',', '')));
             return [parts, counts.filter((one) => one > 0)];
           })"""
    )
    listing = int(chromium.execute_script("return document.querySelectorAll('.tiles strong')[1].textContent"))

    assert len(rows) > 50
    for drawn, counts in rows:
        assert drawn == pytest.approx([one / listing for one in counts], abs=0.01)
