"""Gathering the records of a nested pipeline's cells into one artifact, as a Kubeflow component."""

from kfp import dsl

from realfeatures.components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def collect(
    version: str,
    records: list,
    collected: dsl.Output[dsl.Artifact],
    part_1: dsl.Input[dsl.Artifact] = None,
    part_2: dsl.Input[dsl.Artifact] = None,
    part_3: dsl.Input[dsl.Artifact] = None,
    part_4: dsl.Input[dsl.Artifact] = None,
    part_5: dsl.Input[dsl.Artifact] = None,
    part_6: dsl.Input[dsl.Artifact] = None,
    part_7: dsl.Input[dsl.Artifact] = None,
    part_8: dsl.Input[dsl.Artifact] = None,
    part_9: dsl.Input[dsl.Artifact] = None,
    part_10: dsl.Input[dsl.Artifact] = None,
    part_11: dsl.Input[dsl.Artifact] = None,
    part_12: dsl.Input[dsl.Artifact] = None,
    part_13: dsl.Input[dsl.Artifact] = None,
    part_14: dsl.Input[dsl.Artifact] = None,
    part_15: dsl.Input[dsl.Artifact] = None,
    part_16: dsl.Input[dsl.Artifact] = None,
    part_17: dsl.Input[dsl.Artifact] = None,
    part_18: dsl.Input[dsl.Artifact] = None,
):
    """Gather what the report needs of the cells of this pipeline and of those nested in it."""
    from realfeatures.kubeflow.tasks import collect_records

    parts = [part_1, part_2, part_3, part_4, part_5, part_6, part_7, part_8, part_9]
    parts += [part_10, part_11, part_12, part_13, part_14, part_15, part_16, part_17, part_18]
    collect_records(version, records=records, parts=parts, output=collected)
