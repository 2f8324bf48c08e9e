-- Open tabs are few: one index finds them all. Each further one was another page to write for every tab that opens and
-- every one that closes.
DROP INDEX holds_open_by_expiry;
DROP INDEX holds_open_by_budget;
