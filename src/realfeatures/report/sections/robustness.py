"""E2: what remains under attack?"""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from realfeatures.experiment.about import Role
from realfeatures.experiment.measurement import CLEAN, Measurement, matched
from realfeatures.experiment.vocabulary import ADVERSARIAL, STANDARD, Experiment, Features, Paradigm, Protocol
from realfeatures.experiment.wording import control_name, epsilon_name, threat_name
from realfeatures.report.classifiers import features_of, ordered, trained
from realfeatures.report.drawing import GREY, MARKERS, colour_of, draw_svg, figure_width, legend, percent_axis
from realfeatures.report.section import Part, Section
from realfeatures.report.sections.masking import warnings
from realfeatures.report.tables import Table
from realfeatures.results.rows import FEATURES_ORDER, NOT_PLANNED, Content, Rows, chosen, in_order, paradigms_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STARTS = {
    Protocol.NATURAL: ("From natural images", "Attacks start from natural test images."),
    Protocol.ROBUST_SET: (
        "From images of the robust set",
        "Attacks start from images of the robust set, which are made from training images: how the authors could"
        " repeat a reader's lower number (issue 4 of their released code).",
    ),
}
_CAPTION = "Filled marks: PGD, at epsilon 0 the clean accuracy. Open marks: AutoAttack. Whiskers: 95 % interval."
_SOURCES = (
    "The models whose features the crafted sets copy, all trained on natural images. The adversarial one is trained to"
    " withstand attacks: it shows how much of each attack a robust model survives."
)


def section(results: Content) -> Section | None:
    """Return the section, where a run has the experiment."""
    if not chosen(results, Experiment.E2):
        return None
    attack = results["preset"]["config"]["attack"]
    random = results["preset"]["config"]["diffusion"]["noise"] == "fresh"
    words = (
        "Accuracy in percent under attacks. PGD and AutoAttack attack encoder and classifier together. PGD takes"
        f" {attack['pgd_steps']} steps of {attack['pgd_relative_step_size']} epsilon from a random start; AutoAttack is"
        f" its standard version{', and rand for the diffusion encoders, whose noise is fresh' if random else ''}."
    )
    parts = [Part(words=(words,)), *_protocols(results)]
    if (models := sources(results)).rows:
        parts.append(Part(title="The sources", words=(_SOURCES,), table=models))
    return Section("robustness", "Robustness", "E2 · Robustness: what remains under attack?", tuple(parts))


def _protocols(results: Content) -> Iterator[Part]:
    for protocol, (title, text) in _STARTS.items():
        if classifiers := _started_at(Rows.of(results), protocol):
            yield Part(
                title=title,
                words=(text,),
                figure=partial(curves, results, protocol),
                caption=_CAPTION,
                warnings=warnings(results, classifiers),
                table=table(results, protocol),
            )


def _started_at(rows: Rows, protocol: str) -> list[Measurement]:
    return [one for one in trained(rows.planned(Experiment.E2)) if one.protocol == protocol]


def table(results: Content, protocol: str) -> Table:
    """Accuracy of each matched cell under each attack, started from the images of a protocol."""
    rows = Rows.of(results)
    classifiers = _started_at(rows, protocol)
    threats = rows.threats(classifiers)
    body = [(one.paradigm, one.features, *rows.entries(one, threats)) for one in classifiers]
    return Table(("paradigm", "features", *map(threat_name, threats)), ordered(body), stubs=2)


def sources(results: Content) -> Table:
    """Accuracy under each attack of the models whose features the crafted sets copy."""
    rows = Rows.of(results)
    made = _made_with(results)
    names = in_order(made, (ADVERSARIAL, STANDARD, *Paradigm))
    # A classifier from outside is not attacked.
    models = {name: matched(name, Features.NATURAL) for name in names if name != STANDARD}
    threats = rows.threats(models.values())
    numbers = {name: rows.entries(model, threats) for name, model in models.items()}
    unplanned = [NOT_PLANNED] * len(threats)
    body = [(control_name(name), ", ".join(made[name]), *numbers.get(name, unplanned)) for name in names]
    return Table(("source", "makes", *map(threat_name, threats)), tuple(body), stubs=2)


def _made_with(results: Content) -> dict[str, list[str]]:
    """Return the crafted sets by the source whose features they copy."""
    by_address = {cell["address"]: str(cell["paradigm"]) for cell in results["cells"]}
    made: dict[str, list[str]] = {}
    for cell in results["cells"]:
        if cell["role"] == Role.IMAGES and "source" in cell["inputs"]:
            made.setdefault(by_address[cell["inputs"]["source"]], []).append(str(cell["features"]))
    return {source: in_order(sets, FEATURES_ORDER) for source, sets in made.items()}


def curves(results: Content, protocol: str) -> str:
    """Return accuracy over epsilon: a panel a paradigm and norm, a line a feature set, AutoAttack as open marks."""
    rows = Rows.of(results)
    classifiers = _started_at(rows, protocol)
    paradigms, features = paradigms_of(classifiers), features_of(classifiers)
    threats = [threat for threat in rows.threats(classifiers) if threat != CLEAN]
    norms = list(dict.fromkeys(threat.norm for threat in threats)) or ["L2"]

    def draw(figure: "Figure") -> None:
        grid = figure.subplots(len(norms), len(paradigms), sharey=True, squeeze=False)
        for norm, line in zip(norms, grid, strict=True):
            for paradigm, axes in zip(paradigms, line, strict=True):
                for name in features:
                    _curve(axes, rows, matched(paradigm, name, protocol=protocol), norm)
                _epsilon_axis(axes, norm, {threat.epsilon for threat in threats if threat.norm == norm})
                axes.set_title(paradigm)
            percent_axis(line[0], "accuracy, %")
        _legend(figure, features)

    text = f"Accuracy over the size of the perturbation, by paradigm, one line for each training set ({protocol})"
    return draw_svg(draw, size=(figure_width(len(paradigms), 2.4), 0.55 + 2.5 * len(norms)), title=text)


def _curve(axes: "Axes", rows: Rows, one: Measurement, norm: str) -> None:
    colour, marker = colour_of(one.features), MARKERS[Features(one.features)]
    for attack, face in (("pgd", colour), ("autoattack", "white")):
        threats = [threat for threat in rows.threats([one]) if (threat.attack, threat.norm) == (attack, norm)]
        if attack == "pgd":
            threats.insert(0, CLEAN)
        points = [(t.epsilon, found.interval) for t in threats if (found := rows.accuracy(one.under(*t)))]
        if not points:
            continue
        epsilons = [epsilon for epsilon, _ in points]
        values = [100 * interval.value for _, interval in points]
        bars = [[100 * (i.value - i.low) for _, i in points], [100 * (i.high - i.value) for _, i in points]]
        style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 4, "capsize": 1.5}
        line = "-" if attack == "pgd" else "none"
        axes.errorbar(epsilons, values, yerr=bars, linestyle=line, linewidth=1.2, elinewidth=0.7, mfc=face, **style)


def _epsilon_axis(axes: "Axes", norm: str, epsilons: set[float]) -> None:
    ticks = [0.0, *sorted(epsilons)]
    axes.set_xticks(ticks, [epsilon_name(norm, epsilon) for epsilon in ticks])
    axes.set_xlabel("epsilon, " + {"L2": "L2", "Linf": "L∞"}.get(norm, norm))


def _legend(figure: "Figure", features: list[str]) -> None:
    from matplotlib.lines import Line2D

    handles = {
        name: Line2D([], [], color=colour_of(name), marker=MARKERS[Features(name)], markersize=4) for name in features
    }
    filled = Line2D([], [], color=GREY, marker="o", markersize=4)
    opened = Line2D([], [], color=GREY, marker="o", markersize=4, linestyle="none", mfc="white")
    legend(figure, {**handles, "filled: PGD (clean at 0)": filled, "open: AutoAttack": opened})
