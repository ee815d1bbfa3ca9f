//! Fields that the proxy vouches for: whatever a client writes in one of them, in any spelling, goes no further,
//! neither in heads nor in trailers.

mod common;

use common::{config, facts, head, site};
use edge_http::Fields;
use edge_http::field_names::is_same_variable;
use edge_policy::auth::basic::users;
use edge_policy::config::{
    Auth, BasicAuth, CertificateField, ClientCertificates, Config, FieldEdits, ForwardAuth, PlainHttp,
    Tailnet, Trust, TrustedHeader,
};
use edge_policy::decide::{Transport, decide, request_fields, request_trailers};
use edge_policy::tailnet::FIELDS;
use edge_policy::{CertificateContext, ClientCertificate, Snapshot};
use proptest::prelude::*;

/// The ways in which a configuration makes the proxy vouch for a field.
#[derive(Clone, Debug)]
struct Vouching {
    user: Option<&'static str>,
    copied: Vec<&'static str>,
    certificate: Vec<(&'static str, CertificateField)>,
    request_id: Option<&'static str>,
    address: Option<&'static str>,
    tailnet: bool,
    edited: bool,
    /// True if the request is for another site than the one that asks.
    elsewhere: bool,
}

/// Fields that are set on every request.
const ALWAYS: [&str; 6] = [
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Proto",
    "X-Real-IP",
    "Forwarded",
];

fn any_vouching() -> impl Strategy<Value = Vouching> {
    let user = proptest::option::of(prop_oneof![Just("Remote-User"), Just("X-User"), Just("USER")]);
    let copied =
        proptest::sample::subsequence(vec!["Remote-User", "Remote-Groups", "X-authentik-username"], 0..=3);
    let certificate = proptest::sample::subsequence(
        vec![
            ("Client-Cert", CertificateField::Certificate),
            ("Client-Cert-Chain", CertificateField::Chain),
            ("X-SSL-Client-S-DN", CertificateField::Subject),
            ("ssl_client_verify", CertificateField::Verified),
        ],
        0..=4,
    );
    let id = proptest::option::of(prop_oneof![Just("X-Request-ID"), Just("x_trace")]);
    let address =
        proptest::option::of(prop_oneof![Just("CF-Connecting-IP"), Just("Fly-Client-IP"), Just("X_Client")]);
    (user, copied, certificate, id, address, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(user, copied, certificate, request_id, address, tailnet, edited, elsewhere)| Vouching {
            user,
            copied,
            certificate,
            request_id,
            address,
            tailnet,
            edited,
            elsewhere,
        },
    )
}

impl Vouching {
    fn config(&self) -> Config {
        let mut asking = site("a", "a.example.org");
        if let Some(name) = self.user {
            let users =
                users("ann:$2y$05$abcdefghijklmnopqrstuuJ6p8XYeKQnRrRrPR8XO0Xg1bQ2w1gXq").expect("a hash");
            asking.auth =
                Some(Auth::Basic(BasicAuth { realm: "r".into(), users, user_field: Some(name.into()) }));
        }
        if !self.copied.is_empty() {
            let copy = self.copied.iter().map(|name| (*name).to_owned()).collect();
            asking.routes[0].auth =
                Some(Auth::Forward(ForwardAuth { upstream: "portal".into(), path: "/".into(), copy }));
        }
        if !self.certificate.is_empty() {
            let mut asked = ClientCertificates::required("/ca.pem");
            asked.fields =
                self.certificate.iter().map(|(name, field)| ((*name).to_owned(), *field)).collect();
            (asking.client_certificates, asking.plain) = (Some(asked), PlainHttp::Redirect);
        }
        let mut other = site("b", "b.example.org");
        if self.edited {
            for site in [&mut asking, &mut other] {
                site.request_fields =
                    FieldEdits { set: vec![("X-Added".into(), "1".into())], ..FieldEdits::default() };
            }
        }
        let mut config = config(vec![asking, other]);
        config.request_id = self.request_id.map(str::to_owned);
        config.tailnet = self.tailnet.then(Tailnet::default);
        config.trust.ranges = vec!["10.0.0.0/8".parse().expect("a range")];
        if let Some(name) = self.address {
            config.trust = Trust { header: TrustedHeader::Custom(name.into()), ..config.trust };
        }
        config
    }

    /// The names of all fields that the proxy vouches for.
    fn names(&self) -> Vec<&'static str> {
        let certificate = self.certificate.iter().map(|(name, _)| *name);
        let some = self.user.into_iter().chain(self.request_id).chain(self.address);
        let mut names: Vec<_> =
            some.chain(self.copied.iter().copied()).chain(certificate).chain(ALWAYS).collect();
        if self.tailnet {
            names.extend(FIELDS);
        }
        names
    }
}

/// A field of a client: a name to choose among those that are vouched for, and the bits by which it is spelt.
fn any_spelling() -> impl Strategy<Value = (proptest::sample::Index, u64, Vec<u8>)> {
    let separators = proptest::collection::vec(proptest::sample::select(b"-_-_.~!'*".to_vec()), 4);
    (any::<proptest::sample::Index>(), any::<u64>(), separators)
}

fn spelt(
    names: &[&'static str],
    (at, upper, separators): &(proptest::sample::Index, u64, Vec<u8>),
) -> Vec<u8> {
    let mut separators = separators.iter().cycle();
    let name = names[at.index(names.len())];
    let letter = |(at, byte): (usize, u8)| match byte {
        b'-' | b'_' => *separators.next().expect("endless"),
        byte if upper >> (at % 64) & 1 == 1 => byte.to_ascii_uppercase(),
        byte => byte.to_ascii_lowercase(),
    };
    name.bytes().enumerate().map(letter).collect()
}

/// Client addresses that a trusted proxy reports, for fields that must be one.
const FORGED: &str = "203.0.113.66";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn s33_no_spelling_of_a_vouched_field_goes_on(
        vouching in any_vouching(),
        spellings in proptest::collection::vec(any_spelling(), 1..5),
        by_hop in any::<bool>(),
        nominated in any::<bool>(),
        early in any::<bool>(),
        transport in prop_oneof![Just(Transport::Plain), Just(Transport::Tls), Just(Transport::Quic)],
    ) {
        let names = vouching.names();
        let snapshot = Snapshot::new(vouching.config()).expect("valid");
        let host = if vouching.elsewhere { "b.example.org" } else { "a.example.org" };
        let shown = ClientCertificate::new(vec![b"leaf".to_vec(), b"above".to_vec()]);
        let mut facts = facts(transport, None, host, if by_hop { "10.0.0.1" } else { "192.0.2.1" });
        (facts.early, facts.certificate) = (early, CertificateContext::Verified(&shown));
        let mut head = head("GET", host, "/");
        let mut trailers = Fields::new();
        head.fields.push(b"X-Own", b"kept");
        trailers.push(b"X-Own", b"kept");
        for spelling in &spellings {
            let name = spelt(&names, spelling);
            head.fields.push(&name, FORGED.as_bytes());
            trailers.push(&name, FORGED.as_bytes());
            if nominated {
                head.fields.push(b"Connection", &name);
            }
        }
        let decision = decide(&snapshot, &facts, &head);
        let kept = request_trailers(&decision, &trailers);
        request_fields(&decision, &facts, &mut head);
        // What a trusted proxy reports of the client is what the proxy itself goes by.
        let restored = decision.client.address.to_string() == FORGED;
        prop_assert!(by_hop || !restored);
        for field in head.fields.iter() {
            let name = String::from_utf8_lossy(field.name).into_owned();
            let forged = field.value.windows(FORGED.len()).any(|part| part == FORGED.as_bytes());
            if forged {
                let same = |own: &&str| name.eq_ignore_ascii_case(own);
                let reported = by_hop && ALWAYS.iter().any(same) || restored && vouching.address.iter().any(same);
                prop_assert!(reported, "{name}");
            }
        }
        for name in &names {
            let all: Vec<_> = head.fields.iter().filter(|field| is_same_variable(field.name, name.as_bytes())).collect();
            prop_assert!(all.len() <= 1, "{name}: {all:?}");
        }
        // Nothing of it in trailers, of whomever.
        let left: Vec<_> = kept.iter().map(|field| String::from_utf8_lossy(field.name).into_owned()).collect();
        prop_assert_eq!(left, ["X-Own"]);
        prop_assert!(head.fields.get_named(b"x-own").is_some());
    }
}
