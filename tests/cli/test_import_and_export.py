"""Published checkpoints in, and out again, as a user brings them."""

from pathlib import Path

import pytest
from transformers import Blip2ForConditionalGeneration

import isthmus
from isthmus.cli import main
from tests.cli.conftest import one_line_refusal
from tests.shipping.published import same, save_generation, save_retrieval
from tests.tiny_alignment import text_tokenizer


def test_a_checkpoint_goes_there_and_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stock = save_generation(tmp_path / "stock")
    ours, back = str(tmp_path / "ours"), str(tmp_path / "back")
    assert main(["import", str(tmp_path / "stock"), ours]) == 0
    said = capsys.readouterr().out
    assert said == f"IsthmusForConditionalGeneration: {ours}\n"
    model, processor = isthmus.load(ours)
    assert model.config.image_token_id == processor.image_token_id
    assert main(["export", ours, "--to", "blip2", back]) == 0
    assert capsys.readouterr().out == f"blip2: {back}\n"
    assert same(Blip2ForConditionalGeneration.from_pretrained(back), stock)
    assert "is there already" in one_line_refusal(["export", ours, back, "--to", "blip2"], capsys)
    said = one_line_refusal(["export", ours, str(tmp_path / "x"), "--to", "instructblip"], capsys)
    assert "export blip2" in said


def test_a_first_stage_goes_by_lavis_and_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_retrieval(tmp_path / "stock")
    text_tokenizer().save_pretrained(tmp_path / "text")
    names = ("ours", "lavis", "again")
    ours, lavis, again = (str(tmp_path / name) for name in names)
    assert main(["import", str(tmp_path / "stock"), ours]) == 0
    assert "Note: the published class has no language head" in capsys.readouterr().out
    assert main(["export", ours, lavis, "--to", "lavis"]) == 0
    assert "code is changed: the tower's width is 176 (1408), " in capsys.readouterr().out
    file = str(Path(lavis) / "checkpoint.pth")
    assert "needs `text`" in one_line_refusal(["import", file, again, "--kind", "lavis"], capsys)
    words = ["import", file, again, "--kind", "lavis", "--text", str(tmp_path / "text")]
    assert main([*words, "--dtype", "bfloat16"]) == 0
    assert str(isthmus.load_alignment(again)[0].dtype) == "torch.bfloat16"
    said = one_line_refusal(["import", str(tmp_path / "text"), str(tmp_path / "no")], capsys)
    assert "holds no config.json" in said
    said = one_line_refusal(["import", lavis, str(tmp_path / "no"), "--kind", "lavis"], capsys)
    assert "is a folder, and LAVIS keeps a model in one file" in said


def test_a_qformer_alone_is_where_a_new_model_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_retrieval(tmp_path / "stock")
    ours, alone = str(tmp_path / "ours"), str(tmp_path / "alone")
    assert main(["import", str(tmp_path / "stock"), ours]) == 0
    assert main(["export", ours, alone, "--to", "blip2_qformer"]) == 0
    assert "its heads are fresh: itm_head, lm_head, temperature, " in capsys.readouterr().out
    said = one_line_refusal(["import", alone, str(tmp_path / "no")], capsys)
    assert f"isthmus train RECIPE --connector qformer --model.connector-start {alone} " in said
    assert f"isthmus train RECIPE --model.text {alone} " in said
