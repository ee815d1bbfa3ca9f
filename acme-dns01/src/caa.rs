//! Evaluation of CAA records (RFC 8659) with the parameters of RFC 8657.

/// A CAA resource record (RFC 8659 §4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caa {
    /// The issuer-critical flag (RFC 8659 §4.1, bit 0).
    pub critical: bool,
    /// The property's tag, such as `issue`.
    pub tag: String,
    /// The property's value, as in the record.
    pub value: String,
}

/// The certificate request that CAA is evaluated for.
#[derive(Clone, Copy, Debug)]
pub struct CaaRequest<'a> {
    /// The issuer domain names that the CA accepts as its own in CAA records (`caaIdentities` of its directory).
    pub identities: &'a [String],
    /// URL of the ACME account. `None` before registration; no `accounturi` parameter then matches.
    pub account: Option<&'a str>,
    /// `true` if the certificate is for a wildcard name, so that `issuewild` applies.
    pub wildcard: bool,
}

/// Reason why the CAA records of a name forbid the CA to issue a certificate by DNS-01.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CaaRefusal {
    /// No property of the relevant record set names this CA as issuer.
    #[error("CAA `{tag}` at {at} allows {allowed}, not {wanted}: add `0 {tag} \"{wanted}\"`")]
    OtherIssuer {
        /// Domain name of the relevant record set.
        at: String,
        /// `issue` or `issuewild`.
        tag: &'static str,
        /// Issuer domain names in the record set, separated by commas, or `nobody`; for display.
        allowed: String,
        /// First issuer domain name of this CA, for display.
        wanted: String,
    },
    /// The CA is authorized, but only for another account (`accounturi`, RFC 8657 §3).
    #[error("CAA at {at} allows only the account {allowed}; ours is {ours}: put ours into `accounturi=`")]
    OtherAccount {
        /// Domain name of the relevant record set.
        at: String,
        /// The account URI that is authorized, of the last property that names this CA.
        allowed: String,
        /// URL of the account in use, or `not registered yet`.
        ours: String,
    },
    /// The CA is authorized, but not for DNS-01 (`validationmethods`, RFC 8657 §4).
    #[error("CAA at {at} allows only {allowed}: add dns-01 to `validationmethods=`")]
    OtherMethod {
        /// Domain name of the relevant record set.
        at: String,
        /// Validation methods that are authorized, as in the record, of the last property that names this CA.
        allowed: String,
    },
    /// The record set has a critical property with an unknown tag, for which every CA must refuse to issue (RFC 8659
    /// §4.1).
    #[error(
        "CAA at {at} has the critical property `{tag}`, which CAs must refuse: remove it or its critical flag"
    )]
    Critical {
        /// Domain name of the relevant record set.
        at: String,
        /// Tag of the property.
        tag: String,
    },
}

/// Decides whether CAA permits issuance by DNS-01. `records` is the relevant record set (RFC 8659 §3), found at the
/// name `at`. A critical property with an unknown tag forbids issuance. For a wildcard, `issuewild` properties replace
/// `issue` if there are any. Otherwise issuance is permitted if no property of the applicable tag exists, if the CA
/// publishes no `caaIdentities`, or if one property names the CA and its `validationmethods` and `accounturi`
/// parameters, if it has any, allow DNS-01 and the account.
///
/// # Errors
/// Returns a [`CaaRefusal`], whose message names the record to change.
pub fn check_issuance(at: &str, records: &[Caa], applicant: &CaaRequest<'_>) -> Result<(), CaaRefusal> {
    /// Property tags that this crate knows. A critical property with any other tag forbids issuance.
    const KNOWN: [&str; 7] =
        ["issue", "issuewild", "iodef", "issuemail", "issuevmc", "contactemail", "contactphone"];
    let is = |record: &Caa, tag: &str| record.tag.eq_ignore_ascii_case(tag);
    let at = at.to_owned();
    if let Some(unknown) =
        records.iter().find(|record| record.critical && !KNOWN.iter().any(|tag| is(record, tag)))
    {
        return Err(CaaRefusal::Critical { at, tag: unknown.tag.clone() });
    }
    let wild = applicant.wildcard && records.iter().any(|record| is(record, "issuewild"));
    let tag = if wild { "issuewild" } else { "issue" };
    let properties: Vec<Property> =
        records.iter().filter(|record| is(record, tag)).map(|record| property(&record.value)).collect();
    if properties.is_empty() || applicant.identities.is_empty() {
        // Without a property of this tag there is no restriction; without identities the CA's properties cannot be
        // recognized.
        return Ok(());
    }
    let mut refusal = None;
    for found in &properties {
        if !applicant.identities.iter().any(|identity| identity.eq_ignore_ascii_case(&found.issuer)) {
            continue;
        }
        let parameter = |name: &str| {
            found.parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        };
        if let Some(methods) = parameter("validationmethods")
            && !methods.split(',').any(|method| method.trim() == "dns-01")
        {
            refusal = Some(CaaRefusal::OtherMethod { at: at.clone(), allowed: methods.clone() });
            continue;
        }
        // An account that is not registered yet has no URL to match.
        if let Some(allowed) = parameter("accounturi")
            && applicant.account != Some(allowed.as_str())
        {
            let ours = applicant.account.unwrap_or("not registered yet").to_owned();
            refusal = Some(CaaRefusal::OtherAccount { at: at.clone(), allowed: allowed.clone(), ours });
            continue;
        }
        return Ok(());
    }
    Err(refusal.unwrap_or_else(|| {
        let mut allowed: Vec<&str> = properties
            .iter()
            .map(|found| found.issuer.as_str())
            .filter(|issuer| !issuer.is_empty())
            .collect();
        allowed.dedup();
        CaaRefusal::OtherIssuer {
            at,
            tag,
            allowed: if allowed.is_empty() { "nobody".to_owned() } else { allowed.join(", ") },
            wanted: applicant.identities.first().cloned().unwrap_or_default(),
        }
    }))
}

/// The value of an `issue` or `issuewild` property: issuer domain name, without a trailing dot, and parameters in
/// order. An empty issuer authorizes no CA.
struct Property {
    issuer: String,
    parameters: Vec<(String, String)>,
}

/// Parses the value of a CAA property, `[issuer-domain-name] *(";" tag "=" value)` (RFC 8659 §4.2). If a parameter has
/// no `=`, the value is malformed: the issuer is empty and there are no parameters, so that no CA is authorized.
fn property(value: &str) -> Property {
    let mut parts = value.split(';').map(str::trim);
    let issuer = parts.next().unwrap_or_default().trim_end_matches('.').to_owned();
    let mut parameters = Vec::new();
    for part in parts.filter(|part| !part.is_empty()) {
        let Some((key, value)) = part.split_once('=') else {
            return Property { issuer: String::new(), parameters: Vec::new() };
        };
        parameters.push((key.trim().to_owned(), value.trim().to_owned()));
    }
    Property { issuer, parameters }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(tag: &str, value: &str) -> Caa {
        Caa { critical: false, tag: tag.to_owned(), value: value.to_owned() }
    }

    fn ask(records: &[Caa], wildcard: bool) -> Result<(), CaaRefusal> {
        let identities = ["letsencrypt.org".to_owned()];
        let account = Some("https://ca.test/acct/1");
        check_issuance("example.org", records, &CaaRequest { identities: &identities, account, wildcard })
    }

    #[test]
    fn issuers() {
        assert_eq!(ask(&[], false), Ok(()));
        assert_eq!(ask(&[record("iodef", "mailto:a@example.org")], false), Ok(()));
        assert_eq!(ask(&[record("issue", "other.test"), record("issue", "letsencrypt.org")], false), Ok(()));
        let refused = ask(&[record("issue", "other.test")], false).expect_err("it is refused").to_string();
        assert!(
            refused.contains("other.test") && refused.contains("0 issue \"letsencrypt.org\""),
            "{refused}"
        );
        assert!(ask(&[record("issue", ";")], false).expect_err("nobody").to_string().contains("nobody"));
        // issuewild takes the place of issue for wildcards, and only for them.
        let both = [record("issue", "letsencrypt.org"), record("issuewild", ";")];
        assert!(ask(&both, false).is_ok() && ask(&both, true).is_err());
        assert!(ask(&[record("issue", "letsencrypt.org")], true).is_ok());
    }

    #[test]
    fn parameters_of_rfc_8657() {
        let account = |uri: &str| [record("issue", &format!("letsencrypt.org; accounturi={uri}"))];
        assert_eq!(ask(&account("https://ca.test/acct/1"), false), Ok(()));
        assert!(matches!(
            ask(&account("https://ca.test/acct/2"), false),
            Err(CaaRefusal::OtherAccount { .. })
        ));
        let methods = |list: &str| [record("issue", &format!("letsencrypt.org;validationmethods={list}"))];
        assert_eq!(ask(&methods("http-01,dns-01"), false), Ok(()));
        assert!(matches!(ask(&methods("http-01"), false), Err(CaaRefusal::OtherMethod { .. })));
        assert!(ask(&[record("issue", "letsencrypt.org; broken")], false).is_err());
        let critical = Caa { critical: true, tag: "tbs".into(), value: String::new() };
        assert!(matches!(ask(&[critical], false), Err(CaaRefusal::Critical { .. })));
    }

    proptest! {
        #[test]
        fn one_that_names_us_without_parameters_always_suffices(values in prop::collection::vec("[ -~]{0,40}", 0..6), wild: bool) {
            let mut records: Vec<Caa> = values.iter().map(|value| record("issue", value)).collect();
            let _ = ask(&records, wild);
            records.push(record("issue", "letsencrypt.org"));
            prop_assert_eq!(ask(&records, wild), Ok(()));
        }
    }
}
