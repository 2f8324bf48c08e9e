-- Expand: an older instance neither counts nor waits, and sends a settlement that reverts every ten seconds.
-- Tries to settle or close a channel since the last one that came to something, and the moment of the last one (ms).
ALTER TABLE channels ADD COLUMN settlement_tries BIGINT NOT NULL DEFAULT 0 CHECK (settlement_tries >= 0);
ALTER TABLE channels ADD COLUMN settlement_tried_at BIGINT NOT NULL DEFAULT 0;
