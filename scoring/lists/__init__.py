"""From models and features to users' lists in memory: eligibility, candidates, scores, order."""
