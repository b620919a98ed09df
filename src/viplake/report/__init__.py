"""PURE. Figures of the history for people and notebooks, and one HTML file with all of them."""
