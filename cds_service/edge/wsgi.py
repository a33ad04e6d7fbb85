"""The application for a WSGI server: `gunicorn cds_service.edge.wsgi:app`.

Behind a WSGI server there is most often a proxy, whose calls all seem to come from this machine. So it does not start
without trusted callers, unless the site declares that it is open (`CDS_OPEN=true`).
"""

import gc
import logging
import sys

from flask import Flask

from cds_service.edge.audit import log_to_stderr
from cds_service.edge.safety import doors
from cds_service.edge.settings import settings
from cds_service.edge.web import create_app
from cds_service.errors import CdsError, ConfigurationError, Problem

_STOP = 3  # the exit status by which gunicorn knows that starting the worker again would not help


def _app() -> Flask:
    log_to_stderr()
    site = settings()
    if not (site.callers or site.open or site.production):  # production gives all its reasons at once
        expected = "the file of trusted callers; or, in a sandbox without patients, CDS_OPEN=true"
        raise ConfigurationError([Problem("CDS_CALLERS", "no trusted callers", expected)])
    app = create_app(site=site)
    logging.getLogger("cds_service").info(doors(site))
    return app


try:
    app = _app()
except CdsError as error:
    print("The service does not start:", *error.problems, sep="\n  ", file=sys.stderr, flush=True)
    sys.exit(_STOP)
# Knowledge and models live as long as the worker: no collection need walk them again. A request makes some ten thousand
# objects and no cycles worth looking for, so the youngest generation is collected about once a request, not every 700.
gc.collect()
gc.freeze()
gc.set_threshold(20_000, 20, 20)
