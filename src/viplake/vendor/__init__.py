"""The vendor's API: a port, HTTP, and what download links may be."""
