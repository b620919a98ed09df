"""Current and history tables (Delta Lake), computed from proven Hours."""
