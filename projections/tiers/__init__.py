"""The tiers projection: each customer's tier, its end, and all earlier tiers."""

from projections.tiers.rules import TIERS

__all__ = ["TIERS"]
