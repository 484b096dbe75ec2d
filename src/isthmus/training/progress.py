"""What a person sees of a run: a bar on a terminal, a line now and then elsewhere."""

from time import monotonic
from types import TracebackType
from typing import final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from isthmus.training.checkpoint import Position

SECONDS_BETWEEN_LINES = 15.0


@final
class StepProgress:
    """Shows the steps of a stage with loss, speed and time left."""

    def __init__(self, console: Console, name: str, *, first: int, num_steps: int):
        """Starts at a step of a stage."""
        self.console, self.name, self.num_steps = console, name, num_steps
        self._first, self._start = first, monotonic()
        self._last_line = self._start
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[facts]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task(name, total=num_steps, completed=first, facts="")

    def show(self, position: Position, *, loss: float) -> None:
        """Shows where the run stands, and the loss of the last step."""
        step = position.stage_step
        samples, tokens = (position.per_second(n) for n in (position.samples, position.tokens))
        facts = f"loss {loss:.4f}  {samples:,.0f} samples/s  {tokens:,.0f} tokens/s"
        self._bar.update(self._task, completed=step, facts=facts)
        now = monotonic()
        is_due = now - self._last_line >= SECONDS_BETWEEN_LINES or step == self.num_steps
        if not self.console.is_terminal and is_due:
            self._last_line = now
            left = (now - self._start) / max(1, step - self._first) * (self.num_steps - step)
            self.say(f"{self.name}: step {step}/{self.num_steps}  {facts}  {left:,.0f} s left")

    def say(self, line: str) -> None:
        """Prints a line, above the bar if there is one."""
        self._bar.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def __enter__(self) -> "StepProgress":
        """Starts the display."""
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stops the display."""
        self._bar.stop()
