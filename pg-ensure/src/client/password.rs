//! Passwords: compared and hashed on all processors, and sent as verifiers in a form that is not logged.

use super::error::Error;
use crate::current::{CurrentState, StoredPassword};
use crate::desired::{DesiredState, Password};
use crate::name::Name;
use crate::scram::{PasswordError, Verifier};
use bytes::Bytes;
use futures_util::SinkExt;
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::pin::pin;
use tokio_postgres::Client;
use zeroize::Zeroizing;

/// Verifiers that this run has stored so far, by role.
pub(super) type StoredVerifiers = BTreeMap<Name, SecretString>;

/// Compares the SCRAM verifiers in `current` with the declared passwords, and replaces them by
/// [`StoredPassword::Right`] or [`StoredPassword::Wrong`]. A verifier that is in `set` is correct without a
/// computation. MD5 hashes and declared verifiers are not compared here.
pub(super) async fn compare(current: &mut CurrentState, desired: &DesiredState, set: &StoredVerifiers) {
    let mut work: Vec<(Name, SecretString, Verifier)> = Vec::new();
    for (name, wanted) in desired.passwords() {
        let Password::Secret(secret) = wanted else { continue };
        let Some(role) = current.roles.get_mut(name) else { continue };
        let StoredPassword::Scram(verifier) = &role.password else { continue };
        let own = set.get(name).and_then(|own| Verifier::parse(own.expose_secret()).ok());
        if own.as_ref() == Some(verifier) {
            role.password = StoredPassword::Right(Some(verifier.iterations()));
        } else {
            work.push((name.clone(), secret.clone(), verifier.clone()));
        }
    }
    let judged = spread(work, |(name, secret, verifier)| {
        let judged = if verifier.matches(&secret) {
            StoredPassword::Right(Some(verifier.iterations()))
        } else {
            StoredPassword::Wrong
        };
        (name, judged)
    });
    for (name, judged) in judged.await {
        if let Some(role) = current.roles.get_mut(&name) {
            role.password = judged;
        }
    }
}

/// Returns the SCRAM verifiers to store for the roles `names`: derived from the declared password with a random salt
/// and `iterations`, or as declared. Roles without a declared password are left out.
///
/// # Errors
/// Returns an [`Error`] if no random bytes are available, or a password cannot be used.
pub(super) async fn verifiers(
    desired: &DesiredState,
    names: &[&Name],
    iterations: NonZeroU32,
) -> Result<StoredVerifiers, Error> {
    let mut work: Vec<(Name, SecretString, [u8; 16])> = Vec::new();
    let mut made = BTreeMap::new();
    for name in names {
        match desired.roles.get(*name).and_then(|role| role.password.as_ref()) {
            Some(Password::Secret(secret)) => {
                let mut salt = [0; 16];
                getrandom::fill(&mut salt).map_err(|why| Error::Random(why.to_string()))?;
                work.push(((*name).clone(), secret.clone(), salt));
            }
            Some(Password::Verifier(verifier)) => {
                made.insert((*name).clone(), verifier.to_secret());
            }
            _ => {}
        }
    }
    let derived =
        spread(work, move |(name, secret, salt)| (name, Verifier::derive(&secret, &salt, iterations)));
    for (name, derived) in derived.await {
        let verifier =
            derived.map_err(|source: PasswordError| Error::Password { role: name.to_string(), source })?;
        made.insert(name, verifier.to_secret());
    }
    Ok(made)
}

/// Runs a computation for each item on all processors, outside the async runtime. Returns the results in order.
async fn spread<W, R>(work: Vec<W>, does: impl Fn(W) -> R + Send + Sync + Clone + 'static) -> Vec<R>
where
    W: Send + 'static,
    R: Send + 'static,
{
    if work.is_empty() {
        return Vec::new();
    }
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let share = work.len().div_ceil(processors);
    let mut tasks = Vec::new();
    let mut work = work.into_iter().peekable();
    while work.peek().is_some() {
        let part: Vec<W> = work.by_ref().take(share).collect();
        let does = does.clone();
        tasks.push(tokio::task::spawn_blocking(move || part.into_iter().map(does).collect::<Vec<R>>()));
    }
    let mut results = Vec::new();
    for task in tasks {
        match task.await {
            Ok(part) => results.extend(part),
            Err(why) => std::panic::resume_unwind(why.into_panic()),
        }
    }
    results
}

/// Settings by which the session of a superuser keeps even nested statements out of logs and statistics.
const UNRECORDED: &str = "SET LOCAL log_statement TO 'none'; SET LOCAL log_min_error_statement TO 'panic'; \
     SET LOCAL log_min_duration_statement TO -1; SET LOCAL pg_stat_statements.track TO 'none'";

/// Statement that creates the temporary table for verifiers. They are sent as data by COPY, which is not logged,
/// instead of in statements.
const TABLE: &str =
    "CREATE TEMPORARY TABLE IF NOT EXISTS pg_ensure_verifiers (name text, verifier text) ON COMMIT DROP";

/// Statement that copies roles and verifiers into the temporary table.
const COPY: &str = "COPY pg_temp.pg_ensure_verifiers FROM STDIN";

/// Anonymous block that sets passwords from the temporary table `pg_ensure_verifiers (name, verifier)`. Errors are
/// raised again without context, since the context would contain the statement.
pub const SET_PASSWORDS: &str = "DO $pg_ensure$
DECLARE item record;
BEGIN
    FOR item IN SELECT name, verifier FROM pg_temp.pg_ensure_verifiers LOOP
        EXECUTE pg_catalog.format('ALTER ROLE %I PASSWORD %L', item.name, item.verifier);
    END LOOP;
EXCEPTION WHEN OTHERS THEN
    RAISE EXCEPTION USING ERRCODE = SQLSTATE, MESSAGE = pg_catalog.format('role %s: %s', item.name, SQLERRM);
END
$pg_ensure$";

/// Sets the passwords of roles in the current transaction of the session. `superuser` selects whether logging of
/// statements is disabled first, which requires a superuser.
///
/// # Errors
/// Returns an error if a statement fails.
pub(super) async fn set(
    client: &Client,
    superuser: bool,
    verifiers: &StoredVerifiers,
) -> Result<(), tokio_postgres::Error> {
    if superuser {
        client.batch_execute(UNRECORDED).await?;
    }
    client.batch_execute(TABLE).await?;
    let mut lines = Zeroizing::new(String::new());
    for (name, verifier) in verifiers {
        for c in name.as_str().chars() {
            match c {
                '\\' => lines.push_str("\\\\"),
                '\t' => lines.push_str("\\t"),
                '\n' => lines.push_str("\\n"),
                '\r' => lines.push_str("\\r"),
                c => lines.push(c),
            }
        }
        lines.push('\t');
        lines.push_str(verifier.expose_secret());
        lines.push('\n');
    }
    let mut sink = pin!(client.copy_in::<_, Bytes>(COPY).await?);
    sink.send(Bytes::copy_from_slice(lines.as_bytes())).await?;
    sink.finish().await?;
    client.batch_execute(SET_PASSWORDS).await?;
    client.batch_execute("TRUNCATE pg_temp.pg_ensure_verifiers").await
}
