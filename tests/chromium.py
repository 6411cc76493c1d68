"""Debian's Chromium, which the tests of pages drive, and where it is not there."""

import os
from pathlib import Path

import pytest

CHROMIUM = "/usr/bin/chromium"
# The second half keeps Chromium from calling home, which would be a request to another host.
CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
IN_CHROMIUM = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not Path(CHROMIUM).exists() and not os.environ.get("CI"),
        reason="no Chromium: apt-get install chromium",
    ),
]
