import json
from dataclasses import replace
from pathlib import Path

from isthmus.evaluation.benchmarks.conversation_file import ConversationFile
from isthmus.study.execute import train_and_evaluate
from isthmus.study.run import grid, run
from isthmus.study.table import tabulate
from tests.tiny_data import write_data
from tests.training.tiny_recipe import tiny_recipe


def test_a_small_study_from_recipes_to_table(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path, steps=2, epochs=None)
    file = write_data(tmp_path / "test", 6)
    benchmark = ConversationFile(file, file.parent)
    recipes = {"seeing": recipe, "blind": replace(recipe.blind(), name="b")}
    runs = grid(recipes, [0, 1], tmp_path / "study")
    assert len(run(runs, train_and_evaluate(benchmark))) == 4
    assert run(runs, train_and_evaluate(benchmark)) == []

    found = {each.name: json.loads((each.folder / "results.json").read_text()) for each in runs}
    assert found["blind"]["provenance"]["blind"]
    assert not found["seeing"]["provenance"]["blind"]
    assert found["seeing"]["provenance"]["recipe"] == runs[2].recipe.digest()
    assert found["seeing"]["provenance"]["training_seed"] == 1
    # Two steps at so low a rate, and the language model is another one to the bit.
    assert not found["seeing"]["text_ability"]["is_identical"]
    assert found["seeing"]["text_ability"]["language"] == recipe.model.language
    table = tabulate(runs, metric="exact_match", reference="blind")
    assert [(line.name, line.seeds) for line in table.lines] == [
        ("seeing", (0, 1)),
        ("blind", (0, 1)),
    ]
    assert table.samples == 6
