//! Installing rules: checked before, compared after, put back when anything is not as it should be.

use crate::files;
use cli_support::outcome::{Done, Failure};
use cli_support::replace::replace;
use pg_hba::{Document, Rule, Server, Version, admits, render};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_postgres::{Client, NoTls};

/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn run(
    policy: &Path,
    connect: &str,
    canary: &str,
    dry_run: bool,
    as_json: bool,
) -> Result<Done, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|why| Failure::Failed(format!("no runtime: {why}")))?;
    runtime.block_on(install(policy, connect, canary, dry_run, as_json))
}

async fn install(
    policy: &Path,
    connect: &str,
    canary: &str,
    dry_run: bool,
    as_json: bool,
) -> Result<Done, Failure> {
    let client = login(connect).await?;
    let number: u32 = one(&client, "SHOW server_version_num").await?.parse().unwrap_or(0);
    let version = Version::from_number(number / 10_000)
        .ok_or_else(|| Failure::Failed(format!("PostgreSQL {number} is none of 13 to 18")))?;
    let path = PathBuf::from(one(&client, "SHOW hba_file").await?);
    let superuser = one(&client, "SELECT current_user").await?;
    let rules = files::policy(policy, version)?.compile();
    let text = render(&rules, version).map_err(|why| Failure::Configuration(why.to_string()))?;
    let accepted = Document::parse(&text, &Server::new(version)).rules();
    let accepted = accepted
        .map_err(|why| Failure::Configuration(format!("PostgreSQL {version} would refuse it:\n{why}")))?;
    if !admits(&accepted, &superuser) {
        let fix = format!("name it in the policy: superuser = {superuser:?}");
        return Err(Failure::Configuration(format!("refused: {superuser:?} would be locked out; {fix}")));
    }
    let file = Installed::read(&path)?;
    if file.text == text.as_bytes() {
        say(as_json, "unchanged", &file.path);
        return Ok(Done::Fine);
    }
    if dry_run {
        say(as_json, "would change", &file.path);
        return Ok(Done::Differences);
    }
    file.write(text.as_bytes())?;
    let outcome = put_into_force(&client, &accepted, canary).await;
    if let Err(why) = outcome {
        file.write(&file.text)?;
        one(&client, "SELECT pg_reload_conf()").await?;
        return Err(Failure::Failed(format!("{why}; the old file is back")));
    }
    say(as_json, "installed", &file.path);
    Ok(Done::Fine)
}

fn say(as_json: bool, what: &str, path: &Path) {
    if as_json {
        println!("{}", json!({"result": what, "file": path}));
    } else {
        println!("{what}: {}", path.display());
    }
}

async fn put_into_force(client: &Client, rules: &[Rule], canary: &str) -> Result<(), String> {
    // The view reads the file itself, so it is known to be good before the server is told of it.
    compare(client, rules).await?;
    let text = |why: Failure| why.to_string();
    let before = one(client, "SELECT pg_conf_load_time()").await.map_err(text)?;
    one(client, "SELECT pg_reload_conf()").await.map_err(text)?;
    // The time advances even when a file is refused; the comparison above is what says it was not.
    for _ in 0..200 {
        if one(client, "SELECT pg_conf_load_time()").await.map_err(text)? != before {
            login(canary).await.map_err(|why| format!("the canary login failed: {why}"))?;
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    Err("the server did not reload".to_owned())
}

/// Holds what the server has read against what was meant. A row without a type is a line that it refuses, even
/// where its error column is NULL.
async fn compare(client: &Client, rules: &[Rule]) -> Result<(), String> {
    let sql = "SELECT line_number, type, auth_method, error, array_length(database, 1), array_length(user_name, 1) \
               FROM pg_hba_file_rules";
    let rows = client.simple_query(sql).await.map_err(|why| why.to_string())?;
    let mut expected = rules.iter();
    for row in rows {
        let tokio_postgres::SimpleQueryMessage::Row(row) = row else { continue };
        let line = row.get(0).unwrap_or("?");
        if let Some(error) = row.get(3).filter(|error| !error.contains("cannot match because")) {
            return Err(format!("the server refuses line {line}: {error}"));
        }
        let Some(kind) = row.get(1) else {
            return Err(format!("the server refuses line {line} and does not say why"));
        };
        let Some(rule) = expected.next() else {
            return Err(format!("the server reads a rule at line {line} that was not written"));
        };
        let counts =
            [row.get(4), row.get(5)].map(|count| count.and_then(|count| count.parse().ok()).unwrap_or(0));
        let same = kind == rule.connection.as_str()
            && row.get(2) == Some(rule.method.as_str())
            && counts == [rule.databases.len(), rule.users.len()];
        if !same {
            return Err(format!("the server reads line {line} as {kind} {}", row.get(2).unwrap_or("?")));
        }
    }
    match expected.next() {
        Some(rule) => Err(format!("the server does not read the rule of line {}", rule.origin.line)),
        None => Ok(()),
    }
}

async fn login(config: &str) -> Result<Client, Failure> {
    let failed = |why: String| Failure::Failed(format!("cannot connect: {why}"));
    let connect = tokio_postgres::connect(config, NoTls);
    let (client, connection) = tokio::time::timeout(PATIENCE, connect)
        .await
        .map_err(|_| failed(format!("no answer in {} s", PATIENCE.as_secs())))?
        .map_err(|why| failed(why.as_db_error().map_or_else(|| why.to_string(), ToString::to_string)))?;
    tokio::spawn(connection);
    Ok(client)
}

async fn one(client: &Client, sql: &str) -> Result<String, Failure> {
    let rows = client.simple_query(sql).await.map_err(|why| Failure::Failed(format!("{sql}: {why}")))?;
    rows.iter()
        .find_map(|row| match row {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        })
        .ok_or_else(|| Failure::Failed(format!("{sql}: no answer")))
}

/// The file in force: what has to be kept of it.
struct Installed {
    path: PathBuf,
    text: Vec<u8>,
}

impl Installed {
    fn read(path: &Path) -> Result<Self, Failure> {
        let failed = |why: std::io::Error| Failure::Failed(format!("{}: {why}", path.display()));
        // A link stays a link: what it points to is replaced.
        let real = path.canonicalize().map_err(failed)?;
        let text = std::fs::read(&real).map_err(failed)?;
        Ok(Self { path: real, text })
    }

    fn write(&self, text: &[u8]) -> Result<(), Failure> {
        replace(&self.path, text).map_err(|why| Failure::because(&why))
    }
}
