"""Which source text the world is made by: what another text made is not mixed with it."""

from pathlib import Path

from isthmus import microworld
from isthmus.config import digest_of
from isthmus.geometry import boxes


def world_digest() -> str:
    """Returns the digest of all that decides a scene, its picture and its questions."""
    world = Path(microworld.__path__[0])
    files = [*world.glob("*.py"), *(world / "tasks").glob("*.py"), Path(boxes.__file__)]
    return digest_of([path.read_text("utf-8") for path in sorted(files)])
