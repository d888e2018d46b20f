"""What PromQL in deploy/ asks for, and what a running sidecar has to tell."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.request import Request, urlopen

from prometheus_client.parser import text_string_to_metric_families

from tests.deploy.shipped import TOKEN

if TYPE_CHECKING:
    from collections.abc import Iterable

NAME: Final = re.compile(r"(?<![\w:.])(?:sidecar|process)_\w+(?![\w:])")
SELECTOR: Final = re.compile(r"(?<![\w:.])((?:sidecar|process)_\w+)\{([^}]*)\}")
GROUPING: Final = re.compile(r"\b(?:by|without) \(([^)]*)\)")
TARGET_LABELS: Final = frozenset({"job", "instance"})
SUFFIXES: Final = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_count", "_sum"),
}


def told(console_port: int) -> dict[str, frozenset[str]]:
    """Ask a sidecar for its figures: by name as PromQL has it, the labels that were seen with it."""
    request = Request(f"http://127.0.0.1:{console_port}/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    with urlopen(request, timeout=10) as answer:  # noqa: S310  (the same)
        families = list(text_string_to_metric_families(answer.read().decode()))
    return {
        f"{family.name}{suffix}": frozenset(label for sample in family.samples for label in sample.labels)
        for family in families
        for suffix in SUFFIXES[family.type]
    }


def names_in(expressions: Iterable[str]) -> set[str]:
    """Give the sidecar's metrics that are asked for."""
    return {name for expression in expressions for name in NAME.findall(expression)}


def labels_in(expressions: Iterable[str]) -> set[str]:
    """Give the labels by which is selected and grouped, but for those that Prometheus adds."""
    found: set[str] = set()
    for expression in expressions:
        for _, selectors in SELECTOR.findall(expression):
            found |= set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selectors))
        for group in GROUPING.findall(expression):
            found |= {label.strip() for label in group.split(",")}
    return found - TARGET_LABELS
