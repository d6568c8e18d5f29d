"""Why a video is or is not in a user's list, as of the run's instant and by the run's model."""

from scoring.explain.explain import explain
from scoring.explain.explanation import Contribution, Explanation, Nearby, NoListError, Reason
from scoring.explain.text import as_text

__all__ = ["Contribution", "Explanation", "Nearby", "NoListError", "Reason", "as_text", "explain"]
