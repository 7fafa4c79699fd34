"""The linear probe: frozen encoders, standardisation, convergence, and reading back."""

import pytest
import torch
from checks import check_probe_leaves_encoder_untouched
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from started_run import started_run
from torch import nn

from realfeatures.errors import ArtifactError, ConfigError
from realfeatures.experiment.config import GaussianNoiseConfig, KNNConfig, PixelsConfig, ProbeConfig, UntrainedConfig
from realfeatures.experiment.presets import load_preset
from realfeatures.experiment.vocabulary import Paradigm
from realfeatures.science import paradigms, probe
from realfeatures.science.artifacts import open_artifact, seal
from realfeatures.science.context import Run
from realfeatures.science.data.images import ImageSet, to_float
from realfeatures.science.paradigms.base import ImageShape, Pretrained, frozen
from realfeatures.science.probe import extract, fit, load_classifier, nearest_neighbours

FAST = ProbeConfig(epochs=5, batch_size=128, learning_rate=1e-2)


@pytest.mark.parametrize("paradigm", ["supervised", "contrastive", "masked", "diffusion"])
def test_a_probe_leaves_every_weight_and_buffer_bit_identical(paradigm: str, digits_train: ImageSet) -> None:
    torch.manual_seed(0)
    encoder = paradigms.PARADIGMS[paradigm].build(getattr(load_preset("digits"), paradigm), ImageShape(1, 8, 8))
    frozen(encoder)
    images = digits_train.first(200)
    check_probe_leaves_encoder_untouched(encoder, lambda: fit(FAST, encoder, images, started_run()))


def test_the_folded_probe_gives_the_accuracy_of_logistic_regression(digits_train, digits_test) -> None:
    pixels = nn.Flatten().eval()
    fitted = fit(load_preset("digits").probe, pixels, digits_train, started_run())
    with torch.no_grad():
        ours = (fitted.linear(to_float(digits_test.images).flatten(1)).argmax(1) == digits_test.labels).float().mean()
    theirs = LogisticRegression(max_iter=2000).fit(
        to_float(digits_train.images).flatten(1).numpy(), digits_train.labels.numpy()
    )
    expected = theirs.score(to_float(digits_test.images).flatten(1).numpy(), digits_test.labels.numpy())
    # 500 images: the two may differ by a few of them.
    assert ours.item() == pytest.approx(expected, abs=0.03)


def test_a_feature_that_is_constant_in_training_has_no_say(digits_train) -> None:
    fitted = fit(FAST, nn.Flatten().eval(), digits_train, started_run())
    dead = to_float(digits_train.images).flatten(1).var(dim=0) == 0
    assert dead.sum() >= 3  # pixels of the border that are black in every digit
    assert torch.equal(fitted.linear.weight[:, dead], torch.zeros(10, int(dead.sum())))
    assert fitted.linear.weight[:, ~dead].abs().max() > 0


def test_representations_do_not_depend_on_the_batches(standard, digits_train) -> None:
    images = digits_train.first(700)
    whole = extract(standard.encoder, images, Run(seed=0))
    with torch.no_grad():
        one_by_one = torch.cat([standard.encoder(to_float(image[None])) for image in images.images[510:515]])
    torch.testing.assert_close(whole[510:515], one_by_one, rtol=1e-4, atol=1e-5)


def artifact(path, kind, config, attributes):
    seal(path, kind=kind, record={}, attributes=attributes, config=config, address="0" * 32)


def test_a_classifier_read_back_computes_the_same_logits(tmp_path, standard: Pretrained, digits_test) -> None:
    config = load_preset("digits").supervised
    standard.save(tmp_path)
    artifact(tmp_path, "encoder", config.identity(), paradigms.attributes_of(config, standard.shape))
    model = load_classifier(open_artifact(tmp_path), Run(seed=0))
    images = to_float(digits_test.images[:50])
    with torch.no_grad():
        # Not bit by bit: reading back folds the BatchNorms.
        torch.testing.assert_close(model(images), standard.head(standard.encoder(images)), rtol=1e-4, atol=1e-4)
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_a_probe_of_another_encoder_is_refused(tmp_path, standard: Pretrained, digits_train) -> None:
    encoder, other = folder(tmp_path, "encoder"), folder(tmp_path, "probe")
    standard.save(encoder)
    config = load_preset("digits").supervised
    artifact(encoder, "encoder", config.identity(), paradigms.attributes_of(config, standard.shape))
    fit(FAST, nn.Flatten().eval(), _pooled(digits_train), started_run()).save(other)
    artifact(other, "probe", FAST.identity(), {})
    with pytest.raises(ArtifactError, match="takes 16 values, the encoder gives 64; probe again"):
        load_classifier(open_artifact(encoder), Run(seed=0), probe=open_artifact(other))


def test_weights_that_do_not_fit_their_configuration_are_refused(tmp_path, standard: Pretrained) -> None:
    wider = load_preset("digits", ["supervised.model.width=32"]).supervised
    standard.save(tmp_path)
    artifact(tmp_path, "encoder", wider.identity(), paradigms.attributes_of(wider, standard.shape))
    with pytest.raises(ArtifactError, match="does not fit its configuration"):
        paradigms.load_encoder(open_artifact(tmp_path), Run(seed=0))


UNTRAINED = [UntrainedConfig(encoder=getattr(load_preset("digits"), paradigm)) for paradigm in Paradigm]


@pytest.mark.parametrize("config", [PixelsConfig(), *UNTRAINED], ids=lambda config: str(config)[:40])
def test_controls_are_read_back_too(config, tmp_path, digits_train) -> None:
    read_back, built = kept(config, digits_train, tmp_path)
    images = to_float(digits_train.images[:4])
    torch.testing.assert_close(read_back(images), built(images), rtol=1e-4, atol=1e-4)


def kept(config, images: ImageSet, path) -> tuple[nn.Module, nn.Module]:
    """An encoder as it comes out of its artifact, and as it went in."""
    trained = paradigms.pretrain(config, images, started_run())
    trained.save(path)
    artifact(path, "encoder", config.identity(), paradigms.attributes_of(config, trained.shape))
    return paradigms.load_encoder(open_artifact(path), Run(seed=0)), trained.encoder


def test_a_diffusion_encoder_moves_to_another_timestep_and_keeps_its_weights(tmp_path, digits_train) -> None:
    config = UntrainedConfig(encoder=load_preset("digits").diffusion)
    at_11, _ = kept(config, digits_train, folder(tmp_path, "eleven"))
    moved = folder(tmp_path, "moved")
    attributes = paradigms.at_timestep(open_artifact(tmp_path / "eleven"), 100, moved)
    artifact(moved, "encoder", {}, attributes)
    at_100 = paradigms.load_encoder(open_artifact(moved), Run(seed=0))
    before, after = at_11.state_dict(), at_100.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    expected, _ = kept(
        UntrainedConfig(encoder=config.encoder.model_copy(update={"timestep": 100})),
        digits_train,
        folder(tmp_path, "built"),
    )
    images = to_float(digits_train.images[:4])
    assert torch.equal(at_100(images), expected(images))
    assert not torch.allclose(at_100(images), at_11(images))


def test_only_a_diffusion_encoder_has_a_timestep_and_only_its_own(tmp_path, digits_train) -> None:
    kept(PixelsConfig(), digits_train, folder(tmp_path, "pixels"))
    with pytest.raises(ArtifactError, match="a pixels encoder; only diffusion ones have a timestep"):
        paradigms.at_timestep(open_artifact(tmp_path / "pixels"), 3, folder(tmp_path, "moved"))
    kept(UntrainedConfig(encoder=load_preset("digits").diffusion), digits_train, folder(tmp_path, "diffusion"))
    with pytest.raises(ConfigError, match="timestep 1000: expected one below the encoder's 1000"):
        paradigms.at_timestep(open_artifact(tmp_path / "diffusion"), 1000, tmp_path / "moved")


def test_fresh_noise_makes_a_diffusion_encoder_random_and_it_says_so(digits_train) -> None:
    images = to_float(digits_train.images[:4])
    for noise, random in (("fixed", False), ("fresh", True)):
        config = load_preset("digits", [f"diffusion.noise={noise}"]).diffusion
        encoder = frozen(paradigms.PARADIGMS["diffusion"].build(config, ImageShape(1, 8, 8)))
        assert encoder.randomised is random
        assert torch.equal(encoder(images), encoder(images)) is not random


def folder(parent, name: str):
    (parent / name).mkdir()
    return parent / name


def test_a_contrastive_encoder_keeps_its_projection_head(tmp_path, digits_train) -> None:
    config = load_preset("digits", ["contrastive.optimizer.epochs=1"]).contrastive
    trained = paradigms.pretrain(config, digits_train.first(64), started_run())
    trained.save(tmp_path)
    artifact(tmp_path, "encoder", config.identity(), paradigms.attributes_of(config, trained.shape))
    head = paradigms.load_projection_head(open_artifact(tmp_path), 64, Run(seed=0))
    inputs = torch.randn(3, 64)
    assert torch.equal(head(inputs), trained.projection_head(inputs))
    assert not any(parameter.requires_grad for parameter in head.parameters())


def test_an_augmented_probe_sees_every_view_of_every_image(digits_train, monkeypatch) -> None:
    images = digits_train.first(60)
    seen = []
    monkeypatch.setattr(probe, "train", lambda _module, _loss, examples, *_: seen.append(examples) or [])
    noise = GaussianNoiseConfig(deviation=0.1)
    fit(FAST.model_copy(update={"augmentation": noise, "views": 3}), nn.Flatten().eval(), images, started_run())
    (examples,) = seen
    assert torch.equal(examples.labels, images.labels.repeat(3))
    assert examples.inputs.shape == (180, 64)
    first, second = examples.inputs[:60], examples.inputs[60:120]
    # Two views differ from each other as noise does, and stay the same images.
    assert not torch.equal(first, second)
    assert torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1] > 0.5


def test_the_same_seed_gives_the_same_views(digits_train) -> None:
    config = FAST.model_copy(update={"augmentation": load_preset("digits").contrastive.augmentation, "views": 2})
    first, second = (fit(config, nn.Flatten().eval(), digits_train.first(50), started_run()).linear for _ in range(2))
    assert torch.equal(first.weight, second.weight)


def test_nearest_neighbours_agree_with_scikit_learn_when_every_vote_counts_the_same(digits_train, digits_test) -> None:
    # At a high temperature all k votes weigh the same, but for ties; cosine similarity of centred pixels.
    config = KNNConfig(neighbours=5, temperature=1e6)
    ours = nearest_neighbours(config, nn.Flatten(), digits_train, digits_test.images, started_run())
    train, test = (to_float(images.images).flatten(1) for images in (digits_train, digits_test))
    mean = train.mean(dim=0)
    theirs = KNeighborsClassifier(5, metric="cosine").fit(train - mean, digits_train.labels).predict(test - mean)
    assert (ours.numpy() == theirs).mean() > 0.98


def test_a_nearer_neighbour_outvotes_two_distant_ones() -> None:
    # Centred at zero: the query stands beside the one image of class 0.
    bank = torch.tensor([[250, 10], [10, 250], [20, 250], [130, 130], [240, 10]], dtype=torch.uint8).view(5, 1, 1, 2)
    train = ImageSet(bank, torch.tensor([0, 1, 1, 1, 1]), ("near", "far"))
    query = torch.tensor([[250, 10]], dtype=torch.uint8).view(1, 1, 1, 2)
    assert nearest_neighbours(KNNConfig(neighbours=1, temperature=0.07), nn.Flatten(), train, query, started_run()) == 0
    sharp = KNNConfig(neighbours=4, temperature=1e-4)
    assert nearest_neighbours(sharp, nn.Flatten(), train, query, started_run()) == 0
    blunt = KNNConfig(neighbours=4, temperature=10.0)
    assert nearest_neighbours(blunt, nn.Flatten(), train, query, started_run()) == 1


def _pooled(images: ImageSet) -> ImageSet:
    # (N, 1, 4, 4): sixteen pixels instead of the 64 values of the encoder.
    pooled = torch.nn.functional.avg_pool2d(images.images.float(), 2).to(torch.uint8)
    return ImageSet(pooled, images.labels, images.classes)


def test_an_encoder_in_train_mode_is_refused_as_it_is(digits_train) -> None:
    encoder = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten())
    with pytest.raises(ConfigError, match=r"Sequential is in train mode, expected eval mode; call its \.eval\(\)"):
        fit(FAST, encoder, digits_train, started_run())
    assert encoder[0].num_batches_tracked == 0
