-- Expand: an older instance charges no prompts on channels, and leaves the column at 0.
-- What is owed of a request's hold since an upstream has its prompt, in millionths of a dollar: charged also when a newer
-- request or a close ends the request before its first chunk.
ALTER TABLE channel_requests ADD COLUMN prompt_due BIGINT NOT NULL DEFAULT 0 CHECK (prompt_due >= 0);
