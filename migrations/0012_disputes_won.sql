-- A dispute that is won: what was taken back for it is given again.
ALTER TABLE card_payments ADD COLUMN won BIGINT NOT NULL DEFAULT 0 CHECK (won >= 0); -- of `disputed`
ALTER TABLE card_payments ADD COLUMN returned BIGINT NOT NULL DEFAULT 0 CHECK (returned >= 0); -- of the credit, taken and given again; `taken` is without it
