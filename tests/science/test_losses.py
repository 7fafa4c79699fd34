"""The paradigms' losses against analytic values and obvious slow versions."""

import math

import pytest
import torch

from realfeatures.errors import ConfigError, DataError
from realfeatures.experiment.presets import load_preset
from realfeatures.science.models.vit import patchify
from realfeatures.science.paradigms.contrastive import nt_xent_loss
from realfeatures.science.paradigms.diffusion import alphas_cumprod, noise_prediction_loss, q_sample
from realfeatures.science.paradigms.masked import masked_reconstruction_loss, random_shuffle, visible_count


def slow_nt_xent(first: torch.Tensor, second: torch.Tensor, temperature: float) -> float:
    """Equation 1 of Chen et al. 2020, term by term."""
    views = [*first.double(), *second.double()]
    count = len(first)

    def similarity(i: int, j: int) -> float:
        return torch.nn.functional.cosine_similarity(views[i], views[j], dim=0).item()

    total = 0.0
    for i in range(2 * count):
        partner = (i + count) % (2 * count)
        negatives = sum(math.exp(similarity(i, k) / temperature) for k in range(2 * count) if k != i)
        total -= math.log(math.exp(similarity(i, partner) / temperature) / negatives)
    return total / (2 * count)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0])
def test_nt_xent_equals_the_equation_term_by_term(temperature: float) -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 5, 7, generator=generator)
    assert nt_xent_loss(first, second, temperature).item() == pytest.approx(
        slow_nt_xent(first, second, temperature), rel=1e-5
    )


def test_nt_xent_of_orthogonal_pairs_has_its_analytic_value() -> None:
    # Equal positives (similarity 1) and orthogonal negatives (0): -log(e^(1/t) / (e^(1/t) + 2N - 2)).
    views = torch.eye(4)
    expected = -math.log(math.exp(2) / (math.exp(2) + 6))
    assert nt_xent_loss(views, views, 0.5).item() == pytest.approx(expected, rel=1e-6)


def test_nt_xent_does_not_depend_on_the_length_of_projections() -> None:
    first, second = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(1))
    assert nt_xent_loss(10 * first, second, 0.2).item() == pytest.approx(nt_xent_loss(first, second, 0.2).item())


@pytest.mark.parametrize(
    ("shapes", "temperature", "error", "text"),
    [
        (((4, 3), (5, 3)), 0.5, DataError, r"views \(4, 3\) and \(5, 3\): expected both \(N, D\), N at least 2"),
        (((1, 3), (1, 3)), 0.5, DataError, "N at least 2"),
        (((4, 3, 2), (4, 3, 2)), 0.5, DataError, r"expected both \(N, D\)"),
        (((4, 3), (4, 3)), 0.0, ConfigError, "temperature 0.0: expected a finite number above 0"),
        (((4, 3), (4, 3)), math.nan, ConfigError, "temperature nan: expected a finite number above 0"),
    ],
)
def test_nt_xent_of_what_is_no_pair_of_views_is_refused(shapes, temperature, error, text) -> None:
    with pytest.raises(error, match=text):
        nt_xent_loss(*map(torch.ones, shapes), temperature)


def test_masked_loss_counts_masked_patches_only() -> None:
    images = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    patches = patchify(images, 2)
    shuffle = random_shuffle(patches, torch.Generator().manual_seed(1))
    masked = shuffle[:, 4:]
    predicted = patches.clone()
    for image, hidden in enumerate(masked):
        predicted[image, hidden] += 0.5
    assert masked_reconstruction_loss(predicted, patches, masked).item() == pytest.approx(0.25)
    for image, shown in enumerate(shuffle[:, :4]):
        predicted[image, shown] += 100
    assert masked_reconstruction_loss(predicted, patches, masked).item() == pytest.approx(0.25)


def test_patchify_cuts_the_image_row_by_row() -> None:
    image = torch.arange(2 * 4 * 6).float().reshape(1, 2, 4, 6)
    patches = patchify(image, 2)
    assert patches.shape == (1, 6, 8)
    assert torch.equal(patches[0, 4], image[0, :, 2:4, 2:4].flatten())


@pytest.mark.parametrize(("patches", "ratio", "visible"), [(16, 0.75, 4), (16, 0.5, 8), (64, 0.75, 16), (4, 0.9, 1)])
def test_mask_ratio_leaves_its_share_visible(patches: int, ratio: float, visible: int) -> None:
    assert visible_count(patches, ratio) == visible


def test_random_shuffle_is_a_permutation_of_every_image_and_uniform() -> None:
    patches = torch.zeros(4000, 4, 1)
    shuffle = random_shuffle(patches, torch.Generator().manual_seed(0))
    assert torch.equal(shuffle.sort(dim=1).values, torch.arange(4).expand(4000, -1))
    shares = torch.bincount(shuffle[:, 0], minlength=4) / 4000
    assert (shares - 0.25).abs().max() < 0.03


def test_alphas_cumprod_is_the_product_of_linear_betas() -> None:
    config = load_preset("paper").diffusion
    alphas = alphas_cumprod(config, torch.device("cpu"))
    product = 1.0
    for step in range(1000):
        product *= 1 - (1e-4 + (0.02 - 1e-4) * step / 999)
        if step in (0, 11, 500, 999):
            assert alphas[step].item() == pytest.approx(product, rel=1e-5)
    # Ho et al. 2020, section 4: x_T is nearly pure noise.
    assert alphas[-1] < 5e-5


def test_q_sample_keeps_unit_variance_and_mixes_as_equation_four() -> None:
    generator = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, 64, 3, 16, 16, generator=generator)
    noised = q_sample(clean, noise, torch.full((64,), 0.3))
    assert noised.var().item() == pytest.approx(1, abs=0.02)
    assert noised[5, 1, 2, 3].item() == pytest.approx(
        math.sqrt(0.3) * clean[5, 1, 2, 3].item() + math.sqrt(0.7) * noise[5, 1, 2, 3].item(), rel=1e-5
    )


def test_alphas_and_q_sample_agree_with_diffusers() -> None:
    diffusers = pytest.importorskip("diffusers")
    config = load_preset("paper").diffusion
    scheduler = diffusers.DDPMScheduler(
        config.timesteps, beta_start=config.beta_start, beta_end=config.beta_end, beta_schedule="linear"
    )
    alphas = alphas_cumprod(config, torch.device("cpu"))
    torch.testing.assert_close(alphas, scheduler.alphas_cumprod, rtol=1e-4, atol=1e-7)
    clean, noise = torch.randn(2, 4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    timesteps = torch.tensor([0, 11, 500, 999])
    torch.testing.assert_close(
        q_sample(clean, noise, alphas[timesteps]), scheduler.add_noise(clean, noise, timesteps), rtol=1e-4, atol=1e-5
    )


def test_the_ddpm_loss_is_the_squared_error_of_the_predicted_noise_image_by_image() -> None:
    generator = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, 6, 1, 4, 4, generator=generator)
    levels = alphas_cumprod(load_preset("paper").diffusion, torch.device("cpu"))
    timesteps = torch.tensor([0, 1, 11, 300, 700, 999])

    def predict(noised: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        return 0.3 * noised + steps.view(-1, 1, 1, 1) / 1000

    slow = 0.0
    for image, eps, step in zip(clean, noise, timesteps, strict=True):
        noised = levels[step].sqrt() * image + (1 - levels[step]).sqrt() * eps
        slow += ((0.3 * noised + step / 1000 - eps) ** 2).mean().item() / 6
    assert noise_prediction_loss(predict, clean, noise, timesteps, levels).item() == pytest.approx(slow, rel=1e-5)


def test_a_prediction_that_knows_the_noise_has_no_ddpm_loss() -> None:
    clean, noise = torch.randn(2, 3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    levels = alphas_cumprod(load_preset("paper").diffusion, torch.device("cpu"))
    assert noise_prediction_loss(lambda *_: noise, clean, noise, torch.tensor([1, 2, 3]), levels).item() == 0
