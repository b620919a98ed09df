"""The way out of the process: one set of rules for every leg, and AWS as boto3 resolves it."""
