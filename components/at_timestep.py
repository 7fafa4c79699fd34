"""The stage `at_timestep` as a Kubeflow component."""

from kfp import dsl

from realfeatures.components import component


@component
def at_timestep(cell: str, encoder: dsl.Input[dsl.Model], moved: dsl.Output[dsl.Model], record: dsl.OutputPath(str)):
    """Read a diffusion encoder at another timestep."""
    from realfeatures.kubeflow.tasks import run_stage

    inputs = {"encoder": encoder}
    run_stage(cell, inputs=inputs, output=moved, record=record)
