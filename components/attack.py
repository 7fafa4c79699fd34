"""The stage `attack` as a Kubeflow component."""

from kfp import dsl

from realfeatures.components import component


@component
def attack(
    cell: str,
    encoder: dsl.Input[dsl.Model],
    probe: dsl.Input[dsl.Model],
    test_set: dsl.Input[dsl.Dataset],
    result: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    confusion: dsl.Output[dsl.ClassificationMetrics],
    record: dsl.OutputPath(str),
):
    """Measure clean and robust accuracy of a probed encoder, on natural test images or on a robust set's."""
    from realfeatures.kubeflow.tasks import run_stage

    inputs = {"encoder": encoder, "probe": probe, "test_set": test_set}
    run_stage(cell, inputs=inputs, output=result, record=record, metrics=metrics, confusion=confusion)
