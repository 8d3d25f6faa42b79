"""C tests of the core: one program for each room, run under sanitizers by tests/unit/test_core_c.py."""
