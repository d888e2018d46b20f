// What Node lacks: an XMLHttpRequest, as far as clients/typescript uses one, over Node's own http. It is like React
// Native's where that differs from browsers: no `abort` event before the answer, `responseText` unusable after an error.

import http from "node:http";
import type { IncomingMessage } from "node:http";

const OPENED = 1;
const HEADERS_RECEIVED = 2;
const LOADING = 3;
const DONE = 4;

export class NodeXhr {
  readyState = 0;
  status = 0;
  responseText = "";
  withCredentials = false;
  onreadystatechange: (() => void) | null = null;
  onprogress: (() => void) | null = null;
  onload: (() => void) | null = null;
  onerror: (() => void) | null = null;
  ontimeout: (() => void) | null = null;
  private request: http.ClientRequest | null = null;
  private response: IncomingMessage | null = null;
  private headers: Record<string, string> = {};
  private url = new URL("http://localhost/");

  open(_method: string, url: string): void {
    this.url = new URL(url);
    this.step(OPENED);
  }

  setRequestHeader(name: string, value: string): void {
    this.headers[name] = value;
  }

  getResponseHeader(name: string): string | null {
    const value = this.response?.headers[name.toLowerCase()];
    return typeof value === "string" ? value : null;
  }

  send(body: string): void {
    this.request = http.request(this.url, { method: "POST", headers: this.headers, agent: false });
    this.request.on("response", (response) => this.receive(response));
    this.request.on("error", () => this.failed());
    this.request.end(body);
  }

  abort(): void {
    this.request?.destroy();
  }

  private receive(response: IncomingMessage): void {
    this.response = response;
    this.status = response.statusCode ?? 0;
    this.step(HEADERS_RECEIVED);
    response.setEncoding("utf8");
    response.on("data", (text: string) => {
      this.responseText += text;
      this.step(LOADING);
      this.onprogress?.();
    });
    response.on("end", () => {
      this.step(DONE);
      this.onload?.();
    });
    response.on("error", () => this.failed());
  }

  private failed(): void {
    if (this.readyState === DONE) return;
    this.responseText = "the words of the error";
    this.step(DONE);
    this.onerror?.();
  }

  private step(readyState: number): void {
    this.readyState = readyState;
    this.onreadystatechange?.();
  }
}

Object.assign(globalThis, { XMLHttpRequest: NodeXhr });
