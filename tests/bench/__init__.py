"""Promises, measured: this program beside QEMU's microvm in the same run, pair by pair."""
