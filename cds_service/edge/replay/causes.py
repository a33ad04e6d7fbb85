"""Why advice differs between two runs: the facts of the patient, the knowledge, both, or the program.

The knowledge says which facts an option rests on and, where the other one is at hand too, whether what it says of the
option has changed. A fact has finer answers than the value a line shows (natural or induced menopause): where neither
value nor knowledge differs and the program is the same, it must have been such a one.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from cds_service.edge.replay.finished import Run
from cds_service.hooks.difference import Edit, edits, gate_edits, rests_on, rewritten
from cds_service.knowledge.knowledge import Knowledge

FACTS, KNOWLEDGE, BOTH, PROGRAM = "facts", "knowledge", "both", "program"
CAUSES = (FACTS, KNOWLEDGE, BOTH, PROGRAM)
#: what of two runs has to be the same for a difference to be an effect of the knowledge, in words
_CONDITIONS = {
    "input": "The input files differ in name, number or size",
    "complete": "One run took the export for complete, the other did not",
    "today": "The runs were made for different days",
    "version": "The runs were made by different versions of the program",
}


@dataclass(frozen=True)
class Grounds:
    """What two runs have in common. `rewritten` and `gate` (is it another one?) are None where only one of two different
    knowledges is at hand; then what may be both is called both. `edits` are what one knowledge says and the other not.
    """

    same_knowledge: bool
    same_program: bool
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
            return FACTS if moved or self.same_program else PROGRAM
        return BOTH if moved else KNOWLEDGE

    def of_gate(self) -> str:
        """Why options are listed in one run and not in the other. Lines do not show the facts of the gate."""
        if self.same_knowledge or self.gate is False:
            return PROGRAM if self.differing == (_CONDITIONS["version"],) else FACTS
        return BOTH if self.differing else KNOWLEDGE


def grounds(old: Run, new: Run, before: Knowledge | None, after: Knowledge | None) -> Grounds:
    """The grounds of two runs; `before` and `after` are the knowledges that made them, None where not at hand."""
    same = old.digest == new.digest
    found = (*gate_edits(before, after), *edits(before, after)) if before and after else ()
    both = bool(before and after)
    return Grounds(
        same_knowledge=same,
        same_program=old.about.get("version") == new.about.get("version"),
        differing=tuple(
            words for name, words in _CONDITIONS.items() if _plain(old.about.get(name)) != _plain(new.about.get(name))
        ),
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


def _plain(value: Any) -> Any:
    """What is said of an input file without when it was changed: a copy has another time and the same content."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {name: one for name, one in value.items() if name != "mtime"}
    return value
