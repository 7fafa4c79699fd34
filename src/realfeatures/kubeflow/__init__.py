"""The experiment on Kubeflow: what its tasks run, its server's API, and the doctor."""
