"""Browser clients, as the public CDS Hooks sandbox is one: preflights without credentials, answers they may read."""

import pytest
from support import URL, patient_view
from tokens import EC, PUBLIC_URL, jwks

from cds_service.edge.settings import Settings
from cds_service.edge.web import create_app

SANDBOX = "https://sandbox.cds-hooks.org"
LOCAL = "http://127.0.0.1:9000"
ROUTES = [("/cds-services", "GET"), (URL, "POST"), (f"{URL}/feedback", "POST")]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A service that lets the sandbox in and knows its callers."""
    path = tmp_path_factory.mktemp("site") / "callers.toml"
    key = jwks(EC)["keys"][0]
    inline = ", ".join(f'{name} = "{value}"' for name, value in key.items())
    path.write_text(f'[[callers]]\nissuer = "https://a.example"\njwks = {{keys = [{{{inline}}}]}}\n', encoding="utf-8")
    site = Settings(callers=path, public_url=PUBLIC_URL, cors_origins=frozenset({SANDBOX, LOCAL}))
    return create_app(site=site).test_client()


@pytest.fixture(scope="module")
def without_callers():
    """A service on loopback that lets the sandbox in."""
    return create_app(site=Settings(cors_origins=frozenset({SANDBOX}), max_body=10_000)).test_client()


def preflight(client, url, method, origin):
    """What a browser asks before it sends a token (as the sandbox was observed to do)."""
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    return client.options(url, headers=asked)


def allowed(answer):
    """The headers that let a browser do something."""
    return [name for name, _ in answer.headers if name.startswith("Access-Control")]


@pytest.mark.parametrize("origin", [SANDBOX, LOCAL])
@pytest.mark.parametrize(("url", "method"), ROUTES)
def test_a_preflight_is_answered_without_a_token(browser, url, method, origin):
    answer = preflight(browser, url, method, origin)

    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert method in answer.headers["Access-Control-Allow-Methods"].split(", ")
    assert answer.headers["Access-Control-Allow-Headers"] == "authorization, content-type"
    assert int(answer.headers["Access-Control-Max-Age"]) > 0
    assert answer.data == b""


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        SANDBOX + "/",
        SANDBOX + ".evil.example",
        SANDBOX.upper(),
        "http://sandbox.cds-hooks.org",
    ],
)
@pytest.mark.parametrize(("url", "method"), ROUTES)
def test_another_origin_is_allowed_nothing(browser, url, method, origin):
    for answer in (preflight(browser, url, method, origin), browser.get("/cds-services", headers={"Origin": origin})):
        assert not allowed(answer)
        assert "Origin" in answer.vary


@pytest.mark.parametrize(
    ("status", "method", "url"),
    [(401, "POST", URL), (401, "GET", "/cds-services"), (401, "DELETE", URL), (401, "GET", "/nowhere")],
)
def test_a_browser_may_read_every_refusal_of_a_service_with_callers(browser, status, method, url):
    answer = browser.open(url, method=method, headers={"Origin": SANDBOX})

    assert answer.status_code == status
    assert answer.headers["Access-Control-Allow-Origin"] == SANDBOX
    assert "Origin" in answer.vary
    assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize(
    ("status", "method", "url", "body"),
    [
        (200, "GET", "/cds-services", None),
        (200, "POST", URL, patient_view("p1", {"patient": None, "conditions": None})),
        (400, "POST", URL, {}),
        (404, "GET", "/nowhere", None),
        (404, "POST", "/cds-services/unknown", {}),
        (405, "GET", URL, None),
        (412, "POST", URL, patient_view("p1", {})),
        (413, "POST", URL, {"filler": "x" * 20_000}),
        (415, "POST", URL, None),
    ],
)
def test_a_browser_may_read_every_answer(without_callers, status, method, url, body):
    answer = without_callers.open(url, method=method, json=body, headers={"Origin": SANDBOX})

    assert answer.status_code == status
    assert answer.headers["Access-Control-Allow-Origin"] == SANDBOX


def test_without_the_setting_no_browser_is_let_in(client):
    for answer in (preflight(client, URL, "POST", SANDBOX), client.get("/cds-services", headers={"Origin": SANDBOX})):
        assert not allowed(answer)


@pytest.mark.parametrize("origin", ["*", "null", "https://*.example.org", "https://a.example/", "a.example"])
def test_origins_are_written_as_browsers_send_them(origin):
    with pytest.raises(ValueError, match="no wildcard"):
        Settings(cors_origins=frozenset({origin}))
