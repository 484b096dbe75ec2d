"""The numbers of the README and of docs come from result files, and only from them."""

import json
from pathlib import Path

import pytest

from tools.readme_numbers import (
    RESULTS,
    WRITERS,
    data_recipe,
    main,
    of_family,
    pages,
    papers,
    rewritten,
    study,
)

REPOSITORY = Path(__file__).parents[2]
PAGE = "before\n<!-- numbers:quickstart -->\nold\n<!-- /numbers -->\nafter\n"
MACHINE = {"accelerator": None, "cores": 2, "processor": "a CPU", "torch": "9.9", "command": "c"}
NUMBERS = {
    **MACHINE,
    "vqa_accuracy": 0.8125,
    "vqa_accuracy_interval": [0.79, 0.83],
    "vqa_accuracy_blind": 0.4,
    "train_seconds": 90.2,
    "samples_per_second": 333.3,
    "wall_seconds": 200.0,
    "peak_memory_gb": 1.26,
}


def write(folder: Path, numbers: dict[str, object]) -> None:
    (folder / RESULTS).mkdir(parents=True)
    (folder / RESULTS / "quickstart.json").write_text(json.dumps(numbers))


def test_numbers_come_from_the_file(tmp_path: Path) -> None:
    write(tmp_path, NUMBERS)
    page = rewritten(PAGE, tmp_path / RESULTS)
    assert page.startswith("before\n<!-- numbers:quickstart -->\n")
    assert page.endswith("<!-- /numbers -->\nafter\n")
    assert "old" not in page
    assert "| **VQA accuracy** | 81.2 |  | 40.0 |  |" in page
    assert "79.0 to 83.0" in page
    assert "2 cores of a CPU" in page


def test_without_a_file_there_is_a_command_and_no_number(tmp_path: Path) -> None:
    page = rewritten(PAGE, tmp_path)
    assert "python -m benchmarks.quickstart --output benchmarks/results/quickstart.json" in page
    assert not any(character.isdigit() for character in page)


def test_check_tells_an_old_page_from_a_fresh_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, NUMBERS)
    (tmp_path / "README.md").write_text(PAGE)
    assert main(tmp_path, check=True) == 1
    assert "out of date" in capsys.readouterr().err
    assert (tmp_path / "README.md").read_text() == PAGE
    assert main(tmp_path, check=False) == 0
    assert main(tmp_path, check=True) == 0


def test_the_papers_are_a_line_for_each_twin_and_each_claim() -> None:
    ends = {"low": -0.01, "high": 0.25}
    score = {"mean": 0.5, "over_seeds": ends, "over_blind": {"value": 0.125}}
    line = {
        "overall": score,
        "spatial": {**score, "mean": 0.25},
        "video": [0.25, 0.5],
        "trainable": 12_345,
        "visual_tokens": 16,
        "samples_per_second": 11.7,
        "steps_to_nearly_all": 40.0,
        "perplexity": [21.0, 22.5],
        "text_identical": [True, True],
        "video_majority": [0.125, 0.25],
        "seeds": 2,
    }
    blind = {**line, "overall": {**score, "over_blind": None}, "text_identical": [False, True]}
    blind |= {"video": [], "video_majority": []}
    claim = {
        "text": "more is more",
        "source": "a table",
        "verdict": "not shown",
        "by": "answers",
        "better": "a_twin",
        "worse": "blind",
        "seeds": 2,
        "difference": {"value": 0.125, "over_seeds": ends},
    }
    faster = {"by": "steps", "difference": {"value": 40.0, "over_seeds": None}}
    forgets = {"by": "perplexity", "difference": {"value": 0.953, "over_seeds": ends}}
    claims = [claim, {**claim, **faster}, {**claim, **forgets}]
    page = papers({**MACHINE, "systems": {"blind": blind, "a_twin": line}, "claims": claims})
    cost = "12,345 | 16 | 12 | 40 steps | 21.8 | as before | 2 |"
    assert f"| a twin | 50.0 | 25.0 | +12.5 | 37.5 | {cost}" in page
    assert "| blind | 50.0 | 25.0 |  |  | 12,345 | 16 | 12 | 40 steps | 21.8 | others | 2 |" in page
    assert "right for 18.8 % of clips" in page
    assert (
        "| more is more | a table | a twin and blind | not shown | +12.5 | -1.0 to +25.0 | 2 |"
        in page
    )
    assert "| not shown | +40 steps |  | 2 |" in page
    assert "| not shown | +0.95 nats | -0.01 nats to +0.25 nats | 2 |" in page


def test_a_paper_has_its_own_twins_and_claims_beside_the_blind_one() -> None:
    claims = [{"better": "cogvlm", "worse": "llava"}, {"better": "vadapter", "worse": "llava"}]
    names = ("blind", "blind_clips", "cogvlm", "cogvlm_ema", "vadapter", "llava")
    twins = {name: {"video": [0.5] if name == "vadapter" else []} for name in names}
    found = of_family({**MACHINE, "systems": twins, "claims": claims}, "cogvlm")
    assert list(found["systems"]) == ["blind", "cogvlm", "cogvlm_ema", "llava"]
    assert found["claims"] == claims[:1]
    assert found["command"] == "c"
    with_clips = of_family({**MACHINE, "systems": twins, "claims": claims}, "vadapter")
    assert set(with_clips["systems"]) == {"blind", "blind_clips", "vadapter", "llava"}


def test_a_twins_docstring_tells_its_scores(tmp_path: Path) -> None:
    told = '    """Seen.\n\n    Expected: {}\n    Hardware: 2 cores.\n    """\n    return seen\n'
    code = "".join(
        f"def {name}() -> Recipe:\n" + told.format(expected)
        for name, expected in (
            *(("seen", "not measured yet; a command does."), ("older", "score 0.10 of all.")),
            *(("other", "not measured yet; a command does."), ("told", "recall 0.9")),
        )
    )
    systems = {name: {"overall": {"mean": 0.625}, "seeds": 3} for name in ("seen", "older", "told")}
    systems["blind"] = {"overall": {"mean": 0.2}, "seeds": 3}
    (tmp_path / "papers.json").write_text(json.dumps({"systems": systems}))
    found = rewritten(code, tmp_path)
    score = "score 0.62 of what needs eyes, 0.20 without pictures; mean of 3 seeds."
    assert found == code.replace("not measured yet; a command does.", score, 1).replace(
        "score 0.10 of all.", score
    )
    assert rewritten(found, tmp_path) == found
    systems["seen"]["seeds"] = 1
    (tmp_path / "papers.json").write_text(json.dumps({"systems": systems}))
    assert rewritten(code, tmp_path).count("without pictures; of one seed.") == 1
    (tmp_path / "papers.json").unlink()
    assert rewritten(code, tmp_path) == code


def test_a_mixture_is_a_line_beside_what_it_is_held_against() -> None:
    def compared(reference: str, *others: str) -> dict[str, object]:
        lines = [{"name": name, "mean": 0.5} for name in (reference, *others)]
        apart = {"mean": 0.25, "difference": -0.125, "over_seeds": {"low": -0.2, "high": 0.1}}
        means = dict.fromkeys((reference, *others), apart)
        return {"open": {"lines": lines}, "average": means}

    tables = {"all": compared("all", "coarse"), "coarse": compared("coarse", "ten")}
    page = data_recipe({**MACHINE, **tables})
    assert page.count("| all | 50.0 | 25.0 |") == 1
    assert page.count("| coarse | 50.0 | 25.0 |") == 1
    assert "| coarse | 50.0 | 25.0 | all | -12.5 | -20.0 to 10.0 |" in page
    assert "| ten | 50.0 | 25.0 | coarse | -12.5 | -20.0 to 10.0 |" in page


def test_a_study_is_a_line_for_each_arm() -> None:
    ends = {"low": -0.01, "high": 0.25}
    apart = {"value": 0.1, "over_samples": ends, "over_seeds": None, "seeds": 1}
    arm = {"name": "without_it", "mean": 0.5, "over_seeds": ends, "difference": apart}
    found = study({"tables": [{"metric": "recall_at_1", "lines": [arm]}]})
    assert "| recall at 1 | without it | 50.0 | -1.0 to 25.0 | +10.0 | -1.0 to 25.0 |  |" in found


def test_every_region_has_a_writer_and_is_fresh() -> None:
    texts = [page.read_text("utf-8") for page in pages(REPOSITORY)]
    for name in WRITERS:
        (page,) = [text for text in texts if f"<!-- numbers:{name} -->" in text]
        assert (REPOSITORY / RESULTS / f"{name}.json").is_file() or "Not measured yet" in page
    of_families = sum(text.count("<!-- numbers:papers/") for text in texts)
    assert of_families == 5
    assert sum(text.count("<!-- numbers:") for text in texts) == len(WRITERS) + of_families
    assert [rewritten(text, REPOSITORY / RESULTS) for text in texts] == texts
