-- Expand: new tables only; an older instance knows no cookie and answers it like none.

-- Sign-ins of people in browsers. Of the cookie's secret only the SHA-256.
CREATE TABLE browser_sessions (
    id         TEXT   NOT NULL PRIMARY KEY, -- public, to name it in a list
    hash       TEXT   NOT NULL UNIQUE,      -- SHA-256 of the secret, lower-case hex
    account    TEXT   NOT NULL,             -- wallet:<address>, lower case
    user_agent TEXT   NOT NULL,             -- its beginning, as the browser says it
    created_at BIGINT NOT NULL,
    seen_at    BIGINT NOT NULL,             -- within a minute
    expires_at BIGINT NOT NULL              -- whatever is done with it until then
);
CREATE INDEX browser_sessions_account ON browser_sessions (account, created_at);
CREATE INDEX browser_sessions_expiry ON browser_sessions (expires_at);

-- Public keys of passkeys, so that a browser which has the passkey alone can sign: an authenticator says its credential
-- id and not the key that its wallet's address follows from.
CREATE TABLE passkeys (
    credential_id TEXT   NOT NULL PRIMARY KEY, -- base64url
    public_key    TEXT   NOT NULL,             -- uncompressed P-256 point, 0x04 and 64 bytes, in hexadecimal
    account       TEXT   NOT NULL,             -- wallet:<address> that follows from the key
    label         TEXT   NOT NULL,
    created_at    BIGINT NOT NULL
);
CREATE INDEX passkeys_account ON passkeys (account);
