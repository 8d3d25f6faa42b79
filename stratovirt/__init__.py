"""StratoVirt in Python: a KVM virtual machine runner whose machines are documents."""

__version__ = "0.3.0"
