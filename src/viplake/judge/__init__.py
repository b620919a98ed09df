"""History to judgement: rules, anomalies, coverage, objectives, incidents."""
