"""The verdicts on the paper's claims, with the rules and the numbers that decided."""

from realfeatures.report.section import Part, Section
from realfeatures.report.tables import Badge, Noted, Sentences, Table
from realfeatures.results.drift import p_text
from realfeatures.results.judging import seed_allowance
from realfeatures.results.rows import Content
from realfeatures.results.verdicts import RULE

_WORDS = (
    "The rules were fixed before the run. A claim is supported when every comparison that it names holds, contradicted"
    f" when one fails, and inconclusive otherwise. {RULE}"
)


def section(results: Content) -> Section:
    """Return the section, which every run has."""
    part = Part(words=(f"{_WORDS} {_allowances()}",), table=table(results))
    return Section("claims", "Claims", "Verdicts on the paper's claims", (part,))


def table(results: Content) -> Table:
    """Each claim with its rule, its p-value, its verdict and what decided it."""
    body = [
        (
            claim["id"],
            Noted(claim["text"], f"Rule: {claim['rule']} Source: {claim['source']}."),
            p_text(claim["p"]),
            p_text(claim["adjusted_p"]),
            Badge(claim["verdict"]),
            Sentences(tuple(claim["reasons"])),
        )
        for claim in results["claims"]
    ]
    columns = ("", "claim and rule", "p", "adjusted", "verdict", "what decided")
    return Table(columns, tuple(body), stubs=2, words=2, name="claims")


def _allowances() -> str:
    """Return how the rule treats too few seeds, in words."""
    one, two, both = (
        f"{100 * seed_allowance(seeds, varying=varying):.0f}" for seeds, varying in ((1, 1), (2, 1), (1, 2))
    )
    return (
        f"One seed decides only where the interval lies {one} points beyond the threshold, two where it lies {two}"
        f" points beyond it ({both} and {one} where two paradigms are compared, as both vary): so few cannot show how"
        " much seeds differ. From three on, the interval holds their spread."
    )
