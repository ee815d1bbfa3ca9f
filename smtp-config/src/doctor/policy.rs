//! Checks of the sender's domain: SPF, DKIM and DMARC.

use super::dns::Dns;
use super::{Options, Report, Verdict};
use crate::effective::{EffectiveMailer, EffectiveTransport};
use crate::host::is_loopback;
use crate::policy::{
    Alignment, Answer, DkimError, Policy, Question, Spf, discover, dkim, record, spf, terms,
};
use crate::presets::Preset;
use std::net::IpAddr;

/// Checks SPF, DKIM and DMARC for the domain of the sender. Reports nothing if there is no sender.
pub(super) async fn examine(report: &mut Report, mailer: &EffectiveMailer, options: &Options) {
    let Some(sender) = &mailer.sender else { return };
    let Some((_, domain)) = sender.address.rsplit_once('@') else { return };
    report.about = domain.to_owned();
    let dns = match Dns::new(options.resolver, options.limit) {
        Ok(dns) => dns,
        Err(why) => return report.fail("dns", why.to_string(), "set the machine's resolvers"),
    };
    // With the null reverse-path, SPF identifies the name from EHLO (RFC 7208 §2.4).
    let name = super::helo(mailer, options);
    let envelope = mailer.envelope_from.rsplit_once('@').map_or(name, |(_, domain)| domain);
    let preset = Preset::of_host(&mailer.host);
    let spf = of_spf(report, &dns, mailer, envelope, preset, options).await;
    let dkim = of_dkim(report, &dns, domain, preset, options).await;
    of_dmarc(report, &dns, domain, envelope, spf, dkim).await;
}

/// Result of SPF, DKIM or DMARC, as far as the DNS determines it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Receivers will evaluate it as failed.
    Fail,
    /// Receivers will evaluate it as passed; for DKIM, if messages are signed with the key.
    Pass,
    /// The DNS does not determine the result.
    Unknown,
}

/// Checks SPF of the envelope sender's domain, and returns the result: for a known provider by the include that its
/// preset requires, otherwise by the addresses of the server. Unknown if the provider replaces the envelope sender, the
/// DNS does not answer, or messages do not leave over TCP to another host; passed for `+all`, which is reported as a
/// failure of the check.
async fn of_spf(
    report: &mut Report,
    dns: &Dns,
    mailer: &EffectiveMailer,
    domain: &str,
    preset: Option<&Preset>,
    options: &Options,
) -> Outcome {
    report.about = domain.to_owned();
    if let Some(preset) = preset.filter(|preset| preset.own_return_path) {
        let detail = format!(
            "{} puts a return path of its own on messages: SPF is checked for its domain",
            preset.name
        );
        report.add("spf", Verdict::Note, detail, "");
        return Outcome::Unknown;
    }
    let Answer::Texts(texts) = dns.texts(domain).await else {
        report.warn("spf", "the DNS gave no answer", "try again");
        return Outcome::Unknown;
    };
    let held = match record(&texts) {
        Ok(Some(held)) => held,
        Ok(None) => {
            let fix = "add a TXT record that allows the server's addresses and ends with -all";
            report.warn("spf", "there is no SPF record", fix);
            return Outcome::Fail;
        }
        Err(count) => {
            report.fail("spf", format!("{count} SPF records: receivers use none of them"), "keep one");
            return Outcome::Fail;
        }
    };
    let terms = match terms(held) {
        Ok(terms) => terms,
        Err(why) => {
            report.fail("spf", why.to_string(), "correct the record");
            return Outcome::Fail;
        }
    };
    if terms.iter().any(|term| term.name == "all" && term.result == Spf::Pass) {
        report.fail("spf", "+all: anybody may send for this domain", "end the record with -all");
        return Outcome::Pass;
    }
    // A provider sends from addresses of its own, which the record covers only by the provider's name.
    if let Some(wanted) = preset.and_then(|preset| preset.spf) {
        let includes = terms.iter().any(|term| {
            matches!(term.name.as_str(), "include" | "redirect") && term.argument.eq_ignore_ascii_case(wanted)
        });
        if includes {
            report.pass("spf", format!("includes {wanted}"));
            return Outcome::Pass;
        }
        let detail = format!("{held} does not include {wanted}");
        report.warn("spf", detail, "add the provider's include, or let it sign by DKIM");
        return Outcome::Fail;
    }
    if !matches!(mailer.transport, EffectiveTransport::Network(_)) || is_loopback(&mailer.host) {
        report.add("spf", Verdict::Note, held.to_owned(), "");
        return Outcome::Unknown;
    }
    let Ok(addresses) = super::server::addresses(&mailer.host, options).await else {
        report.add("spf", Verdict::Note, held.to_owned(), "");
        return Outcome::Unknown;
    };
    addresses_pass(report, dns, mailer, domain, &addresses).await
}

/// Evaluates SPF for each address of the server, under the assumption that it sends from them. [`Outcome::Pass`] if all
/// pass, [`Outcome::Unknown`] if only some pass or a DNS lookup is not answered, otherwise [`Outcome::Fail`].
async fn addresses_pass(
    report: &mut Report,
    dns: &Dns,
    mailer: &EffectiveMailer,
    domain: &str,
    addresses: &[IpAddr],
) -> Outcome {
    let sender = format!("postmaster@{domain}");
    let (mut passes, mut unknown) = (0, false);
    for address in addresses {
        let asked = dns.evaluate(|answers| spf(*address, domain, &sender, &mailer.host, answers)).await;
        match asked {
            Some((Spf::Pass, lookups)) => {
                passes += 1;
                report.pass("spf", format!("{address} may send ({lookups} look-ups)"));
            }
            Some((Spf::PermError, lookups)) => {
                let detail = format!("the record is wrong, or takes more than 10 look-ups ({lookups})");
                report.fail("spf", detail, "correct or shorten it");
            }
            Some((result, _)) => {
                let detail = format!("{address}: {result:?}, if the server sends from this address");
                report.warn("spf", detail, "add the address from which it sends");
            }
            None => {
                unknown = true;
                report.warn("spf", "the DNS gave no answer", "try again");
            }
        }
    }
    match () {
        () if passes == addresses.len() => Outcome::Pass,
        () if passes > 0 || unknown => Outcome::Unknown,
        () => Outcome::Fail,
    }
}

/// Looks up the DKIM keys of the sender's domain under the selectors of the options and of the provider.
/// [`Outcome::Pass`] if one is usable, [`Outcome::Fail`] if none is although the options name selectors, otherwise
/// [`Outcome::Unknown`].
async fn of_dkim(
    report: &mut Report,
    dns: &Dns,
    domain: &str,
    preset: Option<&Preset>,
    options: &Options,
) -> Outcome {
    let known = preset.map(|preset| preset.dkim).unwrap_or_default().iter().map(|name| (*name).to_owned());
    let selectors: Vec<String> = options.selectors.iter().cloned().chain(known).collect();
    if selectors.is_empty() {
        report.about = domain.to_owned();
        let detail = "no selector is known, and without one no key can be looked up";
        report.add(
            "dkim",
            Verdict::Note,
            detail,
            "give it by --dkim-selector: it is s= of DKIM-Signature in a message",
        );
        return Outcome::Unknown;
    }
    let mut any = false;
    for selector in &selectors {
        let name = format!("{selector}._domainkey.{domain}");
        report.about.clone_from(&name);
        let Answer::Texts(texts) = dns.texts(&name).await else {
            report.add("dkim", Verdict::Warning, "the DNS gave no answer", "try again");
            continue;
        };
        match dkim(&texts) {
            Ok(key) => {
                any = true;
                let testing = if key.testing { ", testing only: receivers may pass it over" } else { "" };
                let verdict = if key.testing { Verdict::Warning } else { Verdict::Pass };
                report.add("dkim", verdict, format!("a key of {}{testing}", key.kind), "");
            }
            // A provider uses any of its selectors.
            Err(DkimError::Missing) if options.selectors.contains(selector) || selectors.len() == 1 => {
                report.warn("dkim", "no record", "add the record that the provider shows");
            }
            Err(DkimError::Missing) => report.add("dkim", Verdict::Note, "no record", ""),
            Err(why) => report.fail("dkim", why.to_string(), "publish the provider's key anew"),
        }
    }
    match () {
        () if any => Outcome::Pass,
        // A provider may use other selectors than the known ones.
        () if options.selectors.is_empty() => Outcome::Unknown,
        () => Outcome::Fail,
    }
}

/// Looks up the DMARC record, and reports whether messages will pass by the outcomes of SPF and DKIM: passed if SPF
/// passes and is aligned, a note if only DKIM has a key, failed if neither does and the policy is not `none`, otherwise a warning. A missing
/// record is a warning too.
async fn of_dmarc(report: &mut Report, dns: &Dns, domain: &str, envelope: &str, spf: Outcome, dkim: Outcome) {
    report.about = domain.to_owned();
    let asked = dns.evaluate(|answers| -> Result<_, Question> { discover(domain, answers) }).await;
    let held = match asked {
        Some(Ok(held)) => held,
        Some(Err(why)) => {
            let fix = "add a TXT record at _dmarc: v=DMARC1; p=quarantine; rua=mailto:…";
            return report.warn("dmarc", why.to_string(), fix);
        }
        None => return report.warn("dmarc", "the DNS gave no answer", "try again"),
    };
    // RFC 7489 §3.1: SPF or DKIM must pass for an aligned domain.
    let aligned = held.aligned(held.spf, domain, envelope);
    let by_spf = if aligned { spf } else { Outcome::Fail };
    // A key of the sender's own domain is aligned in both modes.
    let by_dkim = if held.aligned(held.dkim, domain, domain) { dkim } else { Outcome::Fail };
    let policy = match held.policy {
        Policy::None => "none",
        Policy::Quarantine => "quarantine",
        Policy::Reject => "reject",
    };
    let strict = if held.spf == Alignment::Strict { "strict" } else { "relaxed" };
    let by_sender = match spf {
        Outcome::Fail => "does not pass",
        Outcome::Pass => "passes",
        Outcome::Unknown => "is not known to pass",
    };
    // The DNS has keys only; whether the server signs with one is seen in a message.
    let by_key = match dkim {
        Outcome::Fail => "has no usable key for the domain",
        Outcome::Pass => "passes if the server signs with the key of the domain",
        Outcome::Unknown => "is not known to have a key of the domain",
    };
    let detail = format!(
        "p={policy} at {}; SPF {by_sender} for {envelope}, which is {}aligned ({strict}); DKIM {by_key}",
        held.domain,
        if aligned { "" } else { "not " },
    );
    let fix = "let the server sign by DKIM for the domain, or let SPF pass for an aligned ENVELOPE_FROM";
    match (by_spf, by_dkim) {
        (Outcome::Pass, _) => report.pass("dmarc", detail),
        (_, Outcome::Pass) => {
            report.add("dmarc", Verdict::Note, detail, "look for DKIM-Signature in a test message");
        }
        (Outcome::Fail, Outcome::Fail) if held.policy != Policy::None => report.fail("dmarc", detail, fix),
        _ => report.warn("dmarc", detail, fix),
    }
}
