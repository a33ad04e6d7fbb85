"""The application for a WSGI server: `gunicorn cds_service.edge.wsgi:app`."""

import gc

from cds_service.edge.web import create_app

app = create_app()
# Knowledge and models live as long as the worker: no collection need walk them again. A request makes some ten thousand
# objects and no cycles worth looking for, so the youngest generation is collected about once a request, not every 700.
gc.collect()
gc.freeze()
gc.set_threshold(20_000, 20, 20)
