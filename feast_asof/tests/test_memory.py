"""How much memory a join takes beside its result, in a process of its own."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asof_fixtures.installed import with_fixtures
from asof_fixtures.small_feature_repo import View, open_store, references_to, rows_of

LARGE, SMALL, ASKED = 500_000, 10, 100_000
VALUE_BYTES = 8
FEW, MANY = 4, 64
TIME = np.datetime64("2026-01-01", "us")
JOIN = """
import sys
import asof_fixtures.unchecked
from pathlib import Path
from feast import FeatureStore, RepoConfig

def memory_kib(what):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what))

folder, *references = sys.argv[1:]
store = FeatureStore(config=RepoConfig(
    project="small", provider="local", registry=f"{folder}/feast_asof_AsOfOfflineStore/registry.db",
    online_store=None, offline_store={"type": "feast_asof.AsOfOfflineStore"},
    entity_key_serialization_version=3, repo_path=Path(folder),
))
before = memory_kib("VmRSS")
table = store.get_historical_features(entity_df=f"{folder}/asked.parquet", features=references).to_arrow()
taken = (memory_kib("VmHWM") - before) * 1024
print(taken, table.num_rows, sum(len(c) - c.null_count for c in table.columns))
"""


def _source(path: Path, name: str, rows: int, features: int) -> View:
    names = [f"{name}_{number}" for number in range(features)]
    random = np.random.default_rng(1)
    times = pa.array(np.full(rows, TIME)).cast(pa.timestamp("us", "UTC"))
    columns = {"user": np.arange(rows), "event_timestamp": times}
    columns |= {feature: random.random(rows) for feature in names}
    pq.write_table(pa.table(columns), path, use_dictionary=False, compression="none")
    return View(name, ["user"], names, rows_of("user event_timestamp"), ttl=timedelta())


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_a_large_source_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    """Beside the result there are an index and a few columns at a time, not a half of the source."""
    small = _source(tmp_path / "small.parquet", "small", SMALL, FEW)
    large = _source(tmp_path / "large.parquet", "large", LARGE, MANY)
    asked = {"user": np.arange(ASKED) % SMALL, "event_timestamp": np.full(ASKED, TIME)}
    pq.write_table(pa.table(asked), tmp_path / "asked.parquet")
    open_store(tmp_path, [small, large])
    command = [sys.executable, "-c", JOIN, str(tmp_path), *references_to([small, large])]
    done = subprocess.run(command, env=with_fixtures(), capture_output=True, text=True, check=True)
    peak, rows, values = map(int, done.stdout.split()[-3:])
    assert rows == ASKED
    assert values == ASKED * (2 + MANY + FEW)
    result = ASKED * VALUE_BYTES * (2 + MANY + FEW)
    source = LARGE * VALUE_BYTES * (2 + MANY)
    assert peak < result + source / 2
