"""The signs of gradient masking and AutoAttack's flags in the report."""

import re

import torch
from made_up_run import Run

from realfeatures.experiment.config import ThreatModel
from realfeatures.experiment.vocabulary import Norm
from realfeatures.report.sections.masking import CHECKS
from realfeatures.science.attacks.gradient_masking import check_gradient_masking


def test_a_flag_of_autoattack_is_shown(run: Run) -> None:
    key = "seed0/robust/masked/attack/robust"
    assert "None of its checks raised a flag" in run.html
    raised = {"zero_gradient": True}
    run.rewrite(key, lambda record: record["measurements"][-1]["details"]["checks"].update(raised))
    run.report()
    assert re.search(rf"{key}, AutoAttack L2 0\.75: zero_gradient", run.html)


def test_a_sign_of_gradient_masking_is_shown_beside_its_table_and_in_its_list(run: Run) -> None:
    key = "seed0/robust/masked/attack/robust"
    assert "None of them was found" in run.html
    run.rewrite(key, lambda record: record["masking"]["checks"].update({"L2 flat_loss": True}))
    run.report()
    text = "masked on robust (linear probe, started at natural, seed 0): L2 flat_loss: the gradient leads nowhere"
    robustness = run.html[run.html.index("From natural images") : run.html.index("From images of the robust set")]
    listed = run.html[run.html.index('<h2 id="masking"') : run.html.index('<h2 id="sets"')]
    assert text in robustness
    assert text in listed
    assert f"realfeatures show {run.addresses[key][:12]}: L2 lowest_gradient 0.125" in listed
    assert run.markdown.replace("\\_", "_").count(text) >= 2


def test_the_report_explains_every_sign_of_gradient_masking_that_is_looked_for(schema: dict) -> None:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3))
    threat = ThreatModel(norm=Norm.L2, epsilon=0.5)
    images, labels = torch.full((4, 3, 2, 2), 0.5), torch.tensor([0, 1, 2, 0])
    found = check_gradient_masking(
        model, images, labels, threat=threat, steps=1, step_size=0.1, generator=torch.Generator(), batch_size=4
    )
    assert found.checks.keys() <= CHECKS.keys()
    pattern = schema["$defs"]["masking"]["properties"]["checks"]["propertyNames"]["pattern"]
    assert all(re.search(pattern, f"L2 {name}") for name in CHECKS)
