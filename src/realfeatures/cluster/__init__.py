"""What talks to Kubeflow and Kubernetes; kfp and kubernetes are imported only inside functions."""
