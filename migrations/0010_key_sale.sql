-- How far the logs of a contract have been read: everything before `next_block`, and of that block
-- everything before `next_log`. Each step is in the transaction of the credit that it is about.
CREATE TABLE chain_cursors (
    name         TEXT   NOT NULL PRIMARY KEY, -- what is followed: key_sale:<chain id>:<contract>
    next_block   BIGINT NOT NULL CHECK (next_block >= 0),
    next_log     BIGINT NOT NULL CHECK (next_log >= 0),
    seen         BIGINT NOT NULL CHECK (seen >= 0), -- logs read so far
    -- The last place at which the contract had counted as many as were read: where to begin again
    -- when it had not.
    proven_block BIGINT NOT NULL CHECK (proven_block >= 0),
    proven_seen  BIGINT NOT NULL CHECK (proven_seen >= 0),
    updated_at   BIGINT NOT NULL
);

-- Keys that were bought on the chain: the hash of the secret, and whose key it is.
CREATE TABLE bought_keys (
    hash       TEXT   NOT NULL PRIMARY KEY, -- 0x and 64 hex digits, lower case
    owner      TEXT   NOT NULL,             -- address, lower case
    pack       BIGINT NOT NULL,
    source     TEXT   NOT NULL,             -- of the credit that came with it
    created_at BIGINT NOT NULL
);
CREATE INDEX bought_keys_by_owner ON bought_keys (owner, created_at);

-- Purchases that the ledger refused, for the operator: the money has arrived, and nobody has the
-- credit. One of them must not keep all later ones from being read.
CREATE TABLE uncredited_sales (
    source     TEXT   NOT NULL PRIMARY KEY,
    owner      TEXT   NOT NULL,
    amount     BIGINT NOT NULL,
    why        TEXT   NOT NULL,
    created_at BIGINT NOT NULL
);
