"""The one-machine run: its plan, its order, its workers and its folder."""
