"""The stage `match_representations` as a Kubeflow component."""

from kfp import dsl

from realfeatures.components import component


@component
def match_representations(
    cell: str,
    source: dsl.Input[dsl.Model],
    natural: dsl.Input[dsl.Dataset],
    images: dsl.Output[dsl.Dataset],
    record: dsl.OutputPath(str),
):
    """Make D_R or D_NR: other images with the source's representations of the natural ones."""
    from realfeatures.kubeflow.tasks import run_stage

    run_stage(cell, inputs={"source": source, "natural": natural}, output=images, record=record)
