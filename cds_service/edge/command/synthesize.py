"""`cds-service synthesize`: invented patients as files."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from cds_service.edge.bulk import write_bundles, write_ndjson, write_stream
from cds_service.edge.command.common import CARDS, or_exit
from cds_service.edge.invented import Invented, invented
from cds_service.knowledge.load import load
from cds_service.synthetic.record import record
from cds_service.synthetic.sheet import Resource


@click.command()
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
@CARDS
def synthesize(patients: int, seed: int, stories: bool, bundles: bool, out: Path, cards: Path | None) -> None:
    """Write invented patients as FHIR R4: NDJSON by resource type (Bulk Data), or Bundles. Nobody in them is real."""
    if not patients and not stories:
        raise click.UsageError("nothing to write: give --patients, --stories or both")
    stream = out == Path("-")
    if stream and bundles:
        raise click.UsageError("standard output takes NDJSON, no Bundles")
    told = or_exit(lambda: invented(load(cards)))
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
