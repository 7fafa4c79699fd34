"""Gathering the records of a nested pipeline's cells into one artifact, as a Kubeflow component."""

from kfp import dsl

from realfeatures.components import component


@component
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
    parts = [part for port, part in locals().items() if port.startswith("part_")]
    from realfeatures.kubeflow.tasks import collect_records

    collect_records(version, records=records, parts=parts, output=collected)
