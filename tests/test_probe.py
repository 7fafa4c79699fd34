"""The linear probe: frozen encoders, standardisation, convergence, and reading back."""

import pytest
import torch
from conftest import started_run
from sklearn.linear_model import LogisticRegression
from torch import nn

from realfeatures import paradigms
from realfeatures.artifacts import seal
from realfeatures.config import ControlConfig, ProbeConfig
from realfeatures.data.images import ImageSet, to_float
from realfeatures.errors import ArtifactError
from realfeatures.paradigms.base import ImageShape, Pretrained, frozen
from realfeatures.presets import load_preset
from realfeatures.probe import extract, fit, load_classifier
from realfeatures.run import Run
from realfeatures.vocabulary import Control

FAST = ProbeConfig(epochs=5, batch_size=128, learning_rate=1e-2)


@pytest.mark.parametrize("paradigm", ["supervised", "contrastive", "masked", "diffusion"])
def test_a_probe_leaves_every_weight_and_buffer_bit_identical(paradigm: str, digits_train: ImageSet) -> None:
    torch.manual_seed(0)
    encoder = paradigms.PARADIGMS[paradigm].build(getattr(load_preset("digits"), paradigm), ImageShape(1, 8, 8))
    frozen(encoder)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    fit(FAST, encoder, digits_train.first(200), started_run())
    after = encoder.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert not encoder.training


def test_the_folded_probe_gives_the_accuracy_of_logistic_regression(digits_train, digits_test) -> None:
    pixels = nn.Flatten()
    probe = fit(load_preset("digits").probe, pixels, digits_train, started_run())
    with torch.no_grad():
        ours = (probe.linear(to_float(digits_test.images).flatten(1)).argmax(1) == digits_test.labels).float().mean()
    theirs = LogisticRegression(max_iter=2000).fit(
        to_float(digits_train.images).flatten(1).numpy(), digits_train.labels.numpy()
    )
    expected = theirs.score(to_float(digits_test.images).flatten(1).numpy(), digits_test.labels.numpy())
    # 500 images: the two may differ by a few of them.
    assert ours.item() == pytest.approx(expected, abs=0.03)


def test_a_feature_that_is_constant_in_training_has_no_say(digits_train) -> None:
    probe = fit(FAST, nn.Flatten(), digits_train, started_run())
    dead = to_float(digits_train.images).flatten(1).var(dim=0) == 0
    assert dead.sum() >= 3  # pixels of the border that are black in every digit
    assert torch.equal(probe.linear.weight[:, dead], torch.zeros(10, int(dead.sum())))
    assert probe.linear.weight[:, ~dead].abs().max() > 0


def test_representations_do_not_depend_on_the_batches(standard, digits_train) -> None:
    images = digits_train.first(700)
    whole = extract(standard.encoder, images, Run(seed=0))
    with torch.no_grad():
        one_by_one = torch.cat([standard.encoder(to_float(image[None])) for image in images.images[510:515]])
    torch.testing.assert_close(whole[510:515], one_by_one, rtol=1e-4, atol=1e-5)


def artifact(folder, kind, config, attributes):
    seal(folder, kind=kind, record={}, attributes=attributes, config=config, address="0" * 32)
    return folder


def test_a_classifier_read_back_computes_the_same_logits(tmp_path, standard: Pretrained, digits_test) -> None:
    config = load_preset("digits").supervised
    standard.save(tmp_path)
    artifact(tmp_path, "encoder", config.identity(), standard.attributes)
    model = load_classifier(tmp_path, tmp_path, Run(seed=0))
    images = to_float(digits_test.images[:50])
    with torch.no_grad():
        # Not bit by bit: reading back folds the BatchNorms.
        torch.testing.assert_close(model(images), standard.head(standard.encoder(images)), rtol=1e-4, atol=1e-4)
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_a_probe_of_another_encoder_is_refused(tmp_path, standard: Pretrained, digits_train) -> None:
    encoder, probe = tmp_path / "encoder", tmp_path / "probe"
    for folder in (encoder, probe):
        folder.mkdir()
    standard.save(encoder)
    artifact(encoder, "encoder", load_preset("digits").supervised.identity(), standard.attributes)
    fit(FAST, nn.Flatten(), _pooled(digits_train), started_run()).save(probe)
    with pytest.raises(ArtifactError, match="takes 16 values, the encoder gives 64; probe again"):
        load_classifier(encoder, probe, Run(seed=0))


def test_weights_that_do_not_fit_their_configuration_are_refused(tmp_path, standard: Pretrained) -> None:
    wider = load_preset("digits", ["supervised.model.width=32"]).supervised
    standard.save(tmp_path)
    artifact(tmp_path, "encoder", wider.identity(), standard.attributes)
    with pytest.raises(ArtifactError, match="does not fit its configuration"):
        paradigms.load_encoder(tmp_path, Run(seed=0))


def test_controls_are_read_back_too(tmp_path, digits_train) -> None:
    for control in Control:
        config = ControlConfig(paradigm=control, model=load_preset("digits").supervised.model)
        trained = paradigms.pretrain(config, digits_train, started_run())
        folder = tmp_path / control
        folder.mkdir()
        trained.save(folder)
        artifact(folder, "encoder", config.identity(), trained.attributes)
        images = to_float(digits_train.images[:4])
        read_back = paradigms.load_encoder(folder, Run(seed=0))
        torch.testing.assert_close(read_back(images), trained.encoder(images), rtol=1e-4, atol=1e-4)


def _pooled(images: ImageSet) -> ImageSet:
    # (N, 1, 4, 4): sixteen pixels instead of the 64 values of the encoder.
    pooled = torch.nn.functional.avg_pool2d(images.images.float(), 2).to(torch.uint8)
    return ImageSet(pooled, images.labels, images.classes)
