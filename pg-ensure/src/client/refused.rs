//! Values of settings that the server would reject, determined before planning instead of during execution.

use super::error::Error;
use crate::current::CurrentState;
use crate::desired::DesiredState;
use crate::name::Text;
use crate::object::Setting;
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

/// Settings whose values `ALTER ROLE … SET` and `ALTER DATABASE … SET` accept without a check or with a mere warning.
const LENIENT: [&str; 6] = [
    "default_table_access_method",
    "default_tablespace",
    "default_text_search_config",
    "role",
    "session_authorization",
    "temp_tablespaces",
];

/// Tries each value of a setting that would change, in a transaction that is rolled back, and records the rejected ones
/// in `current.refused`, each with the reason. Settings that the session may not set are left out.
///
/// # Errors
/// Returns [`Error::Query`] if a query fails for another reason than the value.
pub(super) async fn find(
    client: &Client,
    current: &mut CurrentState,
    desired: &DesiredState,
) -> Result<(), Error> {
    let mut wanted: BTreeSet<(Setting, Text)> = BTreeSet::new();
    for (key, settings) in &desired.settings {
        for (setting, value) in settings {
            let Some(value) = value else { continue };
            let found = current.setting(key.role.as_ref(), key.database.as_ref(), setting);
            if found.is_none_or(|found| !setting.same(found, value)) {
                wanted.insert((setting.clone(), value.clone()));
            }
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let contexts = contexts(client, &wanted).await?;
    // A setting that this session may not set at all is reported for that reason.
    wanted.retain(|(setting, _)| !current.privileged_settings.contains(setting));
    for (setting, value) in wanted {
        if let Some(why) = refusal(client, &contexts, &setting, &value).await? {
            current.refused.insert((setting, value), why);
        }
    }
    Ok(())
}

/// Returns the error of a failed query of this module.
fn failed(source: tokio_postgres::Error) -> Error {
    Error::Query { what: "checking settings", source }
}

/// Returns the context (such as `postmaster`) of each setting that the server knows, by lower-case name.
///
/// # Errors
/// Returns [`Error::Query`] if the query fails.
async fn contexts(
    client: &Client,
    wanted: &BTreeSet<(Setting, Text)>,
) -> Result<BTreeMap<String, String>, Error> {
    let names: Vec<&str> = wanted.iter().map(|(setting, _)| setting.as_str()).collect();
    let sql = "SELECT pg_catalog.lower(name), context FROM pg_catalog.pg_settings \
               WHERE pg_catalog.lower(name) = ANY ($1)";
    let rows = client.query_typed(sql, &[(&names, Type::TEXT_ARRAY)]).await.map_err(failed)?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Returns the reason for which the server rejects a value of a setting: the setting cannot be set for a role or
/// database at all, or the server's message. `None` if the server accepts the value, or does not check it when it is
/// set.
///
/// # Errors
/// Returns [`Error::Query`] if the connection or the transaction fails.
async fn refusal(
    client: &Client,
    contexts: &BTreeMap<String, String>,
    setting: &Setting,
    value: &Text,
) -> Result<Option<String>, Error> {
    match contexts.get(setting.as_str()).map(String::as_str) {
        Some("internal") => return Ok(Some(format!("parameter \"{setting}\" cannot be changed"))),
        Some("postmaster" | "sighup") => {
            return Ok(Some(format!(
                "parameter \"{setting}\" is the server's own: set it in postgresql.conf"
            )));
        }
        Some("backend" | "superuser-backend") => {
            return Ok(Some(format!(
                "parameter \"{setting}\" can only be set when a connection starts: set it in postgresql.conf"
            )));
        }
        _ => {}
    }
    if setting.is_list() || LENIENT.contains(&setting.as_str()) {
        return Ok(None);
    }
    let (name, text) = (setting.as_str(), value.as_str());
    client.batch_execute("BEGIN").await.map_err(failed)?;
    let tried = client
        .query_typed(
            "SELECT pg_catalog.set_config($1, $2, true)",
            &[(&name, Type::TEXT), (&text, Type::TEXT)],
        )
        .await;
    client.batch_execute("ROLLBACK").await.map_err(failed)?;
    let Err(why) = tried else { return Ok(None) };
    let refused = [
        SqlState::INVALID_PARAMETER_VALUE,
        SqlState::INVALID_NAME,
        SqlState::UNDEFINED_OBJECT,
        SqlState::CANT_CHANGE_RUNTIME_PARAM,
        SqlState::FEATURE_NOT_SUPPORTED,
    ];
    match why.as_db_error() {
        Some(error) if refused.contains(error.code()) => Ok(Some(error.message().to_owned())),
        // Privileges are checked by the planner, and other errors are not caused by the value.
        Some(_) => Ok(None),
        None => Err(failed(why)),
    }
}
