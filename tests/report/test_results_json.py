"""The fields of results.json, against their documented schema."""

import copy

import jsonschema
import pytest
from made_up_run import Run, record_of

from realfeatures.experiment.measurement import Measurement


def test_results_match_their_documented_schema(results: dict, schema: dict) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(results, schema, jsonschema.Draft202012Validator)


def test_the_schema_refuses_a_field_that_it_does_not_document(results: dict, schema: dict) -> None:
    changed = copy.deepcopy(results)
    changed["rows"][0]["extra"] = 1
    with pytest.raises(jsonschema.ValidationError, match="extra"):
        jsonschema.validate(changed, schema, jsonschema.Draft202012Validator)


def test_the_schema_describes_every_property(schema: dict) -> None:
    def undescribed(node: object, path: str) -> list[str]:
        if not isinstance(node, dict):
            return []
        found = []
        for name, child in node.get("properties", {}).items():
            text = child.get("description", "")
            found += [] if text or "$ref" in child else [f"{path}.{name}"]
        return found + [one for name, child in node.items() for one in undescribed(child, f"{path}.{name}")]

    assert undescribed(schema, "schema") == []


def test_a_row_is_one_flat_record_with_its_interval(original: Run, results: dict) -> None:
    measured = [record_of(cell)["measurements"] for cell in original.grid if cell.role in ("attack", "knn")]
    assert len(results["rows"]) == sum(map(len, measured))
    row = next(
        row
        for row in results["rows"]
        if (row["paradigm"], row["features"], row["probe_features"], row["attack"], row["seed"], row["readout"])
        == ("contrastive", "non_robust", "non_robust", "none", 1, "linear_probe")
        and row["protocol"] == "natural"
    )
    assert {"E1", "E2", "E3", "decomposition"} <= set(row["experiments"])
    assert (row["value"], row["n"], row["seconds"]) == (233 / 500, 500, 2.5)
    assert row["low"] < row["value"] < row["high"]
    assert row["cell"] == original.addresses["seed1/non_robust/contrastive/attack/non_robust"]


def test_every_measurement_of_a_seed_has_a_key_of_its_own(results: dict) -> None:
    keys = [(Measurement.of(row), row["seed"]) for row in results["rows"]]
    assert len(set(keys)) == len(keys)


def test_transfer_loss_curves_and_masking_are_lists_with_their_cells(original: Run, results: dict) -> None:
    one = next(one for one in results["transfer"] if (one["source"], one["target"]) == ("masked", "diffusion"))
    assert (one["features"], one["n"], one["transferred"], one["same_mistake"]) == ("natural", 40, 10, 6)
    assert one["cell"] == original.addresses["seed0/natural/transfer"]
    curve = results["loss_curves"][0]
    assert (curve["paradigm"], curve["attacked"], curve["info_nce"]) == ("contrastive", "info_nce", [1.0, 2.0, 4.0])
    read = [Measurement.of(one["measurement"]) for one in results["masking"]]
    checked = {(one.features, one.protocol) for one in read if one.paradigm == "supervised"}
    assert {("robust", "natural"), ("robust", "robust_set")} <= checked
    assert results["masking"][0]["checks"] == {"L2 flat_loss": False}
