"""Statements over facts: status, why, what is missing. Never FHIR, HTTP or files."""
