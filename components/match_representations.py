"""The stage `match_representations` as a Kubeflow component."""

from kfp import dsl

from realfeatures.components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def match_representations(
    cell: str,
    source: dsl.Input[dsl.Model],
    natural: dsl.Input[dsl.Dataset],
    images: dsl.Output[dsl.Dataset],
    record: dsl.OutputPath(str),
):
    """Make the robust or the non-robust image set from a source's representations."""
    from realfeatures.kubeflow.tasks import run_stage

    run_stage(cell, inputs={"source": source, "natural": natural}, output=images, record=record)
