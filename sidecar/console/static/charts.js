// The charts, drawn in SVG: cancels per minute by cause, and how long things took.

import { h, keep, s, say } from "./dom.js";
import { clock, duration, words } from "./format.js";

const HEIGHT = 190;
const LEFT = 34;
const BOTTOM = 22;
const TOP = 8;

export const CAUSES = [
  "closed", "reset", "vanished", "stalled", "upload_cut", "requested", "operator", "upstream_failed", "restarted",
  "expired", "shutdown",
];

const colour = (cause) => `var(--c-${cause})`;
const total = (minute) => Object.values(minute).reduce((sum, number) => sum + number, 0);

/** The largest number of the axis: 1, 2, 5, 10, 20, 50 … */
function ceiling(most) {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, most)));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= most) || 1;
}

/** Draw the cancels of the last hour, a bar for each minute, stacked by cause. */
export function drawCancels(figure, { since, minutes }) {
  const width = Math.max(280, figure.clientWidth || 600);
  const most = ceiling(Math.max(...minutes.map(total)));
  const plot = HEIGHT - TOP - BOTTOM;
  const step = (width - LEFT) / minutes.length;
  const y = (number) => TOP + plot * (1 - number / most);
  const svg = s("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT, role: "img", "aria-label": summary(minutes) });
  for (const number of most === 1 ? [0, 1] : [0, most / 2, most]) {
    svg.append(
      s("line", { class: number ? "grid" : "axis", x1: LEFT, x2: width, y1: y(number), y2: y(number) }),
      s("text", { x: LEFT - 8, y: y(number) + 4, "text-anchor": "end" }, String(number)),
    );
  }
  for (let minute = 0; minute <= minutes.length; minute += 15) {
    const anchor = minute === 0 ? "start" : minute === minutes.length ? "end" : "middle";
    const label = clock(since + minute * 60).slice(0, 5);
    svg.append(s("text", { x: LEFT + minute * step, y: HEIGHT - 4, "text-anchor": anchor }, label));
  }
  minutes.forEach((minute, index) => svg.append(bar(minute, LEFT + index * step, step, y, since + index * 60)));
  if (!minutes.some(total)) {
    svg.append(s("text", { class: "nothing", x: width / 2, y: HEIGHT / 2, "text-anchor": "middle" }, "Nobody left in the last hour."));
  }
  figure.replaceChildren(svg);
}

function bar(minute, x, step, y, at) {
  const causes = CAUSES.filter((cause) => minute[cause]);
  const told = causes.map((cause) => `${words(cause)}: ${minute[cause]}`).join(", ");
  const group = s("g", {}, told ? s("title", {}, `${clock(at).slice(0, 5)}  ${told}`) : null);
  let below = 0;
  for (const cause of causes) {
    const top = y(below + minute[cause]);
    const height = Math.max(1, y(below) - top - (below ? 1 : 0));
    group.append(
      s("rect", { x: x + step * 0.12, y: top, width: Math.max(2, step * 0.76), height, rx: 1.5, fill: colour(cause) }),
    );
    below += minute[cause];
  }
  return group;
}

function summary(minutes) {
  const number = minutes.reduce((sum, minute) => sum + total(minute), 0);
  const busiest = Math.max(...minutes.map(total));
  return `Cancels per minute over the last hour: ${number} in all, at most ${busiest} in a minute.`;
}

/** Keep the legend to the causes that there are, with their numbers. */
export function drawLegend(list, minutes) {
  const sums = CAUSES.map((cause) => [cause, minutes.reduce((sum, minute) => sum + (minute[cause] || 0), 0)]);
  const shown = sums.filter(([, number]) => number);
  const make = ([cause]) => {
    const swatch = h("span", { class: "swatch", "aria-hidden": "true" });
    swatch.style.setProperty("--colour", colour(cause));
    return h("li", {}, swatch, h("span"));
  };
  keep(list, shown, ([cause]) => cause, make, (item, [cause, number]) => say(item.lastChild, `${words(cause)} ${number}`));
}

/** Give the same as a table, for those who do not see the chart. */
export function cancelsTable({ since, minutes }) {
  const rows = minutes
    .map((minute, index) => [since + index * 60, minute])
    .filter(([, minute]) => total(minute))
    .reverse();
  if (!rows.length) return h("p", { class: "empty" }, "No cancels in the last hour.");
  const causes = CAUSES.filter((cause) => minutes.some((minute) => minute[cause]));
  return h(
    "table",
    {},
    h("thead", {}, h("tr", {}, ...["Minute", ...causes.map(words)].map((name) => h("th", { scope: "col" }, name)))),
    h(
      "tbody",
      {},
      ...rows.map(([at, minute]) =>
        h("tr", {}, h("th", { scope: "row" }, clock(at).slice(0, 5)), ...causes.map((cause) => h("td", {}, String(minute[cause] || 0)))),
      ),
    ),
  );
}

const NAMES = {
  upstream_closed: "the backend's stream closed",
  cancel: "the generation cancelled",
  rollback: "the conversation rolled back",
  rollback_turn: "the turn's messages rolled back",
  verify: "the conversation seen gone",
};

/** Draw how long things took: three bars in one, on a logarithmic scale that all of them share. */
export function drawLatencies(parent, latencies) {
  if (!latencies.length) {
    parent.replaceChildren(h("p", { class: "empty" }, "No turn was cancelled yet."));
    return;
  }
  if (!parent.firstElementChild?.classList.contains("latency")) parent.replaceChildren(h("div", { class: "latency" }));
  const [least, most] = [0.0005, Math.max(1, ...latencies.map((one) => one.p99))];
  const part = (seconds) => (100 * Math.log(Math.max(least, seconds) / least)) / Math.log(most / least);
  const make = () =>
    h(
      "div",
      {},
      h("p", { class: "latency-name" }, h("span"), h("span")),
      s("svg", { "aria-hidden": "true" }, ...["track", "p99", "p95", "p50"].map((kind) =>
        s("rect", { class: kind, height: 14, rx: 7, width: kind === "track" ? "100%" : "0%" }))),
    );
  keep(parent.firstElementChild, latencies, (one) => one.name, make, (element, one) => {
    const [name, times] = element.firstElementChild.children;
    say(name, NAMES[one.name] || words(one.name));
    say(times, `${duration(one.p50)} · ${duration(one.p95)} · ${duration(one.p99)}`);
    times.title = `over ${one.count}`;
    for (const kind of ["p50", "p95", "p99"]) {
      element.querySelector(`.${kind}`).setAttribute("width", `${Math.max(2, part(one[kind]))}%`);
    }
  });
}
