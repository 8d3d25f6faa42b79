"""Machines for tests: Debian packages, guest images, and a nested KVM where the host has no VT-x or AMD-V.

Runs on a bare Debian with the standard library of Python 3.11 only, because it prepares machines.
"""
