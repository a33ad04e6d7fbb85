"""The reviewed files, read strictly, checked against schemas and each other, all problems at once. Never a patient."""
