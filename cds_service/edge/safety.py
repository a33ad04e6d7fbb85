"""Whether what a site set is safe to start with: every reason against it at once."""

from collections.abc import Iterator
from functools import lru_cache
from ipaddress import ip_address

from cds_service.edge.callers import Callers
from cds_service.edge.settings import Settings
from cds_service.errors import Problem

#: its private key is published with the CDS Hooks sandbox: whoever likes can sign in its name
_PUBLIC_ISSUER = "https://sandbox.cds-hooks.org"


def unsafe(site: Settings, callers: Callers) -> list[Problem]:
    """Every reason not to start. Outside the production profile only what could not work at all."""
    found = []
    if callers and not site.public_url:
        found.append(Problem("CDS_PUBLIC_URL", "nothing", "the URL to which the callers' tokens are made out"))
    if callers and site.open:
        found.append(Problem("CDS_OPEN", "true, with trusted callers", "either callers or an open service"))
    return [*found, *(_unsafe_for_patients(site, callers) if site.production else ())]


def _unsafe_for_patients(site: Settings, callers: Callers) -> Iterator[Problem]:
    if not callers:
        yield Problem("CDS_CALLERS", "no trusted callers", "the file of the callers this service serves")
    if not site.public_url.startswith("https://"):
        yield Problem("CDS_PUBLIC_URL", "no https URL", "the https URL under which callers reach this service")
    if not site.tls_terminated:
        yield Problem("CDS_TLS_TERMINATED", "not declared", "true, once TLS ends in front of this service")
    if any(url.startswith(_PUBLIC_ISSUER) for one in callers.values() for url in (one.issuer, *one.jku)):
        yield Problem("CDS_CALLERS", f"{_PUBLIC_ISSUER}, whose private key is public", "callers with keys of their own")
    if any(url.startswith("http:") for trusted in callers.values() for url in trusted.jku):
        yield Problem("CDS_CALLERS", "a `jku` without TLS", "https URLs")
    if site.sandbox:
        yield Problem("CDS_SANDBOX", "true", "false: invented patients have no place beside real ones")
    if any(server.http for server in site.fhir_servers):
        yield Problem("CDS_FHIR_SERVERS", "a server without TLS", "servers with https")
    if any(not origin.startswith("https://") for origin in site.cors_origins):
        yield Problem("CDS_CORS_ORIGINS", "an origin without TLS", "https origins")


def doors(site: Settings) -> str:
    """Who is served, in one line for whoever starts the service."""
    if site.callers:
        return "Callers: those of CDS_CALLERS, by JSON Web Token" + (
            "; discovery is open to all." if site.discovery_open else "."
        )
    if site.open:
        return "Callers: ANYBODY WHO CAN CONNECT (CDS_OPEN). Use it without patients only."
    return "Callers: this machine only, because no trusted callers are set (CDS_CALLERS)."


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine and nothing else."""
    try:
        return host == "localhost" or ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
