"""The APIs of Kubeflow and Kubernetes: upload, start, watch and repeat a run; their clients load inside functions."""
