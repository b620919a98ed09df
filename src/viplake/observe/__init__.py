"""Lake to history: what was delivered, Hour by Hour."""
