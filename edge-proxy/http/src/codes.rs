//! A macro that defines error codes on the wire with their RFC names.

/// Defines `Code` over an integer, documented by `$outer`, with a constant for each code.
macro_rules! codes {
    ($(#[$outer:meta])+ $number:ty: $($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        $(#[$outer])+
        ///
        /// Any value is representable; the constants are those that the RFCs define.
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct Code(pub $number);

        impl Code {
            $($(#[$doc])* pub const $name: Self = Self($value);)*

            /// Returns the name of the code in the RFCs. `None` for an unknown code.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }

        impl std::fmt::Display for Code {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, "{:#x}", self.0),
                }
            }
        }

        impl std::fmt::Debug for Code {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        }
    };
}
