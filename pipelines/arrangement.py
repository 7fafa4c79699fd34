"""The tasks of an experiment, arranged as a person reads the paper.

root: configure -> prepare data -> repetition 1, 2, ... -> report. A repetition: sources and sets, then each encoder, a
nested pipeline of its stages or one task, then transfer and the results of all. Encoders of equal shape share one
nested pipeline, and so do all repetitions.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from realfeatures.components import COMPONENTS, Component
from realfeatures.components.component import CELLS, Ports
from realfeatures.experiment.config import Preset
from realfeatures.experiment.grid import DATA, cells
from realfeatures.kubeflow.batches import RESULTS, Batch, Granularity, Source, batches, slug, sources
from realfeatures.pipelines.levels import Components, Level, Reference, artifact_of, input_artifact, selected

NATURAL = "natural"
"""The port at which a nested pipeline takes the prepared data."""


class Arrangement:
    """The tasks of one repetition, and the components that they need."""

    def __init__(self, preset: Preset, granularity: Granularity, *, seed: int) -> None:
        self.batches = batches(cells(preset, [seed]), granularity)
        self.reads = {key: sources(batch, self.batches) for key, batch in self.batches.items()}

    def read_outside(self, keys: set[str]) -> set[Source]:
        """Return the artifacts that tasks other than these read."""
        return {source for key, found in self.reads.items() if key not in keys for source in found}

    def ports(self) -> dict[str, dict[str, Ports]]:
        """Return how many artifacts each component takes of each kind, by component and family."""
        counts: dict[str, list[dict[str, int]]] = {}
        for batch in self.batches.values():
            found = dict.fromkeys(COMPONENTS[batch.component].inputs, 0)
            for source in self.reads[batch.key]:
                found[source.port] += 1
            counts.setdefault(batch.component, []).append(found)
        counts[RESULTS] = [{"results": len(self.results())}]
        return {name: _ports(COMPONENTS[name], found) for name, found in counts.items()}

    def results(self) -> list[Source]:
        """Return the artifacts with the results of a repetition's last tasks."""
        return [Source(batch.key, "results") for batch in self.batches.values() if "results" in batch.outputs]

    def blocks(self) -> list[list[Batch]]:
        """Return a repetition's tasks and nested pipelines, each after those that it reads from.

        Raises:
            ValueError: they read from one another in a circle.
        """
        waiting: dict[str, list[Batch]] = {}
        for batch in self.batches.values():
            if batch.key != DATA:
                waiting.setdefault(batch.path[0], []).append(batch)
        ordered: list[list[Batch]] = []
        while waiting:
            unmade = {batch.key: name for name, block in waiting.items() for batch in block}
            ready = [name for name, block in waiting.items() if self._needs(block) & unmade.keys() <= _keys(block)]
            if not ready:
                raise ValueError(f"pipelines that wait for one another: {', '.join(waiting)}")
            ordered += [waiting.pop(name) for name in ready]
        return ordered

    def _needs(self, block: list[Batch]) -> set[str]:
        return {source.batch for batch in block for source in self.reads[batch.key]}

    def repetition(self, components: Components, names: Mapping[str, str], options: Mapping[str, Any]) -> Level:
        """Return a repetition's level.

        Args:
            components: takes the nested pipelines.
            names: of the components, by the key of the task; RESULTS is one.
            options: how a task is cached and retried.
        """
        return _Repetition(self, components, names, options).build()


class _Repetition:
    def __init__(
        self, arrangement: Arrangement, components: Components, names: Mapping[str, str], options: Mapping[str, Any]
    ) -> None:
        self.arrangement, self.components, self.names, self.options = arrangement, components, names, options
        self.all_ports = arrangement.ports()
        self.level = Level(inputs={NATURAL: COMPONENTS["prepare_data"].outputs["images"]})
        self.made: dict[Source, Reference] = {Source(DATA, "images"): input_artifact(NATURAL)}
        """What brings each artifact to this level's tasks."""

    def build(self) -> Level:
        for block in self.arrangement.blocks():
            if len(block[0].path) > 1:
                self._nest(block[0].path[0], block)
            else:
                self._add(self.level, block[0], self.made)
        self._join()
        return self.level

    def _add(self, level: Level, batch: Batch, made: dict[Source, Reference]) -> None:
        key = batch.path[-1]
        artifacts = self._connected(batch.component, {s: made[s] for s in self.arrangement.reads[batch.key]})
        level.add(
            key,
            title=batch.title if level is self.level else batch.step,
            component=self.names[batch.key],
            parameters={CELLS: selected(key)},
            artifacts=artifacts,
            options=self.options,
        )
        made |= {Source(batch.key, port): artifact_of(key, port) for port in batch.outputs}

    def _connected(self, component: str, found: Mapping[Source, Reference]) -> dict[str, Reference]:
        """Return what brings each artifact to a component's task, by port."""
        families: dict[str, list[Reference]] = {}
        for source, reference in found.items():
            families.setdefault(source.port, []).append(reference)
        ports = self.all_ports[component]
        return {
            name: reference
            for family, references in families.items()
            for name, reference in zip(ports[family].names(family, len(references)), references, strict=True)
        }

    def _nest(self, key: str, inner: list[Batch]) -> None:
        """Add the stages of one encoder as a nested pipeline."""
        keys = {batch.key for batch in inner}
        read = [source for batch in inner for source in self.arrangement.reads[batch.key]]
        outside = _inputs([source for source in dict.fromkeys(read) if source.batch not in keys], inner[0])
        level = Level(inputs={port: _kind(self.arrangement, source) for source, port in outside.items()})
        made = {source: input_artifact(port) for source, port in outside.items()}
        for batch in inner:
            self._add(level, batch, made)
        wanted = self.arrangement.read_outside(keys) | set(self.arrangement.results())
        returned = [source for source in made if source.batch in keys and source in wanted]
        for source in returned:
            level.outputs[self._returned(source, returned)] = (_kind(self.arrangement, source), made[source])
        component = self.components.add("encoder-stages", level.specification())
        self.level.add(
            key,
            title=inner[0].encoder_title,
            component=component,
            parameters={CELLS: selected(key)},
            artifacts={port: self.made[source] for source, port in outside.items()},
            options={"cachingOptions": self.options["cachingOptions"]},
        )
        self.made |= {source: artifact_of(key, self._returned(source, returned)) for source in returned}

    @staticmethod
    def _returned(source: Source, returned: list[Source]) -> str:
        """Return the port at which a nested pipeline returns an artifact."""
        alone = sum(other.port == source.port for other in returned) == 1
        return source.port if alone else f"{slug(source.batch).replace('-', '_')}_{source.port}"

    def _join(self) -> None:
        found = {source: self.made[source] for source in self.arrangement.results()}
        self.level.add(
            RESULTS,
            title="results",
            component=self.names[RESULTS],
            parameters={CELLS: selected(RESULTS)},
            artifacts=self._connected(RESULTS, found),
            options=self.options,
        )
        self.level.outputs["results"] = (COMPONENTS[RESULTS].outputs["results"], artifact_of(RESULTS, "results"))


def _keys(block: list[Batch]) -> set[str]:
    return {batch.key for batch in block}


def _ports(component: Component, counts: list[dict[str, int]]) -> dict[str, Ports]:
    found = {
        family: Ports(most=max(one[family] for one in counts), least=min(one[family] for one in counts))
        for family in component.inputs
    }
    return {family: ports for family, ports in found.items() if ports.most}


def _inputs(outside: list[Source], batch: Batch) -> dict[Source, str]:
    """Return the port at which an encoder's nested pipeline takes each artifact: `natural`, `own`, `robust`, ..."""
    ports = {source: _input(source, batch) for source in outside}
    shared = {name for name, count in Counter(ports.values()).items() if count > 1}
    # The encoder itself, and the same one at another timestep.
    apart = {source: _apart(source, batch) for source, name in ports.items() if name in shared}
    return ports | apart


def _input(source: Source, batch: Batch) -> str:
    features = str(batch.encoder).partition("/")[0]
    if source.batch == DATA:
        return NATURAL
    if source.port == "images":
        made = source.batch.removesuffix("/images")
        return "own" if made == features else made
    return source.port


def _apart(source: Source, batch: Batch) -> str:
    return slug(source.batch.removeprefix(f"{batch.encoder}/")).replace("-", "_")


def _kind(arrangement: Arrangement, source: Source) -> str:
    return COMPONENTS[arrangement.batches[source.batch].component].outputs[source.port]
