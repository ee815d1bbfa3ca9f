//! PostgreSQL databases, roles, ownership and passwords, made true.

pub mod upgrade;
