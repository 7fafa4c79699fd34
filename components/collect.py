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
):
    """Gather what the report needs of the cells of this pipeline and of those nested in it."""
    from realfeatures.kfp_runtime import collect_records

    parts = [part_1, part_2, part_3, part_4, part_5, part_6]
    collect_records(version, records=records, parts=parts, output=collected)
