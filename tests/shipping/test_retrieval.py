"""The model of transformers that compares and matches, there and back."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import (
    Blip2ForImageTextRetrieval,
    Blip2Processor,
    Blip2QFormerModel,
    PreTrainedTokenizerFast,
)

from isthmus import IsthmusForAlignment, load_alignment
from isthmus.axes import Patches
from isthmus.connectors._qformer_names import BESIDE_FILE
from isthmus.modeling.alignment import Texts
from isthmus.modeling.modeling_alignment import similarity
from isthmus.shipping.export import export
from isthmus.shipping.import_ import import_model
from tests.shipping import published
from tests.shipping.published import NUM_QUERIES, close, pixels, save_retrieval, texts
from tests.tiny import tiny_image
from tests.tiny_alignment import VOCAB, alignment_processor, text_tokenizer, tiny_alignment


def test_there_and_back(tmp_path: Path) -> None:
    stock = save_retrieval(tmp_path / "stock")
    imported = import_model(str(tmp_path / "stock"))
    assert len(imported.notes) == 1
    assert "no language head and no temperature" in imported.notes[0]
    imported.save(tmp_path / "ours")
    model, processor = load_alignment(tmp_path / "ours")
    assert model.temperature.item() == pytest.approx(0.07)
    same_answers(model, stock)

    notes = export(model, processor, "blip2_retrieval", tmp_path / "back")
    assert len(notes) == 1
    assert "both were left out" in notes[0]
    back = Blip2ForImageTextRetrieval.from_pretrained(tmp_path / "back")
    assert published.same(back, stock)
    before, after = (
        Blip2Processor.from_pretrained(tmp_path / folder)(
            images=tiny_image(), text=["a red square"], return_tensors="pt"
        )
        for folder in ("stock", "back")
    )
    assert all(torch.equal(before[n], after[n]) for n in before)
    with torch.no_grad():
        close(back(**after).text_embeds, stock(**before).text_embeds)
        ours = model(**processor(images=tiny_image(), text="a red square"))
        close(ours.text_embeds, stock(**before).text_embeds)
        found = ours.logits_per_image * model.temperature
        assert (found - stock(**before).logits_per_image).abs().max() < 1e-5


def same_answers(model: IsthmusForAlignment, stock: Blip2ForImageTextRetrieval) -> None:
    """Similarities of all pairs, and how well each matches."""
    own, theirs = pixels(3)
    given = texts(3)
    placeholders = torch.full((3, NUM_QUERIES), VOCAB)
    asked = {
        "pixel_values": theirs,
        "input_ids": torch.cat([placeholders, given["input_ids"]], dim=1),
        "attention_mask": torch.cat([placeholders * 0 + 1, given["attention_mask"]], dim=1),
    }
    with torch.no_grad():
        expected = stock(**asked)
        matched = stock(**asked, use_image_text_matching_head=True).logits_per_image
        found = model(pixel_values=own, **given)
        seen = model.see(model.encode_images(own))
        close(model.match(seen, Texts(**given)), matched)
        close(found.image_embeds, expected.image_embeds)
        close(found.text_embeds, expected.text_embeds)
        close(similarity(found.image_embeds, found.text_embeds), expected.logits_per_image)
        close(found.logits_per_text * model.temperature, expected.logits_per_text)


def test_fewer_positions_than_a_caption_has_by_default(tmp_path: Path) -> None:
    stock = save_retrieval(tmp_path, max_position_embeddings=20)
    imported = import_model(str(tmp_path))
    model, processor = imported.model, imported.processor
    assert isinstance(model, IsthmusForAlignment)
    assert processor(text="star " * 40)["input_ids"].shape == (1, 20)
    same_answers(model, stock)


def test_a_vocabulary_without_the_mark_before_captions_gets_a_row(tmp_path: Path) -> None:
    backend = text_tokenizer().backend_tokenizer.to_str().replace('"[DEC]"', '"[unused]"')
    marks = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(backend), **marks)
    stock = save_retrieval(tmp_path, tokenizer)
    imported = import_model(str(tmp_path))
    assert "no mark before captions" in imported.notes[0]
    model = imported.model
    assert isinstance(model, IsthmusForAlignment)
    # The published processor put its placeholder behind the words, and the mark stands behind it.
    assert model.config.bos_token_id == VOCAB + 1
    words = model.get_input_embeddings().weight
    assert torch.equal(words[:VOCAB], stock.embeddings.word_embeddings.weight)
    same_answers(model, stock)


def test_a_qformer_without_a_text_side_is_refused(tmp_path: Path) -> None:
    save_retrieval(tmp_path, use_qformer_text_input=False)
    with pytest.raises(ValueError, match="has use_qformer_text_input False, and a Blip2ForImageTe"):
        import_model(str(tmp_path))


@pytest.mark.parametrize("prefix", [False, True])
def test_the_qformer_of_any_tower_alone(prefix: bool, tmp_path: Path) -> None:
    model = tiny_alignment(vision_prefix=prefix)
    for parameter in model.qformer.parameters():
        nn.init.normal_(parameter, std=0.4)
    notes = export(model, alignment_processor(model), "blip2_qformer", tmp_path / "alone")
    assert BESIDE_FILE in notes[0]
    stock = Blip2QFormerModel.from_pretrained(tmp_path / "alone").eval()
    beside = load_file(tmp_path / "alone" / BESIDE_FILE)
    states = torch.randn(2, 17 if prefix else 16, model.config.d_vision)
    patches = Patches.of_states(states, (4, 4))
    given = texts(2)
    with torch.no_grad():
        seen = model.see(patches)
        queries = beside["query_tokens"].expand(2, -1, -1)
        normed = _layer_norm(beside, "ln_vision", states)
        expected = stock(query_embeds=queries, encoder_hidden_states=normed).last_hidden_state
        close(model.queries(seen)[0], expected)
        embedded = nn.functional.linear(
            expected, beside["vision_projection.weight"], beside["vision_projection.bias"]
        )
        close(model.image_embeds(model.queries(seen)[0]), nn.functional.normalize(embedded, dim=-1))
        words = beside["embeddings.word_embeddings.weight"][given["input_ids"]]
        words = words + beside["embeddings.position_embeddings.weight"][: words.shape[1]]
        rows = torch.cat([queries, words], dim=1)
        mask = torch.cat([torch.ones(2, queries.shape[1]), given["attention_mask"]], dim=1)
        both = stock(
            query_embeds=rows,
            query_length=queries.shape[1],
            attention_mask=mask.long(),
            encoder_hidden_states=normed,
        ).last_hidden_state[:, : queries.shape[1]]
        close(model.match(seen, Texts(**given)), model.itm_head(both).mean(1))


def _layer_norm(beside: dict[str, Tensor], name: str, states: Tensor) -> Tensor:
    weight, bias = beside[f"{name}.weight"], beside[f"{name}.bias"]
    return nn.functional.layer_norm(states, states.shape[-1:], weight, bias, eps=1e-5)
