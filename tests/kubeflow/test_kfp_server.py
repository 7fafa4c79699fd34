"""The tests' Kubeflow server takes kfp's own client, too, which knows nothing of our code."""

import warnings
from pathlib import Path
from typing import Any

import kfp
import pytest
from kfp_server import KfpServer
from kfp_server_api import ApiException


@pytest.fixture
def client(server: KfpServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> kfp.Client:
    monkeypatch.setattr(kfp.Client, "_LOCAL_KFP_CONTEXT", str(tmp_path / "context.json"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return kfp.Client(host=server.host)


def uploaded(client: kfp.Client, paper: Path) -> Any:
    first = client.upload_pipeline(str(paper), pipeline_name="paper")
    return client.upload_pipeline_version(str(paper), "second", pipeline_id=first.pipeline_id)


def test_kfp_s_client_uploads_runs_and_waits(client, paper):
    version = uploaded(client, paper)
    assert client.get_pipeline_id("paper") == version.pipeline_id
    assert {one.display_name for one in client.list_pipeline_versions(version.pipeline_id).pipeline_versions} == {
        "paper",
        "second",
    }
    experiment = client.create_experiment("mine")
    assert client.get_experiment(experiment_name="mine").experiment_id == experiment.experiment_id
    run = client.run_pipeline(
        experiment.experiment_id,
        "first",
        pipeline_id=version.pipeline_id,
        version_id=version.pipeline_version_id,
        params={"seed": 3},
    )
    assert client.wait_for_run_completion(run.run_id, timeout=60, sleep_duration=0).state == "SUCCEEDED"
    assert [one.display_name for one in client.list_runs().runs] == ["first"]


def test_kfp_s_client_keeps_recurring_runs(client, paper):
    version = uploaded(client, paper)
    experiment = client.create_experiment("mine")
    made = client.create_recurring_run(
        experiment.experiment_id,
        "weekly",
        cron_expression="0 0 3 * * 1",
        pipeline_id=version.pipeline_id,
        version_id=version.pipeline_version_id,
        no_catchup=True,
    )
    client.disable_recurring_run(made.recurring_run_id)
    assert client.get_recurring_run(made.recurring_run_id).mode == "DISABLE"
    client.enable_recurring_run(made.recurring_run_id)
    assert [one.mode for one in client.list_recurring_runs().recurring_runs] == ["ENABLE"]
    client.delete_recurring_run(made.recurring_run_id)
    assert not client.list_recurring_runs().recurring_runs


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"params": {"sed": 3}}, 400),
        ({"version_id": "00000000-0000-0000-0000-000000000000"}, 400),
        ({"experiment_id": "00000000-0000-0000-0000-000000000000"}, 400),
    ],
)
def test_what_the_api_refuses_is_refused(change, status, client, paper):
    version = uploaded(client, paper)
    wanted = {
        "experiment_id": client.create_experiment("mine").experiment_id,
        "job_name": "first",
        "pipeline_id": version.pipeline_id,
        "version_id": version.pipeline_version_id,
        "params": {"seed": 3},
        **change,
    }
    with pytest.raises(ApiException) as raised:
        client.run_pipeline(**wanted)
    assert raised.value.status == status


def test_a_pipeline_that_is_none_is_refused(client, paper, tmp_path):
    broken = tmp_path / "broken.yaml"
    broken.write_text(paper.read_text().replace("schemaVersion:", "schemaVersoin:", 1))
    with pytest.raises(ApiException, match="400"):
        client.upload_pipeline(str(broken), pipeline_name="broken")
    client.upload_pipeline(str(paper), pipeline_name="paper")
    with pytest.raises(ApiException, match="409"):
        client.upload_pipeline(str(paper), pipeline_name="paper")


@pytest.mark.parametrize(
    ("where", "body"),
    [
        ("experiments", {"nmae": "mine"}),
        ("experiments", {"display_name": "mine", "created_at": {"second": 1}}),
        ("recurringruns", {"display_name": "weekly", "trigger": {"cron_schedule": {"corn": "0 0 3 * * 1"}}}),
    ],
)
def test_a_body_that_is_not_the_api_s_is_refused(where, body, client, server):
    with pytest.raises(ApiException, match="is no V2beta1"):
        client._run_api.api_client.call_api(f"/apis/v2beta1/{where}", "POST", body=body)
    assert not server.experiments
    assert not server.schedules
