"""The canonical document: what a machine is, as records."""
