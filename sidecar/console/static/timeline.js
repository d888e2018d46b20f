// One turn's life, drawn: a lane for the answer, and one for each step. Gaps are shrunk, so that milliseconds and minutes
// fit on one line; the numbers below say how long they were.

import { h, s } from "./dom.js";
import { duration, moment, words } from "./format.js";

const LANE = 40;
const LEFT = 118;
const RIGHT = 56;
const FOOT = 26;
const SHRINK_S = 0.004;
const LABEL = 58;

const TEXTS = {
  opened: () => "The request came, and was journalled",
  answer_began: () => "The answer began",
  answered: () => "The backend's answer was whole",
  delivered: () => "The client had all of it",
  cancelled: (entry) => `Its undoing began: ${words(entry.detail || "unknown")}`,
  upstream_closed: () => "The backend's stream was closed",
  owed: (entry) => `${words(entry.step)} is owed`,
  attempt_failed: (entry) => `${words(entry.step)}, attempt ${entry.attempt}: ${entry.detail || "failed"}`,
  step_delivered: (entry) => `${words(entry.step)} delivered${entry.detail ? ` (${entry.detail})` : ""}`,
  step_dead: (entry) => `${words(entry.step)} is dead after ${entry.attempt} attempts: ${entry.detail || "failed"}`,
  step_revived: (entry) => `${words(entry.step)}: the operator has it tried again`,
  step_dropped: (entry) => `${words(entry.step)} was dropped: ${entry.detail || "no reason"}`,
  settled: (entry) => `Settled: ${words(entry.detail || "")}`,
};

/** Put an entry into words. */
export const told = (entry) => (TEXTS[entry.what] || ((one) => words(one.what)))(entry);

/** Give a scale from moments to places, with gaps shrunk. */
function scaleOf(times, width) {
  const moments = [...new Set(times)].sort((a, b) => a - b);
  const places = [0];
  for (let index = 1; index < moments.length; index += 1) {
    places.push(places[index - 1] + Math.log1p((moments[index] - moments[index - 1]) / SHRINK_S));
  }
  const all = places[places.length - 1] || 1;
  return { moments, x: (at) => LEFT + ((width - LEFT - RIGHT) * places[moments.indexOf(at)]) / all };
}

/** Draw a turn's history. `now` (seconds since the epoch) ends what is still under way. */
export function drawTimeline({ turn, history }, { width, now }) {
  const kinds = [...new Set(history.filter((entry) => entry.step).map((entry) => entry.step))];
  const underWay = turn.settled_at === null;
  const times = [...history.map((entry) => entry.at), ...(underWay ? [Math.max(now, turn.created_at)] : [])];
  const end = Math.max(...times);
  const { moments, x } = scaleOf(times, width);
  const height = LANE * (kinds.length + 1) + FOOT;
  const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, height, "aria-hidden": "true" });
  drawAnswer(svg, turn, history, x, end, width);
  kinds.forEach((kind, index) => {
    const entries = history.filter((entry) => entry.step === kind);
    drawStep(svg, kind, entries, LANE * (index + 1.5), x, end, width);
  });
  if (turn.cancelled_at !== null) {
    const at = x(turn.cancelled_at);
    svg.append(s("line", { class: "cut", x1: at, x2: at, y1: 4, y2: height - FOOT + 4 }));
  }
  drawTimes(svg, moments, x, turn.created_at, height);
  return h("div", { class: "timeline" }, svg);
}

function drawAnswer(svg, turn, history, x, end, width) {
  const y = LANE * 0.5;
  const closed = history.find((entry) => entry.what === "upstream_closed");
  const stop = Math.min(...[turn.answered_at, closed?.at, turn.cancelled_at].filter((at) => typeof at === "number"), end);
  lane(svg, "answer", y, width);
  svg.append(line("bar answer", x(turn.created_at), x(stop), y), mark("", x(turn.created_at), y, "opened"));
  if (turn.answer_began_at !== null) svg.append(mark("", x(turn.answer_began_at), y, "the answer began"));
  if (turn.confirmed_at !== null) svg.append(mark("good", x(turn.confirmed_at), y, "delivered"));
  else if (turn.cancelled_at !== null) svg.append(mark("bad", x(stop), y, "cut off"));
}

function drawStep(svg, kind, entries, y, x, end, width) {
  lane(svg, words(kind), y, width);
  let since = null;
  for (const entry of entries) {
    if (["owed", "step_revived"].includes(entry.what)) since = entry.at;
    const tone = { step_delivered: "done", step_dead: "gone", step_dropped: "gone" }[entry.what];
    if (tone && since !== null) {
      svg.append(line(`bar ${tone}`, x(since), x(entry.at), y));
      since = null;
    }
  }
  if (since !== null) svg.append(line("bar owed", x(since), x(end), y));
  for (const entry of entries) {
    const kindOfMark = { attempt_failed: "bad", step_dead: "bad", step_dropped: "bad", step_delivered: "good" }[entry.what];
    if (kindOfMark) svg.append(mark(kindOfMark, x(entry.at), y, told(entry)));
  }
}

function lane(svg, name, y, width) {
  svg.append(
    s("line", { class: "base", x1: LEFT, x2: width - RIGHT, y1: y, y2: y }),
    s("text", { class: "lane", x: 0, y: y + 4 }, name),
  );
}

const line = (kind, x1, x2, y) => s("line", { class: kind, x1, x2: Math.max(x2, x1 + 0.1), y1: y, y2: y });

const mark = (kind, cx, cy, title) => s("circle", { class: `mark ${kind}`, cx, cy, r: 5.5 }, s("title", {}, title));

function drawTimes(svg, moments, x, start, height) {
  let last = -Infinity;
  const places = moments.map((at) => [at, x(at)]);
  const ending = places[places.length - 1][1];
  for (const [at, place] of places) {
    const isLast = place === ending;
    if (place - last < LABEL || (!isLast && ending - place < LABEL)) continue;
    last = place;
    svg.append(s("text", { x: place, y: height - 6, "text-anchor": "middle" }, at === start ? "0" : `+${duration(at - start)}`));
  }
}

/** Give the same in words, a line for each thing that happened. */
export function historyList({ turn, history }) {
  const items = history.map((entry) =>
    h(
      "li",
      {},
      h("time", { datetime: new Date(entry.at * 1000).toISOString(), title: moment(entry.at) }, `+${duration(entry.at - turn.created_at)}`),
      h("span", {}, told(entry)),
    ),
  );
  return h("ol", { class: "history" }, ...items);
}
