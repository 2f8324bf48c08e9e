-- What a payment buys beyond its answer, as JSON: credit, and an API key. NULL: the answer is all, and
-- its price is spent on it.
ALTER TABLE payments ADD COLUMN goods TEXT;
