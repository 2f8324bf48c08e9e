-- Credits and entries are final: corrections are new records. Renewed after every migration.
CREATE OR REPLACE FUNCTION refuse_to_change_records() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% are final', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE OR REPLACE TRIGGER entries_never_change BEFORE UPDATE OR DELETE OR TRUNCATE ON entries
    EXECUTE FUNCTION refuse_to_change_records();
CREATE OR REPLACE TRIGGER credits_never_change BEFORE UPDATE OR DELETE OR TRUNCATE ON credits
    EXECUTE FUNCTION refuse_to_change_records();
