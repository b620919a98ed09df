"""Evaluates the history: rules, anomalies, coverage, objectives, incidents."""
