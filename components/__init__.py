"""The stages as Kubeflow components: each is one call into the package, with the stage's own ports.

Import nothing into a component's body from this file: Kubeflow runs the body's source text alone.
"""

IMAGE = "realfeatures"
"""Stands in a component's specification until compile_pipeline sets the image that it was given."""

STAGELESS = ("configure", "collect", "report")
"""The components that run no stage: they need neither a GPU nor much memory."""
