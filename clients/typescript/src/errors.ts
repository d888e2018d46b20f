// What can go wrong with a request, as one type.

/**
 * - `http`: an answer that is no success; `status` and, where the body names one, `code` say which
 * - `network`: no answer, or one that broke off
 * - `silence`: nothing came for `silenceMs`
 */
export type FailureKind = "http" | "network" | "silence";

/** Why a request failed. */
export class RequestFailure extends Error {
  override readonly name = "RequestFailure";
  /** The answer's status; null where there was none. */
  readonly status: number | null;
  /** The sidecar's word for it, such as `in_progress` or `rollback_pending`; null where the body names none. */
  readonly code: string | null;
  /** When the same request may succeed, by `Retry-After`; null where it will not, or nobody knows. */
  readonly retryAfterMs: number | null;

  constructor(
    readonly kind: FailureKind,
    message: string,
    details: { status?: number; code?: string | null; retryAfterMs?: number | null } = {},
  ) {
    super(message);
    this.status = details.status ?? null;
    this.code = details.code ?? null;
    this.retryAfterMs = details.retryAfterMs ?? null;
  }
}

/** Say what an answer that is no success means. */
export function httpFailure(status: number, body: string, retryAfter: string | null): RequestFailure {
  const { error, message } = problemIn(body);
  const retryAfterMs = retryAfter !== null && /^\d+$/.test(retryAfter) ? Number(retryAfter) * 1000 : null;
  return new RequestFailure("http", message ?? `the answer was ${status}`, { status, code: error, retryAfterMs });
}

/** Read the sidecar's own short answers: `{"error": ..., "message": ...}`. */
function problemIn(body: string): { error: string | null; message: string | null } {
  try {
    const { error, message } = JSON.parse(body) as { error?: unknown; message?: unknown };
    return { error: textOrNull(error), message: textOrNull(message) };
  } catch {
    return { error: null, message: null };
  }
}

function textOrNull(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}
