"""Tests that need a Kubernetes cluster; conftest.py says how they find it."""
