"""The command line: `cds-service serve | check | explain | synthesize | replay | sources | feedback | database`."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import click
import waitress

from cds_service.edge.audit import log_to_stderr
from cds_service.edge.bulk import write_bundles, write_ndjson, write_stream
from cds_service.edge.clock import today
from cds_service.edge.explain import account
from cds_service.edge.explain import explain as explain_text
from cds_service.edge.files import call_of
from cds_service.edge.invented import Invented, invented
from cds_service.edge.outcome import outcome
from cds_service.edge.replay.command import replay
from cds_service.edge.report import DEFAULT, KEYS, as_csv, as_table, report
from cds_service.edge.safety import doors, is_loopback
from cds_service.edge.sandbox_fhir import PATH as SANDBOX_FHIR
from cds_service.edge.settings import Settings, settings
from cds_service.edge.start import rehearse
from cds_service.edge.store import Store
from cds_service.edge.web import create_app
from cds_service.errors import ConfigurationError, KnowledgeError, Refusal, Unavailable
from cds_service.hooks.respond import Responder
from cds_service.knowledge.coverage import coverage as count
from cds_service.knowledge.coverage import verify as verify_sources
from cds_service.knowledge.load import home, load
from cds_service.synthetic.record import record
from cds_service.synthetic.sheet import Resource

T = TypeVar("T")
_NOBODY_KNOWN = (
    "no trusted callers are set, so only this machine is served. Set CDS_CALLERS and CDS_PUBLIC_URL, "
    "or, in a sandbox without patients, CDS_OPEN=true."
)
_CARDS = click.option(
    "--cards", type=click.Path(exists=True, file_okay=False, path_type=Path), help="The folder of knowledge files."
)


@click.group()
@click.version_option(package_name="cds-service")
def main() -> None:
    """Informational CDS Hooks cards on stage IV breast cancer: what five documents say, with citations."""


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="Port to listen on.")
@_CARDS
def serve(host: str, port: int, cards: Path | None) -> None:
    """Serve the hooks, on loopback unless told otherwise."""
    site = _or_exit(settings)
    if not (site.callers or site.open or is_loopback(host)):
        click.echo(f"Refused to listen on {host}: {_NOBODY_KNOWN}", err=True)
        sys.exit(1)
    site = _with_sandbox(site, host)
    app = _or_exit(lambda: create_app(cards, site))
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


@main.command()
@_CARDS
def check(cards: Path | None) -> None:
    """Check the knowledge files: schemas, citations, codes, conditions. Lists every problem at once."""
    knowledge = _or_exit(lambda: load(cards))
    statements = sum(len(option.statements) for option in knowledge.options.values())
    click.echo(f"Knowledge {knowledge.version} ({knowledge.digest}) is sound:")
    click.echo(
        f"{len(knowledge.sources)} sources, {len(knowledge.options)} options, {statements} statements, "
        f"{len(knowledge.facts)} facts, {len(knowledge.drugs)} drugs, {len(knowledge.lexicon.codes)} codes"
    )
    for card in knowledge.cards:
        click.echo(f"{card.title}:")
        for section in card.sections:
            reviews = [f"{one.by} {one.on}" for one in section.reviewed]
            state = f"reviewed by {', '.join(reviews)}" if reviews else "not reviewed by a clinician"
            click.echo(f"  {section.title}: {len(section.options)} options, {state}")


@main.command()
@click.argument("file", type=click.Path(exists=True, path_type=Path))
@click.option("--patient", default="", help="Whose record it is, where the file is no hook request.")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
@_CARDS
def explain(file: Path, patient: str, as_json: bool, cards: Path | None) -> None:
    """Explain the answer to FILE: a hook request, a FHIR Bundle, a resource, or a folder of them (*.json, *.ndjson).

    Shows what was delivered, each fact with its value, its references, how it was recognised and what was set aside and
    why, and each option with its statements. A record that is no hook request is taken for all there is.
    """
    responder = Responder(_or_exit(lambda: load(cards)))
    try:
        call = call_of(file, patient.removeprefix("Patient/"), responder.needs, home()[1])
        trace = responder.trace(replace(call, today=today()))
    except Refusal as refusal:
        click.echo(json.dumps(outcome(refusal), indent=2), err=True)
        sys.exit(1)
    click.echo(json.dumps(account(trace, responder), indent=1) if as_json else explain_text(trace, responder))


@main.command()
@click.option("--patients", default=0, show_default=True, type=click.IntRange(0), help="How many to invent by chance.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0), help="The same seed, the same patients.")
@click.option("--stories", is_flag=True, help="The hand-written stories as well, before the others.")
@click.option("--bundles", is_flag=True, help="One Bundle for each patient in place of NDJSON by resource type.")
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path, allow_dash=True),
    help="A folder that is new or empty; or - for standard output, NDJSON one patient after the other.",
)
@_CARDS
def synthesize(patients: int, seed: int, stories: bool, bundles: bool, out: Path, cards: Path | None) -> None:
    """Write invented patients as FHIR R4: NDJSON by resource type (Bulk Data), or Bundles. Nobody in them is real."""
    if not patients and not stories:
        raise click.UsageError("nothing to write: give --patients, --stories or both")
    stream = out == Path("-")
    if stream and bundles:
        raise click.UsageError("standard output takes NDJSON, no Bundles")
    told = _or_exit(lambda: invented(load(cards)))
    length = patients + len(told.stories) * stories
    write = write_bundles if bundles else write_ndjson
    try:
        with click.progressbar(_records(told, patients, seed, stories), length, "Patients", file=sys.stderr) as shown:
            counts = write_stream(shown, sys.stdout.buffer) if stream else write(shown, out)
    except BrokenPipeError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # nobody reads any more; nothing is left to flush
        sys.exit(1)
    except FileExistsError:
        raise click.ClickException(f"{out} holds something already; give a folder that is new or empty") from None
    except OSError as error:
        raise click.ClickException(f"{out} cannot be written: {error.strerror}") from None
    listed = ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items()))
    place = "standard output" if stream else out
    click.echo(f"{length} invented patients in {place}: {listed}", err=stream)


def _records(told: Invented, patients: int, seed: int, stories: bool) -> Iterator[list[Resource]]:
    for story in told.stories if stories else ():
        yield record(story, told.vocabulary)
    for story, visits in told.population.stories(patients, seed):
        yield record(story, told.vocabulary, visits)


main.add_command(replay)


@main.group()
def sources() -> None:
    """The documents behind the knowledge."""


@sources.command()
@_CARDS
def coverage(cards: Path | None) -> None:
    """Count how the passages of each source are accounted for; exit 1 if any is left over."""
    rows = count(_or_exit(lambda: load(cards)))
    click.echo(f"{'source':16} {'cited':>6} {'not formalised':>15} {'furniture lines':>16} {'left over':>10}")
    for row in rows:
        click.echo(
            f"{row.source:16} {row.cited:6} {row.not_formalised:15} {row.furniture_lines:16} {len(row.left_over):10}"
        )
        for passage in row.left_over:
            click.echo(f"  left over: {row.source} {passage}")
    sys.exit(1 if any(row.left_over for row in rows) else 0)


@sources.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@_CARDS
def verify(folder: Path, cards: Path | None) -> None:
    """Verify every passage by digest against the documents (*.txt) in FOLDER; exit 1 if one fails or a line is left."""
    documents = {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.txt"))}
    failed = False
    for row in verify_sources(_or_exit(lambda: load(cards)), documents):
        sound = bool(row.document) and not row.failing and not row.unaccounted
        failed |= not sound
        state = f"{row.document}: {row.found} passages found by digest" if row.document else "no document found"
        click.echo(f"{'ok  ' if sound else 'FAIL'} {row.source}: {state}")
        for passage in row.failing if row.document else ():
            click.echo(f"       digest differs: {passage}")
        for line in row.unaccounted:
            click.echo(f"       line accounted for nowhere: {line}")
    sys.exit(1 if failed else 0)


@main.group()
def feedback() -> None:
    """What became of the cards, as the clients told it."""


@feedback.command("report")
@click.option("--csv", "wants_csv", is_flag=True, help="As CSV, for a spreadsheet.")
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), help="Only what was received on this day (UTC) or later.")
@click.option(
    "--by",
    type=click.Choice(KEYS),
    multiple=True,
    default=DEFAULT,
    show_default=True,
    help="What tells rows apart; may be given several times.",
)
def feedback_report(wants_csv: bool, since: datetime | None, by: tuple[str, ...]) -> None:
    """Count what was accepted and overridden, by default by section, option, reason and knowledge version."""
    offered = _or_exit(load).override_reasons
    reasons = {(one.system, one.code): one.display for one in offered}
    with _store() as store:
        made = report(store.counts(since.date() if since else None), store.listings(), by, reasons)
    click.echo(as_csv(made) if wants_csv else as_table(made), nl=not wants_csv)


@main.group()
def database() -> None:
    """The store that `CDS_DATABASE` names."""


@database.command("upgrade")
def database_upgrade() -> None:
    """Create the tables, or bring them to the schema of this version. May be run again, and by several at once."""
    with _store() as store:
        store.upgrade()
    click.echo("The store has the schema of this version.")


@contextmanager
def _store() -> Iterator[Store]:
    """The site's store, or the reason why it cannot be had, and stop."""
    try:
        with closing(Store(_or_exit(settings).database)) as store:
            yield store
    except Unavailable as error:
        raise click.ClickException(str(error)) from None


def _or_exit(make: Callable[[], T]) -> T:
    """Make it, or show every problem and stop."""
    try:
        return make()
    except (KnowledgeError, ConfigurationError) as error:
        kind = "knowledge" if isinstance(error, KnowledgeError) else "settings"
        click.echo(f"{len(error.problems)} problems in the {kind}:", err=True)
        for problem in error.problems:
            click.echo(f"  {problem}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
