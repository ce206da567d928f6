"""No test sees the user's cache, nor what an earlier run of the tests put into it."""

from __future__ import annotations

import os
import tempfile

_FOLDER = tempfile.TemporaryDirectory(prefix="graphflow-tests-")  # goes at the end of the process
os.environ["GRAPHFLOW_CACHE"] = _FOLDER.name
