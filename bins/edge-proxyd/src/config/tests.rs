use super::*;
use edge_proxy::config::{Action, Protocol};
use proptest::prelude::*;

fn problems(text: &str) -> Vec<String> {
    let Err(problems) = read("edge.toml", text) else {
        return Vec::new();
    };
    problems.to_string().lines().map(String::from).collect()
}

const LISTEN: &str = "listen = [{ address = '127.0.0.1:80' }]\n";

#[test]
fn the_example_has_every_key_and_the_document_says_each() {
    let text = include_str!("../../edge.toml");
    let document = include_str!("../../CONFIG.md");
    assert_eq!(problems(text), [""; 0]);
    for line in text.lines().filter(|line| !line.starts_with(['#', '['])) {
        if let Some((key, _)) = line.split_once(" =") {
            // Names of fields have capital letters.
            for part in key.split('.').filter(|part| part.starts_with(|c: char| c.is_ascii_lowercase())) {
                assert!(part.contains('-') || document.contains(&format!("`{part}`")), "{key}");
            }
        }
    }
}

#[test]
fn the_owners_hosts() {
    let pacman = include_str!("../../../../examples/hosts/vps-pacman/edge.toml");
    let (settings, _) = read("vps-pacman", pacman).map_err(|problems| problems.to_string()).unwrap();
    assert_eq!(settings.proxy.listeners.len(), 7);
    assert!(settings.proxy.trust.ranges.is_empty());
    let matrix = include_str!("../../../../examples/hosts/lab-matrix/edge.toml");
    let (settings, _) = read("lab-matrix", matrix).map_err(|problems| problems.to_string()).unwrap();
    assert_eq!(settings.proxy.trust.interface.as_deref(), Some("tailscale0"));
    assert_eq!(settings.certificates, None);
    // Both edges of a pair use this file.
    let pair = include_str!("../../../../examples/hosts/two-edges/edge.toml");
    let (settings, _) = read("two-edges", pair).map_err(|problems| problems.to_string()).unwrap();
    assert!(settings.shared.is_some() && settings.acme.is_some());
}

#[test]
fn defaults_are_the_librarys() {
    let (settings, _) = read("edge.toml", LISTEN).map_err(|problems| problems.to_string()).unwrap();
    let listeners = settings.proxy.listeners.clone();
    assert_eq!(settings.proxy, Config { listeners, ..Config::default() });
}

#[test]
fn short_forms() {
    let text = format!("{LISTEN}[[site]]\nhosts = 'a.org'\nupstream = 'h2c://127.0.0.1:1'");
    let (settings, _) = read("edge.toml", &text).map_err(|problems| problems.to_string()).unwrap();
    let site = &settings.proxy.sites[0];
    assert_eq!((site.name.as_str(), site.routes.len()), ("a.org", 1));
    assert_eq!(site.routes[0].action, Action::Forward { upstream: "h2c://127.0.0.1:1".into() });
    assert_eq!(settings.proxy.upstreams[0].protocol, Protocol::Http2);
}

#[test]
fn all_problems_with_their_places() {
    let text = "\
[[listen]]
adress = '127.0.0.1:80'
tls = 'yes'
[trust]
ranges = ['100.64.0.1/10']
[timeouts]
idle = '10'
[[site]]
hosts = ['https://a.org']
plain = 'sevre'
[upstream.a]
target = 'ftp://x'
";
    let found = problems(text);
    for (line, message) in [
        ("edge.toml:2:1: ", "listen[0].adress: unknown key: did you mean `address`?"),
        ("edge.toml:3:7: ", "listen[0].tls = 'yes': expected true or false"),
        ("edge.toml:5:11: ", "has bits set beyond its prefix: write 100.64.0.0/10"),
        ("edge.toml:7:8: ", "timeouts.idle = '10': not a valid duration"),
        ("edge.toml:9:10: ", "not a valid host"),
        ("edge.toml:10:9: ", "did you mean `serve`?"),
        ("edge.toml:12:10: ", "not a valid target"),
    ] {
        assert!(
            found.iter().any(|one| one.starts_with(line) && one.contains(message)),
            "{message}: {found:#?}"
        );
    }
}

/// Form and meaning in one run: the unknown key of the first site does not hide the upstream that the second names and
/// nobody has, and what follows from a fault is not named.
#[test]
fn faults_of_form_and_of_meaning_are_named_in_one_run() {
    let found = problems(
        "[[listen]]\naddress = '127.0.0.1:80'\n[limits]\nstreams = 0\n\
         [[site]]\nhosts = 'a.org'\nupstraem = 'http://a'\n\
         [[site]]\nhosts = 'b.org'\nupstream = 'forgeo'\n\
         [[site]]\nhosts = 'c.org'\nupstream = 'bad'\n\
         [upstream.bad]\ntarget = 'ftp://x'\n[upstream.forgejo]\ntarget = 'http://a'\n\
         [acme]\nemial = 'a@b'\n[[acme.certificate]]\nnames = 'a.example.org'\nauthority = 'nobody'\n",
    );
    let places = [
        ("edge.toml:4:11: ", "limits.streams"),
        ("edge.toml:7:1: ", "did you mean `upstream`?"),
        ("edge.toml:10:12: ", "did you mean `forgejo`?"),
        ("edge.toml:15:10: ", "not a valid target"),
        ("edge.toml:19:1: ", "did you mean `email`?"),
        ("edge.toml:22:13: ", "not a known authority"),
    ];
    for (place, words) in places {
        assert!(
            found.iter().any(|one| one.starts_with(place) && one.contains(words)),
            "{place}{words}: {found:#?}"
        );
    }
    assert_eq!(found.len(), places.len(), "{found:#?}");
}

#[test]
fn what_the_library_refuses_has_its_place_too() {
    let text = format!(
        "{LISTEN}[[site]]\nhosts = 'a.org'\nupstream = 'forgeo'\n[upstream.forgejo]\ntarget = 'http://a'"
    );
    let found = problems(&text);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("edge.toml:4:12: ") && found[0].contains("did you mean `forgejo`?"),
        "{found:?}"
    );
    let found = problems("https_port = 0\nlisten = 1\n[limits]\nstreams = 0");
    assert!(found.len() >= 2, "{found:?}");
}

#[test]
fn malformed_toml_has_a_place() {
    let found = problems("a = 1\nb = \nc = 'x");
    assert!(found[0].starts_with("edge.toml:2:"), "{found:?}");
}

#[test]
fn conflicts() {
    for (text, message) in [
        ("", "listen: missing"),
        ("listen = [{ address = '0.0.0.0:1', http3 = true }]", "needs tls"),
        ("listen = [{ address = '0.0.0.0:1', tls = true }]", "certificates: missing"),
        (&format!("{LISTEN}[[site]]\nhosts='a'\nupstream='http://b'\ndrop=true"), "exclude each other"),
        (&format!("{LISTEN}[[site]]\nhosts='a'\nallow=[]\ndrop=true"), "empty: list"),
        (&format!("{LISTEN}[upstream.a]\ntargets=['http://a','https://b']"), "another scheme"),
        (&format!("{LISTEN}[trust]\nranges=['0.0.0.0/0']"), "trust.ranges"),
    ] {
        let found = problems(text);
        assert!(found.iter().any(|one| one.contains(message)), "{message}: {found:?}");
    }
}

proptest! {
    /// For any text, reading terminates, and every error has a position in it.
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        for line in problems(&text) {
            prop_assert!(!line.is_empty());
        }
    }

    /// The same for the example with a piece replaced.
    #[test]
    fn a_broken_example_is_read_or_refused(at in 0usize..3000, length in 0usize..30, other in "[ -~\n]{0,12}") {
        let text = include_str!("../../edge.toml");
        let at = at % text.len();
        let broken = format!("{}{other}{}", &text[..at], &text[(at + length).min(text.len())..]);
        let lines = broken.lines().count();
        for problem in problems(&broken) {
            if let Some(rest) = problem.strip_prefix("edge.toml:") {
                let line: usize = rest.split(':').next().unwrap().parse().unwrap();
                prop_assert!((1..=lines + 1).contains(&line), "{problem}");
            }
        }
    }
}

#[test]
fn an_address_may_have_a_zone() {
    let text = r#"
        listen = [
            { address = ['[fe80::1%eth7]:443', '[fe80::1%eth8]:443', '[fe80::1%3]:444'] },
            { address = '[fe80::1]:445', interface = 'eth7' },
        ]
        site = [
            { name = 'a', hosts = 'a.test', upstream = 'https://[fe80::2%eth7]:8443' },
            { name = 'b', hosts = 'b.test', upstream = 'http://[fe80::2%25eth7]' },
            { name = 'c', hosts = 'c.test', upstream = 'h2c://[fe80::2%25]:81/' },
        ]
    "#;
    let (settings, _) = read("edge.toml", text).map_err(|problems| problems.to_string()).unwrap();
    let listeners: Vec<_> = settings
        .proxy
        .listeners
        .iter()
        .map(|listener| (listener.address.to_string(), listener.interface.as_deref()))
        .collect();
    // No interface has one of these names, and the configuration is valid nevertheless: it may be created later.
    assert_eq!(
        listeners,
        [
            ("[fe80::1]:443".into(), Some("eth7")),
            ("[fe80::1]:443".into(), Some("eth8")),
            ("[fe80::1%3]:444".into(), None),
            ("[fe80::1]:445".into(), Some("eth7")),
        ]
    );
    let targets: Vec<_> =
        settings.proxy.upstreams.iter().map(|upstream| upstream.targets[0].to_string()).collect();
    assert_eq!(targets, ["[fe80::2%eth7]:8443", "[fe80::2%eth7]:80", "[fe80::2%25]:81"]);
    let authority = |at: usize| settings.proxy.upstreams[at].targets[0].authority();
    assert_eq!([authority(0), authority(1), authority(2)], ["[fe80::2]:8443", "[fe80::2]", "[fe80::2]:81"]);
}
