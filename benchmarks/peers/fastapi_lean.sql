-- The schema of fastapi_lean.py: what its statements need, and no more.

CREATE TABLE tasks (
    id           uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    title        text        NOT NULL,
    description  text,
    is_completed boolean     NOT NULL DEFAULT false,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    completed_at timestamptz
);

-- The order of GET /tasks.
CREATE INDEX tasks_list ON tasks (is_completed, created_at DESC, id);

-- A deleted task keeps its entries: so there is no foreign key.
CREATE TABLE task_history (
    history_id  uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    task_id     uuid        NOT NULL,
    action_type text        NOT NULL,
    description text        NOT NULL,
    timestamp   timestamptz NOT NULL
);

-- The order of GET /history, and the same within one task.
CREATE INDEX task_history_list ON task_history (timestamp DESC, history_id DESC);
CREATE INDEX task_history_list_by_task ON task_history (task_id, timestamp DESC, history_id DESC);
