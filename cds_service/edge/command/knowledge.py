"""`cds-service check` and `cds-service sources`: is the knowledge sound, and is it what the documents say."""

import sys
from pathlib import Path

import click

from cds_service.edge.command.common import CARDS, or_exit
from cds_service.knowledge.coverage import coverage as count
from cds_service.knowledge.coverage import verify as verify_sources
from cds_service.knowledge.load import load


@click.command()
@CARDS
def check(cards: Path | None) -> None:
    """Check the knowledge files: schemas, citations, codes, conditions. Lists every problem at once."""
    knowledge = or_exit(lambda: load(cards))
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


@click.group()
def sources() -> None:
    """The documents behind the knowledge."""


@sources.command()
@CARDS
def coverage(cards: Path | None) -> None:
    """Count how the passages of each source are accounted for; exit 1 if any is left over."""
    rows = count(or_exit(lambda: load(cards)))
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
@CARDS
def verify(folder: Path, cards: Path | None) -> None:
    """Verify every passage by digest against the documents (*.txt) in FOLDER; exit 1 if one fails or a line is left."""
    documents = {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.txt"))}
    failed = False
    for row in verify_sources(or_exit(lambda: load(cards)), documents):
        sound = bool(row.document) and not row.failing and not row.unaccounted
        failed |= not sound
        state = f"{row.document}: {row.found} passages found by digest" if row.document else "no document found"
        click.echo(f"{'ok  ' if sound else 'FAIL'} {row.source}: {state}")
        for passage in row.failing if row.document else ():
            click.echo(f"       digest differs: {passage}")
        for line in row.unaccounted:
            click.echo(f"       line accounted for nowhere: {line}")
    sys.exit(1 if failed else 0)
