"""What every test stands on: checked shapes, fixed seeds, few threads, no network.

The package is imported under a jaxtyping + beartype hook, so a wrong shape or type fails at the
call that brings it. `--no-shape-checks` runs the same tests without the hook, which is what users
run, and what torch.compile needs.
"""

import gc
import os
import random
import sys
from pathlib import Path

import pytest

# Before anything imports transformers: a test that reaches for the network is a wrong test.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

gc.disable()  # until all is imported, which makes little but what stays
SEED = 0
NO_CHECKS = "ISTHMUS_NO_SHAPE_CHECKS"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-shape-checks",
        action="store_true",
        help="import isthmus without the jaxtyping + beartype hook",
    )


def checked_modules() -> list[str]:
    """Every module of the package but those of transformers' configurations.

    transformers turns a configuration into a dataclass that takes further keys; the hook would wrap
    its constructor into one that does not.
    """
    source = Path(__file__).parents[1] / "src"
    files = (source / "isthmus").rglob("*.py")
    modules = [".".join(f.relative_to(source).with_suffix("").parts) for f in files]
    return [n for n in modules if not n.endswith("__init__") and ".configuration" not in n]


# At import, not in a hook of pytest's: the conftest files of folders import the package themselves.
if "--no-shape-checks" in sys.argv:
    os.environ[NO_CHECKS] = "1"  # the workers of a test run have other arguments, but inherit this
if NO_CHECKS not in os.environ:
    from jaxtyping import install_import_hook

    # The hook names its checker, and has it looked up as an attribute of this package.
    import tests.typechecker  # noqa: F401

    install_import_hook(checked_modules(), "tests.typechecker.checked")


def pytest_configure(config: pytest.Config) -> None:
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


def pytest_collection_finish() -> None:
    """Leave what was imported out of every garbage collection, most of which is looking at it."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Give each test the same random state, whatever ran before it."""
    import numpy as np
    import torch

    random.seed(SEED)
    np.random.seed(SEED)  # the libraries under us still read the global state
    torch.manual_seed(SEED)
