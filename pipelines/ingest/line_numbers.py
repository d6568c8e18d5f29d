"""The line of each row in its file."""

import numpy as np
import polars as pl

from pipelines.ingest.csv_inspection import Header
from pipelines.ingest.quotes import spans_of
from pipelines.ingest.reject_columns import LINE

NO_SPANS = pl.DataFrame(schema={LINE: pl.Int64(), "breaks": pl.Int64()})


class LineNumbers:
    """Assigns each row its line in the file, counting skipped rows and line breaks within quotes."""

    def __init__(self, header: Header) -> None:
        self._has_breaks = header.has_quotes and not header.text.by_record
        self.delimiter = header.delimiter
        self.spans = NO_SPANS
        self._breaks: list[tuple[int, int]] = []  # record number, line breaks within it
        self._lines_before = header.lines_before
        # The number of the next record. Where reading begins at the top, the header is record 1.
        self.next = 2 if header.skips_line else 1
        self.last = max(header.lines_before, 1)  # the last line given

    def given(self, rows: pl.DataFrame, skipped: list[tuple[int, int]]) -> pl.DataFrame:
        """The rows with their line numbers.

        Args:
            skipped: record number and line breaks of each record left out, among these rows or later ones.
        """
        numbers = pl.Series(LINE, np.arange(self.next, self.next + rows.height + len(skipped)))
        if skipped:
            numbers = numbers.filter(~numbers.is_in([number for number, _ in skipped])).head(rows.height)
        self.spans = NO_SPANS
        if not rows.height:
            return rows.with_columns(numbers)
        self.next = int(numbers[-1]) + 1
        lines = numbers + self._lines_before + sum(count for _, count in self._breaks)
        if self._has_breaks:
            within = pl.sum_horizontal(pl.all().str.count_matches("\n", literal=True).fill_null(0))
            breaks = rows.select(within.cast(pl.Int64).alias("breaks"))["breaks"]
            lines = lines + breaks.cum_sum() - breaks
            for number, count in skipped:
                if count:
                    lines = lines + (numbers > number).cast(pl.Int64) * count
            many = breaks > 0
            self._breaks += zip(numbers.filter(many).to_list(), breaks.filter(many).to_list(), strict=True)
            self.spans = spans_of(lines.filter(many), breaks.filter(many))
        self.skip([one for one in skipped if one[0] < self.next])
        self.last = int(lines[-1])
        return rows.with_columns(lines.alias(LINE))

    def skip(self, records: list[tuple[int, int]]) -> None:
        """Count the line breaks within records that were left out."""
        self._breaks += [(number, count) for number, count in records if count]

    def line_of(self, number: int) -> int:
        """The line on which an earlier record begins."""
        return number + self._lines_before + sum(count for record, count in self._breaks if record < number)
