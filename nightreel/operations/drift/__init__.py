"""Drift: do the newest day's plays still look like those that the champion was trained on?"""

from nightreel.operations.drift.recording import record_drift
from nightreel.operations.drift.stored import newest_remarks, nights

__all__ = ["newest_remarks", "nights", "record_drift"]
