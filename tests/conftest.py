"""For all tests: a workspace of their own, no telemetry, and no time limit on a property's example (the cores may be busy)."""

import atexit
import os
import tempfile

from hypothesis import settings

from flows.settings import Settings

settings.register_profile("seqline", deadline=None)
settings.load_profile("seqline")

workspace = tempfile.TemporaryDirectory(prefix="seqline-tests-", ignore_cleanup_errors=True)
atexit.register(workspace.cleanup)
os.environ["SEQLINE_HOME"] = workspace.name
os.environ.setdefault("OMP_NUM_THREADS", "1")  # workers share the cores: threads would wait for threads
Settings().apply()
