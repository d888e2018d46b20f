// The settings in force, and reading their file again.

import { get, post } from "./api.js";
import { complain } from "./dialogs.js";
import { byId, h } from "./dom.js";

async function load() {
  const { settings } = await get("/api/config");
  byId("settings-body").textContent = JSON.stringify(settings, null, 2);
}

async function open() {
  byId("reloaded").replaceChildren();
  try {
    await load();
    byId("settings").showModal();
  } catch (error) {
    complain(error);
  }
}

async function reload() {
  try {
    const { changed, waiting, problems } = await post("/api/reload");
    const lines = [
      ...problems.map((problem) => ["bad", problem]),
      ...changed.map((setting) => ["", `${setting} has changed`]),
      ...waiting.map((setting) => ["warn", `${setting} takes effect at the next start`]),
    ];
    if (!lines.length) lines.push(["", "The file was read; nothing in it has changed."]);
    byId("reloaded").replaceChildren(...lines.map(([kind, text]) => h("li", { class: kind }, text)));
    await load();
  } catch (error) {
    byId("reloaded").replaceChildren(h("li", { class: "bad" }, error.message));
  }
}

export function prepareSettings() {
  byId("settings-open").addEventListener("click", open);
  byId("reload").addEventListener("click", reload);
}
