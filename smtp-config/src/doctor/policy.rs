//! The checks of the sender's domain: SPF, DKIM and DMARC.

use super::dns::Dns;
use super::{Options, Report, Verdict};
use crate::address::mailbox;
use crate::forgejo::{Effective, Spoken, is_local};
use crate::policy::{Alignment, Answer, DkimError, Policy, Question, Spf, dkim, found, record, spf, terms};
use crate::presets::Preset;

pub(super) async fn examine(report: &mut Report, mailer: &Effective, options: &Options) {
    let Some(sender) = mailbox(&mailer.from) else { return };
    let Some((_, domain)) = sender.rsplit_once('@') else { return };
    report.about = domain.to_owned();
    let dns = match Dns::new(options.resolver, options.limit) {
        Ok(dns) => dns,
        Err(why) => return report.fail("dns", why.to_string(), "set the machine's resolvers"),
    };
    let envelope = mailer.envelope_from.rsplit_once('@').map_or(domain, |(_, domain)| domain);
    let preset = Preset::of_host(&mailer.host);
    of_spf(report, &dns, mailer, envelope, preset, options).await;
    let aligned = of_dkim(report, &dns, domain, preset, options).await;
    of_dmarc(report, &dns, domain, envelope, aligned).await;
}

async fn of_spf(
    report: &mut Report,
    dns: &Dns,
    mailer: &Effective,
    domain: &str,
    preset: Option<&Preset>,
    options: &Options,
) {
    report.about = domain.to_owned();
    let texts = match dns.texts(domain).await {
        Answer::Texts(texts) => texts,
        _ => return report.add("spf", Verdict::Warning, "the DNS gave no answer", "try again"),
    };
    let held = match record(&texts) {
        Ok(Some(held)) => held,
        Ok(None) => {
            let fix = "add a TXT record that allows the server's addresses and ends with -all";
            return report.add("spf", Verdict::Warning, "no record of SPF", fix);
        }
        Err(count) => {
            let detail = format!("{count} records of SPF: receivers take none of them");
            return report.fail("spf", detail, "keep one");
        }
    };
    let terms = match terms(held) {
        Ok(terms) => terms,
        Err(why) => return report.fail("spf", why.to_string(), "correct the record"),
    };
    if terms.iter().any(|term| term.name == "all" && term.result == Spf::Pass) {
        return report.fail("spf", "+all: anybody may send for this domain", "end the record with -all");
    }
    // A provider sends from addresses of its own, which only its name in the record covers.
    if let Some(wanted) = preset.and_then(|preset| preset.spf) {
        let includes = terms.iter().any(|term| {
            matches!(term.name.as_str(), "include" | "redirect") && term.argument.eq_ignore_ascii_case(wanted)
        });
        if includes {
            return report.pass("spf", format!("includes {wanted}"));
        }
        let detail = format!("{held} does not include {wanted}");
        return report.add(
            "spf",
            Verdict::Warning,
            detail,
            "add the provider's include, or let it sign by DKIM",
        );
    }
    if !matches!(mailer.spoken, Spoken::Network(_)) || is_local(&mailer.host) {
        return report.add("spf", Verdict::Note, held.to_owned(), "");
    }
    let Ok(addresses) = super::server::addresses(mailer, options).await else {
        return report.add("spf", Verdict::Note, held.to_owned(), "");
    };
    let helo = mailer.host.as_str();
    let sender = format!("postmaster@{domain}");
    for address in addresses {
        let asked = dns.resolve(|answers| spf(address, domain, &sender, helo, answers)).await;
        match asked {
            Some((Spf::Pass, lookups)) => {
                report.pass("spf", format!("{address} may send ({lookups} look-ups)"));
            }
            Some((Spf::PermError, lookups)) => {
                let detail = format!("the record is wrong, or takes more than 10 look-ups ({lookups})");
                report.fail("spf", detail, "correct or shorten it");
            }
            Some((result, _)) => {
                let detail = format!("{address}: {result:?}, if the server sends from this address");
                report.add("spf", Verdict::Warning, detail, "add the address from which it sends");
            }
            None => report.add("spf", Verdict::Warning, "the DNS gave no answer", "try again"),
        }
    }
}

/// Whether a key of the sender's own domain was found.
async fn of_dkim(
    report: &mut Report,
    dns: &Dns,
    domain: &str,
    preset: Option<&Preset>,
    options: &Options,
) -> bool {
    let known = preset.map(|preset| preset.dkim).unwrap_or_default().iter().map(|name| (*name).to_owned());
    let selectors: Vec<String> = options.selectors.iter().cloned().chain(known).collect();
    if selectors.is_empty() {
        report.about = domain.to_owned();
        let detail = "no selector is known: the DNS cannot be asked for keys without one";
        report.add("dkim", Verdict::Note, detail, "name it: it is s= of DKIM-Signature in a message");
        return false;
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
            // A provider uses one of its selectors or another.
            Err(DkimError::Missing) if options.selectors.contains(selector) || selectors.len() == 1 => {
                report.add("dkim", Verdict::Warning, "no record", "add the record that the provider shows");
            }
            Err(DkimError::Missing) => report.add("dkim", Verdict::Note, "no record", ""),
            Err(why) => report.fail("dkim", why.to_string(), "publish the provider's key anew"),
        }
    }
    any
}

async fn of_dmarc(report: &mut Report, dns: &Dns, domain: &str, envelope: &str, signed: bool) {
    report.about = domain.to_owned();
    let asked = dns.resolve(|answers| -> Result<_, Question> { found(domain, answers) }).await;
    let held = match asked {
        Some(Ok(held)) => held,
        Some(Err(why)) => {
            let fix = "add a TXT record at _dmarc: v=DMARC1; p=quarantine; rua=mailto:…";
            return report.add("dmarc", Verdict::Warning, why.to_string(), fix);
        }
        None => return report.add("dmarc", Verdict::Warning, "the DNS gave no answer", "try again"),
    };
    let by_spf = held.aligned(held.spf, domain, envelope);
    // A key under the sender's own domain is aligned however strictly.
    let by_dkim = signed && held.aligned(held.dkim, domain, domain);
    let policy = match held.policy {
        Policy::None => "none",
        Policy::Quarantine => "quarantine",
        Policy::Reject => "reject",
    };
    let strict = if held.spf == Alignment::Strict { "strict" } else { "relaxed" };
    let detail = format!(
        "p={policy} at {}; the envelope's {envelope} is {}aligned ({strict}), {} key of the domain's own was found",
        held.domain,
        if by_spf { "" } else { "not " },
        if by_dkim { "a" } else { "no" },
    );
    if by_spf || by_dkim {
        report.pass("dmarc", detail);
    } else {
        let verdict = if held.policy == Policy::None { Verdict::Warning } else { Verdict::Fail };
        report.add(
            "dmarc",
            verdict,
            detail,
            "let the server sign by DKIM for the domain, or align ENVELOPE_FROM",
        );
    }
}
