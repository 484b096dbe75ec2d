"""What every benchmark does at its end: one JSON object, on the last line and in a file."""

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("torch", "transformers", "numpy")


def publish(numbers: dict[str, Any], file: Path | None, *, command: str) -> None:
    """Prints the numbers with the circumstances they hold under, and writes them to a file.

    Args:
        numbers: what was measured, by key.
        file: where to; its folder is made when absent. None writes none.
        command: that measured them.
    """
    result = {**numbers, "command": command, **circumstances()}
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result))


def circumstances() -> dict[str, Any]:
    """Returns machine and versions, as far as they move a number."""
    return {
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def _processor() -> str:
    """The name of the CPU, which the standard library does not know on Linux."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
