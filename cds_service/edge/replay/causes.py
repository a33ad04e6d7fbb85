"""Why advice differs between two runs: the facts of the patient, the knowledge, both, or the program.

The knowledge says which facts an option rests on and, where the other one is at hand too, whether what it says of the
option has changed. A fact has finer answers than the value a line shows (natural or induced menopause): where neither
value nor knowledge differs and the program is the same, it must have been such a one.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from cds_service.edge.replay.finished import FinishedRun
from cds_service.hooks.difference import Edit, edits, gate_edits, rests_on, rewritten
from cds_service.knowledge.knowledge import Knowledge

FACTS, KNOWLEDGE, BOTH, PROGRAM = "facts", "knowledge", "both", "program"
CAUSES = (FACTS, KNOWLEDGE, BOTH, PROGRAM)
_OTHER_PROGRAM = "The runs were made by different versions of the program"
_TAKEN_OTHERWISE = "The input was taken otherwise: as complete, or as lacking a type, in one run only"


@dataclass(frozen=True)
class Grounds:
    """What two runs have in common, and in words what, beside the knowledge, they have not (`differing`).

    `rests_on` are the facts of each option. `rewritten` (options) and `gate` (is it another one?) are None where only
    one of two different knowledges is at hand; what may be both is then called both. `edits`: how knowledges differ.
    """

    same_knowledge: bool
    differing: tuple[str, ...]
    rests_on: Mapping[str, frozenset[str]]
    rewritten: frozenset[str] | None
    gate: bool | None
    edits: tuple[Edit, ...] = ()

    def of_option(self, option: str, facts: Collection[str], named: Collection[str]) -> str:
        """Why the entry of an option differs, where `facts` do and the entries name others that it rests on."""
        asked = self.rests_on.get(option)
        moved = bool(facts) if asked is None else not asked.union(named).isdisjoint(facts)
        if self.same_knowledge or (self.rewritten is not None and option not in self.rewritten):
            return FACTS if moved or _OTHER_PROGRAM not in self.differing else PROGRAM
        return BOTH if moved else KNOWLEDGE

    def of_gate(self) -> str:
        """Why options are listed in one run only, or not for the same reason. Cards do not show the facts of the gate:
        where everything but the knowledge is the same, it was the knowledge.
        """
        if self.same_knowledge or self.gate is False:
            return PROGRAM if self.differing == (_OTHER_PROGRAM,) else FACTS
        return BOTH if self.differing else KNOWLEDGE


def grounds(old: FinishedRun, new: FinishedRun, before: Knowledge | None, after: Knowledge | None) -> Grounds:
    """The grounds of two runs; `before` and `after` are the knowledges that made them, None where not at hand."""
    both = bool(before and after)
    found = (*gate_edits(before, after), *edits(before, after)) if before and after else ()
    return Grounds(
        same_knowledge=old.digest == new.digest,
        differing=tuple(_differing(old.about, new.about)),
        rests_on=_rests_on(before, after),
        rewritten=rewritten(found) if both else None,
        gate=any(not edit.option for edit in found) if both else None,
        edits=found,
    )


def _rests_on(*knowledges: Knowledge | None) -> dict[str, frozenset[str]]:
    """The facts that each option rests on, under either knowledge."""
    found: dict[str, frozenset[str]] = {}
    for knowledge in knowledges:
        for name, option in knowledge.options.items() if knowledge else ():
            found[name] = found.get(name, frozenset()) | rests_on(option)
    return found


def _differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What has to be the same for a difference to be an effect of the knowledge, and is not or may not be."""
    ours, theirs = _files(old), _files(new)
    taken = [(about.get("complete"), about.get("lacking")) for about in (old, new)]
    said = {
        "Whether the input is the same cannot be told: it was no folder of files": not (ours and theirs),
        "The input files differ in name, number or size": bool(ours and theirs) and ours != theirs,
        _TAKEN_OTHERWISE: taken[0] != taken[1],
        "The runs were made for different days": old.get("today") != new.get("today"),
        _OTHER_PROGRAM: old.get("version") != new.get("version"),
    }
    return [words for words, holds in said.items() if holds]


def _files(about: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Name and size of the input files. When they were changed is left out: a copy has another time."""
    return sorted((str(one["name"]), int(one["bytes"])) for one in about["input"]["files"])
