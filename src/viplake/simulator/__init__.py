"""The vendor as an HTTP server with switchable faults, and a generator of lakes with a history."""
