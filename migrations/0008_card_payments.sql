-- Credits paid by card.
CREATE TABLE card_checkouts (
    id              TEXT   NOT NULL PRIMARY KEY, -- a UUID; the processor carries it as metadata
    account         TEXT   NOT NULL,
    pack            TEXT   NOT NULL,             -- '' for a free amount
    price           BIGINT NOT NULL CHECK (price > 0),
    credits         BIGINT NOT NULL CHECK (credits >= price),
    idempotency_key TEXT,
    nonce           TEXT   NOT NULL UNIQUE,      -- of the message that asked for it
    request_id      TEXT   NOT NULL,
    session         TEXT   UNIQUE,               -- the processor's name of it, once it has one
    url             TEXT,                        -- where the payer pays
    state           TEXT   NOT NULL CHECK (state IN ('open', 'paid', 'failed')),
    created_at      BIGINT NOT NULL
);
CREATE UNIQUE INDEX card_checkouts_key ON card_checkouts (account, idempotency_key);

-- What the processor said about one payment, in whatever order. A refund or a dispute can be
-- reported before the payment: then `checkout` and `account` are missing, and nothing is credited
-- yet.
CREATE TABLE card_payments (
    payment    TEXT   NOT NULL PRIMARY KEY, -- the payment intent
    checkout   TEXT   REFERENCES card_checkouts (id),
    account    TEXT,
    paid       BIGINT NOT NULL CHECK (paid >= 0),
    credited   BIGINT NOT NULL CHECK (credited >= 0),
    refunded   BIGINT NOT NULL CHECK (refunded >= 0), -- of what was paid
    disputed   BIGINT NOT NULL CHECK (disputed >= 0),
    taken      BIGINT NOT NULL CHECK (taken >= 0),    -- of the credit, taken back so far
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    CHECK (taken <= credited)
);

-- What an account still owes: credit that was spent before its payment was taken back.
CREATE TABLE debts (
    source     TEXT   NOT NULL PRIMARY KEY, -- of the credit: card:<payment intent>
    account    TEXT   NOT NULL,
    amount     BIGINT NOT NULL CHECK (amount >= 0), -- 0: made good
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX debts_open ON debts (account) WHERE amount > 0;

-- A new kind of entry: credit that was taken back. SQLite cannot change a CHECK, so the table is
-- written anew; its triggers are renewed after every migration.
DROP VIEW statement;
CREATE TABLE new_entries (
    id         TEXT   NOT NULL PRIMARY KEY,
    account    TEXT   NOT NULL REFERENCES accounts (id),
    hold       TEXT   NOT NULL UNIQUE REFERENCES holds (id),
    kind       TEXT   NOT NULL CHECK (kind IN ('usage', 'purchase', 'expired', 'refund')),
    amount     BIGINT NOT NULL CHECK (amount >= 0),
    request_id TEXT,
    service    TEXT   NOT NULL, -- the model or service that was used
    units      BIGINT NOT NULL CHECK (units >= 0),
    unit_price BIGINT NOT NULL CHECK (unit_price >= 0),
    meta       TEXT   NOT NULL, -- JSON
    created_at BIGINT NOT NULL
);
INSERT INTO new_entries (id, account, hold, kind, amount, request_id, service, units, unit_price, meta, created_at)
SELECT id, account, hold, kind, amount, request_id, service, units, unit_price, meta, created_at FROM entries;
DROP TABLE entries;
ALTER TABLE new_entries RENAME TO entries;
CREATE INDEX entries_by_account ON entries (account, created_at, id);
CREATE VIEW statement AS
SELECT id, account, kind, amount, request_id, NULL AS source, service, units, unit_price, meta, created_at
  FROM entries
UNION ALL
SELECT source AS id, account, 'credit' AS kind, amount, NULL AS request_id, source, '' AS service,
       CAST(0 AS BIGINT) AS units, CAST(0 AS BIGINT) AS unit_price, '{}' AS meta, created_at
  FROM credits;
