"""Columns of rejects: a row's line in its file, its text, and why it was rejected."""

import polars as pl

LINE, RAW, REASON = "line", "raw", "reason"
REJECT_SCHEMA: dict[str, pl.DataType] = {LINE: pl.Int64(), REASON: pl.String(), RAW: pl.String()}
