"""Ledger B: discovery."""

import re
import shutil

import pytest
import tokens
from calls import request, without
from support import URL

from cds_service.edge.settings import Settings
from cds_service.edge.web import create_app
from cds_service.knowledge.load import home


def test_ch_010_020_discovery_answers_always_at_its_path(client, served):
    without_its_store = served(database="postgresql://127.0.0.1:1/nowhere")

    for one in (client, client, without_its_store):
        answer = one.get("/cds-services")
        assert answer.status_code == 200
        assert answer.data == client.get("/cds-services").data


def test_ch_020_another_path_or_method_is_an_error(client):
    assert client.get("/cds-services/").status_code == 404
    assert client.get("/CDS-services").status_code == 404
    assert client.post("/cds-services", json={}).status_code == 405


def test_ch_011_services_are_an_array(client):
    body = client.get("/cds-services").get_json()

    assert list(body) == ["services"]
    assert isinstance(body["services"], list)
    assert body["services"]


def test_ch_012_where_nothing_is_offered_the_array_is_empty(tmp_path):
    folder = tmp_path / "cards"
    shutil.copytree(home()[0], folder)
    for card in list(folder.glob("*/card.yaml")):
        shutil.rmtree(card.parent)
    app = create_app(folder, Settings())
    answer = app.test_client().get("/cds-services")
    app.extensions["store"].close()

    assert answer.status_code == 200
    assert answer.get_json() == {"services": []}


@pytest.mark.parametrize("field", ["hook", "title", "description", "id"])
def test_ch_013_014_015_016_every_entry_says_what_it_is(services, field):
    for entry in services:
        assert isinstance(entry[field], str)
        assert entry[field].strip()


def test_ch_016_every_id_is_the_url_of_its_service(client, services, prefetch):
    for entry in services:
        answer = client.post(f"/cds-services/{entry['id']}", json=request(entry["hook"], prefetch))
        assert answer.status_code == 200, entry["id"]


def test_ch_017_prefetch_maps_keys_to_templates(services):
    for entry in services:
        assert entry["prefetch"]
        assert all(isinstance(value, str) and value for value in entry["prefetch"].values())


def test_ch_018_usage_requirements_name_the_keys_without_which_a_call_fails(client, services, prefetch):
    entry = services[0]
    needed = re.match(r"Needs the prefetch keys ([a-z-]+) and ([a-z-]+);", entry["usageRequirements"]).groups()

    for key in entry["prefetch"]:
        answer = client.post(URL, json=request(prefetch=without(prefetch, key)))
        assert answer.status_code == (412 if key in needed else 200), key


def test_ch_019_every_hook_has_an_id_of_its_own(services):
    assert len({entry["id"] for entry in services}) == len(services) == len({entry["hook"] for entry in services})


def test_ch_021_a_token_for_discovery_is_made_out_to_discovery(ehr):
    def asked(**changes):
        return ehr.get("/cds-services", headers={"Authorization": f"Bearer {tokens.token(**changes)}"}).status_code

    assert ehr.get("/cds-services").status_code == 401
    assert asked(aud=f"{tokens.PUBLIC_URL}/cds-services") == 200
    assert asked(aud=f"{tokens.PUBLIC_URL}{URL}") == 401
    assert asked(aud=tokens.PUBLIC_URL) == 401


def test_ch_022_no_entry_has_an_extension(services):
    assert not any("extension" in entry for entry in services)


def test_ch_023_ids_and_keys_are_fhir_codes_and_safe_in_a_url(services):
    for entry in services:
        for name in (entry["id"], *entry["prefetch"]):
            assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
