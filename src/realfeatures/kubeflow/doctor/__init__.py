"""What of cluster, store and rights is not as a run needs it."""
