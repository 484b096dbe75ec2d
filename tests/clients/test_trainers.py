"""Hugging Face's Trainer, TRL's SFTTrainer and PEFT train a saved folder, and it learns."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForImageTextToText, AutoProcessor, Trainer, TrainingArguments
from trl import SFTConfig, SFTTrainer

import isthmus
from isthmus.data.conversation import encode
from isthmus.data.sample import ImagePart, Message, Sample, Text

pytestmark = [
    # Of these tools themselves.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

QUIET = {"report_to": "none", "disable_tqdm": True, "save_strategy": "no", "use_cpu": True}


def first_and_last(trainer: Any) -> tuple[float, float]:
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    return losses[0], losses[-1]


def collate(processor: isthmus.IsthmusProcessor) -> Callable[[list[Any]], dict[str, Any]]:
    """A user's own collator: one call of the processor, labels off the assistant mask."""

    def batch(rows: list[Any]) -> dict[str, Any]:
        inputs = processor.apply_chat_template(
            [row["messages"] for row in rows],
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            return_assistant_tokens_mask=True,
            processor_kwargs={"images": [row["images"] for row in rows], "padding": True},
        )
        mask = torch.as_tensor(inputs.pop("assistant_masks")).bool()
        return {**inputs, "labels": inputs["input_ids"].masked_fill(~mask, -100)}

    return batch


def test_trainer_learns_and_saves(saved: Path, conversations: Dataset, tmp_path: Path) -> None:
    model, processor = isthmus.load(saved)
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(tmp_path),
            per_device_train_batch_size=2,
            gradient_accumulation_steps=2,
            num_train_epochs=6,
            learning_rate=3e-3,
            logging_steps=2,
            remove_unused_columns=False,
            gradient_checkpointing=True,
            **QUIET,
        ),
        train_dataset=conversations,
        data_collator=collate(processor),
    )
    trainer.train()
    first, last = first_and_last(trainer)
    assert last < 0.7 * first
    trainer.save_model(str(tmp_path / "again"))
    processor.save_pretrained(tmp_path / "again")
    again, _ = isthmus.load(tmp_path / "again")
    assert all(
        torch.equal(a, b) for a, b in zip(again.parameters(), model.parameters(), strict=True)
    )


def sft(model: Any, processor: Any, data: Dataset, folder: Path, **options: Any) -> SFTTrainer:
    return SFTTrainer(
        model=model,
        args=SFTConfig(
            output_dir=str(folder),
            per_device_train_batch_size=4,
            num_train_epochs=6,
            learning_rate=3e-3,
            logging_steps=2,
            max_length=None,
            bf16=False,
            **QUIET,
        ),
        train_dataset=data,
        processing_class=processor,
        **options,
    )


def test_sft_trainer_learns(saved: Path, conversations: Dataset, tmp_path: Path) -> None:
    model = AutoModelForImageTextToText.from_pretrained(saved)
    trainer = sft(model, AutoProcessor.from_pretrained(saved), conversations, tmp_path)
    trainer.train()
    first, last = first_and_last(trainer)
    assert last < 0.7 * first


def test_sft_trainer_learns_with_lora_and_merges(
    saved: Path, conversations: Dataset, tmp_path: Path
) -> None:
    model = AutoModelForImageTextToText.from_pretrained(saved)
    stock = {name: value.clone() for name, value in model.state_dict().items()}
    trainer = sft(
        model,
        AutoProcessor.from_pretrained(saved),
        conversations,
        tmp_path,
        peft_config=LoraConfig(r=4, target_modules="all-linear"),
    )
    trainer.train()
    first, last = first_and_last(trainer)
    assert last < 0.95 * first
    merged = trainer.model.merge_and_unload()
    assert merged.state_dict().keys() == stock.keys()
    changed = [n for n, value in merged.state_dict().items() if not torch.equal(value, stock[n])]
    assert any("connector" in name for name in changed)
    assert any("language_model" in name for name in changed)
    merged.save_pretrained(tmp_path / "merged")
    again = AutoModelForImageTextToText.from_pretrained(tmp_path / "merged")
    assert all(torch.equal(again.state_dict()[n], v) for n, v in merged.state_dict().items())


def test_peft_adapters_come_back(saved: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    model = get_peft_model(AutoModelForImageTextToText.from_pretrained(saved), config)
    ids = torch.arange(3, 12)[None]
    with torch.no_grad():
        expected = model(input_ids=ids).logits
    model.save_pretrained(tmp_path / "adapter")
    fresh = AutoModelForImageTextToText.from_pretrained(saved)
    with torch.no_grad():
        plain = fresh(input_ids=ids).logits
        loaded = PeftModel.from_pretrained(fresh, tmp_path / "adapter")
        assert torch.equal(loaded(input_ids=ids).logits, expected)
    assert not torch.allclose(plain, expected)


def test_the_processor_labels_what_training_labels(saved: Path, conversations: Dataset) -> None:
    """The mask that TRL asks the processor for is that of our own data path."""
    _, processor = isthmus.load(saved)
    rows = [conversations[n] for n in range(2)]
    found = collate(processor)(rows)
    for row, ids, labels in zip(rows, found["input_ids"], found["labels"], strict=True):
        question, answer = (m["content"][-1]["text"] for m in row["messages"])
        messages = (
            Message("user", (ImagePart(), Text(question))),
            Message("assistant", (Text(answer),)),
        )
        sample = Sample(id="row", messages=messages, images=(Path("/a.png"),))
        ours = encode(sample, processor)
        length = len(ours.input_ids)
        real = ids[ids != processor.tokenizer.pad_token_id]
        assert real.tolist() == ours.input_ids.tolist()
        assert labels[labels != -100].tolist() == ours.labels[ours.labels != -100].tolist()
        assert length > processor.num_image_tokens
