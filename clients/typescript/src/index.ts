export { notifyServerCancel } from "./cancel.js";
export type { CancelAnswer, CancelOptions } from "./cancel.js";
export { RequestFailure } from "./errors.js";
export type { FailureKind } from "./errors.js";
export { fetchTextStream } from "./fetch.js";
export { newRequestId } from "./ids.js";
export { stopOnPageHide } from "./page.js";
export { RequestSequence } from "./sequence.js";
export type {
  StreamEnd,
  StreamIds,
  TextAnswer,
  TextStream,
  TextStreamCallbacks,
  TextStreamOptions,
} from "./stream.js";
export { postTextStream } from "./xhr.js";
