"""Attacks on a classifier: projected gradient descent and AutoAttack."""
