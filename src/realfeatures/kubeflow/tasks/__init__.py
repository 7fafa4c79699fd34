"""How Kubeflow's tasks run the cells; a component's body imports one of these."""

from realfeatures.kubeflow.tasks.tasks import collect_records, configure_run, publish_report, run_stage

__all__ = ["collect_records", "configure_run", "publish_report", "run_stage"]
