"""One line per call for the log: what was asked of which service by which caller, and how it ended.

Never a patient, a user, a token, a hookInstance, an address or any other value of the call. The request id, which joins
the lines of one call, is a number that means nothing: see guard.py.
"""

import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson
from flask import g, has_request_context

_log = logging.getLogger("cds_service.audit")
_BUCKETS = (10, 50, 100, 500, 1000, 5000)
#: what gunicorn says of itself; its other messages may repeat a request line, a header or an address
_OF_ITSELF = re.compile(
    r"Starting gunicorn|Listening at|Using worker|Booting worker|Worker |WORKER TIMEOUT|Autorestarting|Parent changed"
    r"|Handling signal|Hang up|Shutting down|Reason|Quick shutdown|USR2|Master has been|Connection in use|Retrying"
    r"|Invalid address|Can't connect"
)
_OF_REQUESTS = re.compile(r"Invalid request|Error handling request|Socket error processing request")


class Done(NamedTuple):
    """How a call ended. Every word but `caller`, the issuer that a token proves, is of a closed set: `route` is `call`,
    `feedback`, `discovery`, `openapi`, `probe` or `other`; `refused` is the fixed word of a refusal; `cards` is None
    where none were asked for.
    """

    route: str
    service: str
    method: str
    status: int
    caller: str
    refused: str
    cards: int | None
    seconds: float


def audit(done: Done) -> None:
    """Log a call; a probe, which comes every few seconds, at DEBUG only."""
    level = logging.DEBUG if done.route == "probe" else logging.INFO
    if _log.isEnabledFor(level):
        fields = {
            "service": done.service,
            "method": done.method,
            "status": done.status,
            "caller": done.caller,
            "refused": done.refused,
        }
        shown = {name: value for name, value in fields.items() if value != ""}
        if done.cards is not None:
            shown["cards"] = done.cards
        shown["took"] = _bucket(done.seconds * 1000)
        # as `log` does it, but for a search of the line that called it
        _log.handle(_log.makeRecord(_log.name, level, "", 0, "call", (), None, extra={"fields": shown}))


def _bucket(ms: float) -> str:
    """A duration too coarse to tell one patient's record from another's."""
    return next((f"<{edge}ms" for edge in _BUCKETS if ms < edge), f">={_BUCKETS[-1]}ms")


class JsonLines(logging.Formatter):
    """A log record as one line of JSON; of an exception its type alone, for its text may repeat a call."""

    def format(self, record: logging.LogRecord) -> str:
        """Time, level, logger and event, the id of the request, and the fields of an audit record."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": self.event(record),
        }
        if has_request_context() and "request_id" in g:
            line["request"] = g.request_id
        if record.exc_info and record.exc_info[0]:
            line["exception"] = record.exc_info[0].__name__
        return orjson.dumps({**line, **getattr(record, "fields", {})}).decode()

    def event(self, record: logging.LogRecord) -> str:
        """What happened, in words."""
        return record.getMessage()


class ServerLines(JsonLines):
    """The same for gunicorn's log, without what it repeats of requests."""

    def event(self, record: logging.LogRecord) -> str:
        """What gunicorn says of itself; of a request, the kind of trouble alone."""
        said = record.getMessage()
        if _OF_ITSELF.match(said):
            return said
        kind = _OF_REQUESTS.match(said)
        return kind.group().lower() if kind else "something about a request, which is not repeated here"


def log_to_stderr() -> None:
    """Send this package's log to the standard error stream, as lines of JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("cds_service")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
