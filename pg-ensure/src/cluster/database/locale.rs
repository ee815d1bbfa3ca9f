//! Comparison of the names of locales.

use super::language::current_code;
use std::collections::BTreeMap;

/// Returns `true` for two spellings of the same locale of libc or the builtin provider, such as `en_US.UTF-8` and
/// `en_US.utf8`.
pub(super) fn same_locale(one: &str, other: &str) -> bool {
    let plain = |text: &str| -> String {
        let (name, codeset) = text.split_once('.').map_or((text, None), |(name, set)| (name, Some(set)));
        let codeset = codeset.map(|set| {
            let set: String = set.chars().filter(char::is_ascii_alphanumeric).collect();
            format!(".{}", set.to_ascii_lowercase())
        });
        name.replace('_', "-") + &codeset.unwrap_or_default()
    };
    one == other || plain(one) == plain(other)
}

/// Returns `true` for two names of the same ICU locale, such as `de_DE.UTF-8`, `de_DE` and `de-DE`. From PostgreSQL 16
/// on, the server stores the BCP 47 language tag, whatever the name that it was given.
pub(super) fn same_icu_locale(one: &str, other: &str) -> bool {
    one == other || language_tag(one) == language_tag(other)
}

/// Returns `true` for two names of the same ICU locale for PostgreSQL 16, which stores `en-US-u-va-posix` for `C` and
/// `POSIX`. Other versions do not.
pub(super) fn same_icu_locale_in_16(one: &str, other: &str) -> bool {
    let tag = |locale: &str| match language_tag(locale).split('-').next() {
        Some("c" | "posix") => language_tag("en-US-u-va-posix"),
        _ => language_tag(locale),
    };
    one == other || tag(one) == tag(other)
}

/// Keywords of ICU's own names of locales, with the keys that language tags have for them (RFC 6067).
const KEYWORDS: [(&str, &str); 12] = [
    ("calendar", "ca"),
    ("colalternate", "ka"),
    ("colbackwards", "kb"),
    ("colcasefirst", "kf"),
    ("colcaselevel", "kc"),
    ("colhiraganaquaternary", "kh"),
    ("collation", "co"),
    ("colnormalization", "kk"),
    ("colnumeric", "kn"),
    ("colreorder", "kr"),
    ("colstrength", "ks"),
    ("numbers", "nu"),
];

/// Values of these keywords, with those that language tags have for them.
const VALUES: [(&str, &str); 13] = [
    ("dictionary", "dict"),
    ("gb2312han", "gb2312"),
    ("identical", "identic"),
    ("no", "false"),
    ("non-ignorable", "noignore"),
    ("phonebook", "phonebk"),
    ("primary", "level1"),
    ("quaternary", "level4"),
    ("secondary", "level2"),
    ("tertiary", "level3"),
    ("traditional", "trad"),
    ("true", ""),
    ("yes", ""),
];

/// Returns the language tag of a locale in lower case, as far as it can be made from the name: without a codeset, with
/// the keywords of its extension `u` in alphabetical order.
fn language_tag(locale: &str) -> String {
    let locale = locale.to_ascii_lowercase();
    let (name, modifiers) = locale.split_once('@').unwrap_or((&locale, ""));
    let name = name.split_once('.').map_or(name, |(name, _)| name).replace('_', "-");
    let (base, extension) = name.split_once("-u-").unwrap_or((&name, ""));
    let mut keywords: BTreeMap<String, String> = BTreeMap::new();
    let mut add = |key: &str, value: &str| {
        let value = VALUES.iter().find(|(old, _)| *old == value).map_or(value, |(_, new)| new);
        keywords.insert(key.to_owned(), value.to_owned());
    };
    let (mut key, mut value) = ("", Vec::new());
    for part in extension.split('-').filter(|part| !part.is_empty()) {
        if part.len() == 2 {
            if !key.is_empty() {
                add(key, &value.join("-"));
            }
            (key, value) = (part, Vec::new());
        } else {
            value.push(part);
        }
    }
    if !key.is_empty() {
        add(key, &value.join("-"));
    }
    let mut base = base.to_owned();
    for modifier in modifiers.split(';').map(str::trim).filter(|modifier| !modifier.is_empty()) {
        if let Some((key, value)) = modifier.split_once('=') {
            let key = key.trim();
            add(KEYWORDS.iter().find(|(old, _)| *old == key).map_or(key, |(_, new)| new), value.trim());
        } else {
            base = format!("{base}-{modifier}");
        }
    }
    if let Some(plain) = base.strip_suffix("-posix") {
        add("va", "posix");
        base = plain.to_owned();
    }
    if base.is_empty() || base == "root" {
        "und".clone_into(&mut base);
    }
    let (language, rest) = base.split_at(base.find('-').unwrap_or(base.len()));
    let base = format!("{}{rest}", current_code(language));
    let keywords = keywords.into_iter().map(|(key, value)| format!("-{key}-{value}"));
    format!("{base}{}", keywords.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names with the language tags that PostgreSQL 18 stores for them.
    #[test]
    fn names_and_their_language_tags_are_the_same() {
        for (name, tag) in [
            ("de_DE.UTF-8", "de-DE"),
            ("de_DE", "de-DE"),
            ("DE-de", "de-DE"),
            ("en_us", "en-US"),
            ("zh_Hant_TW", "zh-Hant-TW"),
            ("sr_RS@latin", "sr-RS-latin"),
            ("de@collation=phonebook", "de-u-co-phonebk"),
            ("de_DE.UTF-8@collation=phonebook", "de-DE-u-co-phonebk"),
            ("es@collation=traditional", "es-u-co-trad"),
            ("zh@collation=big5han", "zh-u-co-big5han"),
            ("en@colStrength=secondary;colNumeric=yes", "en-u-kn-ks-level2"),
            ("en-US-u-ks-level2-kn-true", "en-US-u-kn-ks-level2"),
            ("en_US_U_KS_LEVEL2", "en-US-u-ks-level2"),
            ("en@colAlternate=shifted", "en-u-ka-shifted"),
            ("en@colReorder=latn-digit", "en-u-kr-latn-digit"),
            ("en@colNumeric=no", "en-u-kn-false"),
            ("en_US_POSIX", "en-US-u-va-posix"),
            ("deu", "de"),
            ("deu_DE.UTF-8", "de-DE"),
            ("iw-IL", "he-IL"),
            ("fra@collation=phonebook", "fr-u-co-phonebk"),
            ("root", "und"),
            ("", "und"),
        ] {
            assert!(same_icu_locale(tag, name), "{name}: {} and {}", language_tag(name), language_tag(tag));
        }
        for (one, other) in [
            ("de-DE", "de-AT"),
            ("de-DE", "de"),
            ("de", "de-u-co-phonebk"),
            ("en-u-kn", "en-u-kn-false"),
            ("de-DE", "de_DE@euro"),
            ("en-US", "en-US-u-va-posix"),
            ("ger", "de"),
            ("C", "en-US-u-va-posix"),
        ] {
            assert!(!same_icu_locale(one, other), "{one} and {other}");
        }
        for name in ["C", "POSIX", "C.UTF-8", "en-US-u-va-posix"] {
            assert!(same_icu_locale_in_16("en-US-u-va-posix", name), "{name}");
        }
        assert!(!same_icu_locale_in_16("en-US-u-va-posix", "en-US") && same_icu_locale_in_16("de", "deu"));
    }

    /// The codeset belongs to the name of a locale of libc.
    #[test]
    fn a_locale_of_libc_has_a_codeset() {
        assert!(same_locale("en_US.UTF-8", "en_US.utf8"));
        assert!(!same_locale("C.UTF-8", "C"));
        assert!(!same_locale("de_DE.UTF-8", "de_DE.ISO8859-1"));
    }
}
