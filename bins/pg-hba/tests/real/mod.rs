//! Files written after those that people have: of distributions, containers, operators, applications, manuals and
//! mistakes, each in the ways in which they are spaced, quoted and commented.

/// The way in which a file is varied.
const WAYS: [fn(&str) -> String; 9] = [
    |text| text.to_owned(),
    |text| {
        text.lines()
            .map(|line| line.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("\t") + "\n")
            .collect()
    },
    |text| text.replace('\n', "\r\n"),
    |text| text.replace(" md5", " scram-sha-256").replace(" trust", " md5"),
    |text| {
        text.lines()
            .map(|line| if line.ends_with('\\') { format!("{line}\n") } else { format!("  {line} # kept\n") })
            .collect()
    },
    |text| text.trim_end().to_owned(),
    |text| text.replace(" all ", " \"all\" ").replace("postgres ", "\"postgres\" "),
    |text| format!("# before\n\n{text}\n\n# after, with a \"quote\nhost all all 0.0.0.0/0 reject\n"),
    |text| text.replace("/32", " 255.255.255.255").replace("/16", " 255.255.0.0").replace(", ", ","),
];

/// Returns every file in every way that makes another file of it, each once.
pub(crate) fn files() -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    let kinds = kinds();
    let all = kinds.iter().flat_map(|text| WAYS.iter().map(move |way| way(text)));
    all.filter(|text| seen.insert(text.clone())).collect()
}

/// Files of all kinds: before each, a line of `%% ` and what it is after.
const KINDS: [&str; 5] = [
    include_str!("kinds.txt"),
    include_str!("systems.txt"),
    include_str!("replicas.txt"),
    include_str!("applications.txt"),
    include_str!("tls.txt"),
];

/// Returns the text of each kind.
fn kinds() -> Vec<String> {
    let mut kinds: Vec<String> = Vec::new();
    for line in KINDS.iter().flat_map(|text| text.lines()) {
        match kinds.last_mut() {
            _ if line.starts_with("%% ") => kinds.push(String::new()),
            Some(kind) => *kind = format!("{kind}{line}\n"),
            None => panic!("{line:?} comes before a kind"),
        }
    }
    kinds
}

/// Returns the number of kinds whose rules differ in more than spaces and comments.
pub(crate) fn distinct_rules() -> usize {
    let rules = |text: &String| -> Vec<String> {
        let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
    };
    kinds().iter().map(rules).collect::<std::collections::BTreeSet<_>>().len()
}
