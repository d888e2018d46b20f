// A server on loopback that does nothing by itself: a test takes each request and plays the answer. And one that keeps
// what a stream tells. Nobody sleeps: what has to come is awaited, and a test's own time limit ends what does not.

import { once } from "node:events";
import http from "node:http";
import type { IncomingHttpHeaders, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

import type { RequestFailure, StreamIds, TextAnswer, TextStreamCallbacks } from "cancel-sidecar-client";

export interface Asked {
  readonly headers: IncomingHttpHeaders;
  readonly body: unknown;
  readonly response: ServerResponse;
  /** Settled when the connection is closed before the answer's end. */
  readonly left: Promise<unknown>;
}

export class Site {
  private readonly arrivals = new Map<string, Arrivals<Asked>>();

  private constructor(private readonly server: http.Server) {
    server.on("request", async (request, response) => {
      const left = once(response, "close");
      let body = "";
      for await (const piece of request.setEncoding("utf8")) body += String(piece);
      this.at(request.url ?? "").add({ headers: request.headers, body: JSON.parse(body), response, left });
    });
  }

  static async open(): Promise<Site> {
    const server = http.createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return new Site(server);
  }

  url(path: string): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}${path}`;
  }

  /** Give the next request to a path. */
  next(path: string): Promise<Asked> {
    return this.at(path).next();
  }

  close(): void {
    this.server.closeAllConnections();
    this.server.close();
  }

  private at(path: string): Arrivals<Asked> {
    const arrivals = this.arrivals.get(path) ?? new Arrivals<Asked>();
    this.arrivals.set(path, arrivals);
    return arrivals;
  }
}

/** What a stream has told, in words: `start`, `chunk ...`, `done`, `error ...`, `aborted`. */
export class Told implements TextStreamCallbacks {
  readonly words: string[] = [];
  readonly failures: RequestFailure[] = [];
  started: StreamIds | null = null;
  answer: TextAnswer | null = null;
  private readonly news = new Arrivals<string>();

  readonly onStart = (ids: StreamIds): void => {
    this.started = ids;
    this.say("start");
  };
  readonly onChunk = (text: string): void => this.say(`chunk ${text}`);
  readonly onDone = (answer: TextAnswer): void => this.ended("done", answer);
  readonly onAborted = (answer: TextAnswer): void => this.ended("aborted", answer);
  readonly onError = (failure: RequestFailure): void => {
    this.failures.push(failure);
    this.say(`error ${failure.kind}`);
  };

  /** Give the next word that is told. */
  next(): Promise<string> {
    return this.news.next();
  }

  private ended(word: string, answer: TextAnswer): void {
    this.answer = answer;
    this.say(word);
  }

  private say(word: string): void {
    this.words.push(word);
    this.news.add(word);
  }
}

class Arrivals<Thing> {
  private readonly here: Thing[] = [];
  private readonly takers: ((thing: Thing) => void)[] = [];

  add(thing: Thing): void {
    const taker = this.takers.shift();
    if (taker === undefined) this.here.push(thing);
    else taker(thing);
  }

  next(): Promise<Thing> {
    const thing = this.here.shift();
    return thing === undefined ? new Promise((resolve) => this.takers.push(resolve)) : Promise.resolve(thing);
  }
}
