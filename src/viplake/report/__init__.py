"""PURE. What the history shows: figures for people and notebooks, and one HTML file that holds them all."""
