"""What a run writes down while it runs: log.jsonl and TensorBoard."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO, final

from torch.utils.tensorboard import SummaryWriter

LOG_NAME = "log.jsonl"
TENSORBOARD_NAME = "tensorboard"


@final
class RunLog:
    """Appends to a run's logs; a run killed at any time leaves whole lines."""

    def __init__(self, output: Path, *, resumed_from: int | None, enabled: bool = True):
        """Opens the logs of a run.

        Args:
            output: the run's folder.
            resumed_from: step from which an earlier run goes on; None starts the logs anew.
            enabled: False on all processes but the main one, where nothing is written.
        """
        self._lines: TextIO | None = None
        self._board: SummaryWriter | None = None
        if not enabled:
            return
        if resumed_from is None:
            (output / LOG_NAME).unlink(missing_ok=True)
            shutil.rmtree(output / TENSORBOARD_NAME, ignore_errors=True)
        else:
            _drop_torn_line(output / LOG_NAME)
        self._lines = (output / LOG_NAME).open("a", encoding="utf-8")
        # From this step on, TensorBoard forgets what the interrupted run had drawn.
        self._board = SummaryWriter(str(output / TENSORBOARD_NAME), purge_step=resumed_from)
        if resumed_from is not None:
            self.note({"resumed_from": resumed_from})

    def scalars(self, step: int, values: Mapping[str, Any]) -> None:
        """Writes a line for a step, and its numbers to TensorBoard."""
        self.note({"step": step, **values})
        for name, value in values.items():
            if self._board and isinstance(value, int | float):
                self._board.add_scalar(name, value, step)

    def note(self, line: Mapping[str, Any]) -> None:
        """Writes a line of any other kind."""
        # One write and one flush, so that a kill loses a line but does not tear it.
        if self._lines:
            self._lines.write(json.dumps(line) + "\n")
            self._lines.flush()

    def __enter__(self) -> "RunLog":
        """Returns itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes both logs."""
        if self._lines:
            self._lines.close()
        if self._board:
            self._board.close()


def read_log(output: Path) -> list[dict[str, Any]]:
    """Returns the lines of a run's log."""
    text = (output / LOG_NAME).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def _drop_torn_line(path: Path) -> None:
    """Cuts off a last line that a full disk or a lost machine left unfinished."""
    if path.exists() and not (content := path.read_bytes()).endswith(b"\n"):
        path.write_bytes(content[: content.rfind(b"\n") + 1])
