"""One line per call for the log: what was asked of which service by which caller, and how it ended.

Never a patient, a user, a token, a hookInstance, an address or any other value of the call.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

_log = logging.getLogger("cds_service.audit")
_BUCKETS = (10, 50, 100, 500, 1000, 5000)


def audit(*, service: str, method: str, status: int, issuer: str, refused: str, cards: int | None, ms: float) -> None:
    """Log a call. `refused` is the fixed word of a refusal; `cards` is None where none were asked for."""
    if _log.isEnabledFor(logging.INFO):
        fields = {"service": service, "method": method, "status": status, "caller": issuer, "refused": refused}
        shown = {name: value for name, value in fields.items() if value != ""}
        if cards is not None:
            shown["cards"] = cards
        _log.info("call", extra={"fields": {**shown, "took": _bucket(ms)}})


def _bucket(ms: float) -> str:
    """A duration too coarse to tell one patient's record from another's."""
    return next((f"<{edge}ms" for edge in _BUCKETS if ms < edge), f">={_BUCKETS[-1]}ms")


class JsonLines(logging.Formatter):
    """A log record as one line of JSON; texts of exceptions are left out, they may repeat a call."""

    def format(self, record: logging.LogRecord) -> str:
        """Time, level, logger and event, and the fields of an audit record."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        return json.dumps(line)


def log_to_stderr() -> None:
    """Send this package's log to the standard error stream, as lines of JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("cds_service")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
