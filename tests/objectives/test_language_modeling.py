"""Language modelling is the cross-entropy of the answers, per supervised token."""

from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

from isthmus.axes import Batch
from isthmus.objectives.base import ObjectiveConfig
from isthmus.objectives.language_modeling import LanguageModeling
from tests.tiny import tiny_model


def test_the_loss_is_the_mean_over_supervised_tokens(tmp_path: Path) -> None:
    model, _ = tiny_model(tmp_path, connector="linear")
    ids = torch.randint(3, 200, (2, 7))
    labels = ids.clone()
    labels[0, :4] = -100
    labels[1, 5:] = -100
    batch = Batch(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels)
    objective = LanguageModeling.Config(weight=0.5).build(model)
    outcome = objective(model, batch)

    logits = model(**batch.model_inputs()).logits
    expected = cross_entropy(logits[:, :-1].reshape(14 - 2, -1), labels[:, 1:].reshape(-1))
    assert list(outcome.losses) == ["language_modeling"]
    torch.testing.assert_close(outcome.losses["language_modeling"], expected)
    hits = (logits[:, :-1].argmax(-1) == labels[:, 1:]) & (labels[:, 1:] != -100)
    assert outcome.metrics["token_accuracy"].item() == hits.sum().item() / (3 + 4)
    assert objective.num_items(batch) == 3 + 4


def test_targets_are_smoothed_in_training_alone(tmp_path: Path) -> None:
    model, _ = tiny_model(tmp_path, connector="linear")
    ids = torch.randint(3, 200, (2, 7))
    batch = Batch(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids)
    objective = LanguageModeling.Config(label_smoothing=0.2).build(model)
    logits = model(**batch.model_inputs()).logits[:, :-1].reshape(12, -1)
    for training, smoothing in ((True, 0.2), (False, 0.0)):
        objective.train(training)
        expected = cross_entropy(logits, ids[:, 1:].reshape(-1), label_smoothing=smoothing)
        torch.testing.assert_close(objective(model, batch).losses["language_modeling"], expected)


def test_the_folder_is_the_registry() -> None:
    assert ObjectiveConfig.of_kind("language_modeling") is LanguageModeling.Config
