"""The components of the pipelines: what each takes and returns; realfeatures.kubeflow.tasks is what they run.

Each computes a list of cells: its parameter `cells` is a text that names them (experiment/codec.py), its artifacts are
bundles of cells (kubeflow/tasks/bundles.py). The image holds the code, so a component is its ports and one command.
"""

from realfeatures.components.component import DATASET, HTML, MARKDOWN, METRICS, MODEL, RESULT, Component

PREPARE_DATA = Component("prepare_data", outputs={"images": DATASET})
"""Decode a data source once into one uint8 set with a train and a test split."""

PRETRAIN = Component("pretrain", inputs={"images": DATASET, "encoder": MODEL}, outputs={"encoder": MODEL})
"""Train an encoder in its paradigm, a source too; an untrained one and raw pixels are taken as they are."""

SYNTHESIZE = Component("synthesize", inputs={"images": DATASET, "encoder": MODEL}, outputs={"images": DATASET})
"""Make a set: robust, non-robust, towards targets, or with other labels."""

PROBE = Component("probe", inputs={"encoder": MODEL, "images": DATASET}, outputs={"probes": MODEL})
"""Fit linear classifiers to a frozen encoder's representations."""

ATTACK = Component("attack", inputs={"encoder": MODEL, "probes": MODEL, "images": DATASET}, outputs={"results": RESULT})
"""Measure an encoder's classifiers: clean, under PGD and AutoAttack, by nearest neighbours, along its loss curves."""

MEASURE = Component(
    "measure", inputs={"encoder": MODEL, "images": DATASET}, outputs={"probes": MODEL, "results": RESULT}
)
"""Probe and attack an encoder that was pretrained apart, since sets are made with it."""

ENCODER = Component(
    "encoder", inputs={"images": DATASET}, outputs={"encoder": MODEL, "probes": MODEL, "results": RESULT}
)
"""Pretrain, probe and attack one encoder."""

SET = Component(
    "set",
    inputs={"encoder": MODEL, "images": DATASET},
    outputs={"images": DATASET, "encoder": MODEL, "probes": MODEL, "results": RESULT},
)
"""Pretrain, probe and attack several encoders, or one with a set that nothing else reads, which it makes."""

TRANSFER = Component(
    "transfer", inputs={"encoder": MODEL, "probes": MODEL, "images": DATASET}, outputs={"results": RESULT}
)
"""Attack each paradigm's classifier with what was made against the others."""

RESULTS = Component("results", inputs={"results": RESULT}, outputs={"results": RESULT})
"""Join the records of all cells of a repetition."""

REPORT = Component(
    "report",
    parameters={"report_name": "STRING"},
    inputs={"results": RESULT},
    outputs={"html": HTML, "markdown": MARKDOWN, "results": RESULT, "metrics": METRICS},
)
"""Write tables, figures and verdicts of all repetitions."""

COMPONENTS = {
    one.name: one
    for one in (PREPARE_DATA, PRETRAIN, SYNTHESIZE, PROBE, ATTACK, MEASURE, ENCODER, SET, TRANSFER, RESULTS, REPORT)
}
"""By name; `configure`, whose ports follow from the pipeline, is not among them."""


def configure(outputs: dict[str, str]) -> Component:
    """Return the first task's component: what the run form asks for becomes the text of each root task."""
    constants = {"preset": "STRING", "changes": "STRING", "granularity": "STRING", "code": "STRING"}
    form = {"seed": "NUMBER_INTEGER", "repetitions": "NUMBER_INTEGER", "overrides": "STRUCT", "report_name": "STRING"}
    return Component("configure", cells=False, parameters=constants | form, returned=outputs)
