//! Objects of a cluster, a module for each kind: its desired and current form, its changes with their SQL, risk, required
//! rights and effect, and its planning. Objects inside a database follow in [`crate::inside`].

macro_rules! setter {
    ($($(#[$doc:meta])* $field:ident: $type:ty),* $(,)?) => {
        $($(#[$doc])*
        #[must_use]
        pub fn $field(mut self, $field: $type) -> Self {
            self.$field = Some($field);
            self
        })*
    };
}

pub(crate) mod database;
pub(crate) mod default_privilege;
pub(crate) mod grant;
pub(crate) mod membership;
pub(crate) mod owned;
pub(crate) mod role;
pub(crate) mod setting;

/// Returns `true` if a value of CONNECTION LIMIT limits the number of connections. -1 stands for no limit.
fn is_limit(connections: i32) -> bool {
    connections != -1
}
