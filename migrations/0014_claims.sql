-- What an account spent and holds, divided so that a charge within what its tab has set aside changes the tab alone.
-- Renamed first: on PostgreSQL that keeps everybody else out until all is done.
ALTER TABLE accounts RENAME COLUMN spent TO posted; -- entries
-- `held` is what open tabs may come to: for each, what it reserved, or what it was charged when that is more.
UPDATE accounts
   SET posted = posted - (SELECT CAST(SUM(charged) AS BIGINT) FROM holds WHERE account = accounts.id AND state = 'open'),
       held = held + (SELECT CAST(SUM(charged) AS BIGINT) FROM holds WHERE account = accounts.id AND state = 'open')
 WHERE id IN (SELECT account FROM holds WHERE state = 'open');

-- Accounts, with what their open tabs were charged. What an owner has spent is `posted + charged`.
CREATE VIEW balances AS
SELECT id, credited, posted, held,
       COALESCE((SELECT CAST(SUM(charged) AS BIGINT) FROM holds WHERE account = accounts.id AND state = 'open'), 0)
           AS charged
  FROM accounts;
