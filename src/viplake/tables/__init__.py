"""An Hour's table files as relations."""
