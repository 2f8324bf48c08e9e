-- Which challenge a request on a channel came with: its entry says so, for
-- disputes and audits (draft-tempo-session-00, "Session Attribution").
ALTER TABLE channel_requests ADD COLUMN challenge TEXT NOT NULL DEFAULT '';
