"""A console that prints what it is given: names, paths and answers hold brackets and colons too."""

from rich.console import Console


def plain(*, stderr: bool = False) -> Console:
    """Returns a console without markup, colours of its own, and broken lines.

    Lines are never cut, so that they can be copied, piped and searched.

    Args:
        stderr: write where errors go.
    """
    return Console(stderr=stderr, soft_wrap=True, markup=False, highlight=False, emoji=False)
