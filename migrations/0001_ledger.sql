-- The ledger: who has how much.
-- TEXT and BIGINT only, one text for SQLite and PostgreSQL. Money is in millionths of a dollar,
-- time in milliseconds since the Unix epoch.
--
-- 9000000000000000000 is the largest sum on any column. It lies below 2^63 - 1 so that SQLite,
-- which turns an overflowing integer into a float, is refused by the same CHECK as PostgreSQL.

CREATE TABLE accounts (
    id         TEXT   NOT NULL PRIMARY KEY,
    credited   BIGINT NOT NULL,
    spent      BIGINT NOT NULL, -- entries, plus the charges on open tabs
    held       BIGINT NOT NULL, -- what open tabs have reserved and not yet charged
    created_at BIGINT NOT NULL,
    CHECK (credited BETWEEN 0 AND 9000000000000000000),
    CHECK (spent BETWEEN 0 AND 9000000000000000000),
    CHECK (held BETWEEN 0 AND 9000000000000000000),
    CHECK (spent + held <= credited) -- overdraw is impossible, whatever the program does
);

-- Every rise of `credited`, once per source.
CREATE TABLE credits (
    source     TEXT   NOT NULL PRIMARY KEY,
    account    TEXT   NOT NULL REFERENCES accounts (id),
    amount     BIGINT NOT NULL CHECK (amount > 0),
    created_at BIGINT NOT NULL
);
CREATE INDEX credits_by_account ON credits (account, created_at, source);

-- Tabs. One row per paid request, open or closed.
CREATE TABLE holds (
    id          TEXT   NOT NULL PRIMARY KEY,
    account     TEXT   NOT NULL REFERENCES accounts (id),
    request_key TEXT   NOT NULL,
    reserved    BIGINT NOT NULL CHECK (reserved >= 0),
    charged     BIGINT NOT NULL CHECK (charged BETWEEN 0 AND 9000000000000000000),
    state       TEXT   NOT NULL CHECK (state IN ('open', 'closed')),
    created_at  BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL,
    UNIQUE (account, request_key)
);
CREATE INDEX holds_open_by_expiry ON holds (expires_at) WHERE state = 'open';
CREATE INDEX holds_open_by_account ON holds (account) WHERE state = 'open';

-- What was paid for: one row per closed tab, never changed afterwards.
CREATE TABLE entries (
    id         TEXT   NOT NULL PRIMARY KEY,
    account    TEXT   NOT NULL REFERENCES accounts (id),
    hold       TEXT   NOT NULL UNIQUE REFERENCES holds (id),
    kind       TEXT   NOT NULL CHECK (kind IN ('usage', 'purchase', 'expired')),
    amount     BIGINT NOT NULL CHECK (amount >= 0),
    request_id TEXT,
    service    TEXT   NOT NULL, -- the model or service that was used
    units      BIGINT NOT NULL CHECK (units >= 0),
    unit_price BIGINT NOT NULL CHECK (unit_price >= 0),
    meta       TEXT   NOT NULL, -- JSON
    created_at BIGINT NOT NULL
);
CREATE INDEX entries_by_account ON entries (account, created_at, id);

-- Everything that happened to an account, as its owner sees it.
CREATE VIEW statement AS
SELECT id, account, kind, amount, request_id, NULL AS source, service, units, unit_price, meta, created_at
  FROM entries
UNION ALL
SELECT source AS id, account, 'credit' AS kind, amount, NULL AS request_id, source, '' AS service,
       CAST(0 AS BIGINT) AS units, CAST(0 AS BIGINT) AS unit_price, '{}' AS meta, created_at
  FROM credits;
