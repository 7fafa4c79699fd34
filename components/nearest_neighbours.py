"""The stage `nearest_neighbours` as a Kubeflow component."""

from kfp import dsl

from realfeatures.components import component


@component
def nearest_neighbours(
    cell: str,
    encoder: dsl.Input[dsl.Model],
    train_set: dsl.Input[dsl.Dataset],
    test_set: dsl.Input[dsl.Dataset],
    result: dsl.Output[dsl.Artifact],
    record: dsl.OutputPath(str),
):
    """Measure clean accuracy by the nearest training images, without any training."""
    from realfeatures.kubeflow.tasks import run_stage

    inputs = {"encoder": encoder, "train_set": train_set, "test_set": test_set}
    run_stage(cell, inputs=inputs, output=result, record=record)
