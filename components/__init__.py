"""The stages as Kubeflow components: each is one call into the package, with the stage's own ports.

Import nothing into a component's body from this file: Kubeflow runs the body's source text alone.
"""

from functools import partial

from kfp import dsl

IMAGE = "realfeatures"
"""Stands in a component's specification until compile_pipeline sets the image that it was given."""

component = partial(dsl.component, base_image=IMAGE, install_kfp_package=False)
"""Makes a component of a function, whose package the image has."""

STAGELESS = ("configure", "collect", "report")
"""The components that run no stage: they need neither a GPU nor much memory."""
