-- Expand and contract: stop older instances first, for what they post would not be counted, and entries are written anew.
-- Usage of accounts by UTC day, service, key and kind: entries added up, in the transaction that posts them.

-- Entries say with which API key their request was made ('meta' says it too, where no index can find it), and how many
-- tokens it had. SQLite has no other way to give them that: entries are final, and a trigger keeps them so. It goes with
-- the table, and is renewed after every migration. Renamed first: on PostgreSQL that keeps everybody else out until all is
-- done.
DROP VIEW statement;
ALTER TABLE entries RENAME TO old_entries;
DROP INDEX entries_by_account;
CREATE TABLE entries (
    id                TEXT   NOT NULL PRIMARY KEY,
    account           TEXT   NOT NULL REFERENCES accounts (id),
    hold              TEXT   NOT NULL UNIQUE REFERENCES holds (id),
    kind              TEXT   NOT NULL CHECK (kind IN ('usage', 'purchase', 'expired', 'refund')),
    amount            BIGINT NOT NULL CHECK (amount >= 0),
    request_id        TEXT,
    service           TEXT   NOT NULL, -- the model or service that was used
    units             BIGINT NOT NULL CHECK (units >= 0),
    unit_price        BIGINT NOT NULL CHECK (unit_price >= 0),
    meta              TEXT   NOT NULL, -- JSON
    created_at        BIGINT NOT NULL,
    key               TEXT,            -- the public id of an API key
    prompt_tokens     BIGINT NOT NULL DEFAULT 0 CHECK (prompt_tokens BETWEEN 0 AND 1000000000),
    completion_tokens BIGINT NOT NULL DEFAULT 0 CHECK (completion_tokens BETWEEN 0 AND 1000000000)
);

-- Neither engine reads the other's JSON functions. In compact JSON no line ends, so a line end can take the place of a
-- member's name, and what follows it is the member's value; a name within a text has its quotes escaped, and is not found.
-- The limits keep SQLite from writing each step into all places that use it, and so from doing it many times.
INSERT INTO entries (id, account, hold, kind, amount, request_id, service, units, unit_price, meta, created_at,
                     key, prompt_tokens, completion_tokens)
SELECT id, account, hold, kind, amount, request_id, service, units, unit_price, meta, created_at,
       COALESCE(NULLIF(of_key, ''), (SELECT budget FROM holds WHERE holds.id = hold)),
       CASE WHEN length(of_prompt) > 9 THEN 1000000000 ELSE COALESCE(CAST(NULLIF(of_prompt, '') AS BIGINT), 0) END,
       CASE WHEN length(of_completion) > 9 THEN 1000000000
            ELSE COALESCE(CAST(NULLIF(of_completion, '') AS BIGINT), 0) END
  FROM (SELECT id, account, hold, kind, amount, request_id, service, units, unit_price, meta, created_at,
               substr(of_key, 1, length(of_key) - length(ltrim(of_key, replace(of_key, '"', '')))) AS of_key,
               substr(of_prompt, 1, length(of_prompt) - length(ltrim(of_prompt, '0123456789'))) AS of_prompt,
               substr(of_completion, 1, length(of_completion) - length(ltrim(of_completion, '0123456789')))
                   AS of_completion
          FROM (SELECT id, account, hold, kind, amount, request_id, service, units, unit_price, meta, created_at,
                       substr(ltrim(of_key, replace(of_key, '
', '')), 2) AS of_key,
                       substr(ltrim(of_prompt, replace(of_prompt, '
', '')), 2) AS of_prompt,
                       substr(ltrim(of_completion, replace(of_completion, '
', '')), 2) AS of_completion
                  FROM (SELECT old_entries.*,
                               CASE WHEN meta LIKE '%"key":"%' THEN replace(meta, '"key":"', '
') ELSE '' END AS of_key,
                               CASE WHEN meta LIKE '%"promptTokens":%' THEN replace(meta, '"promptTokens":', '
') ELSE '' END AS of_prompt,
                               CASE WHEN meta LIKE '%"completionTokens":%' THEN replace(meta, '"completionTokens":', '
') ELSE '' END AS of_completion
                          FROM old_entries LIMIT 9000000000000000000) AS marked
                 LIMIT 9000000000000000000) AS rest
         LIMIT 9000000000000000000) AS found;
DROP TABLE old_entries;
CREATE INDEX entries_by_account ON entries (account, created_at, id);
-- Without the account, which a key has one of: the smaller, the fewer pages are written for each entry.
CREATE INDEX entries_by_key ON entries (key, created_at, id) WHERE key IS NOT NULL;
CREATE INDEX entries_by_request ON entries (request_id) WHERE request_id IS NOT NULL;
CREATE VIEW statement AS
SELECT id, account, kind, amount, request_id, NULL AS source, service, units, unit_price, meta, created_at
  FROM entries
UNION ALL
SELECT source AS id, account, 'credit' AS kind, amount, NULL AS request_id, source, '' AS service,
       CAST(0 AS BIGINT) AS units, CAST(0 AS BIGINT) AS unit_price, '{}' AS meta, created_at
  FROM credits;

CREATE TABLE daily_usage (
    account           TEXT   NOT NULL,
    day               BIGINT NOT NULL, -- days since 1970, UTC: of the entries
    service           TEXT   NOT NULL,
    key               TEXT   NOT NULL, -- '' without an API key
    kind              TEXT   NOT NULL,
    requests          BIGINT NOT NULL CHECK (requests > 0),
    prompt_tokens     BIGINT NOT NULL CHECK (prompt_tokens BETWEEN 0 AND 9000000000000000000),
    completion_tokens BIGINT NOT NULL CHECK (completion_tokens BETWEEN 0 AND 9000000000000000000),
    cost              BIGINT NOT NULL CHECK (cost BETWEEN 0 AND 9000000000000000000),
    PRIMARY KEY (account, day, service, key, kind)
);
INSERT INTO daily_usage (account, day, service, key, kind, requests, prompt_tokens, completion_tokens, cost)
SELECT account, created_at / 86400000, service, COALESCE(key, ''), kind, COUNT(*),
       CAST(SUM(prompt_tokens) AS BIGINT), CAST(SUM(completion_tokens) AS BIGINT), CAST(SUM(amount) AS BIGINT)
  FROM entries GROUP BY account, created_at / 86400000, service, COALESCE(key, ''), kind;

-- A payer's channels, the newest first.
CREATE INDEX channels_by_payer ON channels (payer, created_at, id);
-- The payment of a checkout.
CREATE INDEX card_payments_by_checkout ON card_payments (checkout) WHERE checkout IS NOT NULL;
