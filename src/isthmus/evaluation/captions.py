"""Captions of a Q-Former as answers to the requests of a benchmark."""

from collections.abc import Iterator, Sequence
from itertools import groupby

import torch

from isthmus.data.views import read_views
from isthmus.evaluation.mode import measured
from isthmus.evaluation.requests import Answer, Generate, Request
from isthmus.evaluation.settings import check_counts, chunks
from isthmus.modeling.captioning import longest_caption, write_captions
from isthmus.modeling.modeling_alignment import IsthmusForAlignment
from isthmus.modeling.processing_alignment import IsthmusAlignmentProcessor


def caption_requests(
    model: IsthmusForAlignment,
    processor: IsthmusAlignmentProcessor,
    requests: Sequence[Request],
    *,
    batch_size: int,
    num_beams: int = 1,
) -> Iterator[Answer]:
    """Yields a caption for each request, those of the longest limit first.

    What a request asks is not read. A caption ends where the model has learned no longer ones, too.

    Args:
        model: that writes.
        processor: of the model.
        requests: for text about one image each.
        batch_size: captions written at once.
        num_beams: beams of a caption; 1 takes the likeliest word each time.

    Raises:
        ValueError: a request is for something else, or shows no image, or several.
    """
    check_counts(1, batch_size=batch_size, num_beams=num_beams)
    longest = longest_caption(model)

    def limit(request: Generate) -> int:
        return min(request.max_new_tokens, longest)

    # One limit for a batch: with room for more words, beams may find another caption.
    asked = sorted(map(_captionable, requests), key=limit, reverse=True)
    for max_new_tokens, alike in groupby(asked, key=limit):
        for batch in chunks(list(alike), batch_size):
            with measured(model):
                pixels = [read_views(request.prompt.images[0], processor) for request in batch]
                written = write_captions(
                    model,
                    model.see(model.encode_images(torch.cat(pixels).to(model.device))),
                    max_new_tokens=max_new_tokens,
                    num_beams=num_beams,
                )
            texts = processor.tokenizer.batch_decode(written, skip_special_tokens=True)
            ended = (written == model.config.eos_token_id).any(dim=1).tolist()
            for request, text, finished in zip(batch, texts, ended, strict=True):
                yield Answer(id=request.id, text=text.strip(), finished=finished)


def _captionable(request: Request) -> Generate:
    if not isinstance(request, Generate) or len(request.prompt.images) != 1:
        raise ValueError(
            f"the request {request.id!r} is no question about one image that is answered in free "
            "text; a model that holds images and texts together writes captions of one image, so "
            "measure it by 'retrieval', or by a file of captions"
        )
    return request
