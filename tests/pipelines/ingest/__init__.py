"""Promises of ingest, a file each."""
