"""Boot protocols and tables of x86_64."""
