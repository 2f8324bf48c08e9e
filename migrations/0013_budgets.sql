-- Limits within an account, such as those of an API key. A tab knows the budget that it was opened within; what it was
-- charged is counted when it closes, whoever closes it.
ALTER TABLE holds ADD COLUMN budget TEXT; -- the public id of a key
ALTER TABLE holds ADD COLUMN day TEXT;    -- of the request, UTC: 2026-01-31
UPDATE holds
   SET budget = (SELECT key FROM key_tabs WHERE hold = holds.id),
       day = (SELECT key_tabs.day FROM key_tabs WHERE hold = holds.id)
 WHERE state = 'open' AND id IN (SELECT hold FROM key_tabs);
CREATE INDEX holds_open_by_budget ON holds (budget) WHERE state = 'open';

-- What was spent within a budget on a UTC day, and (day = '') ever.
CREATE TABLE budgets (
    name  TEXT   NOT NULL,
    day   TEXT   NOT NULL,
    spent BIGINT NOT NULL CHECK (spent BETWEEN 0 AND 9000000000000000000),
    PRIMARY KEY (name, day)
);
INSERT INTO budgets (name, day, spent)
SELECT key, day, CAST(SUM(spent) AS BIGINT) FROM (
    SELECT key, day, spent FROM key_spend
    UNION ALL
    SELECT key, key_tabs.day, charged FROM key_tabs JOIN holds ON holds.id = key_tabs.hold WHERE holds.state = 'closed'
    UNION ALL
    SELECT key, '', charged FROM key_tabs JOIN holds ON holds.id = key_tabs.hold WHERE holds.state = 'closed'
) AS counted GROUP BY key, day;
DROP TABLE key_tabs;
DROP TABLE key_spend;
