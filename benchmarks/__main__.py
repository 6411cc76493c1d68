"""`python -m benchmarks`: import, detection and paging on one file of claims, in a database of their own.

Times are of one machine at one moment: compare within a run, and quote medians and ratios.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "latest.json"
KILOBYTES = 1024


def main() -> int:
    """Runs everything and prints a table; the same figures go to benchmarks/results/latest.json."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--claims", type=Path, help="a CSV of claim outcomes; without it a year of made-up claims")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="driftgraph-bench-") as folder:
        Path(folder).chmod(0o711)  # PostgreSQL runs as another account where we are root
        os.environ["DRIFTGRAPH_DATA_DIR"] = folder
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backend.config.settings")
        from benchmarks.measures import Measures  # noqa: PLC0415 - settings read the environment when Django starts

        figures = Measures(Path(folder), arguments.claims).all()
    figures["peak_rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KILOBYTES
    for name, value in figures.items():
        print(f"{name:32} {value:12.2f}" if isinstance(value, float) else f"{name:32} {value:>12}")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
