-- Expand: new tables only; an older instance knows nothing of them, and an access token opens nothing there.

-- OAuth clients that a wallet authorized at least once. Before that a registration is in its client_id alone, and a
-- metadata document where it is published.
CREATE TABLE oauth_clients (
    id            TEXT   NOT NULL PRIMARY KEY, -- SHA-256 of the client_id, lower-case hex: a client_id may be long
    client_id     TEXT   NOT NULL,
    name          TEXT   NOT NULL,
    redirect_uris TEXT   NOT NULL,             -- JSON list
    authorized_at BIGINT NOT NULL              -- the latest time
);

-- What a wallet lets a client do. A grant is an API key whose secret nobody holds: its limits, its spending, its end are
-- those of the key, and it is named by the key's id. It goes when the key is forgotten.
CREATE TABLE oauth_grants (
    key        TEXT   NOT NULL PRIMARY KEY REFERENCES api_keys (id) ON DELETE CASCADE,
    client     TEXT   NOT NULL REFERENCES oauth_clients (id),
    resource   TEXT   NOT NULL,
    scopes     TEXT   NOT NULL, -- separated by blanks, at least one
    granted_at BIGINT NOT NULL  -- the latest time
);
CREATE INDEX oauth_grants_client ON oauth_grants (client);

-- Authorization codes: of each only the SHA-256. A used one stays for a day, to be recognised when it comes again.
CREATE TABLE oauth_codes (
    hash         TEXT   NOT NULL PRIMARY KEY,
    key          TEXT   NOT NULL REFERENCES oauth_grants (key) ON DELETE CASCADE,
    redirect_uri TEXT   NOT NULL,
    challenge    TEXT   NOT NULL, -- PKCE, S256
    expires_at   BIGINT NOT NULL,
    used_at      BIGINT
);
CREATE INDEX oauth_codes_key ON oauth_codes (key);
CREATE INDEX oauth_codes_expiry ON oauth_codes (expires_at);

-- Refresh tokens: of each only the SHA-256. One is alive in a family, which is what came of one code; the used ones stay
-- for a day, and the one that was used last with its family, to be recognised when they come again.
CREATE TABLE oauth_refresh_tokens (
    hash       TEXT   NOT NULL PRIMARY KEY,
    key        TEXT   NOT NULL REFERENCES oauth_grants (key) ON DELETE CASCADE,
    family     TEXT   NOT NULL, -- SHA-256 of the code
    created_at BIGINT NOT NULL,
    used_at    BIGINT
);
CREATE INDEX oauth_refresh_tokens_family ON oauth_refresh_tokens (key, family);

-- Access tokens: of each only the SHA-256.
CREATE TABLE oauth_access_tokens (
    hash       TEXT   NOT NULL PRIMARY KEY,
    key        TEXT   NOT NULL REFERENCES oauth_grants (key) ON DELETE CASCADE,
    family     TEXT   NOT NULL,
    scopes     TEXT,            -- narrowed to these by the client; NULL: all of the grant
    expires_at BIGINT NOT NULL
);
CREATE INDEX oauth_access_tokens_family ON oauth_access_tokens (key, family);
CREATE INDEX oauth_access_tokens_expiry ON oauth_access_tokens (expires_at);
