-- Every statement on the journal's data. A line `-- name --` opens one; the comment below it says what it is for.
-- INDEXED BY (or a + before a column) stands where the planner, which knows no sizes, would choose a longer way.

-- put_turn --
-- Write a turn as it now is. Who and when it was does not change any more once it is there. Values by their places: to
-- find twenty by name costs as much as to write them.
INSERT INTO turns (
  id, route, principal, request_id, conversation_id, temp_id, captured, begins, state, cause,
  created_at, answer_began_at, answered_at, confirmed_at, cancelled_at, settled_at, traceparent,
  owner, looks, rollbacks
)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
  conversation_id = excluded.conversation_id,
  temp_id = excluded.temp_id,
  captured = excluded.captured,
  begins = excluded.begins,
  state = excluded.state,
  cause = excluded.cause,
  answer_began_at = excluded.answer_began_at,
  answered_at = excluded.answered_at,
  confirmed_at = excluded.confirmed_at,
  cancelled_at = excluded.cancelled_at,
  settled_at = excluded.settled_at,
  owner = excluded.owner,
  looks = excluded.looks,
  rollbacks = excluded.rollbacks;

-- owe_step --
-- A step is owed from now on, or again if it was over. What died and is tried again keeps its idempotency key, so that
-- an effect it may have had counts; what was delivered and is needed anew (law 7) is another call, with another key.
INSERT INTO outbox (turn_id, owner, kind, rank, state, attempts, due_at, idempotency_key, created_at)
VALUES (:turn_id, :owner, :kind, :rank, 'pending', 0, :due_at, :idempotency_key, :at)
ON CONFLICT (turn_id, kind) DO UPDATE SET
  owner = excluded.owner,
  state = 'pending',
  attempts = 0,
  due_at = excluded.due_at,
  delivered_at = NULL,
  error = NULL,
  round = round + (state = 'delivered'),
  idempotency_key = excluded.idempotency_key || CASE round + (state = 'delivered')
    WHEN 0 THEN '' ELSE ':' || (round + (state = 'delivered')) END
WHERE state IN ('dead', 'delivered');

-- lease_owed --
-- A step that is called at once by whoever makes the change; nobody else finds it pending.
UPDATE outbox SET state = 'leased', lease_until = :until
WHERE turn_id = :turn_id AND kind = :kind AND state = 'pending';

-- update_step --
-- An attempt's result. It ends the lease. One that failed changes nothing where another attempt has ended the step: a
-- clock's jump can lease a step twice. What was dropped stays so.
UPDATE outbox SET
  state = :state,
  attempts = :attempts,
  due_at = :due_at,
  lease_until = NULL,
  delivered_at = CASE WHEN :state = 'delivered' THEN :at END,
  error = :error
WHERE turn_id = :turn_id AND kind = :kind
  AND state <> 'dropped'
  AND NOT (:state = 'pending' AND state IN ('delivered', 'dead'));

-- postpone_later_steps --
-- A step that waits holds up those after it: they must not stand first in the order of due times meanwhile.
UPDATE outbox SET due_at = :due_at
WHERE turn_id = :turn_id AND rank > :rank AND +state = 'pending' AND due_at < :due_at;

-- put_history --
-- Record what happened to a turn; of one that is not there, nothing.
INSERT INTO history (turn_id, at, what, step, attempt, detail)
SELECT :turn_id, :at, :what, :step, :attempt, :detail WHERE EXISTS (SELECT 1 FROM turns WHERE id = :turn_id);

-- put_tombstone --
-- Remember a cancel that came first; a second one may only lengthen it.
INSERT INTO tombstones (principal, name, value, expires_at)
VALUES (:principal, :name, :value, :expires_at)
ON CONFLICT (principal, name, value) DO UPDATE SET expires_at = max(expires_at, excluded.expires_at);

-- load_turn --
-- A turn by its id.
SELECT * FROM turns_with_steps WHERE id = :id;

-- find_turns --
-- A principal's turns by any of the ids that downstream knows, newest first. A missing id (NULL) finds nothing.
SELECT * FROM turns_with_steps
WHERE id IN (
  SELECT id FROM turns WHERE request_id = :request_id AND principal = :principal
  UNION ALL
  SELECT id FROM (
    SELECT id FROM turns WHERE conversation_id = :conversation_id AND principal = :principal
    ORDER BY created_at DESC, id DESC LIMIT :limit
  )
  UNION ALL
  SELECT id FROM (
    SELECT id FROM turns WHERE temp_id = :conversation_id AND principal = :principal
    ORDER BY created_at DESC, id DESC LIMIT :limit
  )
)
ORDER BY created_at DESC, id DESC
LIMIT :limit;

-- turns_of_request --
-- Turns of any principal by their request id, newest first: for the operator.
SELECT * FROM turns_with_steps WHERE request_id = :request_id ORDER BY created_at DESC, id DESC LIMIT :limit;

-- turns_in_conversations --
-- What tells whether conversations are gone, of those alone that might be. :ids is a JSON array of strings.
WITH there AS (
  SELECT named.value AS conversation, turns.id, turns.begins, turns.state
  FROM json_each(:ids) AS named CROSS JOIN turns ON turns.conversation_id = named.value
  UNION ALL
  SELECT named.value, turns.id, turns.begins, turns.state
  FROM json_each(:ids) AS named CROSS JOIN turns ON turns.temp_id = named.value
)
SELECT * FROM turns_with_steps
WHERE id IN (
  SELECT id FROM there
  WHERE (begins OR state IN ('confirming', 'completed'))
    AND conversation IN (
      SELECT conversation FROM there WHERE begins AND state NOT IN ('confirming', 'completed', 'refused')
    )
);

-- unsettled_turns --
-- For recovery, page by page: those of one process that wait for no call. After an outage there are many that do.
SELECT * FROM turns_with_steps
WHERE id IN (
  SELECT id FROM turns INDEXED BY turns_unsettled
  WHERE settled_at IS NULL AND state IN ('open', 'answered', 'cancelling', 'confirming')
    AND id > :after AND owner = :owner
    AND NOT (
      state IN ('cancelling', 'confirming')
      AND EXISTS (SELECT 1 FROM outbox WHERE turn_id = turns.id AND outbox.state IN ('pending', 'leased'))
    )
  ORDER BY id
  LIMIT :limit
)
ORDER BY id;

-- standing_turns --
-- For the gate, once at boot: by which ids newcomers may meet what is not settled for good.
SELECT id, principal, request_id, conversation_id, temp_id FROM turns
WHERE state IN ('open', 'answered', 'cancelling', 'confirming', 'unresolved')
LIMIT :limit;

-- overdue_turns --
-- For the sweeper, oldest first: those of one process.
SELECT id FROM turns
WHERE state IN ('open', 'answered') AND created_at < :created_before AND owner = :owner
ORDER BY created_at
LIMIT :limit;

-- neighbours --
-- What the other turns of a conversation mean for rolling it back (law 3), by whichever of its ids they know it.
WITH there AS (
  SELECT id, state FROM turns WHERE conversation_id = :conversation_id
  UNION ALL
  SELECT id, state FROM turns WHERE conversation_id = :temp_id
  UNION ALL
  SELECT id, state FROM turns WHERE temp_id = :conversation_id
)
SELECT
  EXISTS (SELECT 1 FROM there WHERE id <> :id AND state IN ('confirming', 'completed')) AS confirmed,
  EXISTS (SELECT 1 FROM there WHERE id <> :id AND state IN ('open', 'answered')) AS unsettled;

-- due_steps --
-- What one process may lease now, oldest due first. The rules stand before the limit: what waits hides nothing behind it.
SELECT step.id AS step_id, step.kind AS step_kind, step.attempts, step.idempotency_key, turn.*
FROM (
  SELECT id, turn_id, kind, attempts, idempotency_key, due_at FROM free_steps
  WHERE owner = :owner AND due_at <= :now AND (state = 'pending' OR lease_until <= :now)
  ORDER BY due_at, id
  LIMIT :limit
) AS step
JOIN turns_with_steps AS turn ON turn.id = step.turn_id
ORDER BY step.due_at, step.id;

-- lease_step --
-- Hand a step to a worker until the lease is over.
UPDATE outbox SET state = 'leased', lease_until = :until WHERE id = :id;

-- next_due --
-- When lease has something to give a process next: a free step falls due, or a lease is over.
SELECT min(at) AS at FROM (
  SELECT at FROM (SELECT due_at AS at FROM free_steps WHERE owner = :owner AND +state = 'pending' ORDER BY due_at LIMIT 1)
  UNION ALL
  SELECT step.lease_until AS at FROM outbox AS leased JOIN free_steps AS step ON step.id = leased.id
  WHERE leased.state = 'leased' AND leased.owner = :owner
);

-- release_leases --
-- For boot: nobody works on a process's steps any more.
UPDATE outbox SET state = 'pending', lease_until = NULL WHERE state = 'leased' AND owner = :owner;

-- spread_turns --
-- For boot with another number of processes: each gets its share of what may still move.
UPDATE turns SET owner = rowid % :processes
WHERE state IN ('open', 'answered', 'cancelling', 'confirming', 'unresolved');

-- spread_steps --
-- A step goes with its turn.
UPDATE outbox SET owner = (SELECT owner FROM turns WHERE turns.id = outbox.turn_id)
WHERE state IN ('pending', 'leased', 'dead');

-- live_tombstones --
-- What has not expired.
SELECT principal, name, value, expires_at FROM tombstones WHERE expires_at > :now ORDER BY expires_at;

-- prune_turns --
-- Forget what was settled long ago, its steps too; but nothing that the operator may still have to see to, nor what
-- forbids a rollback that may still be tried (law 3).
DELETE FROM turns WHERE id IN (
  SELECT id FROM turns INDEXED BY turns_prunable
  WHERE state IN ('completed', 'cancelled', 'refused') AND state <> 'unresolved'  -- as the index says it
    AND settled_at < :settled_before
    AND NOT EXISTS (SELECT 1 FROM outbox WHERE turn_id = turns.id AND outbox.state NOT IN ('delivered', 'dropped'))
    AND NOT EXISTS (
      SELECT 1 FROM turns AS other
      WHERE (other.conversation_id IN (turns.conversation_id, turns.temp_id) OR other.temp_id = turns.conversation_id)
        AND other.state IN ('open', 'answered', 'cancelling', 'unresolved')
    )
  ORDER BY settled_at
  LIMIT :limit
);

-- prune_tombstones --
-- Forget expired ones.
DELETE FROM tombstones WHERE (principal, name, value) IN (
  SELECT principal, name, value FROM tombstones WHERE expires_at <= :now ORDER BY expires_at LIMIT :limit
);

-- put_order --
-- The operator wants a turn cancelled ('' for a step), or one of its steps dropped.
INSERT INTO orders (turn_id, step, reason, given_at) VALUES (:turn_id, :step, :reason, :at) ON CONFLICT DO NOTHING;

-- open_orders --
-- What was ordered of one process, first come first.
SELECT
  turn_id, step, reason,
  coalesce((SELECT attempts FROM outbox WHERE outbox.turn_id = orders.turn_id AND kind = step), 0) AS attempts
FROM orders JOIN turns ON turns.id = turn_id
WHERE given_at > 0 AND owner % :processes = :owner
ORDER BY given_at LIMIT 1000;

-- forget_order --
-- An order was carried out.
DELETE FROM orders WHERE turn_id = :turn_id AND step = :step;

-- page_of_turns --
-- For the operator, newest first, from a place in that order on.
SELECT * FROM turns_with_steps
WHERE (created_at, id) < (:before_at, :before_id)
  AND (:cause IS NULL OR cause = :cause)
  AND (:route IS NULL OR route = :route)
ORDER BY created_at DESC, id DESC
LIMIT :limit;

-- page_of_turns_in_state --
-- The same, of one state.
SELECT * FROM turns_with_steps
WHERE state = :state
  AND (created_at, id) < (:before_at, :before_id)
  AND (:cause IS NULL OR cause = :cause)
  AND (:route IS NULL OR route = :route)
ORDER BY created_at DESC, id DESC
LIMIT :limit;

-- count_under_way --
-- For the operator: how many turns are under way.
SELECT count(*) AS number FROM turns WHERE state IN ('open', 'answered');

-- newest_under_way --
-- For the operator: the newest of them.
SELECT * FROM turns_with_steps
WHERE id IN (SELECT id FROM turns WHERE state = 'open' ORDER BY created_at DESC LIMIT :limit)
   OR id IN (SELECT id FROM turns WHERE state = 'answered' ORDER BY created_at DESC LIMIT :limit)
ORDER BY created_at DESC, id DESC
LIMIT :limit;

-- page_of_steps --
-- For the operator, newest first.
SELECT id, turn_id, kind, state, attempts, due_at, created_at, error, delivered_at
FROM outbox WHERE id < :before ORDER BY id DESC LIMIT :limit;

-- page_of_steps_in_state --
-- The same, of one state.
SELECT id, turn_id, kind, state, attempts, due_at, created_at, error, delivered_at
FROM outbox WHERE state = :state AND id < :before ORDER BY id DESC LIMIT :limit;

-- oldest_steps_in_state --
-- For the operator: what has waited longest.
SELECT id, turn_id, kind, state, attempts, due_at, created_at, error, delivered_at
FROM outbox WHERE state = :state ORDER BY id LIMIT :limit;

-- cancels_by_minute --
-- For the operator: how many turns were cancelled, and why, in each minute since a time.
SELECT CAST((cancelled_at - :since) / 60 AS INTEGER) AS minute, cause, count(*) AS number
FROM turns INDEXED BY turns_cancelled
WHERE cancelled_at >= :since AND cause IS NOT NULL
GROUP BY minute, cause;

-- latest_undone --
-- For the operator: how long the steps of the latest cancelled turns took, from the cancel on.
SELECT outbox.kind, outbox.delivered_at - latest.cancelled_at AS seconds
FROM (
  SELECT id, cancelled_at FROM turns INDEXED BY turns_cancelled
  WHERE cancelled_at IS NOT NULL ORDER BY cancelled_at DESC LIMIT :limit
) AS latest
JOIN outbox ON outbox.turn_id = latest.id
WHERE outbox.delivered_at IS NOT NULL AND outbox.kind <> 'confirm';

-- load_step --
-- For the operator: a step by its id.
SELECT id, turn_id, kind, state, attempts, due_at, created_at, error, delivered_at FROM outbox WHERE id = :id;

-- steps_of_turn --
-- For the operator: the steps of one turn, in the order of their calls.
SELECT id, turn_id, kind, state, attempts, due_at, created_at, error, delivered_at
FROM outbox WHERE turn_id = :turn_id ORDER BY rank;

-- history_of_turn --
-- For the operator: what was recorded of one turn.
SELECT id, at, what, step, attempt, detail FROM history WHERE turn_id = :turn_id ORDER BY id;

-- outbox_sizes --
-- For the figures: how many steps are in each state that is not delivered, of which there are many.
SELECT state, count(*) AS number FROM outbox WHERE state IN ('pending', 'leased', 'dead', 'dropped') GROUP BY state;

-- oldest_owed --
-- For the figures: since when the oldest step is owed. Ids grow with time, and an index on states has them in order.
SELECT min(created_at) AS created_at FROM (
  SELECT created_at FROM (SELECT created_at FROM outbox WHERE state = 'pending' ORDER BY id LIMIT 1)
  UNION ALL
  SELECT created_at FROM (SELECT created_at FROM outbox WHERE state = 'leased' ORDER BY id LIMIT 1)
);

-- check_writing --
-- Show that the journal can be written.
INSERT INTO meta (key, value) VALUES ('checked_at', :at) ON CONFLICT (key) DO UPDATE SET value = excluded.value;

-- found_meta --
-- What is settled when the journal is made, and kept.
INSERT INTO meta (key, value) VALUES (:key, :value) ON CONFLICT (key) DO NOTHING;

-- note_meta --
-- What is settled anew at a boot.
INSERT INTO meta (key, value) VALUES (:key, :value) ON CONFLICT (key) DO UPDATE SET value = excluded.value;

-- read_meta --
-- A value that was settled when the journal was made.
SELECT value FROM meta WHERE key = :key;
