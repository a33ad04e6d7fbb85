"""All pages in one blueprint: templates, styles, what stands around them."""

from flask import Blueprint, Flask

from cds_service.edge.pages.house import around
from cds_service.edge.pages.knowledge import knowledge_pages
from cds_service.edge.pages.sandbox import sandbox_pages
from cds_service.edge.pages.shown import finalised, json_text, markdown
from cds_service.edge.pages.trial import Bench
from cds_service.edge.recorder import Recorder
from cds_service.edge.store import Store
from cds_service.knowledge.knowledge import Knowledge


def add_pages(app: Flask, knowledge: Knowledge, bench: Bench, recorder: Recorder, store: Store) -> None:
    """Serve the pages from `app`."""
    pages = Blueprint(
        "pages", __name__, template_folder="templates", static_folder="static", static_url_path="/sandbox/static"
    )
    around(pages, app.config["MAX_CONTENT_LENGTH"])
    knowledge_pages(pages, knowledge)
    sandbox_pages(pages, knowledge, bench, recorder, store)
    app.jinja_env.finalize = finalised
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(markdown=markdown, json_text=json_text)
    app.jinja_env.globals["knowledge"] = knowledge
    app.register_blueprint(pages)
