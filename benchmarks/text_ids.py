"""What do text ids cost: seconds and peak memory of 10 million UUIDs, on the first night and a later one?

`first`: every id is new, and the file is written. `later`: it is read, every id is looked up, one in a
hundred is new, and it is written again. `outward`: every code is turned back into its id, as for publishing.
Each in a process of its own; memory is the peak of the whole process, with imports and the drawing of ids.

    python benchmarks/text_ids.py
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measured_process import machine, run_measured
from nightreel.core.ids import Ids
from pipelines.ingest.id_codes import Codes

RESULT = Path(__file__).parent / "results" / "text_ids.json"
BATCH = 100_000  # about as many rows as ingest reads at a time
TIMEOUT_S = 600


def uuids(count: int, seed: int = 5) -> Iterator[pl.Series]:
    """UUIDs as text, 36 characters, in batches; all different."""
    for start in range(0, count, BATCH):
        rows = min(BATCH, count - start)
        random = np.random.default_rng([seed, start])
        digits = random.integers(0, 2**63, rows, dtype=np.int64)
        d = pl.Series(digits)
        groups = [
            (d // 7**k % 10**w).cast(pl.String).str.zfill(w) for k, w in ((0, 4), (1, 3), (2, 3), (0, 12))
        ]
        numbers = pl.Series(np.arange(start, start + rows)).cast(pl.String).str.zfill(8)
        yield pl.select(pl.format("{}-{}-4{}-8{}-{}", numbers, *groups).alias("id"))["id"]


def run(case: str, count: int, file: Path) -> dict[str, float]:
    """One case in this process: its seconds without the drawing of ids."""
    spent = 0.0
    started = time.perf_counter()
    if case == "outward":
        ids = Ids("user", file, is_text=True)
        for start in range(0, count, BATCH):
            assert len(ids.outward(np.arange(start, min(start + BATCH, count)))) > 0
        return {"seconds": time.perf_counter() - started}
    codes = Codes() if case == "first" else Codes.read(file)
    spent += time.perf_counter() - started
    for batch in uuids(count if case == "first" else count + count // 100):
        started = time.perf_counter()
        codes.codes(batch)
        spent += time.perf_counter() - started
    started = time.perf_counter()
    codes.write(file)
    return {"seconds": spent + time.perf_counter() - started}


def main() -> None:
    """Run each case in a process of its own, print, write the result file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ids", type=int, default=10_000_000)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=RESULT, help="where the figures are written")
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(run(arguments.case, arguments.ids, arguments.file)))
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "user.parquet"
        for case in ("first", "later", "outward"):
            command = [
                sys.executable,
                __file__,
                "--case",
                case,
                "--file",
                str(file),
                "--ids",
                str(arguments.ids),
            ]
            done = run_measured(command, timeout_s=TIMEOUT_S)
            if done.output is None:
                raise SystemExit(f"{case}: {done.error}")
            seconds = json.loads(done.output.splitlines()[-1])["seconds"]
            rows.append(
                {
                    "case": case,
                    "ids": arguments.ids,
                    "seconds": round(seconds, 1),
                    "process_cpu_seconds": round(done.cpu_seconds, 1),
                    "peak_mib": done.peak_bytes >> 20,
                    "file_mib": file.stat().st_size >> 20,
                }
            )
            print(rows[-1], flush=True)
    arguments.out.parent.mkdir(exist_ok=True)
    arguments.out.write_text(
        json.dumps({"machine": machine("polars", "pyarrow"), "results": rows}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
