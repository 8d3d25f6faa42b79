"""What is particular to x86_64: CPU set-up, interrupt controllers, the board's ports, boot registers."""
