// The cancel endpoint, called in good days and bad.

import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, test } from "node:test";

import { notifyServerCancel } from "cancel-sidecar-client";
import type { CancelAnswer } from "cancel-sidecar-client";

import { Site } from "./site.js";

describe("notifyServerCancel", { timeout: 20_000 }, () => {
  let site: Site;

  beforeEach(async () => {
    site = await Site.open();
  });
  afterEach(() => site.close());

  function cancel(more: object = {}): Promise<CancelAnswer> {
    return notifyServerCancel({ url: site.url("/cancel"), requestId: "req_1", retryMs: 1, ...more });
  }

  test("both ids, and who asks", async () => {
    const answer = cancel({ conversationId: "mobile-1", headers: { Authorization: "Bearer alice" } });
    const { headers, body, response } = await site.next("/cancel");
    assert.deepEqual(body, { requestId: "req_1", conversationId: "mobile-1" });
    assert.deepEqual([headers.authorization, headers["content-type"]], ["Bearer alice", "application/json"]);
    response.end('{"status": "cancelled"}');
    assert.deepEqual(await answer, { status: "cancelled", known: true });
  });

  test("one that is not known yet", async () => {
    const answer = cancel();
    (await site.next("/cancel")).response.writeHead(202).end('{"status": "cancelled"}');
    assert.deepEqual(await answer, { status: "cancelled", known: false });
  });

  test("one that ended too long ago", async () => {
    const answer = cancel();
    (await site.next("/cancel")).response.end('{"status": "completed"}');
    assert.deepEqual(await answer, { status: "completed" });
  });

  test("it is tried again where the journal or the network failed", async () => {
    const answer = cancel();
    (await site.next("/cancel")).response.writeHead(503).end('{"error": "journal_unavailable"}');
    (await site.next("/cancel")).response.destroy();
    (await site.next("/cancel")).response.end('{"status": "cancelled"}');
    assert.deepEqual(await answer, { status: "cancelled", known: true });
  });

  test("when too much is under way, it is tried again as the answer says", async () => {
    const answer = cancel({ retryMs: 100_000 });
    (await site.next("/cancel")).response.writeHead(429, { "Retry-After": "0" }).end('{"error": "too_many"}');
    (await site.next("/cancel")).response.end('{"status": "cancelled"}');
    assert.deepEqual(await answer, { status: "cancelled", known: true });
  });

  test("and not for ever", async () => {
    const answer = cancel({ attempts: 2 });
    for (let attempt = 0; attempt < 2; attempt += 1) (await site.next("/cancel")).response.writeHead(503).end("");
    const failed = await answer;
    assert.equal(failed.status, "failed");
    assert.equal(failed.status === "failed" && failed.failure.status, 503);
  });

  test("what cannot be understood is not said again", async () => {
    const answer = cancel();
    (await site.next("/cancel")).response.writeHead(400).end('{"error": "invalid", "field": "requestId", "message": "empty"}');
    const failed = await answer;
    assert.ok(failed.status === "failed");
    assert.deepEqual([failed.failure.status, failed.failure.code, failed.failure.message], [400, "invalid", "empty"]);
  });

  test("an answer that is no answer", async () => {
    const answer = cancel();
    (await site.next("/cancel")).response.end("<html>a captive portal</html>");
    assert.equal((await answer).status, "failed");
  });

  test("a server that says nothing", async () => {
    const failed = await cancel({ attempts: 1, timeoutMs: 50 });
    assert.ok(failed.status === "failed");
    assert.equal(failed.failure.kind, "network");
  });
});
