"""What a replay is asked to do."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cds_service.edge.replay.answering import Answering, Terms, answering
from cds_service.edge.replay.sources import File
from cds_service.patient.record import CALLED

#: standard input in place of a folder
STREAM = "-"


@dataclass(frozen=True)
class Plan:
    """The input and how it is to be taken: `complete` where a type without a file has no resources at all, `lacking`
    the types that it does not hold whole. A stream has no files and is taken for all there is.
    """

    source: str
    cards: Path | None
    engine: str
    complete: bool
    lacking: frozenset[str]
    processes: int

    @property
    def answers(self) -> Answering:
        """What answers, with the knowledge asked for."""
        return answering(self.cards)

    def terms(self, kinds: Iterable[str], names: Iterable[str], today: str) -> Terms:
        """What holds for every patient, where the input has resources of these types and files of these names."""
        read = frozenset(need.type for need in self.answers.needs)
        words = {word for name in names for word in re.split("[^A-Za-z]+", name.rpartition("/")[2])}
        held = {CALLED.get(word, word) for word in words.union(kinds)}
        return Terms(today, (read if self.complete else read & held) - self.lacking)

    def description(self, files: Iterable[File], today: str, partitions: int) -> dict[str, Any]:
        """The run as it is begun."""
        knowledge = self.answers.knowledge
        return {
            "version": version("cds-service"),
            "knowledge": {"version": knowledge.version, "digest": knowledge.digest},
            "engine": self.engine,
            "input": {"given": self.source, "files": [one.told() for one in files]},
            "complete": self.complete,
            "lacking": sorted(self.lacking),
            "today": today,
            "partitions": partitions,
        }
