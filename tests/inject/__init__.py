"""Starts machines in which one system call fails, and looks at what is told and what is left behind."""
