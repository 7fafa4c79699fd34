"""The report as a Kubeflow component."""

from kfp import dsl

from realfeatures.components import component


@component
def report(
    preset: str,
    seeds: str,
    run_name: str,
    code: str,
    records: list,
    html: dsl.Output[dsl.HTML],
    markdown: dsl.Output[dsl.Markdown],
    results: dsl.Output[dsl.Artifact],
    natural: dsl.Input[dsl.Dataset],
    robust: dsl.Input[dsl.Dataset] = None,
    non_robust: dsl.Input[dsl.Dataset] = None,
    d_rand: dsl.Input[dsl.Dataset] = None,
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
    """Write the tables, figures and verdicts of all cells."""
    parts = [part for port, part in locals().items() if port.startswith("part_")]
    from realfeatures.kubeflow.tasks import publish_report

    images = [natural, robust, non_robust, d_rand]
    outputs = {"report.html": html, "report.md": markdown, "results.json": results}
    publish_report(preset, seeds, run_name, code, records=records, parts=parts, images=images, outputs=outputs)
