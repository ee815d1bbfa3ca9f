//! The queries of a snapshot: one for the cluster, and one for each database whose contents are read.

use crate::inside::snapshot::QUERIES;
use crate::version::Version;

/// The first query, on whose result the others depend: version number, recovery, and the privilege to read stored
/// passwords.
pub(super) const PREFLIGHT: &str = "SELECT pg_catalog.current_setting('server_version_num')::pg_catalog.int4, \
     pg_catalog.pg_is_in_recovery(), pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT')";

/// Begins a read-only transaction with one snapshot and without a search path. JIT compilation is disabled, since it
/// would take longer than the queries, which run once.
pub(super) const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path TO pg_catalog; \
     SET LOCAL jit TO off";

/// Returns the query for the cluster, whose result is one JSON value. Its parameters: the roles whose passwords are
/// compared (text[]), the roles to be dropped (text[]), and a flag that includes available extensions (bool).
pub(super) fn cluster(version: Version, reads_passwords: bool) -> String {
    let (roles, password) = if reads_passwords {
        ("pg_authid", "CASE WHEN r.rolname = ANY ($1) THEN r.rolpassword END")
    } else {
        ("pg_roles", "CASE WHEN r.rolname = ANY ($1) THEN NULL::text END")
    };
    let memberships = if version.membership_options() {
        "m.admin_option, m.inherit_option, m.set_option"
    } else {
        "m.admin_option, true, true"
    };
    let grantor = if version.membership_options() { "m.grantor" } else { "10" };
    let locale = match version.major() {
        17.. => "d.datlocale, d.daticurules",
        16 => "d.daticulocale, d.daticurules",
        15 => "d.daticulocale, NULL",
        _ => "NULL, NULL",
    };
    let provider = if version.database_providers() { "d.datlocprovider::text" } else { "'c'" };
    let collation = if version.database_providers() {
        "d.datcollversion, CASE WHEN d.datcollversion IS NOT NULL THEN pg_database_collation_actual_version(d.oid) END"
    } else {
        "NULL, NULL"
    };
    let (parameters, may_set) = if version.parameter_grants() {
        (
            "(SELECT coalesce(json_agg(json_build_array(parname, paracl::text[])), '[]') FROM pg_parameter_acl)",
            "AND NOT has_parameter_privilege(s.name, 'SET')",
        )
    } else {
        ("'[]'::json", "")
    };
    // A membership that a role holds or that is in the role is dropped with the role; one that the role granted to
    // others is not.
    let membership_itself = if version.membership_options() {
        "AND NOT (s.classid = 'pg_auth_members'::regclass AND EXISTS (SELECT FROM pg_auth_members m \
         WHERE m.oid = s.objid AND s.refobjid IN (m.roleid, m.member)))"
    } else {
        ""
    };
    format!(
        "SELECT json_build_object(
'session', json_build_array(current_user, (SELECT rolname FROM pg_roles WHERE oid = 10), current_database(),
    current_setting('createrole_self_grant', true), current_setting('scram_iterations', true)),
'roles', (SELECT json_agg(json_build_array(r.rolname, r.rolsuper, r.rolcreatedb, r.rolcreaterole, r.rolinherit,
    r.rolcanlogin, r.rolreplication, r.rolbypassrls, r.rolconnlimit,
    CASE WHEN r.rolvaliduntil = 'infinity' THEN 'infinity' WHEN r.rolvaliduntil = '-infinity' THEN '-infinity'
        ELSE (extract(epoch FROM r.rolvaliduntil) * 1000000)::int8::text END,
    {password}, c.description))
    FROM {roles} r LEFT JOIN pg_shdescription c ON c.objoid = r.oid AND c.classoid = 'pg_authid'::regclass),
'memberships', (SELECT coalesce(json_agg(json_build_array(a.rolname, b.rolname, g.rolname, {memberships})), '[]')
    FROM pg_auth_members m JOIN pg_roles a ON a.oid = m.roleid JOIN pg_roles b ON b.oid = m.member
    JOIN pg_roles g ON g.oid = {grantor}),
'databases', (SELECT json_agg(json_build_array(d.datname, o.rolname, d.datacl::text[],
    pg_encoding_to_char(d.encoding), {provider}, d.datcollate, d.datctype, {locale}, t.spcname, d.datconnlimit,
    d.datallowconn, d.datistemplate, c.description, {collation}))
    FROM pg_database d JOIN pg_roles o ON o.oid = d.datdba JOIN pg_tablespace t ON t.oid = d.dattablespace
    LEFT JOIN pg_shdescription c ON c.objoid = d.oid AND c.classoid = 'pg_database'::regclass),
'tablespaces', (SELECT json_agg(json_build_array(t.spcname, o.rolname, t.spcacl::text[]))
    FROM pg_tablespace t JOIN pg_roles o ON o.oid = t.spcowner),
'parameters', {parameters},
'subscriptions', (SELECT coalesce(json_agg(json_build_array(d.datname, s.subname, r.rolname)), '[]')
    FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid JOIN pg_roles r ON r.oid = s.subowner),
'settings', (SELECT coalesce(json_agg(json_build_array(r.rolname, d.datname, s.setconfig)), '[]')
    FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole LEFT JOIN pg_database d ON d.oid = s.setdatabase
    WHERE (s.setrole = 0 OR r.oid IS NOT NULL) AND (s.setdatabase = 0 OR d.oid IS NOT NULL)),
'privileged', CASE WHEN (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN '[]'::json
    ELSE (SELECT coalesce(json_agg(s.name), '[]') FROM pg_settings s
        WHERE s.context IN ('superuser', 'superuser-backend') {may_set}) END,
'dependencies', (SELECT coalesce(json_agg(DISTINCT jsonb_build_array(r.rolname, s.dbid <> 0, d.datname)), '[]')
    FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid LEFT JOIN pg_database d ON d.oid = CASE WHEN s.dbid <> 0
        THEN s.dbid WHEN s.classid = 'pg_database'::regclass THEN s.objid END
    WHERE s.refclassid = 'pg_authid'::regclass AND r.rolname = ANY ($2) {membership_itself}),
'available', CASE WHEN $3 THEN (SELECT coalesce(json_agg(json_build_array(v.name, v.version, v.trusted, v.schema,
    e.default_version)), '[]') FROM pg_available_extension_versions v JOIN pg_available_extensions e USING (name))
    ELSE '[]'::json END
)::text"
    )
}

/// Returns the query for the contents of a database, whose result is one JSON value. Its parameters: schemas and names
/// of the tables whose columns are read (two text[] of equal length), and the large objects (oid[]).
pub(super) fn contents() -> String {
    let declared: Vec<String> = QUERIES
        .iter()
        .map(|(key, query)| format!("'{key}', (SELECT coalesce(json_agg(entry), '[]') FROM ({query}) named)"))
        .collect();
    format!(
        "WITH spaces AS (SELECT oid, nspname FROM pg_namespace
        WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'),
    objects AS (
        SELECT CASE WHEN c.relkind = 'S' THEN 'sequence' ELSE 'table' END AS kind, n.nspname AS space,
            c.relname::text AS name, NULL::text AS extra, c.relowner AS owner, c.relacl AS acl
        FROM pg_class c JOIN spaces n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'v', 'm', 'f', 'p', 'S')
        UNION ALL
        SELECT 'column', n.nspname, c.relname::text, a.attname::text, c.relowner, a.attacl
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN spaces n ON n.oid = c.relnamespace
        WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'v', 'm', 'f', 'p') AND (a.attacl IS NOT NULL
            OR (n.nspname::text, c.relname::text) IN (SELECT * FROM unnest($1::text[], $2::text[])))
        UNION ALL
        SELECT 'routine', n.nspname, p.proname::text, oidvectortypes(p.proargtypes), p.proowner, p.proacl
        FROM pg_proc p JOIN spaces n ON n.oid = p.pronamespace
        UNION ALL
        SELECT 'type', n.nspname, t.typname::text, NULL, t.typowner, t.typacl
        FROM pg_type t JOIN spaces n ON n.oid = t.typnamespace LEFT JOIN pg_class c ON c.oid = t.typrelid
        WHERE t.typtype IN ('b', 'd', 'e', 'r', 'c') AND (t.typrelid = 0 OR c.relkind = 'c')
            AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid)
        UNION ALL
        SELECT 'language', NULL, l.lanname::text, NULL, l.lanowner, l.lanacl FROM pg_language l
        UNION ALL
        SELECT 'wrapper', NULL, f.fdwname::text, NULL, f.fdwowner, f.fdwacl FROM pg_foreign_data_wrapper f
        UNION ALL
        SELECT 'server', NULL, s.srvname::text, NULL, s.srvowner, s.srvacl FROM pg_foreign_server s
        UNION ALL
        SELECT 'large', NULL, l.oid::text, NULL, l.lomowner, l.lomacl FROM pg_largeobject_metadata l
        WHERE l.lomacl IS NOT NULL OR l.oid = ANY ($3::oid[])),
    others AS (
        SELECT p.oprowner AS owner, n.nspname AS space FROM pg_operator p JOIN spaces n ON n.oid = p.oprnamespace
        UNION SELECT c.opcowner, n.nspname FROM pg_opclass c JOIN spaces n ON n.oid = c.opcnamespace
        UNION SELECT f.opfowner, n.nspname FROM pg_opfamily f JOIN spaces n ON n.oid = f.opfnamespace
        UNION SELECT c.collowner, n.nspname FROM pg_collation c JOIN spaces n ON n.oid = c.collnamespace
        UNION SELECT c.conowner, n.nspname FROM pg_conversion c JOIN spaces n ON n.oid = c.connamespace
        UNION SELECT c.cfgowner, n.nspname FROM pg_ts_config c JOIN spaces n ON n.oid = c.cfgnamespace
        UNION SELECT d.dictowner, n.nspname FROM pg_ts_dict d JOIN spaces n ON n.oid = d.dictnamespace
        UNION SELECT s.stxowner, n.nspname FROM pg_statistic_ext s JOIN spaces n ON n.oid = s.stxnamespace
        UNION SELECT l.lomowner, NULL FROM pg_largeobject_metadata l
        WHERE (l.lomacl IS NOT NULL OR l.oid = ANY ($3::oid[])) IS NOT TRUE)
    SELECT json_build_object(
    'declared', json_build_object({}),
    'objects', (SELECT coalesce(json_agg(json_build_array(x.kind, x.space, x.name, x.extra, o.rolname, x.acl::text[])),
        '[]') FROM objects x JOIN pg_roles o ON o.oid = x.owner),
    'others', (SELECT coalesce(json_agg(json_build_array(o.rolname, x.space)), '[]')
        FROM others x JOIN pg_roles o ON o.oid = x.owner),
    'defaults', (SELECT coalesce(json_agg(json_build_array(o.rolname, n.nspname, a.defaclobjtype::text,
        a.defaclacl::text[])), '[]') FROM pg_default_acl a JOIN pg_roles o ON o.oid = a.defaclrole
        LEFT JOIN pg_namespace n ON n.oid = a.defaclnamespace)
    )::text",
        declared.join(", ")
    )
}
