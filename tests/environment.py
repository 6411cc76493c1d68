"""Where the tests' PostgreSQL lives. Loaded by `-p`, before pytest-django reads the settings.

DRIFTGRAPH_TEST_SUPERUSER_URL, the address of a superuser, makes the suite use that server instead of the embedded one.
It must be a server for tests: the passwords of the roles owner, app and auditor are set anew.
"""

import os
import tempfile
import uuid
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

RUN = os.environ.setdefault("DRIFTGRAPH_TEST_RUN", uuid.uuid4().hex[:12])
ROOT = Path(tempfile.gettempdir()) / f"driftgraph-test-{os.getuid()}-{RUN}"
# Traversable, because PostgreSQL refuses to run as root and then runs as another account.
ROOT.mkdir(mode=0o711, exist_ok=True)

os.environ["DRIFTGRAPH_DATA_DIR"] = str(ROOT)
os.environ["DRIFTGRAPH_EMBEDDED_OPTIONS"] = "fsync=off,full_page_writes=off,synchronous_commit=off"

EXTERNAL = os.environ.get("DRIFTGRAPH_TEST_SUPERUSER_URL", "")
ROLE_PASSWORD = "for-tests-only"
if EXTERNAL:
    where = urlsplit(EXTERNAL)
    for variable, role in (("DRIFTGRAPH_DATABASE_URL", "app"), ("DRIFTGRAPH_OWNER_DATABASE_URL", "owner")):
        address = f"{role}:{ROLE_PASSWORD}@{where.netloc.rpartition('@')[2]}"
        os.environ[variable] = urlunsplit(where._replace(netloc=address, path="/postgres"))
