"""Captions of a Q-Former as answers to the requests of a benchmark."""

from collections.abc import Iterator, Sequence

import torch

from isthmus.data.views import read_views
from isthmus.evaluation.requests import Answer, Generate, Request
from isthmus.modeling.captioning import write_captions
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
    """Yields a caption for each request; what it asks is not read.

    Args:
        model: in evaluation mode.
        processor: of the model.
        requests: for text about one image each.
        batch_size: captions written at once.
        num_beams: beams of a caption; 1 takes the likeliest word each time.

    Raises:
        ValueError: a request is for something else, or shows no image, or several.
    """
    asked = [_captionable(request) for request in requests]
    longest = model.config.max_caption_tokens - 1
    for start in range(0, len(asked), batch_size):
        batch = asked[start : start + batch_size]
        pixels = torch.cat([read_views(request.prompt.images[0], processor) for request in batch])
        written = write_captions(
            model,
            model.see(model.encode_images(pixels.to(model.device))),
            max_new_tokens=min(longest, max(request.max_new_tokens for request in batch)),
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
