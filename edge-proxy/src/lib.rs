//! An edge proxy to embed: HTTP/1.1, HTTP/2 and HTTP/3, deny by default.

pub mod client_address;
pub mod config;
pub mod decide;
pub mod early_data;
mod fields;
pub mod forwarded;
pub mod grammar;
pub mod h1;
pub mod h3;
mod head;
pub mod hop_by_hop;
pub mod host;
pub mod proxy_protocol;
#[cfg(feature = "server")]
mod server;
mod snapshot;
pub mod websocket;

pub use fields::{Field, Fields, Name};
pub use head::{BodyLength, Method, RequestHead, ResponseHead, Version};
pub use snapshot::{ConfigError, ConfigErrors, Place, Snapshot};

#[cfg(feature = "server")]
pub use server::{
    UpstreamTlsError,
    certificates::{CertificateError, Certificates, Refreshed},
    observe::{AccessRecord, Observer, Silent, TurnedAway},
    proxy::{Builder, Proxy, Running, StartError},
};
