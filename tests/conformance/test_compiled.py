"""Connectors and fusions compile as one graph each, and compute the same.

torch.compile cannot see through the checks of shapes that tests run under, so these tests run
without them: `--no-shape-checks -m compiled`.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from isthmus import fusion as fusions
from isthmus.axes import Patches
from isthmus.connectors import ConnectorConfig
from isthmus.fusion import FusionConfig
from isthmus.fusion.base import Prompt
from tests.conformance.test_connectors import build, patches, variants
from tests.conformance.test_fusions import variants as fusion_variants
from tests.tiny import tiny_model

pytestmark = pytest.mark.compiled

backends = pytest.mark.parametrize("backend", ["aot_eager", "inductor"])


@backends
@pytest.mark.parametrize("config", variants(), ids=str)
def test_a_connector_is_one_graph(config: ConnectorConfig, backend: str) -> None:
    torch.compiler.reset()
    connector, batch = build(config), patches(2)

    def tokens(features: Tensor) -> Tensor:
        return connector(Patches(features=features, grid=batch.grid))

    compiled = torch.compile(tokens, fullgraph=True, backend=backend)
    features = batch.features.requires_grad_()
    found, expected = compiled(features), tokens(features)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    cotangent = torch.randn_like(expected)
    gradients = [torch.autograd.grad((t * cotangent).sum(), features)[0] for t in (found, expected)]
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-4)


def _fused() -> Iterator[tuple[FusionConfig, str]]:
    """Each kind of fusion with both compilers; its other settings with the quick one."""
    for config in fusion_variants():
        yield config, "aot_eager"
        if config == fusions.default(config.kind):
            yield config, "inductor"


@pytest.mark.parametrize(("config", "backend"), list(_fused()), ids=str)
def test_a_fused_language_model_is_one_graph(
    tmp_path: Path, config: FusionConfig, backend: str
) -> None:
    torch.compiler.reset()
    model, _ = tiny_model(tmp_path, connector="linear", fusion=config)
    with torch.no_grad():
        for part in model.model.fusion.parts():
            for parameter in part.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
    length = model.config.num_placeholders
    ids = torch.randint(3, 250, (2, length + 6))
    ids[:, 2 : 2 + length] = model.config.image_token_id
    body, table = model.model, model.get_input_embeddings()
    placeholders = ids == model.config.image_token_id
    embeds = table(ids * ~placeholders).detach()
    tokens = model.config.num_image_tokens
    visual = torch.randn(2, tokens, config.d_tokens(embeds.shape[-1]))

    def hidden(embeds: Tensor, visual: Tensor) -> Tensor:
        prompt = Prompt(
            embeds=embeds,
            placeholders=placeholders,
            visual=visual,
            attention_mask=torch.ones_like(ids),
        )
        fused, told = body.fusion(prompt)
        return body.language_model(inputs_embeds=fused, use_cache=False, **told)[0]

    with torch.no_grad():
        compiled = torch.compile(hidden, fullgraph=True, backend=backend)
        torch.testing.assert_close(
            compiled(embeds, visual), hidden(embeds, visual), atol=1e-4, rtol=1e-4
        )
