"""What the service refuses, and the HTTP status of each refusal. No message ever holds patient data.

CdsError
├── KnowledgeError        the reviewed files are not sound: the service does not start
├── ConfigurationError    what the site set is not sound, or not safe: the service does not start
└── Refusal               a call that gets no cards but an OperationOutcome
    ├── BadRequest        400  not JSON, or not the shape CDS Hooks asks for
    ├── Unauthenticated   401  no token of a known caller; why is for the log only
    ├── Forbidden         403  known, but not allowed
    ├── UnknownService    404  no such service
    ├── MissingData       412  what is needed is neither in prefetch nor to be had
    ├── TooLarge          413  more than this service reads in one call
    ├── NotJson           415  another media type than JSON
    └── Unavailable       503  something this service needs is down for the moment
"""

from dataclasses import dataclass

_TOKEN = "a JSON Web Token of a caller this service knows (CDS Hooks 2.0, 'Trusting CDS Clients')"


@dataclass(frozen=True)
class Problem:
    """One fault: where it stands, what was found there, what was expected.

    `where` is a file and path (knowledge) or a JSON path (calls); `found` never repeats values of a call.
    """

    where: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.where}: found {self.found}; expected {self.expected}"


class CdsError(Exception):
    """The root of all errors that this package raises on purpose."""

    def __init__(self, problems: list[Problem]):
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class KnowledgeError(CdsError):
    """The knowledge files are not sound. Carries every problem of every file."""


class ConfigurationError(CdsError):
    """What the site set is not sound, or not safe. Carries every problem; no value of a setting."""


class Refusal(CdsError):
    """A call that cannot be answered; `status` is its HTTP status, `issue` the OperationOutcome issue code.

    Issue codes are those of http://hl7.org/fhir/R4/valueset-issue-type.html.
    """

    status = 400
    issue = "invalid"


class BadRequest(Refusal):
    """The body is not JSON, or not a request of CDS Hooks 2.0."""


class Unauthenticated(Refusal):
    """No token of a known caller. The answer is the same for every reason; `reason` is a fixed word for the log."""

    status, issue = 401, "login"

    def __init__(self, reason: str):
        super().__init__([Problem("the header Authorization", "no token that is accepted here", _TOKEN)])
        self.reason = reason


class Forbidden(Refusal):
    """Who calls is known (or needs not be), but may not. `reason` is a fixed word for the log."""

    status, issue = 403, "forbidden"

    def __init__(self, problems: list[Problem], reason: str):
        super().__init__(problems)
        self.reason = reason


class UnknownService(Refusal):
    """No service of this id is advertised by discovery."""

    status, issue = 404, "not-found"


class MissingData(Refusal):
    """Needed FHIR data is neither prefetched nor reachable: 412, as CDS Hooks 2.0 'Prefetch Template' demands."""

    status, issue = 412, "required"


class TooLarge(Refusal):
    """More bytes or resources than the service reads in one call."""

    status, issue = 413, "too-long"


class NotJson(Refusal):
    """The body is declared as something other than JSON."""

    status, issue = 415, "not-supported"


class Unavailable(Refusal):
    """The store cannot be reached, or is not at the schema of this version. Nothing was acknowledged: try again."""

    status, issue = 503, "transient"
