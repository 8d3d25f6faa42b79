"""The legacy command line: flags to document, and back."""
