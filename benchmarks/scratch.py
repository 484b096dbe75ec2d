"""A cache that a benchmark starts empty, so that nothing an earlier run left makes it faster."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

VARIABLE = "ISTHMUS_CACHE"


@contextmanager
def scratch_cache() -> Iterator[Path]:
    """Keeps data and features in a temporary folder, and the user's cache as it is."""
    before = os.environ.get(VARIABLE)
    with tempfile.TemporaryDirectory() as folder:
        os.environ[VARIABLE] = folder
        try:
            yield Path(folder)
        finally:
            if before is None:
                del os.environ[VARIABLE]
            else:
                os.environ[VARIABLE] = before
