"""Why a video stands in a user's list, or why it does not: as of the run's own instant, by its own model."""

from scoring.explain.explain import explain
from scoring.explain.explanation import Contribution, Explanation, Nearby, NoListError, Reason
from scoring.explain.text import as_text

__all__ = ["Contribution", "Explanation", "Nearby", "NoListError", "Reason", "as_text", "explain"]
