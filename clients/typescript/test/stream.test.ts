// What holds for either way of streaming.

import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, test } from "node:test";

import { RequestSequence, fetchTextStream, postTextStream } from "cancel-sidecar-client";
import type { TextStream, TextStreamOptions } from "cancel-sidecar-client";

import { Site, Told } from "./site.js";
import "./xhr.js";

const TIME = { timeout: 20_000 };
const QUESTION = { messages: [{ role: "user", content: "How do I calm down?" }], stream: true };

for (const [name, ask] of Object.entries({ postTextStream, fetchTextStream })) {
  describe(name, TIME, () => {
    let site: Site;
    let told: Told;

    beforeEach(async () => {
      site = await Site.open();
      told = new Told();
    });
    afterEach(() => site.close());

    function start(more: Partial<TextStreamOptions> = {}): TextStream {
      return ask({
        url: site.url("/chat"),
        cancelUrl: site.url("/cancel"),
        headers: { Authorization: "Bearer alice", "content-type": "text/strange" },
        body: QUESTION,
        ...told,
        ...more,
      });
    }

    test("the question is sent, and its answer told as it comes", async () => {
      const stream = start();
      const { headers, body, response } = await site.next("/chat");
      assert.match(stream.requestId, /^req_\d{13}_[a-z0-9]{9}$/);
      assert.equal(headers["x-request-id"], stream.requestId);
      assert.equal(headers.authorization, "Bearer alice");
      assert.equal(headers["content-type"], "application/json");
      assert.deepEqual(body, QUESTION);

      response.writeHead(200, { "Content-Type": "text/plain; charset=utf-8", "X-Conversation-Id": "mobile-1" });
      response.write("Breathe ");
      assert.equal(await told.next(), "start");
      assert.deepEqual(told.started, { requestId: stream.requestId, conversationId: "mobile-1" });
      assert.equal(await told.next(), "chunk Breathe ");
      response.write("in.");
      assert.equal(await told.next(), "chunk in.");
      assert.equal(stream.state, "open");
      response.end();
      assert.equal(await told.next(), "done");
      const answer = { requestId: stream.requestId, conversationId: "mobile-1", text: "Breathe in." };
      assert.deepEqual(told.answer, answer);
      assert.deepEqual(await stream.ended, { state: "done", ...answer });
      assert.equal(await stream.stop(), null, "nothing is left to stop");
      assert.equal(told.words.length, 4);
    });

    test("a character that comes in halves is told once, whole", async () => {
      const stream = start();
      const { response } = await site.next("/chat");
      const bytes = Buffer.from("grün 🌱!");
      response.write(bytes.subarray(0, 3));
      assert.equal(await told.next(), "start");
      assert.equal(await told.next(), "chunk gr");
      response.write(bytes.subarray(3, 8));
      assert.equal(await told.next(), "chunk ün ");
      response.end(bytes.subarray(8));
      await stream.ended;
      assert.equal(told.answer?.text, "grün 🌱!");
      assert.doesNotMatch(told.words.join(), /\uFFFD/);
    });

    test("stop() ends the transfer, and says so", async () => {
      const stream = start();
      const chat = await site.next("/chat");
      chat.response.writeHead(200, { "X-Conversation-Id": "mobile-1" });
      chat.response.write("Breathe ");
      await told.next();
      await told.next();
      const stopping = stream.stop();
      assert.equal(stream.state, "aborted");
      await chat.left;
      const cancel = await site.next("/cancel");
      assert.equal(cancel.headers.authorization, "Bearer alice");
      assert.deepEqual(cancel.body, { requestId: stream.requestId, conversationId: "mobile-1" });
      cancel.response.end('{"status": "cancelled"}');
      assert.deepEqual(await stopping, { status: "cancelled", known: true });
      assert.deepEqual(told.words, ["start", "chunk Breathe ", "aborted"]);
      assert.equal((await stream.ended).text, "Breathe ");
      assert.equal(await stream.stop(), null, "it is stopped once");
    });

    test("stop() before the first byte", async () => {
      const stream = start();
      const chat = await site.next("/chat");
      const stopping = stream.stop();
      await chat.left;
      const cancel = await site.next("/cancel");
      assert.deepEqual(cancel.body, { requestId: stream.requestId });
      cancel.response.writeHead(202).end('{"status": "cancelled"}');
      assert.deepEqual(await stopping, { status: "cancelled", known: false });
      assert.deepEqual(told.words, ["aborted"]);
    });

    test("without a cancel endpoint, stop() is abort()", async () => {
      const { cancelUrl: _, ...rest } = { cancelUrl: "", url: site.url("/chat"), body: QUESTION };
      const stream = ask({ ...rest, ...told });
      const chat = await site.next("/chat");
      assert.equal(await stream.stop(), null);
      await chat.left;
      assert.deepEqual(told.words, ["aborted"]);
    });

    test("a refusal is told in the sidecar's words", async () => {
      start({ requestId: "req_1_again" });
      const { headers, response } = await site.next("/chat");
      assert.equal(headers["x-request-id"], "req_1_again");
      response.writeHead(409, { "Retry-After": "1" });
      response.end('{"error": "rollback_pending", "message": "What was cancelled before is still being removed."}');
      assert.equal(await told.next(), "error http");
      const [failure] = told.failures;
      assert.deepEqual([failure?.status, failure?.code, failure?.retryAfterMs], [409, "rollback_pending", 1000]);
      assert.equal(failure?.message, "What was cancelled before is still being removed.");
      assert.deepEqual(told.words, ["error http"]);
    });

    test("a refusal without words is told by its status", async () => {
      start();
      (await site.next("/chat")).response.writeHead(502).end("<html>");
      assert.equal(await told.next(), "error http");
      assert.deepEqual([told.failures[0]?.code, told.failures[0]?.message], [null, "the answer was 502"]);
    });

    test("an answer that breaks off is not whole", async () => {
      const stream = start();
      const { response } = await site.next("/chat");
      response.write("Breathe ");
      await told.next();
      await told.next();
      response.destroy();
      assert.equal(await told.next(), "error network");
      const end = await stream.ended;
      assert.deepEqual([end.state, end.text], ["failed", "Breathe "]);
    });

    test("nobody there, and an address that cannot be", async () => {
      for (const url of ["http://127.0.0.1:1/", "http://["]) {
        const end = await ask({ url, body: QUESTION, ...told }).ended;
        assert.equal(end.state, "failed");
      }
      assert.deepEqual(told.words, ["error network", "error network"]);
    });

    test("silence ends it, and the server is told", async () => {
      const stream = start({ silenceMs: 50 });
      assert.equal(await told.next(), "error silence");
      assert.equal(stream.state, "failed");
      const cancel = await site.next("/cancel");
      assert.deepEqual(cancel.body, { requestId: stream.requestId });
      cancel.response.end('{"status": "cancelled"}');
    });

    test("a newer question silences the older, and stops it", async () => {
      const sequence = new RequestSequence();
      const older = start({ sequence });
      const first = await site.next("/chat");
      first.response.write("Old ");
      await told.next();
      await told.next();
      const before = [...told.words];

      const newest = new Told();
      start({ sequence, ...newest });
      await first.left;
      const cancel = await site.next("/cancel");
      assert.deepEqual(cancel.body, { requestId: older.requestId });
      cancel.response.end('{"status": "cancelled"}');
      (await site.next("/chat")).response.end("New.");
      assert.equal((await older.ended).state, "aborted");
      assert.equal(await newest.next(), "start");
      assert.equal(await newest.next(), "chunk New.");
      assert.equal(await newest.next(), "done");
      assert.deepEqual(told.words, before, "the older one is told no more");
    });

    test("older ones that may run on are as silent", async () => {
      const sequence = new RequestSequence({ older: "run" });
      const older = start({ sequence });
      const first = await site.next("/chat");
      sequence.silence();
      first.response.end("Late.");
      assert.deepEqual(await older.ended, {
        state: "done",
        requestId: older.requestId,
        conversationId: null,
        text: "Late.",
      });
      assert.deepEqual(told.words, []);
    });

    test("id frames are read, not shown", async () => {
      const stream = start({ idFrames: true });
      const { response } = await site.next("/chat");
      response.writeHead(200, { "Content-Type": "text/plain; charset=utf-8" });
      response.write('{"temp_conversation_id": "temp_1"}\nBreathe ');
      await told.next();
      assert.equal(await told.next(), "chunk Breathe ");
      assert.equal(stream.conversationId, "temp_1");
      response.end('in.\n{"final_conversation_id": "mobile-1"}\n');
      const end = await stream.ended;
      assert.deepEqual([end.text, end.conversationId], ["Breathe in.", "mobile-1"]);
    });

    test("a callback that throws harms nobody but itself", async (context) => {
      const reported: unknown[] = [];
      Object.assign(globalThis, { reportError: (error: unknown) => reported.push(error) });
      context.after(() => Object.assign(globalThis, { reportError: undefined }));
      const mishap = new Error("a mishap");
      const stream = start({
        onChunk: () => {
          throw mishap;
        },
      });
      (await site.next("/chat")).response.end("Breathe in.");
      assert.equal((await stream.ended).state, "done");
      assert.deepEqual(reported, [mishap]);
    });

    test("stopped by a callback, it tells nothing after", async () => {
      const stream = start({ onChunk: () => stream.abort() });
      (await site.next("/chat")).response.end("Breathe in.");
      assert.equal((await stream.ended).state, "aborted");
      assert.deepEqual(told.words, ["start", "aborted"]);
    });
  });
}
