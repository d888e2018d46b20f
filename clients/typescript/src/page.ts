// A page that is being left: closed, reloaded, or followed to another.

import type { TextStream } from "./stream.js";

/** Stop a stream when its page is left. Gives what takes that back; its end does, too. No matter outside of browsers. */
export function stopOnPageHide(stream: TextStream): () => void {
  const stop = (): void => void stream.stop();
  const undo = (): void => globalThis.removeEventListener?.("pagehide", stop);
  globalThis.addEventListener?.("pagehide", stop);
  void stream.ended.then(undo);
  return undo;
}
