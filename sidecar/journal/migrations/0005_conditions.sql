-- Schema 5: indexes whose conditions cost nothing to judge. For a list of more than two (IN, NOT IN) SQLite makes a
-- table of its own, for each row that is written.

-- What was made unsettled by hand, and kept the time at which it had settled, would not be found again.
UPDATE turns SET settled_at = NULL
WHERE settled_at IS NOT NULL AND state IN ('open', 'answered', 'cancelling', 'confirming');

DROP INDEX turns_unsettled;
CREATE INDEX turns_unsettled ON turns (id) WHERE settled_at IS NULL;

DROP INDEX turns_prunable;
CREATE INDEX turns_prunable ON turns (settled_at) WHERE settled_at IS NOT NULL AND state <> 'unresolved';

DROP VIEW free_steps;

DROP INDEX outbox_owed;
CREATE INDEX outbox_owed ON outbox (owner, due_at) WHERE state <> 'delivered' AND state <> 'dead' AND state <> 'dropped';

-- Owed steps (said as the index says it) that may be called now or when they fall due: no earlier step of the turn is
-- still owed, and a rollback waits until no other turn in its conversation is under way, because that one may yet
-- confirm it (law 3).
CREATE VIEW free_steps AS
SELECT
  step.id, step.turn_id, step.owner, step.kind, step.state, step.attempts, step.due_at, step.lease_until,
  step.idempotency_key
FROM outbox AS step
WHERE step.state <> 'delivered' AND step.state <> 'dead' AND step.state <> 'dropped'
  AND NOT EXISTS (
    SELECT 1 FROM outbox AS earlier
    WHERE earlier.turn_id = step.turn_id AND earlier.rank < step.rank
      AND earlier.state <> 'delivered' AND earlier.state <> 'dead' AND earlier.state <> 'dropped'
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
