-- Nonces of wallet-signed messages that were used. A row is written in the transaction of the
-- action that the message authorised.
CREATE TABLE wallet_nonces (
    nonce      TEXT   NOT NULL PRIMARY KEY,
    account    TEXT   NOT NULL, -- wallet:<address>, lower case
    action     TEXT   NOT NULL,
    used_at    BIGINT NOT NULL, -- ms
    kept_until BIGINT NOT NULL  -- ms; the message was refused for its age long before
);
CREATE INDEX wallet_nonces_kept ON wallet_nonces (kept_until);
