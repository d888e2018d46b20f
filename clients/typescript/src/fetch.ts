// Over fetch and its ReadableStream: in browsers, Node, Deno and Bun. Not in React Native: see xhr.ts.

import { openTextStream } from "./stream.js";
import type { Answer, TextStream, TextStreamOptions, TransportRequest } from "./stream.js";

/** Ask a question, and be told its answer as it comes. */
export function fetchTextStream(options: TextStreamOptions): TextStream {
  return openTextStream(send, options);
}

function send(request: TransportRequest, answer: Answer): () => void {
  const aborting = new AbortController();
  relay(request, answer, aborting.signal).catch((error: unknown) => answer.broke(String(error)));
  return () => aborting.abort();
}

async function relay(request: TransportRequest, answer: Answer, signal: AbortSignal): Promise<void> {
  const response = await fetch(request.url, {
    method: "POST",
    headers: request.headers,
    body: request.body,
    signal,
    ...(request.credentials ? { credentials: "include" } : {}),
  });
  answer.head(response.status, (name) => response.headers.get(name));
  if (response.body !== null) await relayBody(response.body, answer);
  answer.end();
}

/** Decode as it comes: what is half a character waits for its other half. */
async function relayBody(body: ReadableStream<Uint8Array>, answer: Answer): Promise<void> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  for (;;) {
    const { done, value } = await reader.read();
    const text = decoder.decode(value, { stream: !done });
    if (text !== "") answer.text(text);
    if (done) return;
  }
}
