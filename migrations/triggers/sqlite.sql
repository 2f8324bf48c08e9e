-- Credits and entries are final: corrections are new records. Renewed after every migration.
CREATE TRIGGER IF NOT EXISTS entries_never_change BEFORE UPDATE ON entries
BEGIN SELECT RAISE(ABORT, 'entries are final'); END;
CREATE TRIGGER IF NOT EXISTS entries_never_vanish BEFORE DELETE ON entries
BEGIN SELECT RAISE(ABORT, 'entries are final'); END;
CREATE TRIGGER IF NOT EXISTS credits_never_change BEFORE UPDATE ON credits
BEGIN SELECT RAISE(ABORT, 'credits are final'); END;
CREATE TRIGGER IF NOT EXISTS credits_never_vanish BEFORE DELETE ON credits
BEGIN SELECT RAISE(ABORT, 'credits are final'); END;
