"""Counting transfer: how many of one classifier's adversarial images fool another, and with the same mistake.

Source: the split into same and different mistakes is Waseda et al. 2023 (arXiv 2112.14337).
"""

from torch import Tensor


def transfer_counts(
    clean_source: Tensor, clean_target: Tensor, attacked_source: Tensor, attacked_target: Tensor, labels: Tensor
) -> dict[str, int]:
    """Count images by what source and target make of them before and after an attack on the source.

    Args:
        clean_source: (N,) the class that the source takes each clean image for.
        clean_target: (N,) the same of the target.
        attacked_source: (N,) the class that the source takes its own adversarial images for.
        attacked_target: (N,) the class that the target takes these same images for.
        labels: (N,) the right classes.

    Returns:
        n: images that both classify correctly when clean, and whose adversarial image fools the source.
        transferred: of these, fool the target too; the sum of same_mistake (both say the same wrong class) and
        different_mistake.
    """
    counted = (clean_source == labels) & (clean_target == labels) & (attacked_source != labels)
    transferred = counted & (attacked_target != labels)
    same = transferred & (attacked_target == attacked_source)
    return {
        "n": int(counted.sum()),
        "transferred": int(transferred.sum()),
        "same_mistake": int(same.sum()),
        "different_mistake": int((transferred & ~same).sum()),
    }
