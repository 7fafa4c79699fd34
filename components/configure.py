"""The first task of a run, as a Kubeflow component: what the run form asks for becomes the cells of this run."""

from kfp import dsl

from realfeatures.components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
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
    from realfeatures.kubeflow.tasks import configure_run

    configure_run(
        preset,
        seed=seed,
        repetitions=repetitions,
        overrides=overrides,
        run_name=run_name,
        structure=structure,
        code=code,
        files={
            "resolved": resolved,
            "seeds": seeds,
            "cells": cells,
            "data": data,
            "natural/supervised/encoder": natural_supervised_encoder,
            "natural/contrastive/encoder": natural_contrastive_encoder,
            "natural/masked/encoder": natural_masked_encoder,
            "natural/diffusion/encoder": natural_diffusion_encoder,
            "sources/adversarial/encoder": sources_adversarial_encoder,
            "sources/standard/encoder": sources_standard_encoder,
            "robust/images": robust_images,
            "non_robust/images": non_robust_images,
            "d_rand/images": d_rand_images,
            "d_det/images": d_det_images,
            "non_robust_contrastive/images": non_robust_contrastive_images,
            "non_robust_masked/images": non_robust_masked_images,
            "non_robust_diffusion/images": non_robust_diffusion_images,
            "non_robust_noise/images": non_robust_noise_images,
            "shuffled/images": shuffled_images,
            "d_rand_labels/images": d_rand_labels_images,
        },
    )
