-- Expand: an older instance leaves the column empty, and drops its own claims after a day as it always did.
-- The transaction that a push names, as its payer has it: what was paid by it is credited also when nobody comes back.
ALTER TABLE payments ADD COLUMN pushed TEXT;
