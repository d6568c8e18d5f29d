"""What the daily records say of each video, kept without repeats: most records say what the one before said.

So a night reads the records of its new days alone, and compares them with the last ones that are kept.
"""

import polars as pl

from nightreel.core import columns
from nightreel.core.artefacts import atomic_write, fingerprint
from nightreel.core.play_days import digests_of_days, files_by_day, in_parts, read_days, scan_days
from nightreel.core.settings.needs import FeatureNeeds
from pipelines.features.profiles import DESCRIPTION, without_repeats
from pipelines.features.recorded_days import only_later_days, recorded_days, write_record

_FILE = "descriptions.parquet"
_IS_KEPT = "is kept"


def kept_descriptions(settings: FeatureNeeds, *, force: bool) -> pl.DataFrame:
    """The records that differ from the video's record before: video_id, date, DESCRIPTION; sorted.

    They are kept for the next night. If an earlier day has changed since, all days are read.
    """
    table, folder = (
        settings.paths.video_daily,
        settings.paths.state / "values_of_days" / columns.VIDEO_PROFILE,
    )
    # Tables of small logs may have no tag.
    stored = scan_days(table).collect_schema()
    names = [columns.VIDEO_ID, columns.LOCAL_DATE, *(name for name in DESCRIPTION if name in stored)]
    files, digests = files_by_day(table), digests_of_days(table)
    decisive = fingerprint(names=names)
    known = {} if force else recorded_days(folder, decisive, [folder / _FILE])
    goes_on = only_later_days(known, digests)
    new = [path for day, path in files.items() if not goes_on or day not in known]
    found = pl.read_parquet(folder / _FILE) if goes_on else scan_days(table).select(names).head(0).collect()
    for part in in_parts(new) if new else ():
        rows = pl.concat(
            [
                found.unique(columns.VIDEO_ID, keep="last", maintain_order=True).with_columns(
                    pl.lit(value=True).alias(_IS_KEPT)
                ),
                read_days(part, names).with_columns(pl.lit(value=False).alias(_IS_KEPT)),
            ]
        ).sort(columns.VIDEO_ID, columns.LOCAL_DATE)
        other = without_repeats(rows, names[2:]).filter(~pl.col(_IS_KEPT)).drop(_IS_KEPT)
        found = pl.concat([found, other]).sort(columns.VIDEO_ID, columns.LOCAL_DATE)
    if new:
        with atomic_write(folder, checksum=True) as temporary:
            temporary.mkdir()
            found.write_parquet(temporary / _FILE)
            write_record(temporary, decisive, digests)
    return found
