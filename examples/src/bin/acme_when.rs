//! When is a certificate renewed, and why? The answer is a pure function: no clock, no file, no network.
//!
//! Lifetimes become shorter: a rule for 90 days must also work for 6. Each line shows a lifetime with the answer
//! without ARI, with a window of the CA, and with a window that would be too late.

use acme_dns01::{
    Ari, CertificateInfo, KeyType, Name, RenewalInfo, RenewalPolicy, Requirements, Time, due, format_duration,
};
use std::error::Error;
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    let names: Vec<Name> = vec!["www.example.org".parse()?];
    let issued = Time::parse_rfc3339("2027-03-01T00:00:00Z").ok_or("a date")?;
    let required = Requirements::new(&names, KeyType::Ec256.as_str());
    for lifetime in [Duration::from_hours(90 * 24), Duration::from_hours(45 * 24), Duration::from_hours(160)]
    {
        let mut held = CertificateInfo::new(names.clone(), issued, issued.after(lifetime));
        held.ari = Some("aki.serial".into());
        held.authority = Some("letsencrypt".into());
        let window = |from: f64, to: f64| Ari {
            of: "aki.serial".into(),
            info: Some(RenewalInfo {
                start: issued.after(lifetime.mul_f64(from)),
                end: issued.after(lifetime.mul_f64(to)),
                explanation: None,
            }),
            next: issued,
        };
        println!("valid for {}:", format_duration(lifetime));
        for (about, ari) in [
            ("without ARI", None),
            ("a window", Some(window(0.5, 0.6))),
            ("too late", Some(window(0.97, 0.99))),
        ] {
            let due = due(Some(&held), ari.as_ref(), &required, &RenewalPolicy::default());
            println!("  {about:12} {}  {}", due.at, due.reason);
        }
    }
    Ok(())
}
