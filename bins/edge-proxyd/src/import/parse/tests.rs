//! The grammar, and what is not written in it.

use super::*;
use proptest::prelude::*;

fn read(text: &str) -> Result<Vec<Directive>, ParseError> {
    parse("nginx.conf", text, &mut |_| Err("there is none".into()))
}

fn arguments(text: &str) -> Vec<String> {
    read(text).unwrap().remove(0).arguments
}

#[test]
fn words_as_nginx_reads_them() {
    assert_eq!(
        arguments("a 'b c' \"d;e\" f\\;g h#i ${x}y '' # z\n;"),
        ["b c", "d;e", "f\\;g", "h#i", "${x}y", ""]
    );
    assert_eq!(arguments(r#"a "b\"c" 'd\'e' f\ng "\x";"#), ["b\"c", "d'e", "f\ng", "\\x"]);
    let found = read("server {\n  listen 80;\n  location / { return 444; }\n}").unwrap();
    let server = found[0].block.as_ref().unwrap();
    assert_eq!((server[1].line, server[1].arguments[0].as_str()), (3, "/"));
}

#[test]
fn what_is_wrong_has_its_line() {
    for (text, line, what) in [
        ("a\nb", 1, "missing ;"),
        ("a;\n}", 2, "unexpected }"),
        ("a {\n b;\n", 3, "missing }"),
        ("a 'b;\n\n", 1, "unclosed quote"),
        ("a;\na 'b'c;", 2, "after a quote"),
        ("\n;", 2, "without a name"),
        ("include x;", 1, "there is none"),
    ] {
        let why = read(text).unwrap_err();
        assert!(why.line == line && why.what.contains(what), "{text:?}: {why}");
    }
}

#[test]
fn another_format_is_named() {
    for (text, line, format) in [
        ("example.com {\n  reverse_proxy localhost:3000\n}\n", 2, "a Caddyfile"),
        (
            "# Site\nexample.com {\n  header Content-Security-Policy \"default-src 'self'; a b\"\n  reverse_proxy localhost:3000\n}\n",
            3,
            "a Caddyfile",
        ),
        ("global\n  daemon\nfrontend f\n  bind :80\n", 1, "HAProxy"),
        ("http:\n  routers:\n    a:\n      rule: \"Host(`x`)\"\n", 1, "YAML"),
        ("<VirtualHost *:80>\n  ProxyPass / http://127.0.0.1/\n</VirtualHost>\n", 1, "Apache"),
        ("[http.routers]\n  a = 1\n", 1, "TOML"),
        ("{\"apps\": {}}", 1, "JSON"),
    ] {
        let why = read(text).unwrap_err();
        assert!(why.line == line && why.what.contains(format), "{text:?}: {why}");
        assert!(why.what.contains("of nginx"), "{why}");
    }
    // With a fault, it is nginx's all the same.
    for text in
        ["server {\n listen 80;\n reverse_proxy x\n}\n", "frontend x; # a\nbackend", "server_name a.test"]
    {
        let why = read(text).unwrap_err();
        assert!(!why.what.contains("looks like"), "{why}");
    }
}

#[test]
fn a_file_that_includes_itself_ends() {
    let mut loader = |_: &str| Ok(vec![("b".to_owned(), "include b;".to_owned())]);
    assert!(parse("a", "include b;", &mut loader).unwrap_err().what.contains("too deeply"));
}

/// Formats a directive so that it can be parsed.
fn written(directive: &Directive, out: &mut String) {
    out.push_str(&directive.name);
    for argument in &directive.arguments {
        out.push_str(&format!(" \"{}\"", argument.replace('\\', "\\\\").replace('"', "\\\"")));
    }
    match &directive.block {
        None => out.push_str(";\n"),
        Some(block) => {
            out.push_str(" {\n");
            block.iter().for_each(|directive| written(directive, out));
            out.push_str("}\n");
        }
    }
}

fn directive() -> impl Strategy<Value = Directive> {
    let words = || ("[a-z_]{1,8}", prop::collection::vec("[ -~]{0,8}", 0..4));
    let make = |(name, arguments): (String, Vec<String>), block| Directive {
        file: "f".into(),
        line: 0,
        name: format!("x{name}"),
        arguments,
        block,
    };
    let leaf = words().prop_map(move |words| make(words, None));
    leaf.prop_recursive(3, 20, 4, move |inner| {
        (words(), prop::collection::vec(inner, 0..4)).prop_map(move |(words, block)| make(words, Some(block)))
    })
}

fn bare(mut directive: Directive) -> Directive {
    directive.line = 0;
    directive.file = "f".into();
    directive.block = directive.block.map(|block| block.into_iter().map(bare).collect());
    directive
}

proptest! {
    /// A formatted directive parses as itself.
    #[test]
    fn round_trip(directives in prop::collection::vec(directive(), 0..4)) {
        let mut text = String::new();
        directives.iter().for_each(|directive| written(directive, &mut text));
        let found: Vec<_> = read(&text).unwrap().into_iter().map(bare).collect();
        prop_assert_eq!(found, directives);
    }

    /// For any text, parsing terminates, and errors are positions in the text.
    #[test]
    fn any_text(text in "[a-z{};'\"\\\\$# \n]{0,200}") {
        if let Err(why) = read(&text) {
            prop_assert!((1..=text.matches('\n').count() + 1).contains(&why.line));
        }
    }
}
