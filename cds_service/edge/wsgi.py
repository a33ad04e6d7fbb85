"""The application for a WSGI server: `gunicorn -c python:cds_service.edge.gunicorn_conf cds_service.edge.wsgi:app`."""

from cds_service.edge.start import application, give_up
from cds_service.errors import CdsError

try:
    app = application()
except CdsError as error:
    give_up(error)
