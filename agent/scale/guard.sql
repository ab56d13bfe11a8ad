-- One run of a thread at a time, over all processes: the thread's row is the lock.

-- A request that is sent again, since its answer was lost or late, starts no second run: that would
-- ask its question in its old place, before what others have asked since.
CREATE OR REPLACE FUNCTION steady_admit_run() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    strategy text := NEW.execution_params #>> '{behavior,multitask_strategy}';
    request text := NEW.config #>> '{metadata,steady_request}';
BEGIN
    IF strategy = 'rollback' THEN
        RAISE EXCEPTION 'A run cannot be undone here.' USING ERRCODE = 'SY422';
    END IF;
    PERFORM 1 FROM thread WHERE thread_id = NEW.thread_id FOR UPDATE;
    IF strategy = 'reject' AND EXISTS (SELECT 1 FROM runs WHERE thread_id = NEW.thread_id
                                       AND status IN ('pending', 'running')) THEN
        RAISE EXCEPTION 'The thread is busy with another run.' USING ERRCODE = 'SY409';
    END IF;
    IF EXISTS (SELECT 1 FROM runs WHERE thread_id = NEW.thread_id
               AND config #>> '{metadata,steady_request}' = request) THEN
        RAISE EXCEPTION 'The request has started its run.' USING ERRCODE = 'SY409';
    END IF;
    NEW.created_at := clock_timestamp();  -- the order of the lock, whatever the processes' clocks say
    RETURN NEW;
END $$;

-- A worker that may not start the run yet sees no row updated, as if another worker had been first.
CREATE OR REPLACE FUNCTION steady_begin_run() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM thread WHERE thread_id = NEW.thread_id FOR UPDATE;
    IF EXISTS (SELECT 1 FROM runs WHERE thread_id = NEW.thread_id AND run_id <> NEW.run_id
               AND (status = 'running' OR (status = 'pending'
                    AND (created_at, run_id) < (NEW.created_at, NEW.run_id)))) THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE FUNCTION steady_next_run() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('steady_runs', run_id) FROM runs
        WHERE thread_id = NEW.thread_id AND status = 'pending' AND claimed_by IS NULL
        ORDER BY created_at, run_id LIMIT 1;
    RETURN NULL;
END $$;

-- The last statement of a worker's transaction: until its commit no other worker is given the run.
CREATE OR REPLACE FUNCTION steady_hold_run(held text, claim text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM runs WHERE run_id = held AND claimed_by = claim FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'Another worker has the run.' USING ERRCODE = 'SY410';
    END IF;
END $$;

-- What a run wrote while its thread was being deleted is deleted with the thread.
CREATE OR REPLACE FUNCTION steady_forget_thread() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM checkpoint_writes WHERE thread_id = OLD.thread_id;
    DELETE FROM checkpoint_blobs WHERE thread_id = OLD.thread_id;
    DELETE FROM checkpoints WHERE thread_id = OLD.thread_id;
    RETURN NULL;
END $$;

-- One table's lock at a time: holding one, this could wait for a run that waits for it.
BEGIN;
CREATE OR REPLACE TRIGGER steady_admit_run BEFORE INSERT ON runs
    FOR EACH ROW EXECUTE FUNCTION steady_admit_run();
CREATE OR REPLACE TRIGGER steady_begin_run BEFORE UPDATE OF status ON runs
    FOR EACH ROW WHEN (OLD.status = 'pending' AND NEW.status = 'running')
    EXECUTE FUNCTION steady_begin_run();
CREATE OR REPLACE TRIGGER steady_next_run AFTER UPDATE OF status ON runs
    FOR EACH ROW WHEN (OLD.status IN ('pending', 'running')
                       AND NEW.status NOT IN ('pending', 'running'))
    EXECUTE FUNCTION steady_next_run();
COMMIT;
BEGIN;
CREATE OR REPLACE TRIGGER steady_forget_thread AFTER DELETE ON thread
    FOR EACH ROW EXECUTE FUNCTION steady_forget_thread();
COMMIT;
