"""Which users count as cold: the same in the evaluation and in the scorecard."""

COLD_PLAYS = 20
"""A user with fewer plays is cold: with so few, taste adds little to popularity."""
