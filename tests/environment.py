"""Where the tests' PostgreSQL lives. Loaded by `-p`, before pytest-django reads the settings."""

import os
import tempfile
import uuid
from pathlib import Path

RUN = os.environ.setdefault("DRIFTGRAPH_TEST_RUN", uuid.uuid4().hex[:12])
ROOT = Path(tempfile.gettempdir()) / f"driftgraph-test-{os.getuid()}-{RUN}"
# Traversable, because PostgreSQL refuses to run as root and then runs as another account.
ROOT.mkdir(mode=0o711, exist_ok=True)

os.environ["DRIFTGRAPH_DATA_DIR"] = str(ROOT)
os.environ["DRIFTGRAPH_EMBEDDED_OPTIONS"] = "fsync=off,full_page_writes=off,synchronous_commit=off"
