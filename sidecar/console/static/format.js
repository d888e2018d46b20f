// Times, durations and words, as a person reads them.

/** A duration in its two largest units at most: 340 ms, 4.2 s, 3 min, 5 h 12 min, 2 d. */
export function duration(seconds) {
  const s = Math.max(0, seconds);
  if (s < 0.0005) return "0 ms";
  if (s < 0.01) return `${(s * 1000).toFixed(1)} ms`;
  if (s < 1) return `${Math.round(s * 1000)} ms`;
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

/** The time of day of a moment (seconds since the epoch). */
export const clock = (at) => new Date(at * 1000).toLocaleTimeString([], { hour12: false });

/** Date and time of a moment. */
export const moment = (at) => new Date(at * 1000).toLocaleString([], { hour12: false });

/** `upload_cut` as `upload cut`. */
export const words = (name) => name.replaceAll("_", " ");

export const plural = (number, one, many = `${one}s`) => `${number} ${number === 1 ? one : many}`;

export const STATE_TONE = {
  open: "busy",
  answered: "busy",
  confirming: "busy",
  cancelling: "warn",
  completed: "good",
  cancelled: "plain",
  refused: "plain",
  unresolved: "bad",
  pending: "warn",
  leased: "busy",
  delivered: "good",
  dead: "bad",
  dropped: "plain",
};
