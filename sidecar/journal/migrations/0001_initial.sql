-- Schema 1: turns, the steps owed for them, tombstones, and what the journal knows of itself.
-- Times are seconds since the epoch. The lists of states are those of sidecar.turn.state.

CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value BLOB NOT NULL
) WITHOUT ROWID;

-- `captured` is a JSON object of the captured values that have no column of their own.
CREATE TABLE turns (
  id              TEXT PRIMARY KEY NOT NULL,
  route           TEXT NOT NULL,
  principal       TEXT NOT NULL,
  request_id      TEXT NOT NULL,
  conversation_id TEXT,
  temp_id         TEXT,
  captured        TEXT NOT NULL,
  begins          INTEGER NOT NULL CHECK (begins IN (0, 1)),
  state           TEXT NOT NULL CHECK (
    state IN ('open', 'answered', 'cancelling', 'confirming', 'completed', 'cancelled', 'refused', 'unresolved')
  ),
  cause           TEXT,
  created_at      REAL NOT NULL,
  answer_began_at REAL,
  answered_at     REAL,
  confirmed_at    REAL,
  settled_at      REAL,
  traceparent     TEXT,
  looks           INTEGER NOT NULL,
  rollbacks       INTEGER NOT NULL
);

CREATE INDEX turns_state_created ON turns (state, created_at);
CREATE INDEX turns_created ON turns (created_at);
CREATE INDEX turns_request ON turns (request_id, principal);
-- The conversation stands first, so that one index serves both a principal's search and the neighbours of law 3.
CREATE INDEX turns_conversation ON turns (conversation_id, principal, created_at) WHERE conversation_id IS NOT NULL;
CREATE INDEX turns_temp ON turns (temp_id, principal, created_at) WHERE temp_id IS NOT NULL;
CREATE INDEX turns_unsettled ON turns (id) WHERE state IN ('open', 'answered', 'cancelling', 'confirming');
CREATE INDEX turns_prunable ON turns (settled_at) WHERE state IN ('completed', 'cancelled', 'refused');

-- `rank` is the step's place among the steps of its turn, `round` how often it was owed anew after it was delivered; a leased step falls due again when its lease is over.
CREATE TABLE outbox (
  id              INTEGER PRIMARY KEY AUTOINCREMENT,
  turn_id         TEXT NOT NULL REFERENCES turns (id) ON DELETE CASCADE,
  kind            TEXT NOT NULL,
  rank            INTEGER NOT NULL,
  state           TEXT NOT NULL CHECK (state IN ('pending', 'leased', 'delivered', 'dead')),
  attempts        INTEGER NOT NULL CHECK (attempts >= 0),
  due_at          REAL NOT NULL,
  lease_until     REAL CHECK ((lease_until IS NOT NULL) = (state = 'leased')),
  round           INTEGER NOT NULL DEFAULT 0,
  idempotency_key TEXT NOT NULL,
  created_at      REAL NOT NULL,
  delivered_at    REAL,
  error           TEXT,
  UNIQUE (turn_id, kind)
);

CREATE INDEX outbox_owed ON outbox (due_at) WHERE state NOT IN ('delivered', 'dead');
CREATE INDEX outbox_state ON outbox (state);

-- The turns that the operator wants cancelled, until the running sidecar has done so.
CREATE TABLE orders (
  turn_id  TEXT PRIMARY KEY NOT NULL REFERENCES turns (id) ON DELETE CASCADE,
  given_at REAL NOT NULL
) WITHOUT ROWID;

CREATE INDEX orders_given ON orders (given_at);

-- A cancel that came before its request. `name` says what `value` is: request_id or conversation_id.
CREATE TABLE tombstones (
  principal  TEXT NOT NULL,
  name       TEXT NOT NULL,
  value      TEXT NOT NULL,
  expires_at REAL NOT NULL,
  PRIMARY KEY (principal, name, value)
) WITHOUT ROWID;

CREATE INDEX tombstones_expires ON tombstones (expires_at);

CREATE VIEW turns_with_steps AS
SELECT
  id, route, principal, request_id, conversation_id, temp_id, captured, begins, state, cause,
  created_at, answer_began_at, answered_at, confirmed_at, settled_at, traceparent, looks, rollbacks,
  (SELECT group_concat(kind || '=' || state) FROM outbox WHERE turn_id = turns.id) AS steps
FROM turns;

-- Owed steps (NOT IN: as the index has it) that may be called now or when they fall due: no earlier step of the turn is still owed, and a rollback
-- waits until no other turn in its conversation is under way, because that one may yet confirm it (law 3).
CREATE VIEW free_steps AS
SELECT step.id, step.turn_id, step.kind, step.state, step.attempts, step.due_at, step.lease_until, step.idempotency_key
FROM outbox AS step
WHERE step.state NOT IN ('delivered', 'dead')
  AND NOT EXISTS (
    SELECT 1 FROM outbox AS earlier
    WHERE earlier.turn_id = step.turn_id AND earlier.rank < step.rank AND earlier.state NOT IN ('delivered', 'dead')
  )
  AND NOT (
    step.kind = 'rollback'
    AND EXISTS (
      SELECT 1 FROM turns AS own
      JOIN turns AS other
        ON other.conversation_id IN (own.conversation_id, own.temp_id) OR other.temp_id = own.conversation_id
      WHERE own.id = step.turn_id AND other.id <> own.id AND +other.state IN ('open', 'answered')
    )
  );

-- The conversations that turns began. Written as arms, not as CASE, so that a status and an age find their index.
CREATE VIEW conversations AS
SELECT coalesce(conversation_id, temp_id) AS id, principal AS user, 'temp' AS status, created_at, confirmed_at
FROM turns WHERE begins AND state IN ('open', 'answered')
UNION ALL
SELECT coalesce(conversation_id, temp_id), principal, 'active', created_at, confirmed_at
FROM turns WHERE begins AND state IN ('confirming', 'completed')
UNION ALL
SELECT coalesce(conversation_id, temp_id), principal, 'cancelled', created_at, confirmed_at
FROM turns WHERE begins AND state IN ('cancelling', 'cancelled', 'unresolved');
