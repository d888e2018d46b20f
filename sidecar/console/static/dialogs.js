// What asks the operator something, and what tells them what came of it.

import { byId, h } from "./dom.js";

const STAYS_MS = 7000;

/** Tell what happened; read out by a screen reader. */
export function tell(text, kind = "") {
  const line = h("p", { class: kind }, text);
  byId("said").append(line);
  setTimeout(() => line.remove(), STAYS_MS);
}

export const complain = (error) => tell(error.mend ? `${error.message} ${error.mend}` : error.message || String(error), "bad");

let settle = null; // what the one who asked waits for

/** End the question with an answer. The dialog's own `close` comes later, perhaps into the next question. */
function end(answer) {
  const settled = settle;
  settle = null;
  byId("ask-input").value = "";
  byId("ask").close();
  settled?.(answer);
}

byId("ask-no").addEventListener("click", () => end(null));
byId("ask").addEventListener("cancel", () => end(null));
byId("ask-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const typed = byId("ask-input").value.trim();
  if (byId("ask-field").hidden) end(true);
  else if (typed) end(typed);
  else byId("ask-input").value = ""; // of nothing but spaces; the browser says that it is required
});

/** Ask; give what was typed (or true, where nothing had to be), or null for "not now". */
export function ask({ title, text, yes, danger = false, field = null, secret = false }) {
  const input = byId("ask-input");
  byId("ask-title").textContent = title;
  byId("ask-text").textContent = text;
  byId("ask-yes").textContent = yes;
  byId("ask-yes").classList.toggle("danger", danger);
  byId("ask-field").hidden = field === null;
  byId("ask-label").textContent = field || "";
  input.required = field !== null;
  input.type = secret ? "password" : "text";
  input.maxLength = 500;
  settle?.(null);
  if (!byId("ask").open) byId("ask").showModal();
  (field === null ? byId("ask-yes") : input).focus();
  return new Promise((resolve) => {
    settle = resolve;
  });
}
