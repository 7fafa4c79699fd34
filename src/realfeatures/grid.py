"""The experiment grid: a preset and its seeds become an ordered list of cells.

A cell is one run of one stage. The one-machine run, the Kubeflow pipeline, the plan and the report
all walk this list; no other place knows which cells there are. Imports neither torch nor kfp.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from realfeatures.config import ControlConfig, Preset, RuntimeConfig
from realfeatures.vocabulary import Config, Control, Features, Paradigm, digest_of

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
    """What the report calls the cell: run_seed, paradigm, features, probe_features, role. Not part of the address."""


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


def encoder_key(seed: int, features: Features, paradigm: Paradigm) -> str:
    """Return the key of the encoder that `paradigm` pretrains on `features`."""
    return f"seed{seed}/{features}/{paradigm}/encoder"


def images_key(seed: int, features: Features) -> str:
    """Return the key of the cell that holds an image set."""
    return DATA if features is Features.NATURAL else f"seed{seed}/{features}/images"


class _Seed:
    """The cells of one seed."""

    def __init__(self, preset: Preset, seed: int) -> None:
        self.preset = preset
        self.seed = seed
        self.crafted = [features for features in preset.features if features is not Features.NATURAL]

    def cells(self) -> Iterator[Cell]:
        yield from self.sources()
        yield from (self.synthesis(features) for features in self.crafted)
        for features in self.preset.features:
            for paradigm in self.preset.paradigms:
                yield from self.evaluation(features, paradigm)
        for control in self.preset.controls:
            yield from self.control(control)

    def cell(self, name: str, stage: str, config: Config, inputs: dict[str, str], **labels: str) -> Cell:
        # 63 bits: torch's generators take a signed 64-bit seed.
        seed = int.from_bytes(hashlib.sha256(f"{self.seed}/{name}".encode()).digest()[:8], "big") >> 1
        return Cell(
            key=f"seed{self.seed}/{name}",
            stage=stage,
            config=config,
            inputs=inputs,
            seed=seed,
            labels=MappingProxyType({"run_seed": self.seed, **labels}),
        )

    def sources(self) -> Iterator[Cell]:
        """The models whose features the synthesis copies: the standard and the adversarially trained one."""
        if Paradigm.SUPERVISED in self.preset.paradigms or {Features.NON_ROBUST, Features.D_RAND} & set(self.crafted):
            yield self.pretrain(Features.NATURAL, Paradigm.SUPERVISED)
        if Features.ROBUST in self.crafted:
            yield self.cell(
                "sources/adversarial/encoder",
                "pretrain",
                self.preset.adversarial,
                {"train_set": DATA},
                role="source",
                paradigm="adversarial",
                features=Features.NATURAL,
            )
            yield self.attack("sources/adversarial", "adversarial", Features.NATURAL, Features.NATURAL, own_head=True)

    def synthesis(self, features: Features) -> Cell:
        source = (
            f"seed{self.seed}/sources/adversarial/encoder"
            if features is Features.ROBUST
            else encoder_key(self.seed, Features.NATURAL, Paradigm.SUPERVISED)
        )
        stage = "perturb_towards_targets" if features is Features.D_RAND else "match_representations"
        return self.cell(
            f"{features}/images",
            stage,
            getattr(self.preset, features),
            {"source": source, "natural": DATA},
            role="images",
            features=features,
        )

    def pretrain(self, features: Features, paradigm: Paradigm) -> Cell:
        return self.cell(
            f"{features}/{paradigm}/encoder",
            "pretrain",
            getattr(self.preset, paradigm),
            {"train_set": images_key(self.seed, features)},
            role="encoder",
            paradigm=paradigm,
            features=features,
        )

    def evaluation(self, features: Features, paradigm: Paradigm) -> Iterator[Cell]:
        """One encoder, probed on its own set, and the two mixed cells that separate encoder from probe."""
        own_head = paradigm is Paradigm.SUPERVISED
        if not (own_head and features is Features.NATURAL):  # that one is the standard source
            yield self.pretrain(features, paradigm)
        yield from self.probe_and_attack(paradigm, features, features, own_head=own_head)
        if features is not Features.NATURAL:
            yield from self.probe_and_attack(paradigm, features, Features.NATURAL)
            yield from self.probe_and_attack(paradigm, Features.NATURAL, features)

    def control(self, control: Control) -> Iterator[Cell]:
        config = ControlConfig(paradigm=control, model=self.preset.supervised.model)
        yield self.cell(
            f"controls/{control}/encoder",
            "pretrain",
            config,
            {"train_set": DATA},
            role="control_encoder",
            paradigm=control,
        )
        for features in self.preset.features:
            yield from self.probe_and_attack(control, None, features)

    def probe_and_attack(
        self,
        paradigm: Paradigm | Control,
        features: Features | None,
        probe_features: Features,
        *,
        own_head: bool = False,
    ) -> Iterator[Cell]:
        """A linear probe and its attack; `own_head`: a supervised model is attacked through its own head."""
        name = f"{features or 'controls'}/{paradigm}"
        encoder = f"seed{self.seed}/{name}/encoder"
        labels = {"paradigm": paradigm, "features": features or "none", "probe_features": probe_features}
        if not own_head:
            yield self.cell(
                f"{name}/probe/{probe_features}",
                "linear_probe",
                self.preset.probe,
                {"encoder": encoder, "train_set": images_key(self.seed, probe_features)},
                role="probe",
                **labels,
            )
        yield self.attack(name, paradigm, features, probe_features, own_head=own_head)

    def attack(
        self,
        name: str,
        paradigm: str,
        features: Features | None,
        probe_features: Features,
        *,
        own_head: bool,
    ) -> Cell:
        """The attack on a probed encoder, by AutoAttack too where encoder and probe saw the same set."""
        encoder = f"seed{self.seed}/{name}/encoder"
        # AutoAttack costs most of the run: it answers E2, which asks of matched cells only.
        matched = features is probe_features
        return self.cell(
            f"{name}/attack/{probe_features}",
            "attack",
            self.preset.attack if matched else self.preset.attack.model_copy(update={"autoattack": ()}),
            {
                "encoder": encoder,
                "probe": encoder if own_head else f"seed{self.seed}/{name}/probe/{probe_features}",
                "test_set": DATA,
            },
            role="attack",
            paradigm=paradigm,
            features=features or "none",
            probe_features=probe_features,
        )
