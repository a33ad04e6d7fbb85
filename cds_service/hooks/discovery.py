"""Discovery: what this service offers and what it needs, derived from the knowledge and never written twice."""

from typing import Any

from cds_service.hooks.catalogue import HOOKS, Answers, Hook
from cds_service.knowledge.drugs import within_sentence
from cds_service.knowledge.knowledge import Knowledge
from cds_service.patient.queries import queries
from cds_service.patient.record import PATIENT


def discovery(knowledge: Knowledge) -> dict[str, Any]:
    """The body of GET /cds-services (CDS Hooks 2.0, "Discovery")."""
    return {"services": [_service(hook, knowledge) for hook in HOOKS] if knowledge.cards else []}


def _service(hook: Hook, knowledge: Knowledge) -> dict[str, Any]:
    return {
        "hook": hook.name,
        "id": hook.service,
        "title": hook.title,
        "description": f"{_purpose(hook, knowledge)} {_contents(hook, knowledge)}",
        "prefetch": {need.key: need.template.replace(PATIENT, "{{context.patientId}}") for need in queries(knowledge)},
        "usageRequirements": (
            "Needs the prefetch keys "
            + " and ".join(need.key for need in queries(knowledge) if need.required)
            + "; any other key that is left out leaves facts unknown, and the cards say which (statements and "
            + "administrations of medicines only add to the orders). Where it may ask the FHIR server for what is left "
            + f"out, it needs the SMART scopes {' '.join(_scopes(knowledge))}."
        ),
    }


def _scopes(knowledge: Knowledge) -> list[str]:
    """What a site grants this service, and no more (CDS Hooks 2.0, "Trusting CDS Services")."""
    return list(dict.fromkeys(f"patient/{need.type}.read" for need in queries(knowledge)))


def _purpose(hook: Hook, knowledge: Knowledge) -> str:
    return hook.purpose.format(sources=", ".join(source.short for source in knowledge.sources.values()))


def _contents(hook: Hook, knowledge: Knowledge) -> str:
    cards = (
        f"{card.title} ({', '.join(within_sentence(section.title) for section in card.sections)})"
        for card in knowledge.cards
    )
    reviewed = all(section.reviewed for section in knowledge.sections)
    review = "" if reviewed else " Not reviewed by a clinician."
    listed = f"Cards: {'; '.join(cards)}. " if hook.answers is Answers.OPTIONS else ""
    return f"{listed}Knowledge {knowledge.version}.{review}"
