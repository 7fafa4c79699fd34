"""The pipeline with an object store: data that no pod can see otherwise, checkpoints of retries, published reports."""

import json
import re
from pathlib import Path

import pytest
from local_pipeline import compile_here, run_here
from PIL import Image
from seaweedfs import STORE, needs_s3

from realfeatures.experiment.presets import load_preset
from realfeatures.pipelines.profiles import load_profile
from realfeatures.running.names import RUN_TIME
from realfeatures.science.data.sources import pin_source
from realfeatures.store import ObjectStore
from realfeatures.store.data import mirror
from realfeatures.store.reports import fetch

pytestmark = [*needs_s3, pytest.mark.usefixtures("s3_environment")]

TINY = (
    "experiments=E2",
    "paradigms=supervised",
    "features=natural",
    "supervised.optimizer.epochs=1",
    "supervised.optimizer.warmup_epochs=0",
    "attack.images=4",
    "attack.pgd_steps=2",
    "attack.autoattack=[]",
    "attack.autoattack_images=4",
)


def pictures(folder: Path) -> Path:
    for split, count in (("train", 8), ("test", 4)):
        for label, colour in (("cat", 220), ("dog", 30)):
            (folder / split / label).mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (8, 8), (colour, 10 * number, 0)).save(folder / split / label / f"{number}.png")
    return folder


@pytest.mark.filterwarnings("ignore")
def test_pods_take_a_mirrored_folder_from_the_store_and_publish_the_report(store: ObjectStore, tmp_path, monkeypatch):
    folder = pictures(tmp_path / "pets")
    preset = load_preset("digits", [*TINY, f"data=folder:{folder}", "data.train_size=null", "data.test_size=null"])
    mirror(preset.data, store)
    pinned = preset.model_copy(update={"data": pin_source(preset.data)})
    profile = load_profile("cpu", [f"store.location={STORE}", f"store.endpoint={store.settings.endpoint}"])
    paper = compile_here(pinned, tmp_path, profile=profile)

    # What a pod has: neither the folder nor this machine's cache.
    folder.rename(tmp_path / "elsewhere")
    monkeypatch.setenv("REALFEATURES_CACHE", str(tmp_path / "pod"))
    # As a recurring run's arrives where Kubeflow does not fill in the time.
    run_here(paper, tmp_path, report_name=f"pets-{RUN_TIME}")

    (name,) = {found.key.split("/")[1] for found in store.list("runs/")}
    assert re.fullmatch(r"pets-\d{14}", name)
    fetch(name, tmp_path / "report", store)
    results = json.loads((tmp_path / "report" / "results.json").read_text())
    (data,) = [cell for cell in results["cells"] if cell["stage"] == "prepare_data"]
    assert data["config"]["sha256"] == pinned.data.sha256
    assert (results["data"]["train_images"], results["data"]["test_images"]) == (16, 8)
    assert results["rows"]
    # Every stage is done, so no checkpoint is left.
    assert list(store.list("checkpoints/")) == []
