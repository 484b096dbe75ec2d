"""RefCOCO, RefCOCO+ and RefCOCOg as published: `refs(...).p` beside COCO's `instances.json`."""

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar, Literal, final

from isthmus.data.facts import Item, Located
from isthmus.data.faults import Fault, Filtered
from isthmus.data.sources._files import by_id, decoded, read_bytes, read_object
from isthmus.data.sources._values import box, check_template, filled, size, text
from isthmus.data.sources.base import Reader, expect, image_paths


@final
@dataclass(frozen=True, kw_only=True)
class Refcoco(Reader):
    """Reads the references of `refs(unc).p`, `refs(google).p` or `refs(umd).p`; a row is one.

    A reference names an annotation, `ann_id`, and an image, `image_id`, of `instances.json`, and
    holds several sentences that tell the same box. Each of them is a fact; the box of the
    annotation is left, top, width and height. The name of the image is that among the `images`: the
    one that the reference holds has the number of the annotation in it.
    """

    files: ClassVar[tuple[str, ...]] = ("refs", "instances")

    split: Literal["train", "val", "test", "testA", "testB"] = "train"
    """`testA` shows people, `testB` other things; RefCOCOg has `test` instead."""
    image: str = "{file_name}"
    """Template of an image's path, of what `images` tells of it."""

    def __post_init__(self) -> None:
        """Checks the template."""
        check_template(self.image)

    def rows(self, files: Mapping[str, Path]) -> Sequence[Any]:
        """Returns the references, each with its annotation and image; see `Reader.rows`."""
        instances = read_object(files["instances"], "images", "annotations")
        annotations = by_id(instances["annotations"], "id")
        images = by_id(instances["images"], "id")
        refs = _unpickled(files["refs"])
        return [
            {
                "ref": ref,
                "annotation": annotations.get(str(ref.get("ann_id"))),
                "image": images.get(str(ref.get("image_id"))),
            }
            if isinstance(ref, dict)
            else ref
            for ref in refs
        ]

    def content(self, row: Any, *, name: str, image_root: Path) -> Item:
        """Returns a box with its phrases; see `Reader.content`."""
        row = decoded(row)
        ref, annotation, image = row["ref"], row["annotation"], row["image"]
        if ref.get("split") != self.split:
            raise Filtered("split")
        if annotation is None or image is None:
            raise Fault(
                "no_partner",
                f"the instances lack the annotation {ref.get('ann_id')!r:.80} or the image "
                f"{ref.get('image_id')!r:.80} of a reference",
            )
        place = box(annotation.get("bbox"), "bbox", "xywh")
        extent = size(image.get("width"), image.get("height"))
        sentences = expect(ref.get("sentences"), list, "sentences")
        return Item(
            id=text(ref.get("ref_id"), "ref_id"),
            images=image_paths(filled(self.image, image), image_root),
            facts=tuple(
                Located(phrase=_sentence(each), box=place, size=extent) for each in sentences
            ),
            task="region",
        )


def _sentence(value: Any) -> str:
    return text(expect(value, dict, "a sentence").get("sent"), "sent")


# The unpickler in Python, not in C: there one damaged byte costs gigabytes of empty memory.
@final
class _DataUnpickler(pickle._Unpickler):
    """Reads lists, objects, texts and numbers; whatever else a pickle may hold is refused."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """Refuses every class and function: what a pickle calls runs as the user.

        Raises:
            UnpicklingError: always.
        """
        raise pickle.UnpicklingError(
            f"it calls {module_name}.{global_name}, and only lists, objects, texts and numbers are "
            "read; take the file from where RefCOCO is published"
        )


def _unpickled(file: Path) -> list[Any]:
    content = BytesIO(read_bytes(file))
    try:
        # Python 2 wrote the files; its texts are bytes.
        refs = _DataUnpickler(content, encoding="latin1").load()
    except Exception as error:  # what is no pickle raises anything
        raise ValueError(f"{file} is no pickle of references ({error})") from error
    if not isinstance(refs, list):
        raise ValueError(f"{file} holds a {type(refs).__name__}; expected a list of references")
    return refs


READER = Refcoco
