"""The experiment grid: a preset and its seeds become an ordered list of cells.

A cell is one run of one stage. The one-machine run, the Kubeflow pipeline, the plan and the report
all walk this list; no other place knows which cells there are. Which accuracies an experiment wants stands in
experiments.py; here each of them brings the cells that it is read from, once. Imports neither torch nor kfp.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

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
from realfeatures.experiment.experiments import (
    Depth,
    Want,
    maker_of,
    matched,
    wants,
)
from realfeatures.experiment.vocabulary import (
    ADVERSARIAL,
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
class Cell:
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
    labels: Mapping[str, str | int] = field(default_factory=lambda: MappingProxyType({}))
    """What the report calls the cell: run_seed, experiments, role, and as far as it has them paradigm, features,
    probe_features, readout and protocol. Not part of the address."""


def cells(preset: Preset, seeds: Sequence[int]) -> list[Cell]:
    """Return every cell of an experiment, each after the cells it reads from."""
    found = [Cell(key=DATA, stage="prepare_data", config=preset.data, seed=0, labels={"role": "data"})]
    for seed in seeds:
        found.extend(_Seed(preset, seed).cells())
    return found


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
    cell: Cell,
    *,
    inputs: Mapping[str, str],
    runtime: RuntimeConfig,
    code: str,
    versions: Mapping[str, str],
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

    def _cell(
        self, name: str, stage: str, config: Config, inputs: dict[str, str], *, role: str, **labels: str | int
    ) -> str:
        """Add a cell and return its key."""
        # 63 bits: torch's generators take a signed 64-bit seed.
        seed = int.from_bytes(hashlib.sha256(f"{self.seed}/{name}".encode()).digest()[:8], "big") >> 1
        key = f"seed{self.seed}/{name}"
        self.made[key] = Cell(
            key=key,
            stage=stage,
            config=config,
            inputs=inputs,
            seed=seed,
            labels=MappingProxyType({"run_seed": self.seed, "role": role, **labels}),
        )
        return key

    def _has(self, name: str) -> str | None:
        key = f"seed{self.seed}/{name}"
        return key if key in self.made else None

    def _images(self, features: Features) -> str:
        """Return the key of an image set, after making what it is made from."""
        name = f"{features}/images"
        if features is Features.NATURAL:
            return DATA
        if found := self._has(name):
            return found
        if features in (Features.SHUFFLED, Features.D_RAND_LABELS):
            shuffled = features is Features.SHUFFLED
            labels = RelabellingConfig(order="shuffled" if shuffled else "kept")
            inputs = {"natural": DATA, "labelled": DATA if shuffled else self._images(Features.D_RAND)}
            return self._cell(name, "relabel", labels, inputs, role="images", features=features)
        inputs = {"source": self._source_of(features), "natural": DATA}
        if features in (Features.D_RAND, Features.D_DET):
            targets = self.preset.d_rand if features is Features.D_RAND else self.preset.d_det
            return self._cell(name, "perturb_towards_targets", targets, inputs, role="images", features=features)
        matching = self.preset.robust if features is Features.ROBUST else self.preset.non_robust
        if features is Features.NON_ROBUST_NOISE:
            matching = matching.model_copy(update={"start": "noise"})
        return self._cell(name, "match_representations", matching, inputs, role="images", features=features)

    def _source_of(self, features: Features) -> str:
        """Return the key of the encoder that a set is made from."""
        return self._encoder(maker_of(features, self.preset), Features.NATURAL)

    def _source(self, name: str) -> str:
        labels = {"paradigm": name, "features": Features.NATURAL}
        cell, config = f"sources/{name}/encoder", getattr(self.preset, name)
        return self._has(cell) or self._cell(cell, "pretrain", config, {"train_set": DATA}, role="source", **labels)

    def _encoder(self, paradigm: str, features: str) -> str:
        """Return the key of the encoder that a paradigm pretrains on a set, or has at its initialisation."""
        if paradigm in (ADVERSARIAL, STANDARD):
            return self._source(paradigm)
        name = f"{'controls' if paradigm == Control.PIXELS else features}/{paradigm}/encoder"
        if found := self._has(name):
            return found
        config: Config = PixelsConfig() if paradigm == Control.PIXELS else getattr(self.preset, paradigm)
        trained_on = DATA
        if features == UNTRAINED:
            config = UntrainedConfig(encoder=getattr(self.preset, paradigm))
        elif paradigm != Control.PIXELS:
            trained_on = self._images(Features(features))
        inputs = {"train_set": trained_on}
        return self._cell(name, "pretrain", config, inputs, role="encoder", paradigm=paradigm, features=features)

    def _at_timestep(self, want: Want) -> str:
        """Return the key of the encoder that a want reads: at another timestep, or as it was pretrained."""
        encoder = self._encoder(want.paradigm, want.features)
        if want.timestep is None:
            return encoder
        name = f"{want.features}/{want.paradigm}/timestep{want.timestep}/encoder"
        return self._has(name) or self._cell(
            name,
            "at_timestep",
            TimestepConfig(timestep=want.timestep),
            {"encoder": encoder},
            role="encoder",
            paradigm=want.paradigm,
            features=want.features,
            timestep=want.timestep,
        )

    def _probe(self, want: Want) -> str:
        """Return the key of what reads classes out of a representation: a probe, or the encoder with its own head."""
        encoder = self._at_timestep(want)
        if want.readout is Readout.OWN_HEAD:
            return encoder
        name = f"{want.folder}/{want.reading}/{want.probe_features}"
        inputs = {"encoder": encoder, "train_set": self._images(want.probe_features)}
        return self._has(name) or self._cell(
            name, "linear_probe", self._probe_config(want.readout), inputs, role="probe", **want.labels
        )

    def _probe_config(self, readout: Readout) -> ProbeConfig:
        augmentation = {
            Readout.CROP_FLIP: self.preset.supervised.augmentation,
            Readout.SIMCLR: self.preset.contrastive.augmentation,
            Readout.NOISE: self.preset.probe_noise,
        }.get(readout)
        if augmentation is None:
            return self.preset.probe
        return self.preset.probe.model_copy(update={"augmentation": augmentation, "views": self.preset.probe_views})

    def _measure(self, want: Want) -> None:
        """Add the cell that measures what an experiment wants, and all that it reads from."""
        encoder = self._at_timestep(want)
        name = f"{want.folder}/{want.measurement}/{want.probe_features}"
        if want.readout is Readout.KNN:
            inputs = {"encoder": encoder, "train_set": self._images(want.probe_features), "test_set": DATA}
            self._cell(name, "nearest_neighbours", self.preset.knn, inputs, role="knn", **want.labels)
            return
        started_at = Features.ROBUST if want.protocol is Protocol.ROBUST_SET else Features.NATURAL
        inputs = {"encoder": encoder, "probe": self._probe(want), "test_set": self._images(started_at)}
        self._cell(name, "attack", self._attack_config(want), inputs, role="attack", **want.labels)

    def _attack_config(self, want: Want) -> AttackConfig:
        """Return the attacks that the experiments ask for; each costs more than all before it."""
        attack = self.preset.attack
        left_out: dict[str, object] = {}
        if want.depth < Depth.PGD:
            left_out |= {"pgd": ()}
        if want.depth < Depth.AUTOATTACK:
            left_out |= {"autoattack": (), "masking_images": 0}
        if Experiment.CONTROLS not in want.experiments:
            left_out |= {"representation": ()}
        return attack.model_copy(update={**left_out, "protocol": want.protocol})

    def _transfer(self, features: Features) -> None:
        inputs = {"test_set": DATA}
        for number, paradigm in enumerate(self.preset.paradigms, start=1):
            want = matched(paradigm, features)
            inputs[f"encoder_{number}"] = self._encoder(paradigm, features)
            if want.readout is not Readout.OWN_HEAD:
                inputs[f"probe_{number}"] = self._probe(want)
        labels = {"features": features, "experiments": Experiment.E5}
        self._cell(f"{features}/transfer", "transfer", self.preset.transfer, inputs, role="transfer", **labels)

    def _loss_curves(self, features: Features) -> None:
        want = matched(Paradigm.CONTRASTIVE, features)
        inputs = {"encoder": self._at_timestep(want), "probe": self._probe(want), "test_set": DATA}
        labels = want.labels | {"experiments": Experiment.E5}
        name = f"{want.folder}/loss_curves"
        self._cell(name, "loss_curves", self.preset.loss_curves, inputs, role="loss_curves", **labels)
