-- Schema 3: steps that the operator has dropped, and the order to do so.
-- A CHECK cannot be changed, so the outbox is made anew; what looks at it has to go meanwhile.

DROP VIEW turns_with_steps;
DROP VIEW free_steps;

CREATE TABLE outbox_anew (
  id              INTEGER PRIMARY KEY AUTOINCREMENT,
  turn_id         TEXT NOT NULL REFERENCES turns (id) ON DELETE CASCADE,
  kind            TEXT NOT NULL,
  rank            INTEGER NOT NULL,
  state           TEXT NOT NULL CHECK (state IN ('pending', 'leased', 'delivered', 'dead', 'dropped')),
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

INSERT INTO outbox_anew (
  id, turn_id, kind, rank, state, attempts, due_at, lease_until, round, idempotency_key, created_at, delivered_at, error
)
SELECT
  id, turn_id, kind, rank, state, attempts, due_at, lease_until, round, idempotency_key, created_at, delivered_at, error
FROM outbox;

-- An id that was given once is not given again, though its row may be pruned.
UPDATE sqlite_sequence SET seq = (SELECT seq FROM sqlite_sequence WHERE name = 'outbox')
WHERE name = 'outbox_anew' AND seq < (SELECT seq FROM sqlite_sequence WHERE name = 'outbox');

DROP TABLE outbox;
ALTER TABLE outbox_anew RENAME TO outbox;

CREATE INDEX outbox_owed ON outbox (due_at) WHERE state NOT IN ('delivered', 'dead', 'dropped');
CREATE INDEX outbox_state ON outbox (state);

CREATE VIEW turns_with_steps AS
SELECT
  id, route, principal, request_id, conversation_id, temp_id, captured, begins, state, cause,
  created_at, answer_began_at, answered_at, confirmed_at, cancelled_at, settled_at, traceparent, looks, rollbacks,
  (SELECT group_concat(kind || '=' || state) FROM outbox WHERE turn_id = turns.id) AS steps
FROM turns;

-- Owed steps (NOT IN: as the index has it) that may be called now or when they fall due: no earlier step of the turn is
-- still owed, and a rollback waits until no other turn in its conversation is under way, because that one may yet
-- confirm it (law 3).
CREATE VIEW free_steps AS
SELECT step.id, step.turn_id, step.kind, step.state, step.attempts, step.due_at, step.lease_until, step.idempotency_key
FROM outbox AS step
WHERE step.state NOT IN ('delivered', 'dead', 'dropped')
  AND NOT EXISTS (
    SELECT 1 FROM outbox AS earlier
    WHERE earlier.turn_id = step.turn_id
      AND earlier.rank < step.rank
      AND earlier.state NOT IN ('delivered', 'dead', 'dropped')
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

-- What the operator wants done, until the running sidecar has done so: `step` is the kind of a step to drop, for that
-- reason; '' is the turn itself, to be cancelled.
CREATE TABLE orders_anew (
  turn_id  TEXT NOT NULL REFERENCES turns (id) ON DELETE CASCADE,
  step     TEXT NOT NULL DEFAULT '',
  reason   TEXT,
  given_at REAL NOT NULL,
  PRIMARY KEY (turn_id, step)
) WITHOUT ROWID;

INSERT INTO orders_anew (turn_id, given_at) SELECT turn_id, given_at FROM orders;

DROP TABLE orders;
ALTER TABLE orders_anew RENAME TO orders;

CREATE INDEX orders_given ON orders (given_at);
