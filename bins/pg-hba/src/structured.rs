//! Rules as JSON.

use pg_hba::{Address, ConnectionType, Database, Rule, User};
use serde_json::{Map, Value, json};

/// Returns a rule as a JSON object, with its text. `address` is null for `local` records, `file` for the main file if
/// its name is not known; `options` is an object of names and values.
pub(crate) fn rule(rule: &Rule) -> Value {
    let databases: Vec<Value> = rule.databases.iter().map(database).collect();
    let users: Vec<Value> = rule.users.iter().map(user).collect();
    let address = (rule.connection != ConnectionType::Local).then(|| address(&rule.address));
    let options: Map<String, Value> =
        rule.settings.iter().map(|setting| (setting.name().to_owned(), json!(setting.value()))).collect();
    json!({
        "file": rule.origin.file,
        "line": rule.origin.line,
        "text": rule.to_string(),
        "type": rule.connection.as_str(),
        "databases": databases,
        "users": users,
        "address": address,
        "method": rule.method.as_str(),
        "options": options,
        "possible": rule.possible,
    })
}

/// Returns a value of the database field as an object with one key, its kind: `keyword`, `name` or `pattern`.
fn database(database: &Database) -> Value {
    match database {
        Database::All => json!({"keyword": "all"}),
        Database::Name(name) => json!({"name": name}),
        Database::Pattern(pattern) => json!({"pattern": pattern.as_str()}),
        Database::Replication => json!({"keyword": "replication"}),
        Database::SameRole => json!({"keyword": "samerole"}),
        Database::SameUser => json!({"keyword": "sameuser"}),
    }
}

/// Returns a value of the user field as an object with one key, its kind: `keyword`, `member_of`, `name` or `pattern`.
fn user(user: &User) -> Value {
    match user {
        User::All => json!({"keyword": "all"}),
        User::Member(role) => json!({"member_of": role}),
        User::Name(name) => json!({"name": name}),
        User::Pattern(pattern) => json!({"pattern": pattern.as_str()}),
    }
}

/// Returns the address field as an object: with `keyword`, with `host`, or with `network` (CIDR), `address` and `mask`.
fn address(address: &Address) -> Value {
    match address {
        Address::All => json!({"keyword": "all"}),
        Address::Host(name) => json!({"host": name}),
        Address::Network(network) => {
            json!({"network": network.to_string(), "address": network.address(), "mask": network.mask()})
        }
        Address::SameHost => json!({"keyword": "samehost"}),
        Address::SameNet => json!({"keyword": "samenet"}),
    }
}
