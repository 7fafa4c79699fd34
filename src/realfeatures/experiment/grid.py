"""The experiment grid: a preset and its seeds become an ordered list of cells.

A cell is one run of one stage. The one-machine run, the Kubeflow pipeline, the plan and the report
all walk this list; no other place knows which cells there are. Which accuracies an experiment wants stands in
experiments.py; here each of them brings the cells that it is read from, once. Imports neither torch nor kfp.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from realfeatures.experiment import about
from realfeatures.experiment.about import About
from realfeatures.experiment.config import (
    AttackConfig,
    PixelsConfig,
    Preset,
    ProbeConfig,
    RelabellingConfig,
    RuntimeConfig,
    TimestepConfig,
    UntrainedConfig,
)
from realfeatures.experiment.experiments import Depth, Want, maker_of, wants
from realfeatures.experiment.measurement import Measurement, matched
from realfeatures.experiment.vocabulary import (
    ADVERSARIAL,
    NONE,
    STANDARD,
    UNTRAINED,
    Config,
    Control,
    Experiment,
    Features,
    Paradigm,
    Protocol,
    Readout,
    digest_of,
)

DATA = "data"
"""Key of the one cell that every seed shares: the decoded data set."""


@dataclass(frozen=True, kw_only=True)
class Cell(About):
    """One run of one stage: what, with which configuration, on the outputs of which other cells."""

    key: str
    """Unique and readable: `seed0/robust/contrastive/probe/natural`."""
    stage: str
    """Name of the stage function in stages.py."""
    config: Config
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Input port of the stage -> key of the cell whose output it reads."""
    seed: int
    """Seed of every random choice in the cell; 63 bits, from the run's seed and the key."""
    run_seed: int | None
    """The run's seed that it belongs to; None: to all of them."""


def cells(preset: Preset, seeds: Sequence[int]) -> list[Cell]:
    """Return every cell of an experiment, each after the cells it reads from."""
    data = Cell(key=DATA, stage="prepare_data", config=preset.data, seed=0, run_seed=None, **vars(about.DATA_SET))
    return [data, *(cell for seed in seeds for cell in _Seed(preset, seed).cells())]


def cell_addresses(
    grid: Sequence[Cell], *, runtime: RuntimeConfig, code: str, versions: Mapping[str, str]
) -> dict[str, str]:
    """Return the address of each cell, by key.

    An address is a digest of stage, configuration, parents' addresses, seed, runtime, code and library
    versions: whatever can change the bytes of the cell's artifact.
    """
    addresses: dict[str, str] = {}
    for cell in grid:
        addresses[cell.key] = cell_address(
            cell,
            inputs={port: addresses[key] for port, key in cell.inputs.items()},
            runtime=runtime,
            code=code,
            versions=versions,
        )
    return addresses


def cell_address(
    cell: Cell, *, inputs: Mapping[str, str], runtime: RuntimeConfig, code: str, versions: Mapping[str, str]
) -> str:
    """Return one cell's address, 32 hexadecimal digits, from its parents' addresses (by port)."""
    return digest_of(
        {
            "stage": cell.stage,
            "config": cell.config.identity(),
            "inputs": dict(inputs),
            "seed": cell.seed,
            "runtime": runtime.identity(),
            "code": code,
            "versions": dict(versions),
        }
    )[:32]


def images_key(seed: int, features: Features) -> str:
    """Return the key of the cell that holds an image set."""
    return DATA if features is Features.NATURAL else f"seed{seed}/{features}/images"


class _Seed:
    """The cells of one seed, each made when something first reads it."""

    def __init__(self, preset: Preset, seed: int) -> None:
        self.preset = preset
        self.seed = seed
        self.made: dict[str, Cell] = {}

    def cells(self) -> list[Cell]:
        for want in wants(self.preset):
            self._measure(want)
        if Experiment.E5 in self.preset.experiments:
            for features in self.preset.features:
                self._transfer(features)
                if Paradigm.CONTRASTIVE in self.preset.paradigms:
                    self._loss_curves(features)
        return list(self.made.values())

    def _cell(self, name: str, stage: str, config: Config, inputs: Mapping[str, str], described: About) -> str:
        """Add a cell, unless it is there, and return its key."""
        key = f"seed{self.seed}/{name}"
        if key not in self.made:
            # 63 bits: torch's generators take a signed 64-bit seed.
            seed = int.from_bytes(hashlib.sha256(f"{self.seed}/{name}".encode()).digest()[:8], "big") >> 1
            cell = Cell(
                key=key, stage=stage, config=config, inputs=inputs, seed=seed, run_seed=self.seed, **vars(described)
            )
            self.made[key] = cell
        return key

    def _images(self, features: str) -> str:
        """Return the key of an image set, after making what it is made from."""
        made = Features(features)
        if made is Features.NATURAL:
            return DATA
        stage, config = self._recipe(made)
        inputs = {"natural": DATA}
        if made is Features.SHUFFLED:
            inputs |= {"labelled": DATA}
        elif made is Features.D_RAND_LABELS:
            inputs |= {"labelled": self._images(Features.D_RAND)}
        else:
            inputs |= {"source": self._encoder(maker_of(made, self.preset), Features.NATURAL)}
        return self._cell(f"{made}/images", stage, config, inputs, about.images(made))

    def _recipe(self, features: Features) -> tuple[str, Config]:
        """Return the stage that makes a crafted set, and its configuration."""
        preset = self.preset
        match features:
            case Features.SHUFFLED:
                return "relabel", RelabellingConfig(order="shuffled")
            case Features.D_RAND_LABELS:
                return "relabel", RelabellingConfig(order="kept")
            case Features.D_RAND:
                return "perturb_towards_targets", preset.d_rand
            case Features.D_DET:
                return "perturb_towards_targets", preset.d_det
            case Features.ROBUST:
                return "match_representations", preset.robust
            case Features.NON_ROBUST_NOISE:
                return "match_representations", preset.non_robust.model_copy(update={"start": "noise"})
            case _:
                return "match_representations", preset.non_robust

    def _encoder(self, paradigm: str, features: str, timestep: int | None = None) -> str:
        """Return the key of the encoder that a paradigm pretrains on a set, or has at its initialisation."""
        if timestep is not None:
            inputs = {"encoder": self._encoder(paradigm, features)}
            described = about.encoder(paradigm, features, timestep)
            name = f"{_folder(paradigm, features, timestep)}/encoder"
            return self._cell(name, "at_timestep", TimestepConfig(timestep=timestep), inputs, described)
        name, described = f"{_folder(paradigm, features)}/encoder", about.encoder(paradigm, features)
        trained_on = DATA
        if paradigm == Control.PIXELS:
            config: Config = PixelsConfig()
        elif features == UNTRAINED:
            config = UntrainedConfig(encoder=getattr(self.preset, paradigm))
        else:
            config, trained_on = getattr(self.preset, paradigm), self._images(features)
        if paradigm in (ADVERSARIAL, STANDARD):
            described = about.source(paradigm)
        return self._cell(name, "pretrain", config, {"train_set": trained_on}, described)

    def _probe(self, want: Want) -> str:
        """Return the key of what reads classes out of a representation: a probe, or the encoder with its own head."""
        read = want.measurement
        encoder = self._encoder(read.paradigm, read.features, read.timestep)
        if read.readout == Readout.OWN_HEAD:
            return encoder
        inputs = {"encoder": encoder, "train_set": self._images(read.probe_features)}
        name = f"{_folder_of(read)}/{_reading(read)}/{read.probe_features}"
        return self._cell(name, "linear_probe", self._probe_config(read.readout), inputs, about.probe(want))

    def _probe_config(self, readout: str) -> ProbeConfig:
        augmentation = {
            Readout.CROP_FLIP: self.preset.supervised.augmentation,
            Readout.SIMCLR: self.preset.contrastive.augmentation,
            Readout.NOISE: self.preset.probe_noise,
        }.get(Readout(readout))
        if augmentation is None:
            return self.preset.probe
        return self.preset.probe.model_copy(update={"augmentation": augmentation, "views": self.preset.probe_views})

    def _measure(self, want: Want) -> None:
        """Add the cell that measures what an experiment wants, and all that it reads from."""
        read = want.measurement
        inputs = {"encoder": self._encoder(read.paradigm, read.features, read.timestep)}
        name = f"{_folder_of(read)}/{_measured(read)}/{read.probe_features}"
        if read.readout == Readout.KNN:
            inputs |= {"train_set": self._images(read.probe_features), "test_set": DATA}
            self._cell(name, "nearest_neighbours", self.preset.knn, inputs, about.neighbours(want))
            return
        started_at = Features.ROBUST if read.protocol == Protocol.ROBUST_SET else Features.NATURAL
        inputs |= {"probe": self._probe(want), "test_set": self._images(started_at)}
        config = self._attack_config(want)
        self._cell(name, "attack", config, inputs, about.attack(want, config))

    def _attack_config(self, want: Want) -> AttackConfig:
        """Return the attacks that the experiments ask for; each costs more than all before it."""
        left_out: dict[str, object] = {}
        if want.depth < Depth.PGD:
            left_out |= {"pgd": ()}
        if want.depth < Depth.AUTOATTACK:
            left_out |= {"autoattack": (), "masking_images": 0}
        if Experiment.CONTROLS not in want.experiments:
            left_out |= {"representation": ()}
        return self.preset.attack.model_copy(update={**left_out, "protocol": Protocol(want.measurement.protocol)})

    def _transfer(self, features: Features) -> None:
        inputs = {"test_set": DATA}
        for number, paradigm in enumerate(self.preset.paradigms, start=1):
            read = matched(paradigm, features)
            inputs[f"encoder_{number}"] = self._encoder(paradigm, features)
            if read.readout != Readout.OWN_HEAD:
                inputs[f"probe_{number}"] = self._probe(Want(read))
        self._cell(f"{features}/transfer", "transfer", self.preset.transfer, inputs, about.transfer(features))

    def _loss_curves(self, features: Features) -> None:
        read = matched(Paradigm.CONTRASTIVE, features)
        inputs = {"encoder": self._encoder(read.paradigm, features), "probe": self._probe(Want(read)), "test_set": DATA}
        name = f"{_folder_of(read)}/loss_curves"
        self._cell(name, "loss_curves", self.preset.loss_curves, inputs, about.loss_curves(read))


# Keys feed the seeds of all random choices: none of these names may ever change.


def _folder(paradigm: str, features: str, timestep: int | None = None) -> str:
    """Return the part of a key that names the encoder."""
    if paradigm in (ADVERSARIAL, STANDARD):
        return f"sources/{paradigm}"
    name = f"{'controls' if features == NONE else features}/{paradigm}"
    return name if timestep is None else f"{name}/timestep{timestep}"


def _folder_of(read: Measurement) -> str:
    return _folder(read.paradigm, read.features, read.timestep)


def _reading(read: Measurement) -> str:
    """Return the part of a key that names the probe: `probe`, or the way in which it departs from the standard one."""
    return read.readout.removeprefix("linear_")


def _measured(read: Measurement) -> str:
    """Return the part of a key that names the measurement."""
    if read.readout == Readout.KNN:
        return "knn"
    # The standard readout of a matched supervised encoder is its own head; its probe stands beside it.
    name = "attack" if read.readout == read.usual_readout else f"{_reading(read)}/attack"
    return name if read.protocol == Protocol.NATURAL else f"{name}_from_{read.protocol}"
