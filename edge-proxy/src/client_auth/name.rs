//! Distinguished names as text (RFC 4514), as OpenSSL's `RFC2253` format writes them.

use x509_parser::x509::X509Name;

/// The short names of attribute types: pairs of the object identifier and the name.
const SHORT: [(&str, &str); 11] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

/// Formats a distinguished name as RFC 4514 does: the last relative name first, separated by commas, its attributes
/// joined by `+`. Attribute types without a known short name are written as object identifiers, values that are not
/// text as `#` and hexadecimal. Bytes outside printable ASCII become `\XX`, so that the text is a valid field value.
pub(super) fn rfc_4514(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = name
        .iter_rdn()
        .map(|set| {
            let attributes = set.iter().map(|attribute| {
                let oid = attribute.attr_type().to_id_string();
                let known = SHORT.iter().find(|(id, _)| *id == oid);
                let value = match attribute.as_str() {
                    Ok(text) => escaped(text.as_bytes()),
                    Err(_) => hexadecimal(attribute.attr_value().data),
                };
                format!("{}={value}", known.map_or(oid.as_str(), |(_, short)| short))
            });
            attributes.collect::<Vec<_>>().join("+")
        })
        .collect();
    parts.reverse();
    parts.join(",")
}

/// Formats bytes as `#` and uppercase hexadecimal digits.
fn hexadecimal(bytes: &[u8]) -> String {
    format!("#{}", edge_http::encoding::hexadecimal(bytes).to_ascii_uppercase())
}

/// Escapes the special characters of an attribute value (RFC 4514 §2.4), and bytes outside printable ASCII as `\XX`.
fn escaped(value: &[u8]) -> String {
    let mut text = String::with_capacity(value.len());
    for (at, byte) in value.iter().enumerate() {
        let ends = at == 0 || at + 1 == value.len();
        match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => {
                text.push('\\');
                text.push(char::from(*byte));
            }
            b'#' if at == 0 => text.push_str("\\#"),
            b' ' if ends => text.push_str("\\ "),
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => text.push_str(&format!("\\{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn values_are_escaped() {
        for (value, written) in [
            ("ann", "ann"),
            ("Smith, \"Ann\" + co", "Smith\\, \\\"Ann\\\" \\+ co"),
            ("#1", "\\#1"),
            ("1#", "1#"),
            (" a b ", "\\ a b\\ "),
            ("Zoë\r\nX: y", "Zo\\C3\\AB\\0D\\0AX: y"),
        ] {
            assert_eq!(super::escaped(value.as_bytes()), written);
        }
    }
}
