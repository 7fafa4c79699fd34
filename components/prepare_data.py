"""The stage `prepare_data` as a Kubeflow component."""

from kfp import dsl

from realfeatures.components import component


@component
def prepare_data(cell: str, images: dsl.Output[dsl.Dataset], record: dsl.OutputPath(str)):
    """Decode a data source once into one uint8 artifact with a train and a test split."""
    from realfeatures.kubeflow.tasks import run_stage

    run_stage(cell, inputs={}, output=images, record=record)
