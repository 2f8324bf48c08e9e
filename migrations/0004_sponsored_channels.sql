-- What the sponsor's budget holds for the transaction of a channel that is out,
-- and when that was reserved (ms); what it did not cost is given back.
ALTER TABLE channels ADD COLUMN pending_fee BIGINT;
ALTER TABLE channels ADD COLUMN pending_fee_at BIGINT;
CREATE INDEX channels_sponsored ON channels (payer) WHERE pending_fee IS NOT NULL;
