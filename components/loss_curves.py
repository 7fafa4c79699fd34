"""The stage `loss_curves` as a Kubeflow component."""

from kfp import dsl

from realfeatures.components import component


@component
def loss_curves(
    cell: str,
    encoder: dsl.Input[dsl.Model],
    probe: dsl.Input[dsl.Model],
    test_set: dsl.Input[dsl.Dataset],
    result: dsl.Output[dsl.Artifact],
    record: dsl.OutputPath(str),
):
    """Attack a contrastive encoder's loss and watch cross-entropy, and the other way round."""
    from realfeatures.kubeflow.tasks import run_stage

    inputs = {"encoder": encoder, "probe": probe, "test_set": test_set}
    run_stage(cell, inputs=inputs, output=result, record=record)
