"""Lake to datasets: what was delivered, Hour by Hour."""
