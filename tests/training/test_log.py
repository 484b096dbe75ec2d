"""Logs hold a line per step, survive a kill, and tell where a run went on."""

import json
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from isthmus.training.log import LOG_NAME, TENSORBOARD_NAME, RunLog, read_log


def test_steps_are_lines_and_curves(tmp_path: Path) -> None:
    with RunLog(tmp_path, resumed_from=None) as log:
        log.scalars(1, {"loss": 2.5, "stage": "align"})
        log.scalars(2, {"loss": 1.5, "stage": "align"})
    assert read_log(tmp_path) == [
        {"step": 1, "loss": 2.5, "stage": "align"},
        {"step": 2, "loss": 1.5, "stage": "align"},
    ]
    board = EventAccumulator(str(tmp_path / TENSORBOARD_NAME)).Reload()
    assert [(event.step, event.value) for event in board.Scalars("loss")] == [(1, 2.5), (2, 1.5)]


def test_a_resume_is_noted_and_a_torn_line_dropped(tmp_path: Path) -> None:
    with RunLog(tmp_path, resumed_from=None) as log:
        log.scalars(1, {"loss": 2.5})
        log.scalars(2, {"loss": 2.0})
    with (tmp_path / LOG_NAME).open("a") as file:
        file.write('{"step": 3, "lo')
    with RunLog(tmp_path, resumed_from=1) as log:
        log.scalars(2, {"loss": 1.9})
    assert [json.dumps(line) for line in read_log(tmp_path)] == [
        '{"step": 1, "loss": 2.5}',
        '{"step": 2, "loss": 2.0}',
        '{"resumed_from": 1}',
        '{"step": 2, "loss": 1.9}',
    ]


def test_lines_are_on_disk_as_soon_as_they_are_written(tmp_path: Path) -> None:
    with RunLog(tmp_path, resumed_from=None) as log:
        log.note({"step": 1})
        assert read_log(tmp_path) == [{"step": 1}]


def test_a_fresh_start_forgets_what_was_there(tmp_path: Path) -> None:
    with RunLog(tmp_path, resumed_from=None) as log:
        log.scalars(1, {"loss": 1.0})
    with RunLog(tmp_path, resumed_from=None):
        pass
    assert read_log(tmp_path) == []


def test_other_processes_write_nothing(tmp_path: Path) -> None:
    with RunLog(tmp_path, resumed_from=None, enabled=False) as log:
        log.scalars(1, {"loss": 1.0})
    assert list(tmp_path.iterdir()) == []
