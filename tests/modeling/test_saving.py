"""A saved folder is the whole model: for the Auto classes, for stock tools, for later."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from transformers import (
    AutoModel,
    AutoModelForImageTextToText,
    AutoModelForMultimodalLM,
    AutoProcessor,
)

import isthmus
from isthmus import (
    IsthmusConfig,
    IsthmusForConditionalGeneration,
    IsthmusModel,
    IsthmusProcessor,
    connectors,
)
from isthmus.modeling.shim import SHIM, SHIM_MODULE
from tests.tiny import save_language, save_vision, tiny_image, tiny_lm, tiny_model, tiny_vision

FILES = {
    "config.json",
    "model.safetensors",
    "generation_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    f"{SHIM_MODULE}.py",
}


def assert_same(
    one: IsthmusForConditionalGeneration, other: IsthmusForConditionalGeneration
) -> None:
    expected, found = one.state_dict(), other.state_dict()
    assert expected.keys() == found.keys()
    for name, weight in expected.items():
        assert found[name].dtype == weight.dtype
        assert torch.equal(found[name], weight), name


def test_a_folder_is_complete_and_names_no_other(saved: Path) -> None:
    assert {file.name for file in saved.iterdir()} == FILES
    for file in saved.glob("*.json"):
        assert str(saved.parent) not in file.read_text()
        assert "_name_or_path" not in file.read_text()


def test_the_auto_classes_give_back_the_same_model(
    saved: Path, model: IsthmusForConditionalGeneration, processor: IsthmusProcessor
) -> None:
    loaded = AutoModelForImageTextToText.from_pretrained(saved)
    again = AutoProcessor.from_pretrained(saved)
    assert type(loaded) is IsthmusForConditionalGeneration
    assert type(again) is IsthmusProcessor
    assert_same(loaded, model)
    inputs = again(images=[tiny_image()], text=["see <image>?"], return_tensors="pt")
    for name, value in processor(
        images=[tiny_image()], text=["see <image>?"], return_tensors="pt"
    ).items():
        assert torch.equal(inputs[name], value), name
    with torch.no_grad():
        assert torch.equal(loaded(**inputs).logits, model(**inputs).logits)
    assert again.chat_template == processor.chat_template
    assert type(AutoModelForMultimodalLM.from_pretrained(saved)) is type(loaded)
    assert type(AutoModel.from_pretrained(saved)) is IsthmusModel


def _triples() -> Iterator[Any]:
    """Each connector with one pair of towers at once, with the others later."""
    for number, connector in enumerate(connectors.names()):
        for place, (language, vision) in enumerate(TOWERS):
            is_first = place == number % len(TOWERS)
            marks = [] if is_first else pytest.mark.slow
            yield pytest.param(connector, language, vision, marks=marks)


TOWERS = (("gpt2", "dinov2_with_registers"), ("gemma2", "clip_vision_model"), ("opt", "vit"))


@pytest.mark.parametrize(("connector", "language", "vision"), list(_triples()))
def test_every_pair_of_towers_and_every_connector_survives(
    connector: str, language: str, vision: str, tmp_path: Path
) -> None:
    model, processor = tiny_model(
        tmp_path, language=language, vision=vision, connector=connector, vision_layer=-1
    )
    for part in (model, processor):
        part.save_pretrained(tmp_path / "saved")
    loaded, again = isthmus.load(tmp_path / "saved")
    assert_same(loaded, model)
    assert not loaded.training
    assert again.num_image_tokens == model.config.connector.num_tokens((4, 4))
    table = loaded.get_input_embeddings().weight
    assert (loaded.lm_head.weight is table) == model.config.text_config.tie_word_embeddings


def test_towers_saved_in_half_precision_come_in_single(tmp_path: Path) -> None:
    folders = {
        "vision": save_vision(tmp_path / "vision"),
        "language": save_language(tmp_path / "language"),
    }
    tiny_vision().half().save_pretrained(folders["vision"])
    tiny_lm().half().save_pretrained(folders["language"])
    model = IsthmusForConditionalGeneration.from_towers(**folders)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    model.save_pretrained(tmp_path / "saved")
    loaded = IsthmusForConditionalGeneration.from_pretrained(tmp_path / "saved")
    assert_same(loaded, model)
    fresh = IsthmusForConditionalGeneration(IsthmusConfig.from_towers(**folders))
    assert {p.dtype for p in fresh.parameters()} == {torch.float32}
    half = IsthmusForConditionalGeneration.from_towers(**folders, dtype=torch.bfloat16)
    assert {p.dtype for p in half.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("damaged", ["vision", "language"])
def test_damaged_towers_are_named(tmp_path: Path, damaged: str) -> None:
    towers = {
        "vision": save_vision(tmp_path / "vision"),
        "language": save_language(tmp_path / "language"),
    }
    weights = tmp_path / damaged / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ValueError, match=rf"the weights in {towers[damaged]} are damaged"):
        IsthmusForConditionalGeneration.from_towers(**towers)


def test_what_was_cut_off_is_not_saved(saved: Path) -> None:
    with safe_open(saved / "model.safetensors", "pt") as file:
        names = list(file.keys())
    assert any("vision_tower.encoder.encoder.layers.1." in name for name in names)
    assert not [n for n in names if "layers.2" in n or "post_layernorm" in n or ".head." in n]


def test_the_configuration_is_typed_and_whole(saved: Path) -> None:
    written = json.loads((saved / "config.json").read_text())
    mlp = {"kind": "mlp", "depth": 2, "activation": "gelu", "patch_multiplier": None}
    assert written["connector_config"] == mlp
    inline = {"kind": "inline", "positions": "sequential", "image_attention": "causal"}
    assert written["visual_fusion_config"] == inline
    assert written["vision_config"]["num_hidden_layers"] == 3
    config = IsthmusConfig.from_pretrained(saved)
    assert config.connector == connectors.default("mlp")
    assert config.grid == (4, 4)


def test_a_wrong_configuration_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown key 'dept'; did you mean 'depth'"):
        IsthmusConfig(connector_config={"kind": "mlp", "dept": 3})
    with pytest.raises(ValueError, match="vision_layer 13 is not in a tower of 12 blocks"):
        IsthmusConfig(vision_layer=13)


def test_a_model_builds_without_memory_and_draws_its_weights(
    model: IsthmusForConditionalGeneration,
) -> None:
    config = model.config
    config.connector_config = connectors.default("perceiver_resampler").to_dict()
    with torch.device("meta"):
        empty = IsthmusForConditionalGeneration(config)
    assert {p.device.type for p in empty.parameters()} == {"meta"}
    fresh = IsthmusForConditionalGeneration(config)
    assert 0.015 < fresh.model.connector.latents.std() < 0.025


def test_connector_weights_that_a_file_lacks_are_drawn_by_the_connector(tmp_path: Path) -> None:
    model, _ = tiny_model(tmp_path, connector="perceiver_resampler")
    weights = {n: w for n, w in model.state_dict().items() if ".connector." not in n}
    model.save_pretrained(tmp_path / "saved", state_dict=weights)
    loaded = IsthmusForConditionalGeneration.from_pretrained(tmp_path / "saved")
    connector = loaded.model.connector
    assert 0.015 < connector.latents.std() < 0.025
    # As torch draws a linear map: uniform within one over the root of the width, biases too.
    bound = connector.projection.in_features**-0.5
    assert 0.9 * bound < connector.projection.weight.abs().max() <= bound
    assert connector.projection.bias.abs().max() > 0.5 * bound
    assert torch.equal(loaded.lm_head.weight, model.lm_head.weight)


def test_stock_tools_load_a_folder_through_the_shim(saved: Path, tmp_path: Path) -> None:
    """A process that never imported isthmus, as transformers' own server is."""
    script = (
        "import sys\n"
        "from transformers import AutoModelForImageTextToText as M, AutoProcessor as P\n"
        "assert 'isthmus' not in sys.modules\n"
        f"m = M.from_pretrained({str(saved)!r}, trust_remote_code=True)\n"
        f"p = P.from_pretrained({str(saved)!r}, trust_remote_code=True)\n"
        "m.save_pretrained('again'); p.save_pretrained('again')\n"
        "print(type(m).__module__, type(p).__module__)\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "HF_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.split() == [
        "isthmus.modeling.modeling_isthmus",
        "isthmus.modeling.processing_isthmus",
    ]
    # Saved again from there, the folder still carries the shim and no copy of the package's files.
    assert {file.name for file in (tmp_path / "again").iterdir()} == FILES
    for name in ("config.json", "processor_config.json"):
        ours, theirs = (json.loads((f / name).read_text()) for f in (saved, tmp_path / "again"))
        assert ours["auto_map"] == theirs["auto_map"]


def test_the_shim_names_what_the_package_exports() -> None:
    space: dict[str, object] = {}
    exec(SHIM, space)
    assert all(space[name] is getattr(isthmus, name) for name in space["__all__"])


@pytest.mark.parametrize("name", ["config.json", "processor_config.json"])
def test_an_incomplete_folder_is_refused(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(ValueError, match=f"holds no {name}"):
        isthmus.load(saved)


def test_weights_that_do_not_fit_are_refused(saved: Path) -> None:
    config = json.loads((saved / "config.json").read_text())
    config["connector_config"]["depth"] = 3
    (saved / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"2 missing keys, such as 'model.connector.layers.lin"):
        isthmus.load(saved)


def test_another_model_is_refused(saved: Path) -> None:
    tiny_lm().save_pretrained(saved)
    with pytest.raises(ValueError, match="'llama' model; expected an 'isthmus'"):
        isthmus.load(saved)
