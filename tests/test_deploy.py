"""The examples of deploy/: they name only what there is, keep what they promise, and are what their programs take."""

import re
import shlex
import warnings

import kubernetes_validate
import pytest
import yaml
from servers import DEPLOY, GUNICORN, ROOT

from cds_service.edge.guard import METRICS, PROBES
from cds_service.edge.settings import Settings

TEXTS = {path.name: path.read_text(encoding="utf-8") for path in DEPLOY.iterdir() if path.is_file()}
#: variables that the examples want of whoever runs them, and that are none of the service
ASKED = {"CDS_DATABASE_PASSWORD"}
COMPOSE = yaml.safe_load(TEXTS["compose.yaml"])
CLUSTER = list(yaml.safe_load_all(TEXTS["kubernetes.yaml"]))
POD = next(one for one in CLUSTER if one["kind"] == "Deployment")["spec"]["template"]["spec"]


def settings(environment):
    """The settings of an environment, without what stands for a value."""
    return {name: value for name, value in environment.items() if name.startswith("CDS_") and "${" not in str(value)}


def instructions():
    """The Containerfile, instruction by instruction."""
    joined = re.sub(r"\\\n", " ", re.sub(r"(?m)^#.*\n", "", TEXTS["Containerfile"]))
    return [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]


def test_there_is_an_example_of_each():
    assert set(TEXTS) == {"CAPACITY.md", "Containerfile", "compose.yaml", "kubernetes.yaml", "nginx.conf"}


@pytest.mark.parametrize("name", TEXTS)
def test_every_variable_named_is_a_setting(name):
    known = {f"CDS_{field.upper()}" for field in Settings.model_fields}

    assert set(re.findall(r"\bCDS_[A-Z_]+", TEXTS[name])) - ASKED <= known


@pytest.mark.parametrize(
    "environment",
    [COMPOSE["services"]["service"]["environment"], next(one for one in CLUSTER if one["kind"] == "ConfigMap")["data"]],
)
def test_the_settings_given_are_sound_and_those_of_production(environment, monkeypatch):
    for name, value in settings(environment).items():
        monkeypatch.setenv(name, value)
    site = Settings()

    assert site.production
    assert site.tls_terminated
    assert site.callers
    assert site.metrics == "open"


# NGINX


def test_the_proxy_reads_what_the_service_reads():
    megabytes = re.search(r"client_max_body_size (\d+)m;", TEXTS["nginx.conf"])

    assert int(megabytes[1]) * 1024**2 == Settings().max_body
    assert f"{megabytes[1]} MiB" in TEXTS["nginx.conf"]


def test_the_proxy_passes_on_no_more_than_it_must():
    places = re.findall(r"location (=? ?)(/\S*) {(.*?)}", TEXTS["nginx.conf"], re.DOTALL)

    assert {path for _, path, body in places if "proxy_pass" in body} == {"/cds-services", "/openapi.json", "/healthz"}
    assert METRICS not in {path for _, path, _ in places}


# CONTAINER


def test_the_image_is_made_of_what_there_is():
    extras = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    copied = [shlex.split(rest) for word, rest in instructions() if word == "COPY" and not rest.startswith("--from")]

    for *sources, _ in copied:
        assert all((ROOT / source).exists() for source in sources)
    (wanted,) = re.findall(r"'\.\[(.*?)\]'", TEXTS["Containerfile"])
    assert all(re.search(rf"(?m)^{extra} = \[", extras) for extra in wanted.split(","))


def test_the_image_runs_the_command_that_is_tested_as_nobody_in_particular():
    last = dict(instructions())
    stages = [rest for word, rest in instructions() if word == "FROM"]

    assert yaml.safe_load(last["CMD"])[1:] == GUNICORN[1:]
    assert last["USER"] == "10001:10001"
    assert PROBES[0] in last["HEALTHCHECK"]
    assert len(stages) == 2
    assert "pip install" not in TEXTS["Containerfile"].split("FROM")[-1]


# COMPOSE


def test_compose_waits_for_what_each_needs():
    services = COMPOSE["services"]

    for service in services.values():
        for needed, how in service.get("depends_on", {}).items():
            assert how["condition"] in ("service_healthy", "service_completed_successfully")
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[needed] or services[needed]["image"] == "cds-service"
    assert services["upgrade"]["command"][1:] == ["database", "upgrade"]
    assert (DEPLOY / services["service"]["build"]["context"]).resolve() == ROOT
    assert "server service:8080;" in TEXTS["nginx.conf"]
    assert "CDS_BIND=0.0.0.0:8080" in TEXTS["Containerfile"]


def test_only_the_proxy_is_reached_from_outside():
    assert [name for name, service in COMPOSE["services"].items() if "ports" in service] == ["proxy"]


def test_what_runs_our_program_may_do_nothing_else():
    assert all(COMPOSE["services"][name]["read_only"] for name in ("upgrade", "service", "proxy"))
    assert COMPOSE["services"]["service"]["cap_drop"] == ["ALL"]


# KUBERNETES


@pytest.mark.parametrize("version", ["1.30", "1.37"])
@pytest.mark.parametrize("described", CLUSTER, ids=lambda one: one["kind"])
def test_a_cluster_takes_it(described, version):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        kubernetes_validate.validate(described, version, strict=True)


def test_what_belongs_together_is_named_alike():
    label = {"app.kubernetes.io/name": "cds-service"}
    selectors = [yaml.safe_dump(one["spec"]) for one in CLUSTER if one["kind"] in ("Deployment", "PodDisruptionBudget")]
    maps = {one["metadata"]["name"] for one in CLUSTER if one["kind"] == "ConfigMap"}
    (container,) = POD["containers"]

    assert all(one["metadata"]["labels"] == label for one in CLUSTER)
    assert all("app.kubernetes.io/name: cds-service" in text for text in selectors)
    assert {one["configMapRef"]["name"] for one in container["envFrom"]} <= maps
    assert {one["configMap"]["name"] for one in POD["volumes"] if "configMap" in one} <= maps
    assert {one["name"] for one in container["volumeMounts"]} == {one["name"] for one in POD["volumes"]}


def test_probes_ask_what_the_service_answers():
    (container,) = POD["containers"]
    alive, ready = PROBES

    assert container["startupProbe"]["httpGet"]["path"] == container["livenessProbe"]["httpGet"]["path"] == alive
    assert container["readinessProbe"]["httpGet"]["path"] == ready


@pytest.mark.parametrize("container", [*POD["containers"], *POD["initContainers"]], ids=lambda one: one["name"])
def test_no_container_may_more_than_it_needs(container):
    context = container["securityContext"]

    assert POD["securityContext"]["runAsNonRoot"]
    assert context["readOnlyRootFilesystem"]
    assert not context["allowPrivilegeEscalation"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert container["resources"]["limits"]["memory"]


def test_a_pod_is_given_the_time_to_end():
    (container,) = POD["containers"]
    waits = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    text = (ROOT / "cds_service" / "edge" / "gunicorn_conf.py").read_text(encoding="utf-8")
    graceful = int(re.search(r"(?m)^graceful_timeout = (\d+)$", text)[1])

    assert POD["terminationGracePeriodSeconds"] > waits + graceful
    assert int(COMPOSE["services"]["service"]["stop_grace_period"].removesuffix("s")) > graceful
