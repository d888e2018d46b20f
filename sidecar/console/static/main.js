// The dashboard: listens to what happens, shows it, and does what the operator asks for.

import { ApiError, get, listen, post, token } from "./api.js";
import { CAUSES, cancelsTable, drawCancels, drawLatencies, drawLegend } from "./charts.js";
import { ask, complain, tell } from "./dialogs.js";
import { byId, h, keep, say } from "./dom.js";
import { duration, moment, plural, words } from "./format.js";
import { badge, showDead, showLive, showOwed, showTurns, tick } from "./lists.js";
import { prepareSettings } from "./settings.js";
import { drawTimeline, historyList } from "./timeline.js";

const PAGE = 25;
const AGAIN_MS = [500, 1000, 2000, 5000];
const STATES = ["open", "answered", "cancelling", "confirming", "completed", "cancelled", "refused", "unresolved"];

let latest = null;
let ahead = 0; // how far the console's clock is ahead of ours, in seconds
let shown = { turns: [], next: null };
let openTurn = null;
let asking = null;

const now = () => Date.now() / 1000 + ahead;

// -- what happens ----------------------------------------------------------------------------------------------------

function show(overview) {
  const before = latest;
  latest = overview;
  ahead = overview.at - Date.now() / 1000;
  say(byId("version"), overview.version);
  showParts(overview.ready);
  showTiles(overview);
  drawCancels(byId("cancels"), overview.cancels);
  drawLegend(byId("legend"), overview.cancels.minutes);
  byId("cancels-table").replaceChildren(cancelsTable(overview.cancels));
  drawLatencies(byId("latency"), overview.latencies);
  showDead(overview.outbox.dead, acts);
  showOwed(overview.outbox.owed, acts);
  showLive(overview.live, acts);
  tick(now());
  announce(before, overview);
  refreshTurns();
  if (openTurn !== null) refreshTurn();
}

function showParts(ready) {
  const make = () => h("li", { class: "badge" });
  keep(byId("parts"), Object.entries(ready), ([part]) => part, make, (item, [part, why]) => {
    item.className = `badge ${why === null ? "good" : "bad"}`;
    say(item, why === null ? part : `${part}: ${why}`);
  });
}

function showTiles({ at, live, cancels, outbox }) {
  const { pending = 0, leased = 0, dead = 0 } = outbox.counts;
  const sums = CAUSES.map((cause) => [cause, cancels.minutes.reduce((sum, one) => sum + (one[cause] || 0), 0)]);
  const [cause, most] = sums.reduce((a, b) => (b[1] > a[1] ? b : a));
  const all = sums.reduce((sum, [, number]) => sum + number, 0);
  const cancelling = live.turns.filter((turn) => turn.state === "cancelling").length;
  const oldest = outbox.oldest_owed_at;
  say(byId("k-live"), String(live.count));
  say(byId("k-live-note"), cancelling ? `${cancelling} of them being undone` : live.count ? "streaming now" : "nobody asks right now");
  say(byId("k-cancels"), String(all));
  say(byId("k-cancels-note"), all ? `most often: ${words(cause)} (${most})` : "nobody left");
  say(byId("k-owed"), String(pending + leased));
  say(byId("k-owed-note"), oldest === null ? "nothing waits" : `the oldest for ${duration(at - oldest)}`);
  say(byId("k-dead"), String(dead));
  say(byId("k-dead-note"), dead ? "look at these" : "none");
  byId("t-dead").classList.toggle("alarmed", dead > 0);
}

/** Say aloud what an operator would want to hear of, and nothing else. */
function announce(before, after) {
  if (before === null) return;
  const dead = (after.outbox.counts.dead || 0) - (before.outbox.counts.dead || 0);
  if (dead > 0) tell(`${plural(dead, "step")} died.`, "bad");
  for (const [part, why] of Object.entries(after.ready)) {
    if (why !== null && before.ready[part] === null) tell(`${part} is not ready: ${why}`, "bad");
    if (why === null && before.ready[part]) tell(`${part} is ready again.`);
  }
}

// -- all turns -------------------------------------------------------------------------------------------------------

function query(before) {
  const form = new FormData(byId("filter"));
  const wanted = new URLSearchParams({ limit: PAGE });
  for (const name of ["state", "cause"]) if (form.get(name)) wanted.set(name, form.get(name));
  if (before) wanted.set("before", before);
  return `/api/turns?${wanted}`;
}

let refreshing = false;

/** Load the newest turns; older ones that are shown already stay. */
async function refreshTurns() {
  if (refreshing) return;
  refreshing = true;
  try {
    const page = await get(query(null));
    const newer = new Set(page.turns.map((turn) => turn.id));
    const older = shown.turns.length > PAGE ? shown.turns.filter((turn) => !newer.has(turn.id)) : [];
    shown = { turns: [...page.turns, ...older], next: older.length ? shown.next : page.next };
    showPage();
  } catch (error) {
    if (!(error instanceof ApiError)) return; // the link says so already
    complain(error);
  } finally {
    refreshing = false;
  }
}

async function loadOlder() {
  try {
    const page = await get(query(shown.next));
    shown = { turns: [...shown.turns, ...page.turns], next: page.next };
    showPage();
  } catch (error) {
    complain(error);
  }
}

function showPage() {
  showTurns(shown.turns, acts);
  byId("more").hidden = shown.next === null;
  tick(now());
}

// -- one turn --------------------------------------------------------------------------------------------------------

async function open(id) {
  openTurn = id;
  byId("turn-body").replaceChildren(h("p", { class: "empty" }, "Loading …"));
  if (!byId("turn").open) byId("turn").showModal();
  await refreshTurn();
}

async function refreshTurn() {
  const id = openTurn;
  try {
    const detail = await get(`/api/turns/${encodeURIComponent(id)}`);
    if (openTurn === id) showTurn(detail);
  } catch (error) {
    if (openTurn === id && error instanceof ApiError) byId("turn-body").replaceChildren(h("p", { class: "empty" }, error.message));
  }
}

function showTurn(detail) {
  const { turn } = detail;
  const body = byId("turn-body");
  const settled = turn.settled_at !== null && body.dataset.shown === `${turn.id} ${turn.settled_at} ${detail.history.length}`;
  if (settled) return; // nothing more can have happened: what is read or focused stays
  body.dataset.shown = `${turn.id} ${turn.settled_at} ${detail.history.length}`;
  say(byId("turn-title"), `Turn ${turn.request_id}`);
  const width = Math.max(320, body.clientWidth - 44);
  const focused = document.activeElement?.id === "turn-cancel";
  const buttons = turn.cancellable
    ? h("div", { class: "buttons" }, h("button", { id: "turn-cancel", type: "button", onclick: () => cancel(turn) }, "Cancel this turn"))
    : null;
  body.replaceChildren(
    ...[
      facts(turn),
      h("section", {}, h("h3", {}, "Its life"), drawTimeline(detail, { width, now: now() })),
      h("section", {}, h("h3", {}, "What happened"), historyList(detail)),
      buttons,
    ].filter(Boolean),
  );
  if (focused) byId("turn-cancel")?.focus();
}

function facts(turn) {
  const rows = [
    ["State", badge(turn.state)],
    ["Cause", turn.cause ? words(turn.cause) : "none: it went on to its end"],
    ["Began", moment(turn.created_at)],
    ["Conversation", turn.conversation_id || turn.temp_id || "never told"],
    ["Began it", turn.begins ? "yes" : "no: it was there before"],
    ["Route", turn.route],
    ["Turn", turn.id],
    ["Whose (a keyed hash)", turn.principal],
  ];
  return h("dl", { class: "facts" }, ...rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

// -- what the operator may do ----------------------------------------------------------------------------------------

async function act(promise, done) {
  try {
    await promise;
    tell(done);
  } catch (error) {
    complain(error);
  }
}

async function cancel(turn) {
  const yes = await ask({
    title: "Cancel this turn?",
    text: `${turn.request_id}: its answer is stopped, and what it left at the backend is rolled back.`,
    yes: "Cancel it",
    danger: true,
  });
  if (yes) await act(post(`/api/turns/${encodeURIComponent(turn.id)}/cancel`), `Turn ${turn.request_id} will be cancelled.`);
}

async function drop(step) {
  const reason = await ask({
    title: `Give up this ${words(step.kind)}?`,
    text: "It is never tried again, and its turn ends unresolved: what it left at the backend stays there.",
    yes: "Drop it",
    danger: true,
    field: "Why? The journal keeps it.",
  });
  if (reason) await act(post(`/api/outbox/${step.id}/drop`, { reason }), `Step ${step.id} will be dropped.`);
}

const retry = (step) => act(post(`/api/outbox/${step.id}/retry`), `Step ${step.id} will be tried again.`);

const acts = { open, cancel, drop, retry };

// -- the link --------------------------------------------------------------------------------------------------------

function linked(state, text) {
  const link = byId("link");
  if (link.dataset.state === state) return;
  link.dataset.state = state;
  say(link, text);
}

async function needToken() {
  asking ??= ask({
    title: "Who is there?",
    text: "This console wants the token of console.token. It is kept until this tab is closed.",
    yes: "Enter",
    field: "Token",
    secret: true,
  });
  const given = await asking;
  asking = null;
  if (given) token.set(given);
}

async function stayLinked() {
  for (let tries = 0; ; tries += 1) {
    try {
      await listen("/api/events", (name, data) => {
        tries = 0;
        linked("live", "live");
        byId("forget").hidden = !token.get();
        if (name === "overview") show(data);
      });
      linked("lost", "connection lost");
    } catch (error) {
      if (error.status === 401) {
        if (token.get()) {
          token.forget();
          tell("That token is not the right one.", "bad");
        }
        linked("lost", "token needed");
        await needToken();
        continue;
      }
      linked("lost", error.status ? error.message : "connection lost");
    }
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS[Math.min(tries, AGAIN_MS.length - 1)]));
  }
}

// -- the page --------------------------------------------------------------------------------------------------------

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  const other = theme === "dark" ? "Light" : "Dark";
  say(byId("theme"), other);
  byId("theme").setAttribute("aria-label", `Switch to ${other.toLowerCase()} colours`);
}

function prepare() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => localStorage.getItem("sidecar-console-theme");
  setTheme(chosen() || (dark.matches ? "dark" : "light"));
  dark.addEventListener("change", () => chosen() || setTheme(dark.matches ? "dark" : "light"));
  byId("theme").addEventListener("click", () => {
    setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    localStorage.setItem("sidecar-console-theme", document.documentElement.dataset.theme);
  });
  byId("forget").addEventListener("click", () => {
    token.forget();
    location.reload();
  });
  for (const [name, values] of [["state", STATES], ["cause", CAUSES]]) {
    byId("filter").elements[name].append(...values.map((value) => h("option", { value }, words(value))));
  }
  byId("filter").addEventListener("change", () => {
    shown = { turns: [], next: null };
    refreshTurns();
  });
  byId("more").addEventListener("click", loadOlder);
  byId("retry-all").addEventListener("click", async () => {
    try {
      const { retried } = await post("/api/outbox/retry-dead");
      tell(`${plural(retried, "dead step")} will be tried again.`);
    } catch (error) {
      complain(error);
    }
  });
  byId("turn").addEventListener("close", () => {
    openTurn = null;
    delete byId("turn-body").dataset.shown;
  });
  prepareSettings();
  addEventListener("resize", () => latest && drawCancels(byId("cancels"), latest.cancels));
  setInterval(() => tick(now()), 1000);
}

prepare();
stayLinked();
