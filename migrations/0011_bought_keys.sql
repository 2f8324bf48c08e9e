-- A key that was bought from the contract is a key like every other: the credit that came with it.
ALTER TABLE api_keys ADD COLUMN source TEXT;

-- What was bought before is read from the chain again: the cursor begins anew, credits are known by
-- their sources and stay as they are, and the keys become keys.
DROP TABLE bought_keys;
DELETE FROM chain_cursors WHERE name LIKE 'key_sale:%';
