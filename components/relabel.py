"""The stage `relabel` as a Kubeflow component."""

from kfp import dsl

from realfeatures.components import component


@component
def relabel(
    cell: str,
    natural: dsl.Input[dsl.Dataset],
    labelled: dsl.Input[dsl.Dataset],
    images: dsl.Output[dsl.Dataset],
    record: dsl.OutputPath(str),
):
    """Give natural images another set's labels, or their own, shuffled."""
    from realfeatures.kubeflow.tasks import run_stage

    inputs = {"natural": natural, "labelled": labelled}
    run_stage(cell, inputs=inputs, output=images, record=record)
