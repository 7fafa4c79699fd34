"""The commands that compile the Kubeflow pipeline and run it on a cluster."""

from pathlib import Path
from typing import Annotated

import typer

from realfeatures.commands.options import PresetOption, SeedOption, SetOption
from realfeatures.errors import ConfigError


def compile_(
    image: Annotated[str, typer.Option("--image", help="Container image that every task runs in.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write, .yaml.")],
    preset: PresetOption = "digits",
    seed: SeedOption = None,
    assignments: SetOption = None,
) -> None:
    """Write the Kubeflow pipeline of the same cells; needs the extra `kubeflow` and no torch.

    [bold]Examples[/bold]

      realfeatures compile --preset digits --image registry.example/realfeatures@sha256:... -o paper.yaml
    """
    if not image.strip():
        raise ConfigError("--image '': expected an image, such as registry.example/realfeatures@sha256:...")
    if output.suffix not in (".yaml", ".yml") or not output.absolute().parent.is_dir():
        raise ConfigError(f"--output {str(output)!r}: expected a .yaml file in a folder that exists")
    from realfeatures.pipelines.paper import compile_pipeline
    from realfeatures.plan import make_plan
    from realfeatures.presets import load_preset

    made = make_plan(load_preset(preset, assignments or ()), seeds=seed or [0])
    compile_pipeline(made.preset, seeds=made.seeds, image=image, path=output)
    typer.echo(f"{output}: {len(made.grid)} cells")
