"""What the tests by made-up input share."""

from datetime import UTC, datetime

from hypothesis import HealthCheck, settings

BASE = datetime(2020, 7, 5, tzinfo=UTC)
QUICK = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
