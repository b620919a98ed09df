"""The data-quality rules: a row each in `catalogue`, a function each in `delivery`, `tables`, `volume` or `content`."""
