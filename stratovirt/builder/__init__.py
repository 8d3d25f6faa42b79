"""Document to machine, top to bottom."""
