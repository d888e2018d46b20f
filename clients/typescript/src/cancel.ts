// The cancel endpoint, called: a word that no proxy in between holds back, as it may a connection's end.

import { RequestFailure, httpFailure } from "./errors.js";
import { withOurs } from "./headers.js";
import type { HeaderFields } from "./headers.js";

export interface CancelOptions {
  /** The cancel endpoint. */
  readonly url: string;
  /** Either id, or both. */
  readonly requestId?: string;
  readonly conversationId?: string | null;
  /** The headers that say who asks, as on the question; a stranger's cancel counts for nothing. */
  readonly headers?: HeaderFields;
  /** Whether cookies are sent to another origin. */
  readonly credentials?: boolean;
  /** How often it is tried, where the network or the journal fails. */
  readonly attempts?: number;
  /** The pause before the second attempt, doubled before each further one. `Retry-After` goes before it. */
  readonly retryMs?: number;
  /** How long an attempt may take. */
  readonly timeoutMs?: number;
}

/**
 * - `cancelled`: it is stopped; `known` is false where the sidecar has not heard of it (yet): should it come, it ends there
 * - `completed`: it had ended too long ago, and stays
 * - `failed`: nobody took it, after all attempts
 */
export type CancelAnswer =
  | { readonly status: "cancelled"; readonly known: boolean }
  | { readonly status: "completed" }
  | { readonly status: "failed"; readonly failure: RequestFailure };

const ATTEMPTS = 3;
const RETRY_MS = 500;
const TIMEOUT_MS = 10_000;
const PAUSE_MAX_MS = 10_000;
const ACCEPTED = 202;
const UNAVAILABLE = 503;

/**
 * Tell the server to cancel a request. Never throws, and may come before the request, twice, or late.
 *
 * The call outlives its page (`keepalive`), so that it may be made while the page goes.
 */
export async function notifyServerCancel(options: CancelOptions): Promise<CancelAnswer> {
  const attempts = options.attempts ?? ATTEMPTS;
  for (let attempt = 1; ; attempt += 1) {
    const answer = await attemptCancel(options);
    if (answer.status !== "failed" || attempt >= attempts || !mayHelp(answer.failure)) return answer;
    await pause(Math.min(PAUSE_MAX_MS, answer.failure.retryAfterMs ?? (options.retryMs ?? RETRY_MS) * 2 ** (attempt - 1)));
  }
}

async function attemptCancel(options: CancelOptions): Promise<CancelAnswer> {
  const aborting = new AbortController();
  const timer = setTimeout(() => aborting.abort(), options.timeoutMs ?? TIMEOUT_MS);
  try {
    const response = await fetch(options.url, {
      method: "POST",
      headers: withOurs(options.headers, { "Content-Type": "application/json" }),
      body: JSON.stringify({ requestId: options.requestId, conversationId: options.conversationId ?? undefined }),
      keepalive: true,
      signal: aborting.signal,
      ...(options.credentials === true ? { credentials: "include" } : {}),
    });
    return answerOf(response.status, await response.text(), response.headers.get("Retry-After"));
  } catch (error) {
    return { status: "failed", failure: new RequestFailure("network", String(error)) };
  } finally {
    clearTimeout(timer);
  }
}

function answerOf(status: number, body: string, retryAfter: string | null): CancelAnswer {
  const said = status < 300 ? statusIn(body) : null;
  if (said === "cancelled") return { status: "cancelled", known: status !== ACCEPTED };
  if (said === "completed") return { status: "completed" };
  return { status: "failed", failure: httpFailure(status, body, retryAfter) };
}

function statusIn(body: string): unknown {
  try {
    return (JSON.parse(body) as { status?: unknown } | null)?.status;
  } catch {
    return null;
  }
}

/** Whether another attempt may end otherwise. */
function mayHelp(failure: RequestFailure): boolean {
  return failure.kind !== "http" || failure.status === UNAVAILABLE || failure.retryAfterMs !== null;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
