"""The leaky bucket that keeps a client from taking the main thread for itself (guidebook, 3.7)."""

from __future__ import annotations

CAPACITY = 100.0  # requests that may come at once
DRAIN = 100.0  # requests each second
REFUSAL = "More than 100 requests received during 1 second"


class Bucket:
    """One client's bucket. A refused request does not fill it further."""

    def __init__(self) -> None:
        self._level = 0.0
        self._at = 0.0

    def take(self, now: float) -> bool:
        """Count a request at a time in seconds; False when it is one too many."""
        self._level = max(self._level - (now - self._at) * DRAIN, 0.0)
        self._at = now
        if self._level > CAPACITY:
            return False
        self._level += 1
        return True
