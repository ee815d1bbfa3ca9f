//! Real servers 15, 17 and 18.

mod common;
mod concurrent;
mod crashes;
mod event_triggers;
mod initial;
mod many;
mod nixos;
mod objects;
mod owners;
mod passwords;
mod planned;
mod publications;
mod sessions;
mod standby;
mod tls;
mod unknown;
mod unprivileged;
