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
    PERFORM 1 FROM thread WHERE thread_id = NEW.thread_id FOR UPDATE;  -- a run may be being created
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

-- A run, its thread and its claim in one statement: all that its request and its worker have to store
-- before it begins. The owner's runs are counted one request at a time. `is_begun` is false where an
-- earlier run of the thread is active, or where no worker claims the run. Who did not hear the answer
-- may say it again.
CREATE OR REPLACE FUNCTION steady_create_run(
    new_run text, its_thread text, owner text, most_runs integer, its_assistant text,
    thread_marks jsonb, thread_title text, its_input jsonb, its_config jsonb, its_context jsonb,
    its_params jsonb, claim text, lease_until timestamptz,
    OUT created timestamptz, OUT is_begun boolean
) LANGUAGE plpgsql AS $$
BEGIN
    SELECT created_at, coalesce(claimed_by = claim, false) INTO created, is_begun
        FROM runs WHERE run_id = new_run;
    IF FOUND THEN
        RETURN;
    END IF;
    IF most_runs IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock(hashtext(owner));
        IF (SELECT count(*) FROM runs
            WHERE user_id = owner AND status IN ('pending', 'running')) >= most_runs THEN
            RAISE EXCEPTION 'The user has too many runs.' USING ERRCODE = 'SY429';
        END IF;
    END IF;
    INSERT INTO thread (thread_id, user_id, status, metadata_json)
        VALUES (its_thread, owner, 'busy', jsonb_build_object('owner', owner)
                || thread_marks || jsonb_build_object('thread_name', thread_title))
        ON CONFLICT (thread_id) DO UPDATE SET
            status = 'busy',
            updated_at = now(),
            metadata_json = CASE jsonb_typeof(thread.metadata_json)
                    WHEN 'object' THEN thread.metadata_json ELSE '{}' END || thread_marks
                || CASE WHEN coalesce(thread.metadata_json ->> 'thread_name', '') = '' AND thread_title <> ''
                    THEN jsonb_build_object('thread_name', thread_title) ELSE '{}' END
        WHERE thread.user_id = owner;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'The thread is another user''s.' USING ERRCODE = 'SY404';
    END IF;
    INSERT INTO runs (run_id, thread_id, assistant_id, status, input, config, context, user_id,
                      execution_params)
        VALUES (new_run, its_thread, its_assistant, 'pending', its_input, its_config, its_context, owner,
                its_params)
        RETURNING created_at INTO created;
    UPDATE runs SET status = 'running', claimed_by = claim, lease_expires_at = lease_until
        WHERE run_id = new_run AND claim IS NOT NULL;
    is_begun := FOUND;
END $$;

-- A run's end, and its thread's status, if the run is still this worker's: false where another has
-- ended it. The same worker may say it again, if it did not hear the answer.
CREATE OR REPLACE FUNCTION steady_end_run(
    ended text, its_thread text, owner text, claim text, new_status text, thread_status text,
    its_output jsonb, error_text text
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    holder text;
BEGIN
    UPDATE runs SET status = new_status, updated_at = now(), output = coalesce(its_output, output),
            error_message = coalesce(error_text, error_message)
        WHERE run_id = ended AND user_id = owner AND status IN ('pending', 'running')
        RETURNING claimed_by INTO holder;
    IF NOT FOUND THEN
        RETURN EXISTS (SELECT 1 FROM runs
                       WHERE run_id = ended AND claimed_by = claim AND status = new_status);
    END IF;
    IF holder IS DISTINCT FROM claim AND claim IS NOT NULL THEN
        RAISE EXCEPTION 'Another worker has the run.' USING ERRCODE = 'SY410';
    END IF;
    UPDATE thread SET status = thread_status, updated_at = now()
        WHERE thread_id = its_thread AND user_id = owner
        AND NOT EXISTS (SELECT 1 FROM runs WHERE thread_id = its_thread AND user_id = owner
                        AND status IN ('pending', 'running'));
    RETURN true;
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
