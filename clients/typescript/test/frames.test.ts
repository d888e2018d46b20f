// The frames, wherever the pieces part.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { IdFrames } from "../dist/frames.js";

const TEMP = '{"temp_conversation_id": "temp_1"}\n';
const FINAL = '{"final_conversation_id": "mobile-1"}\n';

/** Give the text of an answer and the id that it told, taken in pieces of that size. */
function read(body: string, size: number, events = false): [string, string | null] {
  const frames = new IdFrames(events);
  let text = "";
  for (let at = 0; at < body.length; at += size) text += frames.push(body.slice(at, at + size));
  return [text + frames.end(), frames.conversationId];
}

function inAllPieces(body: string, expected: [string, string | null], events = false): void {
  for (let size = 1; size <= body.length + 1; size += 1) {
    assert.deepEqual(read(body, size, events), expected, `in pieces of ${size}`);
  }
}

describe("plain text", () => {
  for (const [name, body, expected] of [
    ["both frames", `${TEMP}Breathe in.\n${FINAL}`, ["Breathe in.", "mobile-1"]],
    ["the first alone", `${TEMP}Breathe\n\nin.\n`, ["Breathe\n\nin.\n", "temp_1"]],
    ["the last alone", `Breathe in.\n${FINAL}`, ["Breathe in.", "mobile-1"]],
    ["the last without a line end", `Breathe in.\n${FINAL.trim()}`, ["Breathe in.", "mobile-1"]],
    ["nothing between them", TEMP + FINAL, ["", "mobile-1"]],
    ["the first, and nothing else", TEMP.trim(), ["", "temp_1"]],
    ["written close", '{"temp_conversation_id":"temp_1"}\nyes', ["yes", "temp_1"]],
    ["none", "Breathe in.\n\n{}\n", ["Breathe in.\n\n{}\n", null]],
    ["nothing at all", "", ["", null]],
    ["one that is cut", 'Breathe\n{"final_conversation_id": "mob', ['Breathe\n{"final_conversation_id": "mob', null]],
    ["one within the text", `a\n${FINAL}b`, [`a\n${FINAL}b`, null]],
    ["one that the answer says before the real one", `a\n{"final_conversation_id": "evil"}\n${FINAL}`, ['a\n{"final_conversation_id": "evil"}', "mobile-1"]],
    ["one amid a line", `say ${FINAL}`, [`say ${FINAL}`, null]],
    ["a first that is not first", `a\n${TEMP}`, [`a\n${TEMP}`, null]],
    ["an id that is none", '{"temp_conversation_id": 7}\n', ['{"temp_conversation_id": 7}\n', null]],
  ] as [string, string, [string, string | null]][]) {
    test(name, () => inAllPieces(body, expected));
  }
});

describe("an event stream", () => {
  const event = 'data: {"delta": "Breathe"}\n\n';

  test("both frames", () => inAllPieces(`data: ${TEMP}\n${event}data: ${FINAL}\n`, [event, "mobile-1"], true));

  test("none", () => inAllPieces(event + event, [event + event, null], true));

  test("an event is not held back", () => {
    const frames = new IdFrames(true);
    assert.equal(frames.push(event), event);
  });
});

describe("what is held back", () => {
  test("no more than what may be a frame", () => {
    const frames = new IdFrames(false);
    assert.equal(frames.push("Breathe"), "Breathe");
    assert.equal(frames.push(" in.\n"), " in.");
    assert.equal(frames.push('{"final'), "");
    assert.equal(frames.push("ly"), '\n{"finally');
  });

  test("a line without end is no frame", () => {
    const frames = new IdFrames(false);
    const endless = `{"temp_conversation_id": "${"x".repeat(2000)}`;
    assert.equal(frames.push(endless), endless);
  });
});
