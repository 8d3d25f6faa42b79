"""What serves a machine that already runs: event loop, QMP, console, signals."""
