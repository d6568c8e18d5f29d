"""Erasure: everything that a home holds of one user is removed, and a record kept that does not name them."""

from nightreel.operations.forgetting.forget import forget

__all__ = ["forget"]
