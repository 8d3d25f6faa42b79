"""Fuzz targets of the core; `make fuzz` runs them."""
