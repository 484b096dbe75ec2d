"""Where things that can be made again are kept between runs."""

import os
from pathlib import Path


def cache_root() -> Path:
    """Returns the folder named by ISTHMUS_CACHE, or `isthmus` in the user's cache folder."""
    return Path(os.environ.get("ISTHMUS_CACHE") or Path.home() / ".cache" / "isthmus")
