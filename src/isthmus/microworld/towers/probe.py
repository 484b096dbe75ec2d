"""Linear probes: can a thing's attribute be read off the one patch that holds most of it?"""

from collections.abc import Callable
from random import Random

import torch
from torch import Tensor, nn

from isthmus.microworld.scene import ATTRIBUTES, Split
from isthmus.microworld.towers.pixels import coverage, pictures

_PICTURES, _EPOCHS = 3000, 200


@torch.no_grad()
def _patches(
    encode: Callable[[Tensor], Tensor], split: Split
) -> tuple[Tensor, list[dict[str, str]]]:
    """One patch feature per thing, and the things' attributes."""
    features, labels = [], []
    rng = Random(f"probe/{split}")
    for _ in range(_PICTURES // 100):
        batch = pictures(split, 100, rng)
        patches = encode(batch.normalised())[:, -64:]
        for index, scene in enumerate(batch.scenes):
            best = coverage([thing.box for thing in scene.things]).argmax(1)
            features.append(patches[index, best])
            labels += [{name: getattr(t, name) for name in ATTRIBUTES} for t in scene.things]
    return torch.cat(features).float(), labels


def attribute_probes(encode: Callable[[Tensor], Tensor]) -> dict[str, float]:
    """Accuracy of a linear classifier per attribute, fitted on the train split.

    Measured on test scenes (`probe_NAME`) and on combinations of traits never seen in training
    (`probe_NAME_compositional`).

    Args:
        encode: Normalised pixels -> (images, patches, width), prefix tokens first if any.
    """
    train_x, train_labels = _patches(encode, "train")
    measured: dict[str, Split] = {"": "test", "_compositional": "compositional"}
    held_out = {suffix: _patches(encode, split) for suffix, split in measured.items()}
    mean, std = train_x.mean(0), train_x.std(0) + 1e-6
    train_x = (train_x - mean) / std
    scores = {}
    for name in ATTRIBUTES:
        values = sorted({label[name] for label in train_labels})
        target = torch.tensor([values.index(label[name]) for label in train_labels])
        torch.manual_seed(0)
        probe = nn.Linear(train_x.shape[1], len(values))
        optimizer = torch.optim.AdamW(probe.parameters(), lr=0.01, weight_decay=0.01)
        for _ in range(_EPOCHS):
            optimizer.zero_grad()
            nn.functional.cross_entropy(probe(train_x), target).backward()
            optimizer.step()
        for suffix, (test_x, test_labels) in held_out.items():
            truth = torch.tensor([values.index(label[name]) for label in test_labels])
            guess = probe((test_x - mean) / std).argmax(1)
            scores[f"probe_{name}{suffix}"] = (guess == truth).float().mean().item()
    return scores
