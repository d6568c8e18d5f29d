"""Attribution: each night the lists that apps read meet the plays that followed, and the figures are kept."""

from scoring.outcomes.recording import OUTCOMES, record_outcomes

__all__ = ["OUTCOMES", "record_outcomes"]
