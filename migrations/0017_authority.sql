-- Expand and contract: stop older instances first, for they know the renamed column and table by their old names, and
-- would credit under sources of the old form beyond the places below.

-- Purchases before these places of a contract have sources without the contract's name, `log:<transaction>:<ordinal>`;
-- later ones are `sale:<contract>:<transaction>:<ordinal>`. Purchases that are read again keep their source.
CREATE TABLE key_sale_origins (
    name       TEXT   NOT NULL PRIMARY KEY, -- of the cursor: key_sale:<chain id>:<contract>
    next_block BIGINT NOT NULL,
    next_log   BIGINT NOT NULL
);
INSERT INTO key_sale_origins (name, next_block, next_log)
    SELECT name, next_block, next_log FROM chain_cursors WHERE name LIKE 'key_sale:%';
ALTER TABLE chain_cursors RENAME COLUMN next_log TO next_log_index;

-- The wallet that paid for a key which was bought from the contract: a key is its owner's only if the owner bought it.
-- NULL of a bought key: not looked up on the chain yet, and until then it opens nothing.
ALTER TABLE api_keys ADD COLUMN buyer TEXT;

-- Money that came for somebody who does not have the credit, for the operator: the ledger refused it, or the payee's
-- receive policy holds it back.
ALTER TABLE uncredited_sales RENAME TO uncredited_payments;

-- Why a payment failed: NULL when the chain undid it, 'held_back' by the recipient's receive policy.
ALTER TABLE payments ADD COLUMN failure TEXT CHECK (failure IN ('held_back'));
