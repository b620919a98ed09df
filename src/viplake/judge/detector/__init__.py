"""PURE. What is usual of a volume, and how far off an Hour is."""
