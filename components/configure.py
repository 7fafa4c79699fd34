"""The first task of a run, as a Kubeflow component: what the run form asks for becomes the cells of this run."""

from kfp import dsl

from realfeatures.components import component


@component
def configure(
    preset: str,
    seed: int,
    repetitions: int,
    overrides: str,
    run_name: str,
    structure: str,
    code: str,
    resolved: dsl.OutputPath(str),
    seeds: dsl.OutputPath(str),
    cells: dsl.OutputPath(str),
    data: dsl.OutputPath(str),
    natural_supervised_encoder: dsl.OutputPath(str),
    natural_contrastive_encoder: dsl.OutputPath(str),
    natural_masked_encoder: dsl.OutputPath(str),
    natural_diffusion_encoder: dsl.OutputPath(str),
    sources_adversarial_encoder: dsl.OutputPath(str),
    sources_standard_encoder: dsl.OutputPath(str),
    robust_images: dsl.OutputPath(str),
    non_robust_images: dsl.OutputPath(str),
    d_rand_images: dsl.OutputPath(str),
    d_det_images: dsl.OutputPath(str),
    non_robust_contrastive_images: dsl.OutputPath(str),
    non_robust_masked_images: dsl.OutputPath(str),
    non_robust_diffusion_images: dsl.OutputPath(str),
    non_robust_noise_images: dsl.OutputPath(str),
    shuffled_images: dsl.OutputPath(str),
    d_rand_labels_images: dsl.OutputPath(str),
):
    """Check seed, overrides and run name, and write the configuration and the address of every cell."""
    ports = dict(locals())
    from realfeatures.kubeflow.tasks import configure_run

    configure_run(**ports)
