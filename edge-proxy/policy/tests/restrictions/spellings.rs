//! Other spellings of a path: no other rules.

use crate::admission::{Admission, admission};
use crate::common::{config, facts, head, password, site};
use crate::generated::{any_config, any_request};
use edge_http::RequestHead;
use edge_policy::config::{Action, Auth, PathMatch, Response, Route, Satisfy, Site};
use edge_policy::decide::{Transport, Verdict, decide, other_readings};
use edge_policy::{CertificateContext, Reason, Snapshot};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// A path that is not refused as ambiguous lets nobody in whom one of its readings keeps out.
    #[test]
    fn no_spelling_goes_past_the_rules_of_a_reading(config in any_config(), request in any_request()) {
        let snapshot = Snapshot::new(config).expect("valid");
        let facts = request.facts(CertificateContext::Absent);
        let mut head = request.head();
        let ambiguous = |head: &RequestHead| {
            decide(&snapshot, &facts, head).verdict.reason() == Some(Reason::AmbiguousPath)
        };
        prop_assume!(!ambiguous(&head));
        let (as_it_came, _) = admission(&snapshot, &facts, &head);
        for reading in other_readings(request.target).expect("few") {
            head.target = reading;
            if !ambiguous(&head) {
prop_assert!(as_it_came <= admission(&snapshot, &facts, &head).0, "{}", head.target);
            }
        }
    }
}

/// A site with a password, and an open exception `/in`.
fn with_an_exception(change: impl FnOnce(&mut Site)) -> Snapshot {
    let mut site = site("a", "a.example.org");
    site.auth = Some(password());
    let mut open = Route::new(PathMatch::Prefix("/in".into()), Action::Forward { upstream: "app".into() });
    open.auth = Some(Auth::Open);
    site.routes.push(open);
    change(&mut site);
    Snapshot::new(config(vec![site])).expect("valid")
}

#[test]
fn s14_letter_case_relaxes_no_rule() {
    let facts = facts(Transport::Tls, None, "a.example.org", "192.0.2.1");
    let at = |snapshot: &Snapshot, target: &str| {
        let head = head("GET", "a.example.org", target);
        (admission(snapshot, &facts, &head).0, decide(snapshot, &facts, &head).verdict.reason())
    };
    let exception = with_an_exception(|_| {});
    assert_eq!(at(&exception, "/in/x"), (Admission::Free, None));
    assert_eq!(at(&exception, "/IN/x"), (Admission::Authenticated, None));
    // A list makes the exception a route that ignores letter case, but of nothing that asks for a password otherwise.
    let listed = with_an_exception(|site| {
        site.routes[1].access.deny = vec!["10.0.0.0/8".parse().expect("a range")];
    });
    assert_eq!(at(&listed, "/in/x"), (Admission::Free, None));
    assert_eq!(at(&listed, "/IN/x"), (Admission::Refused, Some(Reason::AmbiguousPath)));
    // What only adds to the rules holds in every spelling.
    let added = with_an_exception(|site| {
        (site.auth, site.routes[1].auth) = (None, Some(password()));
    });
    assert_eq!(at(&added, "/IN/x"), (Admission::Authenticated, None));
    // What is refused to everybody stays so, by its own answer.
    let closed = with_an_exception(|site| {
        let none = Response { status: 404, content_type: "text/plain".into(), body: b"no".to_vec() };
        site.routes[1].action = Action::Respond(none);
    });
    let head = head("GET", "a.example.org", "/IN");
    assert!(matches!(decide(&closed, &facts, &head).verdict, Verdict::Respond(_)));
    // An open route whose site excuses by address refuses everybody else, for whom nothing stands in: not even a password.
    let stands_in = with_an_exception(|site| {
        (site.satisfy, site.access.allow) = (Satisfy::Any, vec!["10.0.0.0/8".parse().expect("a range")]);
        site.routes[0].auth = Some(Auth::Open);
        (site.routes[1].auth, site.routes[1].methods) = (None, vec!["GET".into()]);
    });
    assert_eq!(at(&stands_in, "/in"), (Admission::Authenticated, None));
    assert_eq!(at(&stands_in, "/IN"), (Admission::Refused, Some(Reason::AmbiguousPath)));
    // A spelling that no route has is not one of the routes.
    let alone = with_an_exception(|site| {
        site.routes[1].methods = vec!["GET".into()];
        site.routes.remove(0);
    });
    assert_eq!(at(&alone, "/in"), (Admission::Free, None));
    assert_eq!(at(&alone, "/IN"), (Admission::Refused, Some(Reason::AmbiguousPath)));
}

#[test]
fn s14_a_password_of_two_levels_is_two_rules() {
    // The list of the site excuses from its password, not from the same one of a route.
    let snapshot = with_an_exception(|site| {
        (site.access.allow, site.satisfy) = (vec!["10.0.0.0/8".parse().expect("a range")], Satisfy::Any);
        site.routes[1].auth = Some(password());
    });
    let facts = facts(Transport::Tls, None, "a.example.org", "10.0.0.1");
    let at = |target: &str| {
        let head = head("GET", "a.example.org", target);
        (admission(&snapshot, &facts, &head).0, decide(&snapshot, &facts, &head).verdict.reason())
    };
    assert_eq!(at("/"), (Admission::Free, None));
    assert_eq!(at("/in"), (Admission::Authenticated, None));
    for target in ["//in", "/x/../in", "/%69n"] {
        assert_eq!(at(target), (Admission::Refused, Some(Reason::AmbiguousPath)), "{target}");
    }
}
