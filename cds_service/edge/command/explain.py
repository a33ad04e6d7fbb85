"""`cds-service explain`: how an answer comes about."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import click

from cds_service.edge.clock import today
from cds_service.edge.command.common import CARDS, or_exit
from cds_service.edge.explain import account
from cds_service.edge.explain import explain as explain_text
from cds_service.edge.files import call_of
from cds_service.edge.outcome import outcome
from cds_service.errors import Refusal
from cds_service.hooks.respond import Responder
from cds_service.knowledge.load import home, load


@click.command()
@click.argument("file", type=click.Path(exists=True, path_type=Path))
@click.option("--patient", default="", help="Whose record it is, where the file is no hook request.")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
@CARDS
def explain(file: Path, patient: str, as_json: bool, cards: Path | None) -> None:
    """Explain the answer to FILE: a hook request, a FHIR Bundle, a resource, or a folder of them (*.json, *.ndjson).

    Shows what was delivered, each fact with its value, its references, how it was recognised and what was set aside and
    why, and each option with its statements. A record that is no hook request is taken for all there is.
    """
    responder = Responder(or_exit(lambda: load(cards)))
    try:
        call = call_of(file, patient.removeprefix("Patient/"), responder.needs, home()[1])
        trace = responder.trace(replace(call, today=today()))
    except Refusal as refusal:
        click.echo(json.dumps(outcome(refusal), indent=2), err=True)
        sys.exit(1)
    click.echo(json.dumps(account(trace, responder), indent=1) if as_json else explain_text(trace, responder))
