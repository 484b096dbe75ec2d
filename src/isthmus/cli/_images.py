"""Pictures that a user names: a path, or an address on the web."""

from http.client import HTTPException
from io import BytesIO
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

from PIL import Image

from isthmus.data.images import opened

WEB = ("http://", "https://")
LARGEST = 64 << 20
"""Bytes read from the web at most; a picture for a vision encoder is far smaller."""
PATIENCE = 30.0
"""Seconds without an answer after which an address is given up."""

_KEPT = "%/:=&?~#+!$,;'@()*[]"
"""Signs that have a meaning in an address, which quoting them would take away."""


def open_image(source: str) -> Image.Image:
    """Returns a picture, read to its end.

    Args:
        source: path of a file, or an http(s) address.

    Raises:
        ValueError: there is no such picture, or it cannot be read.
    """
    content: BytesIO | Path
    if source.lower().startswith(WEB):
        content = BytesIO(_download(source))
    else:
        content = Path(source).expanduser()
        if not content.exists():
            raise ValueError(f"the picture {source} does not exist")
    with opened(content, f"the picture {source}") as image:
        return image.copy()


def _download(address: str) -> bytes:
    try:
        # Some servers refuse the name that urllib goes by.
        request = Request(_quoted(address), headers={"User-Agent": "isthmus"})
        with urlopen(request, timeout=PATIENCE) as answer:
            content = answer.read(LARGEST + 1)
    except (OSError, HTTPException, ValueError) as error:
        if isinstance(error, HTTPError):
            error.close()  # it holds the connection
        reason = error.reason if isinstance(error, URLError) else error
        raise ValueError(f"the picture {address} cannot be fetched: {reason}") from error
    if len(content) > LARGEST:
        raise ValueError(f"the picture {address} is larger than {LARGEST >> 20} MiB; shrink it")
    return content


def _quoted(address: str) -> str:
    """Returns an address that may hold spaces and any letters, as one that a server takes."""
    parts = urlsplit(address)
    path, query = (quote(part, safe=_KEPT) for part in (parts.path, parts.query))
    return parts._replace(path=path, query=query).geturl()
