//! Reading of the manifest file, with every error at its position.

use cli_support::document::Source;
use cli_support::finding::{Finding, Findings};
use cli_support::outcome::Failure;
use cli_support::secret::Reference;
use cli_support::words::Words;
use pg_ensure::DesiredState;
use pg_ensure::manifest::{Document, Format, Manifest, Problem, Problems, parse_json};
use std::path::Path;
use toml::Spanned;
use toml::de::DeTable;

/// Hints for mistakes in a manifest: names and values of other programs, examples, and keys of secrets.
pub(crate) const WORDS: Words = Words {
    foreign: &[
        ("user", "write [[ensure]] with a name, which is that of the role too, or [[role]]"),
        ("users", "write [[ensure]] with a name, which is that of the role too, or [[role]]"),
        ("username", "write name"),
        ("roles", "write [[role]]"),
        ("databases", "write [[database]]"),
        ("db", "write database"),
        ("dbname", "write name, in [[database]]"),
        ("can_login", "write login"),
        ("encrypted_password", "write password_file = \"/run/secrets/…\""),
        ("pass", "write password_file = \"/run/secrets/…\""),
        ("ensureDatabases", "write [[ensure]] with a name"),
        ("ensureUsers", "write [[ensure]] with a name"),
        ("ensureDBOwnership", "leave it out: [[ensure]] makes the role the owner"),
        ("grants", "write [[grant]]"),
        ("privilege", "write privileges = [\"SELECT\"]"),
        ("state", "write absent = true, or leave it out"),
    ],
    values: &[("utf-8", "`UTF8`")],
    examples: &[
        ("name", "name = \"forgejo\""),
        ("role", "role = \"readers\""),
        ("member", "member = \"forgejo\""),
        ("to", "to = \"forgejo\""),
        ("on", "on = \"table\""),
        ("database", "database = \"forgejo\""),
        ("creator", "creator = \"forgejo\""),
    ],
    secrets: &["password"],
};

/// Reads a manifest with its secrets, as JSON if the file name ends in `.json`, otherwise as TOML. All errors are
/// reported at once, without contacting a server.
pub(crate) fn read(path: &Path) -> Result<DesiredState, Failure> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|why| Findings::unreadable(&file, &why))?;
    let json = path.extension().is_some_and(|end| end == "json");
    let (format, source) = match json {
        true => (Format::Json, Source::parse_with(&file, &text, WORDS, json_parser)?),
        false => (Format::Toml, Source::parse(&file, &text, WORDS)?),
    };
    let desired = source.interpret(&[], |source, _: Document| {
        let at = |problem: &Problem| source.fault_at_position(problem.line, problem.column, &problem.message);
        resolve(&file, source.text(), format, &at)
    })?;
    Ok(desired)
}

/// The parser of manifests in JSON.
fn json_parser<'t>(text: &'t str) -> Result<Spanned<DeTable<'t>>, Vec<(usize, String)>> {
    parse_json(text)
        .map_err(|(span, why)| vec![(span.start, format!("not valid JSON, {why}: correct the text"))])
}

/// Reads the text of a manifest, and its secrets. `at` creates the finding of a problem.
fn resolve(
    file: &str,
    text: &str,
    format: Format,
    at: &dyn Fn(&Problem) -> Finding,
) -> Result<DesiredState, Findings> {
    let findings = |problems: Problems| Findings::new(problems.0.iter().map(at).collect());
    let mut secrets = |reference: &str| {
        // A relative path would depend on the working directory, which differs between a service and a terminal.
        if reference.starts_with("file:") && !reference.starts_with("file:/") {
            return Err("not an absolute path: begin it with /".to_owned());
        }
        let reference: Reference = reference.parse().map_err(|why| format!("{why}"))?;
        reference.read().map_err(|why| why.describe())
    };
    let manifest = Manifest::read(file, text, format).map_err(findings)?;
    let mut problems = match manifest.resolve(&mut secrets) {
        Ok(desired) => return Ok(desired),
        Err(problems) => problems,
    };
    // A secret that cannot be read hides no other error.
    let mut stand_in =
        |reference: &str| Ok(secrets(reference).unwrap_or_else(|_| "stand-in".to_owned().into()));
    if let Err(others) = manifest.resolve(&mut stand_in) {
        problems.0.extend(others.0);
    }
    Err(findings(problems))
}

#[cfg(test)]
mod reference_tests {
    use super::*;
    use cli_support::reference::{defaults, keys, known_keys};

    /// Keys that each table needs, in the manifest that declares what they refer to.
    const REQUIRED: &[(&str, &[&str])] = &[
        ("[[ensure]]", &["name = 'x'"]),
        ("[[role]]", &["name = 'x'"]),
        ("[[membership]]", &["role = 'a'", "member = 'b'"]),
        ("[[database]]", &["name = 'x'"]),
        ("[[database.extension]]", &["name = 'x'"]),
        ("[[database.publication]]", &["name = 'x'"]),
        (
            "[[database.event_trigger]]",
            &["name = 'x'", "event = 'sql_drop'", "function = { schema = 'public', name = 'f' }"],
        ),
        ("[[database.schema]]", &["name = 'x'"]),
        ("[[grant]]", &["to = 'a'", "on = 'database'", "name = 'd'", "privileges = ['CONNECT']"]),
        (
            "[[default_privileges]]",
            &[
                "database = 'd'",
                "creator = 'a'",
                "on = 'tables'",
                "to = 'b'",
                "schema = 's'",
                "privileges = ['SELECT']",
            ],
        ),
    ];

    #[test]
    fn the_documented_defaults_are_those_of_the_manifest() {
        let text = include_str!("../MANIFEST.md");
        let read = |text: &str| {
            let manifest = Manifest::read("m", text, Format::Toml).map_err(|why| why.to_string())?;
            manifest.resolve(&mut |_| Ok("secret".to_owned().into())).map_err(|why| why.to_string())
        };
        let (mut same, mut required) = (0, 0);
        for (heading, lines) in REQUIRED {
            let before = format!("external = ['a', 'b']\n[[database]]\nname = 'd'\n{heading}\n");
            let found = defaults(text, heading, (&before, lines), read);
            assert_eq!(found.faults, Vec::<String>::new(), "{heading}");
            same += found.same.len();
            required += found.required.len();
        }
        let top = defaults(text, "Top level", ("", &[]), read);
        assert_eq!(top.faults, Vec::<String>::new());
        assert!(same >= 22 && required >= 14, "{same} defaults and {required} required keys are compared");
    }

    #[test]
    fn the_reference_has_the_keys_that_are_read_and_no_others() {
        let text = include_str!("../MANIFEST.md");
        let headings: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("## "))
            .map(|line| line.trim_matches('`'))
            .collect();
        for heading in &headings {
            let before = match heading.trim_matches(['[', ']']).split_once('.') {
                _ if !heading.starts_with('[') => String::new(),
                Some((outer, _)) => format!("[[{outer}]]\nname = 'a'\n{heading}\n"),
                None => format!("{heading}\n"),
            };
            assert_eq!(keys(text, heading), known_keys::<Document>(&before), "{heading}");
        }
        // Each table that a key is said to be has a part of its own.
        for line in text.lines().filter(|line| line.starts_with("| `")) {
            for table in line.split('`').filter(|word| word.starts_with("[[")) {
                assert!(headings.contains(&table), "{table}");
            }
        }
        assert!(headings.len() >= 9, "{headings:?}");
    }
}
