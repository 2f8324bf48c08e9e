-- One row for each credential that was presented for a one-time charge.
--
-- state: claimed    someone works on it; nothing was sent to the chain
--        broadcast  a transaction was handed to the chain, its outcome is open
--        settled    paid; the answer waits to be fetched
--        delivered  paid and the answer left
--        failed     the transaction can never pay any more
CREATE TABLE payments (
    id              TEXT   NOT NULL PRIMARY KEY,  -- challenge id
    fingerprint     TEXT   NOT NULL,              -- SHA-256 of the credential
    proof           TEXT   NOT NULL CHECK (proof IN ('pull', 'push', 'proof')),
    state           TEXT   NOT NULL CHECK (state IN ('claimed', 'broadcast', 'settled', 'delivered', 'failed')),
    route           TEXT   NOT NULL,
    digest          TEXT   NOT NULL,              -- of the request body, '' without one
    amount          BIGINT NOT NULL CHECK (amount >= 0),
    currency        TEXT   NOT NULL,              -- token address, lower case
    payer           TEXT,                         -- address, lower case
    idempotency_key TEXT,
    request_id      TEXT   NOT NULL,
    tx_hash         TEXT   UNIQUE,                -- lower case
    raw_tx          TEXT,                         -- kept while it may have to be sent again
    answer          TEXT,                         -- kept until delivered, or for the retention time
    receipt         TEXT,
    fee_limit       BIGINT NOT NULL DEFAULT 0 CHECK (fee_limit >= 0), -- sponsored: the most it can cost
    valid_before    BIGINT,                       -- ms; no block later than this includes it
    expires_at      BIGINT NOT NULL,              -- ms; of the challenge
    lease_until     BIGINT NOT NULL,              -- ms; who works on it has until then
    created_at      BIGINT NOT NULL,
    updated_at      BIGINT NOT NULL
);

-- A payer's idempotency key buys one answer.
CREATE UNIQUE INDEX payments_idempotency ON payments (payer, idempotency_key);
-- What the recovery worker looks at.
CREATE INDEX payments_open ON payments (lease_until) WHERE state IN ('claimed', 'broadcast');
-- Whose answer's retention time is over.
CREATE INDEX payments_answers ON payments (updated_at) WHERE answer IS NOT NULL;
-- A wallet's own payments, newest first.
CREATE INDEX payments_payer ON payments (payer, created_at);

-- What the server may spend on other people's network fees: the sum of the
-- fee limits of a UTC day, per payer and (payer = '') for all.
CREATE TABLE sponsor_days (
    day      TEXT   NOT NULL,
    payer    TEXT   NOT NULL,
    reserved BIGINT NOT NULL CHECK (reserved >= 0),
    PRIMARY KEY (day, payer)
);
