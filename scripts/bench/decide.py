"""How long `planespotter decide` takes for a million photos, with made-up probabilities of the installed model's types.

python -m scripts.bench.decide
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

import planespotter_models
from planespotter_client import Prior
from planespotter_client.classify import parquet, serialization
from planespotter_client.decide import redecide
from planespotter_models import Bundle

ROWS_PER_BATCH = 65_536
MEBIBYTE = 1024  # of the kibibytes in which the system counts


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.bench.decide", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--photos", type=int, default=1_000_000, help="number of photos (default: 1,000,000)")
    arguments = parser.parse_args()
    console = Console(highlight=False)
    bundle = planespotter_models.read_bundle(sorted(planespotter_models.FOLDER.glob("airliners/*"))[-1])
    with tempfile.TemporaryDirectory() as name:
        source, out = Path(name) / "results.parquet", Path(name) / "decided.parquet"
        write_results(source, bundle, arguments.photos)
        size = source.stat().st_size
        console.print(f"{arguments.photos:,} photos, {len(bundle.tree.all_leaves)} types, {size / 1e6:.0f} MB")
        prior = Prior.from_candidates(["A320", "737-800"])
        for title, target, decisions in (
            ("summary, target precision", None, redecide.Decisions(target_precision=0.9)),
            ("minimum probability, to Parquet", out, redecide.Decisions(min_probability=0.5)),
            ("prior and target precision, to Parquet", out, redecide.Decisions(target_precision=0.9, prior=prior)),
        ):
            start = time.perf_counter()
            redecide.redecide(source, target, decisions)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEBIBYTE
            console.print(f"{title}: {time.perf_counter() - start:.1f} s, {peak:.0f} MiB at most so far")


def write_results(path: Path, bundle: Bundle, photos: int) -> None:
    """Write results as `classify` does, with random probabilities: a few types of each photo are probable."""
    thresholds = bundle.calibration.thresholds
    leaves = [[name for name in leaf if name] for leaf in bundle.tree.all_leaves]
    description = {
        "model": f"{bundle.name} {bundle.version}",
        "leaves": leaves,
        "thresholds": [thresholds.constructor, thresholds.family, thresholds.model],
        "decode_rule": bundle.calibration.decode_rule.value,
    }
    schema = parquet._schema((*serialization.COLUMNS, serialization.LEAF_PROBABILITIES))
    schema = schema.with_metadata({parquet.METADATA: json.dumps(description).encode()})
    random = np.random.default_rng(0)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, photos, ROWS_PER_BATCH):
            rows = min(ROWS_PER_BATCH, photos - start)
            weights = random.gamma(0.1, size=(rows, len(leaves))) + 1e-6
            table = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float16)
            offsets = pa.array(np.arange(0, table.size + 1, len(leaves), dtype=np.int32))
            values = {
                "file": pa.array([f"archive/photo-{start + row:07}.jpg" for row in range(rows)]),
                "level": pa.array(["unknown"] * rows),
                serialization.LEAF_PROBABILITIES: pa.ListArray.from_arrays(offsets, pa.array(table.ravel())),
            }
            columns = [values.get(field.name, pa.nulls(rows, field.type)) for field in schema]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))


if __name__ == "__main__":
    main()
