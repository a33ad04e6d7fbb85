"""What of a call's context is in question, and what became of it. Knows the fields that the catalogue names."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from cds_service.hooks.request import HookCall
from cds_service.patient.elements import one_or_more, word
from cds_service.patient.in_hand import NO_ORDER, Held, Order, held, may_be_order


@dataclass(frozen=True)
class InQuestion:
    """The resources in question and those beside them; references into the record; choices that chose nothing."""

    resources: tuple[Held, ...]
    beside: tuple[Held, ...]
    references: tuple[str, ...]
    astray: tuple[str, ...]

    @property
    def may_be_ordered(self) -> bool:
        """Whether a reference can point at an order of a medicine on record."""
        return any(may_be_order(reference) for reference in self.references)


def in_question(call: HookCall) -> InQuestion:
    """What the hook is about; where the hook has the user choose, only what was chosen."""
    hook, context = call.hook, call.context
    beside = tuple(held(context.get(hook.holds), hook.holds)) if hook.holds else ()
    references = tuple(
        dict.fromkeys(one for field in hook.points_to for one in one_or_more(context.get(field)) if word(one))
    )
    if not hook.chosen:
        bundled = tuple(one for one in beside if one.raw.get("resourceType") != "Medication")
        return InQuestion(bundled, beside, references, ())
    chosen = [_short(one) for one in one_or_more(context.get(hook.chosen)) if word(one)]
    resources = tuple(one for one in beside if one.reference in chosen or (one.url and one.url in chosen))
    found = {one.reference for one in resources} | {one.url for one in resources}
    return InQuestion(resources, beside, references, tuple(one for one in dict.fromkeys(chosen) if one not in found))


def _short(reference: str) -> str:
    """`Type/id` of a reference that may be absolute or versioned; a urn as it is."""
    path = reference.partition("/_history/")[0]
    return path if path.startswith("urn:") else "/".join(path.split("/")[-2:])


# WHAT BECAME OF IT


def row(reference: str, reason: str, outcome: str, **more: Any) -> dict[str, Any]:
    """What became of one thing of the context, for the extension of the answer."""
    told = {name: value for name, value in {**more, "reason": reason}.items() if value}
    return {"reference": reference, "outcome": outcome, **told}


def order_rows(
    asked: InQuestion, orders: Iterable[Order], shown: Collection[str], closed: str = ""
) -> list[dict[str, Any]]:
    """What became of each order in question. `shown` are the drugs that have a card; `closed` is why there is none."""
    listed = list(orders)
    rows = [_order_row(order, () if closed else shown, closed) for order in listed]
    read = tuple(order.reference for order in listed)
    for reference in asked.references:
        if not reference.partition("/_history/")[0].endswith(read):
            reason = "not among the orders of medicines delivered" if may_be_order(reference) else NO_ORDER
            rows.append(row(reference, reason, "no-card"))
    rows += [row(one, "not among the draft orders", "no-card") for one in asked.astray]
    return sorted(rows, key=lambda one: str(one["reference"]))


def _order_row(order: Order, shown: Collection[str], closed: str) -> dict[str, Any]:
    reason = order.reason or closed
    if not reason and not set(order.drugs) <= set(shown):
        reason = "no room: more cards would be needed than one answer holds"
    carded = not closed and (order.may_be or not set(order.drugs).isdisjoint(shown))
    outcome = "card" if carded else "no-card"
    return row(order.reference, reason, outcome, drugs=list(order.drugs), mayBe=list(order.may_be))
