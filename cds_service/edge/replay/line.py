"""The line of one patient in a run: what the answer to a call says, in fixed words, for counting and comparing.

One JSON object with sorted members, the same bytes on every engine:

    patient      the id
    answer       cards, no-card, refused (no answer, as with HTTP status 412) or error (a fault of this program)
    reason       why there is no card, or what was refused, in fixed words; the class of an error; '' for cards
    resources    how many resources of the patient were delivered, of the types that are read
    facts        each fact that the answer shows, with its value
    unknown      the facts among them that are unknown
    options      each option that the cards list: its section, status, citations, missing facts, and what decided it
    set_aside    how many resources or answers were set aside

Nothing of the record gets into it but the id: values of facts are words of the knowledge, notes stay behind.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from cds_service.errors import Refusal
from cds_service.hooks.listing import EXTENSION
from cds_service.knowledge.knowledge import Knowledge

CARDS, NO_CARD, REFUSED, ERROR = "cards", "no-card", "refused", "error"
_UNKNOWN = "unknown"
#: how many options are remembered, by their verdict and the facts that decided it
_REMEMBERED = 8192


class Answers:
    """Turns answers into lines, with one knowledge. What an option looks like is remembered: most look the same for
    many patients.
    """

    def __init__(self, knowledge: Knowledge):
        self._sections = {
            option.id: section.id for card in knowledge.cards for section in card.sections for option in section.options
        }
        self._known: dict[tuple[Any, ...], tuple[Any, orjson.Fragment]] = {}

    def line(self, patient: str, answer: Mapping[str, Any], resources: int, set_aside: int) -> dict[str, Any]:
        """The line of an answer."""
        held = [one["extension"][EXTENSION] for one in answer["cards"]]
        beside = answer.get("extension", {}).get(EXTENSION, {})
        no_card = beside.get("noCard", {})
        said = dict[int, tuple[str, ...]]()
        options = {one["option"]: self._option(one, said) for extension in held for one in extension["options"]}
        shown = [row for part in (*held, no_card) for name in ("gate", "facts") for row in part.get(name, ())]
        facts = {row["fact"]: row["value"] for row in shown}
        # what follows in parentheses is a note, which may name resources
        reason = no_card.get("reason", "").partition(" (")[0]
        return _line(patient, CARDS if held else NO_CARD, reason, resources, facts, options, set_aside)

    def _option(self, entry: Mapping[str, Any], said: dict[int, tuple[str, ...]]) -> orjson.Fragment:
        """An option as JSON. Its citations are known by their list, one for all who get the same verdict; it is kept,
        so that no other can take its identity. What decided it is one list for the options of a patient that rest on
        the same: `said` holds what such a list says.
        """
        citations, because = entry["citations"], entry["because"]
        decided = said.get(id(because))
        if decided is None:
            decided = said[id(because)] = tuple(word for one in because for word in (one["fact"], one["value"]))
        key = (entry["option"], entry["status"], id(citations), tuple(entry["missing"]), decided)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[key] = known = citations, self._written(entry)
        return known[1]

    def _written(self, entry: Mapping[str, Any]) -> orjson.Fragment:
        told = {
            "section": self._sections[entry["option"]],
            "status": entry["status"],
            "citations": sorted(f"{one['source']} {one['passage']} {one['position']}" for one in entry["citations"]),
            "missing": sorted(entry["missing"]),
            "because": sorted(f"{one['fact']}={one['value']}" for one in entry["because"]),
        }
        return orjson.Fragment(orjson.dumps(told, option=orjson.OPT_SORT_KEYS))


def refused(patient: str, refusal: Refusal, resources: int, set_aside: int) -> dict[str, Any]:
    """The line of a call that got no answer; its problems name what was lacking, never a value."""
    return _line(patient, REFUSED, "; ".join(map(str, refusal.problems)), resources, set_aside=set_aside)


def failed(patient: str, error: Exception, resources: int) -> dict[str, Any]:
    """The line of a fault of this program: its class only, since its text may hold anything."""
    return _line(patient, ERROR, type(error).__name__, resources)


def written(line: Mapping[str, Any]) -> bytes:
    """The bytes of a line, with its end."""
    return orjson.dumps(line, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def _line(
    patient: str,
    answer: str,
    reason: str,
    resources: int,
    facts: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
    set_aside: int = 0,
) -> dict[str, Any]:
    known = facts or {}
    return {
        "patient": patient,
        "answer": answer,
        "reason": reason,
        "resources": resources,
        "facts": known,
        "unknown": sorted(name for name, value in known.items() if value == _UNKNOWN),
        "options": options or {},
        "set_aside": set_aside,
    }
