//! The paths of a server for which requests are sent, and the directive that handles each.

use crate::import::{Directive, PatternSuffix, shapes};

/// A path to request, with the limit of request content in its location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    /// The request target: the path, and for some a query.
    pub(super) path: String,
    /// The limit in bytes; 0 for no limit.
    pub(super) limit: u64,
}

/// Returns paths at, below and beside every location of a server, without repetitions; `/` and an unrelated path come
/// first. `limit` is the limit of request content around the server, in bytes, 0 for none.
pub(super) fn samples(server: &Directive, limit: u64) -> Vec<Sample> {
    let mut found = Vec::new();
    let limit = limit_of(server.inner(), limit);
    let mut add = |path: String, limit: u64| {
        if path.starts_with('/')
            && path.bytes().all(|byte| byte.is_ascii_graphic())
            && !found.iter().any(|one: &Sample| one.path == path)
        {
            found.push(Sample { path, limit });
        }
    };
    add("/".into(), limit);
    add("/elsewhere/x?q=1".into(), limit);
    block(server.inner(), limit, &mut add);
    found
}

/// Calls `add` for paths at, below and beside the locations, rewrites and conditions of a block, recursively, with the
/// limit of request content there in bytes.
fn block(all: &[Directive], limit: u64, add: &mut dyn FnMut(String, u64)) {
    for one in all {
        let literals: Vec<String> = match (one.name.as_str(), one.arguments.as_slice()) {
            ("location", [modifier, expression]) if modifier.starts_with('~') => {
                paths_of_expression(expression)
            }
            ("location", [_, path] | [path]) => vec![path.clone()],
            ("rewrite", [expression, ..]) => paths_of_expression(expression),
            ("if", _) => one
                .arguments
                .iter()
                .map(|text| text.trim_matches(['(', ')', '"']).trim_start_matches(['^', '~']))
                .filter(|text| text.starts_with('/'))
                .flat_map(paths_of_expression)
                .collect(),
            _ => Vec::new(),
        };
        let limit = limit_of(one.inner(), limit);
        for literal in literals.iter().filter(|literal| !literal.starts_with('@')) {
            let literal = literal.trim_start_matches(['=', '^', '~']);
            let bare = literal.trim_end_matches('/');
            add(literal.to_owned(), limit);
            add(format!("{bare}/below/x?a=1"), limit);
            add(format!("{bare}beside"), limit);
            add(bare.to_owned(), limit);
        }
        block(one.inner(), limit, add);
    }
}

/// Returns paths that a regular expression matches, or nearly matches: for an expression that cannot be analysed, its
/// characters up to the first special one.
fn paths_of_expression(expression: &str) -> Vec<String> {
    let Some(all) = shapes(expression) else {
        let letters = expression.replace("\\.", ".");
        let plain: String = letters.chars().take_while(|c| !"()[]*+?|^$\\".contains(*c)).collect();
        return vec![format!("/x{}", plain), plain];
    };
    let mut found = Vec::new();
    for shape in all {
        // Of texts that follow, one that may match, and none.
        let ends: &[&str] = match shape.rest {
            PatternSuffix::Some => &["0/", ""],
            PatternSuffix::AtLeastOne => &["x", ""],
            PatternSuffix::Anything | PatternSuffix::Nothing => &[""],
        };
        for end in ends {
            if shape.anchored || shape.literal.starts_with('/') {
                found.push(format!("{}{end}", shape.literal));
            }
            if !shape.anchored {
                found.push(format!("/within/a{}{end}", shape.literal));
            }
        }
    }
    found
}

/// Returns the limit of request content in a block, in bytes, by its last `client_max_body_size`; without one `outer`,
/// the limit of the block around it. 0, also for an invalid size, means no limit.
pub(super) fn limit_of(block: &[Directive], outer: u64) -> u64 {
    let Some(text) = block.iter().rev().find(|one| one.name == "client_max_body_size").map(Directive::first)
    else {
        return outer;
    };
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        _ => 1,
    };
    digits.parse::<u64>().unwrap_or(0).saturating_mul(factor)
}

/// Returns the position, as `file:line`, of the location that handles a path in nginx, or of the server if no location
/// matches. A matching regular expression precedes every prefix.
pub(super) fn place(server: &Directive, path: &str) -> String {
    let path = path.split('?').next().unwrap_or_default();
    let mut best: (usize, &Directive) = (0, server);
    longest(server.inner(), path, &mut best);
    best.1.place()
}

/// Updates `best`, the length of the longest match and its location, with the locations of a block and those within. An
/// exact location counts as longest, and after it a regular expression.
fn longest<'d>(all: &'d [Directive], path: &str, best: &mut (usize, &'d Directive)) {
    for one in all.iter().filter(|one| one.name == "location") {
        let length = match one.arguments.as_slice() {
            [modifier, exact] if modifier == "=" => (exact == path).then_some(usize::MAX),
            [modifier, expression] if modifier.starts_with('~') => {
                let matches = |shape: crate::import::Shape| {
                    if shape.anchored {
                        path.starts_with(&shape.literal)
                    } else {
                        path.contains(&shape.literal)
                    }
                };
                shapes(expression).is_some_and(|all| all.into_iter().any(matches)).then_some(usize::MAX - 1)
            }
            [_, prefix] | [prefix] => path.starts_with(prefix.as_str()).then_some(prefix.len()),
            _ => None,
        };
        if let Some(length) = length.filter(|length| *length > best.0) {
            *best = (length, one);
        }
        longest(one.inner(), path, best);
    }
}
