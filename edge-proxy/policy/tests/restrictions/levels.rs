//! Address lists and authentication of both levels, also in early data.

use crate::admission::{Admission, admission};
use crate::common::{config, facts, head, password, portal, site};
use crate::generated::{PEERS, any_access, any_config, any_request, any_site, asks};
use edge_policy::config::Satisfy;
use edge_policy::decide::{Transport, Verdict, decide};
use edge_policy::early_data::EarlyDataVerdict;
use edge_policy::{CertificateContext, Snapshot};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    /// Requests wait for the handshake wherever an address list decides.
    #[test]
    fn s34_early_data_waits_for_the_address(config in any_config(), request in any_request()) {
        let snapshot = Snapshot::new(config).expect("valid");
        let decision = decide(&snapshot, &request.facts(CertificateContext::NotAsked), &request.head());
        if decision.early == EarlyDataVerdict::Allowed {
            let (_, site) = decision.site.expect("a site");
            let (_, route) = decision.route.expect("a route");
            prop_assert!(request.early && site.early_data && site.access.is_open() && route.access.is_open());
            // Over QUIC the address is not validated, so it is none of a trusted proxy.
            prop_assert!(request.transport != Transport::Quic || request.peer != PEERS[1] || snapshot.config().trust.ranges.is_empty());
        }
    }

    #[test]
    fn any_is_the_union_and_all_the_intersection(
        access in any_access().prop_filter("a list", |access| !access.is_open()),
        auth in prop_oneof![Just(password()), Just(portal())],
        on_route in any::<bool>(),
        early in any::<bool>(),
        transport in prop_oneof![Just(Transport::Plain), Just(Transport::Tls), Just(Transport::Quic)],
        peer in proptest::sample::select(&PEERS[..]),
    ) {
        let permitted = access.permits(peer.parse().expect("an address"));
        let decided = |satisfy| {
            let mut site = site("a", "a.example.org");
            site.early_data = true;
            if on_route {
                let route = &mut site.routes[0];
                (route.access, route.satisfy, route.auth) = (access.clone(), satisfy, Some(auth.clone()));
            } else {
                (site.access, site.satisfy, site.auth) = (access.clone(), satisfy, Some(auth.clone()));
            }
            let snapshot = Snapshot::new(config(vec![site])).expect("valid");
            let mut facts = facts(transport, None, "a.example.org", peer);
            facts.early = early && transport.is_secure();
            admission(&snapshot, &facts, &head("GET", "a.example.org", "/"))
        };
        // Never before the handshake is complete.
        prop_assert_eq!(decided(Satisfy::Any), (if permitted { Admission::Free } else { Admission::Authenticated }, false));
        prop_assert_eq!(decided(Satisfy::All), (if permitted { Admission::Authenticated } else { Admission::Refused }, false));
    }

    /// Each list belongs to its level: that of a level without `any` keeps out whomever it does not permit, whatever the other
    /// level says.
    #[test]
    fn lists_of_two_levels(site in any_site(), peer in proptest::sample::select(&PEERS[..]), transport in prop_oneof![Just(Transport::Tls), Just(Transport::Quic)]) {
        let client = peer.parse().expect("an address");
        let snapshot = Snapshot::new(config(vec![site])).expect("valid");
        let mut facts = facts(transport, Some("tailnet"), "a.example.org", peer);
        facts.certificate = CertificateContext::Absent;
        let decision = decide(&snapshot, &facts, &head("GET", "a.example.org", "/in"));
        if let Verdict::Forward { .. } = decision.verdict {
            let (Some((_, site)), Some((_, route))) = (decision.site, decision.route) else {
                return Err(TestCaseError::fail("nothing was found"));
            };
            let auth = route.auth.as_ref().or(site.auth.as_ref());
            for (access, satisfy) in [(&site.access, site.satisfy), (&route.access, route.satisfy)] {
                prop_assert!(access.permits(client) || satisfy == Satisfy::Any && asks(auth) && decision.auth == auth);
            }
            let excused = match &route.auth {
                Some(_) => route.satisfy == Satisfy::Any && route.access.permits(client),
                None => site.satisfy == Satisfy::Any && site.access.permits(client),
            };
            prop_assert!(!asks(auth) || decision.auth == auth || excused);
        }
    }
}
