//! The subcommand `ident`: checks a pg_ident.conf, and looks up a mapping.

use crate::files;
use cli_support::finding::Findings;
use cli_support::outcome::{Done, Failure, counted, ok};
use pg_hba::{Mapping, Server, StaticEnvironment, SystemUser, User, Version};
use serde_json::{Value, json};
use std::path::Path;

/// Mapping to be looked up: the map, the operating system user, the role, and roles of which that role is a member.
pub(crate) struct RequestedMapping<'a> {
    pub(crate) map: &'a str,
    pub(crate) system_user: &'a str,
    pub(crate) role: &'a str,
    pub(crate) member_of: &'a [String],
}

/// Checks a pg_ident.conf, and prints the lines that are rejected and, if a mapping is `wanted`, whether it is allowed.
/// Returns [`Done::Differences`] if a line is rejected or the mapping is not allowed.
///
/// # Errors
/// Returns a [`Failure`] if the file cannot be read.
pub(crate) fn run(
    path: &Path,
    version: Version,
    wanted: Option<&RequestedMapping<'_>>,
    as_json: bool,
) -> Result<Done, Failure> {
    let mappings = files::mappings(path, &Server::new(version))?;
    let refused: Vec<_> = mappings.lines.iter().filter_map(|line| line.as_ref().err()).collect();
    let allowed = wanted.map(|wanted| {
        let pairs = wanted.member_of.iter().map(|role| (wanted.role.to_owned(), role.clone()));
        let environment = StaticEnvironment { memberships: pairs.collect(), ..StaticEnvironment::default() };
        mappings.allows(wanted.map, wanted.system_user, wanted.role, &environment)
    });
    if as_json {
        let lines: Vec<Value> =
            mappings.lines.iter().filter_map(|line| line.as_ref().ok()).map(mapping).collect();
        let errors: Vec<Value> = refused
            .iter()
            .map(|why| json!({"file": why.file, "line": why.line, "column": why.column, "reason": why.reason.to_string()}))
            .collect();
        let findings = Findings::new(refused.iter().map(|why| files::refused(path, why)).collect());
        println!(
            "{}",
            json!({"mappings": lines, "errors": errors, "findings": findings.json(), "allowed": allowed})
        );
    } else {
        refused.iter().for_each(|why| println!("{}", files::refused(path, why)));
        if let (Some(allowed), Some(wanted)) = (allowed, wanted) {
            let verb = if allowed { "may" } else { "may not" };
            println!("{} {verb} be {} under {}", wanted.system_user, wanted.role, wanted.map);
        } else if refused.is_empty() {
            println!("{}", ok(path.display(), &counted(mappings.lines.len(), "mapping")));
        }
    }
    let bad = !refused.is_empty() || allowed == Some(false);
    Ok(if bad { Done::Differences } else { Done::Fine })
}

/// Returns a line of a pg_ident.conf as JSON. User and role are objects whose key is their kind: `name`, `pattern`, and
/// for roles `keyword` or `member_of`.
fn mapping(mapping: &Mapping) -> Value {
    let system_user = match &mapping.system_user {
        SystemUser::Name(name) => json!({"name": name}),
        SystemUser::Pattern(pattern) => json!({"pattern": pattern.as_str()}),
    };
    let role = match &mapping.database_user {
        User::All => json!({"keyword": "all"}),
        User::Member(role) => json!({"member_of": role}),
        User::Name(name) => json!({"name": name}),
        User::Pattern(pattern) => json!({"pattern": pattern.as_str()}),
    };
    json!({"file": mapping.origin.file, "line": mapping.origin.line, "map": mapping.map, "system_user": system_user,
        "role": role})
}
