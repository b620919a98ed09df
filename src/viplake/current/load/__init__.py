"""Loading the current tables into a database."""
