//! User name maps (`pg_ident.conf`): which operating system user may connect as which role.

use crate::attempt::Environment;
use crate::document::{Include, Reader, pattern, user};
use crate::encoding::encode_file;
use crate::error::{ParseError, Refusal};
use crate::regex::Pattern;
use crate::rule::{Origin, User};
use crate::server::Server;

/// Operating system user, or another external identity, of a user name map.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SystemUser {
    /// A user by the exact name.
    Name(String),
    /// Users that match a regular expression (`/regex`), in every version.
    Pattern(Pattern),
}

/// A record of `pg_ident.conf`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Name of the map, to which the option `map` refers.
    pub map: String,
    /// Operating system user, or the identity from another method.
    pub system_user: SystemUser,
    /// Role that the user may connect as. Before version 16 always a name. In a name, the first `\1` stands for the
    /// first capture group of the pattern.
    pub database_user: User,
    /// Position in the file.
    pub origin: Origin,
}

/// A parsed `pg_ident.conf`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mappings {
    /// Every record in order: the mapping, or the reason why the server rejects the line.
    pub lines: Vec<Result<Mapping, ParseError>>,
}

impl Mappings {
    /// Parses a file with the files that it includes. Relative names are resolved against the folder of `path`, which
    /// is not read. Errors are kept in [`lines`](Self::lines).
    #[must_use]
    pub fn load(path: &str, text: &str, server: &Server, includes: &mut dyn Include) -> Self {
        let mut reader = Reader { server, includes };
        let lines = reader.file(path, text, 0);
        let lines = lines
            .into_iter()
            .filter(super::document::RawLine::is_record)
            .map(|line| {
                if let Some(reason) = line.error.clone() {
                    return Err(line.refused(reason, None));
                }
                let mut tokens = Vec::new();
                for index in 0..3 {
                    match line.fields.get(index).map(Vec::as_slice) {
                        None | Some([]) => return Err(line.refused(Refusal::IdentMissing, None)),
                        Some([token]) => tokens.push(token),
                        Some([_, second, ..]) => {
                            return Err(line.refused(Refusal::IdentMultiple, Some(second)));
                        }
                    }
                }
                let fault =
                    |(token, reason): (Option<crate::token::Token>, _)| line.refused(reason, token.as_ref());
                let system_user = match pattern(tokens[1], true).map_err(fault)? {
                    Some(pattern) => SystemUser::Pattern(pattern),
                    None => SystemUser::Name(tokens[1].text.clone()),
                };
                let database_user = if server.version().has_patterns() {
                    user(tokens[2], server).map_err(fault)?
                } else {
                    User::Name(tokens[2].text.clone())
                };
                let map = tokens[0].text.clone();
                Ok(Mapping { map, system_user, database_user, origin: line.origin.clone() })
            })
            .collect();
        Self { lines }
    }

    /// Returns `true` if an operating system user may connect as a role under a map (`check_usermap`). `environment` is
    /// queried for `+role` only. Rejected lines are skipped. `false` if no record has the map, and if a record refers to
    /// a group (`\1`) that took no part in the match, at which the server ends its search with an error.
    #[must_use]
    pub fn allows(&self, map: &str, system_user: &str, role: &str, environment: &dyn Environment) -> bool {
        for line in self.lines.iter().flatten().filter(|line| line.map == map) {
            let group = match &line.system_user {
                SystemUser::Name(name) if name == system_user => None,
                SystemUser::Name(_) => continue,
                SystemUser::Pattern(pattern) => match pattern.first_group_bytes(system_user) {
                    Some(group) => group,
                    None => continue,
                },
            };
            let allowed = match (&line.database_user, &line.system_user) {
                (User::All, _) => true,
                (User::Member(group), _) => environment.is_member(role, group),
                (User::Pattern(pattern), _) => pattern.is_match(role),
                (User::Name(name), SystemUser::Pattern(_)) if name.contains("\\1") => match group {
                    Some(group) => replaced(name, &group) == encode_file(role),
                    None => return false,
                },
                (User::Name(name), _) => name == role,
            };
            if allowed {
                return true;
            }
        }
        false
    }
}

/// Returns the bytes of a name in which a group replaces the first `\1`.
fn replaced(name: &str, group: &[u8]) -> Vec<u8> {
    let (before, after) = name.split_once("\\1").unwrap_or((name, ""));
    [&encode_file(before), group, &encode_file(after)].concat()
}
