"""The vendor: the port that the run uses, and the HTTP that clients of it share."""
