"""Kubeflow pipelines, compiled from the cells of the grid."""
