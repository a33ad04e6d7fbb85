"""What the sources say on watching a medicine and on its side effects: shown beside a drug, never deciding."""

from collections.abc import Iterator, Mapping

from cds_service.errors import Problem
from cds_service.knowledge.drugs import Drugs
from cds_service.knowledge.files import Files
from cds_service.knowledge.passages import check_passage
from cds_service.model import Effect, Source


def read_effects(
    files: Files, sources: Mapping[str, Source], drugs: Drugs, problems: list[Problem]
) -> Iterator[Effect]:
    """Every row of effects.yaml, in its order."""
    for i, row in enumerate(files.one("effects")["effects"]):
        where = f"cards/effects.yaml:/effects/{i}"
        check_passage(sources, row, where, problems)
        if not drugs.knows(row["of"]):
            problems.append(Problem(f"{where}/of", repr(row["of"]), "a drug or a class"))
        yield Effect(row["of"], row["kind"], row["source"], row["passage"], row["says"])
