//! When is a certificate renewed, and why? The answer is a pure function: no clock, no file, no network.
//!
//! Lifetimes shrink: a rule for 90 days must also work for 6. Each line shows a lifetime with the answer without ARI,
//! with a window of the CA, and with a window that would be too late.

use acme_dns01::{Ari, Held, KeyType, Name, Plan, RenewalInfo, Time, Wanted, due, spoken};
use std::error::Error;
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    let names: Vec<Name> = vec!["www.example.org".parse()?];
    let issued = Time::parse_rfc3339("2027-03-01T00:00:00Z").ok_or("a date")?;
    let wanted = Wanted { names: &names, key_type: KeyType::Ec256.as_str(), profile: None };
    for lifetime in [Duration::from_hours(90 * 24), Duration::from_hours(45 * 24), Duration::from_hours(160)]
    {
        let held = Held {
            names: names.clone(),
            not_before: issued,
            not_after: issued.after(lifetime),
            serial: "4a".into(),
            public_key: String::new(),
            key_type: "ec256".into(),
            ari: Some("aki.serial".into()),
            authority: Some("letsencrypt".into()),
            profile: None,
        };
        let window = |from: f64, to: f64| Ari {
            of: "aki.serial".into(),
            info: Some(RenewalInfo {
                start: issued.after(lifetime.mul_f64(from)),
                end: issued.after(lifetime.mul_f64(to)),
                explanation: None,
            }),
            next: issued,
        };
        println!("valid for {}:", spoken(lifetime));
        for (about, ari) in [
            ("without ARI", None),
            ("a window", Some(window(0.5, 0.6))),
            ("too late", Some(window(0.97, 0.99))),
        ] {
            let due = due(Some(&held), ari.as_ref(), &wanted, &Plan::default());
            println!("  {about:12} {}  {}", due.at, due.why);
        }
    }
    Ok(())
}
