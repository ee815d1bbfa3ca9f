//! Parsing and formatting of ACL items: `grantee=privileges/grantor`, as `aclitemout()` writes them.

use super::{Acl, Grantee, Privilege, Privileges};
use crate::name::{Name, NameError};
use thiserror::Error;

/// Error of parsing an ACL item.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum AclError {
    /// An item does not have the form `grantee=privileges/grantor`: `=` or `/` is missing, a quote is not closed, `*`
    /// does not follow a letter, or text follows the grantor. Contains the item.
    #[error("the aclitem {0:?} has no \"=\" and \"/\" where they belong")]
    Shape(String),
    /// A letter of an item does not stand for a privilege (see [`Privilege::letter`]).
    #[error("the aclitem {item:?} holds the unknown privilege {letter:?}")]
    Letter {
        /// The rejected item.
        item: String,
        /// The unknown letter.
        letter: char,
    },
    /// The grantee or the grantor of an item is not a valid identifier; the grantor must not be empty.
    #[error("the aclitem {item:?} names no role")]
    Role {
        /// The rejected item.
        item: String,
        /// Error of the role name.
        #[source]
        source: NameError,
    },
}

impl Acl {
    /// Parses ACL items, such as `app=r*w/postgres`. An empty grantee is PUBLIC. Items of the same grantee and grantor
    /// are joined. The kind of object is not known here, so every privilege is accepted.
    ///
    /// # Errors
    /// Returns an [`AclError`] for the first malformed item.
    pub fn parse<S: AsRef<str>>(items: &[S]) -> Result<Self, AclError> {
        let mut acl = Self::default();
        for item in items {
            acl.parse_item(item.as_ref())?;
        }
        Ok(acl)
    }

    /// Parses one ACL item and adds its entry.
    ///
    /// # Errors
    /// Returns an [`AclError`] if the item is malformed, or names an unknown privilege.
    fn parse_item(&mut self, item: &str) -> Result<(), AclError> {
        let shape = || AclError::Shape(item.to_owned());
        let name =
            |text: &str| Name::new(text).map_err(|source| AclError::Role { item: item.to_owned(), source });
        let (grantee, rest) = role(item).ok_or_else(shape)?;
        let rest = rest.strip_prefix('=').ok_or_else(shape)?;
        let (letters, grantor) = rest.split_once('/').ok_or_else(shape)?;
        let (mut privileges, mut grantable) = (Privileges::NONE, Privileges::NONE);
        let mut last = None;
        for letter in letters.chars() {
            if letter == '*' {
                grantable |= last.take().ok_or_else(shape)?;
                continue;
            }
            let found = Privilege::from_letter(letter)
                .ok_or_else(|| AclError::Letter { item: item.to_owned(), letter })?;
            privileges |= found.into();
            last = Some(Privileges::from(found));
        }
        let (grantor, rest) = role(grantor).ok_or_else(shape)?;
        if !rest.is_empty() {
            return Err(shape());
        }
        let grantor = name(&grantor)?;
        let grantee = if grantee.is_empty() { Grantee::Public } else { Grantee::Role(name(&grantee)?) };
        self.grant(&grantee, &grantor, privileges, grantable);
        Ok(())
    }

    /// Returns the entries as ACL items, sorted by grantee and grantor. Role names are quoted as the server does.
    #[must_use]
    pub fn items(&self) -> Vec<String> {
        let role = |name: &str| {
            if !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                name.to_owned()
            } else {
                crate::name::identifier(name)
            }
        };
        self.iter()
            .map(|(grantee, grantor, rights)| {
                let mut item = grantee.role().map(|name| role(name.as_str())).unwrap_or_default();
                item.push('=');
                for privilege in rights.privileges.iter() {
                    item.push(privilege.letter());
                    if rights.grantable.contains(privilege) {
                        item.push('*');
                    }
                }
                item.push('/');
                item.push_str(&role(grantor.as_str()));
                item
            })
            .collect()
    }
}

/// Parses a role name, which may be quoted, up to an unquoted `=` or `/` or the end of the text. Returns the name and
/// the rest from that character on. `None` if a quote is not closed.
fn role(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut quoted = false;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' if quoted && chars.peek().is_some_and(|(_, next)| *next == '"') => {
                name.push('"');
                chars.next();
            }
            '"' => quoted = !quoted,
            '=' | '/' if !quoted => return Some((name, &text[at..])),
            _ => name.push(c),
        }
    }
    (!quoted).then_some((name, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_read_as_they_are_written() {
        let acl = Acl::parse(&["=Tc/postgres", "app=r*w/postgres", "\"o\"\"d=d/\"=X/\"the owner\""]);
        let acl = acl.expect("three items");
        assert_eq!(
            acl.privileges_of(&Grantee::Public).privileges,
            [Privilege::Temporary, Privilege::Connect].into()
        );
        let odd = Name::new("o\"d=d/").expect("a name");
        assert_eq!(acl.privileges_of(&odd.into()).privileges, Privilege::Execute.into());
        let app = acl.privileges_of(&Name::new("app").expect("a name").into());
        assert_eq!(app.grantable, Privilege::Select.into());
        assert_eq!(Acl::parse(&acl.items()), Ok(acl));
    }

    #[test]
    fn malformed_items_are_refused() {
        for item in ["", "app", "app=r", "=r/", "app=*r/x", "app=?/x", "app=r/x/y", "\"app=r/x", "a=r/\"x"] {
            assert!(Acl::parse(&[item]).is_err(), "{item:?}");
        }
    }
}
