//! Sets of characters, as sorted ranges of code points.

/// A set of code points: sorted, inclusive ranges that neither overlap nor are adjacent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct CharSet {
    ranges: Vec<(u32, u32)>,
}

/// Largest code point of a set (`CHR_MAX`).
const MAX_CODE: u32 = 0x7fff_fffe;

impl CharSet {
    /// Returns the set of all code points, from 0 to [`MAX_CODE`].
    pub(super) fn all() -> Self {
        Self { ranges: vec![(0, MAX_CODE)] }
    }

    /// Returns the set of one code point.
    pub(super) fn one(code: u32) -> Self {
        Self { ranges: vec![(code, code)] }
    }

    /// Returns the ranges, ascending and inclusive.
    pub(super) fn ranges(&self) -> &[(u32, u32)] {
        &self.ranges
    }

    /// Adds the code points from `from` to `to`, inclusive.
    pub(super) fn add(&mut self, from: u32, to: u32) {
        self.ranges.push((from, to));
        self.ranges.sort_unstable();
        let mut joined: Vec<(u32, u32)> = Vec::with_capacity(self.ranges.len());
        for &(from, to) in &self.ranges {
            match joined.last_mut() {
                Some(last) if from <= last.1.saturating_add(1) => last.1 = last.1.max(to),
                _ => joined.push((from, to)),
            }
        }
        self.ranges = joined;
    }

    /// Adds the code points of another set.
    pub(super) fn union(&mut self, other: &Self) {
        for &(from, to) in &other.ranges {
            self.add(from, to);
        }
    }

    /// Returns the set of all other code points up to [`MAX_CODE`].
    pub(super) fn complement(&self) -> Self {
        let mut ranges = Vec::new();
        let mut next = 0;
        for &(from, to) in &self.ranges {
            if from > next {
                ranges.push((next, from - 1));
            }
            next = to.saturating_add(1);
        }
        if next <= MAX_CODE {
            ranges.push((next, MAX_CODE));
        }
        Self { ranges }
    }

    /// Removes a code point, if it is in the set.
    pub(super) fn remove(&mut self, code: u32) {
        let mut outside = self.complement();
        outside.add(code, code);
        *self = outside.complement();
    }

    /// Adds the other case of each ASCII letter in the set. The C collation folds no other letters.
    pub(super) fn fold_case(&mut self) {
        for upper in b'A'..=b'Z' {
            let (upper, lower) = (u32::from(upper), u32::from(upper.to_ascii_lowercase()));
            match (self.contains(upper), self.contains(lower)) {
                (true, false) => self.add(lower, lower),
                (false, true) => self.add(upper, upper),
                _ => {}
            }
        }
    }

    /// Returns `true` if the set contains a code point.
    pub(super) fn contains(&self, code: u32) -> bool {
        self.ranges.iter().any(|&(from, to)| from <= code && code <= to)
    }

    /// Returns a POSIX character class, such as `alpha`, under the C collation. `None` if the name is unknown.
    pub(super) fn class(name: &str) -> Option<Self> {
        let holds: fn(&u8) -> bool = match name {
            "alnum" => u8::is_ascii_alphanumeric,
            "alpha" => u8::is_ascii_alphabetic,
            "ascii" => |_| true,
            "blank" => |byte| matches!(byte, b' ' | b'\t'),
            "cntrl" => {
                let mut set = Self::default();
                set.add(0, 0x1f);
                set.add(0x7f, 0x9f);
                return Some(set);
            }
            "digit" => u8::is_ascii_digit,
            "graph" => u8::is_ascii_graphic,
            "lower" => u8::is_ascii_lowercase,
            "print" => |byte| matches!(byte, b' '..=b'~'),
            "punct" => u8::is_ascii_punctuation,
            "space" => |byte| matches!(byte, b' ' | b'\t'..=b'\r'),
            "upper" => u8::is_ascii_uppercase,
            "word" => |byte| byte.is_ascii_alphanumeric() || *byte == b'_',
            "xdigit" => u8::is_ascii_hexdigit,
            _ => return None,
        };
        let mut set = Self::default();
        (0..=0x7f_u8).filter(holds).for_each(|byte| set.add(byte.into(), byte.into()));
        Some(set)
    }

    /// Returns the code point of a collating element: the only character of `name`, or the one whose POSIX name is
    /// `name`. `None` if the name is unknown.
    pub(super) fn element(name: &str) -> Option<u32> {
        let mut chars = name.chars();
        if let (Some(only), None) = (chars.next(), chars.next()) {
            return Some(only.into());
        }
        ELEMENTS.iter().find(|(known, _)| *known == name).map(|(_, code)| u32::from(*code))
    }
}

/// Returns `true` if a character is part of a word under the C collation: an ASCII letter, a digit or an underscore.
pub(super) fn is_word(code: u32) -> bool {
    u8::try_from(code).is_ok_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// POSIX names of characters with their code points.
const ELEMENTS: &[(&str, u8)] = &[
    ("NUL", 0),
    ("SOH", 1),
    ("STX", 2),
    ("ETX", 3),
    ("EOT", 4),
    ("ENQ", 5),
    ("ACK", 6),
    ("BEL", 7),
    ("alert", 7),
    ("BS", 8),
    ("backspace", 8),
    ("HT", 9),
    ("tab", 9),
    ("LF", 10),
    ("newline", 10),
    ("VT", 11),
    ("vertical-tab", 11),
    ("FF", 12),
    ("form-feed", 12),
    ("CR", 13),
    ("carriage-return", 13),
    ("SO", 14),
    ("SI", 15),
    ("DLE", 16),
    ("DC1", 17),
    ("DC2", 18),
    ("DC3", 19),
    ("DC4", 20),
    ("NAK", 21),
    ("SYN", 22),
    ("ETB", 23),
    ("CAN", 24),
    ("EM", 25),
    ("SUB", 26),
    ("ESC", 27),
    ("IS4", 28),
    ("FS", 28),
    ("IS3", 29),
    ("GS", 29),
    ("IS2", 30),
    ("RS", 30),
    ("IS1", 31),
    ("US", 31),
    ("space", b' '),
    ("exclamation-mark", b'!'),
    ("quotation-mark", b'"'),
    ("number-sign", b'#'),
    ("dollar-sign", b'$'),
    ("percent-sign", b'%'),
    ("ampersand", b'&'),
    ("apostrophe", b'\''),
    ("left-parenthesis", b'('),
    ("right-parenthesis", b')'),
    ("asterisk", b'*'),
    ("plus-sign", b'+'),
    ("comma", b','),
    ("hyphen", b'-'),
    ("hyphen-minus", b'-'),
    ("period", b'.'),
    ("full-stop", b'.'),
    ("slash", b'/'),
    ("solidus", b'/'),
    ("zero", b'0'),
    ("one", b'1'),
    ("two", b'2'),
    ("three", b'3'),
    ("four", b'4'),
    ("five", b'5'),
    ("six", b'6'),
    ("seven", b'7'),
    ("eight", b'8'),
    ("nine", b'9'),
    ("colon", b':'),
    ("semicolon", b';'),
    ("less-than-sign", b'<'),
    ("equals-sign", b'='),
    ("greater-than-sign", b'>'),
    ("question-mark", b'?'),
    ("commercial-at", b'@'),
    ("left-square-bracket", b'['),
    ("backslash", b'\\'),
    ("reverse-solidus", b'\\'),
    ("right-square-bracket", b']'),
    ("circumflex", b'^'),
    ("circumflex-accent", b'^'),
    ("underscore", b'_'),
    ("low-line", b'_'),
    ("grave-accent", b'`'),
    ("left-brace", b'{'),
    ("left-curly-bracket", b'{'),
    ("vertical-line", b'|'),
    ("right-brace", b'}'),
    ("right-curly-bracket", b'}'),
    ("tilde", b'~'),
    ("DEL", 127),
];
