// An app that has no DOM types, as in React Native: the package's types have to do without them as well.

import { RequestSequence, fetchTextStream, newRequestId, notifyServerCancel, postTextStream, stopOnPageHide } from "cancel-sidecar-client";
import type { CancelAnswer, StreamEnd, TextStream, TextStreamOptions } from "cancel-sidecar-client";

const sequence: RequestSequence = new RequestSequence({ older: "run" });

const options: TextStreamOptions = {
  url: "https://example.com/api/ai-coach/chat",
  cancelUrl: "https://example.com/api/ai-coach/cancel",
  headers: { Authorization: "Bearer ..." },
  body: { messages: [{ role: "user", content: "How do I calm down?" }], stream: true },
  sequence,
  onChunk: (text: string) => void text.length,
  onError: ({ kind, status, code, retryAfterMs }) => void [kind, status, code, retryAfterMs],
};

export async function ask(overXhr: boolean): Promise<[StreamEnd, CancelAnswer | null]> {
  const stream: TextStream = overXhr ? postTextStream(options) : fetchTextStream(options);
  stopOnPageHide(stream);
  const answer = await stream.stop();
  await notifyServerCancel({ url: "https://example.com/cancel", requestId: newRequestId() });
  const end = await stream.ended;
  if (end.state === "failed") throw end.failure;
  return [end, answer];
}
