"""Whole populations through the same function as the web: one line a patient, whatever the engine."""
