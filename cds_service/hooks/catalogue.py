"""The hooks this service answers: one entry and one context schema each. The ids are the URLs that clients store."""

from dataclasses import dataclass
from enum import Enum


class Answers(Enum):
    """What a hook is answered with: the options for the patient, or what the documents say of the drug in hand."""

    OPTIONS = "options"
    DRUGS = "drugs"


@dataclass(frozen=True)
class Hook:
    """A hook of the CDS Hooks Library and the service that answers it; `schema` is the stem of its context's schema.

    `holds` is the context field with the resources in question: orders, or conditions that count beside the record.
    `chosen` is the field that says which of them; `points_to` are fields that refer to orders of the record.
    """

    name: str
    service: str
    title: str
    purpose: str
    schema: str
    answers: Answers = Answers.OPTIONS
    holds: str = ""
    chosen: str = ""
    points_to: tuple[str, ...] = ()


_OPTIONS = (
    "For a patient with confirmed, current stage IV breast cancer: informational cards that list the options "
    "named by {sources}, each with its citations, what they differ on, and which missing fact would change "
    "the list. Nothing is ranked, recommended or ordered."
)
_DRUGS = (
    "For each drug {whose} that is named by {{sources}}, for a patient with confirmed, current stage IV breast cancer: "
    "one informational card with what they say of it for this patient, conditions met, not met and unknown, the "
    "combinations it is named in, monitoring and side effects. Nothing is ranked, recommended or ordered."
)

HOOKS = (
    Hook(
        name="patient-view",
        service="stage-4-breast-cancer-options",
        title="Stage IV breast cancer: options and who names them",
        purpose=_OPTIONS,
        schema="context-patient-view",
    ),
    Hook(
        name="encounter-start",
        service="stage-4-breast-cancer-options-encounter-start",
        title="Stage IV breast cancer: options and who names them, as an encounter starts",
        purpose=_OPTIONS,
        schema="context-encounter-start",
    ),
    Hook(
        name="encounter-discharge",
        service="stage-4-breast-cancer-options-encounter-discharge",
        title="Stage IV breast cancer: options and who names them, at discharge",
        purpose=_OPTIONS,
        schema="context-encounter-discharge",
    ),
    Hook(
        name="appointment-book",
        service="stage-4-breast-cancer-options-appointment-book",
        title="Stage IV breast cancer: options and who names them, as an appointment is booked",
        purpose=_OPTIONS,
        schema="context-appointment-book",
    ),
    Hook(
        name="problem-list-item-create",
        service="stage-4-breast-cancer-options-problem-list-item-create",
        title="Stage IV breast cancer: options and who names them, as a problem is recorded",
        purpose=f"{_OPTIONS} Confirmed conditions that are being created count as if they were on record, and the "
        "answer says so.",
        schema="context-problem-list-item-create",
        holds="conditions",
    ),
    Hook(
        name="order-select",
        service="stage-4-breast-cancer-drug-order-select",
        title="Stage IV breast cancer: what the sources say of the drug selected",
        purpose=_DRUGS.format(whose="selected"),
        schema="context-order-select",
        answers=Answers.DRUGS,
        holds="draftOrders",
        chosen="selections",
    ),
    Hook(
        name="order-sign",
        service="stage-4-breast-cancer-drug-order-sign",
        title="Stage IV breast cancer: what the sources say of the drug to be signed",
        purpose=_DRUGS.format(whose="to be signed"),
        schema="context-order-sign",
        answers=Answers.DRUGS,
        holds="draftOrders",
    ),
    Hook(
        name="order-dispatch",
        service="stage-4-breast-cancer-drug-order-dispatch",
        title="Stage IV breast cancer: what the sources say of the drug dispatched",
        purpose=_DRUGS.format(whose="dispatched"),
        schema="context-order-dispatch",
        answers=Answers.DRUGS,
        # 1.1; the spelling of its example; 1.0
        points_to=("dispatchedOrders", "dispatched-orders", "order"),
    ),
    Hook(
        name="medication-refill",
        service="stage-4-breast-cancer-drug-medication-refill",
        title="Stage IV breast cancer: what the sources say of the drug refilled",
        purpose=_DRUGS.format(whose="to be refilled"),
        schema="context-medication-refill",
        answers=Answers.DRUGS,
        holds="medications",
    ),
)


def by_service(service: str) -> Hook | None:
    """The hook that a service id answers."""
    return next((hook for hook in HOOKS if hook.service == service), None)
