//! Restrictions: adding one lets nobody in who was kept out before, whatever the configuration and the request.

mod admission;
#[path = "../common/mod.rs"]
mod common;
mod generated;
mod levels;
mod restriction;
mod spellings;

use admission::admission;
use edge_policy::config::{Config, Route};
use edge_policy::decide::{decide, hello};
use edge_policy::{CertificateContext, ClientCertificate, Reason, Snapshot};
use generated::{any_config, any_request};
use proptest::prelude::*;
use restriction::{Restriction, any_restriction, restrict};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8192))]

    #[test]
    fn a_restriction_lets_nobody_in(
        config in any_config(), restriction in any_restriction(), certificate in 0..3_usize, request in any_request(),
    ) {
        let shown = ClientCertificate::new(vec![vec![1]]);
        let facts = request.facts([
            CertificateContext::NotAsked, CertificateContext::Absent, CertificateContext::Verified(&shown),
        ][certificate]);
        let head = request.head();
        // A path is refused while its readings would be decided differently. A restriction that makes them alike ends that, and each
        // reading is then decided as the others are.
        let snapshot = Snapshot::new(config.clone()).expect("valid");
        prop_assume!(decide(&snapshot, &facts, &head).verdict.reason() != Some(Reason::AmbiguousPath));
        let (before, early_before) = admission(&snapshot, &facts, &head);
        let mut restricted = config.clone();
        restrict(&mut restricted, restriction.clone());
        // `satisfy = any` may lack its partner no longer, never gain one.
        let restricted = Snapshot::new(restricted);
        prop_assert!(restricted.is_ok(), "{:?}", restricted.err());
        let (after, early_after) = admission(&restricted.expect("valid"), &facts, &head);
        prop_assert!(after <= before, "{restriction:?}: {after:?} after {before:?}");
        prop_assert!(early_before || !early_after, "{restriction:?}: in early data");
    }

    #[test]
    fn a_restriction_opens_no_handshake(
        config in any_config(),
        passed in any::<bool>(),
        restriction in any_restriction(),
        request in any_request(),
        sni in prop_oneof![Just(None), Just(Some("a.example.org")), Just(Some("b.example.org")), Just(Some("x"))],
        knows in any::<bool>(),
    ) {
        let mut config = config;
        if passed {
            restrict(&mut config, Restriction::Passthrough);
        }
        let mut restricted = config.clone();
        if !passed || matches!(restriction, Restriction::AllowSite | Restriction::DenySite | Restriction::Listen) {
            if passed {
                // It has no routes that could be restricted.
                restricted.sites[0].routes.push(Route::forward("app"));
            }
            restrict(&mut restricted, restriction.clone());
            if passed {
                restricted.sites[0].routes.clear();
            }
        }
        let client = knows.then(|| request.peer.parse().expect("an address"));
        let opens = |config: &Config| {
            let snapshot = Snapshot::new(config.clone()).expect("valid");
            hello(&snapshot, request.transport, request.listener, client, sni).is_ok()
        };
        prop_assert!(opens(&config) || !opens(&restricted), "{restriction:?}");
    }

    #[test]
    fn a_site_is_never_served_by_another_listener(config in any_config(), request in any_request()) {
        let snapshot = Snapshot::new(config).expect("valid");
        let decision = decide(&snapshot, &request.facts(CertificateContext::NotAsked), &request.head());
        if let Some((index, site)) = decision.site {
            let listener = request.listener;
            prop_assert!(site.listen.is_empty() || listener.is_some_and(|name| site.listen.iter().any(|bound| bound == name)));
            prop_assert_eq!(index, usize::from(request.names.0 != "a.example.org"));
            // Over TLS it is the site of the handshake, with its certificate and rules.
            prop_assert!(!request.transport.is_secure() || request.names.0 == request.names.1);
        }
    }
}
