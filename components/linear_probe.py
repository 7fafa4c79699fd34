"""The stage `linear_probe` as a Kubeflow component."""

from kfp import dsl

from realfeatures.components import component


@component
def linear_probe(
    cell: str,
    encoder: dsl.Input[dsl.Model],
    train_set: dsl.Input[dsl.Dataset],
    probe: dsl.Output[dsl.Model],
    record: dsl.OutputPath(str),
):
    """Fit a linear classifier on a frozen encoder's representations of a labelled set."""
    from realfeatures.kubeflow.tasks import run_stage

    inputs = {"encoder": encoder, "train_set": train_set}
    run_stage(cell, inputs=inputs, output=probe, record=record)
