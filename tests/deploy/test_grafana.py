"""The dashboard: by Grafana's own model, its layout, and its questions: PromQL about figures that exist."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.deploy.fronts import DEPLOY, tool
from tests.deploy.promql import labels_in, names_in, told
from tests.deploy.shipped import ShippedSidecar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sidecar.demo.backend import LegacyBackend

FILE: Final = DEPLOY / "grafana" / "dashboard.json"
DASHBOARD: Final[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))
PANELS: Final[list[dict[str, Any]]] = DASHBOARD["panels"]
DRAWN: Final = [panel for panel in PANELS if panel["type"] != "row"]
COLUMNS: Final = 24
VARIABLES: Final = {"$__rate_interval": "5m", "$__range": "6h", "$job": "cancel-sidecar", "$instance": ".*"}


def expressions() -> list[str]:
    """Give the questions, as Grafana would ask them."""
    found = [target["expr"] for panel in DRAWN for target in panel["targets"]]
    found += [annotation["expr"] for annotation in DASHBOARD["annotations"]["list"]]
    for name, value in VARIABLES.items():
        found = [expression.replace(name, value) for expression in found]
    return found


def differences(given: object, understood: object, place: str = "") -> Iterator[str]:
    """Say what of a document was lost or changed; what says nothing may be left out."""
    if isinstance(given, dict) and isinstance(understood, dict):
        for key, value in given.items():
            if key in understood:
                yield from differences(value, understood[key], f"{place}/{key}")
            elif value not in (None, False, []):
                yield f"{place}/{key}"
    elif isinstance(given, list) and isinstance(understood, list) and len(given) == len(understood):
        for number, (one, other) in enumerate(zip(given, understood, strict=True)):
            yield from differences(one, other, f"{place}/{number}")
    elif given != understood:
        yield place


def through_the_model(dashboard: dict[str, Any]) -> Any:  # noqa: ANN401  (JSON)
    register_default_plugins()
    return json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(dashboard)))


def test_grafana_s_model_knows_every_key() -> None:
    assert list(differences(DASHBOARD, through_the_model(DASHBOARD))) == []


def test_a_key_that_it_does_not_know_is_found() -> None:
    spoilt = {**DASHBOARD, "panels": [{**PANELS[1], "fieldConfigg": {"defaults": {}}}]}
    assert list(differences(spoilt, through_the_model(spoilt))) == ["/panels/0/fieldConfigg"]


def test_panels_have_ids_and_places_of_their_own() -> None:
    assert max(Counter(panel["id"] for panel in PANELS).values()) == 1
    taken: Counter[tuple[int, int]] = Counter()
    for place in (panel["gridPos"] for panel in PANELS):
        assert place["x"] + place["w"] <= COLUMNS
        taken.update(
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        )
    assert max(taken.values()) == 1


def test_panels_explain_themselves_and_ask_the_chosen_prometheus() -> None:
    for panel in DRAWN:
        assert panel["title"]
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert max(Counter(target["refId"] for target in panel["targets"]).values()) == 1
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}
    assert [variable["name"] for variable in DASHBOARD["templating"]["list"]] == ["datasource", "job", "instance"]


async def test_every_figure_is_one_that_the_sidecar_tells(backend: LegacyBackend, tmp_path: Path) -> None:
    sidecar = ShippedSidecar(tmp_path, backend.url, (DEPLOY / "docker" / "sidecar.toml").read_text(encoding="utf-8"))
    await sidecar.start()
    try:
        known = told(sidecar.console_port)
    finally:
        await sidecar.close()
    assert names_in(expressions()) <= known.keys()
    drawn = names_in(expressions()) | {"sidecar_build_info"}
    hidden = {
        name
        for name in known
        if name.startswith("sidecar_") and not name.endswith(("_bucket", "_sum", "_count", "_created"))
    }
    assert hidden - drawn == set(), "a figure that no panel shows"


def test_every_label_is_one_that_is_documented() -> None:
    page = (DEPLOY.parent / "docs" / "METRICS.md").read_text(encoding="utf-8")
    assert {label for label in labels_in(expressions()) if f"`{label}`" not in page} <= {"le"}


@pytest.mark.skipif(tool("promtool") is None, reason="promtool is not installed")
def test_every_question_is_promql(tmp_path: Path) -> None:
    asked = [{"record": f"asked:{number}", "expr": text} for number, text in enumerate(expressions())]
    file = tmp_path / "asked.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": asked}]}), encoding="utf-8")
    command = [str(tool("promtool")), "check", "rules", str(file)]
    checked = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
    assert checked.returncode == 0, checked.stdout + checked.stderr
