"""The hooks this service answers: one entry and one context schema each. The ids are the URLs that clients store."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Hook:
    """A hook of the CDS Hooks Library and the service that answers it; `context` is the stem of its schema."""

    name: str
    service: str
    title: str
    purpose: str
    context: str


HOOKS = (
    Hook(
        name="patient-view",
        service="stage-4-breast-cancer-options",
        title="Stage IV breast cancer: options and who names them",
        purpose=(
            "For a patient with confirmed, current stage IV breast cancer: informational cards that list the options "
            "named by {sources}, each with its citations, what they differ on, and which missing fact would change "
            "the list. Nothing is ranked, recommended or ordered."
        ),
        context="context-patient-view",
    ),
)


def by_service(service: str) -> Hook | None:
    """The hook that a service id answers."""
    return next((hook for hook in HOOKS if hook.service == service), None)
