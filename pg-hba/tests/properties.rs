//! Properties over arbitrary rules, policies and attempts.

use pg_hba::*;
use proptest::collection::vec;
use proptest::prelude::*;
use std::net::IpAddr;

const NAMES: [&str; 8] = ["a", "b", "app", "app_1", "postgres", "all", "replication", "odd \"name"];

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(NAMES.as_slice()).prop_map(str::to_owned)
}

fn pattern() -> impl Strategy<Value = Pattern> {
    prop::sample::select(["^app", "^a$", "_[0-9]+$", "b|c", "(?i)^APP_1$", "."].as_slice())
        .prop_map(|text| Pattern::new(text).expect("a pattern"))
}

fn database() -> impl Strategy<Value = Database> {
    prop_oneof![
        4 => Just(Database::All),
        5 => name().prop_map(Database::Name),
        1 => Just(Database::Replication),
        1 => Just(Database::SameRole),
        1 => Just(Database::SameUser),
        1 => pattern().prop_map(Database::Pattern),
    ]
}

fn user() -> impl Strategy<Value = User> {
    prop_oneof![
        4 => Just(User::All),
        5 => name().prop_map(User::Name),
        1 => name().prop_map(User::Member),
        1 => pattern().prop_map(User::Pattern),
    ]
}

const ADDRESSES: [&str; 10] = [
    "127.0.0.1",
    "::1",
    "10.0.5.1",
    "10.9.5.77",
    "10.128.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "203.0.113.9",
    "fd7a:115c:a1e0::7",
    "2001:db8::1",
];

fn client() -> impl Strategy<Value = IpAddr> {
    prop::sample::select(ADDRESSES.as_slice()).prop_map(|text| text.parse().expect("an address"))
}

fn address() -> impl Strategy<Value = Address> {
    let network = |text: &str| {
        let (base, mask) = text.split_once(' ').expect("two parts");
        Network::new(base.parse().expect("base"), mask.parse().expect("mask")).expect("one family")
    };
    prop_oneof![
        3 => Just(Address::All),
        1 => Just(Address::SameHost),
        1 => Just(Address::SameNet),
        1 => prop::sample::select([".example.org", "db.example.org", "other"].as_slice())
            .prop_map(|name| Address::Host(name.to_owned())),
        6 => prop::sample::select([
            "127.0.0.1 255.255.255.255",
            "10.0.0.0 255.0.0.0",
            "10.0.0.0 255.128.0.0",
            "10.128.0.0 255.128.0.0",
            "10.0.5.0 255.0.255.0",
            "100.64.0.0 255.192.0.0",
            "0.0.0.0 0.0.0.0",
            ":: ::",
            "fd7a:115c:a1e0:: ffff:ffff:ffff::",
        ].as_slice()).prop_map(move |text| Address::Network(network(text))),
    ]
}

fn method() -> impl Strategy<Value = Method> {
    prop::sample::select([Method::Trust, Method::Reject, Method::Scram, Method::Md5].as_slice())
}

fn rule() -> impl Strategy<Value = Rule> {
    let kind = prop::sample::select(ConnectionType::ALL.as_slice());
    (kind, vec(database(), 1..3), vec(user(), 1..3), address(), method()).prop_map(
        |(connection, databases, users, address, method)| {
            let address = if connection == ConnectionType::Local { Address::All } else { address };
            let mut rule = Rule::new(connection, Database::All, User::All, address, method);
            (rule.databases, rule.users) = (databases, users);
            rule
        },
    )
}

fn attempt() -> impl Strategy<Value = Attempt> {
    let transport = prop::sample::select(
        [Transport::Socket, Transport::Plain, Transport::Tls, Transport::Gss].as_slice(),
    );
    let replication = prop_oneof![8 => Just(Replication::None), 1 => Just(Replication::Logical), 1 => Just(Replication::Physical)];
    let any_name = || prop_oneof![4 => name(), 1 => "[a-c_0-9]{1,4}"];
    (any_name(), any_name(), transport, client(), replication).prop_map(
        |(database, user, transport, client, replication)| Attempt {
            database,
            user,
            transport,
            address: (transport != Transport::Socket).then_some(client),
            replication,
        },
    )
}

fn environment() -> impl Strategy<Value = StaticEnvironment> {
    let host = prop::sample::select(["db.example.org", "x.example.org", "OTHER", "unknown"].as_slice());
    (
        prop::collection::btree_set((name(), name()), 0..3),
        prop::option::of(client()),
        prop::collection::btree_map(client(), host.prop_map(str::to_owned), 0..4),
    )
        .prop_map(|(memberships, own, host_names)| StaticEnvironment {
            memberships,
            interfaces: own.into_iter().map(Network::from).collect(),
            host_names,
        })
}

fn policy() -> impl Strategy<Value = Policy> {
    let range = prop::sample::select([TAILNET_V4, TAILNET_V6, "100.64.0.0/16"].as_slice());
    let from = prop::option::of(prop::sample::select(
        ["10.0.0.0/8", "100.64.0.0/12", "0.0.0.0/0", "127.0.0.0/8"].as_slice(),
    ));
    (
        (vec((name(), name()), 0..4), vec(name(), 0..3), vec(range, 0..3)),
        prop::sample::select([Local::Trust, Local::Peer, Local::Scram].as_slice()),
        prop::sample::select([Tailnet::Trust, Tailnet::Scram, Tailnet::Off].as_slice()),
        prop::sample::select([Tls::Optional, Tls::OutsideTailnet, Tls::Required].as_slice()),
        (vec((name(), from), 0..3), vec(rule(), 0..2), vec(rule(), 0..2)),
    )
        .prop_map(|((services, privileged, ranges), local, tailnet, tls, (grants, before, after))| {
            let mut policy = Policy::new().local(local).tailnet(tailnet).tls(tls);
            policy = policy.tailnet_ranges(ranges.iter().map(|range| range.parse().expect("a range")));
            policy =
                services.into_iter().fold(policy, |policy, (database, role)| policy.service(database, role));
            policy = privileged.into_iter().fold(policy, Policy::privileged);
            policy = grants.into_iter().fold(policy, |policy, (role, from)| {
                policy.replication(role, from.map(|net| net.parse().expect("a network")))
            });
            policy = before.into_iter().fold(policy, Policy::before);
            after.into_iter().fold(policy, Policy::after)
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn parsing_what_was_rendered_gives_the_rules_back(rules in vec(rule(), 1..8)) {
        let text = render(&rules, Version::V18).expect("every name here can be written");
        let parsed = Document::parse(&text, &Server::new(Version::V18)).rules().expect("what is rendered is accepted");
        prop_assert_eq!(parsed, rules);
    }

    #[test]
    fn text_comes_back_byte_for_byte(text in "([a-z\"#,@/+\\\\ =.\t\r0-9]{0,12}\n?){0,12}", version in 0_usize..6) {
        let server = Server::new(Version::ALL[version]);
        let document = Document::parse(&text, &server);
        prop_assert_eq!(document.text(), &text);
        let mut at = 0;
        for line in document.lines() {
            prop_assert_eq!(line.span.start, at);
            at = line.span.end;
            for token in line.fields.iter().flatten() {
                prop_assert!(token.span.start >= line.span.start && token.span.end <= line.span.end);
            }
        }
        prop_assert_eq!(at, text.len());
    }

    #[test]
    fn a_policy_decides_as_its_rules_do(policy in policy(), attempts in vec(attempt(), 32), environment in environment()) {
        let rules = policy.compile();
        for attempt in attempts {
            let expected = policy.decide(&attempt, &environment);
            prop_assert_eq!(decide(&rules, &attempt, &environment).outcome(), expected, "{}", attempt);
        }
    }

    #[test]
    fn no_rule_of_a_policy_trusts_a_privileged_role(
        (services, privileged) in (vec((name(), name()), 0..4), vec(name(), 1..3)), attempts in vec(attempt(), 32)
    ) {
        let policy = services.into_iter().fold(Policy::new(), |policy, (database, role)| policy.service(database, role));
        let rules = privileged.iter().cloned().fold(policy, Policy::privileged).compile();
        for mut attempt in attempts {
            attempt.user.clone_from(&privileged[0]);
            let method = decide(&rules, &attempt, &EmptyEnvironment).method;
            prop_assert_ne!(method, Method::Trust, "{}", attempt);
        }
    }

    #[test]
    fn the_index_decides_as_the_rules_do(rules in vec(rule(), 1..80), attempts in vec(attempt(), 32), environment in environment()) {
        let index = Index::new(rules.clone());
        for attempt in attempts {
            let expected = decide(&rules, &attempt, &environment);
            let (method, at) = index.decide(&attempt, &environment);
            prop_assert_eq!((method, at), (expected.method, expected.rule.map(|(at, _)| at)), "{}", attempt);
        }
    }

    #[test]
    fn removing_a_shadowed_rule_changes_nothing(rules in vec(rule(), 1..8), attempts in vec(attempt(), 32), environment in environment()) {
        for dead in shadowed_rules(&rules).expect("these rules can be reasoned about") {
            let mut fewer = rules.clone();
            fewer.remove(dead.rule);
            prop_assert_eq!(diff(&rules, &fewer), Diff::Equal);
            for attempt in &attempts {
                let before = decide(&rules, attempt, &environment);
                prop_assert_eq!(before.outcome(), decide(&fewer, attempt, &environment).outcome());
                prop_assert_ne!(before.rule.map(|(at, _)| at), Some(dead.rule));
            }
        }
    }

    #[test]
    fn comparison_is_exact(old in vec(rule(), 1..6), new in vec(rule(), 1..6), attempts in vec(attempt(), 64), environment in environment()) {
        match diff(&old, &new) {
            Diff::Equal => for attempt in attempts {
                let (before, after) = (decide(&old, &attempt, &environment), decide(&new, &attempt, &environment));
                prop_assert_eq!(before.outcome(), after.outcome(), "{}", attempt);
            },
            Diff::Different(example) => {
                let before = decide(&old, &example.attempt, &example.environment).outcome();
                let after = decide(&new, &example.attempt, &example.environment).outcome();
                prop_assert_ne!(&before, &after, "{}", example);
                prop_assert_eq!((before, after), (example.old_outcome(), example.new_outcome()));
            }
            Diff::Undecided(why) => prop_assert!(false, "{}", why),
        }
    }

    #[test]
    fn a_change_that_matters_is_found(rules in vec(rule(), 2..7), at in 0_usize..7, attempts in vec(attempt(), 64), environment in environment()) {
        let mut fewer = rules.clone();
        fewer.remove(at % rules.len());
        let equal = diff(&rules, &fewer) == Diff::Equal;
        let agree = attempts.iter().all(|a| decide(&rules, a, &environment).outcome() == decide(&fewer, a, &environment).outcome());
        prop_assert!(agree || !equal);
    }
}

/// Files of many rules: the work of a check and of a comparison must not grow with the square of their number.
#[test]
fn many_rules_take_a_time_that_grows_with_their_number() {
    let shapes: [fn(usize) -> String; 5] = [
        // Most of these are shadowed.
        |n| format!("host db{} user{} 10.0.0.0/8 scram-sha-256\n", n % 50, n % 50),
        |n| format!("local db{n} user{n} trust\n"),
        |n| {
            format!("host db{n} user{n} 10.{}.{}.{}/32 scram-sha-256\n", n >> 16 & 255, n >> 8 & 255, n & 255)
        },
        |n| format!("host all user{n} 10.{}.{}.0/24 scram-sha-256\n", n >> 8 & 255, n & 255),
        |n| format!("host db{n} user{n} all scram-sha-256\n"),
    ];
    let server = Server::new(Version::V18);
    let file = |count: usize, shape: fn(usize) -> String| -> String {
        std::iter::once("local all postgres peer\n".to_owned()).chain((0..count).map(shape)).collect()
    };
    let timed = |count: usize, shape: fn(usize) -> String| {
        let text = file(count, shape);
        let document = Document::parse(&text, &server);
        let rules = document.rules().expect("rules");
        let mut other = rules.clone();
        other.swap(1, 2);
        let began = std::time::Instant::now();
        assert!(
            analyze(&document, &server, &Analysis::default())
                .iter()
                .all(|finding| finding.code != Code::Undecided)
        );
        assert_eq!(diff(&rules, &other), Diff::Equal);
        began.elapsed()
    };
    for (at, shape) in shapes.into_iter().enumerate() {
        let (few, many) = (timed(500, shape), timed(4_000, shape));
        // Quadratic work would take 64 times as long.
        assert!(many < few * 30, "shape {at}: 500 rules took {few:?}, 4000 took {many:?}");
    }
}

proptest! {
    /// What is explained from full knowledge is what is decided; what is explained from less has it among its answers.
    #[test]
    fn explanations_hold_whatever_the_world_is(
        lines in vec(
            "(local|host) (all|a|samerole) (all|u|[+]g|[+]h) (trust|reject|scram-sha-256)", 1..6),
        addresses in vec(prop::sample::select(["all", "samehost", "samenet", ".example.com", "10.0.0.0/8"].as_slice()), 6),
        member in any::<bool>(), own in any::<bool>(), near in any::<bool>(), named in any::<bool>(),
    ) {
        let text: String = lines.iter().zip(&addresses).map(|(line, address)| {
            let words: Vec<&str> = line.split(' ').collect();
            let address = if words[0] == "local" { "" } else { *address };
            format!("{} {} {} {address} {}\n", words[0], words[1], words[2], words[3])
        }).collect();
        let rules = Document::parse(&text, &Server::new(Version::V18)).rules().expect("rules");
        let client: IpAddr = "10.0.0.5".parse().expect("an address");
        let attempt = Attempt::tcp("a", "u", client);
        let mut environment = StaticEnvironment::default();
        let mut knowledge = Knowledge {
            member_of: Some(Default::default()), interfaces: Some(Vec::new()), client_name: Some(None),
        };
        if member {
            environment.memberships.insert(("u".to_owned(), "g".to_owned()));
            knowledge.member_of.as_mut().expect("known").insert("g".to_owned());
        }
        let interface: Option<Network> = match (own, near) {
            (true, _) => Some(Network::new(client, "255.255.255.0".parse().expect("a mask")).expect("alike")),
            (_, true) => Network::new("10.0.0.1".parse().expect("an address"), "255.255.255.0".parse().expect("a mask")),
            _ => None,
        };
        environment.interfaces.extend(interface);
        knowledge.interfaces.as_mut().expect("known").extend(interface);
        if named {
            environment.host_names.insert(client, "db.example.com".to_owned());
            knowledge.client_name = Some(Some("db.example.com".to_owned()));
        }
        let decided = decide(&rules, &attempt, &environment).outcome();
        let full = explain(&rules, &attempt, &knowledge);
        prop_assert_eq!(full.possible.len(), 1);
        prop_assert_eq!(full.certain(), Some(decided.clone()));
        let partial = explain(&rules, &attempt, &Knowledge::default());
        prop_assert!(partial.possible.iter().any(|possibility| possibility.outcome() == decided));
        if let Some(certain) = partial.certain() {
            prop_assert_eq!(certain, decided);
        }
    }
}
