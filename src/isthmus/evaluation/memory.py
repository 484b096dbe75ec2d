"""How much memory a run needed."""

import resource
import sys

import torch


def peak_memory_gb() -> float:
    """Returns the largest memory used so far: of the accelerator if there is one, of the process.

    Units: 10^9 bytes.
    """
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    # Linux counts in units of 1024 bytes, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
