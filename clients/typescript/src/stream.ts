// One question and its answer, whatever moves the bytes: ids, callbacks, and the one end that it comes to.
//
//     open --+-- done       the answer's last byte is here
//            +-- failed     it is no success, broke off, or fell silent
//            +-- aborted    by abort() or stop(), or a newer question of its sequence
//
// After its end, and once a newer question was asked, nothing is told to anyone.

import { notifyServerCancel } from "./cancel.js";
import type { CancelAnswer } from "./cancel.js";
import { RequestFailure, httpFailure } from "./errors.js";
import { IdFrames } from "./frames.js";
import { withOurs } from "./headers.js";
import type { HeaderFields } from "./headers.js";
import { newRequestId } from "./ids.js";
import type { IsNewest, RequestSequence } from "./sequence.js";

export interface TextStreamCallbacks {
  /** The answer begins; the conversation's id is told where it is known by now. */
  readonly onStart?: (ids: StreamIds) => void;
  /** More of the answer's text. Never half a character, never an id frame that was asked to be taken out. */
  readonly onChunk?: (text: string) => void;
  /** The answer is whole. */
  readonly onDone?: (answer: TextAnswer) => void;
  readonly onError?: (failure: RequestFailure) => void;
  readonly onAborted?: (answer: TextAnswer) => void;
}

export interface TextStreamOptions extends TextStreamCallbacks {
  /** The chat endpoint. */
  readonly url: string;
  /** The question; sent as JSON. */
  readonly body: unknown;
  /** Further request headers, such as Authorization. A cancel is sent with the same. */
  readonly headers?: HeaderFields;
  /** The cancel endpoint. Without it, `stop()` aborts, and that is all. */
  readonly cancelUrl?: string;
  /** Only for the retry of a request: its id. Else a new one is made. */
  readonly requestId?: string;
  /** The questions to which this one belongs: it silences all before it. */
  readonly sequence?: RequestSequence;
  /** The stream announces its ids in frames of its own, that are to be read, and not shown. */
  readonly idFrames?: boolean;
  /** Fail, and stop the server, when nothing has come for so long. Default: never. */
  readonly silenceMs?: number;
  /** Whether cookies are sent to another origin. */
  readonly credentials?: boolean;
}

export interface StreamIds {
  readonly requestId: string;
  /** Null as long as nobody has told it. */
  readonly conversationId: string | null;
}

/** What came of the answer, up to its end. */
export interface TextAnswer extends StreamIds {
  readonly text: string;
}

export type StreamEnd =
  | ({ readonly state: "done" } & TextAnswer)
  | ({ readonly state: "aborted" } & TextAnswer)
  | ({ readonly state: "failed"; readonly failure: RequestFailure } & TextAnswer);

/** A question under way. */
export interface TextStream extends StreamIds {
  readonly state: "open" | StreamEnd["state"];
  /** Its end. Told also to those who were silenced, and never rejected. */
  readonly ended: Promise<StreamEnd>;
  /** End the transfer: by itself, that is a cancel to the sidecar. Nothing happens where it has ended. */
  abort(): void;
  /** Abort, and tell the server so in words. Null where there was nothing left to stop, or nobody to tell. */
  stop(): Promise<CancelAnswer | null>;
}

/** Starts a request, tells `answer` what comes of it, and gives what ends the transfer. */
export type Transport = (request: TransportRequest, answer: Answer) => () => void;

export interface TransportRequest {
  readonly url: string;
  readonly headers: HeaderFields;
  readonly body: string;
  readonly credentials: boolean;
}

/** What a transport tells, in this order: the head, texts, and either the end or a breach. */
export interface Answer {
  head(status: number, header: (name: string) => string | null): void;
  text(piece: string): void;
  end(): void;
  broke(message: string): void;
}

/** Ask a question by some transport. */
export function openTextStream(transport: Transport, options: TextStreamOptions): TextStream {
  return new OpenStream(transport, options);
}

class OpenStream implements TextStream, Answer {
  readonly requestId: string;
  readonly ended: Promise<StreamEnd>;
  conversationId: string | null = null;
  state: TextStream["state"] = "open";
  private readonly isNewest: IsNewest;
  private readonly endTransfer: () => void;
  private resolveEnd!: (end: StreamEnd) => void;
  private frames: IdFrames | null = null;
  private shown = "";
  private refusal: { status: number; retryAfter: string | null; body: string } | null = null;
  private silenceTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    transport: Transport,
    private readonly options: TextStreamOptions,
  ) {
    this.requestId = options.requestId ?? newRequestId();
    this.ended = new Promise((resolve) => (this.resolveEnd = resolve));
    this.isNewest = options.sequence?.begin(() => void this.stop()) ?? (() => true);
    this.heard();
    this.endTransfer = transport(
      {
        url: options.url,
        headers: withOurs(options.headers, { "Content-Type": "application/json", "X-Request-Id": this.requestId }),
        body: JSON.stringify(options.body),
        credentials: options.credentials === true,
      },
      this,
    );
  }

  // -- what its user does ----------------------------------------------------------------------------------------

  abort(): void {
    if (this.state !== "open") return;
    this.close("aborted");
    this.endTransfer();
    const answer = this.soFar();
    this.resolveEnd({ state: "aborted", ...answer });
    this.tell(() => this.options.onAborted?.(answer));
  }

  async stop(): Promise<CancelAnswer | null> {
    if (this.state !== "open") return null;
    this.abort();
    return this.notify();
  }

  // -- what the transport tells ----------------------------------------------------------------------------------

  head(status: number, header: (name: string) => string | null): void {
    if (this.state !== "open") return;
    this.heard();
    if (status < 200 || status > 299) {
      this.refusal = { status, retryAfter: header("Retry-After"), body: "" };
      return;
    }
    this.conversationId = header("X-Conversation-Id");
    const events = /^text\/event-stream/i.test(header("Content-Type") ?? "");
    this.frames = this.options.idFrames === true ? new IdFrames(events) : null;
    const { requestId, conversationId } = this;
    this.tell(() => this.options.onStart?.({ requestId, conversationId }));
  }

  text(piece: string): void {
    if (this.state !== "open") return;
    this.heard();
    if (this.refusal !== null) this.refusal.body += piece;
    else this.show(this.frames === null ? piece : this.frames.push(piece));
  }

  end(): void {
    if (this.state !== "open") return;
    if (this.refusal !== null) {
      this.fail(httpFailure(this.refusal.status, this.refusal.body, this.refusal.retryAfter));
      return;
    }
    this.show(this.frames?.end() ?? "");
    if (this.state !== "open") return; // The last callback has stopped it.
    this.close("done");
    const answer = this.soFar();
    this.resolveEnd({ state: "done", ...answer });
    this.tell(() => this.options.onDone?.(answer));
  }

  broke(message: string): void {
    if (this.state === "open") this.fail(new RequestFailure("network", message));
  }

  // -- within ----------------------------------------------------------------------------------------------------

  private show(text: string): void {
    this.conversationId = this.frames?.conversationId ?? this.conversationId;
    if (text === "") return;
    this.shown += text;
    this.tell(() => this.options.onChunk?.(text));
  }

  private fail(failure: RequestFailure): void {
    this.close("failed");
    this.resolveEnd({ state: "failed", failure, ...this.soFar() });
    this.tell(() => this.options.onError?.(failure));
  }

  private fellSilent(ms: number): void {
    this.fail(new RequestFailure("silence", `nothing came for ${ms} ms`));
    this.endTransfer();
    void this.notify();
  }

  private close(state: StreamEnd["state"]): void {
    this.state = state;
    clearTimeout(this.silenceTimer);
  }

  /** Something came: begin to wait for the next. */
  private heard(): void {
    const ms = this.options.silenceMs;
    if (ms === undefined) return;
    clearTimeout(this.silenceTimer);
    this.silenceTimer = setTimeout(() => this.fellSilent(ms), ms);
  }

  private soFar(): TextAnswer {
    return { requestId: this.requestId, conversationId: this.conversationId, text: this.shown };
  }

  private async notify(): Promise<CancelAnswer | null> {
    const { cancelUrl: url, headers, credentials } = this.options;
    if (url === undefined) return null;
    const { requestId, conversationId } = this;
    return notifyServerCancel({
      url,
      requestId,
      conversationId,
      ...(headers === undefined ? {} : { headers }),
      ...(credentials === undefined ? {} : { credentials }),
    });
  }

  /** Call back, unless silenced. What a callback throws is its own matter, and reported as uncaught. */
  private tell(call: () => void): void {
    if (!this.isNewest()) return;
    try {
      call();
    } catch (error) {
      report(error);
    }
  }
}

/** Have an error appear as uncaught, without unwinding through whoever called back. */
function report(error: unknown): void {
  if (typeof globalThis.reportError === "function") return globalThis.reportError(error);
  setTimeout(() => {
    throw error;
  });
}
