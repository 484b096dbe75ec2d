"""Ours equals the published code, outputs and gradients, on every golden file."""

import re
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.parity.__main__ import main
from tests.parity.cases import cases
from tests.parity.golden import FOLDER, Computed, differences, read

FILES = sorted(FOLDER.glob("*.safetensors"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_ours_equals_the_published_code(file: Path) -> None:
    golden = read(file)
    found = differences(golden, cases()[golden.about["class"]](golden))
    assert found
    assert [difference for difference in found if not difference.is_small] == []


def test_each_file_says_where_it_comes_from() -> None:
    lines = (FOLDER / "README.md").read_text().splitlines()
    rows = [line.split("|") for line in lines if line.startswith("| `")]
    named = {name: row[3] for row in rows for name in re.findall("`(.+?)`", row[1])}
    assert set(named) == {file.stem for file in FILES}
    for file in FILES:
        about = read(file).about
        commit = about["commit"].removeprefix("release ")[:7]
        assert commit in named[file.stem]
        assert {"project", "class", "args", "seed", "versions"} <= set(about)


def test_what_is_missing_or_of_another_shape_differs() -> None:
    golden = read(FOLDER / "prismatic_mlp.safetensors")
    computed = cases()[golden.about["class"]](golden)
    tokens = computed.outputs["tokens"]
    for wrong in ({"tokens": tokens + 2e-5}, {"tokens": tokens[:1]}, {"tokens": tokens / 0}, {}):
        first, *others = differences(golden, Computed(wrong, computed.grads))
        assert not first.is_small
        assert all(other.is_small for other in others)
    assert not any(each.is_small for each in differences(golden, Computed({})))


def test_the_command_counts_what_it_cannot_run_as_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = FOLDER / "prismatic_linear.safetensors"
    (tmp_path / "good.safetensors").write_bytes(good.read_bytes())
    assert main(tmp_path) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 passed, 0 failed"
    (tmp_path / "torn.safetensors").write_bytes(good.read_bytes()[:-9])
    save_file(load_file(good), tmp_path / "unknown.safetensors", metadata={"golden": "{}"})
    assert main(tmp_path) == 2
    assert capsys.readouterr().out.splitlines()[-1] == "1 passed, 2 failed"
    assert main(tmp_path / "empty") == 1
