// The lists: live turns, what is owed, what is dead, and all turns. Rows are kept, not made anew.

import { byId, h, keep, row, say } from "./dom.js";
import { STATE_TONE, duration, words } from "./format.js";

export const badge = (state) => h("span", { class: `badge ${STATE_TONE[state] || ""}` }, words(state));

const short = (text, length = 40) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);

function setBadge(cell, state) {
  if (cell.dataset.state === state) return;
  cell.dataset.state = state;
  cell.replaceChildren(badge(state));
}

const button = (text, label, act, kind = "") => h("button", { type: "button", class: kind, "aria-label": label, onclick: act }, text);

const link = (text, open) => h("button", { type: "button", class: "text code", title: text, onclick: open }, short(text));

function since(cell, at) {
  cell.dataset.since = at;
}

/** Bring every age on the page up to date. */
export function tick(now) {
  for (const cell of document.querySelectorAll("[data-since]")) say(cell, duration(now - Number(cell.dataset.since)));
  for (const cell of document.querySelectorAll("[data-until]")) {
    const left = Number(cell.dataset.until) - now;
    say(cell, cell.dataset.until === "" ? "under way" : left > 0 ? `in ${duration(left)}` : "now");
  }
}

/** Show the turns under way. */
export function showLive({ turns }, { open, cancel }) {
  byId("live-none").hidden = turns.length > 0;
  byId("live-table").hidden = turns.length === 0;
  const make = (turn) => {
    const made = row([["Request"], ["Route", "faint"], ["State"], ["Age", "number"], ["Conversation", "code"], ["", "do"]]);
    const cells = made.children;
    cells[0].append(link(turn.request_id, () => open(turn.id)));
    cells[5].append(button("Cancel", `Cancel turn ${turn.request_id}`, () => cancel(turn)));
    return made;
  };
  keep(byId("live"), turns, (turn) => turn.id, make, (made, turn) => {
    const cells = made.children;
    say(cells[1], turn.route);
    setBadge(cells[2], turn.state);
    since(cells[3], turn.created_at);
    say(cells[4], turn.conversation_id || "not told yet");
    cells[5].firstChild.disabled = !turn.cancellable;
  });
}

/** Show what is owed. */
export function showOwed(steps, { open, drop }) {
  byId("owed-none").hidden = steps.length > 0;
  byId("owed-table").hidden = steps.length === 0;
  const make = (step) => {
    const made = row([
      ["Call"], ["To", "code"], ["State"], ["Owed for", "number"], ["Next", "number"], ["Last error"], ["Turn"], ["", "do"],
    ]);
    made.children[6].append(link(step.turn_id, () => open(step.turn_id)));
    made.children[7].append(button("Drop …", `Drop step ${step.id}, ${words(step.kind)}`, () => drop(step)));
    return made;
  };
  keep(byId("owed"), steps, (step) => step.id, make, (made, step) => {
    const cells = made.children;
    showCall(cells[0], step);
    say(cells[1], step.to);
    setBadge(cells[2], step.state);
    since(cells[3], step.created_at);
    cells[4].dataset.until = step.state === "leased" ? "" : step.due_at;
    say(cells[5], step.error || (step.attempts ? "–" : "none yet"));
  });
}

/** Show what is dead. */
export function showDead(steps, { open, retry, drop }) {
  byId("s-dead").hidden = steps.length === 0;
  const make = (step) => {
    const made = row([["Call"], ["Error"], ["Attempts", "number"], ["Owed for", "number"], ["Turn"], ["", "do"]]);
    made.children[4].append(link(step.turn_id, () => open(step.turn_id)));
    made.children[5].append(
      button("Retry", `Retry step ${step.id}, ${words(step.kind)}`, () => retry(step)),
      button("Drop …", `Drop step ${step.id}, ${words(step.kind)}`, () => drop(step)),
    );
    return made;
  };
  keep(byId("dead"), steps, (step) => step.id, make, (made, step) => {
    const cells = made.children;
    showCall(cells[0], step);
    say(cells[1], step.error || "–");
    say(cells[2], String(step.attempts));
    since(cells[3], step.created_at);
  });
}

function showCall(cell, step) {
  if (cell.firstChild) return;
  const call = step.call ? h("div", { class: "faint code" }, step.call) : null;
  cell.append(h("div", {}, h("div", {}, words(step.kind)), call || ""));
}

/** Show turns of every kind. */
export function showTurns(turns, { open }) {
  byId("turns-none").hidden = turns.length > 0;
  byId("turns-table").hidden = turns.length === 0;
  const make = (turn) => {
    const made = row([["Request"], ["State"], ["Cause"], ["Age", "number"], ["Answer", "number"], ["Steps", "faint"]]);
    made.children[0].append(link(turn.request_id, () => open(turn.id)));
    return made;
  };
  keep(byId("turns"), turns, (turn) => turn.id, make, (made, turn) => {
    const cells = made.children;
    setBadge(cells[1], turn.state);
    say(cells[2], turn.cause ? words(turn.cause) : "");
    since(cells[3], turn.created_at);
    say(cells[4], answerText(turn));
    say(cells[5], Object.entries(turn.steps).map(([kind, state]) => `${words(kind)} ${state}`).join(", "));
  });
}

function answerText(turn) {
  if (turn.answered_at !== null) return duration(turn.answered_at - turn.created_at);
  return turn.cancelled_at === null ? "" : `cut after ${duration(turn.cancelled_at - turn.created_at)}`;
}
