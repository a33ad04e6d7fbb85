"""The sandbox: choose a patient, call a hook, read the cards, why they came, and what would change them.

What is pasted is neither logged nor stored: it goes back to the page, for the next call. Feedback is stored as from any
client.
"""

import orjson
from flask import Blueprint, g, redirect, render_template, request
from werkzeug.wrappers import Response

from cds_service.decision.what_if import choices, many
from cds_service.edge.clock import now
from cds_service.edge.outcome import issues
from cds_service.edge.pages.shown import escaped
from cds_service.edge.pages.trial import Bench, Choice, choice
from cds_service.edge.recorder import Recorder
from cds_service.edge.report import report
from cds_service.edge.store import Origin, Store
from cds_service.errors import BadRequest, Problem, Refusal
from cds_service.hooks.catalogue import HOOKS, Answers, by_service
from cds_service.hooks.feedback import parse_feedback
from cds_service.hooks.listing import EXTENSION
from cds_service.hooks.try_out import feedback_request
from cds_service.knowledge.knowledge import Knowledge
from cds_service.knowledge.load import home


def sandbox_pages(pages: Blueprint, knowledge: Knowledge, bench: Bench, recorder: Recorder, store: Store) -> None:
    """Add them to a blueprint."""
    schemas = home()[1]
    questions = [
        (fact, choices(fact, knowledge), many(fact)) for fact in knowledge.facts.values() if choices(fact, knowledge)
    ]
    drugs = [drug for drug in knowledge.drugs.values() if drug.named_in]
    common = {
        "hooks": HOOKS,
        "drugs": drugs,
        "samples": list(bench.samples.values()),
        "of_drugs": Answers.DRUGS,
        "extension": EXTENSION,
    }

    @pages.get("/sandbox")
    def start() -> str:
        return render_template("sandbox.html", chosen=Choice(next(iter(bench.samples), "")), problems=(), **common)

    @pages.post("/sandbox/call")
    def call() -> str | tuple[str, int]:
        """The page of a trial, or the form again with the reasons why there is no answer."""
        chosen = choice(request.form, knowledge)
        shown = {"chosen": chosen, "pasted": escaped(chosen.pasted), **common}
        try:
            trial, what_if = bench.trial(chosen), bench.what_if(chosen) if chosen.assumed else None
        except Refusal as refusal:
            return render_template("sandbox.html", problems=issues(refusal), **shown), refusal.status
        recorder.see(trial.answer["cards"])
        return render_template("trial.html", trial=trial, what_if=what_if, questions=questions, **shown)

    @pages.post("/sandbox/feedback")
    def send() -> Response:
        hook = by_service(request.form.get("service", ""))
        reason = next((one for one in knowledge.override_reasons if one.code == request.form.get("reason")), None)
        if hook is None or reason is None:
            raise BadRequest([Problem("the form", "a choice that is not offered", "one of the choices of the page")])
        told = orjson.dumps(feedback_request(request.form.get("card", ""), reason, now()))
        recorder.flush()
        store.keep(Origin(hook.service, g.caller.issuer, g.caller.tenant), parse_feedback(told, schemas))
        return redirect("/sandbox/feedback", 303)

    @pages.get("/sandbox/feedback")
    def counted() -> str:
        return render_template("feedback.html", report=report(store.counts(), store.listings()))
