//! SQL queries. Each works on every version from 13 on: columns of later versions are read through `to_jsonb`, which
//! gives null if they do not exist.

/// Query for facts about the whole cluster as one JSON object. Can be executed in any database.
pub(super) const CATALOG: &str = "\
SET search_path = pg_catalog;
SELECT json_build_object(
 'superuser', (SELECT rolname FROM pg_authid WHERE oid = 10),
 'databases', (SELECT json_agg(json_build_object('name', datname, 'encoding', pg_encoding_to_char(encoding),
     'provider', coalesce(to_jsonb(d)->>'datlocprovider', 'c'), 'collate', datcollate, 'ctype', datctype,
     'locale', coalesce(to_jsonb(d)->>'datlocale', to_jsonb(d)->>'daticulocale'),
     'collation_recorded', to_jsonb(d)->>'datcollversion', 'collation_actual', NULL::text,
     'connectable', datallowconn, 'invalid', datconnlimit = -2) ORDER BY datname) FROM pg_database d),
 'extensions', '[]'::json,
 'logical_slots', (SELECT coalesce(json_agg(slot_name ORDER BY slot_name), '[]') FROM pg_replication_slots s
     WHERE slot_type = 'logical' AND NOT temporary),
 'invalid_slots', (SELECT coalesce(json_agg(slot_name ORDER BY slot_name), '[]') FROM pg_replication_slots s
     WHERE slot_type = 'logical' AND NOT temporary
     AND (to_jsonb(s)->>'wal_status' = 'lost' OR to_jsonb(s)->>'invalidation_reason' IS NOT NULL)),
 'physical_slots', (SELECT coalesce(json_agg(slot_name ORDER BY slot_name), '[]') FROM pg_replication_slots
     WHERE slot_type = 'physical' AND NOT temporary),
 'prepared', (SELECT coalesce(json_agg(gid ORDER BY gid), '[]') FROM pg_prepared_xacts),
 'sessions', (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()),
 'longest', (SELECT coalesce(max(extract(epoch FROM now() - xact_start)), 0)::bigint FROM pg_stat_activity
     WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()),
 'wal_level', current_setting('wal_level'), 'wal_senders', current_setting('max_wal_senders')::int,
 'preload', current_setting('shared_preload_libraries'), 'locks', current_setting('max_locks_per_transaction')::int,
 'toast_compression', coalesce(current_setting('default_toast_compression', true), 'pglz'),
 'lz4', coalesce(current_setting('default_toast_compression', true), '') = 'lz4',
 'ssl', current_setting('ssl')::bool,
 'config_file', current_setting('config_file'), 'hba_file', current_setting('hba_file'),
 'settings', (SELECT coalesce(json_agg(json_build_object('holder', concat_ws(' in ', CASE WHEN setrole <> 0 THEN 'role ' ||
     quote_ident(pg_get_userbyid(setrole)) END, CASE WHEN setdatabase <> 0 THEN 'database ' || quote_ident(datname) END),
     'name', lower(split_part(one, '=', 1)), 'value', substr(one, strpos(one, '=') + 1),
     'reset', format('ALTER %s RESET %s', CASE WHEN setrole = 0 AND setdatabase = 0 THEN 'ROLE ALL'
       WHEN setrole = 0 THEN format('DATABASE %I', datname) WHEN setdatabase = 0 THEN format('ROLE %I', pg_get_userbyid(setrole))
       ELSE format('ROLE %I IN DATABASE %I', pg_get_userbyid(setrole), datname) END, split_part(one, '=', 1)))), '[]')
     FROM pg_db_role_setting LEFT JOIN pg_database ON pg_database.oid = setdatabase, unnest(setconfig) one),
 'libraries', (SELECT coalesce(json_agg(DISTINCT trim(both E' \\x22' FROM one)), '[]') FROM
     unnest(string_to_array(current_setting('shared_preload_libraries') || ',' || current_setting('session_preload_libraries')
       || ',' || current_setting('local_preload_libraries'), ',')) one WHERE trim(both E' \\x22' FROM one) <> ''),
 'broken_names', (SELECT coalesce(json_agg(name), '[]') FROM (SELECT quote_ident(datname) AS name FROM pg_database
     UNION SELECT quote_ident(rolname) FROM pg_authid UNION SELECT quote_ident(spcname) FROM pg_tablespace) names
     WHERE name ~ E'[\\n\\r]'),
 'md5_roles', (SELECT coalesce(json_agg(rolname ORDER BY rolname), '[]') FROM pg_authid WHERE rolpassword ~ '^md5[0-9a-f]{32}$'),
 'standbys', (SELECT coalesce(json_agg(application_name ORDER BY application_name), '[]') FROM pg_stat_replication
     WHERE state <> 'backup' AND pid NOT IN (SELECT active_pid FROM pg_replication_slots WHERE slot_type = 'logical'
       AND active_pid IS NOT NULL)),
 'synchronous_standby_names', coalesce(nullif(current_setting('synchronous_standby_names'), ''), (SELECT setting
     FROM pg_file_settings WHERE name = 'synchronous_standby_names' ORDER BY seqno DESC LIMIT 1), ''),
 'template1_unmarked', EXISTS (SELECT FROM pg_database WHERE datname = 'template1' AND NOT datistemplate),
 'client_encoding_is_set', EXISTS (SELECT FROM pg_file_settings WHERE name = 'client_encoding')
     OR EXISTS (SELECT FROM pg_db_role_setting, unnest(setconfig) one WHERE lower(one) LIKE 'client_encoding=%'),
 'ident_file', current_setting('ident_file'), 'options', '[]'::json, 'column_options', '[]'::json, 'unlogged', '[]'::json);
";

/// Query for the actual collation version of each database (from version 15).
pub(super) const ACTUAL: &str = "\
SELECT datname, pg_catalog.pg_database_collation_actual_version(oid) FROM pg_catalog.pg_database;
";

/// Query for the parameters on which privileges are granted, with the statement that revokes them, as JSON (from
/// version 15). The privileges of the bootstrap superuser, who owns all parameters, are the default and are not dumped.
pub(super) const PARAMETER_GRANTS: &str = "\
SET search_path = pg_catalog;
SELECT coalesce(json_agg(json_build_array(parname, format('REVOKE ALL ON PARAMETER %s FROM %s CASCADE',
    (SELECT string_agg(quote_ident(part), '.' ORDER BY place) FROM unnest(string_to_array(parname, '.')) WITH ORDINALITY parts (part, place)),
    holders)) ORDER BY parname), '[]') FROM pg_parameter_acl, LATERAL (SELECT string_agg(DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC'
      ELSE quote_ident(pg_get_userbyid(grantee)) END, ', ') AS holders FROM aclexplode(paracl) WHERE grantee <> 10) held
  WHERE holders IS NOT NULL;
";

/// Queries for a database's extensions, use of lz4, column options, unlogged tables, collations, libraries, and objects
/// that an upgrade rejects. The first column is a letter for the kind of row.
pub(super) const EXTENSIONS: &str = "\
SELECT 'e', extname FROM pg_catalog.pg_extension ORDER BY 2;
SELECT 'z', 'lz4' FROM pg_catalog.pg_attribute a WHERE pg_catalog.to_jsonb(a)->>'attcompression' = 'l' LIMIT 1;
SELECT DISTINCT 'o', split_part(one, '=', 1) FROM pg_catalog.pg_attribute, unnest(attoptions) one WHERE attrelid >= 16384;
SELECT 'u', '' FROM pg_catalog.pg_class WHERE relpersistence = 'u' AND relkind = 'r' LIMIT 1;
SELECT 'c', collprovider FROM pg_catalog.pg_collation WHERE collprovider IN ('i', 'b') AND oid IN (
    SELECT attcollation FROM pg_catalog.pg_attribute WHERE attrelid >= 16384 AND NOT attisdropped
    UNION SELECT typcollation FROM pg_catalog.pg_type WHERE oid >= 16384
    UNION SELECT unnest(indcollation) FROM pg_catalog.pg_index WHERE indexrelid >= 16384
    UNION SELECT refobjid FROM pg_catalog.pg_depend WHERE refclassid = 'pg_catalog.pg_collation'::regclass
      AND classid <> 'pg_catalog.pg_collation'::regclass AND objid >= 16384) GROUP BY collprovider;
SELECT DISTINCT 'l', regexp_replace(probin, '^\\$libdir/', '') FROM pg_catalog.pg_proc
  WHERE probin IS NOT NULL AND oid >= 16384 AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
    WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = pg_proc.oid AND d.deptype = 'e');
SELECT 's', subname FROM pg_catalog.pg_subscription JOIN pg_catalog.pg_subscription_rel ON srsubid = pg_subscription.oid
  WHERE subdbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
  AND srsubstate NOT IN ('i', 'r') GROUP BY subname;
SELECT DISTINCT 'n', format('%s.%I', c.attrelid::regclass, c.attname) FROM pg_catalog.pg_inherits
  JOIN pg_catalog.pg_attribute c ON c.attrelid = inhrelid JOIN pg_catalog.pg_attribute p ON p.attrelid = inhparent
  WHERE c.attname = p.attname AND p.attnum > 0 AND NOT c.attisdropped AND p.attnotnull AND NOT c.attnotnull ORDER BY 2;
SELECT 'r', format('conversion %I', conname) FROM pg_catalog.pg_conversion WHERE oid >= 16384
UNION ALL SELECT 'r', 'operator ' || oid::regoperator FROM pg_catalog.pg_operator WHERE oid >= 16384 AND oprright = 0;
SELECT 'g', indexrelid::regclass FROM pg_catalog.pg_index JOIN pg_catalog.pg_opclass c ON c.oid = ANY (indclass)
  WHERE opcname IN ('gist_inet_ops', 'gist_cidr_ops');
SELECT 'i', indexrelid::regclass FROM pg_catalog.pg_index JOIN pg_catalog.pg_class t ON t.oid = indrelid
  WHERE NOT (indisready AND (indisvalid OR t.relkind = 'p')) AND t.relpersistence <> 't';
SELECT DISTINCT 't', format('%I.%I', nspname, relname) FROM pg_catalog.pg_index JOIN pg_catalog.pg_opclass o ON o.oid = ANY (indclass)
  JOIN pg_catalog.pg_class c ON c.oid = indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
  JOIN pg_catalog.pg_database d ON datname = pg_catalog.current_database()
  WHERE coalesce(pg_catalog.to_jsonb(d)->>'datlocprovider', 'c') <> 'c' AND (opcname = 'tsvector_ops' OR opcname LIKE 'g%trgm_ops')
  AND relkind = 'i' ORDER BY 2;
SELECT 'k', format('%s: %I', conrelid::regclass, conname) FROM pg_catalog.pg_constraint JOIN pg_catalog.pg_class c ON c.oid = conrelid
  JOIN pg_catalog.pg_attribute a ON a.attrelid = conrelid AND attnum > 0 AND NOT attisdropped AND attnotnull
  WHERE relkind IN ('r', 'p') AND contype <> 'n' AND NOT (contype = 'c' AND convalidated)
  AND conname = format('%s_%s_not_null', relname, attname) ORDER BY 2;
";

/// Query for the settings of a database's functions, as JSON.
pub(super) const FUNCTION_SETTINGS: &str = "\
SET search_path = pg_catalog;
SELECT coalesce(json_agg(json_build_object('holder', format('function %s in database %I', p.oid::regprocedure, current_database()),
    'name', lower(split_part(one, '=', 1)), 'value', substr(one, strpos(one, '=') + 1),
    'reset', format('in database %I: ALTER ROUTINE %s RESET %s', current_database(), p.oid::regprocedure, split_part(one, '=', 1)))),
    '[]') FROM pg_proc p, unnest(proconfig) one WHERE p.oid >= 16384;
";

/// Query for columns whose types refer to the catalog by OID or are rows of system tables, directly or inside domains,
/// arrays, composite types and ranges: the types that `pg_upgrade` checks too.
pub(super) const COLUMN_TYPES: &str = "\
SET search_path = pg_catalog;
WITH RECURSIVE found (oid, base) AS (
  SELECT oid, typname::text FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace AND typname IN ('regcollation',
    'regconfig', 'regdictionary', 'regnamespace', 'regoper', 'regoperator', 'regproc', 'regprocedure', 'aclitem')
    OR typtype = 'c' AND (oid < 16384 OR typnamespace = 'information_schema'::regnamespace)
  UNION
  SELECT t.oid, f.base FROM found f, pg_type t LEFT JOIN pg_range r ON r.rngtypid = t.oid
    WHERE (t.typtype = 'd' AND t.typbasetype = f.oid) OR (t.typtype = 'b' AND t.typelem = f.oid AND t.typlen = -1)
    OR r.rngsubtype = f.oid OR (t.typtype = 'c' AND EXISTS (SELECT FROM pg_attribute a
      WHERE a.attrelid = t.typrelid AND NOT a.attisdropped AND a.atttypid = f.oid)))
SELECT format('%s.%I %s', a.attrelid::regclass, attname, base) FROM pg_attribute a JOIN found ON found.oid = atttypid
  JOIN pg_class c ON c.oid = attrelid JOIN pg_namespace n ON n.oid = relnamespace
  WHERE relkind IN ('r', 'm', 'i') AND NOT attisdropped AND nspname NOT IN ('pg_catalog', 'information_schema')
  AND nspname !~ '^pg_(toast|temp_)' ORDER BY 1;
";

/// Query for logical slots without a consumer: name, database, and true if WAL was written since the slot was last
/// read.
pub(super) const IDLE_SLOTS: &str = "\
SELECT slot_name, database, confirmed_flush_lsn < pg_catalog.pg_current_wal_insert_lsn() FROM pg_catalog.pg_replication_slots s
  WHERE slot_type = 'logical' AND NOT temporary AND NOT active AND confirmed_flush_lsn IS NOT NULL
  AND coalesce(pg_catalog.to_jsonb(s)->>'wal_status', '') <> 'lost'
  AND pg_catalog.to_jsonb(s)->>'invalidation_reason' IS NULL;
";

/// Inventory query for the whole cluster: databases, roles, memberships, tablespaces, and settings of roles and
/// databases. Each row has a name and a fact. Left out is what `pg_upgrade` does not transfer: owner, limits and settings
/// of `template0`, and owners of the predefined tablespaces.
pub(super) const INVENTORY_CLUSTER: &str = "\
SET search_path = pg_catalog; SET extra_float_digits = 0; SET default_transaction_read_only = on;
SELECT 'database/' || datname, format('encoding=%s provider=%s collate=%s ctype=%s locale=%s', pg_encoding_to_char(encoding),
    coalesce(to_jsonb(d)->>'datlocprovider', 'c'), datcollate, datctype, coalesce(to_jsonb(d)->>'datlocale', to_jsonb(d)->>'daticulocale'))
    || CASE WHEN datname <> 'template0' THEN format(' owner=%s limit=%s connect=%s template=%s', pg_get_userbyid(datdba),
      datconnlimit, datallowconn, datistemplate) ELSE '' END FROM pg_database d;
SELECT 'role/' || rolname, format('super=%s inherit=%s createrole=%s createdb=%s login=%s replication=%s bypassrls=%s limit=%s until=%s password=%s',
    rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls, rolconnlimit,
    rolvaliduntil, rolpassword IS NOT NULL) FROM pg_authid WHERE rolname !~ '^pg_';
SELECT 'member/' || pg_get_userbyid(roleid) || '/' || pg_get_userbyid(member), format('admin=%s', bool_or(admin_option))
  FROM pg_auth_members GROUP BY roleid, member;
SELECT 'tablespace/' || spcname, format('owner=%s location=%s', pg_get_userbyid(spcowner), pg_tablespace_location(oid))
  FROM pg_tablespace WHERE spcname !~ '^pg_';
SELECT 'setting/' || coalesce(datname, '*') || '/' || CASE setrole WHEN 0 THEN '*' ELSE pg_get_userbyid(setrole) END
    || '/' || lower(split_part(one, '=', 1)), substr(one, strpos(one, '=') + 1)
  FROM pg_db_role_setting LEFT JOIN pg_database ON pg_database.oid = setdatabase, unnest(setconfig) one
  WHERE datname IS DISTINCT FROM 'template0';
";

/// Inventory query for one database. Rows are counted in tables of up to 64 pages and in a sample of those of up to
/// 2000 pages, at most 100 in total, chosen by the hash of their names, so that both clusters have the same sample. Of
/// all tables the size is compared. Nothing is written, since consumers of logical slots could not follow.
///
/// All names are quoted by the server, since versions differ in their keywords. Left out is what `pg_dump` leaves out, or
/// names anew: invalid indexes, and constraints and triggers of partitions that belong to those of the partitioned table.
pub(super) const INVENTORY_DATABASE: &str = "\
SET search_path = pg_catalog; SET default_transaction_read_only = on; SET quote_all_identifiers = on;
\\set own '(SELECT oid FROM pg_namespace WHERE nspname NOT IN (''pg_catalog'', ''information_schema'') AND nspname !~ ''^pg_(toast|temp)'')'
SELECT 'schema/' || nspname, 'owner=' || pg_get_userbyid(nspowner) FROM pg_namespace WHERE oid IN :own;
SELECT 'extension/' || extname, format('version=%s schema=%s owner=%s', extversion, extnamespace::regnamespace,
    pg_get_userbyid(extowner)) FROM pg_extension;
SELECT CASE relkind WHEN 'i' THEN 'index' WHEN 'I' THEN 'index' WHEN 'S' THEN 'sequence' WHEN 'v' THEN 'view'
    WHEN 'm' THEN 'materialized view' WHEN 'c' THEN 'composite type' ELSE 'table' END || '/' || c.oid::regclass,
    format('owner=%s kind=%s columns=%s am=%s bytes=%s', pg_get_userbyid(relowner), relkind, relnatts,
      CASE WHEN relkind IN ('r', 'm') THEN (SELECT amname FROM pg_am WHERE pg_am.oid = relam) END,
      CASE WHEN relkind IN ('r', 'm', 'i', 'S') THEN pg_relation_size(c.oid) END)
  FROM pg_class c LEFT JOIN pg_index ON indexrelid = c.oid WHERE relnamespace IN :own AND (indexrelid IS NULL OR indisready
    AND (indisvalid OR EXISTS (SELECT FROM pg_class t WHERE t.oid = indrelid AND t.relkind = 'p')));
SELECT 'function/' || oid::regprocedure, 'owner=' || pg_get_userbyid(proowner) FROM pg_proc WHERE pronamespace IN :own;
SELECT 'type/' || oid::regtype, format('owner=%s kind=%s', pg_get_userbyid(typowner), typtype) FROM pg_type
  WHERE typtype IN ('d', 'e', 'r') AND typnamespace IN :own;
SELECT 'constraint/' || conrelid::regclass || '/' || conname, format('kind=%s validated=%s', contype, convalidated)
  FROM pg_constraint WHERE contype IN ('c', 'f', 'p', 'u', 'x') AND conrelid <> 0 AND conparentid = 0
    AND connamespace IN :own;
SELECT 'trigger/' || tgrelid::regclass || '/' || tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal AND tgparentid = 0;
SELECT 'publication/' || pubname, pg_get_userbyid(pubowner) FROM pg_publication;
SELECT 'subscription/' || subname, pg_get_userbyid(subowner) FROM pg_subscription
  WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database());
SELECT 'large object count/all', count(*) FROM pg_largeobject_metadata;
SELECT format('SELECT %L, last_value::text || %L || is_called::text FROM %s', 'sequence value/' || c.oid::regclass, ' called=', c.oid::regclass)
  FROM pg_class c WHERE relkind = 'S' AND relnamespace IN :own ORDER BY 1
\\gexec
SELECT format('SELECT %L, count(*) FROM ONLY %s', 'rows/' || name, name) FROM (
    SELECT c.oid::regclass::text AS name, pg_relation_size(c.oid) / current_setting('block_size')::int AS pages,
      row_number() OVER (ORDER BY pg_relation_size(c.oid) > 64 * current_setting('block_size')::int, md5(c.oid::regclass::text)) AS place
    FROM pg_class c WHERE relkind IN ('r', 'm') AND (relkind = 'r' OR relispopulated) AND relnamespace IN :own
      AND pg_relation_size(c.oid) <= 2000 * current_setting('block_size')::int) sample
  WHERE place <= 100 AND pages <= 2000 ORDER BY 1
\\gexec
";

/// Query for the collations whose recorded version differs from the current one: `d` for the database's own, `c` for
/// others.
pub(super) const RECOLLATED: &str = "\
SELECT 'd', datname FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()
  AND datcollversion <> pg_catalog.pg_database_collation_actual_version(oid);
SELECT 'c', pg_catalog.format('%I.%I', nspname, collname) FROM pg_catalog.pg_collation c
  JOIN pg_catalog.pg_namespace n ON n.oid = collnamespace
  WHERE collversion <> pg_catalog.pg_collation_actual_version(c.oid)
  AND (collnamespace <> 'pg_catalog'::regnamespace OR EXISTS (SELECT FROM pg_catalog.pg_index
    WHERE c.oid = ANY (indcollation)));
";

/// Query for statements that rebuild every index that a changed collation may affect: through the collations of its
/// columns, or through an expression or a predicate. `%CONCURRENTLY%` has to be replaced.
pub(super) const REINDEX: &str = "\
SELECT format('REINDEX INDEX%CONCURRENTLY% %s', indexrelid::pg_catalog.regclass)
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = indexrelid
WHERE c.relkind = 'i' AND c.relpersistence <> 't' AND c.relnamespace <> 'pg_catalog'::regnamespace
AND c.relnamespace <> 'pg_toast'::regnamespace
AND (indexprs IS NOT NULL OR indpred IS NOT NULL OR EXISTS (
  SELECT FROM pg_catalog.pg_collation co JOIN pg_catalog.pg_database d ON d.datname = pg_catalog.current_database()
  WHERE co.oid = ANY (indcollation) AND (
    (co.oid = 'pg_catalog.\"default\"'::regcollation AND d.datcollversion <> pg_catalog.pg_database_collation_actual_version(d.oid))
    OR co.collversion <> pg_catalog.pg_collation_actual_version(co.oid))))
ORDER BY pg_catalog.pg_relation_size(indexrelid)
";

/// Query for relations by their OIDs, which replace `%OIDS%`: kind and quoted name.
pub(super) const DEPENDENTS: &str = "\
SELECT relkind, pg_catalog.format('%I.%I', nspname, relname) FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace WHERE c.oid IN (%OIDS%) ORDER BY 2;
";

/// Query for tables that are partitioned by ranges or lists of text: with a new order, rows may belong to other
/// partitions.
pub(super) const TEXT_PARTITIONS: &str = "\
SELECT partrelid::regclass FROM pg_catalog.pg_partitioned_table WHERE partstrat IN ('r', 'l')
  AND EXISTS (SELECT FROM unnest(partcollation) one WHERE one <> 0);
";

/// Drops the indexes that an interrupted REINDEX CONCURRENTLY left behind.
pub(super) const HALF_BUILT: &str = "\
SELECT format('DROP INDEX IF EXISTS %s', indexrelid::pg_catalog.regclass) FROM pg_catalog.pg_index
  JOIN pg_catalog.pg_class ON pg_class.oid = indexrelid WHERE NOT indisvalid AND relname ~ '_ccnew[0-9]*$'
\\gexec
";

/// Records the current versions of changed collations, after their indexes were rebuilt.
pub(super) const REFRESH: &str = "\
SELECT format('ALTER DATABASE %I REFRESH COLLATION VERSION', datname) FROM pg_catalog.pg_database
  WHERE datname = pg_catalog.current_database()
  AND datcollversion <> pg_catalog.pg_database_collation_actual_version(oid)
UNION ALL
SELECT format('ALTER COLLATION %I.%I REFRESH VERSION', nspname, collname) FROM pg_catalog.pg_collation c
  JOIN pg_catalog.pg_namespace n ON n.oid = collnamespace
  WHERE collversion <> pg_catalog.pg_collation_actual_version(c.oid)
\\gexec
";

/// Query for extensions whose default version differs from the installed one: name, installed version, default version.
pub(super) const OUTDATED: &str = "\
SELECT name, installed_version, default_version FROM pg_catalog.pg_available_extensions
  WHERE installed_version <> default_version ORDER BY name;
";
