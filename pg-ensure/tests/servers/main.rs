//! Real servers 15, 17 and 18.

mod common;
mod concurrent;
mod crashes;
mod initial;
mod many;
mod nixos;
mod objects;
mod passwords;
mod planned;
mod standby;
mod tls;
mod unknown;
mod unprivileged;
