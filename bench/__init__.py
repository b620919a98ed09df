"""Measures viplake beside other tools; `make bench` runs it. Nothing here is part of the package."""
