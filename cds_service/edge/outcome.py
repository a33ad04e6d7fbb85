"""A refusal as a FHIR OperationOutcome: what, where and what to do, never a value of the call."""

from typing import Any

from cds_service.errors import Refusal


def outcome(refusal: Refusal) -> dict[str, Any]:
    """The OperationOutcome of a refusal, one issue for each problem (http://hl7.org/fhir/R4/operationoutcome.html)."""
    return {
        "resourceType": "OperationOutcome",
        "issue": [
            {
                "severity": "error",
                "code": refusal.issue,
                "diagnostics": f"{problem.where}: found {problem.found}; expected {problem.expected}.",
                **({"expression": [problem.where]} if problem.where.startswith("$") else {}),
            }
            for problem in refusal.problems
        ],
    }
