-- Files on their way to a tool or from it, outside of the conversation: an upload that a URL was made for, or a redacted
-- file that a link leads to. Each is for one account, for minutes, and the token in its URL is known by its hash alone.
CREATE TABLE mcp_files (
    id TEXT NOT NULL PRIMARY KEY, -- SHA-256 of the token, in hexadecimal
    account TEXT NOT NULL,
    direction TEXT NOT NULL CHECK (direction IN ('upload', 'result')),
    request TEXT UNIQUE, -- of a result: hash of the key and its idempotency key, under which there is one
    media_type TEXT, -- NULL until it was uploaded
    content TEXT, -- base64; NULL until it was uploaded
    expires_at BIGINT NOT NULL
);
CREATE INDEX mcp_files_by_account ON mcp_files (account);
CREATE INDEX mcp_files_by_expiry ON mcp_files (expires_at);
