// Talks to the console's API. The token, where one is needed, is kept for this tab's session only, and sent as a bearer:
// no browser adds that by itself, so no other site's page can act for the operator.

const KEY = "sidecar-console-token";

export class ApiError extends Error {
  constructor(status, problem) {
    super(problem.detail || `The console answered ${status}.`);
    this.status = status;
    this.mend = problem.mend || "";
  }
}

export const token = {
  get: () => sessionStorage.getItem(KEY) || "",
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

function headers(more = {}) {
  return token.get() ? { ...more, Authorization: `Bearer ${token.get()}` } : more;
}

async function answered(response) {
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new ApiError(response.status, body);
  return body;
}

export const get = async (path) => answered(await fetch(path, { headers: headers(), cache: "no-store" }));

export const post = async (path, body = {}) =>
  answered(
    await fetch(path, {
      method: "POST",
      headers: headers({ "Content-Type": "application/json" }),
      body: JSON.stringify(body),
    }),
  );

/** Listen to server-sent events until they end; `heard(name, data)` for each. EventSource could not send a token. */
export async function listen(path, heard) {
  const response = await fetch(path, { headers: headers({ Accept: "text/event-stream" }), cache: "no-store" });
  if (!response.ok) return answered(response);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return undefined;
    const events = (held + value).split("\n\n");
    held = events.pop();
    for (const event of events) {
      const fields = event.split("\n").map((line) => line.split(/: ?(.*)/s));
      const data = fields.filter(([name]) => name === "data").map(([, text]) => text);
      if (data.length) heard((fields.find(([name]) => name === "event") || [])[1], JSON.parse(data.join("\n")));
    }
  }
}
