"""Pictures that a user names: a path, or an address on the web."""

from io import BytesIO
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from PIL import Image

WEB = ("http://", "https://")
LARGEST = 64 << 20
"""Bytes read from the web at most; a picture for a vision encoder is far smaller."""
PATIENCE = 30.0
"""Seconds without an answer after which an address is given up."""


def open_image(source: str) -> Image.Image:
    """Returns a picture, read to its end.

    Args:
        source: path of a file, or an http(s) address.

    Raises:
        ValueError: there is no such picture, or it cannot be read.
    """
    is_web = source.lower().startswith(WEB)
    try:
        image = Image.open(BytesIO(_download(source)) if is_web else Path(source).expanduser())
        image.load()
    except URLError as error:
        raise ValueError(f"the picture {source} cannot be fetched: {error.reason}") from error
    except FileNotFoundError as error:
        raise ValueError(f"the picture {source} does not exist") from error
    except (OSError, Image.DecompressionBombError) as error:
        raise ValueError(f"the picture {source} cannot be read: {error}") from error
    return image


def _download(address: str) -> bytes:
    # Some servers refuse the name that urllib goes by.
    request = Request(address, headers={"User-Agent": "isthmus"})
    try:
        with urlopen(request, timeout=PATIENCE) as answer:
            content = answer.read(LARGEST + 1)
    except HTTPError as error:
        error.close()  # it holds the connection
        raise
    if len(content) > LARGEST:
        raise ValueError(f"the picture {address} is larger than {LARGEST >> 20} MiB; shrink it")
    return content
