"""The visual expert against its definition, written out dense; and what it refuses."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from isthmus.fusion._layers import ROUTE
from isthmus.fusion._layout import positions_of, shared_steps
from isthmus.fusion._roles import Roles
from isthmus.fusion.base import Prompt
from isthmus.fusion.visual_expert import VisualExpert
from tests.tiny import LANGUAGE_CONFIGS, tiny_lm, tiny_model

# Rows: words, an image of four tokens, words; and an image at the start.
VISUAL = torch.tensor([[0, 0, 1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 0, 0, 0, 0]], dtype=torch.bool)
TOKENS = 4


def expert(body: Any, **settings: Any) -> VisualExpert:
    fusion = VisualExpert.Config(**settings).build(body, boundaries=(0, 0))
    with torch.no_grad():
        for part in fusion.parts():
            for parameter in part.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return fusion


def dense(body: Any, fusion: VisualExpert, visual: Tensor) -> list[Any]:
    """Runs both weights on all rows and chooses afterwards, by hooks on the bare modules."""
    handles = []
    for layer in fusion.layers:
        for key, own in layer.visual_expert.items():
            module = layer.get_submodule(key.replace("__", "."))

            def choose(_: Any, given: tuple[Tensor], out: Tensor, own: nn.Module = own) -> Tensor:
                where = visual.reshape(*given[0].shape[:-1], 1)
                return torch.where(where, own(given[0]), out)

            handles.append(module.register_forward_hook(choose))
    return handles


@pytest.mark.parametrize("family", [f for f in LANGUAGE_CONFIGS if f != "opt"])
@pytest.mark.parametrize("rows", [1, 2], ids=["a span", "rows"])
def test_rows_by_role_equal_both_weights_everywhere(family: str, rows: int) -> None:
    body = tiny_lm(family).base_model
    fusion = expert(body, last_token="visual", norm="copied")
    visual = VISUAL[:rows]
    embeds = torch.randn(rows, 8, body.get_input_embeddings().embedding_dim, requires_grad=True)
    route = Roles(visual, int(visual.sum()))
    assert (route.span is None) == (rows == 2)
    ours = body(inputs_embeds=embeds, **{ROUTE: route}).last_hidden_state
    ours.square().sum().backward()
    found = [embeds.grad, *(p.grad.clone() for part in fusion.parts() for p in part.parameters())]

    body.zero_grad()
    embeds.grad = None
    for handle in (handles := dense(body, fusion, visual)):
        assert handle
    expected = body(inputs_embeds=embeds).last_hidden_state
    expected.square().sum().backward()
    for handle in handles:
        handle.remove()
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)
    wanted = [embeds.grad, *(p.grad for part in fusion.parts() for p in part.parameters())]
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_columns_are_a_span_only_where_all_samples_agree() -> None:
    words, image = torch.zeros(1, 8, dtype=torch.bool), VISUAL[:1]
    apart = torch.tensor([[1, 0, 1, 0, 0, 0, 0, 0]], dtype=torch.bool)
    for rows, span in (
        (image, (2, 6)),
        (torch.cat([image, image]), (2, 6)),
        (torch.cat([words, image]), None),
        (torch.cat([image, words]), None),
        (apart, None),
    ):
        assert Roles(rows, int(rows.sum())).span == span


def test_copies_change_nothing_before_they_learn() -> None:
    body = tiny_lm().base_model
    embeds = torch.randn(2, 8, body.config.hidden_size)
    bare = body(inputs_embeds=embeds).last_hidden_state
    VisualExpert.Config(norm="copied").build(body, boundaries=(0, 0))
    route = Roles(VISUAL, int(VISUAL.sum()))
    fused = body(inputs_embeds=embeds, **{ROUTE: route}).last_hidden_state
    torch.testing.assert_close(fused, bare, atol=1e-5, rtol=0)
    low = tiny_lm().base_model
    VisualExpert.Config(qkv="low_rank", output="low_rank", mlp="low_rank").build(
        low, boundaries=(0, 0)
    )
    assert torch.equal(low(inputs_embeds=embeds, **{ROUTE: route}).last_hidden_state, bare)


@pytest.mark.parametrize(
    ("settings", "numbers"),
    [({}, [0, 1, 2, 3]), ({"every": 2}, [0, 2]), ({"layers": (3, 1)}, [1, 3])],
)
def test_experts_lie_in_the_chosen_layers(settings: dict[str, Any], numbers: list[int]) -> None:
    body = tiny_lm(num_hidden_layers=4).base_model
    VisualExpert.Config(**settings).build(body, boundaries=(0, 0))
    with_experts = [n for n, layer in enumerate(body.layers) if hasattr(layer, "visual_expert")]
    assert with_experts == numbers


def test_roles_choose_the_maps() -> None:
    def keys(**settings: Any) -> set[str]:
        body = tiny_lm().base_model
        shared = dict.fromkeys(("qkv", "output", "mlp"), "shared")
        VisualExpert.Config(**{**shared, **settings}).build(body, boundaries=(0, 0))
        return set(body.layers[0].visual_expert)

    attention = {f"self_attn__{name}_proj" for name in "qkv"}
    assert keys(qkv="copied") == attention
    assert keys(output="copied") == {"self_attn__o_proj"}
    assert keys(mlp="low_rank") == {f"mlp__{name}_proj" for name in ("gate", "up", "down")}
    norms = {"input_layernorm", "post_attention_layernorm"}
    assert keys(norm="random") == norms


def test_an_absent_norm_leaves_visual_tokens_as_they_are() -> None:
    body = tiny_lm().base_model
    VisualExpert.Config(norm="absent").build(body, boundaries=(0, 0))
    layer, states = body.layers[0], torch.randn(2, 8, body.config.hidden_size)
    layer.current.roles = Roles(VISUAL, int(VISUAL.sum()))
    normed = layer.input_layernorm(states)
    layer.current.roles = None
    assert torch.equal(normed[VISUAL], states[VISUAL])
    assert torch.equal(normed[~VISUAL], layer.input_layernorm(states)[~VISUAL])


def test_the_last_token_of_each_image_speaks_the_language() -> None:
    """Two images in a row are two, where the published rule makes them one."""
    body = tiny_lm().base_model
    placeholders = torch.tensor([[0, *[1] * 8, 0]], dtype=torch.bool)
    for last, expected in (("language", [1, 2, 3, 5, 6, 7]), ("visual", list(range(1, 9)))):
        fusion = VisualExpert.Config(last_token=last).build(tiny_lm().base_model, boundaries=(0, 0))
        width = body.config.hidden_size
        prompt = Prompt(
            embeds=torch.zeros(1, 10, width),
            placeholders=placeholders,
            visual=torch.zeros(2, 4, width),
        )
        _, told = fusion.eval()(prompt)
        assert told[ROUTE].visual.tolist() == expected


def test_patches_share_a_position_and_boundaries_have_their_own() -> None:
    # BOS, begin, three patches, end, two words; the other sample is padded on the left.
    image = [0, 1, 1, 1, 1, 1, 0, 0]
    placeholders = torch.tensor([image, [0, *image[:-1]]], dtype=torch.bool)
    real = torch.ones(2, 8, dtype=torch.long)
    real[1, 0] = 0
    steps = shared_steps(placeholders, 5, (1, 1))
    assert positions_of(steps, real, None).tolist() == [
        [0, 1, 2, 2, 2, 3, 4, 5],
        [0, 0, 1, 2, 2, 2, 3, 4],
    ]
    plain = shared_steps(placeholders, 5, (0, 0))
    assert positions_of(plain, real, None)[0].tolist() == [0, 1, 1, 1, 1, 1, 2, 3]
    segments = torch.tensor([[0, 0, 0, 0, 0, 0, 1, 1]] * 2)
    assert positions_of(steps, None, segments)[0].tolist() == [0, 1, 2, 2, 2, 3, 0, 1]


def test_a_route_that_no_layer_hears_of_is_an_error_at_run_time() -> None:
    body = tiny_lm().base_model
    fusion = VisualExpert.Config().build(body, boundaries=(0, 0))
    with pytest.raises(ValueError, match="0 of 2 layers got the route"):
        fusion.check({ROUTE: Roles(VISUAL, 8)})


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"qkv": "shared", "output": "shared", "mlp": "shared"}, "shares every role"),
        ({"norm": "low_rank"}, "a norm has no rank"),
        ({"qkv": "absent"}, "no word would see an image"),
        ({"rank": 0}, "rank is 0"),
        ({"every": 2, "layers": (1,)}, "both choose layers"),
    ],
)
def test_settings_that_contradict_are_refused(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        VisualExpert.Config(**settings)
    with pytest.raises(ValueError, match="names layer 7; the language model has layers 0 to 1"):
        VisualExpert.Config(layers=(7,)).build(tiny_lm().base_model, boundaries=(0, 0))


def test_nothing_waits_for_the_device() -> None:
    """On the meta device a value that the host asks for cannot be had, so asking is an error."""
    body = tiny_lm().base_model
    fusion = VisualExpert.Config().build(body, boundaries=(0, 0)).eval()
    body, width = body.to("meta"), body.config.hidden_size
    prompt = Prompt(
        embeds=torch.zeros(2, 8, width, device="meta"),
        placeholders=VISUAL.to("meta"),
        visual=torch.zeros(2, TOKENS, width, device="meta"),
    )
    route = Roles(prompt.placeholders, 2 * TOKENS)
    assert (len(route.visual), len(route.text), route.span) == (8, 8, None)
    # A mask of the language model's own making would ask; one that is given does not.
    mask = torch.ones(2, 1, 8, 8, dtype=torch.bool, device="meta")
    told = {"attention_mask": mask, "use_cache": False, ROUTE: route}
    states = body(inputs_embeds=prompt.embeds, **told)
    assert states.last_hidden_state.shape == (2, 8, width)
    assert route.visits == len(fusion.layers)
    with pytest.raises(RuntimeError):
        bool(states.last_hidden_state[0, 0, 0])


def test_the_experts_are_a_part_of_their_own(tmp_path: Path) -> None:
    model, _ = tiny_model(tmp_path, connector="linear", fusion="visual_expert")
    parts = model.parts()
    assert list(parts) == ["vision_tower", "connector", "language_model", "fusion"]
    counted = [id(p) for part in parts.values() for p in part.parameters()]
    assert len(counted) == len(set(counted))
    assert set(counted) == {id(p) for p in model.parameters()}
    bare, _ = tiny_model(tmp_path / "bare", connector="linear")
    own, other = (m.parts()["language_model"].state_dict() for m in (model, bare))
    assert own.keys() == other.keys()
