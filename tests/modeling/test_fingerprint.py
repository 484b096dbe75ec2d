from pathlib import Path

import torch
from torch import nn

from isthmus.modeling import fingerprint


def test_content_and_order_of_files_count_and_their_names_do_not(tmp_path: Path) -> None:
    files = []
    for name, content in (("a", b"one"), ("b", b"two"), ("c", b"one"), ("d", b"onetwo")):
        files.append(tmp_path / name)
        files[-1].write_bytes(content)
    a, b, c, d = files
    assert fingerprint.of_files([a, b]) == fingerprint.of_files([c, b])
    prints = {fingerprint.of_files(group) for group in ([a, b], [b, a], [a], [d], [a, b, a])}
    assert len(prints) == 5
    assert {len(one) for one in prints} == {12}


def test_every_part_of_a_weight_counts() -> None:
    def module(dtype: torch.dtype = torch.float32, shape: tuple[int, int] = (2, 3)) -> nn.Linear:
        layer = nn.Linear(shape[1], shape[0], bias=False)
        with torch.no_grad():
            layer.weight.copy_(torch.arange(6.0).reshape(shape))
        return layer.to(dtype)

    plain = fingerprint.of_weights(module().state_dict())
    assert plain == fingerprint.of_weights(module().state_dict())
    changed = module()
    with torch.no_grad():
        changed.weight[0, 0] += 1e-6
    others = [
        changed,
        module(dtype=torch.bfloat16),
        module(dtype=torch.float64),
        module(shape=(3, 2)),
        nn.Sequential(module()),
    ]
    assert len({plain, *(fingerprint.of_weights(each.state_dict()) for each in others)}) == 6


def test_equal_bytes_in_another_number_format_are_another_weight() -> None:
    first, second = (nn.Linear(2, 2, bias=False) for _ in range(2))
    for layer in (first, second):
        nn.init.zeros_(layer.weight)
    first.to(torch.float16)
    second.to(torch.bfloat16)
    assert fingerprint.of_weights(first.state_dict()) != fingerprint.of_weights(second.state_dict())
