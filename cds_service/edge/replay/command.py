"""`cds-service replay`: what the service says of each patient of an export."""

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from cds_service.edge.clock import today as current
from cds_service.edge.replay.folder import replay_folder
from cds_service.edge.replay.impact import Impact, Other, impact
from cds_service.edge.replay.impact import against as compared
from cds_service.edge.replay.plan import STREAM, Plan
from cds_service.edge.replay.progress import show
from cds_service.edge.replay.run import opened
from cds_service.edge.replay.sources import files, unpacked
from cds_service.edge.replay.spark import replay_spark
from cds_service.edge.replay.spill import partitions_for
from cds_service.edge.replay.stream import replay_stream
from cds_service.edge.replay.workers import processors
from cds_service.errors import CdsError
from cds_service.knowledge.load import load

_STOPPED = 130  # as a shell says it
_CHANGED = 3
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.argument("source", metavar="DIR")
@click.option("--out", required=True, help="The folder of the run; with Spark also a URL that it writes to.")
@click.option("--engine", type=click.Choice(["local", "spark"]), default="local", show_default=True, help="What works.")
@click.option("--today", type=click.DateTime(["%Y-%m-%d"]), help="The day to answer for, in place of this one.")
@click.option("--complete", is_flag=True, help="A type without a file: there is none of it, for any patient.")
@click.option("--lacking", multiple=True, metavar="TYPE", help="A type that DIR does not hold whole; may be repeated.")
@click.option("--processes", type=click.IntRange(1), default=processors, help="How many at once; all, unless told.")
@click.option("--restart", is_flag=True, help="Begin anew, and forget what --out holds of another run.")
@click.option("--cards", type=_FOLDER, help="The folder of knowledge files.")
@click.option("--against", type=_FOLDER, help="Another finished run: whose advice changed, in what, and why.")
@click.option("--against-cards", type=_FOLDER, help="The knowledge files of that run: which statements differ.")
@click.option("--fail-on-change", is_flag=True, help="Exit with 3 where --against finds anybody touched.")
@click.option(
    "--suppress-below",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Hide smaller numbers of patients in report and counts; no anonymisation.",
)
def replay(
    source: str,
    out: str,
    engine: str,
    today: datetime | None,
    complete: bool,
    lacking: tuple[str, ...],
    processes: int,
    restart: bool,
    cards: Path | None,
    against: Path | None,
    against_cards: Path | None,
    fail_on_change: bool,
    suppress_below: int,
) -> None:
    """Answer for every patient of DIR: FHIR Bulk Data, *.ndjson or *.ndjson.gz by any names, in any order.

    A type that no file holds counts as not delivered: what it would say is unknown. DIR may be `-`: resources from
    standard input, those of each patient together, which are taken for all there is. The same command goes on with a
    run that was interrupted, but for streams and Spark, which begin anew.

    Beside the lines stand report.html and aggregate.json, and with --against changes.ndjson and changes.json. Against a
    run of the same records, days and program, the changes are what the knowledge does.

    With --engine spark, DIR may be whatever Spark reads, and Spark's own settings say where it works.
    """
    try:
        plan = Plan(source, cards, engine, complete or source == STREAM, frozenset(lacking), processes)
        _check(plan, out, bool(against))
        if (against_cards or fail_on_change) and not against:
            raise click.UsageError("--against-cards and --fail-on-change need --against")
        other = compared(against, load(against_cards) if against_cards else None) if against else None
        description = _replayed(plan, out, today.date().isoformat() if today else "", restart)
        shown = _shown(plan, out, other, suppress_below)
    except CdsError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename or out}: {error.strerror}") from None
    except KeyboardInterrupt:
        click.echo("Stopped." if source == STREAM else "Stopped. The same command goes on where it was.", err=True)
        sys.exit(_STOPPED)
    click.echo(_told(description["counts"], out))
    click.echo(shown.text)
    failed = description["counts"]["answers"].get("error")
    sys.exit(1 if failed else _CHANGED if fail_on_change and shown.touched else 0)


def _shown(plan: Plan, out: str, other: Other | None, below: int) -> Impact:
    """What the run shows, written beside its lines; nothing where they are not on this machine."""
    if "://" in out:
        return Impact("")
    return impact(Path(out), plan.answers.knowledge, other, below, plan.processes)


def _check(plan: Plan, out: str, compares: bool) -> None:
    """Raise what click tells whoever asked for what cannot be."""
    if plan.engine == "spark" and plan.source == STREAM:
        raise click.UsageError("Spark reads files, no standard input")
    if compares and "://" in out:
        raise click.UsageError("--against compares folders on this machine")
    if plan.engine == "local" and "://" in out:
        raise click.UsageError("a URL for --out needs --engine spark")
    if Path(out).absolute().is_relative_to(Path(plan.source).absolute()) and plan.source != STREAM:
        raise click.UsageError("--out lies in DIR, of which everything is read: give a place outside")
    unknown = plan.lacking - {need.type for need in plan.answers.needs}
    if unknown:
        raise click.BadParameter(f"{', '.join(sorted(unknown))}: not a type that is read", param_hint="--lacking")


def _replayed(plan: Plan, out: str, today: str, restart: bool) -> dict[str, Any]:
    """The description of the run when it is finished."""
    listed = files(Path(plan.source)) if plan.engine == "local" and plan.source != STREAM else []
    begun = plan.description(listed, today or current(), partitions_for(unpacked(listed)))
    if "://" in out:
        return replay_spark(plan, begun, None, out)
    with opened(Path(out), begun, today, restart) as run:
        described = run.described()
        if described["finished"]:
            click.echo("This run was finished before.", err=True)
            return described
        if plan.engine == "spark":
            return replay_spark(plan, described, run, out)
        if plan.source == STREAM:
            return replay_stream(plan, run, sys.stdin.buffer, show)
        return replay_folder(plan, run, listed, show)


def _told(counts: dict[str, Any], out: str) -> str:
    """The last word to whoever waited."""
    answers = ", ".join(f"{answer} {count}" for answer, count in sorted(counts["answers"].items()))
    unused = sum(counts["unused"].values())
    told = f"{counts['patients']} patients in {out}: {answers or 'none'}"
    if unused:
        told += f"\n{unused} of {counts['lines']} lines were not used: see problems.ndjson"
    if "error" in counts["answers"]:
        told += "\nThe patients with `error` met a fault of this program."
    return told
