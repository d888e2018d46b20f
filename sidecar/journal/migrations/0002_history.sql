-- Schema 2: when a turn's undoing began, and what no column of a turn or of its steps remembers.

ALTER TABLE turns ADD COLUMN cancelled_at REAL;

-- The cause stands in it, so that counting by it needs no turn.
CREATE INDEX turns_cancelled ON turns (cancelled_at, cause) WHERE cancelled_at IS NOT NULL;

-- `what` is one of sidecar.engine.history.Happening; `attempt` counts from 1 and belongs to a step.
CREATE TABLE history (
  id      INTEGER PRIMARY KEY,
  turn_id TEXT NOT NULL REFERENCES turns (id) ON DELETE CASCADE,
  at      REAL NOT NULL,
  what    TEXT NOT NULL,
  step    TEXT,
  attempt INTEGER,
  detail  TEXT
);

CREATE INDEX history_turn ON history (turn_id);

DROP VIEW turns_with_steps;

CREATE VIEW turns_with_steps AS
SELECT
  id, route, principal, request_id, conversation_id, temp_id, captured, begins, state, cause,
  created_at, answer_began_at, answered_at, confirmed_at, cancelled_at, settled_at, traceparent, looks, rollbacks,
  (SELECT group_concat(kind || '=' || state) FROM outbox WHERE turn_id = turns.id) AS steps
FROM turns;
