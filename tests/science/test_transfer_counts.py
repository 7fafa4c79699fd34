"""Transfer counts on hand-made predictions, one image for each case, and on random ones against a slow version."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from realfeatures.science.transfer import transfer_counts

CASES = (
    # clean source, clean target, attacked source, attacked target, label
    (1, 1, 2, 2, 1),  # same mistake
    (1, 1, 2, 3, 1),  # different mistake
    (1, 1, 2, 1, 1),  # the target is not fooled
    (1, 1, 1, 2, 1),  # the source is not fooled: not counted
    (2, 1, 2, 2, 1),  # the source was wrong before: not counted
    (1, 2, 2, 2, 1),  # the target was wrong before: not counted
)


def test_each_case_counts_as_what_it_is():
    predictions = torch.tensor(CASES, dtype=torch.int16).T
    assert transfer_counts(*predictions[:4], predictions[4].long()) == {
        "n": 3,
        "transferred": 2,
        "same_mistake": 1,
        "different_mistake": 1,
    }


def test_a_model_transfers_to_itself_wholly_and_with_the_same_mistakes():
    clean, attacked, labels = torch.tensor([0, 1, 2, 0]), torch.tensor([1, 1, 0, 2]), torch.tensor([0, 1, 2, 1])
    counts = transfer_counts(clean, clean, attacked, attacked, labels)
    assert counts == {"n": 2, "transferred": 2, "same_mistake": 2, "different_mistake": 0}


@given(st.lists(st.tuples(*[st.integers(0, 2)] * 5), min_size=1, max_size=60))
def test_counts_are_those_of_a_loop(rows):
    fooled = [row for row in rows if row[0] == row[1] == row[4] != row[2]]
    transferred = [row for row in fooled if row[3] != row[4]]
    same = sum(row[2] == row[3] for row in transferred)
    assert transfer_counts(*torch.tensor(rows).T) == {
        "n": len(fooled),
        "transferred": len(transferred),
        "same_mistake": same,
        "different_mistake": len(transferred) - same,
    }
