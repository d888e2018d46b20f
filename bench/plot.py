"""Bars and lines as SVG, written by hand: two kinds of plot are not worth a library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

WIDTH, ROW, LEFT, TOP, RIGHT = 720, 24, 140, 44, 90
HEIGHT, BOTTOM = 360, 40
COLOURS = ("#4c78a8", "#f58518", "#54a24b", "#e45756", "#72b7b2", "#b279a2", "#9d755d", "#777777")
OURS = "#d62728"


@dataclass(frozen=True)
class Figure:
    """A plot's words: what it shows, in which unit."""

    title: str
    unit: str


def bars(figure: Figure, values: Mapping[str, float], ours: str) -> str:
    """One bar a name, the least first; ours stands out."""
    most = max(values.values(), default=1) or 1
    room = WIDTH - LEFT - RIGHT

    def rows() -> Iterable[str]:
        for place, (name, value) in enumerate(sorted(values.items(), key=lambda item: item[1])):
            y = TOP + place * ROW
            yield text(LEFT - 8, y + 15, name, anchor="end", bold=name == ours)
            colour = OURS if name == ours else COLOURS[0]
            width = max(1.0, value / most * room)
            yield f'<rect x="{LEFT}" y="{y + 3}" width="{width:.1f}" height="{ROW - 7}" fill="{colour}"/>'
            yield text(LEFT + width + 6, y + 15, f"{value:.1f} {figure.unit}")

    return svg(figure.title, TOP + len(values) * ROW + 12, rows())


def lines(figure: Figure, at: Sequence[float], series: Mapping[str, Sequence[float | None]], ours: str) -> str:
    """One line a name over the places `at`, which stand evenly; a missing value breaks the line."""
    most = max((value for values in series.values() for value in values if value is not None), default=1) or 1
    step = (WIDTH - LEFT - RIGHT) / max(1, len(at) - 1)
    floor = HEIGHT - BOTTOM

    def point(place: int, value: float) -> tuple[float, float]:
        return LEFT / 2 + place * step, floor - value / most * (floor - TOP)

    def parts() -> Iterable[str]:
        for share in (0, 0.25, 0.5, 0.75, 1):
            y = floor - share * (floor - TOP)
            yield f'<line x1="{LEFT / 2}" x2="{WIDTH - LEFT / 2 - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
            yield text(LEFT / 2 - 6, y + 4, f"{most * share:.0f}", anchor="end")
        for place, where in enumerate(at):
            yield text(point(place, 0)[0], floor + 18, f"{where:,.0f}", anchor="middle")
        for index, (name, values) in enumerate(series.items()):
            yield from line(name, values, OURS if name == ours else COLOURS[index % len(COLOURS)])

    def line(name: str, values: Sequence[float | None], colour: str) -> Iterable[str]:
        points = [point(place, value) for place, value in enumerate(values) if value is not None]
        if not points:
            return
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{3 if name == ours else 1.5}"/>'
        yield text(points[-1][0] + 6, points[-1][1] + 4, name, colour=colour, bold=name == ours)

    return svg(f"{figure.title} ({figure.unit})", HEIGHT, parts())


def text(x: float, y: float, words: str, *, anchor: str = "start", bold: bool = False, colour: str = "#222") -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{weight}>{escape(words)}</text>'


def svg(title: str, height: int, parts: Iterable[str]) -> str:
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="sans-serif" font-size="12">'
    )
    background = '<rect width="100%" height="100%" fill="#fff"/>'
    heading = f'<text x="12" y="24" font-size="15" fill="#222">{escape(title)}</text>'
    return "\n".join([opening, background, heading, *parts, "</svg>", ""])
