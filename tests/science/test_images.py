"""An image set holds what its attributes promise, or there is none."""

import pytest
import torch

from realfeatures.errors import DataError
from realfeatures.science.data.images import ImageSet

IMAGES, LABELS = torch.zeros(3, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1, 1])


@pytest.mark.parametrize(
    ("images", "labels", "text"),
    [
        (IMAGES / 255, LABELS, r"images are float32 \(3, 1, 2, 2\), expected uint8"),
        (IMAGES[:, 0], LABELS, r"images are uint8 \(3, 2, 2\), expected uint8 \(N, C, H, W\)"),
        (IMAGES[:0], LABELS[:0], "N at least 1"),
        (IMAGES, LABELS[:2], r"labels are int64 \(2,\), expected int64 \(3,\)"),
        (IMAGES, LABELS.int(), r"labels are int32 \(3,\), expected int64 \(3,\)"),
        (IMAGES, LABELS + 1, "labels from 1 to 2, of 2 classes expected 0 to 1"),
        (IMAGES, LABELS - 1, "labels from -1 to 0, of 2 classes expected 0 to 1"),
    ],
)
def test_what_is_no_labelled_image_set_is_refused(images, labels, text) -> None:
    with pytest.raises(DataError, match=text):
        ImageSet(images, labels, ("a", "b"))
