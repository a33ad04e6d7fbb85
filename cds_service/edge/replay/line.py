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


def answered(
    patient: str, answer: Mapping[str, Any], sections: Mapping[str, str], resources: int, set_aside: int
) -> dict[str, Any]:
    """The line of an answer; `sections` is the section of each option."""
    held = [one["extension"][EXTENSION] for one in answer["cards"]]
    beside = answer.get("extension", {}).get(EXTENSION, {})
    no_card = beside.get("noCard", {})
    options = {one["option"]: _option(one, sections) for extension in held for one in extension["options"]}
    shown = [row for part in (*held, no_card) for name in ("gate", "facts") for row in part.get(name, ())]
    facts = {row["fact"]: row["value"] for row in shown}
    # what follows in parentheses is a note, which may name resources
    reason = no_card.get("reason", "").partition(" (")[0]
    return _line(patient, CARDS if held else NO_CARD, reason, resources, facts, options, set_aside)


def refused(patient: str, refusal: Refusal, resources: int, set_aside: int) -> dict[str, Any]:
    """The line of a call that got no answer; its problems name what was lacking, never a value."""
    return _line(patient, REFUSED, "; ".join(map(str, refusal.problems)), resources, set_aside=set_aside)


def failed(patient: str, error: Exception, resources: int) -> dict[str, Any]:
    """The line of a fault of this program: its class only, since its text may hold anything."""
    return _line(patient, ERROR, type(error).__name__, resources)


def sections(knowledge: Knowledge) -> dict[str, str]:
    """The section of each option."""
    return {
        option.id: section.id for card in knowledge.cards for section in card.sections for option in section.options
    }


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


def _option(entry: Mapping[str, Any], sections: Mapping[str, str]) -> dict[str, Any]:
    return {
        "section": sections[entry["option"]],
        "status": entry["status"],
        "citations": sorted([f"{one['source']} {one['passage']} {one['position']}" for one in entry["citations"]]),
        "missing": sorted(entry["missing"]),
        "because": sorted([f"{one['fact']}={one['value']}" for one in entry["because"]]),
    }
