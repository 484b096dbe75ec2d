"""Runs every golden file of a folder: `python -m tests.parity DIRECTORY`.

Prints the largest difference of each file, and at the end how many passed. A file of a class that
is not known, or that cannot be run, has failed.
"""

import sys
from pathlib import Path

from tests.parity.cases import cases
from tests.parity.golden import differences, read


def main(folder: Path) -> int:
    """Returns the number of files that failed; a folder without any is a failure too."""
    known = cases()
    files = sorted(folder.glob("*.safetensors"))
    passed = 0
    for file in files:
        try:
            golden = read(file)
            found = differences(golden, known[golden.about["class"]](golden))
            worst = max(found, key=lambda each: (not each.is_small, each.largest))
            passed += worst.is_small
            verdict = "passed" if worst.is_small else "FAILED"
            print(
                f"{verdict}  {file.stem:36} {worst.largest:.2e} (allowed {worst.allowed:.2e}) "
                f"in {worst.name}"
            )
        except Exception as error:  # whatever it is, the file has not passed
            print(f"FAILED  {file.stem:36} {type(error).__name__}: {error}")
    print(f"{passed} passed, {len(files) - passed} failed")
    return len(files) - passed + (not files)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(min(1, main(Path(sys.argv[1]))))
