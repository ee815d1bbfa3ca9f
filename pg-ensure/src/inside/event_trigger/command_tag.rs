//! Tags of commands for which event triggers can be called (`cmdtaglist.h`).

use super::DatabaseEvent;
use crate::version::Version;

/// Kinds of objects with the tags `CREATE …`, `ALTER …` and `DROP …`.
const KINDS: [&str; 37] = [
    "ACCESS METHOD",
    "AGGREGATE",
    "CAST",
    "COLLATION",
    "CONSTRAINT",
    "CONVERSION",
    "DOMAIN",
    "EXTENSION",
    "FOREIGN DATA WRAPPER",
    "FOREIGN TABLE",
    "FUNCTION",
    "INDEX",
    "LANGUAGE",
    "MATERIALIZED VIEW",
    "OPERATOR",
    "OPERATOR CLASS",
    "OPERATOR FAMILY",
    "POLICY",
    "PROCEDURE",
    "PUBLICATION",
    "ROUTINE",
    "RULE",
    "SCHEMA",
    "SEQUENCE",
    "SERVER",
    "STATISTICS",
    "SUBSCRIPTION",
    "TABLE",
    "TEXT SEARCH CONFIGURATION",
    "TEXT SEARCH DICTIONARY",
    "TEXT SEARCH PARSER",
    "TEXT SEARCH TEMPLATE",
    "TRANSFORM",
    "TRIGGER",
    "TYPE",
    "USER MAPPING",
    "VIEW",
];

/// Tags of other commands.
const OTHERS: [&str; 11] = [
    "ALTER DEFAULT PRIVILEGES",
    "ALTER LARGE OBJECT",
    "COMMENT",
    "CREATE TABLE AS",
    "DROP OWNED",
    "GRANT",
    "IMPORT FOREIGN SCHEMA",
    "REFRESH MATERIALIZED VIEW",
    "REVOKE",
    "SECURITY LABEL",
    "SELECT INTO",
];

/// Returns `true` if a server of this version takes a tag for event triggers at an event. Always `true` for versions
/// after 19, whose commands are not known.
pub(super) fn is_taken(tag: &str, event: DatabaseEvent, version: Version) -> bool {
    let major = version.major();
    if major > 19 {
        return true;
    }
    match event {
        DatabaseEvent::TableRewrite => {
            matches!(tag, "ALTER TABLE" | "ALTER TYPE") || tag == "ALTER MATERIALIZED VIEW" && major >= 15
        }
        DatabaseEvent::Login => false,
        DatabaseEvent::DdlCommandStart | DatabaseEvent::DdlCommandEnd | DatabaseEvent::SqlDrop => {
            let kind = ["CREATE ", "ALTER ", "DROP "].iter().find_map(|verb| tag.strip_prefix(verb));
            match tag {
                "LOGIN" | "REINDEX" => major >= 17,
                _ => OTHERS.contains(&tag) || kind.is_some_and(|kind| KINDS.contains(&kind)),
            }
        }
    }
}
