-- Expand and contract: stop older instances first, for they know the renamed column and table by their old names, and
-- would credit under sources of the old form what is credited under the new one.

-- Contracts that were followed when purchases' sources did not name them, `log:<transaction>:<ordinal>`; from now on
-- they are `sale:<contract>:<transaction>:<ordinal>`. A purchase that was credited before keeps its source.
CREATE TABLE key_sale_origins (
    name TEXT NOT NULL PRIMARY KEY -- of the cursor: key_sale:<chain id>:<contract>
);
INSERT INTO key_sale_origins (name) SELECT name FROM chain_cursors WHERE name LIKE 'key_sale:%';
ALTER TABLE chain_cursors RENAME COLUMN next_log TO next_log_index;

-- The wallet that bought a key: a key is its owner's only if the owner bought it. NULL of a key with a source: not
-- looked up on the chain yet, and until then it opens nothing.
ALTER TABLE api_keys ADD COLUMN buyer TEXT;
-- Keys that were sold for a pushed transaction, whose sender may not have been the account that paid.
UPDATE api_keys SET source = (
    SELECT 'tx:' || p.reference FROM payments p
    WHERE p.proof = 'push' AND p.goods LIKE '%' || api_keys.id || '%'
)
WHERE source IS NULL AND EXISTS (
    SELECT 1 FROM payments p WHERE p.proof = 'push' AND p.reference IS NOT NULL AND p.goods LIKE '%' || api_keys.id || '%'
);

-- Money that came for somebody who does not have the credit, for the operator: the ledger refused it, or the payee's
-- receive policy holds it back at a guard, whose receipt `claim` is.
ALTER TABLE uncredited_sales RENAME TO uncredited_payments;
ALTER TABLE uncredited_payments ADD COLUMN claim TEXT;

-- Settlements of channels whose money the payee's receive policy holds back.
CREATE TABLE held_back_settlements (
    reference  TEXT   NOT NULL PRIMARY KEY, -- the transaction's hash
    channel    TEXT   NOT NULL,
    amount     BIGINT NOT NULL,
    claim      TEXT   NOT NULL,             -- the guard's receipt, in hexadecimal
    created_at BIGINT NOT NULL
);

-- Why a payment failed: NULL when the chain undid it, 'held_back' by the recipient's receive policy.
ALTER TABLE payments ADD COLUMN failure TEXT CHECK (failure IN ('held_back'));
-- The idempotency key of a payment that failed is free.
UPDATE payments SET idempotency_key = NULL WHERE state = 'failed';
