-- Payment channels (TIP-1034) whose payee is this server. The account of a
-- channel on the ledger is `channel:<id>`: accepted vouchers are its credits.
--
-- state: opening  its opening transaction is out, its outcome unknown
--        open     deposit and vouchers can be used
--        closed   settled on the chain for the last time
--        failed   the opening transaction can never be included
CREATE TABLE channels (
    id                  TEXT   NOT NULL PRIMARY KEY, -- lower case
    payer               TEXT   NOT NULL,
    payee               TEXT   NOT NULL,
    operator            TEXT   NOT NULL,
    token               TEXT   NOT NULL,
    salt                TEXT   NOT NULL,
    authorized_signer   TEXT   NOT NULL,
    expiring_nonce_hash TEXT   NOT NULL,
    state               TEXT   NOT NULL CHECK (state IN ('opening', 'open', 'closed', 'failed')),
    deposit             BIGINT NOT NULL CHECK (deposit >= 0),
    settled             BIGINT NOT NULL CHECK (settled >= 0),
    published           BIGINT NOT NULL DEFAULT 0 CHECK (published >= 0), -- highest voucher a settlement ever carried
    close_requested_at  BIGINT NOT NULL,             -- Unix seconds, 0 when not requested
    -- The one transaction about this channel that is out, if any.
    pending_kind        TEXT   CHECK (pending_kind IN ('open', 'topUp', 'settle', 'close')),
    pending_amount      BIGINT,
    pending_hash        TEXT,
    pending_raw         TEXT,
    pending_until       BIGINT,                      -- ms; no block later than this includes it
    close_hash          TEXT,                        -- the transaction that closed it
    created_at          BIGINT NOT NULL,
    active_at           BIGINT NOT NULL,             -- last voucher or charge
    checked_at          BIGINT NOT NULL              -- last look at the chain
);
CREATE INDEX channels_payer ON channels (payer, active_at);
CREATE INDEX channels_live ON channels (checked_at) WHERE state IN ('opening', 'open');

-- Vouchers that may still be needed: the highest, and those that settle what
-- was spent without taking what was not.
CREATE TABLE vouchers (
    channel   TEXT   NOT NULL REFERENCES channels (id),
    amount    BIGINT NOT NULL CHECK (amount >= 0),
    signature TEXT   NOT NULL,
    PRIMARY KEY (channel, amount)
);

-- What the tab of a channel is for, so that whoever ends it can say so.
CREATE TABLE channel_requests (
    hold       TEXT   NOT NULL PRIMARY KEY REFERENCES holds (id),
    channel    TEXT   NOT NULL REFERENCES channels (id),
    request_id TEXT   NOT NULL,
    service    TEXT   NOT NULL,
    unit_price BIGINT NOT NULL CHECK (unit_price >= 0)
);
CREATE INDEX channel_requests_channel ON channel_requests (channel);

-- Work that one instance does at a time.
CREATE TABLE leases (
    name  TEXT   NOT NULL PRIMARY KEY,
    owner TEXT   NOT NULL,
    until BIGINT NOT NULL -- ms
);
