// Which question is the newest: what still comes of an older one is told to nobody.

/** Whether a question is still the newest of its sequence. */
export type IsNewest = () => boolean;

/**
 * The questions of one place in an app, such as a chat's screen, one after the other.
 *
 * With a newer question, all older ones fall silent: none of their callbacks is called any more. By default they are
 * stopped, too; with `older: "run"` they run to their end unseen, and the backend keeps their answers.
 */
export class RequestSequence {
  private latest = 0;
  private stopLatest: (() => void) | null = null;

  constructor(private readonly options: { readonly older?: "stop" | "run" } = {}) {}

  /** Begin a newer question, that `stop` stops. */
  begin(stop: () => void): IsNewest {
    this.silence();
    const number = this.latest;
    this.stopLatest = stop;
    return () => number === this.latest;
  }

  /** Silence what is under way without asking anything new, as when its screen is left. */
  silence(): void {
    const stop = this.stopLatest;
    this.stopLatest = null;
    this.latest += 1;
    if (this.options.older !== "run") stop?.();
  }
}
