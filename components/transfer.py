"""The stage `transfer` as a Kubeflow component."""

from kfp import dsl

from realfeatures.components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def transfer(
    cell: str,
    test_set: dsl.Input[dsl.Dataset],
    result: dsl.Output[dsl.Artifact],
    record: dsl.OutputPath(str),
    supervised: dsl.Input[dsl.Model] = None,
    contrastive: dsl.Input[dsl.Model] = None,
    contrastive_probe: dsl.Input[dsl.Model] = None,
    masked: dsl.Input[dsl.Model] = None,
    masked_probe: dsl.Input[dsl.Model] = None,
    diffusion: dsl.Input[dsl.Model] = None,
    diffusion_probe: dsl.Input[dsl.Model] = None,
):
    """Attack each paradigm's classifier and count what the others make of its adversarial images."""
    from realfeatures.kubeflow.tasks import run_stage

    given = {
        "test_set": test_set,
        "supervised": supervised,
        "contrastive": contrastive,
        "contrastive_probe": contrastive_probe,
        "masked": masked,
        "masked_probe": masked_probe,
        "diffusion": diffusion,
        "diffusion_probe": diffusion_probe,
    }
    inputs = {port: artifact for port, artifact in given.items() if artifact is not None}
    run_stage(cell, inputs=inputs, output=result, record=record)
