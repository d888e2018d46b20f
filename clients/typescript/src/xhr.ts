// Over XMLHttpRequest: in browsers, and in React Native, whose fetch cannot stream.
//
// `responseText` grows while the answer comes in, decoded: a character is in it whole or not at all. Each progress
// event shows what has been added since the last.

import { openTextStream } from "./stream.js";
import type { Answer, TextStream, TextStreamOptions, TransportRequest } from "./stream.js";

const HEADERS_RECEIVED = 2; // React Native has the constant on instances only.

/** Ask a question, and be told its answer as it comes. */
export function postTextStream(options: TextStreamOptions): TextStream {
  return openTextStream(send, options);
}

function send(request: TransportRequest, answer: Answer): () => void {
  const xhr = new XMLHttpRequest();
  listen(xhr, answer);
  try {
    xhr.open("POST", request.url);
    for (const [name, value] of Object.entries(request.headers)) xhr.setRequestHeader(name, value);
    if (request.credentials) xhr.withCredentials = true;
    xhr.send(request.body);
  } catch (error) {
    // A URL or header that cannot be: told like any failure, once whoever asked has the stream in hand.
    void Promise.resolve().then(() => answer.broke(String(error)));
  }
  return () => xhr.abort();
}

function listen(xhr: XMLHttpRequest, answer: Answer): void {
  let seen = 0;
  const showMore = (): void => {
    const more = xhr.responseText.slice(seen);
    seen += more.length;
    if (more !== "") answer.text(more);
  };
  xhr.onreadystatechange = () => {
    if (xhr.readyState === HEADERS_RECEIVED) answer.head(xhr.status, (name) => xhr.getResponseHeader(name));
  };
  xhr.onprogress = showMore;
  xhr.onload = () => {
    showMore();
    answer.end();
  };
  // After an error `responseText` is not to be relied on: in React Native it then holds the error's words.
  xhr.onerror = () => answer.broke("the connection failed");
  xhr.ontimeout = () => answer.broke("the connection timed out");
}
