"""`python -m benchmarks`: import, detection and paging on one file of claims, in a database of their own.

Times are of one machine at one moment: compare within a run, and quote medians and ratios.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> int:
    """The exit code of benchmarks.measures, run with a data directory that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="driftgraph-bench-") as folder:
        Path(folder).chmod(0o711)  # PostgreSQL runs as another account where we are root
        environment = {**os.environ, "DRIFTGRAPH_DATA_DIR": folder, "DJANGO_SETTINGS_MODULE": "backend.config.settings"}
        command = [sys.executable, "-m", "benchmarks.measures", *sys.argv[1:]]
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
