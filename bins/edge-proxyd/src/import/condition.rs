//! Evaluation of the conditions of `if`.

use super::parse::Directive;
use super::pattern::{IGNORE_CASE, PathSet, PatternSuffix, shapes};
use super::ranges::{Rule, everyone};
use super::variables::{Variables, bare};

/// The requests for which the condition of an `if` is true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All requests, as the condition is always true.
    Always,
    /// No requests, as the condition is never true.
    Never,
    /// Requests by the client's address. A rule `allows` the addresses for which the condition is true; the first
    /// matching rule decides.
    Clients(Vec<Rule>),
    /// Requests with one of these methods.
    Methods(Vec<String>),
    /// Requests with none of these methods.
    OtherMethods(Vec<String>),
    /// Requests without a valid client certificate.
    NoCertificate,
    /// Requests for these paths.
    Paths(PathSet),
    /// Depends on whether a file exists; also a negated test.
    Files,
    /// Not known before the request arrives.
    Unknown,
}

/// Methods of HTTP and WebDAV with its extensions CalDAV, versioning and search. A condition on the method is evaluated
/// for each of them. Methods that are not listed are refused if one of these is.
pub(super) const METHODS: &[&str] = &[
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "MKCALENDAR",
    "COPY",
    "MOVE",
    "LOCK",
    "UNLOCK",
    "ACL",
    "REPORT",
    "SEARCH",
];

/// Returns the requests for which the condition of an `if` directive is true, as far as that is known before they
/// arrive: from constants, the client's address, the method, a client certificate that is not valid, or the path. Tests
/// of files return [`Verdict::Files`], and everything else [`Verdict::Unknown`].
///
/// At another port than that of the scheme, Host has the port or, behind a mapping of ports, not. A condition that
/// depends on that is [`Verdict::Unknown`].
pub(super) fn verdict(directive: &Directive, variables: &Variables) -> Verdict {
    let found = evaluate(directive, variables);
    let is_certain = variables.context.has_default_port() || verdict_with_port(directive, variables) == found;
    if is_certain { found } else { Verdict::Unknown }
}

/// Returns the requests for which the condition of an `if` is true if Host has the port of the listener.
pub(super) fn verdict_with_port(directive: &Directive, variables: &Variables) -> Verdict {
    let mut with_port = variables.clone();
    with_port.context.host_has_port = true;
    evaluate(directive, &with_port)
}

/// Returns the requests for which the condition of an `if` is true, with Host as in the context of `variables`.
fn evaluate(directive: &Directive, variables: &Variables) -> Verdict {
    let text = directive.arguments.join(" ");
    let text = text.trim();
    let text = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')).unwrap_or(text).trim();
    let (left, rest) = text.split_once(' ').unwrap_or((text, ""));
    if left.trim_start_matches('!').starts_with('-') {
        return Verdict::Files;
    }
    let (operator, right) = rest.trim().split_once(' ').unwrap_or((rest.trim(), ""));
    let right = variables.constant(right.trim());
    let source = variables.expand(left);
    if let Some(found) = clients(left, operator, &right, variables) {
        return found;
    }
    let negated = operator.starts_with('!');
    match (bare(&source).as_str(), operator.trim_start_matches('!')) {
        ("ssl_client_verify", "=")
            if variables.context.tls && (negated, right.as_str()) == (true, "SUCCESS") =>
        {
            Verdict::NoCertificate
        }
        ("request_method", "=") => methods(vec![right], negated),
        ("request_method", "~" | "~*") => match methods_that_match(&right, operator.ends_with('*')) {
            Some(all) => methods(all, negated),
            None => Verdict::Unknown,
        },
        ("request_uri" | "uri" | "document_uri", "=") if !negated && right.starts_with('/') => {
            Verdict::Paths(PathSet::exact(right.split('?').next().unwrap_or_default().to_owned()))
        }
        ("request_uri" | "uri" | "document_uri", "~" | "~*") if !negated => {
            // $request_uri is the target as it was sent, undecoded and with the query; routes see neither.
            let raw = bare(&source) == "request_uri";
            let is_beyond =
                |paths: &PathSet| paths.shapes.iter().any(|shape| shape.literal.contains(['?', '%']));
            let found =
                PathSet::of(&right, operator.ends_with('*')).filter(|paths| !(raw && is_beyond(paths)));
            found.map_or(Verdict::Unknown, Verdict::Paths)
        }
        _ => compare(&variables.constant(&source), operator, &right),
    }
}

/// Evaluates an operator of `if` on two texts: [`Verdict::Always`] or [`Verdict::Never`]. Without an operator, true
/// unless `left` is empty or `0`. [`Verdict::Unknown`] if `left` has a variable, or `right` has one and is compared for
/// equality, or the operator or expression is not supported.
fn compare(left: &str, operator: &str, right: &str) -> Verdict {
    if left.contains('$') || right.contains('$') && matches!(operator, "=" | "!=") {
        return Verdict::Unknown;
    }
    let of = |holds: bool| if holds { Verdict::Always } else { Verdict::Never };
    match operator {
        "" => of(!left.is_empty() && left != "0"),
        "=" => of(left == right),
        "!=" => of(left != right),
        "~" | "~*" | "!~" | "!~*" => {
            let Some(matches) = matches(left, right, operator.ends_with('*')) else {
                return Verdict::Unknown;
            };
            of(matches != operator.starts_with('!'))
        }
        _ => Verdict::Unknown,
    }
}

/// Returns whether a regular expression matches a text; without regard to case if `ignore_case`, or if the expression
/// begins with `(?i)`. `None` if that depends on parts of the expression that are not represented.
fn matches(text: &str, expression: &str, ignore_case: bool) -> Option<bool> {
    let (text, expression) = if ignore_case || expression.starts_with(IGNORE_CASE) {
        (text.to_lowercase(), expression.to_lowercase())
    } else {
        (text.into(), expression.into())
    };
    let mut unknown = false;
    for shape in shapes(&expression)? {
        match shape.is_match(&text) {
            Some(true) => return Some(true),
            Some(false) => {}
            None => unknown = true,
        }
    }
    (!unknown).then_some(false)
}

/// Returns the methods that a regular expression matches: those of [`METHODS`], and words of which it is an
/// alternative. `None` if it is not known of one of [`METHODS`] whether it matches.
fn methods_that_match(expression: &str, ignore_case: bool) -> Option<Vec<String>> {
    let mut found: Vec<String> = Vec::new();
    for method in METHODS {
        if matches(method, expression, ignore_case)? {
            found.push((*method).to_owned());
        }
    }
    for shape in shapes(expression)? {
        let is_word = shape.anchored && shape.rest == PatternSuffix::Nothing && is_method(&shape.literal);
        if is_word && !found.contains(&shape.literal) {
            found.push(shape.literal);
        }
    }
    Some(found)
}

/// Returns true if a word is a method for nginx: not empty, and only of uppercase letters, `_` and `-`.
fn is_method(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_uppercase() || b"_-".contains(&byte))
}

/// Returns [`Verdict::Methods`] for these methods, or [`Verdict::OtherMethods`] if `negated`. [`Verdict::Unknown`]
/// unless each is a method for nginx ([`is_method`]).
fn methods(all: Vec<String>, negated: bool) -> Verdict {
    if !all.iter().all(|method| is_method(method)) {
        return Verdict::Unknown;
    }
    if negated { Verdict::OtherMethods(all) } else { Verdict::Methods(all) }
}

/// Converts a condition on a variable of `geo`, without an operator or with `=` or `!=`, or a comparison of the
/// client's address with one address, into [`Verdict::Clients`]. `None` for any other condition.
fn clients(left: &str, operator: &str, right: &str, variables: &Variables) -> Option<Verdict> {
    let holds = |value: &str| match operator {
        "" => Some(!value.is_empty() && value != "0"),
        "=" => Some(value == right),
        "!=" => Some(value != right),
        _ => None,
    };
    if let Some(block) = variables.geo(left) {
        let mut ranges = block.ranges.clone();
        // The most specific range counts, and of two entries for one range the last.
        ranges.reverse();
        ranges.sort_by_key(|(range, _)| std::cmp::Reverse(range.prefix_len()));
        let mut rules = Vec::new();
        for (range, value) in ranges {
            rules.push(Rule { allows: holds(&value)?, range });
        }
        let other = holds(&block.default)?;
        rules.extend(everyone().map(|range| Rule { allows: other, range }));
        return Some(Verdict::Clients(rules));
    }
    if bare(&variables.expand(left)) == "remote_addr" && matches!(operator, "=" | "!=") {
        // nginx compares texts: no address is equal to a range.
        let range = ipnet::IpNet::from(right.parse::<std::net::IpAddr>().ok()?);
        let mut rules = vec![Rule { allows: operator == "=", range }];
        rules.extend(everyone().map(|range| Rule { allows: operator != "=", range }));
        return Some(Verdict::Clients(rules));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::parse;

    #[test]
    fn verdicts() {
        let text = "geo $lan { default 0; 10.0.0.0/8 1; }";
        let found = parse("f", text, &mut |_| Ok(Vec::new())).expect("nginx's grammar");
        let mut variables = Variables::read(&found.iter().collect::<Vec<_>>());
        variables.context.host = Some("a.test".into());
        variables.context.port = 80;
        let of = |text: &str| {
            let text = format!("if {text} {{ break; }}");
            verdict(&parse("f", &text, &mut |_| Ok(Vec::new())).expect("nginx's grammar")[0], &variables)
        };
        assert_eq!(of("($host = a.test)"), Verdict::Always);
        assert_eq!(of("( $host = b.test )"), Verdict::Never);
        assert_eq!(of("($host ~* ^www\\.)"), Verdict::Never);
        assert_eq!(of("($http_host != a.test)"), Verdict::Never);
        assert_eq!(of("($scheme = \"http\")"), Verdict::Always);
        assert_eq!(of("($scheme != https)"), Verdict::Always);
        assert_eq!(of("($https = '')"), Verdict::Always);
        assert_eq!(of("($server_port = 443)"), Verdict::Never);
        assert_eq!(of("(-f $request_filename)"), Verdict::Files);
        assert_eq!(of("($http_user_agent ~* (curl|wget))"), Verdict::Unknown);
        assert_eq!(
            of("($request_method !~ ^(GET|HEAD)$)"),
            Verdict::OtherMethods(vec!["GET".into(), "HEAD".into()])
        );
        assert_eq!(of("($request_method = POST)"), Verdict::Methods(vec!["POST".into()]));
        let paths = |literal: &str, ignore_case| {
            let expression = format!("^{literal}");
            Verdict::Paths(PathSet::of(&expression, ignore_case).expect("a beginning"))
        };
        assert_eq!(of("($request_uri ~ ^/admin)"), paths("/admin", false));
        assert_eq!(of("($request_uri ~* ^/admin)"), paths("/admin", true));
        assert_eq!(of("($uri ~ (?i)^/admin)"), paths("/admin", true));
        // By a beginning, an end, a part and a repetition: of all known methods.
        let methods = |text: &str| match of(text) {
            Verdict::Methods(all) | Verdict::OtherMethods(all) => all.join(" "),
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(methods("($request_method ~ ^P)"), "POST PUT PATCH PROPFIND PROPPATCH");
        assert_eq!(
            methods("($request_method !~ ^(GET|HEAD|OPTIONS|PROPFIND|X-OWN)$)"),
            "GET HEAD OPTIONS PROPFIND X-OWN"
        );
        assert_eq!(methods("($request_method ~* ^del)"), "DELETE");
        assert_eq!(methods("($request_method ~ POST|PUT)"), "POST PUT");
        assert_eq!(methods("($request_method ~ COL$)"), "MKCOL");
        assert_eq!(methods("($request_method ~ \"^UN{0,1}LOCK\")"), "UNLOCK");
        assert_eq!(methods("($request_method ~ ^POST.+)"), "");
        assert_eq!(methods("($request_method ~ .*)").split(' ').count(), METHODS.len());
        assert_eq!(of("($request_method ~ ^P[A-Z])"), Verdict::Unknown);
        // Browsers send the port if it is not that of the scheme, and a mapping of ports may hide it.
        let mut elsewhere = variables.clone();
        elsewhere.context.port = 8080;
        for (text, expected) in [
            ("($http_host = a.test:8080)", Verdict::Unknown),
            ("($http_host != a.test)", Verdict::Unknown),
            ("($http_host ~ \\.evil$)", Verdict::Never),
            ("($http_host ~ ^a\\.test)", Verdict::Always),
            ("($host != a.test)", Verdict::Never),
        ] {
            let text_of = format!("if {text} {{ break; }}");
            let found = parse("f", &text_of, &mut |_| Ok(Vec::new())).expect("nginx's grammar");
            assert_eq!(verdict(&found[0], &elsewhere), expected, "{text}");
        }
        // Of a range that is listed twice, the last value counts.
        let text = "geo $twice { default 0; 10.0.0.0/8 1; 10.0.0.0/8 0; }";
        let found = parse("f", text, &mut |_| Ok(Vec::new())).expect("nginx's grammar");
        let twice = Variables::read(&found.iter().collect::<Vec<_>>());
        let condition =
            parse("f", "if ($twice) { break; }", &mut |_| Ok(Vec::new())).expect("nginx's grammar");
        let Verdict::Clients(rules) = verdict(&condition[0], &twice) else { panic!("clients") };
        assert!(!rules[0].allows);
        let Verdict::Clients(rules) = of("($lan = 0)") else { panic!("clients") };
        assert!(!rules[0].allows && rules[1].allows);
    }
}
