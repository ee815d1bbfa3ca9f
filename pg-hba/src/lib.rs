//! The policy of who may connect to PostgreSQL.
