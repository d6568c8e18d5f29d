"""Joins ROWS rows in FOLDER on the Ray cluster at ADDRESS, and prints this process's peak memory in MB."""

import re
import sys
from pathlib import Path

import ray

from asof_fixtures.many_rows import views_of
from asof_fixtures.small_feature_repo import open_store, references_to


def _join(folder: str, rows: str) -> None:
    views = views_of(13)
    job = open_store(Path(folder) / "repo", views).get_historical_features(
        entity_df=f"{folder}/entities-{rows}.parquet", features=references_to(views)
    )
    job.to_ray_dataset().write_parquet(f"{folder}/joined-{rows}")


if __name__ == "__main__":
    ray.init(address=sys.argv[1], log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    _join(sys.argv[2], sys.argv[3])
    status = Path("/proc/self/status").read_text()  # rusage would count what the parent had at its fork
    print(int(re.search(r"VmHWM:\s+(\d+)", status)[1]) // 1024)  # type: ignore[index]
