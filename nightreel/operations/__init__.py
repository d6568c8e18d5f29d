"""The night and all that keeps it running: schedule, jobs, deliveries, status, alerts, backfill, erasure."""
