"""`cds-service feedback` and `cds-service database`: the store, counted and kept."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime

import click

from cds_service.edge.command.common import or_exit
from cds_service.edge.report import DEFAULT, KEYS, as_csv, as_table, report
from cds_service.edge.settings import settings
from cds_service.edge.store import Store
from cds_service.errors import Unavailable
from cds_service.knowledge.load import load


@click.group()
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
    offered = or_exit(load).override_reasons
    reasons = {(one.system, one.code): one.display for one in offered}
    with _store() as store:
        made = report(store.counts(since.date() if since else None), store.listings(), by, reasons)
    click.echo(as_csv(made) if wants_csv else as_table(made), nl=not wants_csv)


@click.group()
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
        with closing(Store(or_exit(settings).database)) as store:
            yield store
    except Unavailable as error:
        raise click.ClickException(str(error)) from None
