"""What commands have in common: the folder of knowledge, and how problems are shown."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from cds_service.errors import ConfigurationError, KnowledgeError

T = TypeVar("T")
CARDS = click.option(
    "--cards", type=click.Path(exists=True, file_okay=False, path_type=Path), help="The folder of knowledge files."
)


def or_exit(make: Callable[[], T]) -> T:
    """Make it, or show every problem and stop."""
    try:
        return make()
    except (KnowledgeError, ConfigurationError) as error:
        kind = "knowledge" if isinstance(error, KnowledgeError) else "settings"
        click.echo(f"{len(error.problems)} problems in the {kind}:", err=True)
        for problem in error.problems:
            click.echo(f"  {problem}", err=True)
        sys.exit(1)
