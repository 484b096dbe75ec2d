"""CapFilt: more captions for each image, and of all of them those that fit it best.

A captioner writes candidates beside the captions that a file has; a judge scores each of them; the
best few stay. The file grows chunk by chunk, and each chunk has a seed of its own, so a run that
was killed goes on and ends with the same file.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, Literal, final

import torch
from rich.console import Console
from rich.progress import track

from isthmus.config import Config, digest_of
from isthmus.data.pairs import pairs_of
from isthmus.data.sample import Sample
from isthmus.data.views import read_views
from isthmus.evaluation.judges import Judge
from isthmus.modeling import fingerprint
from isthmus.modeling.captioning import write_captions
from isthmus.modeling.modeling_alignment import IsthmusForAlignment
from isthmus.modeling.processing_alignment import IsthmusAlignmentProcessor

Source = Literal["original", "generated"]
Captioner = tuple[IsthmusForAlignment, IsthmusAlignmentProcessor]
"""A model and its processor."""


@final
@dataclass(frozen=True, kw_only=True)
class Settings(Config):
    """How captions are made and chosen."""

    candidates: int = 10
    """Captions that are written for each image (BLIP-2: 10)."""
    keep: int = 2
    """Captions of an image that stay (BLIP-2: 2)."""
    top_p: float = 0.9
    """Words are drawn from the likeliest that make up this probability."""
    max_new_tokens: int = 30
    """Longest caption."""
    seed: int = 0
    """Of the draws."""
    chunk: int = 16
    """Images at once."""

    def __post_init__(self) -> None:
        """Checks the counts.

        Raises:
            ValueError: one is too small.
        """
        for name, least in (("candidates", 0), ("keep", 1), ("chunk", 1)):
            if (value := getattr(self, name)) < least:
                raise ValueError(f"capfilt.{name} is {value}; expected {least} or more")


@final
@dataclass(frozen=True, kw_only=True)
class Caption:
    """A candidate."""

    text: str
    source: Source
    score: float = 0.0


def filter_captions(
    samples: Sequence[Sample],
    output: Path,
    *,
    captioner: Captioner | None,
    judge: Judge,
    settings: Settings,
    image_root: Path,
    console: Console | None = None,
) -> dict[str, int]:
    """Writes a data file with the best captions of each image; goes on where it was left.

    Paper: BLIP, arXiv 2201.12086, section 3.3; the choice of the best few is BLIP-2's, arXiv
        2301.12597, section 3.4.

    Args:
        samples: of one image each, whose answers are its captions.
        output: JSON lines of messages, with the score and the source of each caption in its
            `meta`; what made it stands beside it, as `.provenance.json`.
        captioner: writes candidates; None chooses among those that are there.
        judge: scores them.
        settings: how many.
        image_root: that the paths in the file start from.
        console: where a bar shows how far it is.

    Returns:
        Captions that stay, by their source.

    Raises:
        ValueError: the output was begun with other settings, models or images.
        Fault: a sample shows no image, or several.
    """
    given = _by_image(samples)
    about = {
        "settings": settings.to_dict(),
        "judge": judge.identity,
        "captioner": fingerprint.of_weights(captioner[0].state_dict()) if captioner else None,
        "images": digest_of([[str(p.relative_to(image_root)), c] for p, c in given.items()]),
    }
    progress = output.with_suffix(".progress.json")
    state = _begun(output, progress, about)
    chunks = list(_chunks(list(given), settings.chunk))
    with output.open("ab") as file:
        for number, paths in track(
            list(enumerate(chunks))[state["chunks"] :],
            description="captions",
            console=console,
            transient=True,
            disable=console is None,
        ):
            kept = _best(paths, given, number, captioner, judge, settings)
            lines = [
                json.dumps(_row(path, place, caption, image_root), ensure_ascii=False)
                for path, captions in kept.items()
                for place, caption in enumerate(captions)
            ]
            file.write("".join(f"{line}\n" for line in lines).encode())
            file.flush()
            os.fsync(file.fileno())
            for captions in kept.values():
                for caption in captions:
                    state[caption.source] += 1
            state |= {"chunks": number + 1, "bytes": file.tell()}
            _write(progress, {"about": about, "state": state})
    counts = {source: state[source] for source in ("original", "generated")}
    _write(output.with_suffix(".provenance.json"), {**about, "kept": counts})
    progress.unlink(missing_ok=True)
    return counts


def _best(
    paths: Sequence[Path],
    given: Mapping[Path, list[str]],
    number: int,
    captioner: Captioner | None,
    judge: Judge,
    settings: Settings,
) -> dict[Path, list[Caption]]:
    """Returns the best captions of some images."""
    candidates = {path: [Caption(text=t, source="original") for t in given[path]] for path in paths}
    if captioner and settings.candidates:
        written = _written(paths, number, captioner, settings)
        for path, texts in written.items():
            there = {caption.text for caption in candidates[path]}
            new = [text for text in dict.fromkeys(texts) if text and text not in there]
            candidates[path] += [Caption(text=text, source="generated") for text in new]
    scores = iter(_scores(candidates, judge))
    return {
        path: sorted(
            (replace(caption, score=next(scores)) for caption in captions),
            key=lambda caption: -caption.score,
        )[: settings.keep]
        for path, captions in candidates.items()
    }


def _written(
    paths: Sequence[Path], number: int, captioner: Captioner, settings: Settings
) -> dict[Path, list[str]]:
    """Returns what the captioner writes of images."""
    model, processor = captioner
    pixels = torch.cat([read_views(path, processor) for path in paths]).to(model.device)
    torch.manual_seed(Random(f"capfilt/{settings.seed}/{number}").getrandbits(63))
    with torch.inference_mode():
        ids = write_captions(
            model,
            model.see(model.encode_images(pixels)),
            max_new_tokens=settings.max_new_tokens,
            do_sample=True,
            top_p=settings.top_p,
            num_return_sequences=settings.candidates,
        )
    texts = processor.tokenizer.batch_decode(ids, skip_special_tokens=True)
    per_image = _chunks([text.strip() for text in texts], settings.candidates)
    return dict(zip(paths, map(list, per_image), strict=True))


def _scores(candidates: Mapping[Path, Sequence[Caption]], judge: Judge) -> list[float]:
    """Returns the score of each candidate, image after image."""
    texts = [caption.text for captions in candidates.values() for caption in captions]
    owners = [n for n, captions in enumerate(candidates.values()) for _ in captions]
    pairs = torch.tensor([owners, list(range(len(texts)))]).T
    return judge.scores(list(candidates), texts, pairs)


def _by_image(samples: Sequence[Sample]) -> dict[Path, list[str]]:
    given: dict[Path, list[str]] = {}
    for pair in (pair for sample in samples for pair in pairs_of(sample)):
        captions = given.setdefault(pair.image, [])
        if pair.caption not in captions:
            captions.append(pair.caption)
    return given


def _row(path: Path, place: int, caption: Caption, image_root: Path) -> dict[str, Any]:
    name = path.relative_to(image_root).as_posix()
    about = asdict(caption)
    text = about.pop("text")
    return {
        "id": f"{name}#{place + 1}",
        "images": [name],
        "messages": [
            {"role": "user", "content": [{"type": "image"}]},
            {"role": "assistant", "content": text},
        ],
        "meta": {"capfilt": about},
    }


def _begun(output: Path, progress: Path, about: Mapping[str, Any]) -> dict[str, int]:
    """Returns how far an earlier run came, and cuts off what it left half written."""
    fresh = {"chunks": 0, "bytes": 0, "original": 0, "generated": 0}
    if not progress.exists():
        if output.exists():
            raise ValueError(f"{output} is there already; choose another file, or delete it")
        output.parent.mkdir(parents=True, exist_ok=True)
        _write(progress, {"about": about, "state": fresh})
        output.touch()
        return fresh
    kept = json.loads(progress.read_text(encoding="utf-8"))
    if kept["about"] != about:
        differing = [name for name, value in about.items() if kept["about"].get(name) != value]
        raise ValueError(
            f"{output} was begun with other {', '.join(differing)}; give the same again, or choose "
            "another file"
        )
    with output.open("ab") as file:
        file.truncate(kept["state"]["bytes"])
    return kept["state"]


def _write(path: Path, value: Any) -> None:
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def _chunks(values: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (values[start : start + size] for start in range(0, len(values), size))
