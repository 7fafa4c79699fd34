"""The stage `perturb_towards_targets` as a Kubeflow component."""

from kfp import dsl

from realfeatures.components import component


@component
def perturb_towards_targets(
    cell: str,
    source: dsl.Input[dsl.Model],
    natural: dsl.Input[dsl.Dataset],
    images: dsl.Output[dsl.Dataset],
    record: dsl.OutputPath(str),
):
    """Make D_rand or D_det: natural images perturbed towards, and labelled with, other classes."""
    from realfeatures.kubeflow.tasks import run_stage

    run_stage(cell, inputs={"source": source, "natural": natural}, output=images, record=record)
