//! Inspection: one snapshot of the cluster, and one of each database whose contents are relevant.

use super::connect::{Connection, Server, Timeouts};
use super::error::Error;
use super::password::{self, StoredVerifiers};
use super::query;
use super::refused;
use super::rows::{self, Preflight};
use crate::current::{Contents, CurrentState};
use crate::desired::{DesiredState, GrantTarget};
use crate::name::Name;
use crate::object::{Local, Object};
use crate::version::Version;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Socket};

/// Time limit for connecting to a template database, unless that of the server is shorter.
const TEMPLATE_TIMEOUT: Duration = Duration::from_secs(2);
/// Number of databases inspected concurrently.
const MAX_CONCURRENT: usize = 8;

impl<T> Server<T>
where
    T: MakeTlsConnect<Socket> + Clone + Send + Sync,
    T::Stream: Send + 'static,
    T::TlsConnect: Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    /// Returns the current state of the cluster, as far as the desired state requires: one snapshot of shared objects,
    /// and one of each database whose contents are managed or whose owner differs, and of the templates of databases to
    /// be created, over a connection to that database. Desired passwords are compared and desired settings are tried
    /// out.
    ///
    /// # Errors
    /// Returns an [`Error`] if the server cannot be reached or queried.
    pub async fn inspect(&self, desired: &DesiredState) -> Result<CurrentState, Error> {
        let session = self.connect(None).await?;
        let current = self.look(&session, desired, &StoredVerifiers::new()).await;
        session.close().await;
        current
    }

    /// Returns the current state of the cluster with the contents of every database that accepts connections, except
    /// `template0` and `template1`, for [`import`](crate::import).
    ///
    /// # Errors
    /// Returns an [`Error`] if the server cannot be reached or queried, or refuses a connection to one of these
    /// databases.
    pub async fn inspect_all(&self) -> Result<CurrentState, Error> {
        let session = self.connect(None).await?;
        let result = async {
            let before = preflight(&session.client).await?;
            let mut current = cluster(&session.client, before, &DesiredState::new(), true).await?;
            let open = current.databases.iter().filter(|(name, found)| {
                let ordinary = **name != "template1" && **name != "template0";
                found.allow_connections && !found.is_invalid() && ordinary
            });
            let databases: Vec<Name> = open.map(|(name, _)| name.clone()).collect();
            self.look_into(&session, &mut current, &databases, &DesiredState::new()).await?;
            match current.databases.iter().find_map(|(name, found)| Some((name, found.refusal.as_ref()?))) {
                Some((name, why)) => Err(Error::Refused { database: name.to_string(), why: why.clone() }),
                None => Ok(current),
            }
        };
        let result = result.await;
        session.close().await;
        result
    }

    /// Reads the current state through an open connection: shared objects, the contents of the databases that the
    /// desired state concerns (of a template only if it can be connected to), the settings that the server would
    /// reject, and the state of passwords. The verifiers in `set`, which this run stored, count as correct.
    ///
    /// # Errors
    /// Returns an error if a query fails, or the server returns a value that is not valid.
    pub(super) async fn look(
        &self,
        session: &Connection,
        desired: &DesiredState,
        set: &StoredVerifiers,
    ) -> Result<CurrentState, Error> {
        let before = preflight(&session.client).await?;
        let extensions = desired.databases.values().any(|database| !database.inside.extensions.is_empty());
        let mut current = cluster(&session.client, before, desired, extensions).await?;
        let mut inside = desired.looks_into();
        let templates = templates(&current, desired, &inside);
        inside.extend(changing_owner(&current, desired));
        let inside: Vec<Name> = inside
            .into_iter()
            .filter(|name| {
                let found = current.databases.get(name);
                found.is_some_and(|found| found.allow_connections && !found.is_invalid())
            })
            .collect();
        self.look_into(session, &mut current, &inside, desired).await?;
        let connect = self.timeouts.connect.min(TEMPLATE_TIMEOUT);
        let hurried = self.clone().timeouts(Timeouts { connect, ..self.timeouts });
        for template in templates.into_iter().filter(|template| !inside.contains(template)) {
            let open = current.databases.get(&template).is_some_and(|found| found.allow_connections);
            if open {
                // The contents of a template that this session cannot connect to are assumed to be those of initdb.
                let _ = hurried.look_into(session, &mut current, &[template], desired).await;
            }
        }
        if !current.session.in_recovery {
            refused::find(&session.client, &mut current, desired).await?;
        }
        password::compare(&mut current, desired, set).await;
        self.probe(&mut current, desired, set).await;
        Ok(current)
    }

    /// Reads the contents of databases, up to eight concurrently, into the current state. A database that refuses the
    /// session permanently gets the server's message instead.
    ///
    /// # Errors
    /// Returns an error if a connection fails otherwise, a query fails, or the server returns a value that is not
    /// valid.
    async fn look_into(
        &self,
        session: &Connection,
        current: &mut CurrentState,
        databases: &[Name],
        desired: &DesiredState,
    ) -> Result<(), Error> {
        let (version, own) = (current.version, current.session.database.clone());
        let own = &own;
        for names in databases.chunks(MAX_CONCURRENT) {
            let all = names.iter().map(|name| async move {
                if name == own {
                    return contents(&session.client, version, name, desired).await.map(Ok);
                }
                let other = match self.connect(Some(name)).await {
                    Ok(other) => other,
                    Err(why) => return why.refusal().map(Err).ok_or(why),
                };
                let found = contents(&other.client, version, name, desired).await;
                other.close().await;
                found.map(Ok)
            });
            for (name, found) in names.iter().zip(futures_util::future::join_all(all).await) {
                let found = found?;
                if let Some(database) = current.databases.get_mut(name) {
                    match found {
                        Ok(contents) => database.contents = Some(contents),
                        Err(why) => database.refusal = Some(why),
                    }
                }
            }
        }
        Ok(())
    }
}

/// Returns the templates (`template1` by default) of the databases among `inside` that do not exist yet, since these
/// will begin with the contents of their templates.
fn templates(current: &CurrentState, desired: &DesiredState, inside: &BTreeSet<Name>) -> Vec<Name> {
    let made = inside.iter().filter(|name| !current.databases.contains_key(*name));
    let template1 = || Name::new("template1").expect("a name");
    made.map(|name| {
        let wanted = desired.databases.get(name);
        wanted.and_then(|wanted| wanted.template.clone()).unwrap_or_else(template1)
    })
    .collect()
}

/// Returns the existing databases whose owner differs from the desired one.
fn changing_owner(current: &CurrentState, desired: &DesiredState) -> Vec<Name> {
    let changing = desired.databases.iter().filter(|(name, wanted)| {
        let found = current.databases.get(*name);
        wanted.owner.as_ref().is_some_and(|owner| found.is_some_and(|found| found.owned.owner != *owner))
    });
    changing.map(|(name, _)| name.clone()).collect()
}

/// Returns a function that converts an error of a query with this purpose.
fn failed(what: &'static str) -> impl Fn(tokio_postgres::Error) -> Error {
    move |source| Error::Query { what, source }
}

/// Reads the server's version, whether it is in recovery, and whether the session can read stored passwords.
///
/// # Errors
/// Returns an [`Error`] if the query fails or the version is not supported.
pub(super) async fn preflight(client: &Client) -> Result<Preflight, Error> {
    let row = client.query_typed_one(query::PREFLIGHT, &[]).await.map_err(failed("the first question"))?;
    let number: i32 = row.get(0);
    let version = Version::from_number(number.unsigned_abs())?;
    Ok(Preflight { version, in_recovery: row.get(1), reads_passwords: row.get(2) })
}

/// Reads the state of the cluster in one read-only transaction, whose statements are pipelined. `extensions` selects
/// whether the available extensions are included.
///
/// # Errors
/// Returns an error if a query fails, or the server returns a value that is not valid.
async fn cluster(
    client: &Client,
    before: Preflight,
    desired: &DesiredState,
    extensions: bool,
) -> Result<CurrentState, Error> {
    let sql = query::cluster(before.version, before.reads_passwords);
    let passwords: Vec<&str> = desired.passwords().map(|(name, _)| name.as_str()).collect();
    let leaving: Vec<&str> = desired.absent_roles().map(Name::as_str).collect();
    let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 3] =
        [(&passwords, Type::TEXT_ARRAY), (&leaving, Type::TEXT_ARRAY), (&extensions, Type::BOOL)];
    let (begun, row, ended) = tokio::join!(
        client.batch_execute(query::BEGIN),
        client.query_typed_one(&sql, &parameters),
        client.batch_execute("COMMIT"),
    );
    begun.map_err(failed("the transaction of the snapshot"))?;
    let row = row.map_err(failed("the snapshot of the cluster"))?;
    ended.map_err(failed("the transaction of the snapshot"))?;
    Ok(rows::cluster(row.get(0), before)?)
}

/// Reads the contents of a database in one read-only transaction, with the columns and large objects that the desired
/// grants name.
///
/// # Errors
/// Returns [`Error::Inspect`] if a query fails, or another error if the server returns a value that is not valid.
async fn contents(
    client: &Client,
    version: Version,
    database: &Name,
    desired: &DesiredState,
) -> Result<Contents, Error> {
    let (mut schemas, mut tables, mut large) = (Vec::new(), Vec::new(), Vec::new());
    for grant in &desired.grants {
        match &grant.on {
            GrantTarget::One(Object::Inside(place, Local::Column(schema, table, _))) if place == database => {
                schemas.push(schema.as_str());
                tables.push(table.as_str());
            }
            GrantTarget::One(Object::Inside(place, Local::LargeObject(oid))) if place == database => {
                large.push(*oid);
            }
            _ => {}
        }
    }
    let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 3] =
        [(&schemas, Type::TEXT_ARRAY), (&tables, Type::TEXT_ARRAY), (&large, Type::OID_ARRAY)];
    let sql = query::contents();
    let (begun, row, ended) = tokio::join!(
        client.batch_execute(query::BEGIN),
        client.query_typed_one(&sql, &parameters),
        client.batch_execute("COMMIT"),
    );
    let failed = |source| Error::Inspect { database: database.to_string(), source };
    begun.map_err(failed)?;
    let row = row.map_err(failed)?;
    ended.map_err(failed)?;
    Ok(rows::contents(row.get(0), version)?)
}
