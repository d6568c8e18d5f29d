"""What an app has displayed is read as plays are: any format and names, rejects kept, deliveries merged."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nightreel.core.errors import InputError
from nightreel.core.settings import load_settings
from nightreel.operations.incoming import merge_deliveries
from pipelines.ingest import ingest
from tests.fixtures.tables import read_table
from tests.pipelines.ingest.conftest import Ingested

HEADER = "user_id,video_id,timestamp,position,run\n"


def test_raw_rows_and_deliveries_become_one_table_by_time(ingested: Ingested) -> None:
    settings = ingested.settings()
    ingested.raw.files["exposures.csv"] = (
        f"{HEADER}15,148,1593963700,2,3\n14,148,1593963600,1,3\n14,148,1593963600,1,3\n16,148,1593963800,0,3\n"
    )
    ingested.raw.write(settings.data.raw_dir)
    ingest(settings)
    assert ingested.rejects("exposures.csv") == [
        (4, "duplicate"),
        (5, 'column position: "0" is below 1'),
    ]
    incoming = settings.data.raw_dir / "incoming"
    incoming.mkdir()
    row = {"user_id": 14, "video_id": 183, "time": "2020-07-05T15:40:30Z"}
    (incoming / "exposures_0706.jsonl").write_text(json.dumps(row) + "\n")
    merge_deliveries(settings)
    ingest(settings)
    shown = ingested.table("exposures")
    assert shown["user_id", "video_id", "position", "run"].rows() == [
        (14, 148, 1, 3),
        (14, 183, None, None),
        (15, 148, 2, 3),
    ]
    assert shown["event_timestamp"][1] == datetime(2020, 7, 5, 15, 40, 30, tzinfo=UTC)
    assert shown["created_timestamp"].n_unique() == 2
    assert ingest(settings).skipped


def test_columns_are_named_in_data_or_as_in_the_plays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTREEL_HOME", str(tmp_path))
    (tmp_path / "log.csv").write_text("who,what,at\na,x,1700000000\nb,y,1700000001\n")
    (tmp_path / "shown.csv").write_text(
        "who,what,time,seen,slot,run_id\nb,x,9,2023-11-15 10:00:00Z,4,7\nnew,z,9,2023-11-15 11:00:00Z,,\n"
    )
    toml = (
        '[data]\nplays = "log.csv"\n[data.columns]\nuser = "who"\nitem = "what"\ntime = "at"\n'
        '[data.exposures]\npath = "shown.csv"\ntime = "seen"\nposition = "slot"\nrun = "run_id"\n'
    )
    (tmp_path / "nightreel.toml").write_text(toml)
    settings = load_settings()
    ingest(settings)
    shown = read_table(settings, "exposures")
    # Ids are the plays' own; what the plays do not know has a code of its own.
    assert shown["user_id", "video_id", "position", "run"].rows() == [(1, 0, 4, 7), (2, 2, None, None)]
    (tmp_path / "nightreel.toml").write_text(toml.replace('"slot"', '"rank"'))
    with pytest.raises(InputError, match="no column rank"):
        ingest(load_settings())
