"""How gunicorn runs the service: `gunicorn -c python:cds_service.edge.gunicorn_conf cds_service.edge.wsgi:app`.

The master loads and warms everything once and forks workers that share it. Its signals:

- HUP reads knowledge, callers and keys anew, then replaces one generation of workers by the next. Where something is
  not sound, it says what, and all stays as it is. (By itself gunicorn would keep what was preloaded, and say nothing.)
- USR2 starts another master with the program as it is installed now; TERM the old one when the new one answers. One
  that does not start leaves the old one serving.
- TERM lets calls that have begun end, for `graceful_timeout` seconds at most.

Beside `CDS_…` there are gunicorn's own variables: WEB_CONCURRENCY is the number of workers, GUNICORN_CMD_ARGS sets
anything else. A slow client holds a thread: keep a proxy in front that reads whole requests first (deploy/nginx.conf).
"""

import atexit
import logging
import os
import shutil
import tempfile
from itertools import count
from typing import Any

from cds_service.edge.cycles import settle
from cds_service.edge.metrics import FOLDER, leave_seat, take_seat
from cds_service.edge.settings import settings
from cds_service.edge.start import application, forget, give_up
from cds_service.errors import CdsError

_log = logging.getLogger("cds_service")
#: memory that is a file system: neither heartbeats nor counts wait for a disk
_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _remove(folder: str, owner: int) -> None:
    """Take the folder of counts away when the master ends; its workers, which end the same way, leave it."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


try:
    _site = settings()
except CdsError as error:
    give_up(error)

if FOLDER not in os.environ:
    os.environ[FOLDER] = tempfile.mkdtemp(prefix="cds-service-", dir=_MEMORY)
    atexit.register(_remove, os.environ[FOLDER], os.getpid())

bind = _site.bind
worker_class = "gthread"
#: more than calls may wait for FHIR servers, and than the store has connections: some are always left for cards
threads = 4
if "WEB_CONCURRENCY" not in os.environ:
    workers = 2
preload_app = True
timeout = 30
graceful_timeout = 30
keepalive = 5
max_requests = 50_000
max_requests_jitter = 5_000
limit_request_field_size = 16_380  # a token of 8 KB, and room
worker_tmp_dir = _MEMORY
control_socket_disable = True

# every line on standard error is JSON; the audit line stands for the access log, which would repeat paths and addresses
accesslog = None
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"lines": {"()": "cds_service.edge.audit.ServerLines"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "stream": "ext://sys.stderr", "formatter": "lines"}},
    "root": {"handlers": [], "level": "WARNING"},
    "loggers": {
        "gunicorn.error": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
        "gunicorn.access": {"handlers": [], "propagate": False},
    },
}


def on_reload(server: Any) -> None:
    """HUP: the workers to come get what can be read now, or what there was."""
    forget()
    try:
        server.app.callable = application()
        settle()  # once more, without what was replaced
        _log.info("read anew")
    except CdsError as error:
        _log.error("not read anew, all stays as it is: %s", "; ".join(map(str, error.problems)))
    except Exception as error:  # whatever it is, it must not stop the master
        _log.error("not read anew, all stays as it is: %s", type(error).__name__)


def pre_fork(server: Any, worker: Any) -> None:
    """Give a worker the first seat that is free."""
    taken = {one.seat for one in server.WORKERS.values()}
    worker.seat = next(number for number in count(1) if number not in taken)


def post_fork(server: Any, worker: Any) -> None:
    """In the worker: count in the files of this seat."""
    take_seat(str(worker.seat))


def child_exit(server: Any, worker: Any) -> None:
    """In the master: the worker has ended."""
    leave_seat(str(worker.seat))
