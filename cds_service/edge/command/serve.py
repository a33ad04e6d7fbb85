"""`cds-service serve`: the service in one process."""

import sys
from pathlib import Path

import click
import waitress

from cds_service.edge.audit import log_to_stderr
from cds_service.edge.command.common import CARDS, or_exit
from cds_service.edge.safety import doors, is_loopback
from cds_service.edge.sandbox_fhir import PATH as SANDBOX_FHIR
from cds_service.edge.settings import Settings, settings
from cds_service.edge.start import rehearse
from cds_service.edge.web import create_app

_NOBODY_KNOWN = (
    "no trusted callers are set, so only this machine is served. Set CDS_CALLERS and CDS_PUBLIC_URL, "
    "or, in a sandbox without patients, CDS_OPEN=true."
)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="Port to listen on.")
@CARDS
def serve(host: str, port: int, cards: Path | None) -> None:
    """Serve the hooks, on loopback unless told otherwise."""
    site = or_exit(settings)
    if not (site.callers or site.open or is_loopback(host)):
        click.echo(f"Refused to listen on {host}: {_NOBODY_KNOWN}", err=True)
        sys.exit(1)
    site = _with_sandbox(site, host)
    app = or_exit(lambda: create_app(cards, site))
    click.echo(doors(site), err=True)
    problem = app.extensions["store"].problem()
    if problem:
        lost = "no token passes and no feedback is taken" if site.callers else "no feedback is taken"
        click.echo(f"Warning: {lost} (503) until this is mended: {problem}", err=True)
    log_to_stderr()
    rehearse(app)
    server = waitress.create_server(
        app,
        host=host,
        port=port,
        threads=4,
        ident=None,
        max_request_body_size=2 * site.max_body,  # the application refuses with a reason before waitress does without
        clear_untrusted_proxy_headers=False,  # they are never believed, but they betray a proxy
    )
    shown = f"[{host}]" if ":" in host else host
    click.echo(f"Discovery: http://{shown}:{server.effective_port}/cds-services   (Ctrl-C stops)")
    if site.sandbox:
        click.echo(f"Invented patients (FHIR R4): http://{shown}:{server.effective_port}{SANDBOX_FHIR}")
    if site.sandbox and not site.callers:
        click.echo(f"Open in a browser: http://{shown}:{server.effective_port}/sandbox")
    server.run()


def _with_sandbox(site: Settings, host: str) -> Settings:
    """The sandbox is open on loopback where the site has no callers to serve, unless the site decides otherwise."""
    alone = is_loopback(host) and not site.callers and not site.production
    return site if site.sandbox is not None else site.model_copy(update={"sandbox": alone})
