//! Conversion of `return`, and of `rewrite` that redirects or changes a prefix.

use super::action::{Action, Prefix};
use super::parse::Directive;
use super::pattern::{PathSet, PatternSuffix, Shape};
use super::variables::Variables;

/// Converts a `return` into an action. `content_type` is the media type of its text; `text/plain` is used instead if it
/// is empty or not printable ASCII.
///
/// A URL alone redirects with 302. The status 444 drops the request, and 301, 302, 303, 307 or 308 with a target
/// redirects. Any other status from 200 to 599 answers with the text, which is left out for 204, 205 and 304.
///
/// # Errors
/// A reason if there are neither one nor two arguments, the status is not valid, or the target or text has variables
/// that are not known.
pub(super) fn convert_return(
    directive: &Directive,
    variables: &Variables,
    content_type: &str,
) -> Result<Action, &'static str> {
    let arguments: Vec<String> = directive.arguments.iter().map(|text| variables.expand(text)).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (status, text) = match arguments.as_slice() {
        [url] if url.parse::<u16>().is_err() => (302, *url),
        [status] => (status.parse().map_err(|_| "not a status")?, ""),
        [status, text] => (status.parse().map_err(|_| "not a status")?, *text),
        _ => return Err("not a status and a text"),
    };
    match status {
        444 => Ok(Action::Drop),
        301 | 302 | 303 | 307 | 308 if !text.is_empty() => target(text, variables)
            .map(|to| Action::Redirect { status, to })
            .ok_or("its variables are not known here"),
        200..=599 if !text.contains('$') => {
            let empty = matches!(status, 204 | 205 | 304);
            let body = if empty { String::new() } else { text.to_owned() };
            let printable =
                !content_type.is_empty() && content_type.bytes().all(|byte| (b' '..=b'~').contains(&byte));
            let content_type = if printable { content_type } else { "text/plain" }.trim().to_owned();
            Ok(Action::Respond { status, body, content_type })
        }
        200..=599 => Err("its variables are not known here"),
        _ => Err("not a status of an answer"),
    }
}

/// Converts the target of a redirect into one with the placeholders `{host}`, `{path}` and `{query}`. The scheme and
/// host of the request itself are left out, so that a path remains. `None` if other variables remain, if it is neither
/// a path nor a URL, or if it has characters that a URL cannot have.
pub(super) fn target(text: &str, variables: &Variables) -> Option<String> {
    // The scheme and host of the request itself: a path says the same, on every listener.
    let same =
        ["$scheme://$host", "$scheme://$http_host", "$scheme://$server_name", "$scheme://$host:$server_port"];
    let one_name = variables.context.host.as_ref().is_some_and(|host| *host == variables.context.server_name);
    let mut to = text.to_owned();
    for begin in same {
        if let Some(rest) = to.strip_prefix(begin)
            && (rest.starts_with('/') || rest.starts_with("$request_uri") || rest.starts_with("$uri"))
            && (one_name || begin != "$scheme://$server_name")
        {
            to = rest.to_owned();
            break;
        }
    }
    let scheme = if variables.context.tls { "https" } else { "http" };
    let name = variables.context.server_name.clone();
    let name = if one_name || name.is_empty() { "{host}".to_owned() } else { name };
    for (variable, word) in [
        ("$request_uri", "{path}{query}"),
        ("$uri$is_args$args", "{path}{query}"),
        ("$uri?$args", "{path}{query}"),
        ("$uri?$query_string", "{path}{query}"),
        ("$document_uri", "{path}"),
        ("$is_args$args", "{query}"),
        ("$is_args$query_string", "{query}"),
        ("?$args", "{query}"),
        ("?$query_string", "{query}"),
        ("$server_name", name.as_str()),
        ("$http_host", "{host}"),
        ("$host", "{host}"),
        ("$uri", "{path}"),
        ("$scheme", scheme),
        ("$server_port", &variables.context.port.to_string()),
    ] {
        let braced = format!("${{{}}}", &variable[1..]);
        to = to.replace(&braced, word).replace(variable, word);
    }
    let valid = to.starts_with('/') || to.starts_with("{path}") || to.contains("://");
    let letters = to.bytes().all(|byte| {
        byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'|')
    });
    let bare = to.replace("{host}", "").replace("{path}", "").replace("{query}", "");
    (valid && letters && !bare.contains(['$', '{', '}'])).then_some(to)
}

/// The effect of a `rewrite`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rewrite {
    /// A prefix of the path is removed, added or both (`break`).
    Prefix(Prefix),
    /// These paths are redirected by this action.
    Redirect(PathSet, Action),
    /// Another effect, which is not supported.
    Other,
}

/// Converts a `rewrite` into its effect. It redirects with 301 for the flag `permanent`, and with 302 for `redirect` or
/// a replacement that begins with `http://`, `https://` or `$scheme`. With `break` it may change the prefix.
/// [`Rewrite::Other`] for everything else, and if the expression or the target cannot be converted.
pub(super) fn rewrite(directive: &Directive, variables: &Variables) -> Rewrite {
    let [expression, replacement, flags @ ..] = directive.arguments.as_slice() else { return Rewrite::Other };
    let flag = flags.first().map_or("", String::as_str);
    let replacement = variables.expand(replacement);
    let status = match flag {
        "permanent" => 301,
        "redirect" => 302,
        _ if replacement.starts_with("http://")
            || replacement.starts_with("https://")
            || replacement.starts_with("$scheme") =>
        {
            302
        }
        "break" => return prefix_change(expression, &replacement).map_or(Rewrite::Other, Rewrite::Prefix),
        _ => return Rewrite::Other,
    };
    // The whole path as a group is the path.
    let whole = matches!(
        expression.as_str(),
        "^" | "^/" | "^(.*)$" | "^(.*)" | "(.*)" | "^/(.*)$" | "^/(.*)" | "^.*$" | ".*" | "^.+$" | "/(.*)"
    );
    // The arguments are appended, unless the replacement ends in `?`.
    let (text, query) = match replacement.strip_suffix('?') {
        Some(text) => (text.to_owned(), ""),
        None if replacement.contains('?') || replacement.contains("$request_uri") => {
            (replacement.clone(), "")
        }
        None => (replacement.clone(), "$is_args$args"),
    };
    let text = match expression.as_str() {
        "^/(.*)$" | "^/(.*)" | "/(.*)" => text.replace("/$1", "$uri"),
        _ if whole => text.replace("$1", "$uri"),
        _ => text,
    };
    let found = target(&format!("{text}{query}"), variables);
    let of = if whole {
        let shape = Shape { anchored: true, literal: "/".into(), rest: PatternSuffix::Anything };
        Some(PathSet { shapes: vec![shape], ignore_case: false })
    } else {
        PathSet::of(&escape_dots(expression), false)
    };
    match (found, of) {
        (Some(to), Some(of))
            if of.shapes.iter().all(|shape| shape.anchored && shape.rest != PatternSuffix::Some) =>
        {
            Rewrite::Redirect(of, Action::Redirect { status, to })
        }
        _ => Rewrite::Other,
    }
}

/// Escapes each `.` of a regular expression that has no quantifier, is not escaped and not in a class, since such a dot
/// of a redirect mostly stands for a literal dot.
fn escape_dots(expression: &str) -> String {
    let mut out = String::new();
    let mut letters = expression.chars().peekable();
    let mut class = false;
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => {
                out.push(letter);
                out.extend(letters.next());
                continue;
            }
            '[' => class = true,
            ']' => class = false,
            '.' if !class && !letters.peek().is_some_and(|next| "*+?{".contains(*next)) => out.push('\\'),
            _ => {}
        }
        out.push(letter);
    }
    out
}

/// Returns the change of the prefix by a `rewrite … break` that replaces a literal prefix and preserves the rest of the
/// path, as by `^/a/(.*)$ /b/$1`. `None` for any other expression or replacement.
fn prefix_change(expression: &str, replacement: &str) -> Option<Prefix> {
    let replacement = ["?$args", "$is_args$args", "?"]
        .iter()
        .find_map(|end| replacement.strip_suffix(end))
        .unwrap_or(replacement);
    let bare = expression.trim_start_matches("(?i)").trim_start_matches('^').trim_end_matches('$');
    let forms: [(&str, &[&str]); 7] = [
        ("/(.*)", &["/$1"]),
        ("/(.+)", &["/$1"]),
        ("(/.*)", &["$1"]),
        ("(/|$)(.*)", &["/$2"]),
        ("/?(.*)", &["/$1"]),
        ("(.*)", &["$1", "/$1"]),
        ("(?:/(.*))?", &["/$1"]),
    ];
    for (end, replacements) in forms {
        if let Some(prefix) = bare.strip_suffix(end) {
            let prefix = prefix.replace("\\/", "/").replace("\\.", ".").replace("\\-", "-");
            let literal = prefix.starts_with('/')
                && prefix.len() > 1
                && !prefix.contains(['(', ')', '[', ']', '*', '+', '?', '|', '\\', '$', '^', '{', '}']);
            let add = replacements.iter().find_map(|end| replacement.strip_suffix(end));
            if let (true, Some(add)) = (literal, add) {
                let fine = add.is_empty() || add.starts_with('/') && !add.contains(['$', '?', '#', ' ']);
                let strip = Some(prefix.trim_end_matches('/').to_owned()).filter(|prefix| !prefix.is_empty());
                let add = Some(add.trim_end_matches('/').to_owned()).filter(|add| !add.is_empty());
                return fine.then_some(Prefix { strip, add });
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::parse;

    fn one(text: &str) -> Directive {
        parse("f", text, &mut |_| Ok(Vec::new())).expect("nginx's grammar").remove(0)
    }

    #[test]
    fn rewrites() {
        let variables = Variables::default();
        for (text, prefix) in [
            ("rewrite ^/w/(.*) /$1 break;", "/w"),
            ("rewrite ^/w/(.*)$ /$1 break;", "/w"),
            ("rewrite /w(.*) $1 break;", "/w"),
            ("rewrite ^/w(/.*)$ $1 break;", "/w"),
            ("rewrite ^/w/?(.*)$ /$1?$args break;", "/w"),
        ] {
            let strip = Prefix { strip: Some(prefix.into()), add: None };
            assert_eq!(rewrite(&one(text), &variables), Rewrite::Prefix(strip), "{text}");
        }
        let both = Prefix { strip: Some("/a".into()), add: Some("/b".into()) };
        assert_eq!(rewrite(&one("rewrite ^/a/(.*) /b/$1 break;"), &variables), Rewrite::Prefix(both));
        for text in
            ["rewrite ^/a/(.*) /b/$1/x break;", "rewrite ^/a /b last;", "rewrite ^/(a|b)/(.*) /$2 break;"]
        {
            assert_eq!(rewrite(&one(text), &variables), Rewrite::Other, "{text}");
        }
        let Rewrite::Redirect(of, Action::Redirect { status, to }) =
            rewrite(&one("rewrite ^(.*)$ https://$host$1 permanent;"), &variables)
        else {
            panic!("a redirect")
        };
        assert_eq!(
            (of.shapes[0].literal.as_str(), status, to.as_str()),
            ("/", 301, "https://{host}{path}{query}")
        );
    }

    #[test]
    fn targets() {
        let mut variables = Variables::default();
        for (text, to) in [
            ("https://$host$request_uri", Some("https://{host}{path}{query}")),
            ("$scheme://$host/app/", Some("/app/")),
            ("/app/?$args", Some("/app/{query}")),
            ("http://x.test$uri", Some("http://x.test{path}")),
            ("$scheme://x.test/", Some("http://x.test/")),
            ("https://x.test/$1", None),
            ("x", None),
        ] {
            assert_eq!(target(text, &variables).as_deref(), to, "{text}");
        }
        variables.context.tls = true;
        assert_eq!(target("$scheme://x.test/", &variables).as_deref(), Some("https://x.test/"));
    }
}
