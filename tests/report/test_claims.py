"""The verdicts in the report and on a terminal."""

from made_up_run import Page, Run


def test_both_reports_say_how_few_seeds_decide_and_which_encoder_is_a_source(original: Run) -> None:
    for text in (original.html, original.markdown):
        plain = " ".join(text.replace("\\_", "_").split())
        assert "One seed decides only where the interval lies 10 points beyond the threshold" in plain
        assert "two where it lies 7 points beyond it (14 and 10 where two paradigms are compared" in plain
        assert "natural encoder is the very one that non_robust and d_rand were made with" in plain


def test_each_claim_has_its_rule_its_verdict_and_what_decided_in_both_reports(original: Run, results: dict) -> None:
    table = Page(original.html).table("", "claim and rule", stubs=1)
    for claim in results["claims"]:
        row = table[(claim["id"],)]
        assert row["verdict"] == claim["verdict"]
        assert row["claim and rule"].startswith(claim["text"])
        assert claim["rule"] in row["claim and rule"]
        assert f"**{claim['verdict']}**" in original.markdown
    assert '<span class="badge supported">supported</span>' in original.html
    assert f"{len(results['claims'][3]['reasons']) - 4} more</summary>" in original.html
