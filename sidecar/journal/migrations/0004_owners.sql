-- Schema 4: whose turn and step it is, where several processes share the journal.

ALTER TABLE turns ADD COLUMN owner INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN owner INTEGER NOT NULL DEFAULT 0;

DROP INDEX outbox_owed;
CREATE INDEX outbox_owed ON outbox (owner, due_at) WHERE state NOT IN ('delivered', 'dead', 'dropped');

-- A process sees at once what is under way in it, but not what another one is just letting in.
CREATE UNIQUE INDEX turns_under_way ON turns (request_id, principal) WHERE state IN ('open', 'answered');

DROP VIEW turns_with_steps;

CREATE VIEW turns_with_steps AS
SELECT
  id, route, principal, request_id, conversation_id, temp_id, captured, begins, state, cause,
  created_at, answer_began_at, answered_at, confirmed_at, cancelled_at, settled_at, traceparent, owner,
  looks, rollbacks,
  (SELECT group_concat(kind || '=' || state) FROM outbox WHERE turn_id = turns.id) AS steps
FROM turns;

DROP VIEW free_steps;

-- Owed steps (NOT IN: as the index has it) that may be called now or when they fall due: no earlier step of the turn is
-- still owed, and a rollback waits until no other turn in its conversation is under way, because that one may yet
-- confirm it (law 3).
CREATE VIEW free_steps AS
SELECT
  step.id, step.turn_id, step.owner, step.kind, step.state, step.attempts, step.due_at, step.lease_until,
  step.idempotency_key
FROM outbox AS step
WHERE step.state NOT IN ('delivered', 'dead', 'dropped')
  AND NOT EXISTS (
    SELECT 1 FROM outbox AS earlier
    WHERE earlier.turn_id = step.turn_id AND earlier.rank < step.rank AND earlier.state NOT IN ('delivered', 'dead', 'dropped')
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
