//! The program as its user runs it: against Pebble 2.10, a name server that takes updates, nginx, postfix, PostgreSQL.

mod adopt;
mod alerts;
mod commands;
mod daemon;
mod deploy;
mod held_back;
mod kill;
mod lab;
mod list;
mod packaging;
mod reload;
mod rights;
mod roll_back;
mod shared;
