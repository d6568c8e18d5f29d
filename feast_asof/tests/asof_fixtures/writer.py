"""Adds the rows FIRST up to LAST to a source of REPOSITORY one by one, and prints each when it is written."""

import sys
from pathlib import Path

if __name__ == "__main__":
    import asof_fixtures.unchecked  # noqa: F401  # isort: skip

import pandas as pd
from feast import FeatureStore, RepoConfig

from asof_fixtures.small_feature_repo import ASOF, home_of, rows_of


def row(user: int) -> pd.DataFrame:
    """One row to be added."""
    return rows_of("user event_timestamp score", (user, "2020-07-06", float(user)))


def _write(first: int, last: int, folder: Path) -> None:
    store = FeatureStore(
        config=RepoConfig(
            project="small",
            provider="local",
            registry=str(home_of(folder, ASOF) / "registry.db"),
            offline_store={"type": ASOF},
            entity_key_serialization_version=3,
            repo_path=folder,
        )
    )
    for user in range(first, last):
        store.write_to_offline_store("stats", row(user))
        print(user, flush=True)


if __name__ == "__main__":
    _write(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
