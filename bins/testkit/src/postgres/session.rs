//! A blocking connection to PostgreSQL for synchronous tests.

use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// A blocking connection to PostgreSQL that returns values as text.
#[derive(Debug)]
pub struct Session {
    runtime: Runtime,
    client: Client,
}

impl Session {
    /// Connects to a server without TLS, by a connection string as in libpq.
    ///
    /// # Errors
    /// Returns the message of the server or of the connection.
    ///
    /// # Panics
    /// Panics if no runtime can be created.
    pub fn open(config: &str) -> Result<Self, String> {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let client = runtime.block_on(async {
            let (client, connection) =
                tokio_postgres::connect(config, NoTls).await.map_err(|why| words(&why))?;
            tokio::spawn(connection);
            Ok::<_, String>(client)
        })?;
        Ok(Self { runtime, client })
    }

    /// Executes one or more statements by the simple query protocol, and returns the rows of all of them. A value is
    /// `None` for NULL.
    ///
    /// # Errors
    /// Returns the message of the server or of the connection.
    pub fn query(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, String> {
        let messages = self.runtime.block_on(self.client.simple_query(sql)).map_err(|why| words(&why))?;
        Ok(messages
            .into_iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => {
                    Some((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect())
                }
                _ => None,
            })
            .collect())
    }
}

/// Returns severity and message of the server's error, or else the message of the connection's error.
fn words(why: &tokio_postgres::Error) -> String {
    why.as_db_error().map_or_else(|| why.to_string(), ToString::to_string)
}
