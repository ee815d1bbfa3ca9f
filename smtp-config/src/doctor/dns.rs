//! DNS lookups by the system's resolvers or by a given server.

use crate::policy::{Answer, Answers, Question};
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use hickory_resolver::{Resolver, TokioResolver};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A resolver with a time limit for each question.
pub(super) struct Dns {
    resolver: TokioResolver,
    limit: Duration,
}

impl Dns {
    /// Creates a resolver that queries `server`, over UDP and TCP, or the system's servers if it is `None`. `limit`
    /// bounds each question.
    ///
    /// # Errors
    /// Returns a [`NetError`] if the system's configuration cannot be read.
    pub(super) fn new(server: Option<SocketAddr>, limit: Duration) -> Result<Self, NetError> {
        let builder = match server {
            None => Resolver::builder_tokio()?,
            Some(server) => {
                let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
                for connection in &mut connections {
                    connection.port = server.port();
                }
                let named = NameServerConfig::new(server.ip(), true, connections);
                let config = ResolverConfig::from_parts(None, Vec::new(), vec![named]);
                Resolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
        };
        Ok(Self { resolver: builder.build()?, limit })
    }

    /// Runs an evaluation with the answers so far, and looks up the question that it returns, until it completes.
    /// `None` after 200 questions. A lookup that fails or times out has the answer [`Answer::Failed`].
    pub(super) async fn evaluate<T>(&self, ask: impl Fn(&Answers) -> Result<T, Question>) -> Option<T> {
        let mut answers = Answers::default();
        // Far more questions than SPF and DMARC permit.
        for _ in 0..200 {
            match ask(&answers) {
                Ok(found) => return Some(found),
                Err(question) => {
                    let answer = self.answer(&question).await;
                    answers.insert(question, answer);
                }
            }
        }
        None
    }

    /// Looks up the TXT records of a name. [`Answer::Failed`] after an error or the time limit; empty if there are
    /// none.
    pub(super) async fn texts(&self, name: &str) -> Answer {
        self.answer(&Question::Texts(name.to_owned())).await
    }

    /// Looks up the IPv6 and IPv4 addresses of a name. [`Answer::Failed`] after an error or the time limit; empty if
    /// there are none.
    pub(super) async fn addresses(&self, name: &str) -> Answer {
        self.answer(&Question::Addresses(name.to_owned())).await
    }

    /// Answers a question within the time limit. [`Answer::Failed`] after an error or the time limit.
    async fn answer(&self, question: &Question) -> Answer {
        let looked_up = tokio::time::timeout(self.limit, self.look_up(question)).await;
        looked_up.unwrap_or(Answer::Failed)
    }

    /// Answers a question. Failures of one address family are ignored if the other has addresses.
    async fn look_up(&self, question: &Question) -> Answer {
        // The trailing dot excludes the search domains of the host.
        let absolute = |name: &str| format!("{}.", name.trim_end_matches('.'));
        match question {
            Question::Addresses(name) => {
                let name = absolute(name);
                let (six, four) =
                    (self.resolver.ipv6_lookup(name.clone()).await, self.resolver.ipv4_lookup(name).await);
                let mut all: Vec<IpAddr> = Vec::new();
                let mut failed = false;
                for found in [six, four] {
                    match found {
                        Ok(found) => {
                            all.extend(found.answers().iter().filter_map(|record| match &record.data {
                                RData::A(address) => Some(IpAddr::V4(address.0)),
                                RData::AAAA(address) => Some(IpAddr::V6(address.0)),
                                _ => None,
                            }));
                        }
                        Err(why) => failed |= !is_no_such_record(&why),
                    }
                }
                if all.is_empty() && failed { Answer::Failed } else { Answer::Addresses(all) }
            }
            Question::Exchanges(name) => match self.resolver.mx_lookup(absolute(name)).await {
                Ok(found) => Answer::Exchanges(
                    found
                        .answers()
                        .iter()
                        .filter_map(|record| match &record.data {
                            RData::MX(mx) => Some(mx.exchange.to_string()),
                            _ => None,
                        })
                        .collect(),
                ),
                Err(why) if is_no_such_record(&why) => Answer::Exchanges(Vec::new()),
                Err(_) => Answer::Failed,
            },
            Question::Texts(name) => match self.resolver.txt_lookup(absolute(name)).await {
                Ok(found) => Answer::Texts(
                    found
                        .answers()
                        .iter()
                        .filter_map(|record| match &record.data {
                            RData::TXT(txt) => {
                                Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned())
                            }
                            _ => None,
                        })
                        .collect(),
                ),
                Err(why) if is_no_such_record(&why) => Answer::Texts(Vec::new()),
                Err(_) => Answer::Failed,
            },
        }
    }
}

/// Returns `true` if the error means that the name or its records do not exist.
fn is_no_such_record(why: &NetError) -> bool {
    why.is_nx_domain() || why.is_no_records_found()
}
