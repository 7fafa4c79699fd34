"""The stage `prepare_data` as a Kubeflow component."""

from kfp import dsl

from realfeatures.components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def prepare_data(
    cell: str,
    images: dsl.Output[dsl.Dataset],
    record: dsl.OutputPath(str),
):
    """Decode a data source into one image set."""
    from realfeatures.kubeflow.tasks import run_stage

    run_stage(cell, inputs={}, output=images, record=record)
