-- Expand: an older instance leaves the column as it is, and looks at payments in its own order.
-- When a payment whose outcome is open was last looked at: those that were not for longest come first.
ALTER TABLE payments ADD COLUMN checked_at BIGINT NOT NULL DEFAULT 0;
