"""Serve a trained model to OpenAI clients."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

NEEDED = ("fastapi", "uvicorn", "openai")
"""What the server of transformers imports beyond transformers."""


def main(arguments: Sequence[str]) -> None:
    """Runs transformers' own server, which knows isthmus models once this package is imported.

    Raises:
        ValueError: no model is named, the server's packages are not installed, or the folder holds
            trained weights without their towers, or a model that the server would cut short.
    """
    if not arguments:
        raise ValueError("name the folder of a trained model, as in `isthmus serve runs/mine`")
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(
            f"the server needs {', '.join(missing)}; install them with `pip install "
            "'isthmus[serve]'`"
        )
    from transformers.cli.transformers import app

    import isthmus  # noqa: F401 (registers the models)
    from isthmus.modeling.trained import TRAINED_FILE
    from isthmus.pretrained import read_config

    for word in arguments:
        if (Path(word) / "config.json").is_file() and read_config(word).is_encoder_decoder:
            raise ValueError(
                f"{word} writes with a decoder, and the server cuts as many tokens off each answer "
                "as the question has; ask with `isthmus chat`, or with the pipeline of transformers"
            )
        if (Path(word) / TRAINED_FILE).is_file():
            raise ValueError(
                f"{word} holds what was trained, without the towers; save the whole first: "
                f"`isthmus.load({word!r})[0].save_pretrained(...)`, and so for the processor"
            )
    app(args=["serve", *arguments], prog_name="isthmus", standalone_mode=True)
