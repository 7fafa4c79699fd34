"""The stage `pretrain` as a Kubeflow component."""

from kfp import dsl

from realfeatures.components import component


@component
def pretrain(cell: str, train_set: dsl.Input[dsl.Dataset], encoder: dsl.Output[dsl.Model], record: dsl.OutputPath(str)):
    """Train an encoder in the paradigm that its configuration names."""
    from realfeatures.kubeflow.tasks import run_stage

    run_stage(cell, inputs={"train_set": train_set}, output=encoder, record=record)
