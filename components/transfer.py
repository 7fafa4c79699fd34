"""The stage `transfer` as a Kubeflow component."""

from kfp import dsl

from realfeatures.components import component


@component
def transfer(
    cell: str,
    test_set: dsl.Input[dsl.Dataset],
    result: dsl.Output[dsl.Artifact],
    record: dsl.OutputPath(str),
    encoder_1: dsl.Input[dsl.Model] = None,
    probe_1: dsl.Input[dsl.Model] = None,
    encoder_2: dsl.Input[dsl.Model] = None,
    probe_2: dsl.Input[dsl.Model] = None,
    encoder_3: dsl.Input[dsl.Model] = None,
    probe_3: dsl.Input[dsl.Model] = None,
    encoder_4: dsl.Input[dsl.Model] = None,
    probe_4: dsl.Input[dsl.Model] = None,
    encoder_5: dsl.Input[dsl.Model] = None,
    probe_5: dsl.Input[dsl.Model] = None,
    encoder_6: dsl.Input[dsl.Model] = None,
    probe_6: dsl.Input[dsl.Model] = None,
):
    """Attack each paradigm's classifier and count what the others make of its adversarial images."""
    given = dict(locals())
    from realfeatures.kubeflow.tasks import run_stage

    outputs = ("cell", "result", "record")
    inputs = {port: value for port, value in given.items() if port not in outputs and value is not None}
    run_stage(cell, inputs=inputs, output=result, record=record)
