"""How Kubeflow's tasks run the cells."""
