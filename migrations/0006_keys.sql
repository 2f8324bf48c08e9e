-- API keys. Of a key's secret only the SHA-256 is kept; the money a key spends is its owner's account, `wallet:<owner>`.
CREATE TABLE api_keys (
    id             TEXT   NOT NULL PRIMARY KEY, -- public: part of the key's text
    owner          TEXT   NOT NULL,             -- wallet address, lower case
    name           TEXT   NOT NULL,
    hash           TEXT   NOT NULL,             -- SHA-256 of the secret, lower-case hex
    previous_hash  TEXT,                        -- the secret before the last rotation, valid until then
    previous_until BIGINT,
    created_at     BIGINT NOT NULL,
    last_used_at   BIGINT,                      -- written now and then, not per request
    revoked_at     BIGINT,
    expires_at     BIGINT,
    rpm            BIGINT CHECK (rpm > 0),      -- limits; NULL is the server's default, or none
    tpm            BIGINT CHECK (tpm > 0),
    daily_limit    BIGINT CHECK (daily_limit >= 0),
    total_limit    BIGINT CHECK (total_limit >= 0),
    models         TEXT                         -- JSON list of the models it may use
);
CREATE INDEX api_keys_owner ON api_keys (owner, created_at, id);
CREATE INDEX api_keys_revoked ON api_keys (revoked_at) WHERE revoked_at IS NOT NULL;
CREATE INDEX api_keys_expiry ON api_keys (expires_at) WHERE expires_at IS NOT NULL;

-- Whose tab a hold is, until what it was charged is counted below: written with the hold, counted by
-- the key's next request. So a tab that only the sweeper closes counts too.
CREATE TABLE key_tabs (
    hold TEXT NOT NULL PRIMARY KEY REFERENCES holds (id),
    key  TEXT NOT NULL REFERENCES api_keys (id),
    day  TEXT NOT NULL -- of the request, UTC: 2026-01-31
);
CREATE INDEX key_tabs_key ON key_tabs (key);

-- What a key spent on a UTC day, and (day = '') ever.
CREATE TABLE key_spend (
    key   TEXT   NOT NULL REFERENCES api_keys (id),
    day   TEXT   NOT NULL,
    spent BIGINT NOT NULL CHECK (spent BETWEEN 0 AND 9000000000000000000),
    PRIMARY KEY (key, day)
);

-- Slices of a minute's requests and tokens that instances on one database took for a key.
CREATE TABLE key_minutes (
    key      TEXT   NOT NULL,
    minute   BIGINT NOT NULL, -- minutes since 1970
    requests BIGINT NOT NULL CHECK (requests >= 0),
    tokens   BIGINT NOT NULL CHECK (tokens >= 0),
    PRIMARY KEY (key, minute)
);
CREATE INDEX key_minutes_minute ON key_minutes (minute);

-- The account that a payment tops up; NULL when it buys an answer.
ALTER TABLE payments ADD COLUMN account TEXT;
