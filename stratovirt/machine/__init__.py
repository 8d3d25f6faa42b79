"""The running machine and the boards it can be."""
