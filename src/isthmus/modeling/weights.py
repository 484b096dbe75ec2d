"""Weight files that cannot be read, as one clear error."""

from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike

from safetensors import SafetensorError


@contextmanager
def readable_weights(source: str | PathLike[str]) -> Iterator[None]:
    """Turns the error of a damaged or absent weight file into one that names its folder.

    Args:
        source: folder or hub id that is loaded.

    Raises:
        ValueError: a weight file is damaged, or there is none.
    """
    try:
        yield
    except SafetensorError as error:
        raise ValueError(
            f"the weights in {source} are damaged ({error}); copy or download the whole folder "
            "again"
        ) from error
    except OSError as error:
        raise ValueError(
            f"{source} holds no weights that can be loaded ({error}); save the model there with "
            "save_pretrained, or name another folder or hub id"
        ) from error
