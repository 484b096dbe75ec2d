"""One progress bar at a time: ours."""

from transformers.utils import logging


def hush_libraries() -> None:
    """Turns off the bars that transformers draws while it loads and saves weights."""
    logging.disable_progress_bar()
