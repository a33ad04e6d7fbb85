"""From the environment to an application that has been warmed up, for servers of several processes."""

import ctypes
import gc
import logging
import sys
from contextlib import suppress
from functools import _lru_cache_wrapper
from itertools import product
from typing import NoReturn
from uuid import uuid4

import orjson
from flask import Flask

from cds_service.edge.audit import log_to_stderr
from cds_service.edge.clock import today
from cds_service.edge.cycles import settle
from cds_service.edge.invented import invented
from cds_service.edge.safety import doors
from cds_service.edge.settings import settings
from cds_service.edge.watch import Watch
from cds_service.edge.web import create_app
from cds_service.errors import CdsError, ConfigurationError, Problem
from cds_service.hooks.catalogue import HOOKS, Answers
from cds_service.hooks.request import parse
from cds_service.hooks.respond import Responder
from cds_service.hooks.try_out import hook_request
from cds_service.knowledge.load import home
from cds_service.patient.draft import prefetch
from cds_service.synthetic.record import record

_log = logging.getLogger("cds_service")
#: the exit status by which gunicorn knows that starting the worker again would not help
STOP = 3
#: invented patients that are answered for before the first real one
_REHEARSED = 8
#: mallopt(3), from malloc.h of glibc
_M_ARENA_MAX = -8


def application() -> Flask:
    """The application as the environment says. Raises CdsError with every reason why it does not start.

    Behind a WSGI server there is most often a proxy, whose calls all seem to come from this machine. So it does not
    start without trusted callers, unless the site declares that it is open (`CDS_OPEN=true`).
    """
    share_one_heap()
    log_to_stderr()
    site = settings()
    if not (site.callers or site.open or site.production):  # production gives all its reasons at once
        expected = "the file of trusted callers; or, in a sandbox without patients, CDS_OPEN=true"
        raise ConfigurationError([Problem("CDS_CALLERS", "no trusted callers", expected)])
    app = create_app(site=site)
    rehearse(app)
    settle()
    _log.info(doors(site))
    return app


def rehearse(app: Flask) -> None:
    """Answer calls on an invented patient, one of each kind, so that the first patient finds everything at hand.

    Nothing of it is counted, logged or stored.
    """
    responder: Responder = app.extensions["responder"]
    told = invented(responder.knowledge)
    hooks = [next(hook for hook in HOOKS if hook.answers is answers) for answers in Answers]
    drug = next(iter(responder.knowledge.drugs.values()))
    for story, hook in product(told.stories[:_REHEARSED], hooks):
        resources = record(story, told.vocabulary)
        patient = next(one["id"] for one in resources if one["resourceType"] == "Patient")
        sent = hook_request(hook, str(uuid4()), patient, prefetch(resources, patient, responder.needs), drug)
        call = parse(orjson.dumps(sent), hook, home()[1], today())
        orjson.dumps(responder.respond(call))
    watch: Watch = app.extensions["watch"]
    watch.begin_counting()


def share_one_heap() -> None:
    """Have all threads allocate from one heap, where the C library is glibc: with one for each, as it does by itself, a
    worker holds on to several times what its largest calls needed. Before the first thread is started.
    """
    with suppress(OSError, AttributeError, TypeError):  # another C library, or Windows
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def forget() -> None:
    """Empty the caches of all functions: some remember, beside a text, the knowledge that is about to be replaced."""
    gc.unfreeze()
    for one in gc.get_objects():
        if isinstance(one, _lru_cache_wrapper):
            one.cache_clear()


def give_up(error: CdsError) -> NoReturn:
    """Say every reason why the service does not start, and stop."""
    print("The service does not start:", *error.problems, sep="\n  ", file=sys.stderr, flush=True)
    sys.exit(STOP)
