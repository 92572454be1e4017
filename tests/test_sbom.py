"""The check of ``make sbom`` finds what it is for."""

from __future__ import annotations

from typing import Any

import pytest

from tools.requirements import EXTRAS, runtime
from tools.sbom import PROJECT, faults

REQUIRED = list(runtime(*EXTRAS))


def bill(*left_out: str, **changed: Any) -> dict[str, Any]:
    components = [{"name": name, "version": "1.0"} for name in [PROJECT, *REQUIRED] if name not in left_out]
    return {"bomFormat": "CycloneDX", "metadata": {}, "components": components, **changed}


def test_a_bill_of_all_that_runs_has_no_faults() -> None:
    assert faults(bill(), REQUIRED, ["/home/me"]) == []


@pytest.mark.parametrize("name", [PROJECT, *REQUIRED])
def test_each_package_that_setup_cfg_asks_for_is_missed(name: str) -> None:
    assert faults(bill(name), REQUIRED, []) == [f"{name} is missing"]


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        ([], "no CycloneDX document"),
        (bill(serialNumber="urn:uuid:1"), "serialNumber differs"),
        (bill(metadata={"timestamp": "2024-10-14"}), "timestamp differs"),
        (bill(more="file:///x"), "file:"),
        (bill(more="see /home/me/x"), "/home/me"),
        (bill(components=[*bill()["components"], {"name": "pytest", "version": "8"}]), "pytest is a test tool"),
        (bill(PROJECT, components=[*bill()["components"], {"name": "odd"}]), "odd has no version"),
    ],
)
def test_what_has_no_place_in_it_is_found(document: Any, fault: str) -> None:
    [found] = faults(document, REQUIRED, ["/home/me"])
    assert fault in found


def test_every_runtime_requirement_has_a_lower_bound() -> None:
    assert {"Flask", "gunicorn", "gevent", "redis", "python-liquid"} <= set(REQUIRED)
