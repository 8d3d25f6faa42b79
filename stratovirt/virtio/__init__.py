"""Virtio beyond the data path: what Python decides about transports."""
