-- Expand and contract: stop older instances first, for they know the renamed columns by their old names.
-- Payments say by which method and on which network they were made. `''` is the network that the server had before it
-- said so: its only chain.
ALTER TABLE payments ADD COLUMN method TEXT NOT NULL DEFAULT 'tempo';
ALTER TABLE payments ADD COLUMN network TEXT NOT NULL DEFAULT '';
-- The method's name of the transfer, and the text that makes it happen: a transaction's hash and bytes on a chain.
ALTER TABLE payments RENAME COLUMN tx_hash TO reference;
ALTER TABLE payments RENAME COLUMN raw_tx TO instruction;
