"""The surroundings of a stage for a test that calls the science itself."""

from realfeatures.science.context import Run


def started_run(seed: int = 0) -> Run:
    run = Run(seed=seed)
    run.start()
    return run
