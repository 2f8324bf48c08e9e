-- Expand: an older instance knows refunds by their sum alone, and takes a failed one for made.
-- Refunds of card payments, each by its own id: one that fails later is given back.
CREATE TABLE card_refunds (
    refund  TEXT   NOT NULL PRIMARY KEY, -- the processor's id
    payment TEXT   NOT NULL,             -- the payment intent
    amount  BIGINT NOT NULL CHECK (amount >= 0),
    failed  BIGINT NOT NULL CHECK (failed IN (0, 1)) -- for good
);
CREATE INDEX card_refunds_payment ON card_refunds (payment);
