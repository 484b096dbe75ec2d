"""Names of transformers that are relied on without being promised; an upgrade must look here."""

import inspect

import pytest
from transformers import GenerationMixin, PreTrainedConfig, PreTrainedModel, ProcessorMixin
from transformers.models.auto import modeling_auto

import isthmus
from isthmus import IsthmusConfig, IsthmusForConditionalGeneration, IsthmusModel


def test_the_server_finds_the_model_by_name() -> None:
    isthmus.register()
    for name in ("IMAGE_TEXT_TO_TEXT", "MULTIMODAL_LM"):
        names = getattr(modeling_auto, f"MODEL_FOR_{name}_MAPPING_NAMES")
        assert names["isthmus"] == "IsthmusForConditionalGeneration"
        # It decides by these dictionaries of names, to which stock models belong too.
        assert names["llava"] == "LlavaForConditionalGeneration"


def test_generate_encodes_images_beforehand() -> None:
    """It looks for these names in signatures, by their spelling."""
    assert (
        "mm_encoder_outputs"
        in inspect.signature(IsthmusForConditionalGeneration.forward).parameters
    )
    assert "pixel_values" in inspect.signature(IsthmusModel.get_image_features).parameters
    source = inspect.getsource(GenerationMixin._prepare_multimodal_encoder_kwargs_for_generation)
    assert '"pixel_values"' in source
    assert "get_{modality}_features" in source
    assert "image" in IsthmusForConditionalGeneration.input_modalities


def test_hooks_that_are_overridden_exist_and_are_called() -> None:
    assert "self._process_images(" in inspect.getsource(ProcessorMixin.__call__)
    for name in ("_normalize_conversations", "_resolve_chat_template"):
        assert f"self.{name}(" in inspect.getsource(ProcessorMixin.apply_chat_template)
    assert "self._init_weights(" in inspect.getsource(PreTrainedModel._initialize_weights)
    assert "_get_num_multimodal_tokens" not in vars(ProcessorMixin)


def test_tied_weights_are_read_off_the_instance() -> None:
    source = inspect.getsource(PreTrainedModel.get_expanded_tied_weights_keys)
    assert "self._tied_weights_keys" in source


def test_the_configuration_is_a_dataclass_of_its_fields() -> None:
    assert {"vision_config", "text_config"} <= set(IsthmusConfig.sub_configs)
    assert "connector_config" in IsthmusConfig.__dataclass_fields__


def test_the_stock_server_is_a_command_of_the_stock_program() -> None:
    from transformers.cli.transformers import app

    assert "serve" in app.commands
    assert {"device", "host", "port"} <= {each.name for each in app.commands["serve"].params}


def test_the_stock_layers_of_low_rank_updates_can_be_told_and_undone() -> None:
    from peft.tuners.lora import LoraLayer

    assert {"merge", "get_base_layer"} <= set(dir(LoraLayer))
    assert LoraLayer.adapter_layer_names[:2] == ("lora_A", "lora_B")


@pytest.mark.parametrize(
    "name",
    [
        "_supports_sdpa",
        "_supports_flash_attn",
        "_supports_flex_attn",
        "_supports_attention_backend",
        "_can_compile_fullgraph",
        "_skip_keys_device_placement",
        "_tp_plan",
        "_tied_weights_keys",
        "_init_weights",
        "input_modalities",
        "register_for_auto_class",
    ],
)
def test_what_a_model_declares_is_still_asked_for(name: str) -> None:
    """An attribute that nothing reads any more would pass unnoticed."""
    assert hasattr(PreTrainedModel, name)


def test_what_a_configuration_declares_is_still_asked_for() -> None:
    assert hasattr(PreTrainedConfig, "sub_configs_defaults")
    assert hasattr(PreTrainedConfig, "register_for_auto_class")
