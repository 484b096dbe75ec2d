"""The command line. One file per command; the folder is the registry.

A command is a module with a docstring, whose first line is its help, and a function
`main(arguments)`, which imports what it needs once its options are read.
"""

import ast
import os
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from isthmus import kinds
from isthmus.cli._console import plain

__all__ = ["commands", "main"]

EXIT_USER_ERROR = 2
"""Status after an error that the user can mend, as for a flag that does not exist."""
EXIT_INTERRUPTED = 130
"""Status after Ctrl-C, as the shell gives it."""
TRACEBACK_SWITCH = "ISTHMUS_TRACEBACK"
"""Environment variable that shows where an error came from."""


def commands() -> dict[str, str]:
    """Returns the name of each command -> its line of help."""
    own = [path for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_")]
    return {
        path.stem: (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").partition("\n")[0]
        for path in sorted(own)
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit status.

    Args:
        arguments: what follows `isthmus` on the command line; None takes the process's own.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help"):
        _say_overview()
        return 0
    if words[0] == "--version":
        plain().print(version("isthmus"))
        return 0
    try:
        if words[0] not in (known := commands()):
            raise ValueError(kinds.unknown(words[0], list(known), what="command"))
        kinds.load(__name__, words[0]).main(words[1:])
    except BrokenPipeError:
        # The reader of our output went away, as `head` does. Nothing is wrong, and nothing more
        # can be said; without this the interpreter complains when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        plain(stderr=True).print("interrupted")
        return EXIT_INTERRUPTED
    except (ValueError, OSError, FloatingPointError) as error:
        if os.environ.get(TRACEBACK_SWITCH):
            traceback.print_exc()
        sentence = " ".join(str(error).split())
        plain(stderr=True).print(f"isthmus: {sentence or type(error).__name__}")
        return EXIT_USER_ERROR
    return 0


def _say_overview() -> None:
    lines = commands()
    width = max(map(len, lines))
    console = plain()
    console.print("usage: isthmus COMMAND [OPTIONS]\n")
    for name, line in lines.items():
        console.print(f"  {name:{width}}  {line}")
    console.print("\nStart with `isthmus quickstart`. Each command has its own --help.")
    console.print(f"An error shows its origin when {TRACEBACK_SWITCH}=1 is set.")
