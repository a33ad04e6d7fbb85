"""The knowledge as pages: cards and sections, options, sources, facts, the table of who says what, review packets."""

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, abort, render_template

from cds_service.edge.clock import day
from cds_service.hooks.review import cited_by, effects, in_words, lines, matrix, place
from cds_service.knowledge.coverage import coverage
from cds_service.knowledge.knowledge import Knowledge


def knowledge_pages(pages: Blueprint, knowledge: Knowledge) -> None:
    """Add them to a blueprint."""
    sections = {section.id: (card, section) for card in knowledge.cards for section in card.sections}
    counted = {row.source: row for row in coverage(knowledge)}

    @pages.get("/knowledge")
    def index() -> str:
        return render_template("knowledge.html", counted=counted)

    @pages.get("/knowledge/section/<name>")
    def section(name: str) -> str:
        card, found = _known(sections, name)
        rows = matrix(found.options, knowledge)
        return render_template("section.html", card=card, section=found, rows=rows)

    @pages.get("/knowledge/review/<name>")
    def packet(name: str) -> str:
        card, found = _known(sections, name)
        options = [(option, lines(option, knowledge), effects(option, knowledge)) for option in found.options]
        return render_template("packet.html", card=card, section=found, options=options, today=day())

    @pages.get("/knowledge/option/<name>")
    def option(name: str) -> str:
        found = _known(knowledge.options, name)
        card, section = place(name, knowledge)
        return render_template(
            "option.html",
            option=found,
            card=card,
            section=section,
            lines=lines(found, knowledge),
            row=matrix([found], knowledge)[0],
            requires=in_words(found.requires),
            removed_by=in_words(found.removed_by),
            effects=effects(found, knowledge),
        )

    @pages.get("/knowledge/source/<name>")
    def source(name: str) -> str:
        found = _known(knowledge.sources, name)
        why = {passage: reason for (held, passage), reason in knowledge.not_formalised.items() if held == name}
        watched = {one.passage for one in knowledge.effects if one.source == name}
        return render_template(
            "source.html",
            source=found,
            cited=cited_by(name, knowledge),
            why=why,
            watched=watched,
            coverage=counted[name],
            errata=[
                (option, one) for option in knowledge.options.values() for one in option.errata if one.source == name
            ],
        )

    @pages.get("/knowledge/matrix")
    def whole() -> str:
        blocks = [(card, one, matrix(one.options, knowledge)) for card in knowledge.cards for one in card.sections]
        return render_template("matrix.html", blocks=blocks)

    @pages.get("/knowledge/facts")
    def facts() -> str:
        return render_template("facts.html", facts=list(knowledge.facts.values()))


def _known(things: Mapping[str, Any], name: str) -> Any:
    if name not in things:
        abort(404)
    return things[name]
