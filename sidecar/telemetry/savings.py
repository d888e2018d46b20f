"""What an answer that was cut off would have taken on: an estimate, by the answers of its route that ran to their end.

Nobody can know how long the rest would have been. The mean of the latest whole answers is what an operator would
guess; an answer that had run longer than that by then saves nothing.
"""

from __future__ import annotations

from typing import Final

WEIGHT: Final = 0.05
"""How much one more answer moves the mean: about the latest twenty count."""


class Savings:
    """Means by route."""

    def __init__(self) -> None:
        self._means_s: dict[str, float] = {}

    def completed(self, route: str, seconds: float) -> None:
        """Take in an answer that ran to its end."""
        mean_s = self._means_s.get(route, seconds)
        self._means_s[route] = mean_s + WEIGHT * (seconds - mean_s)

    def rest_s(self, route: str, elapsed_s: float) -> float:
        """Estimate what an answer would have taken on; 0 where none of its route was ever whole."""
        return max(0.0, self._means_s.get(route, 0.0) - elapsed_s)
