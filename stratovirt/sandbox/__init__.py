"""What threads give up: one room for system calls and capabilities (docs/sandbox.md)."""
