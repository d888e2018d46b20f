// The ids that a client makes.

const LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789";
const RANDOM_CHARS = 9;

/**
 * Make a request id: `req_<milliseconds>_<random>`. It tells requests apart; it is no secret.
 */
export function newRequestId(): string {
  const random = Array.from({ length: RANDOM_CHARS }, () => LETTERS[Math.floor(Math.random() * LETTERS.length)]);
  return `req_${Date.now()}_${random.join("")}`;
}
