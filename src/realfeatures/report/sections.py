"""What the report shows of each experiment, in order: words, a figure, tables and the warnings that belong to them.

Both reports and docs/results.md draw these from results.json alone. An experiment that a run does not have is left out.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from realfeatures.experiment.vocabulary import Experiment, Protocol
from realfeatures.report import control_tables, experiment_tables, figures, loss_curves, transfer
from realfeatures.report.decomposition import answers, decomposition, losses
from realfeatures.report.masking import CHECKS, suspicions, warnings
from realfeatures.report.published import published
from realfeatures.report.tables import Table
from realfeatures.results.rows import (
    Lookup,
    Results,
    chance,
    chosen,
)


@dataclass(frozen=True)
class Part:
    """One table or figure with what belongs to it."""

    title: str = ""
    words: tuple[str, ...] = ()
    findings: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Sentences that the numbers say, each with its details."""
    figure: Callable[[], str] | None = None
    """Draws an <svg> element, where it is shown."""
    caption: str = ""
    warnings: tuple[str, ...] = ()
    table: Table | None = None
    note: str = ""
    folded: bool = False
    """Whether the page shows the table when asked to: the figure says most of it."""


@dataclass(frozen=True)
class Section:
    """A heading and its parts; `name` is its anchor and stands in the contents as `short`."""

    name: str
    short: str
    title: str
    parts: tuple[Part, ...]


def sections(results: Results) -> list[Section]:
    """Return the sections of the experiments that a run has."""
    builders: dict[str, Callable[[Results], Section]] = {
        Experiment.E1: _usefulness,
        Experiment.E2: _robustness,
        Experiment.E3: _origins,
        Experiment.E4: _augmentation,
        Experiment.E5: _transfer,
        Experiment.E6: _ilyas,
        Experiment.DECOMPOSITION: _decomposition,
        Experiment.CONTROLS: _controls,
    }
    found = [build(results) for experiment, build in builders.items() if chosen(results, experiment)]
    if results["masking"]:
        found.append(_masking(results))
    if published(results).rows:
        found.append(_published(results))
    return found


def _usefulness(results: Results) -> Section:
    words = (
        "Clean accuracy on natural test images, in percent. Every encoder is trained on the set that heads its column;"
        " supervised models keep their own head, all others get a linear probe fitted to the same set and its labels."
        " “A → natural”: the encoder is trained on A, and its probe is fitted to natural images. Raw pixels have no"
        " encoder, and an untrained one is at its initialisation.",
    )
    part = Part(
        words=words,
        figure=lambda: figures.usefulness_bars(results),
        caption="Bars: mean over seeds, encoder and classifier on the same set. Whiskers: 95 % interval; for two seeds,"
        " from the lowest bound of a seed to the highest. Dashed: chance.",
        table=experiment_tables.usefulness(results),
    )
    return Section(
        "usefulness", "Usefulness", "E1 · Usefulness: which features does each paradigm learn from?", (part,)
    )


_STARTS = {
    Protocol.NATURAL: ("From natural images", "Attacks start from natural test images."),
    Protocol.ROBUST_SET: (
        "From images of the robust set",
        "Attacks start from images of the robust set, which are made from training images: how the authors could"
        " repeat a reader's lower number (issue 4 of their released code).",
    ),
}


def _robustness(results: Results) -> Section:
    attack = results["preset"]["config"]["attack"]
    random = results["preset"]["config"]["diffusion"]["noise"] == "fresh"
    words = (
        "Accuracy in percent under attacks. PGD and AutoAttack attack encoder and classifier together. PGD takes"
        f" {attack['pgd_steps']} steps of {attack['pgd_relative_step_size']} epsilon from a random start; AutoAttack is"
        f" its standard version{', and rand for the diffusion encoders, whose noise is fresh' if random else ''}.",
    )
    parts = [Part(words=words), *_protocols(results)]
    sources = experiment_tables.sources(results)
    if sources.rows:
        text = (
            "The models whose features the crafted sets copy, all trained on natural images. The adversarial one is"
            " trained to withstand attacks: it shows how much of each attack a robust model survives."
        )
        parts.append(Part(title="The sources", words=(text,), table=sources))
    return Section("robustness", "Robustness", "E2 · Robustness: what remains under attack?", tuple(parts))


def _protocols(results: Results) -> Iterator[Part]:
    planned = Lookup(results).planned(Experiment.E2)
    for protocol, (title, text) in _STARTS.items():
        subjects = [one for one in planned if one.protocol == protocol]
        if experiment_tables.trained(subjects):
            yield Part(
                title=title,
                words=(text,),
                figure=_drawn_for(results, protocol),
                caption="Filled marks: PGD, at epsilon 0 the clean accuracy. Open marks: AutoAttack. Whiskers: 95 %"
                " interval.",
                warnings=warnings(results, subjects),
                table=experiment_tables.robustness(results, protocol),
            )


def _drawn_for(results: Results, protocol: str) -> Callable[[], str]:
    return lambda: figures.robustness_curves(results, protocol)


def _origins(results: Results) -> Section:
    words = (
        "Clean accuracy on natural test images, in percent. Rows: the paradigm whose natural encoder made the"
        " non-robust set. Columns: the paradigm that is trained on it, with its usual classifier fitted to that set.",
    )
    part = Part(words=words, table=experiment_tables.origins(results, chance(results)))
    return Section("origins", "Origin", "E3 · Where non-robust features come from, and where they are of use", (part,))


def _augmentation(results: Results) -> Section:
    planned = Lookup(results).planned(Experiment.E4)
    words = (
        "Clean and robust accuracy of each self-supervised encoder, in percent, by the augmentation of the images that"
        " its linear probe is fitted to. Without one the probe sees each image once, as it is: those rows"
        " are the control for all others.",
    )
    table = experiment_tables.augmentation(results)
    part = Part(words=words, warnings=warnings(results, planned), table=table)
    return Section("augmentation", "Augmentation", "E4 · Augmentation in the linear probe", (part,))


def _transfer(results: Results) -> Section:
    curves, shares = results["loss_curves"], results["transfer"]
    candidates = (
        Part(
            title="Attack one loss, watch the other",
            words=(_LOSSES,),
            figure=(lambda: loss_curves.loss_curves_figure(results)) if curves else None,
            caption=_LOSS_AXES,
            table=loss_curves.loss_curves_table(results),
            note="From before the attack to after its last step, averaged over the seeds.",
        ),
        Part(
            title="Do adversarial examples transfer?",
            words=(_SHARES,),
            figure=(lambda: transfer.transfer_map(results)) if shares else None,
            caption="Rows: source. Columns: target. Large: share that transfers, %. Small: same / different mistake.",
            table=transfer.transfer_table(results),
            note="n: adversarial examples of a seed that fool the source, on average.",
            folded=bool(shares),
        ),
    )
    return Section("transfer", "Transfer", "E5 · Attack transfer", _with_rows(candidates))


_LOSSES = (
    "The same contrastive encoder with its projection head (InfoNCE) and under its linear probe (cross-entropy). If an"
    " attack on one loss leaves the other alone, the two see different features."
)
_LOSS_AXES = (
    "Thick: the loss that is attacked. One line for each seed. Each loss has an axis of its own, the same on both sides"
    " and at least a tenth of the loss long."
)
_SHARES = (
    "Of the images that source and target both classify correctly, and whose adversarial example fools the source: the"
    " share that fools the target too, in percent, and whether both then name the same wrong class."
)


def _ilyas(results: Results) -> Section:
    planned = Lookup(results).planned(Experiment.E6)
    words = (
        "Standard supervised training on each of the sets of Ilyas et al. (arXiv 1905.02175), own head, accuracy on"
        " natural test images in percent. The controls say how much of it needs the perturbations (labels of d_rand on"
        " images without them), the labels (shuffled), or a natural image to start from (noise).",
    )
    part = Part(words=words, warnings=warnings(results, planned), table=experiment_tables.ilyas(results))
    return Section("ilyas", "Ilyas et al.", "E6 · Standard training on the sets of Ilyas et al.", (part,))


def _decomposition(results: Results) -> Section:
    words = (
        "A matched cell changes two things at once: the images that the encoder was pretrained on, and the images and"
        " labels that the probe was fitted to. The mixed cells change one at a time. Clean accuracy on natural test"
        " images, in percent; every encoder is read by a linear probe, supervised ones too.",
    )
    found = tuple((answer.summary, answer.sentences) for answer in answers(results))
    parts = (
        Part(words=words, findings=found, table=decomposition(results)),
        Part(
            title="What is lost",
            table=losses(results),
            note="Points of accuracy against encoder and probe on natural images, on the same test images. The"
            " supervised natural encoder is the very one that non_robust and d_rand were made with, unless the preset"
            " names another source.",
        ),
    )
    return Section("decomposition", "Encoder or labels?", "Encoder or labels: what loses the accuracy?", parts)


def _controls(results: Results) -> Section:
    planned = Lookup(results).planned(Experiment.CONTROLS)
    candidates = (
        Part("Nearest neighbours", (_NEIGHBOURS,), table=control_tables.neighbours(results)),
        Part("One view of each image, or several augmented ones", (_VIEWS,), table=control_tables.probe_views(results)),
        Part("The timestep of a diffusion encoder", (_TIMESTEP,), table=control_tables.timesteps(results)),
        Part(
            "An attack without labels",
            (_LABEL_FREE,),
            warnings=warnings(results, planned),
            table=control_tables.label_free(results),
        ),
        Part("What learned nothing", (_NOTHING,), table=control_tables.nothing_learned(results)),
    )
    return Section("controls", "Controls", "Controls", _with_rows(candidates))


def _with_rows(parts: Iterable[Part]) -> tuple[Part, ...]:
    return tuple(part for part in parts if part.table and part.table.rows)


_NEIGHBOURS = (
    "If a set's labels could be read off the representation, though not linearly, nearest neighbours would be far above"
    " the linear classifier."
)
_VIEWS = (
    "Clean accuracy of a probe that sees each image once, as it is, beside probes that see several augmented copies of"
    " each. All representations are extracted once, and not anew in every epoch."
)
_TIMESTEP = "The paper reads a diffusion encoder at one timestep; another may hold more of the class."
_LABEL_FREE = (
    "PGD that moves the representation as far as it can, whatever the label: if it lowers the accuracy as much as the"
    " attack on the loss, the encoder is what is not robust, and not the probe."
)
_NOTHING = "A set on which raw pixels or an untrained encoder do well says little of a trained one."


def _masking(results: Results) -> Section:
    found = suspicions(results)
    cells = f"{len(results['masking'])} attacked classifiers"
    meanings = "; ".join(f"{name}: {meaning}" for name, meaning in CHECKS.items())
    words = (f"Signs that an attack failed for lack of a gradient, and not for the model's robustness. {meanings}.",)
    if not found:
        return _trust(Part(words=(*words, f"None of them was found in {cells}.")))
    text = f"Signs were found in {len({one.cell for one in found})} of {cells}; such an accuracy may be too high."
    listed = tuple((one.text, (f"realfeatures show {one.cell[:12]}: {one.numbers}",)) for one in found)
    return _trust(Part(words=words, warnings=(text,), findings=listed))


def _trust(part: Part) -> Section:
    return Section("masking", "Gradient masking", "Do the attacks' gradients tell the truth?", (part,))


def _published(results: Results) -> Section:
    images = results["data"]["train_images"]
    here = f"{images:,} training images" if images is not None else "the data set's training images"
    words = (
        f"For orientation only: models, epochs and sets differ, as named. Here: preset {results['preset']['name']} on"
        f" {results['data']['title']}, {here}; other models and lengths as in results.json.",
    )
    part = Part(words=words, table=published(results))
    return Section("published", "Published numbers", "Beside published numbers", (part,))
