"""Data checks: the records in an Hour's table files, against the schema."""
