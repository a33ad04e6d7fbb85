"""The pages in a real browser: headless Chromium, at both widths, in light and dark, with axe-core.

Skipped where there is no Chromium with its driver; CI installs it.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import axe_core_python
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait
from support import example
from test_page import made_hostile, paste
from waitress import create_server

from cds_service.edge.settings import Settings
from cds_service.edge.web import create_app

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
AXE = (Path(axe_core_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
#: nothing but the pages: no first run, no updates, no other hosts
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
LOOKS = [(1280, "light"), (400, "dark")]

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER) and not os.environ.get("CI"), reason="no chromium and chromedriver on this machine"
)


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The address of a running service with its pages."""
    app = create_app(site=Settings(sandbox=True))
    server = create_server(app, host="127.0.0.1", port=0, threads=4)
    thread = Thread(target=server.run, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.effective_port}"
    server.close()
    thread.join(5)
    app.extensions["store"].close()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    """A browser with a profile of its own."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(DRIVER))
    browser.set_script_timeout(180)
    look(browser, 1280, "light")
    yield browser
    browser.quit()


def look(browser: WebDriver, width: int, scheme: str) -> None:
    """Set the width of the window and the scheme of colours."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}  # clicks do not wait for scrolling
    media = {"features": [{"name": name, "value": value} for name, value in features.items()]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)


def scripts(browser: WebDriver, run: bool) -> None:
    """Let the page's scripts run, or not."""
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not run})


def violations(browser: WebDriver) -> list[Any]:
    """What axe-core finds: rule, how bad, where."""
    browser.execute_script(AXE)
    found = browser.execute_async_script("axe.run().then(arguments[arguments.length - 1])")
    return [
        (one["id"], one["impact"], [node["target"] for node in one["nodes"]][:3])
        for one in found["violations"]
        if one["impact"] in ("serious", "critical", "moderate")
    ]


def is_sound(browser: WebDriver) -> None:
    """No violation, no sideways scrolling, no complaint of the browser, nothing loaded from elsewhere."""
    assert violations(browser) == []
    wide = browser.execute_script("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0
    host = browser.execute_script("return location.origin")
    names = browser.execute_script("return performance.getEntriesByType('resource').map((one) => one.name)")
    assert all(name.startswith(host) for name in names)
    assert [one for one in browser.get_log("browser") if one["level"] == "SEVERE"] == []


def press(browser: WebDriver, text: str) -> None:
    """Press the first button of this text and wait for what it brings."""
    button = next(one for one in browser.find_elements(By.TAG_NAME, "button") if one.text == text)
    before = browser.find_element(By.TAG_NAME, "html")
    button.click()
    WebDriverWait(browser, 20).until(lambda _: browser.find_element(By.TAG_NAME, "html") != before)


def called(browser: WebDriver, site: str, patient: str = "") -> None:
    """One click from the first page."""
    browser.get(f"{site}/sandbox")
    if patient:
        Select(browser.find_element(By.ID, "patient")).select_by_value(patient)
    press(browser, "Call the service")


def summaries(browser: WebDriver) -> list[str]:
    return [one.text for one in browser.find_elements(By.CSS_SELECTOR, "article.card h3")]


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
@pytest.mark.parametrize(
    "path",
    [
        "/sandbox",
        "/sandbox/feedback",
        "/knowledge",
        "/knowledge/matrix",
        "/knowledge/facts",
        "/knowledge/section/chemotherapy",
        "/knowledge/review/hormone-therapy",
        "/knowledge/option/letrozole",
        "/knowledge/source/healthline",
        "/knowledge/option/none",
    ],
)
def test_every_kind_of_page_is_accessible_and_fits_its_window(chromium, site, path, width, scheme):
    look(chromium, width, scheme)
    chromium.get(site + path)
    chromium.get_log("browser") if path.endswith("/none") else None  # that it is not found, the browser notes too

    is_sound(chromium)


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_one_click_shows_cards_and_the_whole_account_is_accessible(chromium, site, width, scheme):
    look(chromium, width, scheme)
    called(chromium, site)
    boxes = chromium.find_elements(By.TAG_NAME, "details")
    for box in [*boxes[:3], *boxes[3::12], *boxes[-3:]]:  # all alike: some of each kind, for the time it takes
        chromium.execute_script("arguments[0].open = true", box)

    assert summaries(chromium)
    is_sound(chromium)


def test_an_assumption_shows_in_place_what_comes_and_goes(chromium, site):
    look(chromium, 1280, "light")
    called(chromium, site)
    root = chromium.find_element(By.TAG_NAME, "html")

    Select(chromium.find_element(By.ID, "if-her2")).select_by_value("positive")
    WebDriverWait(chromium, 20).until(lambda _: chromium.find_elements(By.CSS_SELECTOR, ".changes td"))

    assert chromium.find_element(By.TAG_NAME, "html") == root, "the page was loaded anew"
    assert "Assumed, not on record: HER2 positive" in chromium.find_element(By.CSS_SELECTOR, ".changes").text
    assert chromium.switch_to.active_element.get_attribute("id") == "if-her2"
    is_sound(chromium)


def test_a_draft_drug_is_told_of_and_feedback_on_its_card_counted(chromium, site):
    called(chromium, site)
    Select(chromium.find_element(By.ID, "select-drug")).select_by_value("tamoxifen")
    press(chromium, "Call order-select")
    assert summaries(chromium)[0].removeprefix("INFO ").startswith("Tamoxifen")

    Select(chromium.find_element(By.ID, "reason1")).select_by_value("source-outdated")
    press(chromium, "Send feedback")

    assert chromium.current_url == f"{site}/sandbox/feedback"
    row = next(row.text for row in chromium.find_elements(By.TAG_NAME, "tr") if "source-outdated" in row.text)
    assert row.endswith("1")


def test_without_scripts_everything_but_comfort_works(chromium, site):
    scripts(chromium, False)
    try:
        called(chromium, site)
        assert summaries(chromium)
        Select(chromium.find_element(By.ID, "if-her2")).select_by_value("positive")
        press(chromium, "See what changes")
        assert chromium.find_elements(By.CSS_SELECTOR, ".changes td")
        assert summaries(chromium)
    finally:
        scripts(chromium, True)


def test_the_keyboard_alone_leads_from_the_first_page_to_the_cards(chromium, site):
    chromium.get(f"{site}/sandbox")
    keys = ActionChains(chromium)
    keys.send_keys(Keys.TAB).perform()
    assert chromium.switch_to.active_element.get_attribute("class") == "skip"
    for _ in range(30):
        if chromium.switch_to.active_element.text == "Call the service":
            break
        ActionChains(chromium).send_keys(Keys.TAB).perform()
    ActionChains(chromium).send_keys(Keys.ENTER).perform()
    WebDriverWait(chromium, 20).until(lambda _: summaries(chromium))


def test_a_hostile_record_runs_nothing(chromium, site):
    _, record = example("VA-01", "mcode")
    chromium.get(f"{site}/sandbox")
    chromium.execute_script("document.getElementById('pasted').value = arguments[0]", paste(made_hostile(record)))
    press(chromium, "Call the service")

    assert summaries(chromium)
    assert not chromium.find_elements(By.TAG_NAME, "img")
    assert [one for one in chromium.get_log("browser") if one["level"] == "SEVERE"] == []


def test_from_the_matrix_one_comes_to_an_option_and_to_the_passage_that_says_it(chromium, site):
    chromium.get(f"{site}/knowledge/matrix")
    chromium.find_element(By.LINK_TEXT, "Letrozole").click()
    WebDriverWait(chromium, 20).until(lambda _: chromium.current_url.endswith("/knowledge/option/letrozole"))
    chromium.find_element(By.PARTIAL_LINK_TEXT, "L17").click()
    WebDriverWait(chromium, 20).until(lambda _: chromium.current_url.endswith("#L17"))

    assert "aromatase inhibitor" in chromium.find_element(By.CSS_SELECTOR, "li:target").text
