"""An evaluation's numbers, its flags, and how it resumes."""

import itertools
import math

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from realfeatures.errors import ConfigError, Interrupted
from realfeatures.experiment.config import AttackConfig, KNNConfig, ThreatModel
from realfeatures.experiment.vocabulary import Norm
from realfeatures.science.artifacts import OutputDir, load_tensors
from realfeatures.science.checkpoint import Checkpoint
from realfeatures.science.context import Run
from realfeatures.science.data.images import ImageSet, to_float
from realfeatures.science.evaluation import Evaluation, evaluate, evaluate_neighbours
from realfeatures.science.paradigms.base import ImageShape, WithHead
from realfeatures.science.paradigms.control import Pixels

CLASSES = 4
"""The fewest for the standard AutoAttack, which is then fastest."""


def digits() -> ImageSet:
    data = load_digits()
    kept = data.target < CLASSES
    images = torch.tensor(data.images[kept] / 16 * 255).round().to(torch.uint8).unsqueeze(1)
    return ImageSet(images, torch.tensor(data.target[kept]), tuple("0123"))


@pytest.fixture(scope="module")
def model() -> nn.Module:
    """A linear classifier of the digits 0 to 3, trained for a moment so that it makes mistakes."""
    train = digits()
    network = WithHead(Pixels(ImageShape(1, 8, 8)), nn.Linear(64, CLASSES))
    nn.init.zeros_(network.head.weight)
    nn.init.zeros_(network.head.bias)
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    for _ in range(20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(to_float(train.images[200:])), train.labels[200:]).backward()
        optimizer.step()
    return network.eval().requires_grad_(False)


def config(**changes) -> AttackConfig:
    values = {
        "images": 40,
        "pgd": (
            ThreatModel(norm=Norm.L2, epsilon=0),
            ThreatModel(norm=Norm.L2, epsilon=0.7),
            ThreatModel(norm=Norm.L2, epsilon=1.0),
            ThreatModel(norm=Norm.LINF, epsilon=0.1),
        ),
        "pgd_steps": 10,
        "pgd_relative_step_size": 0.25,
        # So large that Square ends early.
        "autoattack": (ThreatModel(norm=Norm.LINF, epsilon=0.6),),
        "autoattack_images": 10,
        "batch_size": 16,
    }
    return AttackConfig.model_validate(values | changes)


@pytest.fixture(scope="module")
def evaluation(model) -> Evaluation:
    return evaluate(config(), model, images_to_attack(), Run(seed=1))


def images_to_attack() -> ImageSet:
    return digits().first(60)


def of(evaluation: Evaluation, attack: str, norm: str, epsilon: float) -> dict:
    keys = {"attack": attack, "norm": norm, "epsilon": epsilon}
    (found,) = (entry for entry in evaluation.measurements if keys.items() <= entry.items())
    return found


def test_clean_accuracy_counts_all_images(evaluation, model):
    images = images_to_attack()
    right = model(to_float(images.images)).argmax(1) == images.labels
    assert 0 < right.sum() < 60
    assert of(evaluation, "none", "none", 0.0) == {
        "attack": "none",
        "norm": "none",
        "epsilon": 0.0,
        "protocol": "natural",
        "metric": "clean_accuracy",
        "correct": int(right.sum()),
        "n": 60,
        "details": {},
    }
    assert torch.equal(evaluation.flags["clean"], right.to(torch.uint8))


def test_robust_accuracy_falls_with_epsilon_from_clean_accuracy(evaluation):
    clean = evaluation.flags["clean"][:40]
    assert torch.equal(evaluation.flags["pgd_L2_0"], clean)
    counts = [of(evaluation, "pgd", "L2", epsilon)["correct"] for epsilon in (0, 0.7, 1.0)]
    assert counts[0] > counts[1] > counts[2]
    for name in ("pgd_L2_0.7", "pgd_L2_1", "pgd_Linf_0.1"):
        assert (evaluation.flags[name] <= clean).all()


def test_pgd_on_a_linear_model_leaves_only_images_with_a_large_enough_margin(evaluation, model):
    """An image whose margin to each class exceeds epsilon ||w_y - w_k|| is robust for certain."""
    images = images_to_attack().first(40)
    logits, weight = model(to_float(images.images)), model.head.weight
    own = images.labels
    margins = logits.gather(1, own.unsqueeze(1)) - logits
    lengths = (weight[own].unsqueeze(1) - weight).norm(dim=2)
    others = torch.arange(CLASSES) != own.unsqueeze(1)
    certain = ((margins > 0.7 * lengths * 1.0001) | ~others).all(1)
    flags = evaluation.flags["pgd_L2_0.7"].bool()
    assert (flags >= certain).all()
    # The box and the choice of one class's direction may save a few more, not many.
    assert flags.sum() <= certain.sum() + 4
    assert 0 < certain.sum() < 40


def test_an_attack_on_the_representation_needs_no_labels(model):
    threats = (ThreatModel(norm=Norm.L2, epsilon=0.5), ThreatModel(norm=Norm.L2, epsilon=3.0))
    images = images_to_attack()
    found = evaluate(config(pgd=threats, representation=threats, autoattack=()), model, images, Run(seed=1))
    labelled, label_free = (
        [of(found, attack, "L2", one.epsilon)["correct"] for one in threats] for attack in ("pgd", "pgd_representation")
    )
    clean = int(found.flags["clean"][:40].sum())
    # Moving as far as it can in a random direction fools less than moving towards a mistake, and more than nothing.
    assert labelled[0] <= label_free[0] <= clean
    assert label_free[1] < clean
    shuffled = ImageSet(images.images, images.labels.roll(1), images.classes)
    other = evaluate(config(pgd=(), representation=threats, autoattack=()), model, shuffled, Run(seed=1))
    assert set(other.flags) == {"clean", "pgd_representation_L2_0.5", "pgd_representation_L2_3"}


def test_an_evaluation_looks_for_gradient_masking_where_it_is_asked_to(model, evaluation):
    assert "masking" not in evaluation.record
    found = evaluate(config(masking_images=20), model, images_to_attack(), Run(seed=1)).record["masking"]
    # A linear model hides nothing.
    assert not any(found["checks"].values())
    assert {"L2 flat_loss", "Linf zero_gradient", "Linf square_below_apgd"} <= set(found["checks"])
    assert found["details"]["L2 n"] == 20


def test_attacks_may_start_at_another_set(model):
    robust = evaluate(config(protocol="robust_set", autoattack=()), model, images_to_attack(), Run(seed=1))
    assert {entry["protocol"] for entry in robust.measurements} == {"robust_set"}


class Shaken(nn.Module):
    """An encoder that is random by design: flattened pixels and a little noise."""

    randomised = True

    def forward(self, images):
        return images.flatten(1) + 0.05 * torch.randn(len(images), 64)


def test_a_random_encoder_gets_the_autoattack_for_such_and_the_same_numbers_again(model, tmp_path):
    shaken = WithHead(Shaken(), model.head).eval()
    run = lambda **rest: evaluate(config(), shaken, images_to_attack(), Run(seed=1, **rest))  # noqa: E731
    found = run()
    details = of(found, "autoattack", "Linf", 0.6)["details"]
    assert details["version"] == "rand"
    assert list(details["accuracy_after"]) == ["clean", "apgd-ce", "apgd-dlr"]
    assert details["checks"]["randomized"]
    polls = itertools.count()
    with pytest.raises(Interrupted):
        run(checkpoint=Checkpoint(tmp_path / "state", stop=lambda: next(polls) >= 2))
    assert run(checkpoint=Checkpoint(tmp_path / "state")).measurements == found.measurements


def test_neighbours_are_measured_as_a_clean_accuracy(model):
    images = images_to_attack()
    train = ImageSet(digits().images[200:], digits().labels[200:], images.classes)
    found = evaluate_neighbours(KNNConfig(neighbours=3, temperature=0.1), model.encoder, train, images, Run(seed=1))
    (measurement,) = found.record["measurements"]
    assert measurement["metric"] == "clean_accuracy"
    assert measurement["correct"] == int((found.predictions == images.labels).sum()) > 50
    assert int(found.flags["clean"].sum()) == measurement["correct"]


def test_a_measurement_says_how_it_was_taken(evaluation):
    entry = of(evaluation, "pgd", "Linf", 0.1)
    assert entry["metric"] == "robust_accuracy"
    assert entry["n"] == 40
    assert entry["details"] == {"steps": 10, "step_size": pytest.approx(0.025)}
    details = of(evaluation, "autoattack", "Linf", 0.6)["details"]
    assert list(details["accuracy_after"]) == ["clean", "apgd-ce", "apgd-t", "fab-t", "square"]
    assert not any(details["checks"].values())


def test_flags_add_up_to_the_measurements_and_are_saved(evaluation, tmp_path):
    evaluation.save(OutputDir(tmp_path))
    saved = load_tensors(tmp_path / "flags.safetensors")
    assert saved.keys() == {"clean", "pgd_L2_0", "pgd_L2_0.7", "pgd_L2_1", "pgd_Linf_0.1", "autoattack_Linf_0.6"}
    for name, entry in zip(evaluation.flags, evaluation.measurements, strict=True):
        assert saved[name].dtype == torch.uint8
        assert (len(saved[name]), int(saved[name].sum())) == (entry["n"], entry["correct"])


def test_an_evaluation_that_is_stopped_again_and_again_ends_with_the_same_result(evaluation, model, tmp_path):
    # After each of the measurements before AutoAttack, at its first calls of the model, and deep within it.
    polls, asked = itertools.count(1), {*range(1, 9), 100, 400, 1000, 3000}
    checkpoint = Checkpoint(tmp_path / "checkpoint.safetensors", stop=lambda: next(polls) in asked)
    stops, resumed = 0, None
    while resumed is None:
        try:
            resumed = evaluate(config(), model, images_to_attack(), Run(seed=1, checkpoint=checkpoint))
        except Interrupted:
            stops += 1
    assert stops > len(evaluation.measurements)  # within AutoAttack too
    assert resumed.measurements == evaluation.measurements
    assert list(resumed.flags) == list(evaluation.flags)
    assert all(torch.equal(resumed.flags[name], flags) for name, flags in evaluation.flags.items())


def test_a_finished_measurement_is_not_taken_again(model, tmp_path, monkeypatch):
    monkeypatch.setattr("realfeatures.science.checkpoint.LARGEST_SHARE", math.inf)
    checkpoint = Checkpoint(tmp_path / "checkpoint.safetensors", interval_seconds=0)
    evaluation = evaluate(config(autoattack=()), model, images_to_attack(), Run(seed=1, checkpoint=checkpoint))

    def unexpected(_):
        raise AssertionError("the model was asked again")

    again = evaluate(config(autoattack=()), unexpected, images_to_attack(), Run(seed=1, checkpoint=checkpoint))
    assert again.measurements == evaluation.measurements


def test_the_same_seed_gives_the_same_flags_and_the_global_generator_is_left_alone(evaluation, model):
    before = torch.random.get_rng_state()
    again = evaluate(config(), model, images_to_attack(), Run(seed=1))
    assert all(torch.equal(again.flags[name], flags) for name, flags in evaluation.flags.items())
    assert torch.equal(torch.random.get_rng_state(), before)


def test_progress_counts_every_attack_of_autoattack(model):
    told = []
    run = Run(seed=1, progress=lambda done, total: told.append((done, total)))
    evaluate(config(), model, images_to_attack(), run)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert {done for done, _ in told} == set(range(1, 10))  # clean, 4 x PGD, 4 attacks
    assert {total for _, total in told} == {9}


def test_fewer_images_than_asked_for_are_all_attacked(model):
    counted = evaluate(config(images=1000, autoattack=()), model, digits().first(20), Run(seed=1))
    assert {entry["n"] for entry in counted.measurements} == {20}


def test_autoattack_is_not_weaker_than_pgd(model):
    """Its robust accuracy may exceed PGD's by no more than PGD's 95 % interval."""
    threat = ThreatModel(norm=Norm.LINF, epsilon=0.1)
    changes = {"images": 30, "pgd": (threat,), "autoattack": (threat,), "autoattack_images": 30, "batch_size": 30}
    _, pgd, autoattack = evaluate(config(**changes), model, images_to_attack(), Run(seed=1)).measurements
    share = pgd["correct"] / 30
    assert 0 < share < 1
    assert autoattack["correct"] / 30 <= share + 1.96 * (share * (1 - share) / 30) ** 0.5


def test_one_class_is_refused_before_the_model_runs():
    class Unexpected(nn.Module):
        encoder = Pixels(ImageShape(1, 8, 8))

        def forward(self, _images):
            raise AssertionError("the model was asked")

    one = ImageSet(digits().images[:5], torch.zeros(5, dtype=torch.long), ("0",))
    with pytest.raises(ConfigError, match="expected at least 2"):
        evaluate(config(), Unexpected(), one, Run(seed=1))


def test_a_classifier_of_other_classes_is_refused(model):
    images = ImageSet(images_to_attack().images, images_to_attack().labels, tuple("0123456"))
    with pytest.raises(ConfigError, match="4 logits, expected 7, one a class; fit the probe again"):
        evaluate(config(), model, images, Run(seed=1))
